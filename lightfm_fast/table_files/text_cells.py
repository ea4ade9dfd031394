"""Convert columns of text to numbers or dates."""

from __future__ import annotations

import contextlib
import importlib
import re
import shlex
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .kinds import CsvFormat, column_of

LONGEST_SHOWN = 60  # characters of a cell in a message
MEANS_MISSING = {"na", "n/a", "#n/a", "nan", "nat", "null", "none", "nil", "-", "--", "?", ".", "missing"}
_ZONED = re.compile(r"(.{10}[T ][0-9:.]+) ?(?:Z|([+-])(\d\d):?(\d\d)?)")


def convert_text(library: str, column: Any, must: str | None, how: CsvFormat, name: str) -> Any:
    """Convert a column to numbers or dates if all cells are; raise if they are not what ``must`` requires.

    Parameters
    ----------
    library : str
        The library that made the column.
    column : column of pyarrow, polars or pandas
    must : {"a number", "a number or a date"} or None
        What each cell must be. By default a column that is neither stays text.
    how : CsvFormat
    name : str
        The column in messages.

    Raises
    ------
    ValueError
        If a cell is not what it must be.
    """
    import narwhals as nw

    series = nw.from_native(column, series_only=True)
    may_be_dates = must is None or "date" in must
    if series.null_count() == len(series):
        return column_of(library, np.full(len(series), np.nan))
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
    return column_of(library, values[codes])


def _refuse(codes: NDArray[Any], cells: list[str], must: str, how: CsvFormat, name: str) -> NoReturn:
    """Raise ValueError that names the first cell of the wrong kind."""
    readers: list[Callable[[str], Any]] = [lambda cell: _numbers([cell], how.decimal)]
    if "date" in must:
        readers.append(lambda cell: _dates([cell]))
    # The first readable cell sets the expected kind: an error names a date among numbers, or a number among dates.
    read = next((read for cell in cells for read in readers if read(cell) is not None), readers[0])
    bad = next((place for place, cell in enumerate(cells) if read(cell) is None), None)
    if bad is None:
        raise ValueError(
            f"{name} mixes dates that have a zone with dates that have none, or numbers with true and false"
        )
    row = int(np.argmax(codes == bad)) + 1
    cell = cells[bad] if len(cells[bad]) <= LONGEST_SHOWN else f"{cells[bad][:LONGEST_SHOWN]}…"
    raise ValueError(f"{name} has {cell!r} in data row {row:,}, expected {must}{_hint(cells[bad], must, how)}")


def _cast(column: Any) -> Any:
    """Read text as numbers by pyarrow; None if a cell is no number, or a number only to pyarrow."""
    pyarrow, compute = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.compute"))
    if compute.any(compute.match_substring(column, "x", ignore_case=True)).as_py():  # hexadecimal
        return None
    for kind in ("int64", "float64"):
        with contextlib.suppress(pyarrow.ArrowInvalid):
            numbers = column.cast(kind)
            return numbers if compute.all(compute.is_finite(numbers)).as_py() else None
    return None


def _distinct(library: str, column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Return each cell's index among the distinct texts, -1 where it is missing, and the distinct texts."""
    if library == "pyarrow":
        encoded = column.cast("large_string").combine_chunks().dictionary_encode()  # far faster than unify_dictionaries
        return encoded.indices.cast("int64").fill_null(-1).to_numpy(), encoded.dictionary.to_pylist()
    cells = [cell if isinstance(cell, str) else None for cell in column.to_list()]
    numbers = {cell: number for number, cell in enumerate(dict.fromkeys(cell for cell in cells if cell is not None))}
    codes = np.fromiter((numbers.get(cell, -1) if cell is not None else -1 for cell in cells), np.int64, len(cells))
    return codes, list(numbers)


def _numbers(cells: list[str], decimal: str) -> NDArray[Any] | None:
    """Read text as truth values or decimal numbers, with an optional sign, decimal point and exponent; else None."""
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
    """Read ISO dates, with or without a time, all with a zone or none; else None. Dates with a zone become UTC."""
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


def _hint(cell: str, must: str, how: CsvFormat) -> str:
    if how.decimal == "." and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell):
        return ": if the comma is a decimal one, say --decimal ,"
    if how.decimal == "," and re.fullmatch(r"\s*[+-]?\d+\.\d+\s*", cell):
        return ": --decimal says that a comma separates decimals"
    if cell.strip().lower() in MEANS_MISSING:
        return f": if it stands for what is missing, say --missing {shlex.quote(cell)}"
    if "date" in must and re.match(r"\s*\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b", cell):
        return " such as 2025-06-30"
    return ""
