"""Splits: every stored entry on exactly one side, every pair on one side only."""

from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from lightfm_fast.cross_validation import random_train_test_split

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


def test_pairs_that_only_look_alike_in_64_bits_are_kept_apart():
    # rows 2**32 apart times 2**32 columns wrap around to the same 64-bit number
    row, column = np.array([0, 2**32, 2**32]), np.array([7, 7, 8])
    interactions = sp.coo_matrix((np.ones(3), (row, column)), shape=(2**33, 2**32))
    train, test = random_train_test_split(interactions, 1 / 3, random_state=0)
    assert (train.nnz, test.nnz) == (2, 1)
    splits = (random_train_test_split(interactions, 1 / 3, random_state=seed) for seed in range(50))
    assert len({frozenset(pairs(test)) for _, test in splits}) == 3


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
    random_state = np.random.RandomState(3)
    for argument in (random_state, None):
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
        (np.random.default_rng(0), TypeError),
        (-1, ValueError),
        (2**32, ValueError),
    ],
)
def test_a_random_state_of_another_kind_is_refused(random_state, exception):
    with pytest.raises(exception):
        random_train_test_split(sp.coo_matrix(dense()), random_state=random_state)
