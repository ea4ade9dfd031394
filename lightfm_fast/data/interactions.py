"""Interactions of a frame, without duplicates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import check_not_negative, check_timestamps, counted
from .columns import read_numbers, read_times
from .frames import read_columns
from .id_pairs import sort_pairs
from .missing import describe_left_out, log_left_out, rows_with_ids
from .numbering import codes_of_rows, number_ids

DUPLICATES = ("sum", "max", "last", "error")
_MERGE = {"sum": np.add, "max": np.maximum}


class Interactions(NamedTuple):
    """Interactions of a frame without duplicates, sorted by user and then by item."""

    interactions: sp.coo_matrix
    """Shape (n_users, n_items): float32 values, or int32 ones without a column of values."""
    weights: sp.coo_matrix
    """float32, with the entries of ``interactions`` in the same order, for ``sample_weight`` of ``fit``."""
    timestamps: NDArray[Any] | None
    """The time of each entry, as numbers or datetime64; None without a column of times."""
    n_skipped: int
    """Rows left out because their user or item is unknown."""
    n_missing: int = 0
    """Rows left out because they have no user or no item."""


class Details(NamedTuple):
    """The columns beside the ids, of a length; None for a column that is not given."""

    values: NDArray[np.float64] | None
    weights: NDArray[np.float64] | None
    times: NDArray[Any] | None

    def of_rows(self, rows: NDArray[Any]) -> Details:
        """Return the details of some rows: an index or a mask."""
        return Details(*(part if part is None else part[rows] for part in self))


def read_rows(
    frame: Any,
    id_columns: Sequence[Hashable],
    columns: Mapping[str, Hashable | None],
    positive_from: float | None,
    missing_ids: str,
) -> tuple[list[tuple[NDArray[np.int32], list[Hashable]]], Details, NDArray[np.bool_] | None]:
    """Read the rows of a frame of interactions.

    Parameters
    ----------
    frame : frame
    id_columns : sequence of hashable
        Names of the columns of ids.
    columns : mapping from "value", "weight" and "time" to the name of a column, or None
    positive_from : float or None
        Make 1 of values from here on, and -1 of others.
    missing_ids : {"raise", "skip"}
        As in ``rows_with_ids``.

    Returns
    -------
    ids : list of (codes, distinct)
        Each column of ids, as :func:`~.numbering.number_ids` returns it.
    details : Details
    has_ids : bool array or None
        The rows of the frame that were read; None for all.
    """
    given = [column for column in columns.values() if column is not None]
    read = read_columns(frame, "interactions", [*id_columns, *given])
    with ThreadPoolExecutor(2) as pool:  # the data frame's library does the work, and releases the GIL
        numbered = pool.map(lambda column: number_ids(read[column], "interactions", column, missing_ids), id_columns)
        values, weights = (
            None if columns[name] is None else read_numbers(read[columns[name]], f"column {columns[name]!r}")
            for name in ("value", "weight")
        )
        time = f"column {columns['time']!r}"
        times = None if columns["time"] is None else read_times(read[columns["time"]], time)
        ids = list(numbered)
    are_missing = {column: codes < 0 for column, (codes, _) in zip(id_columns, ids, strict=True)}
    has_ids = rows_with_ids(are_missing, "interactions", missing_ids)
    values, weights = (
        None if part is None else _check_number_column(_filled(part, has_ids), f"column {columns[name]!r}")
        for name, part in (("value", values), ("weight", weights))
    )
    if weights is not None:
        check_not_negative(weights, f"column {columns['weight']!r}", "row")
    if values is not None and positive_from is not None:
        values = np.where(values >= positive_from, 1.0, -1.0)
    times = None if times is None else check_timestamps(_filled(times, has_ids), time)
    details = Details(values, weights, times)
    if has_ids is not None:
        log_left_out(describe_left_out(has_ids, "interactions"))
        ids, details = [codes_of_rows(*column, has_ids) for column in ids], details.of_rows(has_ids)
    return ids, details, has_ids


def _filled(cells: NDArray[Any], has_ids: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return cells with zeros in the rows that are left out: errors then count rows as the frame does."""
    return cells if has_ids is None else np.where(has_ids, cells, np.zeros((), cells.dtype))


def merge_duplicates(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    details: Details,
    shape: tuple[int, int],
    duplicates: str,
) -> tuple[sp.coo_matrix, sp.coo_matrix, NDArray[Any] | None]:
    """Return interactions, weights and times without duplicates, sorted by row and column.

    Values and weights that are not given are ones. ``rows`` and ``columns`` are overwritten, which saves memory.

    Raises
    ------
    ValueError
        If ``duplicates`` is "error" and there are some, or a sum is too large for single precision.
    """
    values, weights, times = details
    by_time = None
    if duplicates == "last" and times is not None:
        by_time = np.argsort(times, kind="stable")
        rows, columns = rows[by_time], columns[by_time]
    n_rows = len(rows)
    is_read = any(part is not None for part in details)
    pairs = sort_pairs(rows, columns, shape, with_rows=is_read)
    n_pairs = len(pairs.counts)
    if duplicates == "error" and n_pairs < n_rows:
        raise ValueError(
            f"{n_rows:,} rows have {counted(np.count_nonzero(pairs.counts > 1), 'pair')} of user and item more than "
            "once: choose with duplicates= how to merge them"
        )
    order = starts = np.empty(0, np.intp)
    if pairs.rows is not None:
        order = pairs.rows if by_time is None else by_time[pairs.rows]
        starts = np.cumsum(pairs.counts) - pairs.counts

    def merged(data: NDArray[Any], how: str) -> NDArray[Any]:
        if how == "last":
            return data[order[starts + pairs.counts - 1]]
        return data[order] if n_pairs == n_rows else _MERGE[how].reduceat(data[order], starts)

    def single(sums: NDArray[Any], name: str) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            found: NDArray[np.float32] = sums.astype(np.float32, copy=False)
        if not np.isfinite(found).all():
            raise ValueError(
                f"the sums of {name} of the same user and item are too large for single precision: give smaller "
                f"{name}, or pass duplicates='last'"
            )
        return found

    happened: NDArray[Any] = np.ones(n_pairs, np.int32)
    weighed: NDArray[Any] = pairs.counts if duplicates == "sum" else np.ones(n_pairs, np.float32)
    if values is not None:
        happened = single(merged(values, duplicates), "values")
    if weights is not None:
        weighed = merged(weights, duplicates)
    latest = None if times is None else merged(times, "last" if duplicates == "last" else "max")
    interactions = _coo_matrix(happened, pairs.users, pairs.items, shape)
    # The matrices share no index arrays: editing one must not edit the other.
    return interactions, _coo_matrix(single(weighed, "weights"), *pairs.copies, shape), latest


def in_microseconds(times: NDArray[Any], name: str) -> NDArray[Any]:
    """Return datetimes in microseconds; ValueError if one is out of their range, which NumPy would not notice."""
    found = times.astype("datetime64[us]")
    is_coarser = np.promote_types(times.dtype, found.dtype) == found.dtype
    if is_coarser and (found.astype(times.dtype) != times).any():
        raise ValueError(
            f"{name} has a time out of the range of microseconds, beside times of another unit: convert it"
        )
    return found


def _coo_matrix(
    data: NDArray[Any], row: NDArray[np.int32], column: NDArray[np.int32], shape: tuple[int, int]
) -> sp.coo_matrix:
    """Make a matrix of valid arrays; SciPy's constructor would search each for its bounds."""
    matrix = sp.coo_matrix(shape, dtype=data.dtype)
    matrix.row, matrix.col, matrix.data = row, column, data
    return matrix


def _check_number_column(numbers: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return a column of numbers unchanged; NaN stands for a missing number.

    Raises
    ------
    ValueError
        If a number is missing, infinite or too large for single precision.
    """
    finite = np.abs(numbers) <= np.finfo(np.float32).max
    if not finite.all():
        row = int(finite.argmin())
        raise ValueError(
            f"{name} holds {counted(np.count_nonzero(~finite), 'value')} missing or not finite in single precision, "
            f"{numbers[row]} in row {row:,} first: fill them in, or leave those rows out"
        )
    return numbers
