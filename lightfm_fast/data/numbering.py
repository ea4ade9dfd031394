"""Ids of a column as whole numbers, in the order in which they are first seen."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._arguments import importable
from .._cells import canonical_text, is_hashable, is_missing, show
from .columns import Column, array_or_list, cells_of_array
from .ids import check_ids_can_be_saved, plain_ids
from .missing import rows_with_ids

_T = TypeVar("_T")

_MOST_DIGITS = 40  # more digits stay text: no id has as many, and reading them takes time
_UUID_LENGTH = 36
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.0)?")
_EXACT = 1 << 53  # floats from here on stand for several whole numbers


def factorize(column: Column) -> tuple[NDArray[np.int32], list[Hashable]]:
    """Give the distinct values of a column numbers, in the order in which they are first seen.

    Returns
    -------
    codes : int32 array
        The number of each row's value, -1 where it is missing (null, None, NaN). The array is new.
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
        if column.implementation.is_polars():  # without a copy of the text
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
        return _factorize_array(array_or_list(column))
    is_wide = column.dtype in (nw.Int128, nw.UInt128)  # Arrow has no such type
    if (
        _has_arrow()
        and not is_wide
        and (column.dtype.is_integer() or column.dtype.is_float() or column.dtype == nw.Boolean)
    ):
        return _factorize_arrow(column.to_arrow())
    return _factorize_objects(column.to_list())


def _factorize_array(values: list[Any] | NDArray[Any]) -> tuple[NDArray[np.int32], list[Hashable]]:
    if _has_arrow() and not _has_times(values):
        pyarrow = importlib.import_module("pyarrow")
        try:
            array = pyarrow.array(values)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
            pass  # Arrow has no type for these objects
        else:
            types = pyarrow.types
            has_numbers = types.is_integer(array.type) or (
                isinstance(values, np.ndarray) and (types.is_floating(array.type) or types.is_boolean(array.type))
            )
            if has_numbers or _is_text(array.type):
                return _factorize_arrow(array)
    if isinstance(values, list) or values.dtype.kind not in "iu":
        return _factorize_objects(values if isinstance(values, list) else cells_of_array(values))
    distinct, first, codes = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place[codes], distinct[order].tolist()


def _has_times(values: list[Any] | NDArray[Any]) -> bool:
    """Whether a list or an array of objects holds datetime64, which crashes pyarrow beside NumPy's numbers."""
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
    codes = np.array(encoded.indices.cast("int32").fill_null(-1))  # copied, since Arrow's memory is read-only
    if array.type != encoded.type:
        distinct = encoded.dictionary.to_pylist()
        if str(array.type) not in ("float", "double", "halffloat"):
            return codes, distinct
        numbers, distinct = _factorize_objects(distinct)  # NaN is missing, and 0.0 is -0.0
        return np.append(numbers, np.int32(-1))[codes], distinct
    # A categorical column may list unused categories, duplicates and a null.
    numbers, categories = factorize(_as_series(encoded.dictionary))
    codes = np.append(numbers, np.int32(-1))[codes]
    return codes_of_rows(codes, categories, np.ones(len(codes), bool))


def _factorize_text(array: Any) -> tuple[NDArray[np.int32], list[Hashable]]:
    # Several times faster than pyarrow's dictionary_encode: benchmarks.tables measures both.
    codes = np.empty(len(array), np.int32)
    types = importlib.import_module("pyarrow").types
    numbers = _core.columns.TextNumbers()
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


def number_ids(
    column: Column, frame: str, name: Hashable, missing_ids: str
) -> tuple[NDArray[np.int32], list[Hashable]]:
    """Give the ids of a column numbers, as :func:`factorize` does, and refuse values that cannot be ids.

    ``missing_ids`` is as in ``rows_with_ids``. If it is "skip", floats that are all whole become whole numbers: pandas
    makes floats of a column that lacks some.

    Raises
    ------
    TypeError
        If a value is not hashable; messages name the column and the frame.
    ValueError
        If a value is missing, unless ``missing_ids`` is "skip", is of a type that cannot be saved, or is a float too
        large to become a whole number.
    """
    try:
        codes, distinct = factorize(column)
    except TypeError as error:
        raise TypeError(f"column {name!r} of {frame} holds values that cannot be ids: {error}") from error
    except UnicodeEncodeError as error:
        raise ValueError(f"column {name!r} of {frame} holds text that is no Unicode: {error}") from error
    rows_with_ids({name: codes < 0}, frame, missing_ids)
    if missing_ids == "skip" and set(map(type, distinct)) == {float}:
        whole = as_whole_numbers(np.array(distinct), f"column {name!r} of {frame}")
        distinct = distinct if whole is None else whole.tolist()
    try:
        check_ids_can_be_saved(distinct)
    except ValueError as error:
        raise ValueError(f"column {name!r} of {frame}: {error}") from error
    return codes, plain_ids(distinct)


def as_whole_numbers(ids: NDArray[np.floating[Any]], column: str) -> NDArray[np.int64] | None:
    """Return floats without NaN as whole numbers; None if one has a fraction or is infinite.

    Raises
    ------
    ValueError
        If one is so large that it may have been another whole number before.
    """
    if np.isinf(ids).any() or np.mod(ids, 1).any():
        return None
    largest = float(max(ids.max(initial=0), ids.min(initial=0), key=abs))
    if abs(largest) >= _EXACT:
        raise ValueError(
            f"{column} holds floats such as {largest:.0f}, too large to tell whole numbers apart: read the ids as "
            "text, or as whole numbers that may be missing, such as pandas' Int64"
        )
    return ids.astype(np.int64)


def codes_of_rows(
    codes: NDArray[np.int32], distinct: list[Hashable], chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], list[Hashable]]:
    """Return what :func:`factorize` would return for the chosen rows."""
    codes, first_seen = codes[chosen], np.empty(len(distinct), np.int32)
    n_seen = _core.columns.renumber(codes, np.full(len(distinct), -1, np.int32), first_seen)
    return codes, [distinct[code] for code in first_seen[:n_seen]]


def match_ids(names: Sequence[Hashable], known: Mapping[Hashable, int]) -> NDArray[np.int32]:
    """Return the number of each name among the known ids, or -1 for an unknown name.

    Text without an equal id is matched by the whole number or UUID that it spells, and these by the text that spells
    them. Else the text 7.0 is matched with 7, since pandas writes whole numbers as floats where some are missing. Names
    or known ids that spell the same stay unknown, so that two ids never become one.
    """
    numbers = np.fromiter((known.get(name, -1) for name in names), np.int32, len(names))
    unknown = np.flatnonzero(numbers < 0).tolist()
    if not unknown:
        return numbers
    are_text = {kind is str for kind in set(map(type, known))}
    asked = dict.fromkeys(names[place] for place in unknown)
    found: dict[Hashable, int] = {}
    for is_text in (True, False):
        alike = [name for name in asked if isinstance(name, str) == is_text]
        if alike and (not is_text) in are_text:
            spelled = _once((_spelled(name), at) for name, at in known.items() if isinstance(name, str) != is_text)
            for key, name in _once((_spelled(name), name) for name in alike).items():
                found[name] = spelled.get(key, -1)
        if is_text and True in are_text:
            for name in alike:
                other = _as_float_or_whole(name)
                if other is not None and found.get(name, -1) < 0:
                    found[name] = known.get(other, -1)
    taken = set(numbers.tolist())
    for place in unknown:
        number = found.get(names[place], -1)
        if number not in taken:
            numbers[place] = number
    return numbers


def _as_float_or_whole(name: Hashable) -> str | None:
    """Return 7 for the text 7.0 and 7.0 for the text 7; None for anything else."""
    whole = _WHOLE.fullmatch(name) if isinstance(name, str) else None
    return None if whole is None else whole[1] if whole[2] else f"{name}.0"


def in_type_of_known(names: list[Hashable], known: Mapping[Hashable, int]) -> list[Hashable]:
    """Return new names in the type of the known ids, if they have one: 7 or "7", whichever kind the known ids are.

    A name that spells no number or UUID, or the same as another name or a known id, stays as it is.
    """
    kinds = set(map(type, known)) if names else set()
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind not in (str, int, float, UUID) or set(map(type, names)) == {kind}:
        return names
    turned = [_turned(name, kind) for name in names]
    counts = Counter(turned)
    return [name if counts[other] > 1 or other in known else other for name, other in zip(names, turned, strict=True)]


def _turned(name: Hashable, kind: type) -> Hashable:
    """Return the number or UUID that a name is or spells as ``kind``, or the name where that loses something."""
    spelled = None if type(name) is kind else _spelled(name)
    if spelled is None:
        return name
    if kind is str:
        return str(spelled)
    if kind is UUID or isinstance(spelled, UUID):
        return spelled if isinstance(spelled, kind) else name
    return kind(spelled) if kind is int or abs(spelled) < _EXACT else name


def _once(pairs: Iterable[tuple[Any, _T]]) -> dict[Any, _T]:
    """Return a dict of the keys that occur once, without None."""
    found: dict[Any, _T] = {}
    twice = {None}
    for key, value in pairs:
        if key in found:
            twice.add(key)
        found[key] = value
    return {key: value for key, value in found.items() if key not in twice}


def _spelled(name: Hashable) -> int | UUID | None:
    """Return the whole number or UUID that an id is or spells, or None."""
    if isinstance(name, str):
        name = canonical_text(name)  # pandas writes 7 as 7.0 if the column has an empty cell
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


def _has_arrow() -> bool:
    return importable("pyarrow")
