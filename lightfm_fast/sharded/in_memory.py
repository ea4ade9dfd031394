"""Sharded data as a Dataset in memory, by which a model that was trained on shards answers in ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from ..data import Dataset

if TYPE_CHECKING:
    from .dataset import ShardedDataset

__all__: list[str] = []


def dataset_of(shards: ShardedDataset, columns: dict[str, Any], positive_from: Any, with_interactions: bool) -> Dataset:
    """Return the dataset of all users and items, with or without interactions.

    Raises
    ------
    ValueError
        If an id of a user is also the name of a feature that users share.
    """
    known = shards.dataset
    users = [name for shard in shards for name in shard.user_ids]
    # Without features of users, the items' dataset has the user of the row that it was made with.
    shared = list(known.user_side.features) if shards.n_shared else []
    state = known.to_state() | {
        "user_identity_features": True,
        "user_ids": users,
        "user_features": [*users, *shared],
        "columns": dict.fromkeys(("value", "weight", "time")) | columns,
        "positive_from": positive_from,
    }
    dataset = Dataset.from_state(state)
    dataset.item_features = shards.item_features
    if shards.n_shared:
        dataset.user_features = sp.csr_matrix(sp.vstack([shard.user_features for shard in shards], format="csr"))
    if with_interactions:
        matrix: Any = sp.vstack([shard.interactions for shard in shards], format="coo")
        weights, times = ([getattr(shard, name) for shard in shards] for name in ("weights", "times"))
        data = np.ones(matrix.nnz, np.float32) if weights[0] is None else np.concatenate(weights)
        dataset.interactions = sp.coo_matrix((matrix.data, (matrix.row, matrix.col)), shape=matrix.shape)
        dataset.weights = sp.coo_matrix((data, (matrix.row, matrix.col)), shape=matrix.shape, copy=True)
        dataset.timestamps = None if times[0] is None else np.concatenate(times)
    return dataset
