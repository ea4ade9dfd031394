"""Values that can be ids of users, items or features, and their layout in saved arrays."""

from __future__ import annotations

import contextlib
import json
import unicodedata
from collections.abc import Callable, Collection, Hashable, Iterable
from difflib import get_close_matches
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LONGEST_COMPARED",
    "MOST_COMPARED",
    "check_ids_can_be_saved",
    "closest_id",
    "pack_ids",
    "plain_ids",
    "read_id",
    "unpack_ids",
]

# Ids among which a similar one is looked for, and their characters: a mistyped id must not cost a server much time.
MOST_COMPARED = 5000
LONGEST_COMPARED = 100

Tensors = dict[str, NDArray[Any]]
_NUMPY = (np.str_, np.bytes_, np.bool_, *(np.dtype(code).type for code in "bhilqBHILQ"))
_ALWAYS_SAVED = {str, UUID, bool, bytes, type(None), *_NUMPY}  # types of which any value can be saved
_DEEPEST = 64  # nesting of tuples
_MOST_BITS = 14_000  # of a whole number: Python reads and writes at most 4,300 digits


def closest_id(name: Hashable, known: Collection[Hashable]) -> str | None:
    """Return the repr of the known id that is most like a text that is none, if some id is and they are not too many.

    If the two look the same, as the two Unicode forms of an accented letter do, both are shown in ASCII.
    """
    if not isinstance(name, str) or len(name) > LONGEST_COMPARED or len(known) > MOST_COMPARED:
        return None
    others = [other for other in known if isinstance(other, str) and len(other) <= LONGEST_COMPARED]
    form = unicodedata.normalize("NFKC", name)
    for other in others:
        if unicodedata.normalize("NFKC", other) == form:
            return f"{other!a}, another Unicode form of {name!a}"
    return next(map(repr, get_close_matches(name, others, n=1)), None)


def read_id(text: str, known: Collection[Hashable]) -> Hashable:
    """Return the known id that a text is, or else spells as a number or a UUID; otherwise the text."""
    kinds: tuple[Callable[[str], Hashable], ...] = (str, int, float, UUID)
    for kind in kinds:
        with contextlib.suppress(ValueError):
            if (name := kind(text)) in known:
                return name
    return text


def check_ids_can_be_saved(ids: Collection[Any], depth: int = 0) -> None:
    """Raise ValueError if an id cannot be saved, before training rather than in :func:`pack_ids` after it."""
    types = set(map(type, ids))
    if tuple in types:  # checking the parts of all tuples at once is faster than one by one
        check_ids_can_be_saved([part for value in ids if type(value) is tuple for part in value], _deeper(depth))
        ids = [value for value in ids if type(value) is not tuple]
        types.remove(tuple)
    if types <= _ALWAYS_SAVED or (types == {int} and _fit_in_64_bits(ids)):
        return
    for value in ids:
        if type(value) not in _ALWAYS_SAVED:
            _to_json(value)


def plain_ids(ids: Collection[Any]) -> list[Any]:
    """Return ids with Python's values for NumPy's scalars, of which frames and files make other columns."""
    if not any(kind is tuple or issubclass(kind, np.generic) for kind in set(map(type, ids))):
        return list(ids)
    return list(map(_plain, ids))


def _plain(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(map(_plain, value))
    # Of a time in nanoseconds, item makes a whole number.
    is_number = isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64))
    return value.item() if is_number else value


def pack_ids(ids: Iterable[Any]) -> tuple[str, Tensors]:
    """Lay ids out in arrays: integers as int64, UUIDs as 16 bytes, strings end to end, others as JSON.

    Raises
    ------
    ValueError
        If an id is of a type that cannot be saved.
    """
    ids = plain_ids(list(ids))
    types = set(map(type, ids))
    if types == {int} and _fit_in_64_bits(ids):
        return "int", {"values": np.array(ids, dtype=np.int64)}
    if types == {UUID}:
        return "uuid", {"values": np.frombuffer(b"".join(i.bytes for i in ids), np.uint8).reshape(-1, 16)}
    if types == {str}:
        return "str", _pack_texts(ids)
    return "json", _pack_texts([json.dumps(_to_json(value)) for value in ids])


def unpack_ids(kind: str, parts: Tensors) -> list[Any]:
    """Undo :func:`pack_ids`.

    Raises
    ------
    ValueError
        If :func:`pack_ids` makes no such arrays.
    """
    if kind == "int":
        return _array(parts, "values", np.int64, 1).tolist()
    if kind == "uuid":
        content = _array(parts, "values", np.uint8, 2).tobytes()
        if parts["values"].shape[1] != 16:
            raise ValueError(f"UUIDs have {parts['values'].shape[1]} bytes, expected 16")
        return [UUID(bytes=content[first : first + 16]) for first in range(0, len(content), 16)]
    if kind == "str":
        return _unpack_texts(parts)
    if kind == "json":
        return [_from_json(json.loads(text)) for text in _unpack_texts(parts)]
    raise ValueError(f"{kind!r} is no kind of ids")


def _fit_in_64_bits(numbers: Collection[int]) -> bool:
    return min(numbers) >= -(1 << 63) and max(numbers) < 1 << 63


def _array(parts: Tensors, name: str, dtype: type, ndim: int) -> NDArray[Any]:
    array = parts[name]
    if array.dtype != dtype or array.ndim != ndim:
        raise ValueError(f"the {name} of ids are {array.dtype} of shape {array.shape}, expected {dtype.__name__}")
    return array


def _pack_texts(texts: list[str]) -> Tensors:
    text = "".join(texts).encode("utf-8", "surrogatepass")
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return {"lengths": lengths, "text": np.frombuffer(text, np.uint8)}


def _unpack_texts(parts: Tensors) -> list[str]:
    text = _array(parts, "text", np.uint8, 1).tobytes().decode("utf-8", "surrogatepass")
    lengths = _array(parts, "lengths", np.int64, 1)
    fits = not len(lengths) or 0 <= lengths.min() <= lengths.max() <= len(text)  # so that the sum does not overflow
    ends = np.cumsum(lengths)
    if not fits or (ends[-1] if len(ends) else 0) != len(text):
        raise ValueError("the lengths of the ids do not add up to their text")
    return [text[first:last] for first, last in zip([0, *ends.tolist()], ends.tolist(), strict=False)]


def _to_json(value: Any, depth: int = 0) -> Any:
    """Return an id in types that JSON has; an object whose one key is the type stands for a tuple, UUID or bytes."""
    value = value if type(value) is tuple else _plain(value)
    if value is None or type(value) in (str, bool):
        return value
    if type(value) is int and value.bit_length() <= _MOST_BITS:
        return value
    if type(value) is float and value == value:
        return value
    if type(value) is tuple:
        return {"tuple": [_to_json(part, _deeper(depth)) for part in value]}
    if type(value) is UUID:
        return {"uuid": value.hex}
    if type(value) is bytes:
        return {"bytes": value.hex()}
    if type(value) is float:
        raise ValueError("the id NaN cannot be saved, since it equals no id that is looked up: leave it out")
    if type(value) is int:
        raise ValueError(f"an id of {value.bit_length():,} bits cannot be saved, expected at most {_MOST_BITS:,}")
    raise ValueError(
        f"the id {value!r} is of type {type(value).__name__}, which cannot be saved: strings, integers, UUIDs, floats, "
        "booleans, bytes, None and tuples of these can. Turn such ids into text by str()"
    )


def _deeper(depth: int) -> int:
    if depth == _DEEPEST:
        raise ValueError(f"an id of tuples nested deeper than {_DEEPEST} cannot be saved")
    return depth + 1


def _from_json(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(_from_json(part, _deeper(depth)) for part in content)
    if kind == "uuid":
        return UUID(hex=content)
    if kind == "bytes":
        return bytes.fromhex(content)
    raise ValueError(f"{kind!r} is no type of id")
