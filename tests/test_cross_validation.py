"""Splits: every stored entry on exactly one side, every pair on one side only."""

from collections import Counter
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from lightfm_fast.cross_validation import (
    Entries,
    InteractionSplitter,
    cold_items_train_test_split,
    cold_users_train_test_split,
    leave_last_out_train_test_split,
    random_train_test_split,
    time_train_test_split,
)

FORMATS = [
    sp.coo_matrix,
    sp.csr_matrix,
    sp.csc_matrix,
    sp.lil_matrix,
    sp.dok_matrix,
    sp.coo_array,
    sp.csr_array,
    np.asarray,
]


def dense(n_users=12, n_items=9, dtype=np.float32):
    ratings = np.random.RandomState(0).randint(0, 3, (n_users, n_items))
    return ratings.astype(dtype)


def entries(matrix):
    return Counter(zip(matrix.row.tolist(), matrix.col.tolist(), matrix.data.tolist(), strict=True))


def pairs(matrix):
    return set(zip(matrix.row.tolist(), matrix.col.tolist(), strict=True))


@pytest.mark.parametrize("build", FORMATS)
def test_every_format_is_split_into_two_disjoint_coo_matrices(build):
    interactions = build(dense())
    train, test = random_train_test_split(interactions, random_state=1)
    for side in (train, test):
        assert type(side) is sp.coo_matrix
        assert side.shape == (12, 9)
        assert side.nnz > 0
    assert not pairs(train) & pairs(test)
    np.testing.assert_array_equal((train + test).toarray(), dense())


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int32, np.int64, np.float32, np.float64])
def test_values_keep_their_dtype(dtype):
    train, test = random_train_test_split(sp.coo_matrix(dense(dtype=dtype)))
    assert train.dtype == test.dtype == train.data.dtype == dtype


@pytest.mark.parametrize("test_percentage", [0, 0.2, np.float32(0.25), 0.5, 0.9, 1])
def test_the_test_matrix_gets_the_fraction_asked_for(test_percentage):
    interactions = sp.coo_matrix(np.ones((20, 50)))
    train, test = random_train_test_split(interactions, test_percentage)
    assert test.nnz == pytest.approx(1000 * float(test_percentage), abs=1)
    assert train.nnz + test.nnz == 1000


def test_a_fifth_is_held_out_by_default():
    train, test = random_train_test_split(sp.coo_matrix(np.ones((20, 50))))
    assert (train.nnz, test.nnz) == (800, 200)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(-2, 2)), max_size=40),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_together_the_sides_are_the_input_and_no_pair_is_on_both(rows, test_percentage, seed):
    row, column, value = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    interactions = sp.coo_matrix((value, (row, column)), shape=(5, 4))
    train, test = random_train_test_split(interactions, test_percentage, seed)
    assert entries(train) + entries(test) == entries(interactions)
    assert not pairs(train) & pairs(test)
    assert len(pairs(train)) == int((1.0 - test_percentage) * len(pairs(interactions)))


def test_a_matrix_with_more_rows_than_training_takes_is_refused():
    interactions = sp.coo_matrix((np.ones(1), ([2**32], [7])), shape=(2**33, 8))
    with pytest.raises(ValueError, match="expected at most 2\\*\\*31 - 1 rows and columns"):
        random_train_test_split(interactions)


def test_explicit_zeros_are_entries():
    interactions = sp.coo_matrix((np.zeros(10), (np.arange(10), np.arange(10))))
    train, test = random_train_test_split(interactions, 0.5)
    assert (train.nnz, test.nnz) == (5, 5)


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    interactions = sp.coo_matrix(dense())
    first, again, state, other = (
        random_train_test_split(interactions, random_state=random_state)[1]
        for random_state in (3, np.int64(3), np.random.RandomState(3), 4)
    )
    assert entries(first) == entries(again) == entries(state)
    assert pairs(first) != pairs(other)


def test_a_random_state_is_drawn_from_and_none_is_not_a_seed():
    interactions = sp.coo_matrix(np.ones((30, 30)))
    for argument in (np.random.RandomState(3), np.random.default_rng(3), None):
        first, second = (random_train_test_split(interactions, random_state=argument)[1] for _ in range(2))
        assert pairs(first) != pairs(second)


def test_sample_weights_are_split_along():
    interactions = sp.coo_matrix((np.ones(6), ([0, 0, 1, 1, 0, 2], [0, 1, 0, 1, 0, 2])))
    weights = sp.coo_matrix((np.arange(6.0), (interactions.row, interactions.col)))
    for side, weight_side in zip(
        random_train_test_split(interactions, 0.5, 7), random_train_test_split(weights, 0.5, 7), strict=True
    ):
        np.testing.assert_array_equal(side.row, weight_side.row)
        np.testing.assert_array_equal(side.col, weight_side.col)


@pytest.mark.parametrize("build", [sp.coo_matrix, sp.csr_matrix, sp.coo_array, np.asarray])
def test_the_input_is_not_changed_and_shares_no_memory(build):
    interactions = build(dense())
    untouched = interactions.copy()
    for side in random_train_test_split(interactions):
        side.data[:] = 99
        side.row[:] = side.col[:] = 0
    if isinstance(interactions, np.ndarray):
        np.testing.assert_array_equal(interactions, untouched)
    else:
        assert entries(interactions.tocoo()) == entries(untouched.tocoo())


def test_unsorted_csr_is_split_without_being_sorted():
    interactions = sp.csr_matrix((np.array([1.0, 2.0]), np.array([1, 0]), np.array([0, 2])), shape=(1, 2))
    train, test = random_train_test_split(interactions, 0.5)
    assert entries(train) + entries(test) == Counter({(0, 1, 1.0): 1, (0, 0, 2.0): 1})
    assert interactions.indices.tolist() == [1, 0]


def test_an_empty_matrix_gives_two():
    for side in random_train_test_split(sp.coo_matrix((3, 4), dtype=np.int8)):
        assert (side.shape, side.nnz, side.dtype) == ((3, 4), 0, np.int8)


@pytest.mark.parametrize("test_percentage", [-0.1, 1.1, 20, np.nan, np.inf])
def test_a_fraction_outside_0_to_1_is_refused(test_percentage):
    with pytest.raises(ValueError, match=r"test_percentage is .*from 0 to 1"):
        random_train_test_split(sp.coo_matrix(dense()), test_percentage)


@pytest.mark.parametrize("test_percentage", ["0.2", None])
def test_a_fraction_that_is_no_number_is_refused(test_percentage):
    with pytest.raises(TypeError, match="test_percentage"):
        random_train_test_split(sp.coo_matrix(dense()), test_percentage)


@pytest.mark.parametrize(
    ("interactions", "message"),
    [
        (None, "dimension"),
        (np.ones(3), "1 dimension"),
        (np.ones((2, 2, 2)), "3 dimension"),
        (np.array([["a", "b"]]), "type <U1"),
        (np.array([[1, None]], dtype=object), "type object"),
        (np.array([[1.0, np.nan]]), "NaN or infinity"),
        (sp.csr_matrix([[np.inf, 0.0]]), "NaN or infinity"),
    ],
)
def test_interactions_that_are_no_numeric_matrix_are_refused(interactions, message):
    with pytest.raises(ValueError, match=f"interactions .*{message}"):
        random_train_test_split(interactions)


@pytest.mark.parametrize(
    ("random_state", "exception"),
    [
        ("seed", TypeError),
        (1.5, TypeError),
        (-1, ValueError),
        (2**32, ValueError),
    ],
)
def test_a_random_state_of_another_kind_is_refused(random_state, exception):
    with pytest.raises(exception):
        random_train_test_split(sp.coo_matrix(dense()), random_state=random_state)


# Splits by time and by user or item

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=40)


def history(events):
    row, column, times = np.array(events).reshape(-1, 3).T
    return sp.coo_matrix((np.arange(1, len(row) + 1), (row, column)), shape=(5, 4)), times


def earliest(interactions, times):
    """Earliest time of each pair, in the order in which pairs are first stored."""
    found = {}
    for pair, time in zip(zip(interactions.row.tolist(), interactions.col.tolist(), strict=True), times, strict=True):
        found[pair] = min(found.get(pair, time), time)
    return found


def latest_of_users(found, n_held_out):
    held_out = set()
    for user in range(5):
        own = sorted((pair for pair in found if pair[0] == user), key=found.get)  # stable: ties as stored
        held_out.update(own[len(own) - n_held_out(len(own)) :])
    return held_out


def check_sides(train, test, interactions, held_out):
    assert pairs(test) == held_out
    assert entries(train) + entries(test) == entries(interactions)
    assert not pairs(train) & pairs(test)
    for side in (train, test):
        assert type(side) is sp.coo_matrix
        assert side.data.tolist() == sorted(side.data.tolist())  # in the order of the input


@given(EVENTS, st.sampled_from([0.1, 0.2, 0.5, 0.9]))
def test_time_split_tests_on_all_that_is_as_late_as_the_first_pair_held_out(events, fraction):
    interactions, times = history(events)
    found = earliest(interactions, times)
    in_time = sorted(found.values())
    cutoff = in_time[min(int((1.0 - fraction) * len(in_time)), len(in_time) - 1)]
    sides = time_train_test_split(interactions, times, fraction)
    check_sides(*sides, interactions, {pair for pair, time in found.items() if time >= cutoff})


@given(EVENTS, st.integers(-1, 8))
def test_time_split_at_a_cutoff(events, cutoff):
    interactions, times = history(events)
    found = earliest(interactions, times)
    held_out = {pair for pair, time in found.items() if time >= cutoff}
    check_sides(*time_train_test_split(interactions, times, cutoff=cutoff), interactions, held_out)


@given(EVENTS, st.sampled_from([0.25, 0.5, 0.9]))
def test_time_split_per_user(events, fraction):
    interactions, times = history(events)
    held_out = latest_of_users(earliest(interactions, times), lambda n: int(fraction * n + 1e-9))
    check_sides(*time_train_test_split(interactions, times, fraction, per_user=True), interactions, held_out)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.longdouble, Fraction, np.array])
def test_a_fraction_of_any_type_splits_alike(kind):
    n = 70_000  # more than the largest number of half precision
    interactions = sp.coo_matrix((np.ones(n), (np.arange(n) % 300, np.arange(n) // 300)))
    entries_with_times = Entries(interactions, timestamps=np.arange(n))
    for split in (
        lambda share: time_train_test_split(interactions, np.arange(n), share),
        lambda share: time_train_test_split(interactions, np.arange(n), share, per_user=True),
        lambda share: next(InteractionSplitter(1, "time", share).split(entries_with_times)),
    ):
        for found, expected in zip(split(kind(0.25)), split(0.25), strict=True):
            assert found.shape == expected.shape
            assert getattr(found, "nnz", None) == getattr(expected, "nnz", None)


@given(EVENTS, st.integers(1, 3))
def test_leave_last_out(events, n):
    interactions, times = history(events)
    held_out = latest_of_users(earliest(interactions, times), lambda n_pairs: n if n_pairs > n else 0)
    check_sides(*leave_last_out_train_test_split(interactions, times, n), interactions, held_out)


def test_datetimes_split_as_numbers_do():
    interactions = sp.coo_matrix(np.ones((3, 4)))
    days = np.arange("2024-01-01", "2024-01-13", dtype="datetime64[D]")
    train, test = time_train_test_split(interactions, days, cutoff="2024-01-11")
    assert (train.nnz, test.nnz) == (10, 2)
    train, test = time_train_test_split(interactions, days, cutoff=days[3])
    assert (train.nnz, test.nnz) == (3, 9)


@pytest.mark.parametrize(
    ("unit", "cutoff", "n_later"),
    [
        ("ns", "9999-12-31", 0),  # out of the range of nanoseconds, as are the next two
        ("ns", "1600-01-01", 3),
        ("ns", "0001-01-01", 3),
        ("ns", "1969-12-31", 3),
        ("ns", "1970-01-01", 2),
        ("ns", "1969-12-31T23:00:00.000000001", 2),
        ("D", "1969-12-31T23", 2),
    ],
)
def test_a_cutoff_may_have_another_unit(unit, cutoff, n_later):
    times = np.array(["1969-12-31T23", "1970-01-02T01", "2024-01-01T00"], dtype="datetime64[h]")
    for point in (cutoff, np.datetime64(cutoff)):
        _, test = time_train_test_split(np.ones((1, 3)), times.astype(f"datetime64[{unit}]"), cutoff=point)
        assert test.nnz == n_later


def test_a_cutoff_in_nanoseconds_of_distant_days():
    days = np.array(["2024-01-01", "9999-12-31"], dtype="datetime64[D]")
    _, test = time_train_test_split(np.ones((1, 2)), days, cutoff=np.datetime64("2024-06-01", "ns"))
    assert test.col.tolist() == [1]


@pytest.mark.filterwarnings("error")
def test_a_cutoff_with_a_time_zone_is_converted_to_utc():
    zone = timezone(timedelta(hours=-8))
    interactions, start = sp.coo_matrix(np.ones((3, 4))), datetime(2024, 1, 1, tzinfo=zone)
    times = [start + timedelta(hours=hour) for hour in range(12)]
    for cutoff in (times[5], times[5].astimezone(timezone.utc)):
        train, test = time_train_test_split(interactions, times, cutoff=cutoff)
        assert (train.nnz, test.nnz) == (5, 7)
    train, _ = time_train_test_split(interactions, times, cutoff=date(2024, 1, 1))
    assert train.nnz == 0
    for cutoff, exception, message in (
        (5, TypeError, "cutoff is 5 but the timestamps are datetime64.*: give a datetime"),
        ("soon", TypeError, "cutoff is 'soon' but"),
        (np.nan, ValueError, "cutoff has 1 missing"),
        (np.datetime64("NaT"), ValueError, "cutoff has 1 missing"),
        (timedelta(1), TypeError, "cutoff has datetime.timedelta"),
        ([1, 2], TypeError, r"cutoff has \[1, 2\]"),
    ):
        with pytest.raises(exception, match=message):
            time_train_test_split(interactions, times, cutoff=cutoff)


@pytest.mark.parametrize(
    "split",
    [
        lambda *given, **options: time_train_test_split(*given, 0.3, **options),
        lambda *given, **options: time_train_test_split(*given, 0.3, per_user=True, **options),
        lambda *given, **options: leave_last_out_train_test_split(*given, **options),
    ],
)
def test_the_timestamps_of_the_parts_make_a_second_split(split):
    rng = np.random.default_rng(0)
    row, column = rng.integers(20, size=(2, 400))  # pairs repeat
    times = rng.permutation(400)
    interactions = sp.coo_matrix((times, (row, column)), shape=(20, 20))  # each entry's value is its time
    rest, test, rest_times, test_times = split(interactions, times, return_timestamps=True)
    np.testing.assert_array_equal(rest_times, rest.data)
    np.testing.assert_array_equal(test_times, test.data)
    train, validation = split(rest, rest_times)
    assert sorted(np.concatenate([train.data, validation.data, test.data])) == list(range(400))
    pairs = [set(zip(part.row.tolist(), part.col.tolist(), strict=True)) for part in (train, validation, test)]
    assert all(pairs)
    assert len(set.union(*pairs)) == sum(map(len, pairs))
    empty = split(sp.coo_matrix((3, 3)), [], return_timestamps=True)
    assert [len(each) for each in empty[2:]] == [0, 0]


@pytest.mark.parametrize(("split", "axis"), [(cold_users_train_test_split, 0), (cold_items_train_test_split, 1)])
def test_cold_splits_hold_out_whole_rows_or_columns(split, axis):
    matrix = np.zeros((40, 50))
    matrix[:20, :25] = np.random.default_rng(0).random((20, 25)) + 0.5
    matrix[3] = matrix[:, 4] = 0
    interactions = sp.coo_matrix(matrix)
    train, test = split(interactions, 0.25, random_state=1)
    sides = [set((side.row, side.col)[axis].tolist()) for side in (train, test)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) == int(0.75 * (19, 24)[axis])
    assert entries(train) + entries(test) == entries(interactions)
    assert entries(split(interactions, 0.25, random_state=1)[1]) == entries(test)
    assert entries(split(interactions, 0.25, random_state=2)[1]) != entries(test)


@pytest.mark.parametrize("split", [time_train_test_split, leave_last_out_train_test_split])
@pytest.mark.parametrize(
    ("times", "exception", "message"),
    [
        (np.arange(11), ValueError, "one for each of the 12 stored entries"),
        (np.array(["x"] * 12), TypeError, "parse dates given as text"),
        (np.arange(12).astype("timedelta64[s]"), TypeError, "expected numbers, dates or datetimes"),
        ([np.timedelta64(1, "s")] * 12, TypeError, "expected numbers, dates or datetimes"),
        (np.array([np.nan] + [0.0] * 11), ValueError, "has 1 missing or infinite value, the first in row 0"),
        (
            np.array(["NaT"] * 12, dtype="datetime64[s]"),
            ValueError,
            "has 12 missing or infinite values, the first in row 0",
        ),
    ],
)
def test_bad_timestamps_are_refused(split, times, exception, message):
    with pytest.raises(exception, match=message):
        split(sp.coo_matrix(np.ones((3, 4))), times)


def test_other_bad_arguments_of_time_splits_are_refused():
    interactions, times = sp.coo_matrix(np.ones((3, 4))), np.arange(12)
    with pytest.raises(ValueError, match="leave one out"):
        time_train_test_split(interactions, times, cutoff=3, per_user=True)
    with pytest.raises(ValueError, match="between 0 and 1"):
        time_train_test_split(interactions, times, 1.0)
    with pytest.raises(TypeError, match="give a number"):
        time_train_test_split(interactions, times, cutoff="2024-01-01")
    with pytest.raises(ValueError, match="n is 0"):
        leave_last_out_train_test_split(interactions, times, 0)


def test_time_splits_of_nothing_are_empty():
    nothing = sp.coo_matrix((3, 4))
    for split in (time_train_test_split, leave_last_out_train_test_split):
        assert [side.nnz for side in split(nothing, np.zeros(0))] == [0, 0]
