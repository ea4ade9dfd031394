r"""A linear autoencoder beside the factors: which items go together, from the interactions alone.

Ridge regression of the matrix of positives :math:`X` on itself, of which each item's own part is taken out (EASE, Steck
2019), often ranks better than factors where the data are dense. With the largest singular values :math:`s` and right
singular vectors :math:`V` of :math:`X` (Jin 2021), the score of user u and item i is a product of vectors,

.. math:: x_u V D \cdot \frac{V_i}{1 - h_i}, \quad D = \frac{s^2}{s^2 + \lambda}, \quad h_i = V_i D V_i^\top,

which representations carry after the embedding. :math:`1 - h_i` makes the prediction one of a regression without the
user's own interaction with the item (PRESS, Allen 1974).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._feature_rows import owners_of, sampled_rows
from ._lazy import cached_property
from ._matrices import check_saved_arrays
from ._parameters import Floats, zeros_in
from ._penalty import choose_penalty
from ._svd import largest_singular, multiplied

# Passes over the positives that find singular vectors, and users with positives that they are found from, at most.
_N_PASSES, _MOST_ANALYSED = 3, 20_000
# Users with fewer positives hardly tell which items go together: they are not typical, unless most positives are
# theirs.
_LEAST_POSITIVES = 5
# The share of the positives' squares below which more singular values are worth their time.
_ENOUGH_EXPLAINED = 0.5


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
    def of(cls, features: sp.csr_matrix, known: NDArray[np.int64]) -> tuple[Places, NDArray[np.int64]]:
        """Look for identity columns of the rows ``known``. Return their places, and the rows that have one."""
        owners = owners_of(features, known)
        columns = np.flatnonzero(owners >= 0)
        # A row may also be the only one with a tag. Identity columns lie on a diagonal, which more rows share.
        _, diagonals, counts = np.unique(columns - known[owners[columns]], return_inverse=True, return_counts=True)
        columns = columns[np.argsort(-counts[diagonals], kind="stable")]
        found, first = np.unique(owners[columns], return_index=True)
        known, columns = known[found], columns[first]
        numbers = np.full(len(owners), -1)
        numbers[columns] = np.arange(len(known))
        weights = np.asarray(features[known, columns], dtype=np.float32).ravel() if len(known) else np.zeros(0)
        return cls(numbers, weights.astype(np.float32)), known

    def widened(self, n_features: int) -> Places:
        """Return the places with columns that are new since."""
        return replace(self, numbers=np.pad(self.numbers, (0, n_features - len(self.numbers)), constant_values=-1))

    def joined(self, new: Places) -> Places:
        """Return the places with those of further rows, for at least as many features."""
        numbers = self.widened(len(new.numbers)).numbers.copy()
        columns = np.flatnonzero(new.numbers >= 0)
        numbers[columns] = len(self.weights) + new.numbers[columns]
        return Places(numbers, np.concatenate([self.weights, new.weights]))

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
        """Return the row of ``table`` of the known row that each row is, times ``factor``; zeros for other rows."""
        rows, numbers, values = self.of_rows(features)
        values *= np.float32(factor)
        found = np.zeros((features.shape[0], table.shape[1]), dtype=np.float32)
        if (rows[1:] > rows[:-1]).all():  # faster than to add up, which a request would wait for
            found[rows] = values[:, None] * table[numbers]
        else:
            np.add.at(found, rows, values[:, None] * table[numbers])
        return found


@dataclass(frozen=True, eq=False)
class Positives:
    """Which items users like, as matrices of ones. Of data on disk, one block of users is in memory at a time.

    Attributes
    ----------
    shape : tuple of int
        The numbers of users and items.
    blocks : callable
        Returns an iterator of CSR matrices of shape (n_users_of_block, n_items). They have all users, in order.
    features_of : callable
        Takes numbers of users, ascending, and returns their rows of the user features.
    places_of : callable
        Takes numbers of users, and returns what :meth:`Places.of` returns for them.
    scratch : str or None
        The folder for arrays with a row for each user; None if they are in memory.
    """

    shape: tuple[int, int]
    blocks: Callable[[], Iterator[sp.csr_matrix]]
    features_of: Callable[[NDArray[np.int64]], sp.csr_matrix]
    places_of: Callable[[NDArray[np.int64]], tuple[Places, NDArray[np.int64]]]
    scratch: str | None = None

    @cached_property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many items each user has, and how many users each item has."""
        of_users, of_items = [], []
        for block in self.blocks():
            of_users.append(np.diff(block.indptr))
            of_items.append(np.bincount(block.indices, minlength=block.shape[1]))
        return np.concatenate(of_users).astype(np.int64), np.sum(of_items, axis=0)

    def rows_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        """Return the rows of some users, given in ascending order."""
        return sp.csr_matrix(sp.vstack([block[rows] for _, rows, block in self._chosen(users)], format="csr"))

    def sampled(self, most: int, rng: np.random.RandomState) -> NDArray[np.int64]:
        """Return the users with items or, if there are more than ``most``, so many of them drawn at random."""
        return sampled_rows(np.flatnonzero(self.counts[0]), most, rng)

    def products(self, users: NDArray[np.int64], items: NDArray[np.intp], codes: Floats, num_threads: int) -> Floats:
        """Return the sums of the items' codes for each of some users, given in ascending order."""
        found = zeros_in(self.scratch, len(users), codes.shape[1])
        for places, rows, block in self._chosen(users):
            found[places] = multiplied(block[rows][:, items], codes, num_threads)
        return found

    def _chosen(self, users: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.int64], sp.csr_matrix]]:
        """Yield for each block where its users are among ``users``, which rows of the block they are, and the block."""
        first = begin = 0
        for block in self.blocks():
            end = int(np.searchsorted(users, first + block.shape[0]))
            yield slice(begin, end), users[begin:end] - first, block
            first, begin = first + block.shape[0], end


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

    def extended(self, positives: Positives, item_features: sp.csr_matrix) -> Autoencoder:
        """Take in positives that came after training: users gain their items' codes; items stay as they are.

        Who has at least as many positives here as before is taken to come with them all, so that going on with the
        same interactions changes nothing.
        """
        before, known_counts = self.user_places, self.counts.copy()
        users = zeros_in(positives.scratch, *self.users.shape)
        users[:] = self.users
        places, added_users, added_counts, first = before, [], [], 0
        for block in positives.blocks():
            rows = np.flatnonzero(np.diff(block.indptr))
            of_rows = self.of_new_users(item_features[: block.shape[1]], block[rows])
            counts, numbers_of_rows = np.diff(block.indptr)[rows].astype(np.int64), rows + first
            first += block.shape[0]
            with_column, numbers, _ = before.of_rows(positives.features_of(numbers_of_rows))
            known, at = np.unique(with_column, return_index=True)
            numbers = numbers[at]
            adds = counts[known] < known_counts[numbers]
            users[numbers] = of_rows[known] + np.where(adds[:, None], users[numbers], 0)
            known_counts[numbers] = counts[known] + np.where(adds, known_counts[numbers], 0)
            # A user without an identity column has no coordinates.
            new, found = positives.places_of(np.delete(numbers_of_rows, known))
            chosen = np.searchsorted(numbers_of_rows, found)
            places = places.joined(new)
            added_users.append(of_rows[chosen])
            added_counts.append(counts[chosen])
        all_counts = np.concatenate([known_counts, *added_counts])
        if len(all_counts) > len(users):
            known_users, users = users, zeros_in(positives.scratch, len(all_counts), self.n_coordinates)
            np.concatenate([known_users, *added_users], out=users)
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


def check_have_places(name: str, features: sp.csr_matrix, known: NDArray[np.int64]) -> None:
    """Raise ValueError if one of the rows ``known`` of a side has no identity column."""
    if len(Places.of(features, known)[1]) < len(known):
        raise ValueError(
            f"linear_components is given, but {name}_features lack an identity column for some {name} with "
            f"positive interactions: give each {name} one, as Dataset does, or set linear_components=0"
        )


def fit_autoencoder(
    positives: Positives,
    item_features: sp.csr_matrix,
    numbers: Sequence[int],
    least_explained: float,
    rng: np.random.RandomState,
    num_threads: int,
) -> Autoencoder | None:
    """Fit the autoencoder; its weight is 1.

    Parameters
    ----------
    positives : Positives
    item_features : csr_matrix
    numbers : sequence of int
        Numbers of coordinates, ascending: the first that explains half of the positives' squares is taken, or the last.
    least_explained : float
        The share of the squares that the first number must explain.
    rng : RandomState
    num_threads : int

    Returns
    -------
    Autoencoder or None
        None if there are no positives, if too little of them is explained, or if a user or an item with positives has
        no column of its own.
    """
    of_users, of_items = positives.counts
    users, items = np.flatnonzero(of_users), np.flatnonzero(of_items)
    user_places, users_with_place = positives.places_of(users)
    item_places, items_with_place = Places.of(item_features, items)
    if len(users_with_place) < len(users) or len(items_with_place) < len(items) or not len(users):
        return None
    analysed = positives.rows_of(positives.sampled(_MOST_ANALYSED, rng))[:, items]
    for n_coordinates in numbers:
        squares, vectors = largest_singular(analysed, n_coordinates, _N_PASSES, rng, num_threads)
        squares *= len(users) / analysed.shape[0]
        explained = float(squares.sum() / of_users.sum())
        if explained < least_explained:
            return None
        if explained >= _ENOUGH_EXPLAINED:
            break
    penalty = choose_penalty(squares, vectors, analysed, typical_count(of_users[users]), rng)
    kept = (squares / (squares + penalty)).astype(np.float32)
    codes = vectors * kept
    scaled = vectors / (1 - (vectors * codes).sum(axis=1, keepdims=True))
    return Autoencoder(
        user_places,
        item_places,
        positives.products(users, items, codes, num_threads),
        of_users[users],
        scaled - scaled.mean(axis=0),
        codes,
        explained,
    )


def typical_count(counts: NDArray[np.integer]) -> float:
    """Return the mean number of positives of users with at least 5, or of all where others have most positives."""
    of_many = counts[counts >= _LEAST_POSITIVES]
    return float((of_many if 2 * of_many.sum() >= counts.sum() else counts).mean())
