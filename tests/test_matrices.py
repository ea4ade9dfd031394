"""Checked matrices and arrays are canonical, and the caller's are not changed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import _matrices
from lightfm_fast._scoring import check_ranking_input


def test_stored_entries_keep_repeats_and_zeros():
    for matrix_type in (sp.csr_matrix, sp.csc_matrix, sp.csr_array):
        matrix = matrix_type((np.array([1.0, 0.0, 2.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
        entries = _matrices.check_stored_entries(matrix, "m")
        assert entries.nnz == 3
        assert_array_equal(entries.data, [1, 0, 2])
    repeated = sp.coo_matrix(([1.0, 1.0], ([0, 0], [1, 1])), shape=(2, 2))
    assert _matrices.check_stored_entries(repeated, "m").nnz == 2
    assert _matrices.check_stored_entries(np.array([[0, 3], [0, 0]]), "m").nnz == 1


def test_known_positives_are_canonical_ones():
    entries = sp.coo_matrix(([1.0, -1.0, 0.0, 5.0], ([0, 0, 1, 1], [2, 2, 0, 1])), shape=(2, 3))
    positives = _matrices.check_known_positives(entries, "m")
    assert positives.dtype == np.float32
    assert positives.has_canonical_format
    assert_array_equal(positives.toarray(), [[0, 0, 1], [0, 1, 0]])


def test_interactions_come_with_narrow_indices():
    wide = sp.coo_matrix((np.ones(2), (np.array([0, 1]), np.array([1, 0]))), shape=(2, 2**31 - 1))
    entries = _matrices.check_interactions(wide)
    assert entries.row.dtype == entries.col.dtype == np.int32
    with pytest.raises(ValueError, match="2\\*\\*31"):
        _matrices.check_interactions(sp.coo_matrix((2, 2**31)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize(
    ("row", "col", "values", "is_sorted", "is_positive"),
    [
        ([], [], [], True, True),
        ([0, 0, 1, 1], [0, 2, 1, 1], [1, 2, 3, 4], True, True),
        ([0, 0, 1], [2, 0, 1], [1, 1, 1], False, True),
        ([1, 0], [0, 2], [1, 1], False, True),
        ([0, 1], [2, 0], [0, 1], True, False),
        ([0, 1], [2, 0], [1, -1], True, False),
    ],
)
def test_interactions_tell_their_order_and_signs(row, col, values, dtype, is_sorted, is_positive):
    matrix = sp.coo_matrix((np.array(values, dtype), (row, col)), shape=(2, 3))
    matrix.row, matrix.col = np.array(row, np.int32), np.array(col, np.int32)
    entries = _matrices.check_interactions(matrix)
    assert (entries.check.is_sorted, entries.is_positive) == (is_sorted, is_positive)
    assert_array_equal(entries.toarray(), matrix.toarray())
    if is_sorted:
        indptr = np.full(4, -1)
        entries.check.find_users(entries.row, indptr[:3])
        assert_array_equal(indptr, [*np.searchsorted(row, [0, 1, 2]), -1])


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("n_users", [2, 1000, 400_000])  # one row in many checks, many rows in one
def test_long_input_is_found_sorted_or_not_wherever_that_shows(n_users, num_threads):
    size = 300_000  # four stretches and a part of one, which threads share
    generator = np.random.default_rng(0)
    row = np.sort(generator.integers(1, n_users, size)).astype(np.int32)
    entries = sp.coo_matrix((np.ones(size, np.float32), (row, np.zeros(size, np.int32))), shape=(n_users, 2))
    entries.row, entries.col = row, np.zeros(size, np.int32)
    check = _matrices.check_interactions(entries, num_threads).check
    assert check.is_sorted
    indptr = np.empty(n_users + 1, dtype=np.int64)
    check.find_users(row, indptr)
    assert_array_equal(indptr, np.searchsorted(row, np.arange(n_users + 1)))

    for place in (0, 1 << 16, size - 2):
        entries.col[place] = 1
        same_row = row[place] == row[place + 1]
        assert _matrices.check_interactions(entries, num_threads).check.is_sorted != same_row
        entries.col[place] = 0
        entries.row = row.copy()
        entries.row[place + 1] = 0
        assert not _matrices.check_interactions(entries, num_threads).check.is_sorted
        entries.row = row
        entries.data[place] = 0
        assert not _matrices.check_interactions(entries, num_threads).is_positive
        entries.data[place] = np.nan
        with pytest.raises(ValueError, match="NaN"):
            _matrices.check_interactions(entries, num_threads)
        entries.data[place] = 1


def test_repeated_interactions_are_added_up_where_a_matrix_is_made_of_them():
    repeated = sp.coo_matrix((np.ones(2, np.float32), ([0, 0], [1, 1])), shape=(1, 2))
    assert_array_equal(_matrices.check_interactions(repeated).tocsr().data, [2])


@pytest.mark.parametrize(
    "malformed",
    [
        {"indices": np.array([0, 5])},
        {"indices": np.array([0, -1])},
        {"indptr": np.array([0, 3, 2])},
        {"indptr": np.array([0, 1, 9])},
        {"indptr": np.array([1, 1, 2])},
        {"indptr": np.array([0, 2])},
        {"data": np.ones(1)},
    ],
)
@pytest.mark.parametrize("matrix_type", [sp.csr_matrix, sp.csc_matrix, sp.csr_array])
def test_compressed_matrices_that_point_outside_are_refused(matrix_type, malformed):
    matrix = matrix_type(np.eye(2))
    for name, array in malformed.items():
        setattr(matrix, name, array)
    for check in (
        lambda: _matrices.check_interactions(matrix),
        lambda: _matrices.check_features(matrix, "item", 0),
        lambda: check_ranking_input(matrix, "test_interactions"),
    ):
        with pytest.raises(ValueError, match=r"(interactions|item_features) is a malformed matrix"):
            check()


def test_coordinates_outside_are_refused():
    matrix = sp.coo_matrix(np.eye(3))
    matrix.col[1] = 7
    with pytest.raises(ValueError, match="interactions is a malformed matrix"):
        _matrices.check_interactions(matrix)
    matrix.col[1] = -1
    with pytest.raises(ValueError, match="user_features is a malformed matrix"):
        _matrices.check_features(matrix, "user", 0)


def test_features_are_canonical_and_their_own():
    given = sp.csr_matrix((np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1]), np.array([0, 3, 3])), shape=(2, 2))
    features = _matrices.check_features(given, "item", 2)
    assert features.has_canonical_format
    assert features.dtype == np.float32
    assert_array_equal(features.toarray(), [[2, 4], [0, 0]])
    features.data[:] = 0
    assert_array_equal(given.data, [1, 2, 3])
    assert_array_equal(given.indices, [1, 0, 1])
    canonical = sp.csr_matrix(np.eye(2, dtype=np.float32))
    _matrices.check_features(canonical, "item", 2).data[:] = 5
    assert_array_equal(canonical.data, [1, 1])


def test_all_rows_of_a_small_matrix_are_judged():
    bad = sp.random(200, 30, 0.2, "csr", np.float32, random_state=np.random.default_rng(0))
    bad.data[bad.indptr[8]] = np.nan
    with pytest.raises(ValueError, match="item_features holds NaN"):
        _matrices.check_features(bad, "item", 151, np.array([7]))


def test_only_the_few_rows_that_are_read_are_judged(monkeypatch):
    monkeypatch.setattr(_matrices, "LARGE", 0)
    rng = np.random.default_rng(0)
    whole = sp.random(200, 30, 0.2, "csr", np.float32, random_state=rng)
    asked = np.array([7, 150, 7])
    for given in (whole, sp.csr_array(whole), whole.astype(np.float64)):
        features = _matrices.check_features(given, "item", 151, asked)
        assert features.shape == whole.shape
        assert features.has_canonical_format
        assert features.dtype == np.float32
        assert features.nnz == whole[[7, 150]].nnz
        assert_array_equal(features[asked].toarray(), whole[asked].toarray())
    for given in (whole.tocsc(), whole.toarray()):
        assert_array_equal(_matrices.check_features(given, "item", 151, asked).toarray(), whole.toarray())
    assert_array_equal(_matrices.check_features(whole, "item", 26, np.arange(26)).toarray(), whole.toarray())

    for row, is_read in ((7, True), (8, False)):
        for array, value in (("data", np.nan), ("indices", 30), ("indices", -1)):
            bad = whole.copy()
            getattr(bad, array)[bad.indptr[row]] = value
            if is_read:
                with pytest.raises(ValueError, match="item_features (holds NaN|is a malformed matrix)"):
                    _matrices.check_features(bad, "item", 151, asked)
            else:
                assert_array_equal(_matrices.check_features(bad, "item", 151, asked)[7].toarray(), whole[7].toarray())
    for place, value in ((0, 1), (0, -1), (7, 10**6), (8, 0), (8, 10**6)):
        bad = whole.copy()
        bad.indptr[place] = value
        with pytest.raises(ValueError, match="item_features is a malformed matrix"):
            _matrices.check_features(bad, "item", 151, asked)
    with pytest.raises(ValueError, match="has 200 rows but there are 201 items"):
        _matrices.check_features(whole, "item", 201, np.array([200]))


def test_a_sum_of_repeats_beyond_single_precision_is_refused():
    largest = float(np.finfo(np.float32).max)
    features = sp.coo_matrix(([largest, largest], ([0, 0], [0, 0])), shape=(1, 1))
    with pytest.raises(ValueError, match="single precision"):
        _matrices.check_features(features, "item", 1)


def test_common_entries_are_told_one_by_one():
    rng = np.random.default_rng(0)
    test, train = (sp.csr_matrix(rng.random((30, 20)) < share) for share in (0.3, 0.5))
    expected = (test.toarray() & train.toarray())[test.nonzero()]
    for num_threads in (1, 2):
        assert_array_equal(_matrices.common_entries(test, train, num_threads), expected)
    backwards = sp.csr_matrix((test.data, test.indices, test.indptr), copy=True, shape=test.shape)
    for first, last in zip(test.indptr, test.indptr[1:], strict=False):
        backwards.indices[first:last] = test.indices[first:last][::-1]
        expected[first:last] = expected[first:last][::-1]
    assert_array_equal(_matrices.common_entries(backwards, train), expected)


def test_ranking_input_is_sorted_and_its_own():
    canonical = sp.csr_matrix(np.eye(3))
    unsorted = sp.csr_matrix((np.array([1.0, 2, 3]), np.array([2, 0, 0]), np.array([0, 3])), shape=(1, 3))
    for check in (
        lambda given: check_ranking_input(given, "test"),
        lambda given: _matrices.check_known_positives(given, "test"),
    ):
        for given, nonzero in ((canonical, 3), (unsorted, 2)):
            before = given.indices.copy(), given.data.copy()
            checked = check(given)
            assert checked.has_canonical_format
            assert checked.nnz == nonzero
            checked.indices[:], checked.data[:] = 0, 7
            assert_array_equal(given.indices, before[0])
            assert_array_equal(given.data, before[1])


def canonical():
    return _matrices.check_features(sp.csr_matrix(np.eye(3)[:, [1, 2, 0]]), "item", 3)


def test_a_sealed_matrix_is_not_judged_again(monkeypatch):
    sealed = _matrices.sealed(canonical())
    monkeypatch.setattr(_matrices, "_own_entries", None)  # the full check
    assert _matrices.check_features(sealed, "item", 3) is sealed
    assert check_ranking_input(sealed, "test_interactions") is sealed
    seen = _matrices.check_seen(sealed, np.array([2, 0]), 3)
    assert_array_equal(seen.toarray(), np.eye(3)[[1, 2]])
    with pytest.raises(ValueError, match="item_features has 3 rows but there are 4 items"):
        _matrices.check_features(sealed, "item", 4)
    with pytest.raises(ValueError, match="read-only"):
        sealed.data[0] = np.nan


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "indices", m.indices + 3),
        lambda m: setattr(m, "data", np.full(3, np.nan)),
        lambda m: setattr(m, "_shape", (3, 2)),
        lambda m: (m.data.setflags(write=True), m.data.fill(np.nan)),
    ],
    ids=["other columns", "other values", "another shape", "made writable"],
)
def test_a_sealed_matrix_that_has_changed_is_judged(change):
    sealed = _matrices.sealed(canonical())
    change(sealed)
    with pytest.raises(ValueError, match="item_features (holds NaN|is a malformed matrix)"):
        _matrices.check_features(sealed, "item", 3)


@pytest.mark.parametrize("derive", [copy.deepcopy, lambda m: m.copy(), lambda m: m[:2], lambda m: m[:, [0, 1]], abs])
def test_what_is_made_of_a_sealed_matrix_is_judged(derive):
    made = derive(_matrices.sealed(canonical()))
    made.data[:] = np.nan
    with pytest.raises(ValueError, match="holds NaN"):
        _matrices.check_features(made, "item", 0)


def test_a_sealed_matrix_is_copied_for_who_may_write():
    sealed = _matrices.sealed(canonical())
    own = _matrices.unsealed(sealed)
    own.data[:] = 5
    assert_array_equal(sealed.data, np.ones(3))
    assert _matrices.unsealed(own) is own
