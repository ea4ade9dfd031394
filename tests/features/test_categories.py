"""Equal values are one category, whatever their type; unseen values give one warning."""

import datetime
from decimal import Decimal

import numpy as np
import pytest

from lightfm_fast.data import Dataset
from lightfm_fast.data.categories import CategoricalColumns
from lightfm_fast.features import (
    Categorical,
    FeatureSpec,
    MultiCategorical,
    Standardized,
    UnseenCategoryWarning,
)

from .films import dense, names

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


@pytest.mark.parametrize("order", [["a", "a:b"], ["a:b", "a"]])
def test_a_column_whose_name_begins_with_another_keeps_its_values(order):
    columns = CategoricalColumns(order).fit({"a": ["x", "y"], "a:b": ["x", "z"]})
    for encoder in (columns, CategoricalColumns.from_state(columns.to_state())):
        is_found = encoder.transform({"a": ["y"], "a:b": ["z"]}).toarray()[0] > 0
        assert set(encoder.get_feature_names_out()[is_found]) == {"a:y", "a:b:z"}
        with pytest.raises(ValueError, match="'a:b:z' first"):
            encoder.transform({"a": ["b:z"], "a:b": ["z"]})


def test_ids_that_differ_stay_two():
    spec = FeatureSpec({}, identity="keep").fit({}, ids=["true", "True", "1.0", "1"])
    assert len(names(spec)) == 4
    assert spec.transform({}, ids=["new", "1.0"]).nnz == 1  # a newcomer's id gives no warning


def test_one_warning_tells_what_was_not_seen():
    spec = FeatureSpec({"town": Categorical(), "tags": MultiCategorical("|"), "year": Standardized()})
    spec.fit({"town": ["Rome", "Oslo"], "tags": ["a|b", "c"], "year": [1, 2]})
    with pytest.warns(UnseenCategoryWarning) as told:
        spec.transform({"town": ["Rome", "Bern"], "tags": ["x|a|y", "x"], "year": [3, 4]})
    (warning,) = told
    assert warning.filename == __file__
    assert "column 'town': 1 of 2 values was not seen in fitting: 'Bern' in row 1;" in str(warning.message)
    assert "column 'tags': 3 of 4 values were not seen in fitting: 'x' in row 0 first, 2 different" in str(
        warning.message
    )


def test_pooled_and_other_categories_are_not_unseen():
    pooled = Categorical(min_count=2).fit(["a", "a", "b"])
    np.testing.assert_array_equal(dense(pooled.transform(["b", None, ""])), [[0, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(dense(Categorical(unseen="other").fit(["a"]).transform(["b"])), [[0, 1]])


def test_a_category_that_is_a_list_is_named():
    with pytest.raises(TypeError, match=r"row 1 holds \['b'\], expected .*MultiCategorical"):
        Categorical().fit(["a", ["b"]])
    with pytest.raises(TypeError, match=r"row 1 holds \['c'\] as a category"):
        MultiCategorical().fit([["a", "b"], ["b", ["c"]]])
