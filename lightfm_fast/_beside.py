"""The linear autoencoder that stands beside the factors, and how much it counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._autoencoder import Autoencoder, Positives, fit_autoencoder
from ._hyperparameters import is_auto
from ._parameters import Floats
from ._sides import Sides

__all__: list[str] = []

# The best unseen items of a user, of which spreads are compared; and users that are compared, at most.
_N_BEST, _MOST_USERS = 20, 300
# Where the spread of the best unseen items is a smaller part of the spread of all items, they differ by rounding.
_LEAST_SPREAD = 1e-3
# Scores held at a time.
_AT_ONCE = 1 << 22
# What linear_components="auto" means, with up to so many items, and users and items together; and the share of the
# positives' squares that it must explain.
LINEAR_COMPONENTS, MOST_ITEMS, MOST_ROWS, LEAST_EXPLAINED = 256, 30_000, 500_000, 0.2


@dataclass(frozen=True)
class Beside:
    """An autoencoder, and some users by whose items it is weighed against factors.

    Attributes
    ----------
    autoencoder : Autoencoder
    compared : csr_matrix of shape (n_compared, n_items)
        The users' positives, as ones.
    user_features : csr_matrix of shape (n_compared, n_user_features)
    item_features : csr_matrix of shape (n_items, n_item_features)
    is_met : bool array of shape (n_items,)
        Which items have positives.
    has_weight : bool
        Whether the autoencoder keeps its weight, since the positives are too few to compare spreads.
    """

    autoencoder: Autoencoder
    compared: sp.csr_matrix
    user_features: sp.csr_matrix
    item_features: sp.csr_matrix
    is_met: NDArray[np.bool_]
    has_weight: bool

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
            The number of coordinates, at most. "auto" for ``LINEAR_COMPONENTS``, if they explain enough.
        before : Autoencoder or None
        num_threads : int

        Returns
        -------
        Beside or None
            None if they explain too little, or a user or an item with positives has no column of its own.
        """
        has_weight = False
        if before is not None:
            has_weight = int(positives.counts[0].sum()) < before.counts.sum()
            fitted: Autoencoder | None = before.extended(positives, item_features)
        else:
            n_coordinates = LINEAR_COMPONENTS if is_auto(n_components) else int(n_components)
            fitted = fit_autoencoder(positives, item_features, n_coordinates, np.random.RandomState(0), num_threads)
            if fitted is not None and is_auto(n_components) and fitted.explained < LEAST_EXPLAINED:
                return None
        if fitted is None:
            return None
        users = positives.sampled(_MOST_USERS, np.random.RandomState(0))
        is_met = positives.counts[1] > 0
        features = positives.features_of(users), item_features[: len(is_met)]
        return cls(fitted, positives.rows_of(users), *features, is_met, has_weight)

    def weighed(self, sides: Sides, num_threads: int) -> Autoencoder:
        """Return the autoencoder with its weight beside trained factors.

        Its scores get the spread of the factors' scores among each user's best unseen items, times the share of the
        positives that it explains: what it cannot see, it should not judge.
        """
        found = self.autoencoder
        if self.has_weight:
            return found
        bare = replace(sides, content=None, autoencoder=None)
        items, biases, _ = bare.represent("item", self.item_features, None, num_threads)
        coordinates = replace(found, weight=1.0).coordinates("item", self.item_features)
        of_factors = of_linear = of_all = 0.0
        step = max(1, _AT_ONCE // len(self.is_met))
        for first in range(0, self.compared.shape[0], step):
            rows = np.arange(first, min(first + step, self.compared.shape[0]))
            embeddings, _, places = bare.represent("user", self.user_features, rows, num_threads)
            left_out = self.compared[rows].toarray() > 0
            left_out[:, ~self.is_met] = True
            of_factors += _spread_of_best(embeddings[places] @ items.T + biases, left_out)
            linear = found.coordinates("user", self.user_features[rows]) @ coordinates.T
            of_linear += _spread_of_best(linear, left_out)
            of_all += float(linear.std(axis=1, dtype=np.float64).sum())
        weight = found.explained * of_factors / of_linear if of_linear > _LEAST_SPREAD * of_all else 0.0
        return replace(found, weight=weight)


def _spread_of_best(scores: Floats, left_out: NDArray[np.bool_]) -> float:
    """Return the sum over rows of the standard deviation of the best scores; 0 for a row with fewer than two."""
    n_best = min(_N_BEST, scores.shape[1])
    best = np.partition(np.where(left_out, np.inf, -scores), n_best - 1, axis=1)[:, :n_best]
    best = best[np.isfinite(best).any(axis=1)]
    return float(best.std(axis=1, dtype=np.float64, where=np.isfinite(best)).sum())
