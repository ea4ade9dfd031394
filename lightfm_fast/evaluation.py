"""Ranking metrics of a fitted model, one value a user.

A known positive is an entry other than zero, whatever its value. An item is positive for a user or it is not:
an entry given twice counts once, and an explicit zero does not count.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._validation import check_count, check_known_positives, check_num_threads

__all__ = ["auc_score", "precision_at_k", "recall_at_k", "reciprocal_rank"]


class RankingModel(Protocol):
    """What the metrics ask of a model."""

    def predict_rank(self, test_interactions: Any, train_interactions: Any = None, **options: Any) -> Any:
        """Return a CSR matrix of ranks from 0, the best, in the pattern of ``test_interactions``."""
        ...


def precision_at_k(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    k: int = 10,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float32]:
    """Share of the first ``k`` recommended items that are known positives; 1 is perfect.

    Parameters
    ----------
    model : LightFM
        The fitted model, or anything with its ``predict_rank``.
    test_interactions : sparse matrix or array, or dense array, shape [n_users, n_items]
        Entries other than zero are the positives to be found.
    train_interactions : same, shape [n_users, n_items], optional
        Positives seen in training: they are not recommended again, so they take no place in the ranking.
    k : int
        Length of the recommendation list, at least 1.
    user_features, item_features : sparse matrix, optional
        The features the model was fitted with.
    preserve_rows : bool
        False: one value for each user with test positives. True: one value for each user.
    num_threads : int
        Threads that rank, at least 1.
    check_intersections : bool
        Refuse test positives that are train positives too.

    Returns
    -------
    float32 array, shape [n_users with test positives] or [n_users]
        0 for a user without test positives.

    Raises
    ------
    ValueError
        If ``k`` or ``num_threads`` is below 1, or the two matrices differ in shape, hold NaN or infinity, or
        intersect.
    """
    check_count(k, "k")
    ranks, n_positives = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
    )
    precision = (_hits(ranks, k) / k).astype(np.float32)
    return precision if preserve_rows else precision[n_positives > 0]


def recall_at_k(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    k: int = 10,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float64]:
    """Share of a user's known positives that are among the first ``k`` recommended items; 1 is perfect.

    Parameters and exceptions are those of :func:`precision_at_k`.

    Returns
    -------
    float64 array, shape [n_users with test positives] or [n_users]
        0 for a user without test positives.
    """
    check_count(k, "k")
    ranks, n_positives = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
    )
    recall = _hits(ranks, k) / np.maximum(n_positives, 1)
    return recall if preserve_rows else recall[n_positives > 0]


def auc_score(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float32]:
    """Chance that a random positive scores above a random negative (area under the ROC curve); 1 is perfect.

    Negatives are the items that are positive neither in test nor in train; one that ties with a positive is
    taken to be above it. With R the rank of a positive, A the number of other positives tied with it or above
    it and N the number of negatives, a user's value is the mean over positives of 1 - (R - A) / N (the
    Mann-Whitney form of the area).

    Parameters and exceptions are those of :func:`precision_at_k`.

    Returns
    -------
    float32 array, shape [n_users with test positives] or [n_users]
        0.5 for a user without test positives or without negatives.
    """
    ranks, n_positives = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
    )
    users = _users_of_entries(ranks)
    known, n_known = _known_in_training(ranks, train_interactions)
    n_negatives = ranks.shape[1] - n_known - np.bincount(users[~known], minlength=ranks.shape[0])
    comparable = (n_positives > 0) & (n_negatives > 0)
    negatives_above = np.maximum(ranks.data - _positives_above(ranks, users, known), 0)
    above_by_user = np.bincount(users, weights=negatives_above, minlength=ranks.shape[0])
    n_pairs = np.where(comparable, n_positives * n_negatives, 1)
    auc = np.where(comparable, 1 - above_by_user / n_pairs, 0.5).astype(np.float32)
    return auc if preserve_rows else auc[n_positives > 0]


def reciprocal_rank(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any = None,
    user_features: Any = None,
    item_features: Any = None,
    preserve_rows: bool = False,
    num_threads: int = 1,
    check_intersections: bool = True,
) -> NDArray[np.float32]:
    """One over the place, counted from 1, of the best-ranked known positive; 1 is perfect.

    Parameters and exceptions are those of :func:`precision_at_k`.

    Returns
    -------
    float32 array, shape [n_users with test positives] or [n_users]
        0 for a user without test positives.
    """
    ranks, n_positives = _rank_positives(
        model,
        test_interactions,
        train_interactions,
        user_features,
        item_features,
        num_threads,
        check_intersections,
    )
    best = np.zeros(len(n_positives), dtype=np.float32)
    np.maximum.at(best, _users_of_entries(ranks), (1 / (ranks.data + 1)).astype(np.float32))
    return best if preserve_rows else best[n_positives > 0]


def _rank_positives(
    model: RankingModel,
    test_interactions: Any,
    train_interactions: Any,
    user_features: Any,
    item_features: Any,
    num_threads: int,
    check_intersections: bool,
) -> tuple[sp.csr_matrix, NDArray[np.intp]]:
    check_num_threads(num_threads)
    test = check_known_positives(test_interactions, "test_interactions")
    train = None
    if train_interactions is not None:
        train = check_known_positives(train_interactions, "train_interactions")
        if train.shape != test.shape:
            raise ValueError(
                f"train_interactions has shape {train.shape} but test_interactions has {test.shape}: "
                "both need one row a user and one column an item"
            )
    n_positives = np.diff(test.indptr).astype(np.intp)
    ranks = model.predict_rank(
        test,
        train_interactions=train,
        user_features=user_features,
        item_features=item_features,
        num_threads=num_threads,
        check_intersections=check_intersections,
    )
    return ranks.astype(np.float64), n_positives


def _users_of_entries(ranks: sp.csr_matrix) -> NDArray[np.intp]:
    return np.repeat(np.arange(ranks.shape[0]), np.diff(ranks.indptr))


def _hits(ranks: sp.csr_matrix, k: int) -> NDArray[Any]:
    return np.bincount(_users_of_entries(ranks), weights=ranks.data < k, minlength=ranks.shape[0])


def _known_in_training(ranks: sp.csr_matrix, train_interactions: Any) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which test positives are train positives too, and how many train positives each user has."""
    if train_interactions is None:
        return np.zeros(ranks.nnz, dtype=bool), np.zeros(ranks.shape[0], dtype=np.intp)
    train = check_known_positives(train_interactions, "train_interactions")
    test_cells, train_cells = (
        _users_of_entries(matrix) * ranks.shape[1] + matrix.indices.astype(np.int64) for matrix in (ranks, train)
    )
    return np.isin(test_cells, train_cells), np.diff(train.indptr).astype(np.intp)


def _positives_above(ranks: sp.csr_matrix, users: NDArray[np.intp], known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Count, for each positive, the other positives that its rank counts: those tied with it or better."""
    # Train positives take no place in the ranking, so one of them shares its rank with the item just below:
    # half a place puts it before that item.
    place = ranks.data - 0.5 * known
    order = np.lexsort((place, users))
    place, owner, counted = place[order], users[order], ~known[order]
    ends_tie = np.ones(len(place), dtype=bool)
    ends_tie[:-1] = (np.diff(owner) != 0) | (np.diff(place) != 0)
    last_of_tie = np.flatnonzero(ends_tie)[np.cumsum(ends_tie) - ends_tie]
    running = np.cumsum(counted)
    before_user = np.append(0, running)[ranks.indptr[owner]]
    above = np.empty(len(running), dtype=np.intp)
    above[order] = running[last_of_tie] - before_user - counted
    return above
