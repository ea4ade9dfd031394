"""Categories of a column: equal values are one category, whatever type or file format holds them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._cells import canonical_text
from .columns import Column
from .frames import check_column, column_name, read_columns
from .numbering import factorize

_TRUTH_OF_NUMBER = {"1": "True", "0": "False"}


def name_categories(column: Column) -> tuple[NDArray[np.int32], list[str]]:
    """Give numbers to the categories of a column, which are values of one :func:`~.._cells.canonical_text`.

    In a column with a truth value, 1 is ``True`` and 0 is ``False``.

    Returns
    -------
    codes : int32 array
        The number of each row's category, -1 where it is missing or empty text.
    names : list of str
        The categories, in the order in which they are first seen.

    Raises
    ------
    TypeError
        If a value is not hashable.
    """
    codes, distinct = factorize(column)
    if str(getattr(column, "dtype", "")).lower() in ("float32", "float16"):  # as a Python float 0.1 has more digits
        distinct = [getattr(np, str(column.dtype).lower())(value) for value in distinct]
    texts = list(map(canonical_text, distinct))
    if "True" in texts or "False" in texts:
        texts = [_TRUTH_OF_NUMBER.get(text, text) for text in texts]
    names = {text: number for number, text in enumerate(dict.fromkeys(filter(None, texts)))}
    if len(names) == len(distinct):
        return codes, list(names)
    number_of = np.array([*(names.get(text, -1) for text in texts), -1], dtype=np.int32)  # codes of -1 stay -1
    return number_of[codes], list(names)


def number_categories(names: Sequence[str]) -> dict[str, int]:
    """Return the position of each category by its canonical text; truth values are found by 1 and 0 as well."""
    numbers: dict[str, int] = {}
    for number, name in enumerate(names):
        numbers.setdefault(canonical_text(name), number)
    numbers.update((name, number) for number, name in enumerate(names) if canonical_text(name) == name)
    for digit, truth in _TRUTH_OF_NUMBER.items():
        for known, other in ((truth, digit), (digit, truth)):
            if known in numbers:
                numbers.setdefault(other, numbers[known])
    return numbers


class CategoricalColumns:
    """Features of weight 1 named ``column:value``, one for each category that a column held when fitted.

    Parameters
    ----------
    columns : sequence of hashable
        Names of columns of a frame that lists users or items.
    """

    def __init__(self, columns: Sequence[Hashable]) -> None:
        self.columns = [check_column(column, "a column of features") for column in columns]

    def fit(self, frame: Any) -> CategoricalColumns:
        """Learn the categories of each column, in the order in which they are first seen."""
        read = self._read(frame)
        return self._know([f"{column}:{name}" for column in self.columns for name in read[column][1]])

    def _know(self, names: list[str]) -> CategoricalColumns:
        self._names = names
        self._numbers: dict[Hashable, dict[str, int]] = {}
        is_free = [True] * len(names)
        for column in sorted(self.columns, key=lambda column: -len(str(column))):  # of "a" and "a:b" first "a:b"
            prefix = f"{column}:"
            places = [place for place, name in enumerate(names) if is_free[place] and name.startswith(prefix)]
            for place in places:
                is_free[place] = False
            own = number_categories([names[place][len(prefix) :] for place in places])
            self._numbers[column] = {name: places[number] for name, number in own.items()}
        return self

    def to_state(self) -> dict[str, Any]:
        """Return the columns and the names of the features, in types that JSON has."""
        return {"columns": self.columns, "names": self._names}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> CategoricalColumns:
        """Make the object that :meth:`to_state` describes; ValueError if ``state`` is invalid."""
        columns, names = state["columns"], state["names"]
        if not isinstance(columns, list) or not isinstance(names, list):
            raise ValueError(f"columns and names are {str([columns, names])[:200]}, expected lists")
        if len(set(map(str, names))) < len(names) or not all(isinstance(name, str) for name in names):
            raise ValueError("the names of features hold some more than once, or some that are no text")
        return cls(list(map(column_name, columns)))._know(names)

    def get_feature_names_out(self) -> NDArray[np.object_]:
        """Return the names of the features, in the order of the columns of the matrix."""
        return np.array(self._names, dtype=object)

    def transform(self, frame: Any) -> sp.csr_matrix:
        """Return a float32 matrix with a row for each row of ``frame``; a missing value has no feature.

        Raises
        ------
        ValueError
            If a value was absent in fitting: it has no embedding.
        """
        read = self._read(frame)
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

    def _read(self, frame: Any) -> dict[Hashable, tuple[NDArray[np.int32], list[str]]]:
        read = read_columns(frame, "the table of features", self.columns)
        return {column: _of_column(column, values) for column, values in read.items()}


def _of_column(column: Hashable, values: Column) -> tuple[NDArray[np.int32], list[str]]:
    try:
        return name_categories(values)
    except TypeError as error:
        raise TypeError(f"column {column!r} holds values that cannot be categories: {error}") from error
