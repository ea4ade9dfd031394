"""Users and items with positives in training ("met"), and parameters for those without ("unmet")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast._hyperparameters import LARGEST_SINGLE
from lightfm_fast._parameters import Floats

# Settings of the least squares: the largest number of items, by popularity; the ridge, as a share of the mean square.
MOST_FITTED, RIDGE = 1 << 14, 1e-6
USERS_AT_ONCE = 1 << 16
# The length of the list whose popularity is maximised.
N_TOP = 10


@dataclass(frozen=True)
class Met:
    """The users and items with positive interactions in all calls since ``fit``.

    Attributes
    ----------
    users : bool array of shape (n_users,)
        Whether the user had any.
    items : int64 array of shape (n_items,)
        The number of each item's.
    placed : float32 array of shape (n_components,) or None
        The embedding given to users without positives; None if none was given.
    low : float or None
        The bias given to items without positives, the weighted bias of their feature; None if none was given.
    """

    users: NDArray[np.bool_]
    items: NDArray[np.int64]
    placed: Floats | None = None
    low: float | None = None

    @classmethod
    def nobody(cls) -> Met:
        return cls(np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64))

    @property
    def drawable(self) -> NDArray[np.bool_]:
        """Whether each item may be drawn as a negative. That nobody chose an item is no evidence before it is met."""
        return self.items > 0

    def of_width(self, no_components: int) -> Met:
        """Return the record for users with embeddings of this length: an embedding of another was given to others."""
        return self if self.placed is None or len(self.placed) == no_components else replace(self, placed=None)

    def widened(self, no_components: int) -> Met:
        """Return the record for the same embeddings, followed by zeros up to this length."""
        if self.placed is None:
            return self
        return replace(self, placed=np.pad(self.placed, (0, no_components - len(self.placed))))

    def merged(self, users: NDArray[np.bool_], items: NDArray[Any]) -> Met:
        """Add the users and the items' counts of a call, whose matrix may be larger or smaller than earlier ones."""
        is_met = np.zeros(max(len(users), len(self.users)), dtype=bool)
        is_met[: len(self.users)] = self.users
        is_met[: len(users)] |= users
        counts = np.zeros(max(len(items), len(self.items)), dtype=np.int64)
        counts[: len(self.items)] = self.items
        counts[: len(items)] += items.astype(np.int64)
        return Met(is_met, counts, self.placed, self.low)


def unmet_items(biases: Floats, features: sp.csr_matrix, met: Met) -> tuple[NDArray[np.intp], Floats]:
    """Find the identity features of items that have no positives and no other feature.

    Parameters
    ----------
    biases : array
        The features' biases.
    features : csr_matrix
        The items' features, with the weights that enter the model.
    met : Met

    Returns
    -------
    columns, weights : arrays
        The features, and the weight that each has in its item. A feature whose bias is neither 0 nor was made of
        ``met.low`` is left out: it was learned or assigned.
    """
    if not features.data.all():
        features = features.copy()
        features.eliminate_zeros()
    counts = np.zeros(features.shape[0], dtype=np.int64)
    counts[: len(met.items)] = met.items[: len(counts)]
    rows = np.flatnonzero((counts == 0) & (np.diff(features.indptr) == 1))
    if not counts.any():
        rows = rows[:0]
    columns, weights = features.indices[features.indptr[rows]], features.data[features.indptr[rows]]
    is_alone = np.bincount(features.indices, minlength=features.shape[1])[columns] == 1
    is_free = biases[columns] == 0
    if met.low is not None:
        is_free |= biases[columns] == divided(met.low, weights)
    chosen = is_alone & is_free
    return columns[chosen], weights[chosen]


def newly_met(before: Met, now: Met, features: sp.csr_matrix) -> NDArray[np.intp]:
    """Find the features of items with a single feature that had their first positives in the last call."""
    counts = np.zeros_like(now.items)
    counts[: len(before.items)] = before.items
    rows = np.flatnonzero((counts == 0) & (now.items > 0))
    rows = rows[np.diff(features.indptr)[rows] == 1]
    return features.indices[features.indptr[rows]]


def longest(rows: Floats) -> float:
    """Return the length of the longest row; 0 without rows."""
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)  # in float32, squares of long rows would overflow
    return float(np.sqrt(squares.max(initial=0)))


def divided(low: float, weights: Floats) -> Floats:
    """Return the biases that, times features' weights, are ``low``."""
    return np.clip(low / weights.astype(np.float64), -LARGEST_SINGLE, LARGEST_SINGLE).astype(np.float32)


def low_bias(longest_user: float, embeddings: Floats, biases: Floats) -> float:
    """Return a bias that makes items with these embeddings score below the least of ``biases`` for all users."""
    low = float(biases.min()) - longest_user * longest(embeddings)
    return float(np.float32(max(low, -LARGEST_SINGLE)))


def unmet_users(embeddings: Floats, met: Met) -> NDArray[np.intp]:
    """Find the users without positives; users are the rows of ``embeddings``.

    A row that is neither zero nor ``met.placed`` is left out: it was learned or assigned.
    """
    is_met = np.zeros(len(embeddings), dtype=bool)
    is_met[: len(met.users)] = met.users[: len(is_met)]
    rows = np.flatnonzero(~is_met)
    is_free = np.zeros(len(rows), dtype=bool)
    for first in range(0, len(rows), USERS_AT_ONCE):  # in parts, since the embeddings may be a mapped file
        chosen = slice(first, first + USERS_AT_ONCE)
        found = embeddings[rows[chosen]]
        is_free[chosen] = ~found.any(axis=1)
        if met.placed is not None:
            is_free[chosen] |= (found == met.placed).all(axis=1)
    return rows[is_free]


def least_squares(
    design: NDArray[np.float64], wanted: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return x that minimises the weighted squares of ``design @ x - wanted``, with the ridge of this module.

    The system has an equation for each row or for each column, whichever are fewer: time and memory grow with the
    second and third power of the number.
    """
    if len(design) < design.shape[1]:
        roots = np.sqrt(weights)
        rows = design * roots[:, None]
        products = rows @ rows.T
        products += RIDGE * np.trace(products) / design.shape[1] * np.eye(len(products))
        return np.asarray(rows.T @ np.linalg.solve(products, wanted * roots), dtype=np.float64)
    weighted = design * weights[:, None]
    normal = weighted.T @ design
    normal += RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
    return np.asarray(np.linalg.solve(normal, weighted.T @ wanted), dtype=np.float64)


def popular_embedding(item_embeddings: Floats, item_biases: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return a user's embedding that ranks items by popularity: zeros, with which biases rank, or a fitted one.

    The fitted embedding is the least-squares solution for the logarithm of the items' shares of the positives. An
    item's weight grows faster than its share, since the top of the list counts. Biases alone do not rank by popularity
    if negatives are drawn by popularity (:math:`E[b]` is flat then), and rank less well if negatives are searched. Of
    the two embeddings, the one whose first items have more positives, discounted as in DCG, is returned.
    """
    zeros = np.zeros(item_embeddings.shape[1], dtype=np.float32)
    known = np.flatnonzero(counts)
    if not len(known):
        return zeros
    top = known[np.argsort(-counts[known], kind="stable")[:MOST_FITTED]]
    shares = counts[top] / counts.sum()
    design = np.column_stack([item_embeddings[top], np.ones(len(top))]).astype(np.float64)
    exact = least_squares(design, np.log(shares) - item_biases[top], shares**1.5)[:-1]
    if not (np.abs(exact) <= LARGEST_SINGLE).all():  # of parameters that were assigned near this limit
        return zeros
    fitted = exact.astype(np.float32)

    n_top = min(N_TOP, len(known))

    def gain(embedding: Floats) -> float:
        scores = np.where(counts > 0, item_embeddings @ embedding + item_biases, -np.inf)
        first = np.argpartition(-scores, n_top - 1)[:n_top]
        first = first[np.argsort(-scores[first], kind="stable")]
        return float((counts[first] / np.log2(np.arange(2, 2 + len(first)))).sum())

    return fitted if np.isfinite(fitted).all() and gain(fitted) > gain(zeros) else zeros
