"""Read columns of files, and match ids to rows."""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import counted
from .._cells import canonical_text
from ..data.interactions import in_microseconds
from ..data.missing import describe_left_out, rows_with_ids
from ..data.numbering import as_whole_numbers, factorize, match_ids
from ..table_files import CsvFormat, MissingColumnError, read_table
from .messages import in_words_of_options
from .output import listed, note

Columns = dict[str, Any]  # names to columns of equal length: lists, arrays or narwhals Series


def read_columns(
    options: argparse.Namespace,
    files: Sequence[str],
    ids: Sequence[str],
    text: Sequence[str] = (),
    numbers: Sequence[str] = (),
    times: Sequence[str] = (),
    filled: bool = False,
) -> Columns:
    """Read columns of one file, or the concatenated columns of several.

    Parameters
    ----------
    options : Namespace
        How CSV files are written.
    files : sequence of str
    ids, text, numbers, times : sequence of str
        The columns, by the kind of their values. Ids and text of CSV files stay text.
    filled : bool
        Refuse missing cells in every column, as interactions need; by default only in ``ids``.

    Rows without an id are left out, and told of, if ``options.missing_ids`` says so.
    """
    columns = list(dict.fromkeys([*ids, *text, *numbers, *times]))
    csv_format = CsvFormat(options.delimiter, options.encoding, options.decimal, tuple(options.missing))
    parts, n_left_out = [], 0
    for file in files:
        try:
            read = read_table(file, columns, [*ids, *text], numbers=numbers, times=times, csv_format=csv_format)
        except MissingColumnError as error:
            if error.column not in ids:
                raise
            raise ValueError(f"{error}; --user-column and --item-column name the ids, alike in all files") from error
        part = _as_series(read)
        frame = "interactions" if filled else "the table"
        are_missing = {column: _are_missing(part[column]) for column in ids}
        has_ids = rows_with_ids(are_missing, frame, options.missing_ids, f"{file}: ", len(files) > 1)
        if filled:
            for column in columns:
                _check_filled(part[column], f"{file}: column {column!r} of {frame}", has_ids)
        if has_ids is not None:
            told = f"{file}: {describe_left_out(has_ids, frame)}; messages count the other rows"
            note(options, in_words_of_options(told))
            part = {column: series.filter(has_ids.tolist()) for column, series in part.items()}
            n_left_out += int(np.count_nonzero(~has_ids))
        if options.missing_ids == "skip":
            for column in ids:
                is_text = str(part[column].dtype) == "String" and bool(are_missing[column].any())
                part[column] = _whole(part[column], is_text, f"{file}: column {column!r} of {frame}")
        parts.append(part)
    if n_left_out and not any(len(part[column]) for part in parts for column in columns):
        left_out = f"{counted(n_left_out, 'row')} of {frame} without an id left out"
        raise ValueError(f"{listed(files)}: {left_out}: none is left")
    return parts[0] if len(parts) == 1 else {column: _joined(parts, files, column, column in ids) for column in columns}


def match_rows(column: Any, known: Mapping[Hashable, int]) -> tuple[NDArray[np.int32], list[Hashable]]:
    """Return the row that each id of a column has among the known ids, -1 where it is unknown, and the ids."""
    codes, names = factorize(column)
    return (match_ids(names, known)[codes] if names else codes), [names[code] for code in codes.tolist()]


def _as_series(columns: Columns) -> Columns:
    import narwhals as nw

    return {name: nw.from_native(column, series_only=True) for name, column in columns.items()}


def _are_missing(series: Any) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = series.is_null().to_numpy()
    return missing | np.isnan(series.to_numpy()) if series.dtype.is_float() else missing


def _whole(ids: Any, is_text: bool, name: str) -> Any:
    """Return floats, or text such as 7.0, as whole numbers if they all are: pandas makes them of missing ids."""
    if is_text:
        return ids.str.replace(r"\.0$", "") if ids.str.contains(r"^-?\d+\.0$").all() else ids
    if not ids.dtype.is_float() or as_whole_numbers(ids.to_numpy(), name) is None:
        return ids
    import narwhals as nw

    return ids.cast(nw.Int64)


def _check_filled(series: Any, name: str, has_ids: NDArray[np.bool_] | None) -> None:
    missing = _are_missing(series)
    if has_ids is not None:
        missing = missing & has_ids
    if missing.any():
        raise ValueError(
            f"{name} has {counted(np.count_nonzero(missing), 'missing value')}, the first in data row "
            f"{int(missing.argmax()) + 1:,}: fill them in, or leave those rows out"
        )


def _joined(parts: Sequence[Columns], files: Sequence[str], column: str, are_ids: bool) -> Any:
    """Concatenate one column of several files, which must hold one kind of value; of ids, text and numbers may meet."""
    filled = [(file, part[column]) for file, part in zip(files, parts, strict=True) if len(part[column])]
    series = [one for _, one in filled] or [part[column] for part in parts]
    kinds: dict[str, str] = {}  # to the first file that holds each
    for file, one in filled:
        kinds.setdefault(_kind(one.dtype), file)
    if are_ids and kinds.keys() == {"numbers", "text"}:
        ids = _numbers_as_text([value for one in series for value in one.to_list()])
        if ids is not None:
            return ids
    if len(kinds) > 1:
        held = " but ".join(f"{kind} in {file}" for kind, file in kinds.items())
        raise ValueError(f"column {column!r} holds {held}: bring the files to one type")
    if not kinds.keys() & {"text", "other values"}:
        arrays = [one.to_numpy() for one in series]
        if len({array.dtype for array in arrays}) > 1 and all(array.dtype.kind == "M" for array in arrays):
            arrays = [in_microseconds(array, f"column {column!r}") for array in arrays]  # nanoseconds may overflow
        joined: NDArray[Any] = np.concatenate(arrays)
        # Integers of two kinds may become floats, which do not tell large ids apart.
        if not are_ids or joined.dtype.kind != "f" or all(one.dtype.is_float() for one in series):
            return joined
    return [value for one in series for value in one.to_list()]


def _numbers_as_text(ids: list[Any]) -> list[Any] | None:
    """Return ids with the text that spells each number in its place: text that is there already, if one is.

    None if no text spells a whole number: the columns then hold ids of two kinds.
    """
    distinct = dict.fromkeys(ids)
    texts = [value for value in distinct if isinstance(value, str)]
    if not any(canonical_text(text).removeprefix("-").isdigit() for text in texts):
        return None
    numbers = [value for value in distinct if not isinstance(value, str)]
    rows = match_ids(numbers, dict(zip(texts, range(len(texts)), strict=True)))
    spelled = {
        number: texts[row] if row >= 0 else canonical_text(number) for number, row in zip(numbers, rows, strict=True)
    }
    return [spelled.get(value, value) for value in ids]


def _kind(dtype: Any) -> str:
    kinds = {"String": "text", "Categorical": "text", "Enum": "text"}
    if dtype.is_numeric():
        return "numbers"
    return "dates" if dtype.is_temporal() else kinds.get(type(dtype).__name__, "other values")
