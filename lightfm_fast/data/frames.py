"""Frames, which are people's data: a data frame of any library, or a dict from column name to values."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._cells import is_hashable, show
from .columns import Column, as_column, narwhals_if_importable
from .ids import LONGEST_COMPARED

_MOST_SHOWN = 40  # names of columns in a message
# What to do about a missing column.
NAME_COLUMNS = "say in the call which columns hold what; ids have the same column in all tables"


def read_columns(frame: Any, name: str, columns: Iterable[Hashable], vectors: bool = False) -> dict[Any, Column]:
    """Return some columns of a frame, and read no others.

    Parameters
    ----------
    frame : data frame that narwhals reads, or mapping from name to values
    name : str
        The frame in messages.
    columns : iterable of hashable
        Names: text or, in pandas, whole numbers and tuples.
    vectors : bool
        A matrix may be a column, with a row per cell.

    Raises
    ------
    TypeError
        If ``frame`` is no frame in memory, or holds an object that is no column.
    ValueError
        If a column is missing or occurs twice, or the columns differ in length.
    """
    columns = list(columns)
    names, column_at = _open(frame, name)
    places = [_place(column, names, frame, name, NAME_COLUMNS) for column in columns]
    read = {
        column: as_column(column_at(place), f"column {column!r} of {name}", vectors)
        for column, place in zip(columns, places, strict=True)
    }
    lengths = {column: len(values) for column, values in read.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of {name} differ in length: {lengths}")
    return read


def take_rows(frame: Any, name: str, chosen: NDArray[np.bool_], columns: Collection[Hashable] | None) -> Any:
    """Return a frame with the chosen rows of another. Raises as :func:`read_columns`.

    Of a dict, only the ``columns`` are read, of which some may be missing; None reads all.
    """
    names, _ = _open(frame, name)
    nw = narwhals_if_importable()
    if isinstance(frame, Mapping):
        read = read_columns(
            frame, name, names if columns is None else dict.fromkeys(filter(frame.__contains__, columns)), True
        )
        return {column: _chosen_cells(cells, chosen) for column, cells in read.items()}
    native = frame if nw is None else nw.to_native(frame, pass_through=True)
    if hasattr(native, "iloc"):
        return native.iloc[np.flatnonzero(chosen)]
    if nw.dependencies.is_pyarrow_table(native):  # narwhals refuses duplicate names
        return native.filter(chosen)
    return nw.from_native(native, eager_only=True).filter(chosen.tolist()).to_native()


def _chosen_cells(cells: Column, chosen: NDArray[np.bool_]) -> Column:
    if isinstance(cells, list):
        return [cell for cell, is_chosen in zip(cells, chosen.tolist(), strict=True) if is_chosen]
    return cells[chosen] if isinstance(cells, np.ndarray) else cells.filter(chosen.tolist())


def check_columns(frame: Any, name: str, columns: Iterable[Hashable], advice: str) -> None:
    """Raise as :func:`read_columns` if ``frame`` is no frame or lacks a column, and then say what to do."""
    names, _ = _open(frame, name)
    for column in columns:
        _place(column, names, frame, name, advice)


def _open(frame: Any, name: str) -> tuple[list[Any], Callable[[int], Any]]:
    """Return the names of the columns, and a function from position to column."""
    if isinstance(frame, Mapping) and not hasattr(frame, "shape"):  # SciPy's DOK matrices are dicts
        names = list(frame)
        return names, lambda place: frame[names[place]]
    nw = narwhals_if_importable()
    native = frame if nw is None else nw.to_native(frame, pass_through=True)
    # By position, since narwhals refuses frames with duplicate names or names that are not text.
    if _is_of_pandas(native) and hasattr(native, "iloc") and hasattr(native, "columns"):
        return list(native.columns), lambda place: native.iloc[:, place]
    if nw is not None and nw.dependencies.is_pyarrow_table(native):
        return list(native.column_names), native.column
    expected = (
        f"{name} is {type(frame).__name__}, expected a data frame in memory (pandas, polars, pyarrow or "
        f"another that narwhals reads) or a dict from column name to values{way_to_frame(frame)}"
    )
    if nw is None:
        raise TypeError(f"{expected}; narwhals, which reads data frames, cannot be imported")
    try:
        frame = nw.from_native(native, eager_only=True)
    except TypeError as error:
        raise TypeError(expected) from error
    names = list(frame.columns)
    return names, lambda place: frame[names[place]]


def way_to_frame(value: Any) -> str:
    """Say how to make a frame of an object that people often pass instead."""
    if isinstance(value, (str, os.PathLike)):
        return ": read a file first, such as by pandas.read_csv; arguments that name columns are given by keyword"
    if isinstance(value, (list, np.ndarray)):
        return ": pandas.DataFrame(rows, columns=[...]) makes one of rows"
    # Of Spark, polars' lazy frames, Dask, pyarrow's readers, DuckDB, pyarrow's batches, and a Series of pandas.
    for method in ("toPandas", "collect", "compute", "read_all", "to_arrow_table", "to_pandas", "reset_index"):
        if hasattr(value, method):
            return f": {method}() makes one of it"
    return ""


# Libraries of data frames in memory that narwhals reads and makes. A file may name no other, since it is imported.
LIBRARIES = ("pandas", "polars", "pyarrow", "modin", "cudf")


def library_of(value: Any) -> str | None:
    """Return the name of the library of a data frame or of a column, None for anything else."""
    if value is None or isinstance(value, (Mapping, str, int, list, tuple, np.ndarray)):  # narwhals takes long to tell
        return None
    if _is_of_pandas(value):
        return "pandas"
    nw = narwhals_if_importable()
    if nw is None:
        return None
    if nw.dependencies.is_pyarrow_table(value):  # narwhals refuses duplicate names
        return "pyarrow"
    wrapped = nw.from_native(
        nw.to_native(value, pass_through=True), eager_only=True, allow_series=True, pass_through=True
    )
    return wrapped.implementation.value if isinstance(wrapped, (nw.DataFrame, nw.Series)) else None


def _is_of_pandas(value: Any) -> bool:
    """Tell whether a class of pandas, or a subclass such as of geopandas, made an object."""
    return any(kind.__module__.partition(".")[0] == "pandas" for kind in type(value).__mro__)


def is_frame(value: Any) -> bool:
    """Tell whether an object is a data frame; a dict of columns is none."""
    return library_of(value) is not None and hasattr(value, "columns")


def list_columns(frame: Any) -> list[Any]:
    """Return the names of the columns of a frame."""
    return _open(frame, "the table")[0]


def make_frame(columns: Mapping[Any, Any], library: str | None) -> Any:
    """Return columns as a data frame of a library, or as a dict of lists.

    Raises
    ------
    ImportError
        If the library is not installed.
    """
    if library is None:
        return {name: values if isinstance(values, list) else values.tolist() for name, values in columns.items()}
    try:
        module = importlib.import_module(library)
    except ImportError as error:
        raise ImportError(f"answers are to be frames of {library}, which does not import: {error}") from error
    if library == "pandas":
        return module.DataFrame(dict(columns))  # narwhals takes names of text only
    return importlib.import_module("narwhals").from_dict(dict(columns), backend=library).to_native()


def _place(column: Hashable, names: list[Any], frame: Any, name: str, advice: str) -> int:
    if not is_hashable(column):
        raise TypeError(f"{name}: {show(column)} is of type {type(column).__name__}, expected the name of a column")
    if isinstance(column, np.generic):
        column = column.item()
    count = Counter(names)[column]  # by hash, since NumPy compares a scalar with a tuple element by element
    if not count:
        lower = {other.lower(): other for other in names if isinstance(other, str) and len(other) <= LONGEST_COMPARED}
        near = [lower[match] for match in get_close_matches(show(column).strip("'").lower(), lower, n=1)]
        if column is not None and column in getattr(getattr(frame, "index", None), "names", ()):  # of pandas
            advice = "it is the index: pass the frame's reset_index()"
        elif near:
            advice = f"did you mean {near[0]!r}? Else {advice}"
        shown = ", ".join(map(show, names[:_MOST_SHOWN])) or "none"
        if len(names) > _MOST_SHOWN:
            shown += f" and {len(names) - _MOST_SHOWN:,} more"
        raise ValueError(f"{name} has no column {show(column)}; it has {shown}: {advice}")
    if count > 1:
        raise ValueError(f"{name} has {count} columns {column!r}: rename or drop all but one")
    return names.index(column)


def check_column(name: Any, argument: str) -> Any:
    """Return the name of a column with Python's values for NumPy's scalars.

    Raises
    ------
    TypeError
        If it is neither text, a number of at most 64 bits, None nor a tuple of these: a model could not be saved with
        it.
    """
    if isinstance(name, np.generic):
        name = name.item()
    if type(name) is tuple:
        return tuple(check_column(part, argument) for part in name)
    if isinstance(name, str | float | None) or (isinstance(name, int) and name.bit_length() <= 64):
        return name
    raise TypeError(
        f"{argument} is {show(name)} ({type(name).__name__}), expected the name of a column as text, a number or a "
        "tuple of these: rename the column"
    )


def column_name(name: Any) -> Any:
    """Return the name of a column that JSON holds: its lists stand for tuples, which pandas has."""
    return tuple(map(column_name, name)) if isinstance(name, list) else name
