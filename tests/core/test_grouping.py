"""Entries in any order become samples sorted by user and item, and positives are counted."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightfm_fast import _core
from lightfm_fast._matrices import frozen, judge_values
from lightfm_fast._training_input import count_items, have_positives, labels_of

SHAPES = {
    "nothing": (4, 3, 0),
    "every pair many times": (5, 4, 1_000),
    "more users than fit one bucket, some without entries": (3_001, 70, 300_000),
    "more users than entries": (1_000_000, 40_000, 5_000),
}


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("given", [(), ("weights",), ("labels",), ("weights", "labels")], ids="-".join)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_entries_are_sorted_with_their_weights_and_labels(shape, given, num_threads):
    n_users, n_items, size = shape
    rng = np.random.default_rng(0)
    users = (n_users * rng.random(size) ** 3).astype(np.int32)
    entries = [
        users,
        rng.integers(0, n_items, size, dtype=np.int32),
        np.arange(size, dtype=np.float32) if "weights" in given else None,  # tell equal entries from each other
        rng.choice(np.int8([-1, 1]), size) if "labels" in given else None,
    ]
    assert_sorts(entries, n_users, n_items, num_threads)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("n_twice", [0, 5])
@pytest.mark.parametrize("has_labels", [False, True])
@pytest.mark.parametrize("n_items", [40, 64, 300])
def test_dense_entries_are_sorted_with_their_labels(n_items, has_labels, n_twice, num_threads):
    n_users, rng = 1_000, np.random.default_rng(0)
    places = rng.permutation(n_users * n_items)[: n_users * n_items // 4]
    places = np.append(places, places[:n_twice])  # in some of the buckets, pairs occur twice
    users, items = np.divmod(places.astype(np.int32), np.int32(n_items))
    users, items = users[users % 10 != 3], items[users % 10 != 3]  # some users have no entries
    labels = rng.choice(np.int8([-1, 1]), len(users)) if has_labels else None
    assert_sorts([users, items, None, labels], n_users, n_items, num_threads)


def assert_sorts(entries, n_users, n_items, num_threads):
    users = entries[0]
    order = np.lexsort(entries[1::-1])  # keeps the order of equal entries, as NumPy promises
    expected = [None if array is None else array[order] for array in entries]
    outputs = [None if array is None else np.full_like(array, 77) for array in entries]
    indptr = np.full(n_users + 1, -1, dtype=np.int64)
    _core.engine.group_by_user(*entries, n_items, indptr, *outputs, num_threads)
    assert_array_equal(indptr, np.append(0, np.cumsum(np.bincount(users, minlength=n_users))))
    for found, sorted_array in zip(outputs, expected, strict=True):
        assert_array_equal(found, sorted_array)


def test_positives_of_users_and_items_are_counted():
    indptr, labels = np.array([0, 2, 2, 3, 5]), np.int8([-1, 1, -1, -1, -1])
    assert have_positives(indptr, labels).tolist() == [True, False, False, False]
    assert have_positives(indptr, None).tolist() == [True, False, True, True]
    assert have_positives(np.zeros(3, dtype=np.int64), np.zeros(0, np.int8)).tolist() == [False, False]
    items = np.int32([2, 0, 2, 2, 0])
    assert [counts.tolist() for counts in count_items(items, 4)] == [[2, 0, 3, 0]] * 2
    assert [counts.tolist() for counts in count_items(items, 4, -labels)] == [[2, 0, 3, 0], [1, 0, 3, 0]]
    assert count_items(items[:0], 2)[0].tolist() == [0, 0]


@pytest.mark.parametrize("num_threads", [1, 3])
def test_threads_count_items_together(num_threads):
    rng = np.random.default_rng(0)
    items, labels = rng.integers(0, 70, 700_001, dtype=np.int32), rng.choice(np.int8([-1, 1]), 700_001)
    all_entries, positives = count_items(items, 80, labels, num_threads)
    assert_array_equal(all_entries, np.bincount(items, minlength=80))
    assert_array_equal(positives, np.bincount(items[labels > 0], minlength=80))


@pytest.mark.parametrize("size", [0, 5, 300_001])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_values_are_checked_and_become_labels(size, kind):
    values = np.random.default_rng(0).integers(1, 9, size).astype(kind)
    assert judge_values(values, 3) == (True, True)
    if size:
        values[-1] = 0
        assert judge_values(values, 3) == (True, False)
    values[: size // 2] *= -1
    assert_array_equal(labels_of(values, 3), np.where(values > 0, 1, -1))
    assert_array_equal(labels_of(values[::2], 3), np.where(values[::2] > 0, 1, -1))
    if size and kind != np.int16:
        for wrong in (np.nan, np.inf):
            values[size // 2] = wrong
            assert judge_values(values, 3) == (False, False)


@pytest.mark.parametrize("size", [0, 5, 300_001])
def test_frozen_arrays_are_copies(size):
    array = np.random.default_rng(0).integers(0, 9, size, dtype=np.int32)
    for given in (array, array[::-1]):
        copy = frozen(given, 3)
        assert_array_equal(copy, given)
        assert copy.dtype == given.dtype
        assert not np.shares_memory(copy, array)
        with pytest.raises(ValueError, match="WRITEABLE"):
            copy.flags.writeable = True
        assert frozen(copy) is copy or not size
