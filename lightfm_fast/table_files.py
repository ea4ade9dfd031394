"""Tables in files: CSV, JSON lines, Parquet and Arrow.

A CSV file has one meaning, that of Python's csv module in its strict mode. pyarrow reads files that it is sure to read
the same, which is nearly all, many times faster. Cells are text until ``read_table`` has been told otherwise.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import csv
import gzip
import importlib
import io
import json
import lzma
import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ._files import open_regular, replaced
from ._validation import import_optional, importable

__all__ = ["CsvFormat", "read_table", "write_csv", "write_table"]

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
ENDINGS = (*DELIMITERS, *JSON_LINES, *PARQUET, *ARROW)

ARROW_MAGIC = b"ARROW1"
BYTES_AT_ONCE = 1 << 24
LONGEST_HEADER = 1 << 20  # bytes in which pyarrow's way finds the names of columns
LONGEST_CELL = (1 << 31) - 1  # what csv takes for a limit where longs have 32 bits
LONGEST_SHOWN = 60  # characters of a cell in a message
SPREADSHEET_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a cell begins that a spreadsheet takes for a formula
MEANS_MISSING = {"na", "n/a", "#n/a", "nan", "nat", "null", "none", "nil", "-", "--", "?", ".", "missing"}
_ZONED = re.compile(r"(.{10}[T ][0-9:.]+) ?(?:Z|([+-])(\d\d):?(\d\d)?)")


class CsvFormat(NamedTuple):
    """How a CSV file is written."""

    delimiter: str | None = None
    """By default a comma, in .tsv files a tab."""
    encoding: str = "utf-8"
    decimal: str = "."
    missing: tuple[str, ...] = ()
    """Cells that stand for what is missing, besides empty ones."""


def read_table(
    path: str | os.PathLike[str],
    columns: Collection[str],
    text: Collection[str] = (),
    *,
    numbers: Collection[str] = (),
    times: Collection[str] = (),
    csv_format: CsvFormat | None = None,
) -> dict[str, Any]:
    """Read some columns of a file, by the end of its name.

    Parameters
    ----------
    path : path
        .csv or .tsv, with the names of the columns in the first line; .jsonl or .ndjson, an object a line; these also
        compressed, as .gz, .bz2, .xz or .zst; .parquet or .pq; .arrow or .feather. What is empty is missing.
    columns : collection of str
        Others are not looked at.
    text : collection of str
        Those of them that are text in a CSV file whatever they look like: an id 007 keeps its zeros.
    numbers, times : collection of str
        Those whose cells have to be numbers, or either numbers or dates; missing ones stay missing. Text is read as
        numbers or ISO dates, decimals as floats, dates with a zone as UTC. Other columns of CSV files are numbers or
        dates where all of their cells are.
    csv_format : CsvFormat, optional

    Returns
    -------
    dict from name to column of pyarrow, polars or pandas
        The first of the three that is installed and reads the file.

    Raises
    ------
    ImportError
        If no library that reads the file is installed.
    OSError
        If the file cannot be opened.
    ValueError
        If its name ends otherwise, it is no such file but a pipe or the like, or a column is missing, there twice,
        or holds a cell of another kind.
    """
    path = os.fspath(path)
    ending = _ending(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")
    if not os.path.isdir(path):  # as a table of Parquet may be
        open_regular(path).close()
    library = _library(ending)
    how = csv_format or CsvFormat()
    try:
        if ending in DELIMITERS:
            how = how._replace(delimiter=how.delimiter or DELIMITERS[ending])
            present, read = _read_csv(library, path, how, columns)
        elif ending in JSON_LINES:
            present, read = _read_json_lines(library, path, columns)
        else:
            present, read = _read_binary(library, path, ending, columns)
    except ImportError:
        raise
    except Exception as error:  # each library has its own
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error
    for column in columns:
        if column not in read:
            raise ValueError(f"{path} has no column {column!r}; it has {_listing(present)}{_other_delimiter(present)}")
        if present.count(column) > 1:
            raise ValueError(f"{path} has {present.count(column)} columns {column!r}: name them apart")
    for column, cells in read.items():
        must = "a number" if column in numbers else "a number or a date" if column in times else None
        if must is not None or (ending in DELIMITERS and column not in text):
            read[column] = _convert(library, cells, must, how, f"column {column!r} of {path}")
    return {column: read[column] for column in columns}


def write_table(
    path: str | os.PathLike[str],
    columns: Mapping[str, Sequence[Any]],
    change: Callable[[Any], Any] | None = None,
) -> None:
    """Write columns of equal length to a .csv, .tsv, .parquet or .pq file, whole or not at all.

    Parameters
    ----------
    path : path
    columns : mapping of sequences
    change : callable, optional
        What becomes of each cell of a CSV file, as :func:`write_csv` takes it.

    Raises
    ------
    ImportError, OSError, ValueError
        As :func:`read_table`; or ValueError if a Parquet file cannot hold a column, whose values must be of one type.
    """
    path = os.fspath(path)
    ending = writable_ending(path)
    library = None if ending in DELIMITERS else _library(ending)
    with replaced(path) as temporary:
        if library is None:
            with open(temporary, "w", encoding="utf-8", newline="") as file:
                write_csv(file, columns, DELIMITERS[ending], change=change)
            return
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


def write_csv(
    file: IO[str],
    columns: Mapping[str, Sequence[Any]],
    delimiter: str = ",",
    header: bool = True,
    change: Callable[[Any], Any] | None = None,
) -> None:
    """Write columns of equal length as lines, each cell as ``change`` returns it."""
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    rows: Iterable[Iterable[Any]] = zip(*columns.values(), strict=True)
    names: Iterable[Any] = columns
    if change is not None:
        names, rows = map(change, columns), (map(change, row) for row in rows)
    if header:
        writer.writerow(names)
    writer.writerows(rows)


def not_a_formula(cell: Any) -> Any:
    """Return a cell that a spreadsheet shows and does not run: text that begins as formulas do gets an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(SPREADSHEET_RUNS) else cell


def writable_ending(path: str | os.PathLike[str]) -> str:
    """Return the kind of file that a name stands for; ValueError if none is written by that name."""
    ending = _ending(os.fspath(path))
    if os.fspath(path).lower().endswith(COMPRESSIONS):
        raise ValueError(f"{path}: compressed CSV is read but not written; write .csv or .parquet")
    if ending not in (*DELIMITERS, *PARQUET):
        raise ValueError(f"{path}: {ending} is read but not written; write .csv or .parquet")
    return ending


def _ending(path: str) -> str:
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


def _library(ending: str) -> str:
    able = ("pyarrow", "polars") if ending in (*PARQUET, *ARROW) else ("pyarrow", "polars", "pandas")
    for name in able:
        if importable(name):
            return name
    import_optional("pyarrow", "cli", f"A {ending} file")
    raise AssertionError("unreachable: a module that does not import cannot be imported")


def _as_column(library: str, cells: Any, kind: type[str] | None = None) -> Any:
    """Make a column of a library of a list or an array, by default of the type of its values."""
    module = importlib.import_module(library)
    if library == "pyarrow":
        return module.chunked_array([module.array(cells, module.string() if kind is str else None)])
    if library == "polars":
        return module.Series(cells, dtype=module.String if kind is str else None)
    return module.Series(cells, dtype=object if kind is str else None)


def _listing(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _other_delimiter(present: Sequence[str]) -> str:
    if len(present) == 1:
        for delimiter, spelled in ((";", "';'"), ("\t", "tab"), ("|", "'|'"), (",", "','")):
            if delimiter in present[0]:
                return f", which looks like several: --delimiter {spelled}"
    return ""


# --------------------------------------------------------------------------------------------------- what is in cells


def _convert(library: str, column: Any, must: str | None, how: CsvFormat, name: str) -> Any:
    """Read a column of text as numbers or dates; ``must`` says what its cells have to be, if anything."""
    import narwhals as nw

    series = nw.from_native(column, series_only=True)
    may_be_dates = must is None or "date" in must
    if series.null_count() == len(series):
        return _as_column(library, np.full(len(series), np.nan))
    if series.dtype in (nw.Categorical, nw.Enum):
        series = series.cast(nw.String)
    if series.dtype != nw.String:
        if series.dtype == nw.Decimal:
            return series.cast(nw.Float64).to_native()
        if must is None or series.dtype.is_numeric() or series.dtype == nw.Boolean:
            return column
        if may_be_dates and series.dtype.is_temporal():
            return column
        raise ValueError(f"{name} holds {series.dtype}, expected {must} in each row")
    if library == "pyarrow" and how.decimal == ".":
        cast = _cast(series.to_native())
        if cast is not None:
            return cast
    codes, distinct = _distinct(library, series.to_native())
    values = _numbers(distinct, how.decimal)
    if values is None and may_be_dates:
        values = _dates(distinct)
    if values is None:
        if must is None:
            return column
        _refuse(codes, distinct, must, how, name)
    if (codes < 0).any():
        if values.dtype.kind != "M":
            values = values.astype(np.float64)
        values = np.append(values, values.dtype.type("NaT" if values.dtype.kind == "M" else "nan"))
    return _as_column(library, values[codes])


def _refuse(codes: NDArray[Any], cells: list[str], must: str, how: CsvFormat, name: str) -> NoReturn:
    """Raise ValueError that names the first cell that is of another kind than the others."""
    readers: list[Callable[[str], Any]] = [lambda cell: _numbers([cell], how.decimal)]
    if "date" in must:
        readers.append(lambda cell: _dates([cell]))
    # The first cell that can be read says what the others should be: a date among numbers is named, and vice versa.
    read = next((read for cell in cells for read in readers if read(cell) is not None), readers[0])
    bad = next((place for place, cell in enumerate(cells) if read(cell) is None), None)
    if bad is None:
        raise ValueError(
            f"{name} mixes dates that have a zone with dates that have none, or numbers with true and false"
        )
    row = int(np.argmax(codes == bad)) + 1
    cell = cells[bad] if len(cells[bad]) <= LONGEST_SHOWN else f"{cells[bad][:LONGEST_SHOWN]}…"
    raise ValueError(f"{name} has {cell!r} in data row {row:,}, expected {must}{_hint(cells[bad], how)}")


def _cast(column: Any) -> Any:
    """Read text as numbers the fast way; None where a cell is none, or pyarrow alone takes it for one."""
    pyarrow, compute = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.compute"))
    if compute.any(compute.match_substring(column, "x", ignore_case=True)).as_py():  # hexadecimal
        return None
    for kind in ("int64", "float64"):
        with contextlib.suppress(pyarrow.ArrowInvalid):
            numbers = column.cast(kind)
            return numbers if compute.all(compute.is_finite(numbers)).as_py() else None
    return None


def _distinct(library: str, column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each cell's text among the distinct ones, -1 where it is missing."""
    if library == "pyarrow":
        encoded = column.cast("large_string").combine_chunks().dictionary_encode()  # unify_dictionaries takes minutes
        return encoded.indices.cast("int64").fill_null(-1).to_numpy(), encoded.dictionary.to_pylist()
    cells = [cell if isinstance(cell, str) else None for cell in column.to_list()]
    numbers = {cell: number for number, cell in enumerate(dict.fromkeys(cell for cell in cells if cell is not None))}
    codes = np.fromiter((numbers.get(cell, -1) if cell is not None else -1 for cell in cells), np.int64, len(cells))
    return codes, list(numbers)


def _numbers(cells: list[str], decimal: str) -> NDArray[Any] | None:
    """Read text as numbers: decimal, with a sign, a decimal point and an exponent where they are wanted."""
    spellings = {cell.strip().lower() for cell in cells} if len(cells) <= 6 else set()
    if spellings and spellings <= {"true", "false"}:
        return np.array([cell.strip().lower() == "true" for cell in cells])
    if re.fullmatch(rf"[0-9eE+\- \n{re.escape(decimal)}]*", "\n".join(cells)) is None:
        return None
    if decimal != ".":
        cells = [cell.replace(decimal, ".") for cell in cells]
    for kind in (int, float):
        try:
            return np.array(list(map(kind, cells)), dtype=np.int64 if kind is int else np.float64)
        except (ValueError, OverflowError):
            continue
    return None


def _dates(cells: list[str]) -> NDArray[Any] | None:
    """Read ISO dates, with or without a time of day, all with a zone or none; those with one are converted to UTC."""
    cells = [cell.strip() for cell in cells]
    joined = "\n".join(cells)
    if re.fullmatch(r"[0-9:T .\-+Z\n]*", joined) is None or min(map(len, cells), default=0) < len("2000-01-01"):
        return None
    minutes = np.zeros(len(cells), "timedelta64[m]")
    if re.search(r"\d\d:\d\d[\d:.]* ?[Z+-]", joined) is not None:
        zoned = list(map(_ZONED.fullmatch, cells))
        for place, match in enumerate(zoned):
            if match is None:
                return None
            if match[2]:
                minutes[place] = int(f"{match[2]}1") * (60 * int(match[3]) + int(match[4] or 0))
        cells = [match[1] for match in zoned if match is not None]
    try:
        return np.array(cells, dtype=str).astype("datetime64[us]") - minutes
    except ValueError:
        return None


def _hint(cell: str, how: CsvFormat) -> str:
    if how.decimal == "." and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell):
        return ": if the comma is a decimal one, say --decimal ,"
    if how.decimal == "," and re.fullmatch(r"\s*[+-]?\d+\.\d+\s*", cell):
        return ": --decimal says that a comma separates decimals"
    if cell.strip().lower() in MEANS_MISSING:
        return f": if it stands for what is missing, say --missing {shlex.quote(cell)}"
    return ""


# ---------------------------------------------------------------------------------------------------------- the files


def _open(path: str) -> IO[bytes]:
    """Open a file, which is decompressed where its name says so."""
    name = path.lower()
    if name.endswith(".zst"):
        if sys.version_info >= (3, 14):
            return importlib.import_module("compression.zstd").open(path, "rb")
        return import_optional("pyarrow", "cli", "A .zst file").input_stream(path, compression="zstd")
    for ending, module in ((".gz", gzip), (".bz2", bz2), (".xz", lzma)):
        if name.endswith(ending):
            return module.open(path, "rb")
    return open(path, "rb")


def _read_csv(library: str, path: str, how: CsvFormat, columns: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the names in the header, and the columns wanted as text."""
    delimiter = how.delimiter or ""
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(f"the delimiter {delimiter!r} is not one character that separates cells")
    if library == "pyarrow" and delimiter.isascii() and codecs.lookup(how.encoding).name == "utf-8":
        with _open(path) as file:
            content = file.read()
        if _is_utf8(content) and _quotes_are_paired(content, delimiter):
            found = _by_pyarrow(content, delimiter, how.missing, columns)
            if found is not None:
                return found
    return _by_rows(library, path, how, columns)


def _is_utf8(content: bytes) -> bool:
    try:
        return content.isascii() or bool(content.decode())
    except UnicodeDecodeError:
        return False


def _quotes_are_paired(content: bytes, delimiter: str) -> bool:
    """Return whether each quoted cell begins and ends where a cell does, with quotes inside it doubled."""
    if b'"' not in content:
        return True
    cells = np.frombuffer(content, np.uint8)
    quotes = np.concatenate(
        [
            first + np.flatnonzero(cells[first : first + BYTES_AT_ONCE] == ord('"'))
            for first in range(0, len(cells), BYTES_AT_ONCE)
        ]
    )
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    ends = np.zeros(256, bool)
    ends[[ord(delimiter), ord("\r"), ord("\n")]] = True
    # The closing quote of one pair right before the opening quote of the next: one doubled quote inside a cell.
    doubled = opening[1:] == closing[:-1] + 1
    begins = (opening == 0) | ends[cells[opening - 1]] | np.append(False, doubled)
    stops = (closing == len(cells) - 1) | ends[cells[(closing + 1) % len(cells)]] | np.append(doubled, False)
    return bool(begins.all() and stops.all())


def _by_pyarrow(
    content: bytes, delimiter: str, missing: Sequence[str], columns: Collection[str]
) -> tuple[list[str], dict[str, Any]] | None:
    """Read a file whose quotes are paired; None where pyarrow does not, and csv may say why."""
    pyarrow, reader = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.csv"))
    start = io.StringIO(content[:LONGEST_HEADER].decode("utf-8-sig", errors="replace"), newline="")
    try:
        header = next((row for row in csv.reader(start, delimiter=delimiter, strict=True) if row), None)
        if header is None:
            return None
        places = {column: f"f{header.index(column)}" for column in columns if column in header}
        if not places:
            return header, {}
        table = reader.read_csv(
            pyarrow.BufferReader(content),
            read_options=reader.ReadOptions(autogenerate_column_names=True),
            parse_options=reader.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=reader.ConvertOptions(
                include_columns=list(places.values()),
                column_types=dict.fromkeys(places.values(), pyarrow.string()),
                null_values=["", *missing],
                strings_can_be_null=True,
            ),
        )
    except (pyarrow.ArrowException, csv.Error):
        return None
    return header, {column: table[place].slice(1) for column, place in places.items()}


def _by_rows(library: str, path: str, how: CsvFormat, columns: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    """Read a file row by row."""
    missing = {"", *how.missing}
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        encoding = "utf-8-sig" if codecs.lookup(how.encoding).name == "utf-8" else how.encoding
        with io.TextIOWrapper(_open(path), encoding=encoding, newline="") as file:
            rows = _rows(file, how)
            header = next(rows, None)
            if header is None:
                raise ValueError("it is empty, without the names of columns")
            places = {column: header.index(column) for column in columns if column in header}
            cells: dict[str, list[str | None]] = {column: [] for column in places}
            for row in rows:
                for column, place in places.items():
                    cells[column].append(None if row[place] in missing else row[place])
    finally:
        csv.field_size_limit(limit)
    return header, {column: _as_column(library, of_column, str) for column, of_column in cells.items()}


def _rows(file: IO[str], how: CsvFormat) -> Iterator[list[str]]:
    """Yield the rows of a CSV file, all as long as the first; lines without anything are no rows."""
    reader = csv.reader(file, delimiter=how.delimiter or ",", strict=True)
    length = None
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except UnicodeError as error:
            other = "latin-1, cp1252 or utf-16" if how.encoding == "utf-8" else "utf-8"
            raise ValueError(
                f"line {line:,} or one after it is not {how.encoding}: say --encoding, such as {other}"
            ) from error
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise ValueError(f"line {line:,} opens a quote that is never closed") from error
            if "expected after" in str(error):
                raise ValueError(
                    f"line {line:,} opens a quote that is closed inside a cell, on line {reader.line_num:,}: "
                    "quotes inside quotes are doubled"
                ) from error
            raise ValueError(f"line {line:,}: {error}") from error
        if not row:
            continue
        length = length or len(row)
        if len(row) != length:
            raise ValueError(f"line {line:,} has {len(row)} cells, the first line {length}")
        yield row


def _read_json_lines(library: str, path: str, columns: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    present: dict[str, None] = {}
    cells: dict[str, list[Any]] = {column: [] for column in columns}
    with io.TextIOWrapper(_open(path), encoding="utf-8-sig") as file:
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
        column: _as_column(library, of_column) for column, of_column in cells.items() if column in present
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
