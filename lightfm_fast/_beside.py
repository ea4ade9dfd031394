"""The linear autoencoder that stands beside the factors, and how much it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._autoencoder import Autoencoder, Positives, fit_autoencoder
from ._hyperparameters import is_auto
from ._parameters import Floats
from ._sides import Sides

# The best unseen items of a user, of which spreads are compared; and users that are compared, at most.
_N_BEST, _MOST_USERS = 20, 300
# Where the spread of the best unseen items is a smaller part of the spread of all items, they differ by rounding.
_LEAST_SPREAD = 1e-3
# Scores held at a time.
_AT_ONCE = 1 << 22
# What linear_components="auto" means: the first number with up to so many items, and users and items together, if it
# explains so large a share of the positives' squares. The second has no more coordinates in all: half the rows.
_LINEAR_COMPONENTS, _MOST_ITEMS, _MOST_ROWS, _LEAST_EXPLAINED = (256, 512), 30_000, 500_000, 0.2


@dataclass(frozen=True)
class Beside:
    """An autoencoder, and some users by whose items it is weighed against factors.

    Attributes
    ----------
    autoencoder : Autoencoder
    users : int64 array of shape (n_compared,)
        The rows of these users, ascending.
    positives : csr_matrix of shape (n_compared, n_items)
        Their positives, as ones.
    is_met : bool array of shape (n_items,)
        Which items have positives.
    has_weight : bool
        Whether the autoencoder keeps its weight, since the positives are too few to compare spreads.
    """

    autoencoder: Autoencoder
    users: NDArray[np.int64]
    positives: sp.csr_matrix
    is_met: NDArray[np.bool_]
    has_weight: bool = False

    @classmethod
    def of(
        cls,
        positives: Positives,
        item_features: sp.csr_matrix,
        n_components: int | str,
        before: Autoencoder | None,
        num_threads: int,
    ) -> Beside | None:
        """Fit an autoencoder, or take more positives into the one from before.

        Parameters
        ----------
        positives : Positives
        item_features : csr_matrix
            Of at least as many items.
        n_components : int or "auto"
            The number of coordinates, at most. "auto" for 256 or 512, if there are not too many users and
            items, and if they explain enough.
        before : Autoencoder or None
        num_threads : int

        Returns
        -------
        Beside or None
            None if "auto" means none, or a user or an item with positives has no column of its own.
        """
        is_large = positives.shape[1] > _MOST_ITEMS or sum(positives.shape) > _MOST_ROWS
        if before is None and is_auto(n_components) and is_large:
            return None
        has_weight = False
        if before is not None:
            has_weight = int(positives.counts[0].sum()) < before.counts.sum()
            fitted: Autoencoder | None = before.extended(positives, item_features)
        else:
            numbers, least = ((int(n_components),), 0.0) if not is_auto(n_components) else _of_auto(positives.shape)
            fitted = fit_autoencoder(positives, item_features, numbers, least, np.random.RandomState(0), num_threads)
        if fitted is None:
            return None
        users = positives.sampled(_MOST_USERS, np.random.RandomState(0))
        return cls(fitted, users, positives.rows_of(users), positives.counts[1] > 0, has_weight)

    def weighed_in(
        self, sides: Sides, user_features: sp.csr_matrix, item_features: sp.csr_matrix, num_threads: int
    ) -> Autoencoder:
        """Return the autoencoder with its weight beside a model's factors; ``user_features`` are of :attr:`users`."""
        bare, item_features = replace(sides, content=None, autoencoder=None), item_features[: len(self.is_met)]
        items, biases, _ = bare.represent("item", item_features, None, num_threads)
        users, *_ = bare.represent("user", user_features, None, num_threads)
        return self.weighed(users, items, biases, self.autoencoder.coordinates("user", user_features), item_features)

    def weighed(
        self, users: Floats, items: Floats, biases: Floats, linear: Floats, item_features: sp.csr_matrix
    ) -> Autoencoder:
        """Return the autoencoder with its weight beside trained factors.

        Its scores get the spread of the factors' scores among each user's best unseen items, times the share of the
        positives that it explains: what it cannot see, it should not judge.

        Parameters
        ----------
        users, items : float32 arrays
            The embeddings of :attr:`users` and of all items.
        biases : float32 array of shape (n_items,)
        linear : float32 array of shape (n_compared, n_coordinates)
            The coordinates of :attr:`users`.
        item_features : csr_matrix of shape (n_items, n_item_features)
        """
        if self.has_weight:
            return self.autoencoder
        coordinates = replace(self.autoencoder, weight=1.0).coordinates("item", item_features)
        of_factors = of_linear = of_all = 0.0
        step = max(1, _AT_ONCE // len(self.is_met))
        for first in range(0, len(users), step):
            rows = slice(first, first + step)
            left_out = self.positives[rows].toarray() > 0
            left_out[:, ~self.is_met] = True
            of_factors += _spread_of_best(users[rows] @ items.T + biases, left_out)
            scores = linear[rows] @ coordinates.T
            of_linear += _spread_of_best(scores, left_out)
            of_all += float(scores.std(axis=1, dtype=np.float64).sum())
        explained = self.autoencoder.explained
        weight = explained * of_factors / of_linear if of_linear > _LEAST_SPREAD * of_all else 0.0
        return replace(self.autoencoder, weight=weight)


def _of_auto(shape: tuple[int, int]) -> tuple[Sequence[int], float]:
    """Return the numbers of coordinates that "auto" may take, and the share that the first must explain."""
    return _LINEAR_COMPONENTS[: 1 if 2 * sum(shape) > _MOST_ROWS else 2], _LEAST_EXPLAINED


def _spread_of_best(scores: Floats, left_out: NDArray[np.bool_]) -> float:
    """Return the sum over rows of the standard deviation of the best scores; 0 for a row with fewer than two."""
    n_best = min(_N_BEST, scores.shape[1])
    best = np.partition(np.where(left_out, np.inf, -scores), n_best - 1, axis=1)[:, :n_best]
    best = best[np.isfinite(best).any(axis=1)]
    return float(best.std(axis=1, dtype=np.float64, where=np.isfinite(best)).sum())
