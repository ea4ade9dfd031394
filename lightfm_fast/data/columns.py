"""Columns of frames as arrays of numbers or times, or as lists of objects."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import UNREADABLE, importable
from .._cells import is_missing, numbers_of_cells, show, times_of_cells

# A narwhals Series, an array, or a list: NumPy would turn numbers beside text into text.
Column = Any


def as_column(values: Any, name: str, vectors: bool = False) -> Column:
    """Return a list, an array of one dimension or a narwhals Series; masked cells are None.

    Raises
    ------
    TypeError
        If ``values`` is no column, or has no order, such as a set.
    ValueError
        If ``values`` has several dimensions. With ``vectors``, it may be a matrix with a row per cell.
    """
    if isinstance(values, list):
        return values
    if isinstance(values, (tuple, range)):
        return list(values)
    if not isinstance(values, np.ndarray):
        nw = narwhals_if_importable()
        is_frame = hasattr(type(values), "columns")
        is_arrow = hasattr(values, "to_pylist") and not is_frame
        if is_arrow and not hasattr(values, "chunks"):
            values = importlib.import_module("pyarrow").chunked_array([values])
        series = values if nw is None else nw.from_native(values, series_only=True, pass_through=True)
        if nw is not None and isinstance(series, nw.Series):
            return series
        if is_arrow:  # NumPy would make floats of whole numbers if some cells are null
            return list(values.to_pylist())
        if hasattr(values, "__array__") and not is_frame:  # tensors, pandas' Index and the like
            try:
                values = np.asarray(values)
            except UNREADABLE as error:
                raise TypeError(f"{name} is {type(values).__name__} that NumPy cannot read: {error}") from error
        elif isinstance(values, (Sequence, Iterator, KeysView, ValuesView)) and not isinstance(values, (str, bytes)):
            return list(values)
        else:
            hint = "; the frame's to_dict('list') gives lists" if isinstance(values, Mapping) else ""
            raise TypeError(
                f"{name} is {show(values)} ({type(values).__name__}), expected a list, an array or a column of a data "
                f"frame{hint}"
            )
    if values.ndim != 1 and not (vectors and values.ndim == 2):
        raise ValueError(f"{name} has {values.ndim} dimensions, expected one")
    if isinstance(values, np.ma.MaskedArray):
        hidden, values = np.ma.getmask(values), values.data
        if hidden.any():
            values = values.astype("datetime64[us]" if values.dtype.kind == "M" else object)
            values[hidden] = None
    return values if values.ndim == 1 else list(values)


def narwhals_if_importable() -> Any:
    """Return narwhals, or None if it does not import: lists, arrays and pandas are read without it."""
    return importlib.import_module("narwhals") if importable("narwhals") else None


def read_numbers(column: Column, name: str) -> NDArray[np.float64]:
    """Return numbers, decimals and truth values in double precision, with NaN where a cell is missing.

    Raises
    ------
    TypeError
        If a cell is no number; the message gives ``name``, the row and the cell.
    ValueError
        If a number is too large for double precision.
    """
    if not isinstance(column, (list, np.ndarray)):
        column = _numeric_array(column)
    if isinstance(column, list):
        column = _array_of_list(column)
    if isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind in "biuf":
        return column.astype(np.float64)
    return numbers_of_cells(column if isinstance(column, list) else cells_of_array(column), name)


def read_times(column: Column, name: str) -> NDArray[Any]:
    """Return numbers or datetime64, with NaN or NaT where a cell is missing; times with a zone are converted to UTC.

    Raises
    ------
    TypeError
        If a cell is neither number, date nor datetime; the message gives ``name``, the row and the cell.
    ValueError
        If a number is too large for double precision.
    """
    if not isinstance(column, (list, np.ndarray)):
        nw = narwhals_if_importable()
        column = column.to_numpy() if column.dtype in (nw.Date, nw.Datetime) else _numeric_array(column)
    if isinstance(column, list):
        column = _array_of_list(column)
    if isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind in "iufM":
        return column
    return times_of_cells(column if isinstance(column, list) else cells_of_array(column), name)


def holds_times(column: Column) -> bool:
    """Tell whether a column holds dates or datetimes, by its type or by the first cell that is there."""
    if isinstance(column, np.ndarray) and column.dtype.kind != "O":
        return column.dtype.kind == "M"
    if not isinstance(column, (list, np.ndarray)):
        nw = narwhals_if_importable()
        if column.dtype not in (nw.Object, nw.Unknown):
            return column.dtype in (nw.Date, nw.Datetime)
    first = next((cell for cell in column if not is_missing(cell)), None)
    return isinstance(first, (date, np.datetime64))


def _numeric_array(series: Any) -> NDArray[Any] | list[Any]:
    """Return an array of a numeric Series, with NaN for null, or a list of the cells of another Series."""
    nw = narwhals_if_importable()
    if series.dtype == nw.Decimal or (series.dtype.is_numeric() and series.null_count()):
        series = series.cast(nw.Float64)
    if series.dtype.is_numeric():
        array = array_or_list(series)
        if isinstance(array, np.ndarray) and array.dtype.kind in "iuf":
            return array
    return series.to_list()


def array_or_list(series: Any) -> NDArray[Any] | list[Any]:
    """Return the cells of a Series as an array, or as a list if NumPy has no such type, as of polars' Int128."""
    try:
        array: NDArray[Any] = series.to_numpy()
    except Exception:  # each library raises its own exceptions
        return list(series.to_list())
    return array


def _array_of_list(values: list[Any]) -> NDArray[Any] | list[Any]:
    """Return an array if NumPy finds only numbers, which is faster than looking at each cell; else the list."""
    try:
        array = np.array(values)
    except UNREADABLE:  # such as rows of different lengths
        return values
    return array if array.ndim == 1 and array.dtype.kind in "biuf" else values


def read_objects(values: Any, name: str = "the column") -> list[Any]:
    """Return the cells of a column as Python objects. Raises as :func:`as_column`."""
    column = as_column(values, name)
    if isinstance(column, np.ndarray):
        return cells_of_array(column)
    return column if isinstance(column, list) else column.to_list()


def cells_of_array(array: NDArray[Any]) -> list[Any]:
    """Return the cells of an array as Python objects: of times in nanoseconds, tolist would make whole numbers."""
    if array.dtype.kind in "mM":
        array = array.astype(f"{array.dtype.kind}8[us]")
    cells: list[Any] = array.tolist()
    return cells


def is_id(value: Any) -> bool:
    """Tell whether a question asks for one id, rather than for several."""
    return isinstance(value, (str, bytes, tuple)) or not isinstance(value, Iterable)


def as_ids(ids: Any, name: str) -> list[Any]:
    """Return one id or several, the argument ``name``, as a list."""
    if isinstance(ids, Mapping) or hasattr(type(ids), "columns"):
        raise TypeError(f"{name} is {show(ids)} ({type(ids).__name__}), expected an id, a list of ids or a column")
    return list(map(as_id, [ids] if is_id(ids) else read_objects(ids, name)))


def as_id(cell: Any) -> Any:
    """Return the value of a cell of a pyarrow table; anything else as it is."""
    return cell.as_py() if hasattr(cell, "as_py") else cell
