"""Tables in CSV and Parquet files, by whichever of pyarrow, polars and pandas is installed."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import os
from collections.abc import Collection, Mapping, Sequence
from typing import IO, Any

from ._validation import import_optional

__all__ = ["read_table", "write_csv", "write_table"]

DELIMITERS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
PARQUET = (".parquet", ".pq")


def read_table(path: str | os.PathLike[str], columns: Collection[str], text: Collection[str] = ()) -> dict[str, Any]:
    """Read some columns of a file, by the end of its name: .csv, .tsv (also .gz), .parquet or .pq.

    Parameters
    ----------
    path : path
        A CSV file has the names of the columns in its first line; what is empty is missing.
    columns : collection of str
    text : collection of str
        Those of them that are text in a CSV file whatever they look like: an id 007 keeps its zeros.

    Returns
    -------
    dict from name to column of pyarrow, polars or pandas

    Raises
    ------
    ImportError
        If no library that reads the file is installed.
    OSError
        If the file cannot be opened.
    ValueError
        If its name ends otherwise, it is no such file, or a column is missing.
    """
    path = os.fspath(path)
    ending = _ending(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")
    library = _library(ending)
    try:
        if ending in PARQUET:
            present, table = _read_parquet(library, path, columns)
        else:
            table = _read_csv(library, path, DELIMITERS[ending], text)
            present = list(getattr(table, "column_names", None) or table.columns)
    except OSError:
        raise
    except Exception as error:  # each library has its own
        raise ValueError(f"{path} cannot be read: {error}") from error
    missing = next((column for column in columns if column not in present), None)
    if missing is not None:
        raise ValueError(f"{path} has no column {missing!r}; it has {', '.join(map(repr, present))}")
    return {column: table[column] for column in columns}


def write_table(path: str | os.PathLike[str], columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of equal length to a .csv, .tsv, .parquet or .pq file.

    Raises
    ------
    ImportError, OSError, ValueError
        As :func:`read_table`; or ValueError if a Parquet file cannot hold a column, whose values must be of one type.
    """
    path = os.fspath(path)
    ending = _ending(path)
    if ending.endswith(".gz"):
        raise ValueError(f"{path}: compressed CSV is read but not written; write .csv or .parquet")
    if ending not in PARQUET:
        with open(path, "w", encoding="utf-8", newline="") as file:
            write_csv(file, columns, DELIMITERS[ending])
        return
    library = _library(ending)
    try:
        if library == "pyarrow":
            pyarrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
            parquet.write_table(pyarrow.table(dict(columns)), path)
        else:
            importlib.import_module("polars").DataFrame(dict(columns)).write_parquet(path)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be written: {error}") from error


def write_csv(file: IO[str], columns: Mapping[str, Sequence[Any]], delimiter: str = ",", header: bool = True) -> None:
    """Write columns of equal length as lines."""
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    if header:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))


def check_ending(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if no table of that name can be written or read."""
    _ending(os.fspath(path))


def _ending(path: str) -> str:
    endings = (*DELIMITERS, *PARQUET)
    ending = next((ending for ending in endings if path.lower().endswith(ending)), None)
    if ending is None:
        raise ValueError(f"{path}: expected the name of a file to end in one of {', '.join(endings)}")
    return ending


def _library(ending: str) -> str:
    able = ("pyarrow", "polars") if ending in PARQUET else ("pyarrow", "polars", "pandas")
    for name in able:
        if importlib.util.find_spec(name) is not None:
            return name
    import_optional("pyarrow", "cli", f"A {ending} file")
    raise AssertionError("unreachable: a module that find_spec does not see cannot be imported")


def _read_csv(library: str, path: str, delimiter: str, text: Collection[str]) -> Any:
    if library == "pyarrow":
        pyarrow, reader = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.csv"))
        return reader.read_csv(
            path,
            parse_options=reader.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=reader.ConvertOptions(
                column_types={column: pyarrow.string() for column in text}, null_values=[""], strings_can_be_null=True
            ),
        )
    if library == "polars":
        polars = importlib.import_module("polars")
        return polars.read_csv(
            path,
            separator=delimiter,
            schema_overrides=dict.fromkeys(text, polars.String),
            infer_schema_length=None,
        )
    return importlib.import_module("pandas").read_csv(
        path, sep=delimiter, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""]
    )


def _read_parquet(library: str, path: str, columns: Collection[str]) -> tuple[list[str], Any]:
    if library == "pyarrow":
        dataset = importlib.import_module("pyarrow.parquet").ParquetDataset(path)
        present = list(dataset.schema.names)
        return present, dataset.read(columns=[column for column in columns if column in present])
    polars = importlib.import_module("polars")
    present = polars.read_parquet_schema(path)
    return list(present), polars.read_parquet(path, columns=[column for column in columns if column in present])
