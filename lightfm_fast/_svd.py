"""The largest singular values of a sparse matrix."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import _core
from ._parameters import Floats, aligned_zeros, padded_width

# Directions beyond those asked for, which make these exacter.
_EXTRA = 32


def largest_singular(
    matrix: sp.csr_matrix, n: int, n_passes: int, rng: np.random.RandomState, num_threads: int
) -> tuple[NDArray[np.float64], Floats]:
    """Find the largest singular values and their right singular vectors, by random projection (Halko 2011).

    Parameters
    ----------
    matrix : csr_matrix of shape (n_rows, n_columns), float32
    n : int
        How many to find, at most.
    n_passes : int
        Products with the matrix and its transpose that refine a random start.
    rng : RandomState
        Draws the start.
    num_threads : int

    Returns
    -------
    squares : float64 array of shape (n_found,)
        The squares of the values, descending; values that are 0 but for rounding are left out.
    vectors : float32 array of shape (n_columns, n_found)
    """
    from scipy.linalg import qr  # which takes long to import; NumPy's computes in float64, in twice the time

    across = sp.csr_matrix(matrix.T)
    is_tall = matrix.shape[0] >= matrix.shape[1]
    tall, wide = (matrix, across) if is_tall else (across, matrix)  # directions on the shorter side cost least
    n_directions = min(n + _EXTRA, tall.shape[1])
    span = rng.standard_normal((tall.shape[1], n_directions)).astype(np.float32)
    for _ in range(n_passes):
        image = multiplied(wide, multiplied(tall, span, num_threads), num_threads)
        span = qr(image, overwrite_a=True, mode="economic", check_finite=False)[0]
    # span is orthonormal: the singular values are those of the small matrix tall @ span.
    image = multiplied(tall, span, num_threads)
    exact = image.astype(np.float64)
    squares, rotation = np.linalg.eigh(exact.T @ exact)
    largest = np.argsort(-squares)[:n]
    largest = largest[squares[largest] > np.finfo(np.float32).eps * squares.max(initial=0)]
    squares, rotation = squares[largest], rotation[:, largest].astype(np.float32)
    vectors = span @ rotation if is_tall else image @ (rotation / np.sqrt(squares).astype(np.float32))
    return squares, vectors


def multiplied(matrix: sp.csr_matrix, dense: Floats, num_threads: int) -> Floats:
    """Return the product of a sparse with a dense matrix, by the compiled core on several threads."""
    n_columns = dense.shape[1]
    width = padded_width(n_columns)
    table, product = aligned_zeros(len(dense), width), aligned_zeros(matrix.shape[0], width)
    table[:, :n_columns] = dense
    if matrix.nnz:
        arrays = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False), matrix.data
        no_biases, of_rows = np.zeros((len(dense), 1), np.float32), np.zeros(matrix.shape[0], np.float32)
        _core.ranking.represent(table, no_biases, width, *arrays, False, product, of_rows, num_threads)
    return product[:, :n_columns]
