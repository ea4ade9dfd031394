"""Feature matrices in the core's layout: CSR arrays, or no arrays for the identity."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._arguments import check_fits_memory
from ._matrices import rows_of_entries

RowArrays = tuple[NDArray[np.int64] | None, NDArray[np.int32] | None, NDArray[np.float32] | None]


@lru_cache(maxsize=4)
def identity(n_rows: int) -> sp.csr_matrix:
    """Return the identity matrix of ``n_rows`` rows. Four sizes are cached: both sides of two models."""
    check_fits_memory(16 * n_rows, f"{n_rows:,} rows with a feature each")
    matrix = sp.eye(n_rows, dtype=np.float32, format="csr")
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    return matrix


def is_identity(features: sp.csr_matrix) -> bool:
    n_rows, n_columns = features.shape
    if not n_rows == n_columns == features.nnz:
        return False
    known = identity(n_rows)
    return features is known or all(
        np.array_equal(getattr(features, array), getattr(known, array)) for array in ("data", "indices", "indptr")
    )


def row_arrays(features: sp.csr_matrix) -> RowArrays:
    """Return CSR arrays in the core's types, or three times None for the identity.

    The matrix is not copied: :func:`lightfm_fast._matrices.check_features` made it, so no caller can change it.
    """
    if is_identity(features):
        return None, None, None
    return (
        features.indptr.astype(np.int64, copy=False),
        features.indices.astype(np.int32, copy=False),
        features.data.astype(np.float32, copy=False),
    )


def copied_row_arrays(features: sp.csr_matrix) -> RowArrays:
    """Return :func:`row_arrays` of a checked copy, since a subclass's hook may keep the matrix and change it.

    Raises
    ------
    ValueError
        If indptr or the indices point outside the arrays or the matrix.
    """
    if is_identity(features):
        return None, None, None
    arrays = features.indptr.astype(np.int64), features.indices.astype(np.int32), features.data.astype(np.float32)
    check_csr_arrays(*arrays, features.shape)
    return arrays


def check_csr_arrays(
    indptr: NDArray[np.int64], indices: NDArray[np.integer], values: NDArray[np.float32], shape: tuple[int, int]
) -> None:
    """Raise ValueError if indptr or the indices of a CSR matrix point outside its arrays or its shape."""
    n_rows, n_columns = shape
    is_sound = (
        indptr.shape == (n_rows + 1,)
        and indices.ndim == values.ndim == 1
        and indptr[0] >= 0
        and (indptr[1:] >= indptr[:-1]).all()
        and indptr[-1] <= min(len(indices), len(values))
        and (not len(indices) or (indices.min() >= 0 and indices.max() < n_columns))
    )
    if not is_sound:
        raise ValueError(f"a matrix of shape {shape} is malformed: its index arrays point outside of it")


def own_columns(features: sp.csr_matrix, occurring: NDArray[np.int32]) -> NDArray[np.bool_] | None:
    """Mark each stored weight whose column is an identity column, which no other row has.

    Only the rows ``occurring`` in training count. Returns None unless every such row with features has an identity
    column, and some such row also has other columns.
    """
    rows = rows_of_entries(features)
    has_weight = features.data != 0
    is_own = (
        has_weight & (np.bincount(features.indices[has_weight], minlength=features.shape[1]) == 1)[features.indices]
    )
    n_own, n_all = (np.bincount(rows[chosen], minlength=features.shape[0]) for chosen in (is_own, has_weight))
    n_own, n_all = n_own[occurring], n_all[occurring]
    if ((n_own == 0) & (n_all > 0)).any() or not (n_own < n_all).any():
        return None
    return is_own


def column_counts(features: sp.csr_matrix, rows: NDArray[np.integer] | None = None) -> NDArray[np.intp]:
    """Count the rows, of those given or of all, that have a weight other than 0 in each column."""
    chosen = features if rows is None else features[rows]
    return np.bincount(chosen.indices[chosen.data != 0], minlength=features.shape[1])


def sampled_rows(rows: NDArray[np.integer], most: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Return the rows or, if there are more than ``most``, so many of them drawn at random, in order."""
    if len(rows) > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
    return rows.astype(np.int64)


def has_identity_columns(user_features: sp.csr_matrix, item_features: sp.csr_matrix, interactions: Any) -> bool:
    """Tell whether a side has identity columns that dropout may leave out, in the sense of :func:`own_columns`."""
    sides = ((user_features, interactions.row), (item_features, interactions.col))
    return any(own_columns(features, occurring) is not None for features, occurring in sides)


def check_identity_dropout(
    probability: float, user_features: sp.csr_matrix, item_features: sp.csr_matrix, interactions: sp.coo_matrix
) -> None:
    """Raise ValueError if identity columns are to be left out and neither side has any to leave out."""
    if probability > 0 and not has_identity_columns(user_features, item_features, interactions):
        raise ValueError(
            f"identity_dropout is {probability} but there is no identity column to leave out: neither user_features "
            "nor item_features has an identity column, beside other features, for every row that occurs in the "
            "interactions. Dataset and FeatureSpec(identity='keep') make such columns; or set identity_dropout=0"
        )


def rows_for_dropout(features: sp.csr_matrix, occurring: NDArray[np.int32]) -> tuple[Any, ...]:
    """Return :func:`copied_row_arrays` with each row's identity columns first, and how many dropout may leave out."""
    indptr, indices, values = copied_row_arrays(features)
    if indptr is None or indices is None or values is None:
        return None, None, None, None
    n_own = np.zeros(features.shape[0], dtype=np.int32)
    is_own = own_columns(features, occurring)
    if is_own is not None:
        rows = np.repeat(np.arange(len(n_own)), np.diff(indptr))
        n_own[:] = np.bincount(rows[is_own], minlength=len(n_own))
        # A row that has only identity columns keeps them.
        n_own[n_own == np.bincount(rows[values != 0], minlength=len(n_own))] = 0
        order = np.lexsort((~is_own, rows))
        indices, values = indices[order], values[order]
    return indptr, indices, values, n_own


def owners_of(features: sp.csr_matrix, known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the known row that alone has each feature, as its number in ``known``; -1 where there is none."""
    entries = features.tocoo()
    has_weight = entries.data != 0
    rows, columns = entries.row[has_weight], entries.col[has_weight]
    numbers = np.full(features.shape[0], -1)
    numbers[known] = np.arange(len(known))
    owners = np.full(features.shape[1], -1)
    is_own = np.bincount(columns, minlength=features.shape[1])[columns] == 1
    owners[columns[is_own]] = numbers[rows[is_own]]
    return owners


def are_unowned(features: sp.csr_matrix, owners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell of each row whether it is no known row: it lacks some feature of each that only that row has.

    ``owners`` is the result of :func:`owners_of`.
    """
    n_own = np.bincount(owners[owners >= 0])
    rows = rows_of_entries(features)
    of_entry = owners[features.indices]
    counts = (of_entry >= 0) & (features.data != 0)
    is_new = np.ones(features.shape[0], dtype=bool)
    if not counts.any():
        return is_new
    pairs, n_shared = np.unique(rows[counts] * len(n_own) + of_entry[counts], return_counts=True)
    is_whole = n_shared == n_own[pairs % len(n_own)]
    is_new[pairs[is_whole] // len(n_own)] = False
    return is_new
