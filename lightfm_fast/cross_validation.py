"""Splits of interactions into what a model is trained on and what it is tested on."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._validation import check_fraction, check_random_state, check_stored_entries


def random_train_test_split(
    interactions: Any, test_percentage: float = 0.2, random_state: int | np.random.RandomState | None = None
) -> tuple[sp.coo_matrix, sp.coo_matrix]:
    """Divide interactions at random into a training and a test matrix.

    Every (user, item) pair goes to one side only: where a pair is stored several times, its entries stay
    together. A user or an item may end up in the test matrix alone.

    A matrix of sample weights with the same entries in the same order, as ``Dataset.build_interactions``
    returns it, is divided in the same way when split with the same integer ``random_state``.

    Parameters
    ----------
    interactions : scipy.sparse matrix or array, or numpy.ndarray, shape (n_users, n_items)
        Stored entries are divided, explicit zeros among them; of a dense array, the entries that are not
        zero. It is not changed.
    test_percentage : float, default 0.2
        The fraction, from 0 to 1, of distinct pairs to hold out. The training matrix gets
        ``int((1.0 - test_percentage) * n_pairs)`` of them.
    random_state : int, numpy.random.RandomState or None, default None
        A seed, a generator to draw from, or None for a different split at every call.

    Returns
    -------
    train, test : scipy.sparse.coo_matrix, shape (n_users, n_items)
        Together exactly the entries of ``interactions``, in its dtype, in random order.

    Raises
    ------
    ValueError
        If ``interactions`` is not a two-dimensional matrix of finite numbers, ``test_percentage`` is outside
        0 to 1, or the seed is out of range.
    TypeError
        If ``test_percentage`` is not a number or ``random_state`` is of another type.
    """
    matrix = check_stored_entries(interactions, "interactions")
    test_fraction = check_fraction(test_percentage, "test_percentage")
    random_state = check_random_state(random_state)

    order = random_state.permutation(matrix.nnz)
    first = _first_entry_of_pair(matrix)
    pairs = order[first[order] == order]

    in_test = np.zeros(matrix.nnz, dtype=bool)
    in_test[pairs[int((1.0 - test_fraction) * len(pairs)) :]] = True
    in_test = in_test[first]
    return _take(matrix, order[~in_test[order]]), _take(matrix, order[in_test[order]])


def _first_entry_of_pair(matrix: sp.coo_matrix) -> NDArray[np.intp]:
    """Return, for every stored entry, the position of the first entry with the same row and column."""
    entries = np.arange(matrix.nnz)
    # Sorting one key an entry is many times faster than sorting pairs and answers the usual case, no repeats.
    # For an enormous shape the key may wrap around: chance collisions then only cost the exact way below.
    keys = np.sort(matrix.row.astype(np.int64) * np.int64(matrix.shape[1]) + matrix.col)
    if not np.any(keys[1:] == keys[:-1]):
        return entries

    by_pair = np.lexsort((matrix.col, matrix.row))
    row, column = matrix.row[by_pair], matrix.col[by_pair]
    starts = np.append(True, (row[1:] != row[:-1]) | (column[1:] != column[:-1]))
    entries[by_pair] = by_pair[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    return entries


def _take(matrix: sp.coo_matrix, entries: NDArray[np.intp]) -> sp.coo_matrix:
    coordinates = (matrix.row[entries], matrix.col[entries])
    return sp.coo_matrix((matrix.data[entries], coordinates), shape=matrix.shape, dtype=matrix.dtype)
