"""What an evaluation of shards, one by one, has in common wherever the shards are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..evaluation import Evaluation, check_one_or_several, mean_and_error

__all__: list[str] = []

_OF_ALL_LISTS = ("coverage", "novelty")  # metrics that a shard alone does not have


def metrics_of_shards(metrics: str | Sequence[str]) -> list[str]:
    """Return the metrics as a list; TypeError if they are a matrix, ValueError if one needs the lists of all users."""
    wanted = check_one_or_several(metrics, "metrics")
    for name in wanted:
        if isinstance(name, str) and name in _OF_ALL_LISTS:
            raise ValueError(f"{name} looks at the lists of all users, and shards are evaluated one by one")
    return wanted


def joined(parts: Sequence[tuple[NDArray[np.intp], Mapping[str, NDArray[np.float64]]]]) -> Evaluation:
    """Put together the rows of each shard's evaluated users and their values of each metric.

    Raises
    ------
    ValueError
        If no shard has a user to evaluate.
    """
    found = [part for part in parts if len(part[0])]
    if not found:
        raise ValueError("no user has a positive interaction in these shards, so there is nothing to find")
    values = {name: np.concatenate([of_users[name] for _, of_users in found]) for name in found[0][1]}
    mean, error = {}, {}
    for name, of_users in values.items():
        mean[name], error[name] = mean_and_error(of_users)
    return Evaluation(mean, error, np.concatenate([users for users, _ in found]), values)
