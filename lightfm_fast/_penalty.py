r"""Which penalty suits the linear autoencoder, by users who are left out in turn.

With :math:`P = (X^\top X + \lambda I)^{-1}` EASE's score of user u and item i is :math:`x_i - (P x)_i / P_{ii}` (Steck
2019). Without the user, :math:`X^\top X` lacks :math:`x x^\top`, and so

.. math:: P' = P + \frac{P z z^\top P}{1 - z^\top P z}

(Sherman 1950), where z is the part of x within the span of the singular vectors: :math:`X^\top X` is known there alone.
The user's items are ranked by :math:`P'` as if they were new. The singular vectors still know the user, which favours
weak penalties. So where a stronger one ranks better even so, a still stronger one is best.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._gains import is_clear, mean_gains
from ._matrices import rows_of_entries
from ._parameters import Floats

# The usual penalty, in positives of a typical user, and stronger ones; by how many standard errors over users each must
# be better than the one before; and how many times stronger than the winner the best one is, if not the usual.
PENALTIES, STRONGER_WINS_BY, STRONGER_STILL = (3.0, 10.0, 30.0), 3.0, 3.0
# Users who are left out, at most; users after whom it is mostly clear; and scores that are held at a time. Where one
# penalty's scores would be more, fewer users are left out, but not fewer than those.
_MOST_USERS, _LEAST_USERS, _AT_ONCE = 1000, 100, 1 << 22


def choose_penalty(
    squares: NDArray[np.float64], vectors: Floats, positives: sp.csr_matrix, typical: float, rng: np.random.RandomState
) -> float:
    """Choose the penalty lambda: the usual one, unless a stronger one clearly ranks better.

    Parameters
    ----------
    squares : float64 array of shape (n_values,)
        Squares of the singular values of all users' positives.
    vectors : float32 array of shape (n_items, n_values)
        The right singular vectors.
    positives : csr_matrix of shape (n_users, n_items), float32
        Ones, of some or all users.
    typical : float
        The positives of a typical user, the unit of the penalty.
    rng : RandomState
        Draws the users who are left out.
    """
    users = np.flatnonzero(np.diff(positives.indptr) > 1)
    n_users = max(min(_MOST_USERS, _AT_ONCE // positives.shape[1]), _LEAST_USERS)
    rows = positives[rng.permutation(users)[:n_users]]
    gains_of = partial(gains_of_left_out, squares, vectors)
    usual, *stronger = (float(penalty * typical) for penalty in PENALTIES)
    few = rows[:_LEAST_USERS]
    if few.shape[0] < _LEAST_USERS or is_clear(gains_of(few, usual) - gains_of(few, stronger[0]), STRONGER_WINS_BY):
        return usual
    best, gains_of_best = usual, gains_of(rows, usual)
    for penalty in stronger:
        gains = gains_of(rows, penalty)
        if not is_clear(gains - gains_of_best, STRONGER_WINS_BY):
            break
        best, gains_of_best = penalty, gains
    return best if best == usual else STRONGER_STILL * best


def gains_of_left_out(
    squares: NDArray[np.float64], vectors: Floats, rows: sp.csr_matrix, penalty: float
) -> NDArray[np.float64]:
    """Return the mean gain of each user's items among those without the user, by a regression without the user."""
    below = np.empty(rows.nnz)
    first = 0
    for scores in scores_of_left_out(squares, vectors, rows, penalty):
        block = rows[first : first + len(scores)]
        users = rows_of_entries(block)
        wanted = scores[users, block.indices]
        scores[users, block.indices] = -np.inf
        scores.sort(axis=1)
        of_block = below[rows.indptr[first] : rows.indptr[first + len(scores)]]
        for user, of_items in enumerate(scores):
            theirs = slice(block.indptr[user], block.indptr[user + 1])
            of_block[theirs] = sum(np.searchsorted(of_items, wanted[theirs], side) for side in ("left", "right"))
        first += len(scores)
    return mean_gains(rows.shape[1] - below / 2, rows.indptr)  # ties share their mean rank


def scores_of_left_out(
    squares: NDArray[np.float64], vectors: Floats, rows: sp.csr_matrix, penalty: float
) -> Iterator[Floats]:
    """Yield blocks of the scores of all items for each user, by a regression without the user."""
    inverse = 1 / (squares.astype(np.float32) + penalty)  # of X'X + penalty, in the span of the vectors
    diagonal = (1 - np.einsum("ij,ij,j->i", vectors, vectors, 1 - penalty * inverse)) / penalty
    step = max(1, _AT_ONCE // rows.shape[1])
    for first in range(0, rows.shape[0], step):
        block = rows[first : first + step]
        projected = block @ vectors
        inside, has = (projected * inverse) @ vectors.T, block.toarray()
        outside = (has - projected @ vectors.T) / penalty
        leverage = (projected**2 * inverse).sum(axis=1, keepdims=True)
        grown = 1 / (1 - leverage)  # of what is inside
        yield has - (outside + grown * inside) / (diagonal + grown * inside**2)
