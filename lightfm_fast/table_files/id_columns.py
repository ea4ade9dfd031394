"""Ids of users and items as columns of Arrow."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray


def id_type(arrow: Any, names: NDArray[Any], side: str) -> Any:
    """Return pyarrow's type of a column of ids: of row numbers, or of an object array of ids of one type.

    Raises
    ------
    ValueError
        If ids are of several types, or of a type that a column of Parquet does not have.
    """
    if names.dtype != object:
        return arrow.int64()
    of_python = {str: arrow.string(), UUID: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    of_python |= {bool: arrow.bool_(), bytes: arrow.binary()}
    types = sorted({kind.__name__ for kind in map(type, names)})
    if not types:
        return arrow.string()
    kind = of_python.get(type(names[0]))
    if len(types) > 1 or kind is None:
        raise ValueError(
            f"the ids of {side} are of type {' and '.join(types)}, and a column of Parquet has one of "
            f"{', '.join(known.__name__ for known in of_python)}: train with ids of one type, or write row numbers, "
            "without dataset"
        )
    return kind


def id_array(arrow: Any, names: NDArray[Any], kind: Any) -> Any:
    """Return ids as an array of pyarrow, of the type that :func:`id_type` returns; UUIDs become text.

    Raises
    ------
    ValueError
        If a whole number has more than 64 bits, or text is not Unicode.
    """
    if names.dtype == object and len(names) and isinstance(names[0], UUID):
        names = np.array([str(name) for name in names], dtype=object)
    try:
        return arrow.array(names, kind)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"ids cannot be written: {error}") from error
