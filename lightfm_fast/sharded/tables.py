"""Tables in files and in memory, as Arrow reads them."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._arguments import import_optional, shorten
from .._files import check_path
from ..data import Dataset
from ..data.columns import as_column

__all__: list[str] = []

ROWS_AT_ONCE = 1 << 19


def import_arrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or a module of it, or raise ImportError that names the extra."""
    return import_optional(module, "cli", "A sharded dataset")


class ParquetFiles:
    """Parquet files whose rows make one table, with the columns of the first file.

    Parameters
    ----------
    source : path or list of paths
    name : str
        The argument that errors name.

    Raises
    ------
    FileNotFoundError
        If no file is there.
    TypeError
        If a column has types in two files that no type has in common.
    ValueError
        If a file is no Parquet file, or lacks a column of the first.
    """

    def __init__(self, source: Any, name: str) -> None:
        arrow = import_optional("pyarrow", "cli", "Reading Parquet")
        self._names = files_of(source, name)
        self.schema = open_parquet(self._names[0], ()).schema
        for file in self._names:
            own, columns = open_parquet(file, ()).schema, self.schema.names
            lacking = next((column for column in columns if column not in own.names), None)
            if lacking is not None:
                raise ValueError(
                    f"{file} has no column {lacking!r}, which {self._names[0]} has: give all files of {name} the same "
                    "columns"
                )
            plain = [_without_dictionaries(schema, columns) for schema in (self.schema, own)]
            try:
                self.schema = arrow.unify_schemas(plain, promote_options="permissive")
            except arrow.ArrowException as error:
                raise TypeError(
                    f"{name}: {file} has a column of another type than the files before it ({error}): make them alike"
                ) from error

    def count_rows(self) -> int:
        return sum(open_parquet(name, ()).count_rows() for name in self._names)

    def blocks(self, n_rows: int) -> Iterator[Any]:
        """Yield Arrow tables of at most ``n_rows`` rows."""
        return (table for _, table in tables_in(self._names, self.schema.names, self.schema, batch_size=n_rows))


def _without_dictionaries(schema: Any, columns: Sequence[str]) -> Any:
    """Return the schema of columns; dictionaries become what they encode, since each file may have others."""
    arrow = import_optional("pyarrow", "cli", "Reading Parquet")
    kinds = ((column, schema.field(column).type) for column in columns)
    is_encoded = arrow.types.is_dictionary
    return arrow.schema([(column, kind.value_type if is_encoded(kind) else kind) for column, kind in kinds])


def are_paths(source: Any) -> bool:
    """Return whether ``source`` is a path or a list of paths."""
    names = source if isinstance(source, (list, tuple)) else [source]
    return all(isinstance(name, (str, bytes, os.PathLike)) for name in names)


def files_of(source: Any, name: str = "source") -> list[str]:
    """Return the files that paths, folders and patterns name, in the argument that errors call ``name``."""
    if not are_paths(source):
        raise TypeError(
            f"{name} is {shorten(source)}, expected a path or a list of paths of Parquet files; from_tables takes "
            "frames in memory"
        )
    given = list(source) if isinstance(source, (list, tuple)) else [source]
    files: list[str] = []
    for path in (check_path(path, name) for path in given):
        found = [path] if os.path.exists(path) else sorted(glob.glob(path))
        found = [file for part in found for file in (_files_within(part) if os.path.isdir(part) else [part])]
        if not found:
            raise FileNotFoundError(f"no Parquet file is at {path}")
        files += found
    if not files:
        raise FileNotFoundError(f"{name} is empty: name at least one Parquet file")
    return files


def _files_within(folder: str) -> list[str]:
    """Return the Parquet files of a folder and of the folders in it, which may be named as such files are."""
    found = glob.glob(os.path.join(glob.escape(folder), "**", "*.parquet"), recursive=True)
    return sorted(filter(os.path.isfile, found))


def open_parquet(name: str, columns: Sequence[str], schema: Any = None) -> Any:
    """Return a Parquet file as an Arrow dataset, whose columns are read as those of ``schema`` if there is one.

    Raises
    ------
    ValueError
        If it is no Parquet file, or lacks one of the columns.
    """
    with _reading(name):
        file = import_optional("pyarrow.dataset", "cli", "Reading Parquet").dataset(name, schema, format="parquet")
    missing = [column for column in columns if column not in file.schema.names]
    if missing:
        raise ValueError(
            f"{name} has no column {missing[0]!r}; it has {', '.join(file.schema.names)}: name the columns in the call"
        )
    return file


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Raise ValueError that names a file if Arrow cannot read what it holds."""
    arrow = import_optional("pyarrow", "cli", "Reading Parquet")
    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) is not None:  # not of the content
            raise
        raise ValueError(f"{name} cannot be read as Parquet, write it again: {error}") from error


def tables_in(
    files: Sequence[str], columns: Sequence[str], schema: Any = None, **options: Any
) -> Iterator[tuple[str, Any]]:
    """Yield the columns of Parquet files as Arrow tables, a block of rows at a time, with the name of the file.

    Each file is read by its own types, or else by those of ``schema``.

    Raises
    ------
    ValueError
        If a file lacks a column, or is damaged.
    """
    arrow = import_optional("pyarrow", "cli", "Reading Parquet")
    for name in files:
        file = open_parquet(name, columns, schema)
        with _reading(name):
            batches = file.to_batches(
                columns=list(columns), batch_readahead=1, fragment_readahead=1, use_threads=False, **options
            )
            for batch in batches:
                yield name, arrow.Table.from_batches([batch])


def to_arrow(table: Any, name: str) -> Any:
    """Return a data frame or a dict of columns as an Arrow table; TypeError if it is neither."""
    arrow = import_arrow()
    if isinstance(table, arrow.Table):
        return table
    if not isinstance(table, Mapping):
        import narwhals as nw

        try:
            table = nw.from_native(table, eager_only=True)
        except TypeError as error:
            raise TypeError(f"{name} holds {shorten(table)}, expected data frames or dicts of columns") from error
        except nw.exceptions.NarwhalsError as error:  # of two columns of the same name
            raise ValueError(f"{name} cannot be read: {' '.join(str(error).split())}") from error
    else:
        table = {column: _to_array(values, f"column {column!r} of {name}") for column, values in table.items()}
    try:
        return arrow.table(table) if isinstance(table, Mapping) else table.to_arrow()
    except (arrow.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise TypeError(f"{name} holds columns that Arrow does not take: {error}") from error


def _to_array(values: Any, name: str) -> Any:
    """Return a column as an array of Arrow, in which NaN is missing."""
    arrow = import_arrow()
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
    arrow = import_arrow()
    entries: Any = dataset.interactions
    details: Any = dataset.weights, dataset.timestamps
    ids = []
    for side in (dataset.user_side, dataset.item_side):
        try:
            ids.append(arrow.array(list(side.ids)))
        except (arrow.ArrowException, OverflowError, UnicodeEncodeError) as error:
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
