"""The (user, item) pairs of a frame, counted and sorted by a parallel radix sort."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._arguments import count_cpus

_MOST_THREADS = 8
_ROWS_WORTH_A_THREAD = 1 << 17


class IdPairs(NamedTuple):
    """The distinct (user, item) pairs of a frame, sorted; see :func:`sort_pairs`."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    counts: NDArray[Any]
    """The number of rows with each pair: int32 if ``rows`` is given, else float32."""
    rows: NDArray[np.int64] | None
    """The rows in the order of their pairs; rows with the same pair in the order of the frame."""
    copies: tuple[NDArray[np.int32], NDArray[np.int32]]
    """Copies of ``users`` and ``items``."""


def sort_pairs(
    users: NDArray[np.int32], items: NDArray[np.int32], shape: tuple[int, int], with_rows: bool = False
) -> IdPairs:
    """Sort the rows of a frame by user and item.

    The arrays given are overwritten and become part of the result: allocating memory takes longer than sorting.

    Parameters
    ----------
    users, items : int32 array of shape (n_rows,)
        Numbers from 0 to below ``shape``.
    shape : tuple of (int, int)
        The number of users and the number of items.
    with_rows : bool
        Return ``rows``, which takes memory and time.
    """
    keys = np.empty(len(users), np.int64)
    rows = np.empty(len(users), np.int64) if with_rows else None
    n_parts = max(1, min(count_cpus(), _MOST_THREADS, len(users) // _ROWS_WORTH_A_THREAD))
    sorter = _core.columns.PairSort(users, items, *shape, n_parts, keys, rows)
    with ThreadPoolExecutor(n_parts) as pool:

        def on_all_parts(step: Callable[[int], None]) -> None:
            list(pool.map(step, range(n_parts)))

        on_all_parts(sorter.count)
        sorter.place()
        on_all_parts(sorter.deal)
        on_all_parts(sorter.sort)
        counts = np.empty(sorter.place_pairs(), np.int32 if with_rows else np.float32)
        on_all_parts(lambda part: sorter.write(part, users, items, counts))
        pairs = users[: len(counts)], items[: len(counts)]
        if 2 * len(counts) < len(users):  # most of the memory would be unused
            pairs = pairs[0].copy(), pairs[1].copy()
            return IdPairs(*pairs, counts, rows, (pairs[0].copy(), pairs[1].copy()))
        halves = keys.view(np.int32).reshape(2, -1)[:, : len(counts)]
        list(pool.map(np.copyto, halves, pairs))
    return IdPairs(*pairs, counts, rows, (halves[0], halves[1]))
