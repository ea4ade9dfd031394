"""Specs are saved with models, and datasets encode later frames with them."""

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast.data import Dataset
from lightfm_fast.features import Categorical, Dense, FeatureSpec, MultiCategorical, PiecewiseLinear, Standardized, Text

from .films import FILMS, FILMS_NAMES, FILMS_WEIGHTS, dense, films_spec, names


def test_spec_is_saved_with_a_model(tmp_path):
    spec = films_spec(identity=0.5, id_column="film")
    matrix = spec.fit_transform(FILMS)
    interactions = sp.coo_matrix(np.eye(3, dtype=np.int32))
    model = LightFM(random_state=1).fit(interactions, item_features=matrix)
    encoders = {"films": spec, "plot": Text(ngram_range=(1, 2), min_df=1), "unfitted": films_spec()}
    model.save(tmp_path / "model.safetensors", encoders=encoders)
    loaded = LightFM.load(tmp_path / "model.safetensors")
    again = loaded.encoders_["films"]
    np.testing.assert_array_equal(dense(again.transform(FILMS)), dense(matrix))
    assert names(again) == names(spec)
    assert again.fields_.tolist() == spec.fields_.tolist()
    np.testing.assert_array_equal(
        loaded.predict(1, [0, 1, 2], item_features=again.transform(FILMS)),
        model.predict(1, [0, 1, 2], item_features=matrix),
    )
    for name in ("plot", "unfitted"):
        assert repr(loaded.encoders_[name]) == repr(encoders[name])


def test_foreign_encoders_are_not_saved(tmp_path):
    class Twice(Standardized):
        pass

    spec = FeatureSpec({"year": Twice()}).fit(FILMS)
    model = LightFM().fit(sp.identity(3, dtype=np.int32))
    with pytest.raises(ValueError, match="not saved"):
        model.save(tmp_path / "model.safetensors", encoders={"films": spec})
    state = films_spec().to_state()
    for name in ("FeatureSpec", "np", "Encoder", "os.system"):
        with pytest.raises(ValueError, match="no encoder"):
            FeatureSpec.from_state({**state, "encoders": [["year", name, {}]]})


@pytest.mark.parametrize("identity", [True, False])
def test_dataset_keeps_the_names(identity):
    spec = films_spec() if identity else films_spec(identity=0.5, id_column="film")
    dataset = Dataset.from_tables(
        {"user_id": [1, 2], "film": ["heat", "up"]},
        items=FILMS,
        item="film",
        item_features=spec,
        item_identity_features=identity,
    )
    item_features = dataset.mapping()[3]
    own = FILMS["film"] if identity else ["film:dune", "film:heat", "film:up"]
    assert list(item_features) == [*own, *FILMS_NAMES]
    np.testing.assert_array_equal(dataset.item_features.toarray()[:, 3:], FILMS_WEIGHTS)
    expected = np.eye(3) if identity else 0.5 * np.eye(3)[::-1]
    np.testing.assert_array_equal(dataset.item_features.toarray()[:, :3], expected)
    model = LightFM(random_state=1).fit(dataset.interactions, item_features=dataset.item_features)
    assert model.item_embeddings.shape[0] == len(item_features)


LIKES = {"user_id": [1, 2, 1], "film": ["heat", "up", "heat"], "stars": [1.0, 3.0, 2.0], "at": [5, 6, 7]}
COLUMNS = {"item": "film", "value": "stars", "time": "at"}


def test_many_tags_do_not_drown_the_identity():
    tags = {"film": ["one", "fifty"], "tags": [["a"], [f"tag {number}" for number in range(50)]]}
    spec = FeatureSpec({"tags": MultiCategorical(normalize="l2")})
    likes = {"user_id": [1], "film": ["one"]}

    def build(**options):
        return Dataset.from_tables(likes, items=tags, item="film", item_features=spec, **options)

    dataset = build()
    for matrix in (dataset.item_features, dataset.build_item_features_from_table(tags)):
        np.testing.assert_array_equal(matrix.toarray()[:, :2], np.eye(2))
        np.testing.assert_allclose(np.linalg.norm(matrix.toarray()[:, 2:], axis=1), 1, rtol=1e-6)
    # with normalize=True rows sum to one, also of later frames
    divided = build(normalize=True)
    for matrix in (divided.item_features, divided.build_item_features_from_table(tags)):
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    whole = divided.build_item_features_from_table(tags, normalize=False)
    np.testing.assert_array_equal(whole.toarray(), dataset.item_features.toarray())


def test_rows_of_named_columns_sum_to_one():
    for normalize, total in ((None, 1), (True, 1), (False, 2)):
        dataset = Dataset.from_tables(
            LIKES, items=FILMS, item_features=["year"], user_features=None, normalize=normalize, **COLUMNS
        )
        rows = dataset.item_features.sum(axis=1)
        np.testing.assert_allclose(rows, [[total], [total], [1]])  # the last has no year
        np.testing.assert_array_equal(dataset.build_item_features_from_table(FILMS).sum(axis=1), rows)


def test_features_of_empty_columns_are_refused():
    films = {**FILMS, "year": [None] * 3}
    with pytest.raises(ValueError, match="item_features makes no feature of the items: the columns .* have no values"):
        Dataset.from_tables(LIKES, items=films, item_features=["year"], **COLUMNS)


@pytest.mark.parametrize("identity", ["keep", 0.3])
def test_two_identity_features_are_refused(identity):
    spec = films_spec(identity=identity, id_column="film")
    for side in ("user", "item"):
        sides = {f"{side}s": FILMS, f"{side}_features": spec}
        with pytest.raises(ValueError, match=f"{side}_identity_features=False"):
            Dataset.from_tables(
                {"film": ["up"], "other": [1]}, **{"user": "other", "item": "other", side: "film"}, **sides
            )
    assert not hasattr(spec, "encoders_")


@pytest.mark.parametrize("normalize", [None, True])
def test_the_least_number_alone_is_a_row(normalize):
    dataset = Dataset.from_tables(
        LIKES,
        items=FILMS,
        item_features=FeatureSpec({"year": PiecewiseLinear(3)}),
        item_identity_features=False,
        normalize=normalize,
        **COLUMNS,
    )
    assert (dataset.item_features.sum(axis=1) > 0).all()


@pytest.mark.parametrize(
    ("features", "normalize"),
    [
        (films_spec(identity=0.5, id_column="film"), None),
        (films_spec(), True),
        (["studio", "year"], None),
        (None, None),
    ],
)
def test_a_loaded_dataset_reads_later_tables(tmp_path, features, normalize):
    dataset = Dataset.from_tables(
        LIKES,
        items=FILMS,
        item_features=features,
        item_identity_features=getattr(features, "identity", "drop") == "drop",
        normalize=normalize,
        **COLUMNS,
    )
    model = LightFM(random_state=1).fit(dataset.interactions, item_features=dataset.item_features)
    model.save(tmp_path / "model.safetensors", dataset=dataset)
    loaded = LightFM.load(tmp_path / "model.safetensors").dataset_
    for expected, found in zip(
        dataset.build_interactions_from_table(LIKES), loaded.build_interactions_from_table(LIKES), strict=True
    ):
        np.testing.assert_array_equal(
            found.toarray() if sp.issparse(found) else found, expected.toarray() if sp.issparse(expected) else expected
        )
    if features is None:
        with pytest.raises(ValueError, match="not told how to encode items"):
            loaded.build_item_features_from_table(FILMS)
    else:
        np.testing.assert_array_equal(
            loaded.build_item_features_from_table(FILMS).toarray(), dataset.item_features.toarray()
        )


def test_a_dataset_with_a_foreign_encoder_is_not_saved(tmp_path):
    class Foreign:
        def fit(self, table):
            return self

        def transform(self, table):
            return sp.identity(3, format="csr")

        def get_feature_names_out(self):
            return ["a", "b", "c"]

    dataset = Dataset.from_tables(LIKES, items=FILMS, item_features=Foreign(), **COLUMNS)
    np.testing.assert_array_equal(dataset.item_features.toarray(), np.hstack([np.eye(3), np.eye(3)]))
    with pytest.raises(ValueError, match="the encoder 'item_features' is .*expected one of lightfm_fast.features"):
        LightFM().fit(dataset.interactions).save(tmp_path / "model.safetensors", dataset=dataset)
    assert not list(tmp_path.iterdir())


def test_a_matrix_is_a_column_and_others_are_not_looked_at():
    spec = FeatureSpec({"vector": Dense(), "tag": Categorical()})
    table = {"vector": np.array([[1, 2], [3, 4]]), "tag": ("x", "y"), "unused": 3}
    np.testing.assert_array_equal(dense(spec.fit_transform(table)), [[1, 2, 1, 0], [3, 4, 0, 1]])
    assert table["vector"].shape == (2, 2)
    with pytest.raises(ValueError, match="no column 'tag'"):
        spec.transform({"vector": table["vector"]})
