"""Data larger than memory: interactions in shards on disk, which ``LightFM.fit`` takes in the place of a matrix."""

from .dataset import Shard, ShardedDataset

__all__ = ["Shard", "ShardedDataset"]
