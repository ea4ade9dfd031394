"""Read columns of a file of any kind."""

from __future__ import annotations

import importlib
import io
import json
import os
from collections.abc import Collection, Sequence
from typing import Any

from .._files import check_path, open_regular
from . import kinds
from .compressed import open_decompressed
from .csv_reader import read_csv
from .kinds import DELIMITERS, JSON_LINES, PARQUET, CsvFormat, column_of, ending_of
from .text_cells import convert_text

ARROW_MAGIC = b"ARROW1"


class MissingColumnError(ValueError):
    """A file has no column of this name."""

    def __init__(self, problem: str, column: str) -> None:
        super().__init__(problem, column)
        self.column = column

    def __str__(self) -> str:
        return str(self.args[0])


def read_table(
    path: str | os.PathLike[str],
    columns: Collection[str],
    text: Collection[str] = (),
    *,
    numbers: Collection[str] = (),
    times: Collection[str] = (),
    csv_format: CsvFormat | None = None,
) -> dict[str, Any]:
    """Read some columns of a file, whose kind the ending of its name gives.

    Parameters
    ----------
    path : path
        A .csv or .tsv file, with the names of the columns in the first line, or a .jsonl or .ndjson file, with an
        object a line; these may be compressed, as .gz, .bz2, .xz or .zst. Or a .parquet, .pq, .arrow or .feather file.
        Empty cells are missing values.
    columns : collection of str
        Names of the columns to read.
    text : collection of str
        Columns that stay text in a CSV file, so that an id 007 keeps its zeros.
    numbers, times : collection of str
        Columns whose cells must be numbers, or must be numbers or dates, unless they are missing. Text is read as
        numbers or ISO dates, decimals as floats, and dates with a zone are converted to UTC. Other columns of CSV
        files become numbers or dates if all of their cells are.
    csv_format : CsvFormat, optional

    Returns
    -------
    dict from name to column of pyarrow, polars or pandas
        From the first of these libraries that is installed and reads the file.

    Raises
    ------
    ImportError
        If no library that reads the file is installed.
    OSError
        If the file cannot be opened.
    ValueError
        If the ending is another, the path is no regular file, or a column is missing, occurs twice or holds a cell
        of the wrong kind.
    """
    path = check_path(path)
    ending = ending_of(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")
    if not os.path.isdir(path):  # Parquet allows a directory of files
        open_regular(path).close()
    library = kinds.library_for(ending)
    how = csv_format or CsvFormat()
    try:
        if ending in DELIMITERS:
            how = how._replace(delimiter=how.delimiter or DELIMITERS[ending])
            present, read = read_csv(library, path, how, columns)
        elif ending in JSON_LINES:
            present, read = _read_json_lines(library, path, columns)
        else:
            present, read = _read_binary(library, path, ending, columns)
    except ImportError:
        raise
    except Exception as error:  # each library raises its own exceptions
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error
    for column in columns:
        if column not in read:
            has = f"it has {_listing(present)}{_other_delimiter(present)}"
            raise MissingColumnError(f"{path} has no column {column!r}; {has}", column)
        if present.count(column) > 1:
            raise ValueError(f"{path} has {present.count(column)} columns {column!r}: name them apart")
    for column, cells in read.items():
        must = "a number" if column in numbers else "a number or a date" if column in times else None
        if must is not None or (ending in DELIMITERS and column not in text):
            read[column] = convert_text(library, cells, must, how, f"column {column!r} of {path}")
    return {column: read[column] for column in columns}


def _listing(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _other_delimiter(present: Sequence[str]) -> str:
    if len(present) == 1:
        for delimiter, spelled in ((";", "';'"), ("\t", "tab"), ("|", "'|'"), (",", "','")):
            if delimiter in present[0]:
                return f", which looks like several: --delimiter {spelled}"
    return ""


def _read_json_lines(library: str, path: str, columns: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    present: dict[str, None] = {}
    cells: dict[str, list[Any]] = {column: [] for column in columns}
    with io.TextIOWrapper(open_decompressed(path), encoding="utf-8-sig") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {line:,} is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {line:,} is {type(row).__name__}, expected an object, from column to value")
            present.update(dict.fromkeys(row))
            for column, of_column in cells.items():
                of_column.append(row.get(column))
    return list(present), {
        column: column_of(library, of_column) for column, of_column in cells.items() if column in present
    }


def _read_binary(library: str, path: str, ending: str, columns: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    """Read a file of Parquet or Arrow."""

    def once(present: list[str]) -> list[str]:
        return [column for column in columns if present.count(column) == 1]

    table: Any
    if library == "pyarrow" and ending in PARQUET:
        dataset = importlib.import_module("pyarrow.parquet").ParquetDataset(path)
        present = list(dataset.schema.names)
        table = dataset.read(columns=once(present))
    elif library == "pyarrow":
        with open(path, "rb") as file:
            kind = "file" if file.read(len(ARROW_MAGIC)) == ARROW_MAGIC else "stream"
        table = getattr(importlib.import_module("pyarrow.ipc"), f"open_{kind}")(path).read_all()
        table.validate(full=True)  # else wrong offsets of a damaged file lead out of its memory
        present = table.column_names
    else:
        polars = importlib.import_module("polars")
        if ending in PARQUET:
            present = list(polars.read_parquet_schema(path))
            table = polars.read_parquet(path, columns=once(present))
        else:
            with open(path, "rb") as file:
                content = io.BytesIO(file.read())
            is_file = content.getvalue().startswith(ARROW_MAGIC)
            table = polars.read_ipc(content) if is_file else polars.read_ipc_stream(content)
            present = table.columns
    read = {column: table[column] for column in once(present)}
    return present, read | {column: None for column in columns if present.count(column) > 1}
