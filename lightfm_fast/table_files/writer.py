"""Write columns to a file, whole or not at all."""

from __future__ import annotations

import csv
import importlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any

from .._files import replaced
from . import kinds
from .kinds import DELIMITERS, writable_ending

SPREADSHEET_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n")  # beginnings of cells that a spreadsheet runs as formulas


def write_table(path: str | os.PathLike[str], columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of equal length to a .csv, .tsv, .parquet or .pq file, whole or not at all.

    Parameters
    ----------
    path : path
    columns : mapping of sequences

    Raises
    ------
    ImportError, OSError, ValueError
        In the cases of :func:`read_table`. ValueError also if a Parquet file cannot hold a column, whose values must
        have one type.
    """
    path = os.fspath(path)
    ending = writable_ending(path)
    if ending in DELIMITERS:
        write_csv_file(path, [columns])
        return
    library = kinds.library_for(ending)
    with replaced(path) as temporary:
        try:
            if library == "pyarrow":
                pyarrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
                parquet.write_table(pyarrow.table(dict(columns)), temporary)
            else:
                importlib.import_module("polars").DataFrame(dict(columns)).write_parquet(temporary)
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"{path} cannot be written: {error}") from error


def write_csv_file(
    path: str | os.PathLike[str],
    blocks: Iterable[Mapping[str, Sequence[Any]]],
    change: Callable[[Any], Any] | None = None,
) -> None:
    """Write blocks of rows, each as :func:`write_table` takes them, to a .csv or .tsv file, whole or not at all."""
    delimiter = DELIMITERS[writable_ending(path)]
    with replaced(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        for number, columns in enumerate(blocks):
            write_csv(file, columns, delimiter, header=not number, change=change)


def write_csv(
    file: IO[str],
    columns: Mapping[str, Sequence[Any]],
    delimiter: str = ",",
    header: bool = True,
    change: Callable[[Any], Any] | None = None,
) -> None:
    """Write columns of equal length as CSV, after applying ``change`` to each cell and name."""
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    rows: Iterable[Iterable[Any]] = zip(*columns.values(), strict=True)
    names: Iterable[Any] = columns
    if change is not None:
        names, rows = map(change, columns), (map(change, row) for row in rows)
    if header:
        writer.writerow(names)
    writer.writerows(rows)


def not_a_formula(cell: Any) -> Any:
    """Return a cell that a spreadsheet does not run: text that begins like a formula gets an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(SPREADSHEET_RUNS) else cell
