"""Encoders against cases computed by hand, in every kind of table, and through files and datasets."""

import contextlib
import datetime
import json
import math
from decimal import Decimal

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast.data import Dataset
from lightfm_fast.data.categories import CategoricalColumns
from lightfm_fast.features import (
    Categorical,
    Dense,
    FeatureSpec,
    MultiCategorical,
    Periodic,
    PiecewiseLinear,
    QuantileBins,
    Standardized,
    Text,
    UnseenCategoryWarning,
    gather_tags,
)

TEXTS = ["a spice planet", "apes of the planet", None, "planet planet"]
# An encoder of each kind, values to fit it to, and values with what is missing and what is new.
CASES = {
    "categorical": (Categorical(2, "other", "l1"), ["a", "b", "a", None], ["a", "b", "z", None]),
    "multi-valued": (MultiCategorical("|", 2, normalize="l2"), ["x|y", "y", "z|y|z", "x"], ["x|y", "z", "new", None]),
    "standardized": (Standardized(), [1, 2, None, 6], [0, None, 9.5, 2]),
    "bins": (QuantileBins(3), [1, 2, 3, 4, 5, 6, 7, 0.1], [0, None, 99, 4]),
    "piecewise": (PiecewiseLinear(3, "l2"), [1, 2, 3, 4, 5, 6, 7, 0.1], [0, None, 99, 4]),
    "periodic": (Periodic(7, 7), [0, 1], [6.5, None, -1, 700]),
    "tf-idf": (Text(ngram_range=(1, 2), min_df=1), TEXTS, TEXTS[::-1]),
    "words": (Text(use_idf=False, sublinear_tf=True, max_features=2), TEXTS, TEXTS[::-1]),
    "hashed": (Text("hashing", n_features=16), TEXTS, TEXTS[::-1]),
    "dense": (Dense("l2"), [[1.0, 2.0], None, [0.0, -3.0], [0, 0]], [[1, 1], None, [0, 2], [3, 4]]),
}
each_case = pytest.mark.parametrize(("encoder", "fitted", "new"), CASES.values(), ids=CASES)


def dense(matrix):
    assert isinstance(matrix, sp.csr_matrix)
    assert matrix.dtype == np.float32
    assert matrix.has_canonical_format
    assert (matrix.data != 0).all()
    return matrix.toarray()


def names(encoder):
    return encoder.get_feature_names_out().tolist()


# ------------------------------------------------------------------------------------------------------ categories


def test_categories_are_sorted_and_missing_ones_weigh_nothing():
    encoder = Categorical().fit(["b", None, "a", float("nan"), "b"])
    assert names(encoder) == ["a", "b"]
    with pytest.warns(UnseenCategoryWarning, match="1 of 2 values, 1 of them different, .*'c' in row 2 first"):
        np.testing.assert_array_equal(dense(encoder.transform(["b", None, "c"])), [[0, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize("unseen", ["ignore", "other"])
def test_rare_and_unseen_categories(unseen):
    encoder = Categorical(min_count=2, unseen=unseen).fit(["a", "a", "b", "c"])
    assert names(encoder) == ["a", "other"]
    unknown = [0, 1] if unseen == "other" else [0, 0]
    with pytest.warns(UnseenCategoryWarning) if unseen == "ignore" else contextlib.nullcontext():
        np.testing.assert_array_equal(dense(encoder.transform(["b", "a", "new"])), [[0, 1], [1, 0], unknown])


def test_no_other_column_where_nothing_needs_it():
    assert names(Categorical(min_count=1).fit(["a"])) == ["a"]
    assert names(Categorical(unseen="other").fit(["a"])) == ["a", "other"]


def test_a_category_called_other_shares_the_column():
    encoder = Categorical(min_count=2).fit(["other", "other", "a", "a", "b"])
    assert names(encoder) == ["a", "other"]
    np.testing.assert_array_equal(dense(encoder.transform(["other", "b"])), [[0, 1], [0, 1]])
    assert names(Categorical().fit(["other", "a"])) == ["a", "other"]


def test_whole_numbers_are_the_same_as_integers_and_as_floats():
    encoder = Categorical().fit(np.array([10, 9]))
    assert names(encoder) == ["10", "9"]
    np.testing.assert_array_equal(dense(encoder.transform([9.0, np.nan])), [[0, 1], [0, 0]])
    assert names(Categorical().fit([True, 2.5, datetime.date(2020, 1, 2)])) == ["2.5", "2020-01-02", "True"]


def test_categories_of_a_row_count_once():
    encoder = MultiCategorical(min_count=2).fit([["a", "a"], ("b", "a"), {"b"}, np.array(["c"]), None, []])
    assert names(encoder) == ["a", "b", "other"]
    np.testing.assert_array_equal(
        dense(encoder.transform([["a", "c", "a", None], [], None])), [[1, 0, 1], [0] * 3, [0] * 3]
    )
    # "c" and "d" are both rare: a row with both has one weight
    pooled = MultiCategorical(min_count=2).fit([["c", "d"], ["a"], ["a"]])
    np.testing.assert_array_equal(dense(pooled.transform([["c", "d"]])), [[0, 1]])


def test_separator():
    encoder = MultiCategorical(" | ").fit(["a | b", "b", ""])
    assert names(encoder) == ["a", "b"]
    with pytest.raises(TypeError, match="separator="):
        MultiCategorical().fit(["a|b"])


def test_normalization_within_a_row():
    tags = [["a", "b", "c", "d"], ["a"], []]
    for normalize, weight in ((None, 1), ("l1", 1 / 4), ("l2", 1 / 2)):
        matrix = dense(MultiCategorical(normalize=normalize).fit_transform(tags))
        np.testing.assert_array_equal(matrix, [[weight] * 4, [1, 0, 0, 0], [0] * 4])


# --------------------------------------------------------------------------------------------------------- numbers


def test_standardized():
    encoder = Standardized().fit([1, 3, 5, 7, None])  # mean 4, variance (9 + 1 + 1 + 9) / 4
    assert names(encoder) == ["standardized", "missing"]
    expected = [[(9 - 4) / math.sqrt(5), 0], [0, 1], [0, 0]]
    np.testing.assert_allclose(dense(encoder.transform([9, None, 4])), expected, rtol=1e-7)
    constant = Standardized().fit([0.1, 0.1, 0.1])
    np.testing.assert_allclose(dense(constant.transform([0.1, 1.1])), [[0, 0], [1, 0]], rtol=1e-6)


def test_quantile_bins_hold_as_many_values_each():
    encoder = QuantileBins(4).fit([8, 1, 7, 2, 6, 3, None, 5, 4])
    assert names(encoder) == ["<3", "[3, 5)", "[5, 7)", ">=7", "missing"]
    matrix = dense(encoder.transform([1, 2, 3, 4, 5, 6, 7, 8, -100, 100, None]))
    np.testing.assert_array_equal(matrix.argmax(axis=1), [0, 0, 1, 1, 2, 2, 3, 3, 0, 3, 4])
    np.testing.assert_array_equal(matrix.sum(axis=1), 1)


@pytest.mark.parametrize("values", [[0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1], [3], [0, 0, 5, 5, 9]])
def test_no_bin_is_empty_where_values_repeat(values):
    matrix = dense(QuantileBins(4).fit_transform(values))
    assert (matrix[:, :-1].sum(axis=0) > 0).all()
    assert len(np.unique(values)) >= matrix.shape[1] - 1


def test_piecewise_linear():
    encoder = PiecewiseLinear(2).fit([0, 10, 40])
    assert names(encoder) == ["any", "0 to 10", "10 to 40", "missing"]
    expected = [[0.5, 0, 0], [1, 0, 0], [1, 0.5, 0], [1, 2, 0], [-1, 0, 0], [0, 0, 0], [0, 0, 1]]
    expected = np.column_stack([[1, 1, 1, 1, 1, 1, 0], expected])
    np.testing.assert_array_equal(dense(encoder.transform([5, 10, 25, 70, -10, 0, None])), expected)
    same = PiecewiseLinear(3).fit([2, 2])
    assert names(same) == ["any", "missing"]
    np.testing.assert_array_equal(dense(same.transform([2, 7, None])), [[1, 0], [1, 0], [0, 1]])


def test_periodic_goes_round():
    encoder = Periodic(24, n_bins=8).fit([1])
    assert names(encoder) == ["0", "3", "6", "9", "12", "15", "18", "21", "missing"]
    matrix = dense(encoder.transform([0, 24, 22.5, -1.5, 4, None]))
    np.testing.assert_array_equal(matrix[0], matrix[1])
    np.testing.assert_array_equal(matrix[2], [0.5, 0, 0, 0, 0, 0, 0, 0.5, 0])
    np.testing.assert_array_equal(matrix[3], matrix[2])
    np.testing.assert_allclose(matrix[4], [0, 2 / 3, 1 / 3, 0, 0, 0, 0, 0, 0], rtol=1e-6)
    assert matrix[5, -1] == 1
    # a tiny negative number is rounded up to a whole period
    np.testing.assert_array_equal(dense(encoder.transform([-1e-30])), matrix[:1])


def test_names_of_close_numbers_differ():
    encoder = QuantileBins(3).fit([1e-9 + 0.5, 2e-9 + 0.5, 3e-9 + 0.5])
    assert names(encoder) == ["<0.500000002", "[0.500000002, 0.500000003)", ">=0.500000003", "missing"]


# ------------------------------------------------------------------------------------------------ text and vectors


def test_tf_idf():
    encoder = Text(normalize=None).fit(["spice planet", "planet planet"])
    assert names(encoder) == ["planet", "spice"]
    idf = [math.log(3 / 3) + 1, math.log(3 / 2) + 1]  # scikit-learn's: log((1 + n) / (1 + df)) + 1
    expected = [[2 * idf[0], idf[1]], [0, 0], [0, 0]]
    np.testing.assert_allclose(dense(encoder.transform(["planet spice planet", None, "sea"])), expected, rtol=1e-6)
    words = dense(Text().fit(["spice planet", "planet planet"]).transform(["spice planet"]))
    np.testing.assert_allclose(np.linalg.norm(words), 1, rtol=1e-6)


def test_hashed_words():
    encoder = Text("hashing", normalize=None, n_features=8).fit([])
    assert names(encoder) == [f"hash {number}" for number in range(8)]
    matrix = dense(encoder.transform(["planet planet", "planet", ""]))
    np.testing.assert_array_equal(matrix[0], 2 * matrix[1])
    assert matrix[1].sum() == 1
    assert not matrix[2].any()


def test_vectors():
    encoder = Dense().fit(np.array([[1, 2, 0], [0, 0, 0]]))
    assert names(encoder) == ["0", "1", "2"]
    np.testing.assert_array_equal(dense(encoder.transform([None, (1, 0, -2)])), [[0, 0, 0], [1, 0, -2]])
    with pytest.raises(ValueError, match="2 dimensions but were fitted with 3"):
        encoder.transform([[1, 2]])
    with pytest.raises(ValueError, match="one length"):
        encoder.transform([[1, 2, 3], [1, 2]])


# ---------------------------------------------------------------------------------------------------- all encoders


@pytest.mark.filterwarnings("ignore::lightfm_fast.features.UnseenCategoryWarning")
@each_case
def test_state_is_json_and_comes_back(encoder, fitted, new):
    encoder = type(encoder).from_state(json.loads(json.dumps(encoder.to_state())))  # not fitted
    encoder.fit(fitted)
    again = type(encoder).from_state(json.loads(json.dumps(encoder.to_state())))
    assert names(again) == names(encoder)
    np.testing.assert_array_equal(dense(again.transform(new)), dense(encoder.transform(new)))
    assert again.to_state() == encoder.to_state()
    assert repr(again) == repr(encoder)


@each_case
def test_nothing_is_left_of_an_earlier_fit_and_no_rows_are_fine(encoder, fitted, new):
    again = type(encoder).from_state(encoder.to_state())
    first = again.fit_transform(fitted)
    np.testing.assert_array_equal(dense(again.fit(new).fit(fitted).transform(fitted)), dense(first))
    assert first.shape == (len(fitted), len(names(again)))
    assert again.transform([]).shape == (0, len(names(again)))


@each_case
def test_failed_fit_changes_nothing(encoder, fitted, new):
    fresh = type(encoder).from_state(encoder.to_state())
    if fresh._fitted_names:
        with pytest.raises(ValueError, match="not fitted"):
            fresh.transform(new)
    fresh.fit(fitted)
    state = fresh.to_state()
    for wrong in ([object(), {}], 3, "text", None):
        with pytest.raises((TypeError, ValueError)):
            fresh.fit(wrong)
    assert fresh.to_state() == state


@pytest.mark.parametrize(
    "encoder", [Standardized(), QuantileBins(), PiecewiseLinear(), Periodic(24, 6)], ids=lambda e: type(e).__name__
)
def test_numbers_are_judged(encoder):
    assert encoder.fit([1, 2]).transform([np.nan]).toarray()[0, -1] == 1
    for text in (["1", "2"], [1, "a"], np.array(["2020-01-01"], "datetime64[s]"), [[1, 2]], [{1}]):
        with pytest.raises(TypeError, match="expected numbers"):
            encoder.fit(text)
    for large in ([np.inf, 1], [1e39]):
        with pytest.raises(ValueError, match="single precision"):
            encoder.transform(large)
    if not isinstance(encoder, Periodic):
        with pytest.raises(ValueError, match="missing"):
            encoder.fit([None, np.nan])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical(min_count=0), "min_count is 0"),
        (lambda: Categorical(unseen="error"), "unseen is 'error'"),
        (lambda: Categorical(normalize="max"), "normalize is 'max'"),
        (lambda: MultiCategorical(separator=""), "separator"),
        (lambda: QuantileBins(2.5), "n_bins is 2.5"),
        (lambda: PiecewiseLinear(0), "n_bins is 0"),
        (lambda: Periodic(0, 3), "period is 0"),
        (lambda: Periodic(24, 1), "at least 2"),
        (lambda: Periodic("day", 3), "period is 'day'"),
        (lambda: Text("bag"), "vectorizer is 'bag'"),
        (lambda: Text(norm="l2"), "norm is no option"),
        (lambda: Text(tokenizer=str.split), "saved"),
        (lambda: FeatureSpec({"a": Categorical()}, identity="yes"), "identity is 'yes'"),
        (lambda: FeatureSpec({"a": Categorical()}, identity=0), "identity"),
        (lambda: FeatureSpec({"a": Categorical()}, identity=True), "identity"),
        (lambda: FeatureSpec({"a": Categorical}), "expected an encoder"),
        (lambda: FeatureSpec(["a"]), "expected a dict"),
        (lambda: FeatureSpec({}), "no features"),
        (lambda: FeatureSpec({"a": Categorical()}, "keep", "a"), "give it no encoder"),
    ],
)
def test_parameters_are_judged(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


# --------------------------------------------------------------------------------------------------------- a table

FILMS = {
    "film": ["up", "heat", "dune"],
    "genres": [["animation"], ["crime", "drama"], None],
    "year": [2009, 1995, None],
    "rated": [True, None, False],
    "studio": ["Pixar", None, "Legendary"],
    "vector": [[1.0, 2.0], [3.0, 4.0], None],
}


def films_spec(**options):
    encoders = {
        "genres": MultiCategorical(normalize="l1"),
        "year": PiecewiseLinear(1),
        "rated": Standardized(),
        "studio": Categorical(),
        "vector": Dense(),
    }
    return FeatureSpec(encoders, **options)


FILMS_NAMES = [
    *("genres:animation", "genres:crime", "genres:drama", "year:any", "year:1995 to 2009", "year:missing"),
    *("rated:standardized", "rated:missing", "studio:Legendary", "studio:Pixar", "vector:0", "vector:1"),
]
FILMS_WEIGHTS = [
    [1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 2],
    [0, 0.5, 0.5, 1, 0, 0, 0, 1, 0, 0, 3, 4],
    [0, 0, 0, 0, 0, 1, -1, 0, 1, 0, 0, 0],
]


def tables():
    yield "dict", lambda: FILMS
    yield (
        "arrays",
        lambda: {**FILMS, "year": np.ma.masked_invalid([2009, 1995, np.nan]), "studio": np.array(FILMS["studio"])},
    )
    yield "pandas", lambda: pytest.importorskip("pandas").DataFrame(FILMS)
    yield "pandas nullable", lambda: pytest.importorskip("pandas").DataFrame(FILMS).convert_dtypes()
    yield "polars", lambda: pytest.importorskip("polars").DataFrame(FILMS)
    yield "pyarrow", lambda: pytest.importorskip("pyarrow").table(FILMS)
    yield "dict of pandas", lambda: dict(pytest.importorskip("pandas").DataFrame(FILMS))
    yield "categories", lambda: pytest.importorskip("pandas").DataFrame(FILMS).astype({"studio": "category"})


@pytest.mark.parametrize("make", [make for _, make in tables()], ids=[name for name, _ in tables()])
def test_every_kind_of_table(make):
    table = make()
    spec = films_spec()
    np.testing.assert_array_equal(dense(spec.fit_transform(table)), FILMS_WEIGHTS)
    assert names(spec) == FILMS_NAMES
    assert spec.fields_.tolist() == [name.partition(":")[0] for name in FILMS_NAMES]
    assert not hasattr(spec.encoders["year"], "edges_")


@pytest.mark.parametrize(("identity", "weight"), [("keep", 1), (0.25, 0.25)])
def test_identity(identity, weight):
    spec = films_spec(identity=identity)
    matrix = dense(spec.fit_transform(FILMS, FILMS["film"]))
    assert names(spec) == ["identity:dune", "identity:heat", "identity:up", *FILMS_NAMES]
    np.testing.assert_array_equal(matrix[:, :3], weight * np.eye(3)[::-1])
    np.testing.assert_array_equal(matrix[:, 3:], FILMS_WEIGHTS)
    assert spec.fields_[:4].tolist() == ["identity"] * 3 + ["genres"]
    newcomers = dense(spec.transform(FILMS, ["up", "alien", "dune"]))
    np.testing.assert_array_equal(newcomers[:, :3], weight * np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]]))
    by_column = films_spec(identity=identity, id_column="film")
    np.testing.assert_array_equal(dense(by_column.fit_transform(FILMS)), matrix)
    assert names(by_column)[0] == "film:dune"
    with pytest.raises(ValueError, match="id_column="):
        spec.transform(FILMS)


def test_identity_alone():
    spec = FeatureSpec({}, identity="keep").fit({}, ids=[7, 5])
    np.testing.assert_array_equal(dense(spec.transform({}, ids=np.array([5, 7, 9]))), [[1, 0], [0, 1], [0, 0]])


def test_tables_are_judged():
    spec = films_spec().fit(FILMS)
    state = spec.to_state()
    with pytest.raises(ValueError, match="no column 'genres'; it has 'year'"):
        spec.fit({"year": [1]})
    with pytest.raises(ValueError, match="differ in length"):
        spec.fit({**FILMS, "year": [1]})
    with pytest.raises(TypeError, match="column 'year': .*expected numbers"):
        spec.fit({**FILMS, "year": ["MCMXCV"] * 3})
    with pytest.raises(TypeError, match="column 'genres': 'crime'"):
        spec.transform({**FILMS, "genres": ["crime"] * 3})
    with pytest.raises(TypeError, match="expected a data frame"):
        spec.transform([FILMS])
    assert spec.to_state() == state
    with pytest.raises(ValueError, match="not fitted"):
        films_spec().transform(FILMS)
    with pytest.raises(ValueError, match="2 features would have the name 'a:b:c'"):
        FeatureSpec({"a": Categorical(), "a:b": Categorical()}).fit({"a": ["b:c"], "a:b": ["c"]})
    keep = FeatureSpec({"year": QuantileBins()}, identity="keep")
    with pytest.raises(ValueError, match="1 ids are missing, in row 1"):
        keep.fit({"year": [1, 2]}, ids=["a", None])
    with pytest.raises(ValueError, match="1 ids but the columns"):
        keep.fit({"year": [1, 2]}, ids=["a"])


def test_one_encoder_for_several_columns():
    encoder = Categorical()
    spec = FeatureSpec({"a": encoder, "b": encoder}).fit({"a": ["x"], "b": ["y"]})
    assert names(spec) == ["a:x", "b:y"]


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.feature_extraction.text", None)
    with pytest.raises(ImportError, match=r"pip install 'lightfm_fast\[text\]'"):
        Text().fit(["a"])


# ------------------------------------------------------------------------------------------------ files, datasets


def test_spec_is_saved_with_a_model(tmp_path):
    spec = films_spec(identity=0.5, id_column="film")
    matrix = spec.fit_transform(FILMS)
    interactions = sp.coo_matrix(np.eye(3, dtype=np.int32))
    model = LightFM(random_state=1).fit(interactions, item_features=matrix)
    encoders = {"films": spec, "plot": CASES["tf-idf"][0], "unfitted": films_spec()}
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
    assert repr(loaded.encoders_["unfitted"]) == repr(encoders["unfitted"])


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
    # who asks for rows that sum to one gets them, and again for later tables
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


def test_a_state_of_before_encoders_were_kept_is_read():
    dataset = Dataset()
    dataset.fit([1], [2])
    state = {
        name: part for name, part in dataset.to_state().items() if name not in ("columns", "normalize", "encoders")
    }
    old = Dataset.from_state(state)
    assert old.mapping() == dataset.mapping()
    assert old.build_interactions_from_table({"user_id": [1], "item_id": [2]}).interactions.nnz == 1


def test_a_matrix_is_a_column_and_others_are_not_looked_at():
    spec = FeatureSpec({"vector": Dense(), "tag": Categorical()})
    table = {"vector": np.array([[1, 2], [3, 4]]), "tag": ("x", "y"), "unused": 3}
    np.testing.assert_array_equal(dense(spec.fit_transform(table)), [[1, 2, 1, 0], [3, 4, 0, 1]])
    assert table["vector"].shape == (2, 2)
    with pytest.raises(ValueError, match="no column 'tag'"):
        spec.transform({"vector": table["vector"]})


# --------------------------------------------------------------------------------------- equal values, unseen values

FORMS = {
    "1991": [1991, 1991.0, "1991", "1991.0", Decimal("1991.00"), np.int16(1991), np.float32(1991), Decimal("1.991E+3")],
    "2.5": [2.5, "2.5", "2.50", Decimal("2.500"), np.float16(2.5)],
    "0.1": [0.1, "0.1", np.float32(0.1), Decimal("0.10")],
    "0.00001": [1e-05, "1e-05", "0.00001", Decimal("1E-5")],
    "0": [0, -0.0, "0", "-0", "-0.0", Decimal("-0")],
    "True": [True, np.bool_(True), "True", "true", "TRUE"],
    "2020-01-31": [
        datetime.date(2020, 1, 31),
        datetime.datetime(2020, 1, 31),
        "2020-01-31",
        "2020-01-31 00:00:00",
        "2020-01-31T00:00:00.000000000",
        np.datetime64("2020-01-31"),
        np.datetime64("2020-01-31T00:00:00", "ns"),
    ],
    "2020-01-31 12:30:00": [datetime.datetime(2020, 1, 31, 12, 30), "2020-01-31T12:30", "2020-01-31 12:30:00.000"],
    "2020-01-31 12:30:00+00:00": [
        datetime.datetime(2020, 1, 31, 12, 30, tzinfo=datetime.timezone.utc),
        datetime.datetime(2020, 1, 31, 14, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        "2020-01-31T12:30:00Z",
        "2020-01-31 14:30:00+0200",
    ],
    **{
        text: [text] for text in ("007", "1e3", "+1", " 1", "1.", "rome", "Rome", "trueish", "2020-13-01T12:00Z", "nan")
    },
}


@pytest.mark.parametrize(("name", "forms"), FORMS.items(), ids=FORMS)
def test_equal_values_are_one_category_whatever_their_type(name, forms):
    for form in forms:
        encoder = Categorical().fit([form, "another"])
        assert sorted(names(encoder)) == sorted([name, "another"])
        assert dense(encoder.transform(forms)).sum(axis=0).tolist() == [
            len(forms) if column == name else 0 for column in names(encoder)
        ]
        many = MultiCategorical().fit([[form], ["another"]])
        assert dense(many.transform([forms]))[0].tolist() == [column == name for column in names(many)]
    by_name = Dataset.from_tables(
        {"user_id": [1], "film": [0]},
        items={"film": range(len(forms)), "kind": forms},
        item="film",
        item_features=["kind"],
        item_identity_features=False,
    )
    assert list(by_name.mapping()[3]) == [f"kind:{name}"]
    assert by_name.item_features.toarray().tolist() == [[1]] * len(forms)


def test_categories_of_a_newcomer_with_an_empty_cell():
    pandas = pytest.importorskip("pandas")
    spec = FeatureSpec({"year": Categorical()}).fit(pandas.DataFrame({"year": [1991, 1992]}))
    newcomers = pandas.DataFrame({"year": [1992, None, 1991]})  # floats, as a cell is empty
    np.testing.assert_array_equal(dense(spec.transform(newcomers)), [[0, 1], [0, 0], [1, 0]])
    text = pandas.DataFrame({"year": ["1992.0", "", "1991.0"]})
    np.testing.assert_array_equal(dense(spec.transform(text)), [[0, 1], [0, 0], [1, 0]])


def test_numbers_of_truth_values():
    for fitted in ([True, False], ["true", "false"], [True, 0, False]):
        encoder = Categorical().fit(fitted)
        assert names(encoder) == ["False", "True"]
        np.testing.assert_array_equal(dense(encoder.transform([1, 0.0, "1", "FALSE"])), [[0, 1], [1, 0]] * 2)
    encoder = Categorical().fit([0, 1, 2])
    assert names(encoder) == ["0", "1", "2"]
    np.testing.assert_array_equal(dense(encoder.transform([True, "false"])), [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize("kind", ["float32", "Float32"])
def test_single_precision_has_the_digits_that_it_is_written_with(kind):
    pandas = pytest.importorskip("pandas")
    encoder = Categorical().fit([0.1, 0.7])
    np.testing.assert_array_equal(dense(encoder.transform(pandas.Series([0.7, 0.1], dtype=kind))), [[0, 1], [1, 0]])


def test_encoders_of_earlier_files_find_their_categories():
    fitted = {
        "categories_": ["1e-05", "False", "true", "1991.0"],
        "pooled_": ["2020-01-31 00:00:00"],
        "has_other_": True,
    }
    encoder = Categorical.from_state({"parameters": {"min_count": 2}, "fitted": fitted})
    cells = [0.00001, False, True, 1991, "1991.0", datetime.date(2020, 1, 31), 0]
    assert dense(encoder.transform(cells)).argmax(axis=1).tolist() == [0, 1, 2, 3, 3, 4, 1]
    columns = CategoricalColumns.from_state({"columns": ["a", "b"], "names": ["a:1991.0", "a:x", "b:True"]})
    matrix = columns.transform({"a": [1991, "x", None], "b": ["true", None, 1]})
    assert matrix.toarray().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_ids_that_differ_stay_two():
    spec = FeatureSpec({}, identity="keep").fit({}, ids=["true", "True", "1.0", "1"])
    assert len(names(spec)) == 4
    assert spec.transform({}, ids=["new", "1.0"]).nnz == 1  # and a newcomer's id is not warned of


def test_one_warning_tells_what_was_not_seen():
    spec = FeatureSpec({"town": Categorical(), "tags": MultiCategorical("|"), "year": Standardized()})
    spec.fit({"town": ["Rome", "Oslo"], "tags": ["a|b", "c"], "year": [1, 2]})
    with pytest.warns(UnseenCategoryWarning) as told:
        spec.transform({"town": ["Rome", "Bern"], "tags": ["x|a|y", "x"], "year": [3, 4]})
    (warning,) = told
    assert warning.filename == __file__
    assert "column 'town': 1 of 2 values, 1 of them different" in str(warning.message)
    assert "column 'tags': 3 of 4 values, 2 of them different" in str(warning.message)
    assert "'Bern' in row 1 first" in str(warning.message)
    assert "'x' in row 0 first" in str(warning.message)


def test_pooled_and_other_categories_are_not_unseen():
    pooled = Categorical(min_count=2).fit(["a", "a", "b"])
    np.testing.assert_array_equal(dense(pooled.transform(["b", None, ""])), [[0, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(dense(Categorical(unseen="other").fit(["a"]).transform(["b"])), [[0, 1]])


def test_a_category_that_is_a_list_is_named():
    with pytest.raises(TypeError, match=r"row 1 holds \['b'\], expected .*MultiCategorical"):
        Categorical().fit(["a", ["b"]])
    with pytest.raises(TypeError, match=r"row 1 holds \['c'\] as a category"):
        MultiCategorical().fit([["a", "b"], ["b", ["c"]]])


# ------------------------------------------------------------------------------------------------------ lists of tags


def test_json_lists():
    encoder = MultiCategorical(json=True)
    cells = ['["a", "b"]', "[]", "", None, "null", ' ["b", null, 7] ', '{"a": 0.5}', ["a"]]
    expected = [[0, 1, 1], [0] * 3, [0] * 3, [0] * 3, [0] * 3, [1, 0, 1], [0, 0.5, 0], [0, 1, 0]]
    np.testing.assert_array_equal(dense(encoder.fit_transform(cells)), expected)
    assert names(encoder) == ["7", "a", "b"]
    again = MultiCategorical.from_state(json.loads(json.dumps(encoder.to_state())))
    np.testing.assert_array_equal(dense(again.transform(cells)), expected)
    for wrong in ("a|b", "['a']", '"a"', "[" * 10_000):
        with pytest.raises(ValueError, match="in row 1 is no JSON list"):
            encoder.transform(["[]", wrong])
    with pytest.raises(ValueError, match="two ways"):
        MultiCategorical("|", json=True)
    with pytest.raises(TypeError, match="json is 1"):
        MultiCategorical(json=1)


def test_written_lists_are_not_torn_apart():
    for text in ('["a", "b"]', "['a', 'b']", "[1, 2]"):
        with pytest.raises(ValueError, match=r"in row 1 is a list written out.*json=True"):
            MultiCategorical(",").fit(["a,b", text])
        with pytest.raises(ValueError, match="in row 0 is a list written out"):
            MultiCategorical(",").fit(["a,b"]).transform([text])
        with pytest.raises(TypeError, match="json=True"):
            MultiCategorical().fit([text])
    assert names(MultiCategorical("|").fit(["[live]", "[live]|rock"])) == ["[live]", "rock"]


def test_weights_of_categories():
    encoder = MultiCategorical(min_count=2).fit([{"a": 2, "b": 0.5}, {"a": 1, "c": 3}, ["a"]])
    assert names(encoder) == ["a", "other"]
    matrix = dense(encoder.transform([{"a": 2, "b": 0.5}, {"b": 1, "c": 3}, ["a", "b"], {}]))
    np.testing.assert_array_equal(matrix, [[2, 0.5], [0, 3], [1, 1], [0, 0]])
    for wrong, error in (({"a": "x"}, TypeError), ({"a": None}, ValueError)):
        with pytest.raises(error, match="row 1"):
            encoder.transform([["a"], wrong])


TAGS = {
    "film": ["heat", "up", "heat", "up", "heat"],
    "tag": ["crime", "air", "tense", None, "crime"],
    "n": [9, 4, 1, 5, 2],
}


def test_tags_of_a_row_each():
    films = ["up", "heat", "dune", "up"]
    assert gather_tags(TAGS, films, id="film") == [["air"], ["crime", "tense"], [], ["air"]]
    weighed = gather_tags(TAGS, films, id="film", weight="n")
    assert weighed == [{"air": 4}, {"crime": 11, "tense": 1}, {}, {"air": 4}]
    dataset = Dataset.from_tables(
        {"user_id": [1], "film": ["up"]},
        items={"film": films[:3], "tags": weighed[:3]},
        item="film",
        item_features=FeatureSpec({"tags": MultiCategorical()}),
    )
    np.testing.assert_array_equal(dataset.item_features.toarray()[:, 3:], [[4, 0, 0], [0, 11, 1], [0, 0, 0]])
    assert gather_tags({"film": ["1", "2"], "tag": ["x", "y"]}, [2, 1], id="film") == [["y"], ["x"]]


def test_tags_are_judged():
    with pytest.raises(ValueError, match="3 of 5 rows .* unknown id, 'heat' in row 0 first.*unknown='skip'"):
        gather_tags(TAGS, ["up"], id="film")
    assert gather_tags(TAGS, ["up"], id="film", unknown="skip") == [["air"]]
    with pytest.raises(ValueError, match="column 'n' has no weight in row 1"):
        gather_tags({**TAGS, "n": [1, None, 1, 1, 1]}, ["up", "heat"], id="film", weight="n")
    with pytest.raises(ValueError, match="column 'film' of the table of tags has no id in row 1"):
        gather_tags({**TAGS, "film": ["up", None, "up", "up", "up"]}, ["up"], id="film")
    with pytest.raises(ValueError, match="ids has no id in row 1"):
        gather_tags(TAGS, ["up", None, "heat"], id="film")
    with pytest.raises(ValueError, match="no column 'label'"):
        gather_tags(TAGS, ["up"], id="film", tag="label")
