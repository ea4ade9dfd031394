"""Columns of a frame: people's data, as a data frame of any library or a dict of columns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from .columns import Column, as_column, narwhals_if_importable


def read_columns(table: Any, name: str, columns: Iterable[Hashable], vectors: bool = False) -> dict[Any, Column]:
    """Return the columns named of a data frame that narwhals reads, or of a mapping from name to values.

    A name is text, a whole number or a tuple, as pandas has them. Other columns are not looked at. ``vectors`` lets a
    matrix be a column, a row per cell.

    Raises
    ------
    TypeError
        If ``table`` is neither, or is lazy, or what it has under a name is no column.
    ValueError
        If a column is missing or there twice, or the columns differ in length.
    """
    columns = list(columns)
    names, column_at = _open_table(table, name)
    places = [_place(column, names, name) for column in columns]
    read = {
        column: as_column(column_at(place), f"column {column!r} of {name}", vectors)
        for column, place in zip(columns, places, strict=True)
    }
    lengths = {column: len(values) for column, values in read.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of {name} differ in length: {lengths}")
    return read


def _open_table(table: Any, name: str) -> tuple[list[Any], Callable[[int], Any]]:
    """Return the names of the columns and a function from place to column."""
    if isinstance(table, Mapping):
        names = list(table)
        return names, lambda place: table[names[place]]
    nw = narwhals_if_importable()
    native = table if nw is None else nw.to_native(table, pass_through=True)
    # By place: narwhals reads no frame with a name there twice or a name that is not text.
    if type(native).__module__.partition(".")[0] == "pandas" and hasattr(native, "iloc") and hasattr(native, "columns"):
        return list(native.columns), lambda place: native.iloc[:, place]
    if nw is not None and nw.dependencies.is_pyarrow_table(native):
        return list(native.column_names), native.column
    expected = (
        f"{name} is {type(table).__name__}, expected a data frame in memory (pandas, polars, pyarrow or "
        "another that narwhals reads; collect a lazy one) or a dict from column name to values"
    )
    if nw is None:
        raise TypeError(f"{expected}; narwhals, which reads data frames, cannot be imported")
    try:
        frame = nw.from_native(native, eager_only=True)
    except TypeError as error:
        raise TypeError(expected) from error
    names = list(frame.columns)
    return names, lambda place: frame[names[place]]


def _place(column: Hashable, names: list[Any], table: str) -> int:
    if not isinstance(column, Hashable):
        raise TypeError(f"{table}: {column!r} is of type {type(column).__name__}, expected the name of a column")
    if isinstance(column, np.generic):  # beside a name that is a tuple, it would compare as an array does
        column = column.item()
    count = names.count(column)
    if not count:
        raise ValueError(
            f"{table} has no column {column!r}; it has {', '.join(map(repr, names)) or 'none'}: "
            "say in the call which columns hold what"
        )
    if count > 1:
        raise ValueError(f"{table} has {count} columns {column!r}: rename or drop all but one")
    return names.index(column)


def column_name(name: Any) -> Any:
    """Return the name of a column out of JSON, which has lists for the tuples of pandas."""
    return tuple(map(column_name, name)) if isinstance(name, list) else name
