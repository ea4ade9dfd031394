"""The interactions of a call of ``fit``, in memory or in shards: what training asks of them, with one set of names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._feature_rows import identity
from ._matrices import Interactions, check_interactions
from ._shards import Shards, check_takes_shards
from ._start import without_positives
from ._training_input import check_sample_weight

__all__: list[str] = []


class InMemory:
    """A matrix of interactions.

    Attributes
    ----------
    shape : tuple of int
        The numbers of users and items.
    entries : Interactions of shape ``shape``
        For checks that ask which items occur, and with which signs.
    samples : Interactions or OnDisk
        What an epoch trains on.
    weights : float32 array of shape (n_entries,), or None
        The weight of each entry; None if the samples know their weights.
    user_features : csr_matrix
    scratch : str or None
        The folder of the users' parameters; None if they are in memory.
    """

    scratch: str | None = None

    def __init__(self, interactions: Any, sample_weight: Any, loss: str, num_threads: int) -> None:
        self.entries = self.samples = check_interactions(interactions, num_threads)
        weights = check_sample_weight(sample_weight, self.entries, loss)
        if weights is None:  # hooks expect an array, as in LightFM: here one stored 1, repeated by a stride of 0
            weights = np.ndarray(self.entries.nnz, np.float32, np.float32(1).tobytes(), strides=(0,))
        self.weights, self.shape = weights, self.entries.shape
        self.user_features = sp.csr_matrix(self.shape)  # until fit has judged the caller's

    def without_past(self) -> NDArray[np.bool_]:
        """Mark each user feature that no user with a positive interaction has."""
        return without_positives(self.entries, self.user_features)

    @property
    def positives(self) -> NDArray[np.int64]:
        """How many positives each item has; the last items may be missing."""
        return np.bincount(self.entries.col[self.entries.data > 0])

    def visits(self, side: str, takes_labels: bool) -> NDArray[np.int64]:
        """Return how many samples each row of a side has; the last rows may be missing."""
        rows = self.entries.row if side == "user" else self.entries.col
        return np.bincount(rows if takes_labels else rows[self.entries.data > 0])

    def excerpt(self, num_threads: int) -> tuple[sp.csr_matrix, Interactions, NDArray[np.float32]]:
        """Return the features, interactions and weights of users on whom settings may be compared: here all."""
        return self.user_features, self.entries, self.weights


class OnDisk:
    """Interactions in shards, with the methods and attributes of :class:`InMemory`."""

    weights = None

    def __init__(self, shards: Shards, num_threads: int) -> None:
        self.shards, self.shape, self.scratch = shards, shards.shape, shards.scratch
        self.entries = check_interactions(shards.occurring(), num_threads)
        self.samples = self
        self.user_features = sp.csr_matrix(self.shape)

    @cached_property
    def has_positives(self) -> NDArray[np.bool_]:
        """Whether each user has a positive interaction. Found by reading all shards, once."""
        return self.shards.has_positives()

    def without_past(self) -> NDArray[np.bool_]:
        return ~self.has_positives

    @property
    def positives(self) -> NDArray[np.int64]:
        return self.shards.positives

    def visits(self, side: str, takes_labels: bool) -> NDArray[np.int64]:
        return self.shards.visits if takes_labels else self.shards.positives  # of items: users have no features

    def excerpt(self, num_threads: int) -> tuple[sp.csr_matrix, Interactions, NDArray[np.float32]]:
        part = self.shards.part(0, num_threads)  # one shard, so that memory holds no more of them
        return identity(part.n_users), part.interactions, part.weights


TrainingData = InMemory | OnDisk


def training_data(
    interactions: Any, user_features: Any, sample_weight: Any, parameters: Mapping[str, Any], num_threads: int
) -> TrainingData:
    """Check the interactions and the weights that ``fit`` was given.

    Raises
    ------
    NotImplementedError, ValueError
        As :func:`check_interactions`, :func:`check_sample_weight` and :func:`check_takes_shards`.
    """
    if isinstance(interactions, Shards):
        check_takes_shards(parameters, user_features, sample_weight)
        return OnDisk(interactions, num_threads)
    return InMemory(interactions, sample_weight, parameters["loss"], num_threads)
