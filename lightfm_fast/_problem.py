"""The input of a training run in the core's terms, made once for all of its epochs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._fingerprint import Fingerprint
from lightfm_fast._losses import facts_of
from lightfm_fast._parameters import ParameterTable
from lightfm_fast._validation import (
    check_csr_arrays,
    check_interactions,
    check_tables_fit,
    check_weights_of_entries,
    look_at_order,
)

MAX_LOG_RANK = 10.0
# Each thread has a copy (see the core's Copies) of the rows of parameters that this many samples of an epoch visit, as
# many of the most visited as fit, for all threads, in so many bytes: about what a processor's last cache holds.
COPIED_FROM, MOST_COPIED = 64, 1 << 25

# Biases of the softmax loss, which order items of equal cosine: of the most popular item, and of any feature at most.
TIE, MOST_OF_A_TIE = np.float32(2**-20), np.float32(2**-14)

# indptr, indices, values, how many of a row's are its own, and the rows that are copied: what the core's Side takes.
SideArrays = tuple[NDArray[Any] | None, ...]
RowArrays = tuple[NDArray[np.int64] | None, NDArray[np.int32] | None, NDArray[np.float32] | None]


def log_ranks(n_items: int, max_sampled: int) -> NDArray[np.float32]:
    """WARP's weight after each number of draws: min(10, log(max(1, floor((n_items - 1) / draws)))); 1 after none."""
    draws = np.arange(1, max_sampled + 1)
    weights = np.minimum(np.log(np.maximum((n_items - 1) // draws, 1)), MAX_LOG_RANK)
    return np.concatenate([[1], weights]).astype(np.float32)


@lru_cache(maxsize=4)
def identity(n_rows: int) -> sp.csr_matrix:
    """Return the features of rows that have one of their own each; the last four sizes are kept, two models' sides."""
    matrix = sp.eye(n_rows, dtype=np.float32, format="csr")
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    return matrix


def is_one(weights: NDArray[np.float32]) -> bool:
    """Whether every weight is 1; of one broadcast number, without a look at each."""
    return bool(((weights[:1] if weights.strides == (0,) else weights) == 1).all())


def is_identity(features: sp.csr_matrix) -> bool:
    n_rows, n_columns = features.shape
    if not n_rows == n_columns == features.nnz:
        return False
    known = identity(n_rows)
    return features is known or all(
        np.array_equal(getattr(features, array), getattr(known, array)) for array in ("data", "indices", "indptr")
    )


def stands_alone(features: sp.csr_matrix, n_known: int) -> NDArray[np.bool_]:
    """Tell of each column from ``n_known`` on whether it is in a row without the columns before, or in no row."""
    rows = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    has_weight = features.data != 0
    is_new = features.indices >= n_known
    has_known = np.zeros(features.shape[0], dtype=bool)
    has_known[rows[has_weight & ~is_new]] = True
    rows, columns = rows[has_weight & is_new], features.indices[has_weight & is_new] - n_known
    n_new = features.shape[1] - n_known
    alone = np.bincount(columns[~has_known[rows]], minlength=n_new) > 0
    return alone | (np.bincount(columns, minlength=n_new) == 0)


def row_arrays(features: sp.csr_matrix) -> RowArrays:
    """CSR arrays in the core's types, copied and then judged; None each for the identity, which needs no arrays.

    A hook of a subclass may have made the matrix or hold on to it, so that only a copy stays as it was judged.

    Raises
    ------
    ValueError
        If the arrays point outside of one another or of the matrix.
    """
    if is_identity(features):
        return None, None, None
    arrays = features.indptr.astype(np.int64), features.indices.astype(np.int32), features.data.astype(np.float32)
    check_csr_arrays(*arrays, features.shape)
    return arrays


def own_columns(features: sp.csr_matrix, occurring: NDArray[np.int32]) -> NDArray[np.bool_] | None:
    """Tell of each stored weight whether its column is one that no other row has: an identity column.

    None where the rows ``occurring`` in training do not all have one (but those without features), or have no others.
    """
    rows = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    has_weight = features.data != 0
    is_own = (
        has_weight & (np.bincount(features.indices[has_weight], minlength=features.shape[1]) == 1)[features.indices]
    )
    n_own, n_all = (np.bincount(rows[chosen], minlength=features.shape[0]) for chosen in (is_own, has_weight))
    n_own, n_all = n_own[occurring], n_all[occurring]
    if ((n_own == 0) & (n_all > 0)).any() or not (n_own < n_all).any():
        return None
    return is_own


def has_own_columns(user_features: sp.csr_matrix, item_features: sp.csr_matrix, interactions: sp.coo_matrix) -> bool:
    """Tell whether identity dropout has anything to leave out on either side."""
    sides = ((user_features, interactions.row), (item_features, interactions.col))
    return any(own_columns(features, occurring) is not None for features, occurring in sides)


def rows_for_dropout(features: sp.csr_matrix, occurring: NDArray[np.int32]) -> tuple[Any, ...]:
    """Return :func:`row_arrays` with each row's own columns first, and how many of them can be left out."""
    indptr, indices, values = row_arrays(features)
    if indptr is None or indices is None or values is None:
        return None, None, None, None
    n_own = np.zeros(features.shape[0], dtype=np.int32)
    is_own = own_columns(features, occurring)
    if is_own is not None:
        rows = np.repeat(np.arange(len(n_own)), np.diff(indptr))
        n_own[:] = np.bincount(rows[is_own], minlength=len(n_own))
        n_own[n_own == np.bincount(rows[values != 0], minlength=len(n_own))] = 0  # a row without others keeps them
        order = np.lexsort((~is_own, rows))
        indices, values = indices[order], values[order]
    return indptr, indices, values, n_own


def without_positives(interactions: sp.coo_matrix, features: sp.csr_matrix) -> NDArray[np.bool_]:
    """Tell of each feature of users whether no user with a positive interaction has it."""
    has_positives = np.zeros(features.shape[0], dtype=bool)
    has_positives[interactions.row[interactions.data > 0]] = True
    if is_identity(features):
        return ~has_positives
    without = np.ones(features.shape[1], dtype=bool)
    without[features.indices[np.repeat(has_positives, np.diff(features.indptr)) & (features.data != 0)]] = False
    return without


def popularity(interactions: sp.coo_matrix, features: sp.csr_matrix) -> NDArray[np.float32]:
    """Return biases of the features that sum up to each item's share of the most popular item's positives.

    They are fitted by least squares, which is exact where every item has a feature of its own.
    """
    counts = np.bincount(interactions.col[interactions.data > 0], minlength=features.shape[0]).astype(np.float64)
    if not counts.any():
        return np.zeros(features.shape[1], dtype=np.float32)
    shares = counts / counts.max()
    if not is_identity(features):
        from scipy.sparse.linalg import lsmr  # slow to import, and only here

        shares = lsmr(features.astype(np.float64), shares, maxiter=100)[0]
    return shares.astype(np.float32)


def break_ties(biases: NDArray[np.float32], shares: NDArray[np.float32]) -> None:
    """Make biases of popularity, too small to matter beside cosines; halfway from what they were in an earlier call.

    Biases that another loss has learned, or that were assigned, stay.
    """
    if np.abs(biases).max() <= MOST_OF_A_TIE:
        wanted = np.clip(TIE * shares, -MOST_OF_A_TIE, MOST_OF_A_TIE)
        biases[...] = np.where(biases == 0, wanted, (biases + wanted) / 2)


def count_items(items: NDArray[np.int32], n_items: int) -> NDArray[np.float64]:
    counts = np.zeros(n_items)
    _core.engine.count_items(items, counts)
    return counts


def entries_by_user(
    users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, look: Any
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return CSR arrays of the entries, each user's items ascending."""
    indptr = np.empty(n_users + 1, dtype=np.int64)
    if look.is_sorted:
        look.find_users(users, indptr)
        return indptr, items
    by_user = np.empty_like(users), np.empty_like(items), None, None
    _core.engine.group_by_user(users, items, None, None, indptr, *by_user)
    return indptr, by_user[1]


def copy_rows(side: SideArrays, visits: NDArray[Any], most: int, in_order: bool) -> SideArrays:
    """Name the rows of parameters that threads would contend for, ``most`` at most, and mark their columns.

    ``visits`` are those of each row of features; the interactions may lack the last ones. Rows that are visited
    ``in_order`` meet one thread at a time, and so do the columns that they alone have.
    """
    indptr, indices, values, n_own, _ = side
    if indptr is None or indices is None:
        often = not in_order and len(visits) <= most and visits.sum() >= COPIED_FROM * len(visits)
        return None, None, None, None, np.arange(len(visits), dtype=np.int32) if often else None
    visits = np.concatenate([visits, np.zeros(len(indptr) - 1 - len(visits))])
    touched = np.bincount(indices, weights=np.repeat(visits, np.diff(indptr)))
    if in_order:
        touched[np.bincount(indices) == 1] = 0
    often = np.flatnonzero(touched >= COPIED_FROM)
    copied = often[np.argsort(-touched[often], kind="stable")][:most].astype(np.int32)
    marks = np.arange(len(touched), dtype=np.int32)
    marks[copied] = ~np.arange(len(copied), dtype=np.int32)
    return indptr, marks[indices], values, n_own, copied


class Problem:
    """What all epochs of a run share: the input in the core's terms."""

    def __init__(
        self,
        item_features: sp.csr_matrix,
        user_features: sp.csr_matrix,
        interactions: sp.coo_matrix,
        sample_weight: NDArray[np.float32] | None,
        loss: str,
        drops_identity: bool = False,
        negatives: str = "popularity",
        popularity_exponent: float = 1.0,
        num_threads: int = 1,
    ) -> None:
        given = (item_features, user_features, interactions, sample_weight, loss)
        self.inputs = (*given, drops_identity, negatives, popularity_exponent)
        facts = facts_of(loss, negatives)
        entries = check_interactions(interactions, num_threads)  # a subclass of the estimator may train on others
        n_users, n_items = entries.shape
        if sample_weight is not None:
            sample_weight = check_weights_of_entries(sample_weight, entries.nnz)
        users, items, look = entries.row, entries.col, entries.look
        sides = ((user_features, users), (item_features, items))
        self.rows = [
            (*(rows_for_dropout(features, occurring) if drops_identity else (*row_arrays(features), None)), None)
            for features, occurring in sides
        ]
        self._shapes = [features.shape for features, _ in sides]

        weights = None if sample_weight is None or is_one(sample_weight) else sample_weight
        labels = known = None
        if not entries.is_positive:
            positive = entries.data > 0
            if facts.takes_labels:
                labels = np.where(positive, np.int8(1), np.int8(-1))
            else:
                known = entries_by_user(users, items, n_users, look)
                users, items = users[positive], items[positive]
                weights = None if weights is None else weights[positive]
                look = look_at_order(users, items, entries.shape, num_threads)
        indptr = np.empty(n_users + 1, dtype=np.int64)
        by_user = users, items, weights, labels
        if look.is_sorted:
            look.find_users(users, indptr)
        else:
            by_user = (
                np.empty_like(users),
                np.empty_like(items),
                None if weights is None else np.empty_like(weights),
                None if labels is None else np.empty_like(labels),
            )
            _core.engine.group_by_user(users, items, weights, labels, indptr, *by_user)
        self._with_copies: dict[int, list[SideArrays]] = {}
        self._by_user, self.n_items = (indptr, by_user[1]), n_items
        self._labels = by_user[3]
        self._visits: NDArray[np.float64] | None = None  # of each item, once counted
        popularity = None
        if facts.needs_popularity:
            # Of all interactions, also of those that are not trained on.
            popularity = np.ones(n_items)
            if negatives == "popularity" and popularity_exponent:
                counts = count_items(entries.col, n_items)
                popularity = counts**popularity_exponent
                if items is entries.col:
                    self._visits = counts
        membership = None
        if facts.needs_membership:
            n_known = len(entries.col)
            membership = np.empty(_core.engine.membership_bytes(n_users, n_items, n_known), dtype=np.uint8)
        known_indptr, known_items = known or (None, None)
        self.samples = _core.engine.Samples(
            indptr, *by_user, n_items, popularity, known_indptr, known_items, membership, num_threads
        )

    def fingerprint(self) -> Fingerprint:
        """Sample the positives that are trained on."""
        item_features, user_features = (None if is_identity(features) else features for features in self.inputs[:2])
        return Fingerprint.of(*self._by_user, self._labels, user_features, item_features)

    def check_tables(self, *tables: ParameterTable) -> None:
        """Raise ValueError unless the tables, of users and items, are as long as the features are wide, and agree."""
        n_rows = len(self._by_user[0]) - 1, self.n_items
        check_tables_fit(tables, self._shapes, n_rows)

    def rows_with_copies(self, row_bytes: int) -> list[SideArrays]:
        """Return the rows of both sides for several threads, in all of which a row's parameters take so many bytes."""
        if row_bytes not in self._with_copies:
            indptr, items = self._by_user
            if self._visits is None:
                self._visits = count_items(items, self.n_items)
            visits = np.diff(indptr), self._visits + len(items) / self.n_items
            self._with_copies[row_bytes] = [
                copy_rows(side, of_rows, MOST_COPIED // row_bytes, in_order)
                for side, of_rows, in_order in zip(self.rows, visits, (True, False), strict=True)
            ]
        return self._with_copies[row_bytes]
