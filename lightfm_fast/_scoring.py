"""Scores of pairs of users and items, and the ranks of test items, by the compiled core."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._arguments import check_flag, check_is_unchanged, check_row_numbers
from lightfm_fast._matrices import check_entries, check_is_no_list, common_entries, is_canonical
from lightfm_fast._parameters import Floats, to_directions
from lightfm_fast._sides import Sides, check_represented


def check_ids(user_ids: Any, item_ids: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return two int64 arrays of equal length. A single user or item is paired with every id of the other side.

    Raises
    ------
    ValueError
        If the lengths differ, or an id is negative or no whole number.
    """
    users, items = check_row_numbers(user_ids, "user_ids"), check_row_numbers(item_ids, "item_ids")
    if users.ndim == items.ndim == 1 and len(users) != len(items):
        raise ValueError(
            f"user_ids has {len(users):,} ids and item_ids has {len(items):,}: give as many of one as of the other, "
            "or a single user id"
        )
    users, items = np.broadcast_arrays(users, items)
    return np.ascontiguousarray(np.atleast_1d(users)), np.ascontiguousarray(np.atleast_1d(items))


def score_pairs(
    sides: Sides,
    user_features: sp.csr_matrix,
    item_features: sp.csr_matrix,
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    num_threads: int,
) -> NDArray[np.float32]:
    """Score each of ``users`` with the item at the same position; both are row numbers of the features."""
    scores = np.empty(len(users), dtype=np.float32)
    user_arrays = sides.represent("user", user_features, users, num_threads)
    item_arrays = sides.represent("item", item_features, items, num_threads)
    width = user_arrays[0].shape[1]
    check_is_unchanged(width == item_arrays[0].shape[1])
    _core.ranking.score_pairs(*user_arrays, *item_arrays, width, sides.are_cosines, scores, num_threads)
    return scores


def check_test_and_train(
    test_interactions: Any, train_interactions: Any, check_intersections: bool
) -> tuple[sp.csr_matrix, sp.csr_matrix | None]:
    """Return both as :func:`check_ranking_input` does.

    Raises
    ------
    ValueError
        As :func:`check_ranking_input`; also if they differ in shape or, with ``check_intersections``, share entries.
    """
    test = check_ranking_input(test_interactions, "test_interactions")
    is_checked = check_flag(check_intersections, "check_intersections")
    if train_interactions is None:
        return test, None
    train = check_ranking_input(train_interactions, "train_interactions", test.shape)
    if is_checked:
        check_disjoint(test, train)
    return test, train


def check_ranking_input(interactions: Any, name: str, shape: tuple[int, int] | None = None) -> sp.csr_matrix:
    """Copy the stored entries to sorted CSR, with duplicates added up.

    Raises
    ------
    ValueError
        If it is no matrix of finite numbers or not of ``shape``.
    """
    check_is_no_list(interactions, name)
    entries = check_entries(interactions, name)
    if shape is not None and entries.shape != shape:
        raise ValueError(f"{name} has shape {entries.shape}, expected {shape}")
    if is_canonical(entries):
        return entries
    matrix = sp.csr_matrix(sp.coo_matrix(entries))  # by way of COO, whose conversion adds up duplicates
    matrix.sort_indices()
    return matrix


def check_disjoint(test: sp.csr_matrix, train: sp.csr_matrix) -> None:
    """Raise ValueError if two CSR matrices of one shape share entries other than zero. ``train`` must be sorted."""
    if not common_entries(test, train).any():
        return
    patterns = (
        sp.csr_matrix((matrix.data != 0, matrix.indices, matrix.indptr), shape=matrix.shape) for matrix in (test, train)
    )
    common = next(patterns).multiply(next(patterns)).nnz
    if common:
        raise ValueError(
            f"test_interactions and train_interactions share {common:,} entries: take them out of one, or pass "
            "check_intersections=False"
        )


def check_ranked_items(n_items: int, n_fitted: int) -> None:
    """Raise ValueError if there are fewer items to rank than a model without item features was fitted with."""
    if n_items < n_fitted:
        raise ValueError(
            f"test_interactions has {n_items:,} items but the model was fitted with {n_fitted:,} and ranks among "
            "all of them: give a matrix of as many columns as the training data has"
        )


def rank(
    sides: Sides,
    user_features: sp.csr_matrix,
    item_features: sp.csr_matrix,
    test: sp.csr_matrix,
    train: sp.csr_matrix | None,
    num_threads: int,
) -> sp.csr_matrix:
    """Return for each entry of ``test`` the number of other items, not in ``train``, that score at least as high."""
    n_users, n_items = test.shape
    users, _, _ = sides.represent("user", user_features, np.arange(n_users), num_threads)
    items, item_biases, _ = sides.represent("item", item_features, np.arange(n_items), num_threads)
    check_is_unchanged(users.shape[1] == items.shape[1])
    users, items = (embeddings[:, : sides.length] for embeddings in (users, items))
    check_represented("user", users[:n_users], item_biases[:0])
    check_represented("item", items[:n_items], item_biases[:n_items])
    if sides.are_cosines:
        users = to_directions(users[:n_users])
    ranks = sp.csr_matrix((np.empty(test.nnz, dtype=np.float32), test.indices, test.indptr), shape=test.shape)
    _core.ranking.rank(
        users,
        items[:n_items],
        item_biases[:n_items],
        items.shape[1],
        sides.are_cosines,
        test.indptr.astype(np.int64, copy=False),
        test.indices.astype(np.int32, copy=False),
        None if train is None else train.indptr.astype(np.int64, copy=False),
        None if train is None else train.indices.astype(np.int32, copy=False),
        ranks.data,
        num_threads,
    )
    return ranks


def ndcg_gains(ranks: NDArray[Any], n_positives: NDArray[np.integer], n_ranked: int) -> NDArray[np.float64]:
    """Return how much each positive adds to the NDCG of a list's first items, for gains of 0 or 1 (Järvelin 2002).

    Parameters
    ----------
    ranks : array
        Of each positive, from 0.
    n_positives : int array of the same shape, or of one that broadcasts
        How many there are in the positive's list, at least 1.
    n_ranked : int
        How many items count.
    """
    ideal = np.cumsum(1 / np.log2(np.arange(2, n_ranked + 2)))
    gains: NDArray[np.float64] = np.where(ranks < n_ranked, 1 / np.log2(ranks + 2.0), 0)
    return gains / ideal[np.minimum(n_positives, n_ranked) - 1]


def ndcg_shares(scores: Floats, hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what each hit adds to the NDCG of its row's ten best scores; each row has a hit."""
    ranks = np.empty(scores.shape, dtype=np.intp)
    np.put_along_axis(ranks, np.argsort(-scores, axis=1, kind="stable"), np.arange(scores.shape[1])[None], axis=1)
    gains = ndcg_gains(ranks, hits.sum(axis=1, keepdims=True), min(10, scores.shape[1]))
    return np.where(hits, gains, 0)
