"""Lists of tags in JSON, weights of categories, and frames with a row for each tag."""

import json

import numpy as np
import pytest

from lightfm_fast.data import Dataset
from lightfm_fast.features import (
    FeatureSpec,
    MultiCategorical,
    gather_tags,
)

from .films import dense, names

pa = pytest.importorskip("pyarrow")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")


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
    with pytest.raises(ValueError, match="json is 2"):
        MultiCategorical(json=2)


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


@pytest.mark.parametrize("library", ["polars", "pyarrow", "pandas"])
def test_structs_are_weights_of_their_fields(library):
    """A frame makes one type of dicts: each has all fields, most of which are null."""
    cells = [{"air": 2.0}, {"crime": 3.0, "tense": 1.0}, None]
    column = pa.array(cells)
    if library == "polars":
        column = pl.from_arrow(column)
    if library == "pandas":
        column = pd.Series(column, dtype=pd.ArrowDtype(column.type))
    found = MultiCategorical().fit(column).transform(column)
    np.testing.assert_array_equal(found.toarray(), [[2, 0, 0], [0, 3, 1], [0, 0, 0]])


@pytest.mark.parametrize("column", [[[("air", 2.0)]], pa.array([[("air", 2.0)]], pa.map_(pa.string(), pa.float64()))])
def test_pairs_are_no_categories(column):
    with pytest.raises(TypeError, match="row 0 holds .'air', 2.0. as a category.*make a dict of pairs of category"):
        MultiCategorical().fit(column)


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
    with pytest.raises(ValueError, match="column 'film' of the table of tags has 1 missing id, the first in row 1"):
        gather_tags({**TAGS, "film": ["up", None, "up", "up", "up"]}, ["up"], id="film")
    with pytest.raises(ValueError, match="ids has no id in row 1"):
        gather_tags(TAGS, ["up", None, "heat"], id="film")
    with pytest.raises(ValueError, match="no column 'label'"):
        gather_tags(TAGS, ["up"], id="film", tag="label")
