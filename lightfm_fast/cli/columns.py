"""Read columns of one file, or of several below one another."""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ..data.numbering import factorize, match_ids
from ..table_files import CsvFormat, read_table

Columns = dict[str, Any]


def read_interaction_columns(
    options: argparse.Namespace, files: Sequence[str], columns: Mapping[str, str | None]
) -> Columns:
    """Read the columns of interactions, by the roles that they have: user, item, value, weight, time."""
    given = {name: column for name, column in columns.items() if column is not None}
    wanted = list(dict.fromkeys(given.values()))
    return read_columns(
        options,
        files,
        wanted,
        [options.user_column, options.item_column],
        numbers=[given[name] for name in ("value", "weight") if name in given],
        times=[given["time"]] if "time" in given else [],
        filled=wanted,
        what="interactions",
    )


def read_columns(
    options: argparse.Namespace,
    files: Sequence[str],
    columns: Sequence[str],
    text: Sequence[str],
    numbers: Sequence[str] = (),
    times: Sequence[str] = (),
    filled: Sequence[str] = (),
    what: str = "the table",
) -> Columns:
    """Read columns of one file, or of several below one another; those ``filled`` may have no missing cells."""
    how = CsvFormat(options.delimiter, options.encoding, options.decimal, tuple(options.missing))
    tables = []
    for file in files:
        table = read_table(file, columns, text, numbers=numbers, times=times, csv_format=how)
        for column in filled:
            missing = _missing(table[column])
            if missing.any():
                raise ValueError(
                    f"{file}: column {column!r} of {what} has {np.count_nonzero(missing):,} missing "
                    f"{'ids' if column in text else 'values'}, the first in data row {int(missing.argmax()) + 1:,}: "
                    "fill them in, or leave those rows out"
                )
        tables.append(table)
    if len(tables) == 1:
        return tables[0]
    whole: Columns = {}
    for column in columns:
        parts = [as_series(table[column]) for table in tables]
        kinds = {file: _kind(part) for file, part in zip(files, parts, strict=True) if len(part)}
        if len(set(kinds.values())) > 1:
            raise ValueError(
                f"column {column!r} holds {' but '.join(f'{kind} in {file}' for file, kind in kinds.items())}: bring "
                "the files to one type"
            )
        if "text or others" in kinds.values():
            whole[column] = [value for part in parts for value in part.to_list()]
        else:
            whole[column] = np.concatenate([part.to_numpy() for part in parts])
    return whole


def as_series(column: Any) -> Any:
    """Return a column of a library as narwhals sees it, a list or an array as it is."""
    import narwhals as nw

    return column if isinstance(column, (list, np.ndarray)) else nw.from_native(column, series_only=True)


def _missing(column: Any) -> Any:
    series = as_series(column)
    missing = series.is_null().to_numpy()
    if series.dtype.is_float():
        missing = missing | np.isnan(series.to_numpy())
    return missing


def _kind(series: Any) -> str:
    dtype = series.dtype
    return "numbers" if dtype.is_numeric() else "dates" if dtype.is_temporal() else "text or others"


def match_rows(column: Any, known: Mapping[Hashable, int]) -> tuple[Any, list[Hashable]]:
    """Return the row of each id of a column among the known ones, -1 where it is unknown, and the ids."""
    codes, names = factorize(as_series(column))
    return (match_ids(names, known)[codes] if len(names) else codes), [names[code] for code in codes.tolist()]
