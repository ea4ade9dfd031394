"""The input of a training run in the core's terms, made once for all of its epochs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core

MAX_LOG_RANK = 10.0

RowArrays = tuple[NDArray[np.int64] | None, NDArray[np.int32] | None, NDArray[np.float32] | None]


def log_ranks(n_items: int, max_sampled: int) -> NDArray[np.float32]:
    """WARP's weight after each number of draws: min(10, log(max(1, floor((n_items - 1) / draws)))), index 0 unused."""
    draws = np.maximum(np.arange(max_sampled + 1), 1)
    return np.minimum(np.log(np.maximum((n_items - 1) // draws, 1)), MAX_LOG_RANK).astype(np.float32)


@lru_cache(maxsize=2)
def identity(n_rows: int) -> sp.csr_matrix:
    """Return the features of rows that have one of their own each; the last two sizes are kept, one a side."""
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
    """CSR arrays in the core's types; None each for the identity, which the core needs no arrays for."""
    if is_identity(features):
        return None, None, None
    return (
        features.indptr.astype(np.int64, copy=False),
        features.indices.astype(np.int32, copy=False),
        features.data.astype(np.float32, copy=False),
    )


class Problem:
    """What all epochs of a run share: the input in the core's terms."""

    def __init__(
        self,
        item_features: sp.csr_matrix,
        user_features: sp.csr_matrix,
        interactions: sp.coo_matrix,
        sample_weight: NDArray[np.float32] | None,
        loss: str,
        popularity_exponent: float = 1.0,
    ) -> None:
        self.inputs = (item_features, user_features, interactions, sample_weight, loss, popularity_exponent)
        self.user_rows, self.item_rows = row_arrays(user_features), row_arrays(item_features)

        users, items = interactions.row, interactions.col
        weights = None if sample_weight is None or is_one(sample_weight) else sample_weight
        positive = interactions.data > 0
        labels = None
        if not positive.all():
            if loss == "logistic":
                labels = np.where(positive, np.int8(1), np.int8(-1))
            else:
                users, items = users[positive], items[positive]
                weights = None if weights is None else weights[positive]
        indptr = np.empty(interactions.shape[0] + 1, dtype=np.int64)
        by_user: tuple[NDArray[Any] | None, ...] = (items, weights, labels)
        if not _core.engine.find_users(users, items, indptr):
            by_user = tuple(None if array is None else np.empty_like(array) for array in by_user)
            _core.engine.group_by_user(users, items, weights, labels, indptr, *by_user)
        # of all interactions, also of those that are not trained on
        popularity = np.bincount(interactions.col, minlength=interactions.shape[1]).astype(np.float64)
        self.samples = _core.engine.Problem(indptr, *by_user, popularity**popularity_exponent)
