"""Read CSV files as Python's csv module does in its strict mode.

pyarrow, which is many times faster, reads the files that it is certain to read in the same way: nearly all.
"""

from __future__ import annotations

import codecs
import csv
import importlib
import io
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Any

import numpy as np

from .compressed import open_decompressed
from .kinds import CsvFormat, column_of

BYTES_AT_ONCE = 1 << 24
LONGEST_HEADER = 1 << 20  # bytes that hold the names of columns, for pyarrow to read the file
LONGEST_CELL = (1 << 31) - 1  # the largest limit that csv takes where C's long has 32 bits


def read_csv(library: str, path: str, how: CsvFormat, columns: Collection[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the names in the header, and the wanted columns as text."""
    delimiter = how.delimiter or ""
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(f"the delimiter {delimiter!r} is not one character that separates cells")
    if library == "pyarrow" and delimiter.isascii() and codecs.lookup(how.encoding).name == "utf-8":
        with open_decompressed(path) as file:
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
    """Return whether quotes open and close whole cells, with the quotes inside cells doubled."""
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
    # A closing quote right before an opening quote is a doubled quote inside a cell.
    doubled = opening[1:] == closing[:-1] + 1
    begins = (opening == 0) | ends[cells[opening - 1]] | np.append(False, doubled)
    stops = (closing == len(cells) - 1) | ends[cells[(closing + 1) % len(cells)]] | np.append(doubled, False)
    return bool(begins.all() and stops.all())


def _by_pyarrow(
    content: bytes, delimiter: str, missing: Sequence[str], columns: Collection[str]
) -> tuple[list[str], dict[str, Any]] | None:
    """Read a file whose quotes are paired; None if pyarrow fails, and csv may give the reason."""
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
    """Read a file row by row with csv."""
    missing = {"", *how.missing}
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        encoding = "utf-8-sig" if codecs.lookup(how.encoding).name == "utf-8" else how.encoding
        with io.TextIOWrapper(open_decompressed(path), encoding=encoding, newline="") as file:
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
    return header, {column: column_of(library, of_column, str) for column, of_column in cells.items()}


def _rows(file: IO[str], how: CsvFormat) -> Iterator[list[str]]:
    """Yield the rows of a CSV file, all of the first one's length; empty lines are skipped."""
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
