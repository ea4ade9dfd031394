"""Tables in files and in memory, as Arrow reads them."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import Any

from .._arguments import import_optional, shorten

__all__: list[str] = []


def parquet_of(source: Any) -> Any:
    """Return the rows of Parquet files as an Arrow dataset, or None if ``source`` is no path and no list of paths."""
    names = [source] if isinstance(source, (str, os.PathLike)) else source
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, (str, os.PathLike)) for name in names):
        return None
    return import_optional("pyarrow.dataset", "cli", "Reading Parquet").dataset(files_of(source), format="parquet")


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


def to_arrow(table: Any, name: str = "tables") -> Any:
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
    try:
        return arrow.table(dict(table)) if isinstance(table, Mapping) else table.to_arrow()
    except (arrow.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise TypeError(f"{name} holds columns that Arrow does not take: {error}") from error
