"""Kinds of files by the endings of their names, and the library that reads each."""

from __future__ import annotations

import importlib
import os
from typing import Any, NamedTuple

from .._arguments import import_optional, importable

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
ENDINGS = (*DELIMITERS, *JSON_LINES, *PARQUET, *ARROW)


class CsvFormat(NamedTuple):
    """The notation of a CSV file."""

    delimiter: str | None = None
    """By default a comma, in .tsv files a tab."""
    encoding: str = "utf-8"
    decimal: str = "."
    missing: tuple[str, ...] = ()
    """Cells that mean a missing value, besides empty cells."""


def writable_ending(path: str | os.PathLike[str]) -> str:
    """Return the ending of a file to write, without compression; ValueError if such files are not written."""
    able = (*DELIMITERS, *PARQUET)
    ending = next((ending for ending in able if os.fspath(path).lower().endswith(ending)), None)
    if ending is None:
        raise ValueError(f"{path}: expected the name of a file to write to end in one of {', '.join(able)}")
    return ending


def ending_of(path: str) -> str:
    """Return the ending of a file, without compression; ValueError if such files are not read."""
    name = path.lower()
    stem = next((name.removesuffix(ending) for ending in COMPRESSIONS if name.endswith(ending)), None)
    able = ENDINGS if stem is None else (*DELIMITERS, *JSON_LINES)
    ending = next((ending for ending in able if (name if stem is None else stem).endswith(ending)), None)
    if ending is None:
        raise ValueError(
            f"{path}: expected the name of a file to end in one of {', '.join(ENDINGS)}; CSV and JSON lines may be "
            f"compressed, {', '.join(COMPRESSIONS)}"
        )
    return ending


def library_for(ending: str) -> str:
    """Return the first library that imports and reads files with an ending; ImportError if none does."""
    able = ("pyarrow", "polars") if ending in (*PARQUET, *ARROW) else ("pyarrow", "polars", "pandas")
    for name in able:
        if importable(name):
            return name
    import_optional("pyarrow", "cli", f"A {ending} file")
    raise AssertionError("unreachable: a module that does not import cannot be imported")


def column_of(library: str, cells: Any, kind: type[str] | None = None) -> Any:
    """Make a library's column from a list or an array; by default its type is the type of the values."""
    module = importlib.import_module(library)
    if library == "pyarrow":
        return module.chunked_array([module.array(cells, module.string() if kind is str else None)])
    if library == "polars":
        return module.Series(cells, dtype=module.String if kind is str else None)
    return module.Series(cells, dtype=object if kind is str else None)
