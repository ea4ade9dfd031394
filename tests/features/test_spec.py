"""A spec encodes the columns of every kind of frame."""

import numpy as np
import pytest

from lightfm_fast.features import (
    Categorical,
    FeatureSpec,
    QuantileBins,
    Text,
)

from .films import FILMS, FILMS_NAMES, FILMS_WEIGHTS, dense, films_spec, names


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
    matrix = dense(spec.fit_transform(FILMS, ids=FILMS["film"]))
    assert names(spec) == ["identity:dune", "identity:heat", "identity:up", *FILMS_NAMES]
    np.testing.assert_array_equal(matrix[:, :3], weight * np.eye(3)[::-1])
    np.testing.assert_array_equal(matrix[:, 3:], FILMS_WEIGHTS)
    assert spec.fields_[:4].tolist() == ["identity"] * 3 + ["genres"]
    newcomers = dense(spec.transform(FILMS, ids=["up", "alien", "dune"]))
    np.testing.assert_array_equal(newcomers[:, :3], weight * np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]]))
    by_column = films_spec(identity=identity, id_column="film")
    np.testing.assert_array_equal(dense(by_column.fit_transform(FILMS)), matrix)
    assert names(by_column)[0] == "film:dune"
    with pytest.raises(ValueError, match="id_column="):
        spec.transform(FILMS)
    with pytest.raises(ValueError, match="id_column="):
        spec.fit(FILMS, FILMS["film"])  # the target that a pipeline passes


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
    with pytest.raises(TypeError, match="column 'year' has .*expected numbers"):
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
