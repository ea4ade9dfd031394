r"""A linear autoencoder beside the factors: which items go together, from the interactions alone.

Ridge regression of the matrix of positives :math:`X` on itself, of which each item's own part is taken out (EASE, Steck
2019), often ranks better than factors where the data are dense. With the largest singular values :math:`s` and right
singular vectors :math:`V` of :math:`X` (Jin 2021), the score of user u and item i is a product of vectors,

.. math:: x_u V D \cdot \frac{V_i}{1 - h_i}, \quad D = \frac{s^2}{s^2 + \lambda}, \quad h_i = V_i D V_i^\top,

which representations carry after the embedding. :math:`1 - h_i` makes the prediction one of a regression without the
user's own interaction with the item (PRESS, Allen 1974).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._feature_rows import owners_of
from ._matrices import check_saved_arrays
from ._parameters import Floats
from ._svd import largest_singular, multiplied

__all__: list[str] = []

# The penalty lambda, in positives of a user with any; passes over them that find singular vectors; and users with
# positives that they are found from, at most.
_PENALTY, _N_PASSES, _MOST_ANALYSED = 3.0, 3, 20_000


@dataclass(frozen=True, eq=False)
class Places:
    """The rows of a side that have coordinates: those with positives, by a column that is their own.

    Attributes
    ----------
    numbers : int64 array of shape (n_features,)
        The known row that a column stands for, as a number from 0; -1 for all other columns.
    weights : float32 array of shape (n_known,)
        The weight of each known row's column.
    """

    numbers: NDArray[np.int64]
    weights: Floats

    @classmethod
    def of(cls, features: sp.csr_matrix, known: NDArray[np.integer]) -> Places | None:
        """Return the places of the rows ``known``; None if a row has no identity column."""
        if not len(known):
            return cls(np.full(features.shape[1], -1), np.zeros(0, np.float32))
        owners = owners_of(features, known.astype(np.int64))
        columns = np.flatnonzero(owners >= 0)
        # A row may also be the only one with a tag. Identity columns lie on a diagonal, which more rows share.
        _, diagonals, counts = np.unique(columns - known[owners[columns]], return_inverse=True, return_counts=True)
        columns = columns[np.argsort(-counts[diagonals], kind="stable")]
        found, first = np.unique(owners[columns], return_index=True)
        if len(found) < len(known):
            return None
        numbers = np.full(len(owners), -1)
        numbers[columns[first]] = found
        return cls(numbers, np.asarray(features[known, columns[first]], dtype=np.float32).ravel())

    def widened(self, n_features: int) -> Places:
        """Return the places with columns that are new since."""
        return replace(self, numbers=np.pad(self.numbers, (0, n_features - len(self.numbers)), constant_values=-1))

    def of_rows(self, features: sp.csr_matrix) -> tuple[NDArray[np.intp], NDArray[np.int64], Floats]:
        """Return the rows with such a column, the known row that each is, and 1, as far as its weight says.

        A row with several such columns comes several times.
        """
        if features.shape[1] > len(self.numbers):  # another thread's training has added columns since
            return self.widened(features.shape[1]).of_rows(features)
        numbers = self.numbers[features.indices]
        is_own = np.flatnonzero((numbers >= 0) & (features.data != 0))
        rows, numbers = np.searchsorted(features.indptr, is_own, side="right") - 1, numbers[is_own]
        return rows, numbers, (features.data[is_own] / self.weights[numbers]).astype(np.float32, copy=False)

    def sums(self, features: sp.csr_matrix, table: Floats, factor: float = 1.0) -> Floats:
        """Return for each row the known row's values in ``table`` times ``factor``; zeros for others."""
        rows, numbers, values = self.of_rows(features)
        values *= np.float32(factor)
        found = np.zeros((features.shape[0], table.shape[1]), dtype=np.float32)
        if (rows[1:] > rows[:-1]).all():  # faster than to add up, which a request would wait for
            found[rows] = values[:, None] * table[numbers]
        else:
            np.add.at(found, rows, values[:, None] * table[numbers])
        return found


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """The coordinates of known users and items.

    Attributes
    ----------
    user_places, item_places : Places
    users : float32 array of shape (n_known_users, n_coordinates)
        Sums of :attr:`codes` over a user's items.
    counts : int64 array of shape (n_known_users,)
        How many items these are.
    items : float32 array of shape (n_known_items, n_coordinates)
        The items' coordinates less their mean, so that items without any are like the mean item.
    codes : float32 array of shape (n_known_items, n_coordinates)
        What an item adds to the coordinates of users who have it.
    explained : float
        The share of the positives, as squares of a matrix of ones, that the singular values explain.
    weight : float
        The factor in a score of the product of a user's and an item's coordinates.
    """

    user_places: Places
    item_places: Places
    users: Floats
    counts: NDArray[np.int64]
    items: Floats
    codes: Floats
    explained: float
    weight: float = 1.0

    @property
    def n_coordinates(self) -> int:
        return self.items.shape[1]

    def coordinates(self, name: str, features: sp.csr_matrix) -> Floats:
        """Return the coordinates of a side's rows, whose products are added to scores; zeros for unknown rows."""
        if name == "user":
            return self.user_places.sums(features, self.users)
        return self.item_places.sums(features, self.items, self.weight)

    def of_new_users(self, item_features: sp.csr_matrix, positives: sp.csr_matrix) -> Floats:
        """Return the coordinates of users who came after training, by their items."""
        return np.asarray(positives @ self.item_places.sums(item_features, self.codes))

    def per_user_feature(self) -> Floats:
        """Return the coordinates of a user with one feature of weight 1, for each feature in turn."""
        table = np.zeros((len(self.user_places.numbers), self.n_coordinates), dtype=np.float32)
        columns = np.flatnonzero(self.user_places.numbers >= 0)
        numbers = self.user_places.numbers[columns]
        table[columns] = self.users[numbers] / self.user_places.weights[numbers, None]
        return table

    def widened(self, n_user_features: int, n_item_features: int) -> Autoencoder:
        """Return the autoencoder with features that are new since, whose rows have no coordinates."""
        return replace(
            self,
            user_places=self.user_places.widened(n_user_features),
            item_places=self.item_places.widened(n_item_features),
        )

    def extended(
        self, positives: sp.csr_matrix, user_features: sp.csr_matrix, item_features: sp.csr_matrix
    ) -> Autoencoder:
        """Take in positives that came after training: users gain their items' codes; items stay as they are.

        Who has at least as many positives here as before is taken to come with them all, so that going on with the
        same interactions changes nothing.
        """
        rows = np.flatnonzero(np.diff(positives.indptr))
        of_rows = self.of_new_users(item_features[: positives.shape[1]], positives[rows])
        counts = np.diff(positives.indptr)[rows].astype(np.int64)
        places, users, all_counts = self.user_places, self.users.copy(), self.counts.copy()
        with_column, numbers, _ = places.of_rows(user_features[rows])
        known, first = np.unique(with_column, return_index=True)
        numbers = numbers[first]
        is_known = np.zeros(len(rows), dtype=bool)
        is_known[known] = True
        adds = counts[is_known] < all_counts[numbers]
        users[numbers] = of_rows[is_known] + np.where(adds[:, None], users[numbers], 0)
        all_counts[numbers] = counts[is_known] + np.where(adds, all_counts[numbers], 0)
        new = np.flatnonzero(~is_known)
        owners = owners_of(user_features, rows[new])
        new = new[np.unique(owners[owners >= 0])]  # a user without an identity column has no coordinates
        added = Places.of(user_features, rows[new])
        assert added is not None
        columns = np.flatnonzero(added.numbers >= 0)
        places = Places(places.numbers.copy(), np.concatenate([places.weights, added.weights]))
        places.numbers[columns] = len(users) + added.numbers[columns]
        users, all_counts = np.vstack([users, of_rows[new]]), np.append(all_counts, counts[new])
        return replace(self, user_places=places, users=users, counts=all_counts)

    def to_arrays(self) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        """Return the numbers and the arrays of which :meth:`of_arrays` makes an equal object."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for side, places in (("user", self.user_places), ("item", self.item_places)):
            arrays.update({f"{side}_numbers": places.numbers, f"{side}_weights": places.weights})
        return {"explained": self.explained, "weight": self.weight}, arrays

    @classmethod
    def of_arrays(
        cls,
        numbers: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        n_user_features: int,
        n_item_features: int,
    ) -> Autoencoder:
        """Make the object whose numbers and arrays a file holds.

        Raises
        ------
        ValueError
            If they do not fit one another or the model, or numbers are not finite.
        """
        n_users, (n_items, n) = len(arrays["users"]), arrays["items"].shape
        expected = {
            "users": (np.float32, (n_users, n)),
            "counts": (np.int64, (n_users,)),
            "items": (np.float32, (n_items, n)),
            "codes": (np.float32, (n_items, n)),
            "user_numbers": (np.int64, (n_user_features,)),
            "user_weights": (np.float32, (n_users,)),
            "item_numbers": (np.int64, (n_item_features,)),
            "item_weights": (np.float32, (n_items,)),
        }
        check_saved_arrays(arrays, expected, "autoencoder")
        places = []
        for side, n_known in (("user", n_users), ("item", n_items)):
            of_columns, weights = arrays[f"{side}_numbers"], arrays[f"{side}_weights"]
            chosen = of_columns[of_columns != -1]
            if len(chosen) != n_known or (np.sort(chosen) != np.arange(n_known)).any() or not weights.all():
                raise ValueError(f"the columns of the autoencoder's {side}s are not one for each of {n_known:,}")
            places.append(Places(of_columns, weights))
        explained, weight = (float(numbers[name]) for name in ("explained", "weight"))
        if not (0 <= explained < np.inf and 0 <= weight < np.inf):
            raise ValueError(f"the numbers of the autoencoder are {dict(numbers)}, expected finite ones of at least 0")
        return cls(places[0], places[1], **{name: arrays[name] for name in _ARRAYS}, explained=explained, weight=weight)


_ARRAYS = ("users", "counts", "items", "codes")


def check_have_places(interactions: sp.coo_matrix, user_features: sp.csr_matrix, item_features: sp.csr_matrix) -> None:
    """Raise ValueError if a user or an item with positives has no identity column."""
    is_positive = interactions.data > 0
    for name, features, rows in (
        ("user", user_features, interactions.row),
        ("item", item_features, interactions.col),
    ):
        if Places.of(features, np.unique(rows[is_positive])) is None:
            raise ValueError(
                f"linear_components is given, but {name}_features lack an identity column for some {name} with "
                "positive interactions: give each such a column, as Dataset does, or set linear_components=0"
            )


def fit_autoencoder(
    positives: sp.csr_matrix,
    user_features: sp.csr_matrix,
    item_features: sp.csr_matrix,
    n_coordinates: int,
    rng: np.random.RandomState,
    num_threads: int,
) -> Autoencoder | None:
    """Fit the autoencoder to a matrix of ones, shape (n_users, n_items); its weight is 1.

    Returns None if there are no ones, or a user or an item with any has no column of its own.
    """
    of_users, of_items = np.diff(positives.indptr), np.bincount(positives.indices, minlength=positives.shape[1])
    users, items = np.flatnonzero(of_users), np.flatnonzero(of_items)
    user_places, item_places = Places.of(user_features, users), Places.of(item_features, items)
    if user_places is None or item_places is None or not len(users):
        return None
    ones = positives[users][:, items]
    analysed = ones
    if len(users) > _MOST_ANALYSED:
        analysed = ones[np.sort(rng.choice(len(users), _MOST_ANALYSED, replace=False))]
    squares, vectors = largest_singular(analysed, n_coordinates, _N_PASSES, rng, num_threads)
    squares = squares * (len(users) / analysed.shape[0])
    kept = (squares / (squares + _PENALTY * ones.nnz / len(users))).astype(np.float32)
    codes = vectors * kept
    scaled = vectors / (1 - (vectors * codes).sum(axis=1, keepdims=True))
    return Autoencoder(
        user_places,
        item_places,
        np.ascontiguousarray(multiplied(ones, codes, num_threads)),
        of_users[users].astype(np.int64),
        scaled - scaled.mean(axis=0),
        codes,
        float(squares.sum() / ones.nnz),
    )
