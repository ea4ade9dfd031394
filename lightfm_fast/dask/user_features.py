"""What a fit must know of all users' features before its first round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._feature_scaling import FeatureScaling
from .._losses import facts_of
from .._training_data import OnDisk
from ..sharded import ShardedDataset

__all__: list[str] = []


class UserFeatures(NamedTuple):
    """Facts of features that users share.

    Attributes
    ----------
    a_user : float
        How many features a user has in the mean, with the user's own.
    without_past : bool array of shape (n_shared,)
        Whether no user with a positive interaction has the feature.
    scaling : FeatureScaling or None
        Of all users' own features, then of the shared ones; None if weights enter the model as they are.
    """

    a_user: float
    without_past: NDArray[np.bool_]
    scaling: FeatureScaling | None

    @classmethod
    def of(cls, shards: ShardedDataset, parameters: Mapping[str, Any]) -> UserFeatures:
        """Read the features of all shards, one after another."""
        data, n_users = OnDisk(shards, 1), shards.shape[0]
        scaling = None
        if parameters["feature_scaling"] is not None:
            parts = data.visited("user", data.user_features, facts_of(parameters["loss"]).takes_labels)
            scaling = FeatureScaling.unscaled(0).extended(parts, data.user_features.shape[1], "user")
        counts = [int(shards.feature_arrays(number)[0][-1]) for number in range(len(shards))]
        return cls(sum(counts) / n_users, data.without_past()[n_users:], scaling)
