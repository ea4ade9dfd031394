"""Columns of people's tables as arrays, and ids in them as whole numbers."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import _core
from ._validation import importable

__all__ = ["CategoricalColumns", "Pairs", "factorize", "match_ids", "read_columns", "sort_pairs", "to_numpy"]

_MOST_THREADS = 8
_ROWS_WORTH_A_THREAD = 1 << 17
_MOST_DIGITS = 40  # of text that may spell a number: more digits cost time and are no id
_UUID_LENGTH = 36

# A column is a narwhals Series, an array or a list: a list's values are kept from becoming text beside text.
Column = Any


def read_columns(table: Any, name: str, columns: Iterable[str]) -> dict[str, Column]:
    """Return the columns named of a data frame that narwhals reads, or of a mapping from name to values.

    Raises
    ------
    TypeError
        If ``table`` is neither, or is lazy.
    ValueError
        If a column is missing or the columns differ in length.
    """
    columns = list(columns)
    if isinstance(table, Mapping):
        names = list(table)
        _check_names(columns, names, name)
        read = {column: _column(table[column], f"{name}[{column!r}]") for column in columns}
    else:
        import narwhals as nw

        try:
            frame = nw.from_native(table, eager_only=True)
        except TypeError as error:
            raise TypeError(
                f"{name} is {type(table).__name__}, expected a data frame in memory (pandas, polars, pyarrow or "
                "another that narwhals reads; collect a lazy one) or a dict from column name to values"
            ) from error
        names = list(frame.columns)
        _check_names(columns, names, name)
        read = {column: frame[column] for column in columns}
    lengths = {column: len(values) for column, values in read.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of {name} differ in length: {lengths}")
    return read


def _check_names(wanted: Sequence[str], present: list[Any], name: str) -> None:
    missing = [column for column in wanted if column not in present]
    if missing:
        raise ValueError(
            f"{name} has no column {missing[0]!r}; it has {', '.join(map(repr, present)) or 'none'}: "
            "say in the call which columns hold what"
        )


def _column(values: Any, name: str) -> Column:
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise ValueError(f"{name} has {values.ndim} dimensions, expected one")
        return values
    import narwhals as nw

    series = nw.from_native(values, series_only=True, pass_through=True)
    if isinstance(series, nw.Series):
        return series
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is {values!r}, expected an array, a list or a column of a data frame")
    return list(values)


def to_numpy(column: Column) -> NDArray[Any]:
    """Return the values of a column as an array."""
    return np.asarray(column) if isinstance(column, (list, np.ndarray)) else column.to_numpy()


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
    return _factorize_objects(column.to_list())


def _has_arrow() -> bool:
    return importable("pyarrow")


def _factorize_array(values: list[Any] | NDArray[Any]) -> tuple[NDArray[np.int32], list[Hashable]]:
    if _has_arrow():
        pyarrow = importlib.import_module("pyarrow")
        try:
            array = pyarrow.array(values)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
            pass  # objects that Arrow has no type for
        else:
            if pyarrow.types.is_integer(array.type) or _is_text(array.type):
                return _factorize_arrow(array)
    if isinstance(values, list) or values.dtype.kind not in "iu":
        return _factorize_objects(list(values) if isinstance(values, list) else values.tolist())
    distinct, first, codes = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place[codes], distinct[order].tolist()


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
        return codes, encoded.dictionary.to_pylist()
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
    numbers: dict[Any, int] = {value: -1 for value in dict.fromkeys(values) if value is None or value != value}
    distinct = [value for value in dict.fromkeys(values) if value not in numbers]
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
    """Features of weight 1 named ``column:value``, one for each value that a column held when fitted.

    Parameters
    ----------
    columns : sequence of str
        Names of columns of the table that describes users or items.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)

    def fit(self, table: Any) -> CategoricalColumns:
        """Note the values of each column, in the order in which they are first seen."""
        read = read_columns(table, "the table of features", self._columns)
        names = [f"{column}:{value}" for column in self._columns for value in factorize(read[column])[1]]
        self._numbers = dict(zip(names, range(len(names)), strict=True))
        return self

    def to_state(self) -> dict[str, Any]:
        """Return the columns and the names of the features, as what JSON has."""
        return {"columns": self._columns, "names": list(self._numbers)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CategoricalColumns:
        """Make the object whose :meth:`to_state` gave ``state``; ValueError if none did."""
        columns, names = state["columns"], state["names"]
        if not isinstance(columns, list) or not isinstance(names, list):
            raise ValueError(f"columns and names are {str([columns, names])[:200]}, expected lists")
        categories = cls(columns)
        categories._numbers = dict(zip(names, range(len(names)), strict=True))
        if len(categories._numbers) < len(names) or not all(isinstance(name, str) for name in names):
            raise ValueError("the names of features hold some more than once, or some that are no text")
        return categories

    def get_feature_names_out(self) -> NDArray[np.object_]:
        """Return the names of the features, in the order of the columns of the matrix."""
        return np.array(list(self._numbers), dtype=object)

    def transform(self, table: Any) -> sp.csr_matrix:
        """Return a float32 matrix of a row for each row of ``table``; a missing value gives no feature.

        Raises
        ------
        ValueError
            If a value was not there when fitted: it has no embedding.
        """
        read = read_columns(table, "the table of features", self._columns)
        cells = []
        for column in self._columns:
            codes, distinct = factorize(read[column])
            names = [f"{column}:{value}" for value in distinct]
            unknown = [name for name in names if name not in self._numbers]
            if unknown:
                raise ValueError(
                    f"{len(unknown):,} features are unknown, {unknown[0]!r} first: the dataset was made of a table "
                    "without them. Clear those cells, or make the dataset anew"
                )
            rows = np.flatnonzero(codes >= 0)
            numbers = np.array([self._numbers[name] for name in names], dtype=np.int32)
            cells.append((rows, numbers[codes[rows]]))
        rows, features = (np.concatenate(parts) for parts in zip(*cells, strict=True))
        shape = (len(next(iter(read.values()))), len(self._numbers))
        return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, features)), shape=shape)
