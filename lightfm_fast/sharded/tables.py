"""Tables in files and in memory, as Arrow reads them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._arguments import import_optional, shorten
from ..data import Dataset
from ..data.columns import as_column

__all__: list[str] = []

ROWS_AT_ONCE = 1 << 19


def parquet_of(source: Any) -> Any:
    """Return the rows of Parquet files as an Arrow dataset, or None if ``source`` is no path and no list of paths."""
    if not are_paths(source):
        return None
    return import_optional("pyarrow.dataset", "cli", "Reading Parquet").dataset(files_of(source), format="parquet")


def are_paths(source: Any) -> bool:
    """Return whether ``source`` is a path or a list of paths."""
    names = source if isinstance(source, (list, tuple)) else [source]
    return all(isinstance(name, (str, os.PathLike)) for name in names)


def files_of(source: Any) -> list[str]:
    """Return the files that paths, folders and patterns name."""
    given = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    files: list[str] = []
    for name in map(os.fsdecode, given):
        if os.path.isdir(name):
            found = sorted(glob.glob(os.path.join(glob.escape(name), "**", "*.parquet"), recursive=True))
        else:
            found = [name] if os.path.exists(name) else sorted(glob.glob(name))
        if not found:
            raise FileNotFoundError(f"no Parquet file is at {name}")
        files += found
    if not files:
        raise FileNotFoundError("source is empty: name at least one Parquet file")
    return files


def open_parquet(name: str, columns: Sequence[str]) -> Any:
    """Return a Parquet file as an Arrow dataset; ValueError if it lacks one of the columns."""
    file = import_optional("pyarrow.dataset", "cli", "Reading Parquet").dataset(name, format="parquet")
    missing = [column for column in columns if column not in file.schema.names]
    if missing:
        raise ValueError(
            f"{name} has no column {missing[0]!r}; it has {', '.join(file.schema.names)}: name the columns in the call"
        )
    return file


def tables_in(files: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the columns of Parquet files as Arrow tables, a block of rows at a time, with the name of the file.

    Each file is read by its own types.

    Raises
    ------
    ValueError
        If a file lacks a column.
    """
    arrow = import_optional("pyarrow", "cli", "Reading Parquet")
    for name in files:
        file = open_parquet(name, columns)
        for batch in file.to_batches(columns=columns, batch_readahead=1, fragment_readahead=1, use_threads=False):
            yield name, arrow.Table.from_batches([batch])


def to_arrow(table: Any, name: str) -> Any:
    """Return a data frame or a dict of columns as an Arrow table; TypeError if it is neither."""
    arrow = import_optional("pyarrow", "cli", "A sharded dataset")
    if isinstance(table, arrow.Table):
        return table
    if not isinstance(table, Mapping):
        import narwhals as nw

        try:
            table = nw.from_native(table, eager_only=True)
        except TypeError as error:
            raise TypeError(f"{name} holds {shorten(table)}, expected data frames or dicts of columns") from error
    else:
        table = {column: _to_array(values, f"column {column!r} of {name}") for column, values in table.items()}
    try:
        return arrow.table(table) if isinstance(table, Mapping) else table.to_arrow()
    except (arrow.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise TypeError(f"{name} holds columns that Arrow does not take: {error}") from error


def _to_array(values: Any, name: str) -> Any:
    """Return a column as an array of Arrow, in which NaN is missing."""
    arrow = import_optional("pyarrow", "cli", "A sharded dataset")
    if isinstance(values, arrow.Array):
        return values
    column = as_column(values, name)
    try:
        is_plain = isinstance(column, (list, np.ndarray))
        return arrow.array(column, from_pandas=True) if is_plain else column.to_arrow()
    except (arrow.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise TypeError(
            f"{name} holds values that Arrow does not take ({error}): make them all text, all times, or all numbers of "
            "at most 64 bits"
        ) from error


def tables_of(dataset: Dataset, names: Mapping[str, str]) -> Iterator[Any]:
    """Yield the interactions of a dataset as Arrow tables, a block at a time; ``names`` has the column of each role."""
    arrow = import_optional("pyarrow", "cli", "A sharded dataset")
    entries: Any = dataset.interactions
    details: Any = dataset.weights, dataset.timestamps
    ids = []
    for side in (dataset.user_side, dataset.item_side):
        try:
            ids.append(arrow.array(list(side.ids)))
        except (arrow.ArrowException, OverflowError) as error:
            raise TypeError(
                f"the ids of {side.name}s are not all text or all whole numbers of 64 bits ({error}): make them text"
            ) from error
    for first in range(0, entries.nnz, ROWS_AT_ONCE):
        chosen = slice(first, first + ROWS_AT_ONCE)
        columns = {
            "user": ids[0].take(arrow.array(entries.row[chosen])),
            "item": ids[1].take(arrow.array(entries.col[chosen])),
            "value": entries.data[chosen],
            "weight": details[0].data[chosen],
            "time": None if details[1] is None else details[1][chosen],
        }
        yield arrow.table({name: columns[role] for role, name in names.items()})
