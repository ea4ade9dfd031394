"""Rows that people iterate over, read in batches into the entries of a matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import shorten

# Only this many rows are held as Python objects at a time, so a generator of any length streams through.
_BATCH_ROWS = 1 << 14

# The rows, columns and weights of the entries of a matrix.
Entries = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
NO_ENTRIES: Entries = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))


def batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield the rows as lists of bounded length; TypeError if they cannot be iterated over."""
    if not isinstance(rows, Iterable) or (isinstance(rows, np.ndarray) and not rows.ndim):
        raise TypeError(f"got {shorten(rows)}, expected rows such as a list of (user, item) or (id, [feature, ...])")
    if hasattr(type(rows), "columns"):
        raise TypeError(
            f"got a {type(rows).__name__}, expected rows: from_tables and the methods named build_..._from_table take "
            "frames"
        )
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH_ROWS)):
        yield batch


def concatenate(pieces: Iterable[Entries]) -> Entries:
    """Join the entries of several batches."""
    rows, columns, weights = zip(NO_ENTRIES, *pieces, strict=True)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)
