"""Single cells of frames: which are missing, which are equal, and which are numbers or times."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Text of a float or a decimal, without leading zeros: 007 is a code.
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+|-0")
_EXPONENT = re.compile(r"-?[0-9](?:\.[0-9]+)?e[+-][0-9]{2,3}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")
_TRUTH = {"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}
# A decimal number with a larger exponent is not written out, since its digits would take too much memory.
_LARGEST_EXPONENT = 400


def is_missing(value: Any) -> bool:
    """Return whether a cell is None, NaN, NaT, pandas' NA or masked."""
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, (str, int)):
        return False
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, (float, np.generic)):
        return bool(value != value)
    return type(value).__name__ in ("NAType", "NaTType")  # pandas' types, recognised without importing pandas


def is_hashable(value: Any) -> bool:
    """Return whether a cell can be an id or a category."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def canonical_text(value: Any) -> str:
    """Return the same text for equal values, whatever type or file format holds them; "" stands for missing.

    - A whole number is its digits: 1991, 1991.0, Decimal("1991.00") and the text "1991.0" are ``1991``.
    - Another number is written without exponent and trailing zeros: 2.5, "2.50" and Decimal("2.50") are ``2.5``.
    - A truth value and the texts true, TRUE, false and FALSE are ``True`` or ``False``.
    - A date, a time at midnight without time zone and either as ISO text are ``2020-01-31``. Another time is
      ``2020-01-31 12:30:00``. A time with a time zone is converted to UTC.
    - Other text is unchanged: 007, 1e3 and +1 are codes rather than numbers. Other objects become their ``str``.
    """
    if is_missing(value):
        return ""
    if isinstance(value, str):
        return _canonical_of_text(value)
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)):
        return _plain(Decimal(str(value)))  # a Python float of a single-precision number has more digits
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, (date, np.datetime64)):  # includes datetimes
        return _canonical_of_text(str(value))
    try:
        return str(value)
    except ValueError:  # Python refuses to write more than 4,300 digits
        return hex(value)


def _canonical_of_text(text: str) -> str:
    if not text or text[-1] not in "0123456789ZeE":  # most names
        return text
    if text in _TRUTH:
        return _TRUTH[text]
    if _DECIMAL.fullmatch(text) or (_EXPONENT.fullmatch(text) and repr(float(text)) == text):
        return _plain(Decimal(text))
    time = _TIME.fullmatch(text)
    return text if time is None else _canonical_of_time(text, *time.groups())


def _plain(number: Decimal) -> str:
    if not number.is_finite() or abs(number.adjusted()) > _LARGEST_EXPONENT:
        return str(number).lower().replace("infinity", "inf")
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _canonical_of_time(text: str, day: str, minute: str, second: str | None, part: str | None, zone: str | None) -> str:
    second = second or ":00"
    if zone is not None:
        zone = "+00:00" if zone == "Z" else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
        try:
            moment = datetime.fromisoformat(f"{day}T{minute}{second}{zone}").astimezone(timezone.utc)
        except (ValueError, OverflowError):  # 2020-13-01, or a time out of the calendar in UTC
            return text
        day, minute, second = moment.strftime("%Y-%m-%d %H:%M :%S").split()
    part = "" if part is None else part.rstrip("0")
    if zone is None and f"{minute}{second}{part}" == "00:00:00":
        return day
    return f"{day} {minute}{second}{'.' + part if part else ''}{'+00:00' if zone else ''}"


def show(value: Any) -> str:
    """Return a cell for a message, on one line of at most 60 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an object may raise any, and Python refuses to write more than 4,300 digits
        text = f"a number of {value.bit_length():,} bits" if isinstance(value, int) else object.__repr__(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _cell(value: Any, row: int, name: str, expected: str) -> str:
    return f"{name} has {show(value)} ({type(value).__name__}) in row {row:,}, expected {expected}"


def numbers_of_cells(cells: Sequence[Any], name: str) -> NDArray[np.float64]:
    """Return numbers and truth values in double precision, with NaN where a cell is missing.

    Raises
    ------
    TypeError
        If a cell is neither a real number nor missing. The message names the first such cell, and prefers one that
        does not spell a number.
    ValueError
        If a number is too large for double precision.
    """
    numbers = np.empty(len(cells))
    text: tuple[str, int] | None = None
    for row, cell in enumerate(cells):
        if is_missing(cell):
            numbers[row] = np.nan
        elif isinstance(cell, (Real, Decimal, np.bool_)) and not isinstance(cell, np.timedelta64):
            try:
                numbers[row] = float(cell)
            except OverflowError as error:
                raise ValueError(_cell(cell, row, name, "a number that double precision holds")) from error
        elif isinstance(cell, str) and _reads_as_number(cell):
            text = text or (cell, row)
        else:
            raise TypeError(_cell(cell, row, name, "numbers: correct the cell, or leave it out"))
    if text is not None:
        raise TypeError(_cell(*text, name, "numbers: convert the text to numbers"))
    return numbers


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def times_of_cells(cells: Sequence[Any], name: str) -> NDArray[Any]:
    """Return datetimes as datetime64, in UTC if they have a time zone, or numbers as an array.

    A missing cell is NaT or NaN.

    Raises
    ------
    TypeError
        If a cell is neither, or cells differ in kind: numbers, times with a time zone, times without.
    ValueError
        If a number is too large for double precision, or a time is out of the calendar in UTC.
    """
    kinds: dict[str, Any] = {}
    times = np.full(len(cells), np.datetime64("NaT"), "datetime64[us]")
    for row, cell in enumerate(cells):
        if is_missing(cell):
            continue
        kind, convert = _kind_of_time(cell)
        if kind is None:
            hint = ": parse dates given as text, such as by pandas.to_datetime" if isinstance(cell, str) else ""
            raise TypeError(_cell(cell, row, name, f"numbers, dates or datetimes{hint}"))
        if kind not in kinds and kinds:
            first = next(iter(kinds))
            raise TypeError(_cell(cell, row, name, f"{first} as in the rows before"))
        kinds[kind] = None
        if convert is not None:
            try:
                times[row] = convert(cell)
            except OverflowError as error:  # the last day of the calendar, with a time zone
                raise ValueError(_cell(cell, row, name, "a time that UTC has too")) from error
    if "numbers" not in kinds:
        return times
    if all(isinstance(cell, (int, np.integer)) for cell in cells):  # nanoseconds need more digits than a float has
        try:
            return np.array(cells, dtype=np.int64)
        except OverflowError:
            pass
    return numbers_of_cells(cells, name)


def _kind_of_time(cell: Any) -> tuple[str | None, Callable[[Any], Any] | None]:
    if isinstance(cell, datetime):
        if cell.tzinfo is None:
            return "times without a time zone", np.datetime64
        return "times with a time zone", lambda time: np.datetime64(time.astimezone(timezone.utc).replace(tzinfo=None))
    if isinstance(cell, (date, np.datetime64)):
        return "times without a time zone", np.datetime64
    if isinstance(cell, (Real, Decimal)) and not isinstance(cell, bool | np.timedelta64):
        return "numbers", None
    return None, None
