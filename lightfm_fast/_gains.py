"""Gains of lists: how far up the list of a user the items stand that are to be found, and which lists are better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_gains(ranks: NDArray[np.floating], indptr: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return each user's mean of 1 / log2(2 + rank), a discounted gain (Järvelin 2002) of the whole list.

    The users' ranks, from 0, are as in a CSR matrix.
    """
    counts = np.diff(indptr)
    users = np.flatnonzero(counts)
    return np.add.reduceat(1 / np.log2(2.0 + ranks), indptr[users]) / counts[users]


def is_clear(gain: NDArray[np.float64], by: float) -> bool:
    """Tell whether the mean of the users' gains is more than ``by`` times its standard error above 0."""
    return bool(gain.mean() > by * gain.std(ddof=1) / np.sqrt(len(gain)))
