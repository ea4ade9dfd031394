"""Entries in any order become samples sorted by user and item, and positives are counted."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightfm_fast import _core
from lightfm_fast._training_input import count_items, have_positives

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
    order = np.lexsort(entries[1::-1])  # keeps the order of equal entries, as NumPy promises
    expected = [None if array is None else array[order] for array in entries]
    outputs = [None if array is None else np.full_like(array, 77) for array in entries]
    indptr = np.full(n_users + 1, -1, dtype=np.int64)
    _core.engine.group_by_user(*entries, indptr, *outputs, num_threads)
    assert_array_equal(indptr, np.append(0, np.cumsum(np.bincount(users, minlength=n_users))))
    for found, sorted_array in zip(outputs, expected, strict=True):
        assert_array_equal(found, sorted_array)


def test_positives_of_users_and_items_are_counted():
    indptr, labels = np.array([0, 2, 2, 3, 5]), np.int8([-1, 1, -1, -1, -1])
    assert have_positives(indptr, labels).tolist() == [True, False, False, False]
    assert have_positives(indptr, None).tolist() == [True, False, True, True]
    assert have_positives(np.zeros(3, dtype=np.int64), np.zeros(0, np.int8)).tolist() == [False, False]
    items = np.int32([2, 0, 2, 2, 0])
    assert count_items(items, 4).tolist() == [2, 0, 3, 0]
    assert count_items(items, 4, -labels).tolist() == [1, 0, 3, 0]
