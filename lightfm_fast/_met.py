"""Whom training has met, and what represents users and items that it has not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast._parameters import Floats

__all__: list[str] = []

# Of the least squares: items at most, by popularity; the ridge, as a share of the mean square.
MOST_FITTED, RIDGE = 1 << 16, 1e-6
# Items at the top of a list, which popularity is to fill.
N_TOP = 10


@dataclass(frozen=True)
class Met:
    """The users and items with positive interactions in all calls since ``fit``.

    Attributes
    ----------
    users : bool array of shape (n_users,)
        Whether a user had any.
    items : int64 array of shape (n_items,)
        How many each item had.
    placed : float32 array of shape (n_components,) or None
        The embedding of users without positives; None before there were such users.
    low : float or None
        The bias of items without positives, likewise.
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
        """Which items may be drawn as negatives. One that nobody met says nothing against itself."""
        return self.items > 0

    def merged(self, users: NDArray[np.bool_], items: NDArray[Any]) -> Met:
        """Add the users and the counts of items of a call, whose matrix may be larger or smaller than those before."""
        is_met = np.zeros(max(len(users), len(self.users)), dtype=bool)
        is_met[: len(self.users)] = self.users
        is_met[: len(users)] |= users
        counts = np.zeros(max(len(items), len(self.items)), dtype=np.int64)
        counts[: len(self.items)] = self.items
        counts[: len(items)] += items.astype(np.int64)
        return Met(is_met, counts, self.placed, self.low)


def unmet_items(biases: Floats, features: sp.csr_matrix, met: Met) -> NDArray[np.intp]:
    """Find the items without positives that no known feature represents: those of one feature, which no other item has.

    Returns
    -------
    columns : array
        The features. One whose bias is neither 0 nor ``met.low`` was learned or assigned, and is left out.
    """
    counts = np.zeros(features.shape[0], dtype=np.int64)
    counts[: len(met.items)] = met.items[: len(counts)]
    rows = np.flatnonzero((counts == 0) & (np.diff(features.indptr) == 1))
    if not counts.any():
        return rows[:0]
    columns, weights = features.indices[features.indptr[rows]], features.data[features.indptr[rows]]
    is_alone = np.bincount(features.indices, minlength=features.shape[1])[columns] == 1
    is_free = np.isin(biases[columns], [0.0] if met.low is None else [0.0, met.low])
    return columns[is_alone & (weights == 1) & is_free]


def newly_met(before: Met, now: Met, features: sp.csr_matrix) -> NDArray[np.intp]:
    """Find the features of the items that have got their first positives, of items with one feature."""
    counts = np.zeros_like(now.items)
    counts[: len(before.items)] = before.items
    rows = np.flatnonzero((counts == 0) & (now.items > 0))
    rows = rows[np.diff(features.indptr)[rows] == 1]
    return features.indices[features.indptr[rows]]


def low_bias(users: Floats, embeddings: Floats, biases: Floats) -> float:
    """Return a bias by which items of these embeddings score below the least of ``biases`` with all users."""
    longest = [np.sqrt(np.einsum("ij,ij->i", rows, rows).max()) for rows in (users, embeddings)]
    return float(np.float32(biases.min() - longest[0] * longest[1]))


def unmet_users(embeddings: Floats, met: Met) -> NDArray[np.intp]:
    """Find the users without positives, who are the rows of ``embeddings``.

    A row that is neither zeros nor ``met.placed`` was learned or assigned, and is left out.
    """
    is_met = np.zeros(len(embeddings), dtype=bool)
    is_met[: len(met.users)] = met.users[: len(is_met)]
    rows = np.flatnonzero(~is_met)
    found = embeddings[rows]
    is_free = ~found.any(axis=1)
    if met.placed is not None:
        is_free |= (found == met.placed).all(axis=1)
    return rows[is_free]


def popular_embedding(item_embeddings: Floats, item_biases: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return a user's embedding whose list is by popularity: zeros, so that biases order it, or a better one.

    The other is fitted by least squares to the logarithm of the items' shares of the positives. An item's weight grows
    faster than its share, since the top of the list counts. Biases alone do not order items by popularity where
    negatives are drawn by popularity (:math:`E[b]` is flat then), and less well where negatives are searched. The
    embedding whose first items had more positives, discounted as in DCG, is chosen.
    """
    zeros = np.zeros(item_embeddings.shape[1], dtype=np.float32)
    known = np.flatnonzero(counts)
    if not len(known):
        return zeros
    top = known[np.argsort(-counts[known], kind="stable")[:MOST_FITTED]]
    shares = counts[top] / counts.sum()
    design = np.column_stack([item_embeddings[top], np.ones(len(top))]).astype(np.float64)
    weighted = design * shares[:, None] ** 1.5
    normal = weighted.T @ design
    normal += RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
    wanted = np.log(shares) - item_biases[top]
    fitted = np.linalg.solve(normal, weighted.T @ wanted)[:-1].astype(np.float32)

    def gain(embedding: Floats) -> float:
        scores = item_embeddings[known] @ embedding + item_biases[known]
        first = known[np.argsort(-scores, kind="stable")[:N_TOP]]
        return float((counts[first] / np.log2(np.arange(2, 2 + len(first)))).sum())

    return fitted if np.isfinite(fitted).all() and gain(fitted) > gain(zeros) else zeros
