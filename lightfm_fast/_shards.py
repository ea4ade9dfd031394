"""Interactions in parts, as training sees them: each part holds all interactions of its users."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._feature_rows import check_csr_arrays, identity
from ._matrices import Interactions, check_interactions

# Odd, so that the seeds of shards differ. Not the step of kernels/rng.hpp for an epoch: with it, a shard would draw in
# an epoch what the next shard drew in the epoch before.
SEED_STEP = 0xD1342543DE82EF95


class Part(NamedTuple):
    """The entries of one shard, in memory.

    Attributes
    ----------
    first, n_users : int
        The model's row of the first user, and how many users follow.
    interactions : Interactions of shape (n_users, n_items)
    weights : float32 array of shape (n_entries,)
    """

    first: int
    n_users: int
    interactions: Interactions
    weights: NDArray[np.float32]


def part_of(
    arrays: Mapping[str, NDArray[Any]],
    first: int,
    n_users: int,
    n_items: int,
    visits: NDArray[np.int64],
    num_threads: int = 1,
) -> Part:
    """Make the entries of users of their arrays in a shard; arguments as in :class:`Part` and :class:`Shards`.

    Raises
    ------
    ValueError
        If the arrays are no interactions of these users and items.
    """
    n_entries = len(arrays["indices"])
    rows = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(arrays["indptr"]))
    values = arrays.get("values", np.ones(n_entries, dtype=np.float32))
    columns = np.array(arrays["indices"])
    entries = sp.coo_matrix((np.asarray(values), (rows, columns)), shape=(n_users, n_items))
    weights = arrays.get("weights")
    if weights is None:
        weights = np.ndarray(n_entries, np.float32, np.float32(1).tobytes(), strides=(0,))
    interactions = check_interactions(entries, num_threads)
    interactions.visits = visits
    return Part(first, n_users, interactions, np.asarray(weights))


def counts_of(arrays: Mapping[str, NDArray[Any]], positives: bool) -> NDArray[np.int64]:
    """Return how many interactions, or only positives, each user of a shard's arrays has."""
    lengths: NDArray[np.int64] = np.diff(arrays["indptr"])
    if not positives or "values" not in arrays:
        return lengths
    users = np.repeat(np.arange(len(lengths)), lengths)
    return np.bincount(users[arrays["values"] > 0], minlength=len(lengths))


def features_of(indptr: NDArray[Any], columns: NDArray[Any], weights: NDArray[Any], n_shared: int) -> sp.csr_matrix:
    """Make the features of users of their arrays in a shard, with columns for these users, then the shared features.

    Raises
    ------
    ValueError
        If the arrays are no features of so many.
    """
    indptr, columns, weights = map(np.array, (indptr, columns, weights))
    n_users = len(indptr) - 1
    rows = np.repeat(np.arange(n_users), np.diff(indptr))
    columns = np.where(columns == 0, rows, n_users - 1 + columns).astype(np.int32)
    check_csr_arrays(indptr, columns, weights, (n_users, n_users + n_shared))
    return sp.csr_matrix((weights, columns, indptr), shape=(n_users, n_users + n_shared))


class Shards:
    """What training needs of interactions in shards; :class:`lightfm_fast.sharded.ShardedDataset` is one.

    Attributes
    ----------
    shape : tuple of int
        The numbers of users and items.
    starts : int64 array of shape (n_shards + 1,)
        The first user of each shard, and the number of users.
    visits, positives : int64 arrays of shape (n_items,)
        How many interactions, and how many positive ones, each item has in all shards.
    scratch : str
        A folder for the parameters of the users.
    n_shared : int
        The number of features that users share. A user also has a feature of its own. The model's rows of user
        features are first those of the users, then the shared ones.
    """

    shape: tuple[int, int]
    starts: NDArray[np.int64]
    visits: NDArray[np.int64]
    positives: NDArray[np.int64]
    scratch: str
    n_shared: int = 0

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self.starts) - 1

    def arrays(self, number: int) -> dict[str, NDArray[Any]]:
        """Return a shard's arrays by name: ``indptr``, ``indices``; ``values`` and ``weights`` unless they are ones."""
        raise NotImplementedError

    def part(self, number: int, num_threads: int = 1) -> Part:
        """Read a shard into memory.

        Raises
        ------
        ValueError
            If its arrays are no interactions of these users and items.
        """
        first, last = self.starts[number : number + 2].tolist()
        return part_of(self.arrays(number), first, last - first, self.shape[1], self.visits, num_threads)

    def epoch(self, seed: int, epoch: int, num_threads: int) -> Iterator[tuple[int, Part]]:
        """Read the shards in an order that the seed and the epoch determine, each with a seed of its own."""
        for number in np.random.RandomState([seed, epoch]).permutation(len(self)).tolist():
            yield (seed + number * SEED_STEP) % (1 << 64), self.part(number, num_threads)

    def has_positives(self) -> NDArray[np.bool_]:
        """Return whether each user has a positive interaction."""
        return np.concatenate([self.counts(number, positives=True) > 0 for number in range(len(self))])

    def counts(self, number: int, positives: bool) -> NDArray[np.int64]:
        """Return how many interactions, or only positives, each user of a shard has."""
        return counts_of(self.arrays(number), positives)

    def feature_arrays(self, number: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return a shard's user features as CSR arrays: ``indptr``, columns and weights.

        Column 0 is the user's own feature, and column 1 the first shared feature. Called only if there are any.
        """
        raise NotImplementedError

    def columns(self, number: int) -> NDArray[np.int64]:
        """Return the model's feature of each column of ``own_features``."""
        n_users = self.shape[0]
        return np.r_[self.starts[number] : self.starts[number + 1], n_users : n_users + self.n_shared]

    def own_features(self, number: int) -> sp.csr_matrix:
        """Return the user features of a shard, with columns for its users and the shared features only."""
        n_users = int(self.starts[number + 1] - self.starts[number])
        if not self.n_shared:
            return identity(n_users)
        return features_of(*self.feature_arrays(number), self.n_shared)

    def user_features(self, number: int) -> sp.csr_matrix:
        """Return the user features of a shard with the model's columns, for methods that take ``user_features``."""
        features, columns = self.own_features(number), self.columns(number)
        arrays = features.data, columns[features.indices], features.indptr
        return sp.csr_matrix(arrays, shape=(features.shape[0], self.shape[0] + self.n_shared))

    def occurring(self) -> sp.coo_matrix:
        """Return a matrix with an entry for each item that occurs: 1 if it has a positive, else -1."""
        items = np.flatnonzero(self.visits)
        signs = np.where(self.positives[items] > 0, np.float32(1), np.float32(-1))
        return sp.coo_matrix((signs, (np.zeros_like(items), items)), shape=self.shape)


def check_takes_shards(user_features: Any, sample_weight: Any) -> None:
    """Raise ValueError if an argument does not go with interactions in shards."""
    for name, value in (("user_features", user_features), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{name} is given in addition to shards, which hold their own: write them into the shards, by users= "
                "and user_features=, or weight="
            )
