"""Checks of the input of scoring and ranking: pairs of ids, and the matrices of test and train."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast._scoring import check_disjoint, check_ids


def test_ids():
    users, items = check_ids(3, [1, 2])
    assert_array_equal(users, [3, 3])
    assert_array_equal(items, [1, 2])
    assert users.dtype == items.dtype == np.int64
    assert all(ids.shape == (0,) for ids in check_ids([], []))
    assert all(ids.shape == (1,) for ids in check_ids(1, np.int8(2)))
    for bad in (-1, 2**62, 2**63, 0.5, np.nan, np.inf, "a", None, [[1]], True):
        with pytest.raises(ValueError, match="user_ids"):
            check_ids(bad, 0)


def test_common_entries_are_counted():
    test, train = sp.csr_matrix([[1.0, 0, 1], [0, 1, 0]]), sp.csr_matrix([[0.0, 0, -3], [0, 2, 0]])
    with pytest.raises(ValueError, match="share 2 entries"):
        check_disjoint(test, train)
    check_disjoint(test, sp.csr_matrix([[0.0, 1, 0], [1, 0, 0]]))


@pytest.mark.parametrize("value", [0.0, 1e-30])
def test_explicit_zeros_are_not_in_common(value):
    entry = sp.csr_matrix((np.full(1, value, dtype=np.float32), np.array([2]), np.array([0, 1])), shape=(1, 3))
    if value == 0:
        check_disjoint(entry, sp.csr_matrix([[0.0, 0, 1]]))
    else:
        with pytest.raises(ValueError, match="share 1 entries"):
            check_disjoint(entry, entry)
