"""The pairs of user and item of a frame's rows, sorted by a parallel radix sort."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _core

_MOST_THREADS = 8
_ROWS_WORTH_A_THREAD = 1 << 17


class IdPairs(NamedTuple):
    """The pairs of user and item of a table's rows, each once, sorted; see :func:`sort_pairs`."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    counts: NDArray[Any]
    """How many rows have each pair: int32 where rows are told, else float32."""
    rows: NDArray[np.int64] | None
    """The rows in the order of the pairs, those with the same pair in the order of the table."""
    copies: tuple[NDArray[np.int32], NDArray[np.int32]]
    """The users and items again, in other memory."""


def sort_pairs(
    users: NDArray[np.int32], items: NDArray[np.int32], shape: tuple[int, int], with_rows: bool = False
) -> IdPairs:
    """Sort the rows of a table by user and item, in no more memory than the pairs take twice.

    New memory costs more time than sorting does, so the arrays given are written over, and belong to the result.

    Parameters
    ----------
    users, items : int32 array of shape (n_rows,)
        Below ``shape``, not below 0.
    with_rows : bool
        Tell where each row comes to stand.
    """
    keys = np.empty(len(users), np.int64)
    rows = np.empty(len(users), np.int64) if with_rows else None
    n_parts = max(1, min(os.cpu_count() or 1, _MOST_THREADS, len(users) // _ROWS_WORTH_A_THREAD))
    sorter = _core.tables.PairSort(users, items, *shape, n_parts, keys, rows)
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
        if 2 * len(counts) < len(users):  # much of the memory would lie idle
            pairs = pairs[0].copy(), pairs[1].copy()
            return IdPairs(*pairs, counts, rows, (pairs[0].copy(), pairs[1].copy()))
        halves = keys.view(np.int32).reshape(2, -1)[:, : len(counts)]
        list(pool.map(np.copyto, halves, pairs))
    return IdPairs(*pairs, counts, rows, (halves[0], halves[1]))
