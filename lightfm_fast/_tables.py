"""Columns of people's tables as arrays, and ids in them as whole numbers."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import _core
from ._cells import canonical_text, is_hashable, is_missing, numbers_of_cells, show, times_of_cells
from ._validation import importable

__all__ = [
    "CategoricalColumns",
    "Pairs",
    "as_column",
    "column_name",
    "factorize",
    "match_ids",
    "name_categories",
    "number_categories",
    "read_columns",
    "read_numbers",
    "read_times",
    "sort_pairs",
]

_MOST_THREADS = 8
_ROWS_WORTH_A_THREAD = 1 << 17
_MOST_DIGITS = 40  # of text that may spell a number: more digits cost time and are no id
_UUID_LENGTH = 36
_TRUTH_OF_NUMBER = {"1": "True", "0": "False"}

# A column is a narwhals Series, an array or a list: a list's values are kept from becoming text beside text.
Column = Any


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
    nw = _narwhals()
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


def as_column(values: Any, name: str, vectors: bool = False) -> Column:
    """Return a list, an array of one dimension or a narwhals Series; masked cells are None.

    Raises
    ------
    TypeError
        If ``values`` has no order of rows, such as a set, or is no column at all.
    ValueError
        If it has more dimensions than one and ``vectors`` is False.
    """
    if isinstance(values, list):
        return values
    if isinstance(values, (tuple, range)):
        return list(values)
    if not isinstance(values, np.ndarray):
        nw = _narwhals()
        series = values if nw is None else nw.from_native(values, series_only=True, pass_through=True)
        if nw is not None and isinstance(series, nw.Series):
            return series
        is_frame = hasattr(type(values), "columns")
        if hasattr(values, "__array__") and not is_frame:  # tensors, pandas' Index and the like
            try:
                values = np.asarray(values)
            except Exception as error:  # each library has its own
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


def _narwhals() -> Any:
    """Return narwhals, or None where it does not import: lists, arrays and pandas are read without it."""
    return importlib.import_module("narwhals") if importable("narwhals") else None


def _has_arrow() -> bool:
    return importable("pyarrow")


def read_numbers(column: Column, name: str) -> NDArray[np.float64]:
    """Return numbers, decimals and truth values in double precision, with NaN where a cell is missing.

    Raises
    ------
    TypeError
        If a cell is no number; the message has ``name``, the row and the cell.
    ValueError
        If a number is too large for double precision.
    """
    if not isinstance(column, (list, np.ndarray)):
        column = _numeric_array(column)
    if isinstance(column, list):
        column = _array_of_list(column)
    if isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind in "biuf":
        return column.astype(np.float64)
    return numbers_of_cells(column if isinstance(column, list) else column.tolist(), name)


def read_times(column: Column, name: str) -> NDArray[Any]:
    """Return numbers or datetime64, with NaN or NaT where a cell is missing; times with a zone are in UTC.

    Raises
    ------
    TypeError
        If a cell is neither number, date nor datetime; the message has ``name``, the row and the cell.
    ValueError
        If a number is too large for double precision.
    """
    if not isinstance(column, (list, np.ndarray)):
        nw = _narwhals()
        column = column.to_numpy() if column.dtype in (nw.Date, nw.Datetime) else _numeric_array(column)
    if isinstance(column, list):
        column = _array_of_list(column)
    if isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind in "iufM":
        return column
    return times_of_cells(column if isinstance(column, list) else column.tolist(), name)


def _numeric_array(series: Any) -> NDArray[Any] | list[Any]:
    """Return an array of a Series of numbers, NaN for null; a list of the cells of another."""
    nw = _narwhals()
    if series.dtype == nw.Decimal or (series.dtype.is_numeric() and series.null_count()):
        series = series.cast(nw.Float64)
    if series.dtype.is_numeric():
        array = series.to_numpy()
        if array.dtype.kind in "iuf":
            return array
    return series.to_list()


def _array_of_list(values: list[Any]) -> NDArray[Any] | list[Any]:
    """Return an array where NumPy finds numbers only, which is faster than to look at each cell."""
    try:
        array = np.array(values)
    except Exception:  # rows of different lengths, objects that refuse
        return values
    return array if array.ndim == 1 and array.dtype.kind in "biuf" else values


def factorize(column: Column) -> tuple[NDArray[np.int32], list[Hashable]]:
    """Give the distinct values of a column numbers, in the order in which they are first seen.

    Returns
    -------
    codes : int32 array
        New, with the number of each row's value, -1 where there is none (null, None, NaN).
    distinct : list of hashable
        The values as Python objects.

    Raises
    ------
    TypeError
        If a value is not hashable.
    """
    if isinstance(column, (list, np.ndarray)):
        return _factorize_array(column)
    import narwhals as nw

    native = column.to_native()
    if column.implementation.is_pandas() and (
        column.dtype == nw.Categorical or (column.dtype == nw.String and not _has_arrow())
    ):
        codes, distinct = importlib.import_module("pandas").factorize(native)
        return codes.astype(np.int32), distinct.tolist()
    is_text = column.dtype in (nw.String, nw.Categorical, nw.Enum)
    if is_text and _has_arrow():
        if column.implementation.is_polars():  # its text as it is, without a copy
            return _factorize_arrow(
                native.to_arrow(compat_level=importlib.import_module("polars").CompatLevel.newest())
            )
        if column.implementation.is_pyarrow():
            return _factorize_arrow(native)
        return _factorize_arrow(column.to_arrow())
    if is_text and column.implementation.is_polars():
        native = native.cast(str)
        distinct = native.drop_nulls().unique(maintain_order=True)
        codes = native.cast(importlib.import_module("polars").Enum(distinct)).to_physical().cast(int).fill_null(-1)
        return codes.to_numpy().astype(np.int32), distinct.to_list()
    if column.dtype.is_integer() and not column.null_count():
        return _factorize_array(column.to_numpy())
    if _has_arrow() and (column.dtype.is_integer() or column.dtype.is_float() or column.dtype == nw.Boolean):
        return _factorize_arrow(column.to_arrow())
    return _factorize_objects(column.to_list())


def _factorize_array(values: list[Any] | NDArray[Any]) -> tuple[NDArray[np.int32], list[Hashable]]:
    if _has_arrow() and not _has_times(values):
        pyarrow = importlib.import_module("pyarrow")
        try:
            array = pyarrow.array(values)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
            pass  # objects that Arrow has no type for
        else:
            types = pyarrow.types
            has_numbers = types.is_integer(array.type) or (
                isinstance(values, np.ndarray) and (types.is_floating(array.type) or types.is_boolean(array.type))
            )
            if has_numbers or _is_text(array.type):
                return _factorize_arrow(array)
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = values.astype("datetime64[us]")  # nanoseconds would become plain integers
    if isinstance(values, list) or values.dtype.kind not in "iu":
        return _factorize_objects(list(values) if isinstance(values, list) else values.tolist())
    distinct, first, codes = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place[codes], distinct[order].tolist()


def _has_times(values: list[Any] | NDArray[Any]) -> bool:
    """Whether NumPy's points in time are among objects: beside its numbers they end the process in pyarrow."""
    if isinstance(values, np.ndarray) and not values.dtype.hasobject:
        return False
    return any(issubclass(kind, (np.datetime64, np.timedelta64)) for kind in set(map(type, values)))


def _is_text(arrow_type: Any) -> bool:
    types = importlib.import_module("pyarrow").types
    return bool(types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type))


def _factorize_arrow(array: Any) -> tuple[NDArray[np.int32], list[Hashable]]:
    if _is_text(array.type):
        return _factorize_text(array)
    encoded = array.dictionary_encode()
    if hasattr(encoded, "combine_chunks"):  # the chunks have one dictionary in common
        encoded = encoded.unify_dictionaries().combine_chunks()
    codes = np.array(encoded.indices.cast("int32").fill_null(-1))  # a copy: Arrow's own is not to be written to
    if array.type != encoded.type:
        distinct = encoded.dictionary.to_pylist()
        if str(array.type) not in ("float", "double", "halffloat"):
            return codes, distinct
        numbers, distinct = _factorize_objects(distinct)  # NaN is missing, and 0.0 is -0.0
        return np.append(numbers, np.int32(-1))[codes], distinct
    # A column of categories may have some that no row has, some twice, and a null among them.
    numbers, categories = factorize(_as_series(encoded.dictionary))
    codes = np.append(numbers, np.int32(-1))[codes]
    first_seen = np.empty(len(categories), np.int32)
    n_seen = _core.tables.renumber(codes, np.full(len(categories), -1, np.int32), first_seen)
    return codes, [categories[code] for code in first_seen[:n_seen]]


def _factorize_text(array: Any) -> tuple[NDArray[np.int32], list[Hashable]]:
    # pyarrow's own dictionary_encode takes several times as long: benchmarks.tables measures both.
    codes = np.empty(len(array), np.int32)
    types = importlib.import_module("pyarrow").types
    numbers = _core.tables.TextNumbers()
    first = 0
    for chunk in getattr(array, "chunks", [array]):
        if not len(chunk):
            continue
        buffers: list[Any] = [None if buffer is None else np.frombuffer(buffer, np.uint8) for buffer in chunk.buffers()]
        validity, places, *text = buffers
        own = codes[first : first + len(chunk)]
        if types.is_string_view(chunk.type):
            numbers.add_views(places[16 * chunk.offset :], text, validity, chunk.offset, own)
        else:
            offsets = places.view(np.int64 if types.is_large_string(chunk.type) else np.int32)
            numbers.add(offsets[chunk.offset :], *text, validity, chunk.offset, own)
        first += len(chunk)
    return codes, numbers.distinct()


def _as_series(array: Any) -> Column:
    import narwhals as nw

    return nw.from_native(importlib.import_module("pyarrow").chunked_array([array]), series_only=True)


def _factorize_objects(values: list[Any]) -> tuple[NDArray[np.int32], list[Hashable]]:
    try:
        different = dict.fromkeys(values)
    except TypeError as error:
        row = next(row for row, value in enumerate(values) if not is_hashable(value))
        raise TypeError(
            f"row {row:,} holds {show(values[row])}, expected a plain value such as text or a number: {error}"
        ) from error
    for kind in set(map(type, different)):
        if hasattr(kind, "__array__") and not issubclass(kind, np.generic):
            row = next(row for row, value in enumerate(values) if type(value) is kind)
            raise TypeError(f"row {row:,} holds {show(values[row])} ({kind.__name__}), expected a plain value")
    numbers: dict[Any, int] = {value: -1 for value in different if is_missing(value)}
    distinct = [value for value in different if value not in numbers]
    numbers.update(zip(distinct, range(len(distinct)), strict=True))
    return np.fromiter(map(numbers.__getitem__, values), np.int32, len(values)), distinct


def match_ids(names: Sequence[Hashable], known: Mapping[Hashable, int]) -> NDArray[np.int32]:
    """Return the number of each name among the known ids, -1 where it is unknown.

    Where one side holds text and the other whole numbers or UUIDs, ids that no equal one is found for are compared by
    what their text spells. What two names, or two known ids, spell alike stays unknown: two ids never become one.
    """
    numbers = np.fromiter((known.get(name, -1) for name in names), np.int32, len(names))
    unknown = np.flatnonzero(numbers < 0)
    if not len(unknown) or len({str in set(map(type, ids)) for ids in (names, known)}) < 2:
        return numbers
    spelled = _once((_spelled(name), number) for name, number in known.items())
    asked = _once((_spelled(names[place]), place) for place in unknown.tolist())
    taken = set(numbers.tolist())
    for key, place in asked.items():
        number = spelled.get(key, -1)
        if number not in taken:
            numbers[place] = number
    return numbers


def _once(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """Return the pairs as a dict, without keys that come more than once and None."""
    found: dict[Any, int] = {None: -1}
    twice = {None}
    for key, value in pairs:
        if key in found:
            twice.add(key)
        found[key] = value
    return {key: value for key, value in found.items() if key not in twice}


def _spelled(name: Hashable) -> int | UUID | None:
    """Return the whole number or the UUID that an id is or spells, if any."""
    if isinstance(name, str):
        name = canonical_text(name)  # 7.0 is what pandas writes of 7 where a cell of the column is empty
        if name.isascii() and name.removeprefix("-").isdigit() and len(name) <= _MOST_DIGITS:
            return int(name)
        with contextlib.suppress(ValueError):
            return UUID(name) if len(name) == _UUID_LENGTH else None
        return None
    if isinstance(name, UUID):
        return name
    if isinstance(name, (int, float)) and not isinstance(name, bool) and name == name // 1:
        return int(name)
    return None


def name_categories(column: Column) -> tuple[NDArray[np.int32], list[str]]:
    """Give the categories of a column numbers: the values whose :func:`~._cells.canonical_text` is the same are one.

    In a column that holds a truth value 1 is ``True`` and 0 is ``False``.

    Returns
    -------
    codes : int32 array
        The number of each row's category, -1 where it is missing or empty text.
    names : list of str
        Of the categories, in the order in which they are first seen.

    Raises
    ------
    TypeError
        If a value is not hashable.
    """
    codes, distinct = factorize(column)
    if str(getattr(column, "dtype", "")).lower() in ("float32", "float16"):  # 0.1 has more digits as a float of Python
        distinct = [getattr(np, str(column.dtype).lower())(value) for value in distinct]
    texts = list(map(canonical_text, distinct))
    if "True" in texts or "False" in texts:
        texts = [_TRUTH_OF_NUMBER.get(text, text) for text in texts]
    names = {text: number for number, text in enumerate(dict.fromkeys(filter(None, texts)))}
    if len(names) == len(distinct):
        return codes, list(names)
    number_of = np.array([*(names.get(text, -1) for text in texts), -1], dtype=np.int32)  # -1 stays -1
    return number_of[codes], list(names)


def number_categories(names: Sequence[str]) -> dict[str, int]:
    """Return the place of each category in ``names`` by its canonical text, and by 1 or 0 that of a truth value."""
    numbers: dict[str, int] = {}
    for number, name in enumerate(names):
        numbers.setdefault(canonical_text(name), number)
    numbers.update((name, number) for number, name in enumerate(names) if canonical_text(name) == name)
    for digit, truth in _TRUTH_OF_NUMBER.items():
        for known, other in ((truth, digit), (digit, truth)):
            if known in numbers:
                numbers.setdefault(other, numbers[known])
    return numbers


class Pairs(NamedTuple):
    """The pairs of user and item of a table's rows, each once, sorted; see :func:`sort_pairs`."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    counts: NDArray[Any]
    """How many rows have each pair: int32 where rows are told, else float32."""
    rows: NDArray[np.int64] | None
    """The rows in the order of the pairs, those with the same pair in the order of the table."""
    copies: tuple[NDArray[np.int32], NDArray[np.int32]]
    """The users and items again, in other memory."""


def sort_pairs(
    users: NDArray[np.int32], items: NDArray[np.int32], shape: tuple[int, int], with_rows: bool = False
) -> Pairs:
    """Sort the rows of a table by user and item, in no more memory than the pairs take twice.

    New memory costs more time than sorting does, so the arrays given are written over, and belong to the result.

    Parameters
    ----------
    users, items : int32 array of shape (n_rows,)
        Below ``shape``, not below 0.
    with_rows : bool
        Tell where each row comes to stand.
    """
    keys = np.empty(len(users), np.int64)
    rows = np.empty(len(users), np.int64) if with_rows else None
    n_parts = max(1, min(os.cpu_count() or 1, _MOST_THREADS, len(users) // _ROWS_WORTH_A_THREAD))
    sorter = _core.tables.PairSort(users, items, *shape, n_parts, keys, rows)
    with ThreadPoolExecutor(n_parts) as pool:

        def on_all_parts(step: Callable[[int], None]) -> None:
            list(pool.map(step, range(n_parts)))

        on_all_parts(sorter.count)
        sorter.place()
        on_all_parts(sorter.deal)
        on_all_parts(sorter.sort)
        counts = np.empty(sorter.place_pairs(), np.int32 if with_rows else np.float32)
        on_all_parts(lambda part: sorter.write(part, users, items, counts))
        pairs = users[: len(counts)], items[: len(counts)]
        if 2 * len(counts) < len(users):  # much of the memory would lie idle
            pairs = pairs[0].copy(), pairs[1].copy()
            return Pairs(*pairs, counts, rows, (pairs[0].copy(), pairs[1].copy()))
        halves = keys.view(np.int32).reshape(2, -1)[:, : len(counts)]
        list(pool.map(np.copyto, halves, pairs))
    return Pairs(*pairs, counts, rows, (halves[0], halves[1]))


class CategoricalColumns:
    """Features of weight 1 named ``column:value``, one for each category that a column held when fitted.

    Parameters
    ----------
    columns : sequence of hashable
        Names of columns of the table that describes users or items.
    """

    def __init__(self, columns: Sequence[Hashable]) -> None:
        self._columns = list(columns)

    def fit(self, table: Any) -> CategoricalColumns:
        """Note the categories of each column, in the order in which they are first seen."""
        read = self._read(table)
        return self._know([f"{column}:{name}" for column in self._columns for name in read[column][1]])

    def _know(self, names: list[str]) -> CategoricalColumns:
        self._names = names
        self._numbers: dict[Hashable, dict[str, int]] = {}
        for column in self._columns:
            prefix = f"{column}:"
            places = [place for place, name in enumerate(names) if name.startswith(prefix)]
            own = number_categories([names[place][len(prefix) :] for place in places])
            self._numbers[column] = {name: places[number] for name, number in own.items()}
        return self

    def to_state(self) -> dict[str, Any]:
        """Return the columns and the names of the features, as what JSON has."""
        return {"columns": self._columns, "names": self._names}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CategoricalColumns:
        """Make the object whose :meth:`to_state` gave ``state``; ValueError if none did."""
        columns, names = state["columns"], state["names"]
        if not isinstance(columns, list) or not isinstance(names, list):
            raise ValueError(f"columns and names are {str([columns, names])[:200]}, expected lists")
        if len(set(map(str, names))) < len(names) or not all(isinstance(name, str) for name in names):
            raise ValueError("the names of features hold some more than once, or some that are no text")
        return cls(list(map(column_name, columns)))._know(names)

    def get_feature_names_out(self) -> NDArray[np.object_]:
        """Return the names of the features, in the order of the columns of the matrix."""
        return np.array(self._names, dtype=object)

    def transform(self, table: Any) -> sp.csr_matrix:
        """Return a float32 matrix of a row for each row of ``table``; a missing value gives no feature.

        Raises
        ------
        ValueError
            If a value was not there when fitted: it has no embedding.
        """
        read = self._read(table)
        cells = []
        for column, (codes, names) in read.items():
            known = self._numbers[column]
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ValueError(
                    f"{len(unknown):,} features are unknown, '{column}:{unknown[0]}' first: the dataset was made of a "
                    "table without them. Clear those cells, or make the dataset again with them"
                )
            rows = np.flatnonzero(codes >= 0)
            numbers = np.array([known[name] for name in names], dtype=np.int32)
            cells.append((rows, numbers[codes[rows]]))
        rows, features = (np.concatenate(parts) for parts in zip(*cells, strict=True))
        shape = (len(next(iter(read.values()))[0]), len(self._names))
        return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, features)), shape=shape)

    def _read(self, table: Any) -> dict[Hashable, tuple[NDArray[np.int32], list[str]]]:
        read = read_columns(table, "the table of features", self._columns)
        return {column: _of_column(column, values) for column, values in read.items()}


def _of_column(column: Hashable, values: Column) -> tuple[NDArray[np.int32], list[str]]:
    try:
        return name_categories(values)
    except TypeError as error:
        raise TypeError(f"column {column!r} holds values that cannot be categories: {error}") from error
