"""Each encoder against cases computed by hand, and the promises of all encoders."""

import contextlib
import datetime
import json
import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

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
)

from .films import dense, names

TEXTS = ["a spice planet", "apes of the planet", None, "planet planet"]
# An encoder of each kind, values to fit it to, and values to encode, with missing and new ones.
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


def test_categories_are_sorted_and_missing_ones_weigh_nothing():
    encoder = Categorical().fit(["b", None, "a", float("nan"), "b"])
    assert names(encoder) == ["a", "b"]
    with pytest.warns(UnseenCategoryWarning, match="1 of 2 values was not seen in fitting: 'c' in row 2. "):
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
    for text in (["1", "2"], [1, "a"], [[1, 2]], [{1}]):
        with pytest.raises(TypeError, match="expected numbers"):
            encoder.fit(text)
    for dates in (["2020-01-31"], [None, "01-Jan-1995"], ["31.1.2020 10:00"]):
        with pytest.raises(TypeError, match="expected numbers.*parse dates given as text"):
            encoder.fit(dates)
    for large in ([np.inf, 1], [1e39]):
        with pytest.raises(ValueError, match="single precision"):
            encoder.transform(large)
    if not isinstance(encoder, Periodic):
        with pytest.raises(ValueError, match="missing"):
            encoder.fit([None, np.nan])


def test_vectors_written_as_text_are_refused():
    for cells in (["[0.1, 2]", "[3, 4]"], [[0.1, 2], "[3, 4]"]):
        with pytest.raises(ValueError, match="is text, expected a vector: read vectors .* by json.loads"):
            Dense().fit(cells)


DAYS = ["2020-01-01", "2020-07-01", None]
DATES_OF_PYTHON = [None if day is None else datetime.date.fromisoformat(day) for day in DAYS]
DATES = {
    "list": DATES_OF_PYTHON,
    "numpy": np.array([day or "NaT" for day in DAYS], "datetime64[s]"),
    "pandas": pd.Series(pd.to_datetime(DAYS)),
    "pandas objects": pd.Series(DATES_OF_PYTHON, dtype=object),
    "polars": pl.Series(DAYS).str.to_date(),
    "polars with a zone": pl.Series(DAYS).str.to_datetime(time_zone="UTC"),
    "pyarrow": pa.chunked_array([pa.array(DAYS).cast(pa.timestamp("ms"))]),
}


@pytest.mark.parametrize("dates", DATES.values(), ids=DATES)
def test_a_date_is_its_year_and_the_fraction_of_it(dates):
    years = PiecewiseLinear(1).fit([2020, 2021]).transform(dates).toarray()
    np.testing.assert_allclose(years, [[1, 0, 0], [1, 182 / 366, 0], [0, 0, 1]], atol=1e-6)
    season = Periodic(1, 2).fit(dates).transform(dates).toarray()
    np.testing.assert_allclose(season, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], atol=0.01)
    with pytest.raises(TypeError, match="as in the rows before"):
        Standardized().fit([datetime.date(2020, 1, 1), 2020])


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
        (lambda: Text(token_pattern="(a").fit(TEXTS), r"token_pattern is '\(a', expected a regular expression"),
        (lambda: Text("hashing", token_pattern="(a").fit(TEXTS), r"token_pattern is '\(a'"),
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
