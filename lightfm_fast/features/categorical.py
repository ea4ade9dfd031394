"""Encoders of categories: one for each row, or several."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arguments import check_choice, check_count, check_flag, counted, shorten
from .._cells import is_hashable, is_missing, show
from ..data.categories import name_categories, number_categories
from ..data.columns import as_column, cells_of_array, read_numbers, read_objects
from ..data.numbering import factorize
from .encoder import OTHER, Encoded, Encoder, Entries, are_names


class Categorical(Encoder):
    """One column of weight 1 for each value: a town, a brand, a postcode.

    Equal values are one category, whatever type or file holds them. 1991, 1991.0, the text "1991.0" and a decimal are
    ``1991``. True and the text "true" are ``True``, and so is 1 in a column with truth values. A date, the timestamp
    of its midnight and either as ISO text are ``2020-01-31``. The text "1" and the number 1 are one category, but 007
    stays text. Columns are in the order of their names. A missing value or empty text has no weight.

    Parameters
    ----------
    min_count : int, default 1
        Values in fewer rows than this share the column ``other``, as does a value named "other".
    unseen : {"ignore", "other"}
        Values that were absent in fitting get no weight and an :class:`UnseenCategoryWarning`, or the column
        ``other``, which is trained only if rare values share it.
    normalize : {None, "l1", "l2"}
        Scale each row to a sum of absolute weights, or of squares, of 1.

    Examples
    --------
    >>> town = Categorical(min_count=2, unseen="other").fit(["Rome", "Rome", "Oslo"])
    >>> town.get_feature_names_out().tolist()
    ['Rome', 'other']
    >>> town.transform(["Rome", "Bern", None]).toarray().tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    >>> Categorical().fit([1991, 1992]).transform(["1992", 1991.0]).toarray().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    _parameter_names: tuple[str, ...] = ("min_count", "unseen", "normalize")
    _fitted_names = ("categories_", "pooled_", "has_other_")

    categories_: list[str]
    pooled_: list[str]
    has_other_: bool

    def __init__(self, min_count: int = 1, unseen: str = "ignore", normalize: str | None = None) -> None:
        super().__init__(normalize)
        check_count(min_count, "min_count")
        check_choice(unseen, "unseen", ("ignore", OTHER))
        self.min_count = min_count
        self.unseen = unseen

    def _occurrences(self, values: Any) -> _Occurrences:
        try:
            codes, names = name_categories(as_column(values, "the column"))
        except TypeError as error:
            raise TypeError(f"{error}; MultiCategorical takes lists") from error
        rows = np.flatnonzero(codes >= 0)
        return _Occurrences(len(codes), rows, codes[rows], np.ones(len(rows)), names)

    def _learn(self, values: Any) -> Sequence[Any]:
        n_rows, rows, numbers, _, names = self._occurrences(values)
        if not names:
            raise ValueError(f"all {n_rows:,} values are missing: there is nothing to learn from")
        counts = self._count_rows(rows, numbers, len(names))
        frequent = sorted(name for name, count in zip(names, counts, strict=True) if count >= self.min_count)
        rare = sorted(set(names).difference(frequent))
        has_other = bool(rare) or self.unseen == OTHER
        if has_other and OTHER in frequent:
            frequent.remove(OTHER)
            rare.append(OTHER)
        return frequent, rare if self.unseen == "ignore" else [], has_other

    def _can_have_learned(self) -> bool:
        if not (are_names(self.categories_) and are_names(self.pooled_) and type(self.has_other_) is bool):
            return False
        needs_other = bool(self.pooled_) or self.unseen == OTHER
        is_other_named = OTHER in self.categories_ and self.has_other_
        is_disjoint = set(self.categories_).isdisjoint(self.pooled_)
        return is_disjoint and not is_other_named and self.has_other_ >= needs_other

    def _count_rows(self, rows: NDArray[Any], numbers: NDArray[Any], n_names: int) -> NDArray[Any]:
        return np.bincount(numbers, minlength=n_names)

    def _names(self) -> list[str]:
        return [*self.categories_, *([OTHER] if self.has_other_ else [])]

    def _column_of(self) -> dict[str, int]:
        """Return the column of each known category; it is kept, since a service encodes one row a request."""
        known = getattr(self, "_known", None)
        if known is None or known[0] is not self.categories_ or known[1] is not self.pooled_:
            columns = number_categories([*self.categories_, *self.pooled_])
            other = len(self.categories_)
            known = self.categories_, self.pooled_, {name: min(column, other) for name, column in columns.items()}
            self._known = known
        return known[2]

    def _entries(self, values: Any) -> Encoded:
        n_rows, rows, numbers, weights, names = self._occurrences(values)
        default = len(self.categories_) if self.unseen == OTHER else -1
        column_of = self._column_of()
        column_of_name = np.array([column_of.get(name, default) for name in names], dtype=np.int64)
        columns = column_of_name[numbers]
        known = columns >= 0
        note = ""
        if not known.all():
            first = int(known.argmin())
            n_unseen, n_different = np.count_nonzero(~known), np.count_nonzero(column_of_name < 0)
            note = f"{n_unseen:,} of {counted(len(known), 'value')} {'was' if n_unseen == 1 else 'were'} not seen in "
            note += f"fitting: {show(names[numbers[first]])} in row {rows[first]:,}"
            note += f" first, {n_different:,} different" if n_unseen > 1 else ""
            rows, columns, weights = rows[known], columns[known], weights[known]
        return Encoded(n_rows, self._merge(rows, columns, weights), note)

    def _merge(self, rows: NDArray[Any], columns: NDArray[Any], weights: NDArray[Any]) -> Entries:
        return rows, columns, weights


class _Occurrences(NamedTuple):
    """The categories in the rows of a column."""

    n_rows: int
    rows: NDArray[Any]
    """The row of each occurrence, in order."""
    numbers: NDArray[Any]
    """The index of each occurrence's name in ``names``."""
    weights: NDArray[Any]
    names: list[str]


class MultiCategorical(Categorical):
    """Several categories for each row, each of weight 1: genres, tags, languages.

    A value is a list, a tuple, a set or an array of categories, whose duplicates count once. It may be a dict or a
    struct from category to weight, text that ``separator`` divides, or with ``json`` a JSON list. A missing or empty
    value and a null in a struct have no weight. :func:`gather_tags` makes such values from a frame with a row for each
    tag.

    Parameters
    ----------
    separator : str, optional
        Divides text into categories. Text that is a list in JSON's or Python's notation is refused, as it would be
        divided into ``["a"`` and ``"b"]``.
    min_count, unseen, normalize
        As in :class:`Categorical`.
    json : bool, default False
        Read text as a JSON list of categories, or as a JSON object from category to weight.

    Examples
    --------
    >>> genres = MultiCategorical("|", normalize="l1").fit(["drama|war", "drama|western"])
    >>> genres.transform(["war", "war|drama|war"]).toarray().tolist()
    [[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    >>> MultiCategorical(json=True).fit_transform(['["a", "b"]', '{"b": 0.5}']).toarray().tolist()
    [[1.0, 1.0], [0.0, 0.5]]
    """

    _parameter_names = ("separator", *Categorical._parameter_names, "json")

    def __init__(
        self,
        separator: str | None = None,
        min_count: int = 1,
        unseen: str = "ignore",
        normalize: str | None = None,
        json: bool = False,
    ) -> None:
        super().__init__(min_count, unseen, normalize)
        if separator is not None and not (isinstance(separator, str) and separator):
            raise ValueError(f"separator is {shorten(separator)}, expected None or text that is not empty")
        if check_flag(json, "json") and separator is not None:
            raise ValueError("separator and json say how to read text in two ways: give one")
        self.separator = separator
        self.json = json

    def _occurrences(self, values: Any) -> _Occurrences:
        cells = [self._divide(value, row) for row, value in enumerate(_cells_of(values))]
        rows = np.repeat(np.arange(len(cells)), np.fromiter(map(len, cells), np.int64, len(cells)))
        weights = np.ones(len(rows))
        if any(isinstance(cell, dict) for cell in cells):
            weights = np.concatenate(
                [
                    _weights(cell, row) if isinstance(cell, dict) else np.ones(len(cell))
                    for row, cell in enumerate(cells)
                ]
            )
        categories = [category for cell in cells for category in cell]
        for place, category in enumerate(categories if tuple in set(map(type, categories)) else ()):
            if isinstance(category, tuple):
                raise TypeError(
                    f"row {rows[place]:,} holds {show(category)} as a category, expected text, numbers or the like: "
                    "make a dict of pairs of category and weight"
                )
        try:
            codes, names = name_categories(categories)
        except TypeError as error:
            place = next((place for place, cell in enumerate(categories) if not is_hashable(cell)), 0)
            raise TypeError(
                f"row {rows[place]:,} holds {show(categories[place])} as a category, expected text, numbers or the like"
            ) from error
        present = codes >= 0
        return _Occurrences(len(cells), rows[present], codes[present], weights[present], names)

    def _count_rows(self, rows: NDArray[Any], numbers: NDArray[Any], n_names: int) -> NDArray[Any]:
        places, _ = _largest_of_each(rows * n_names + numbers, np.ones(len(rows)))
        return np.bincount(places % n_names, minlength=n_names)  # duplicates in a row count once

    def _merge(self, rows: NDArray[Any], columns: NDArray[Any], weights: NDArray[Any]) -> Entries:
        width = len(self.categories_) + 1
        places, weights = _largest_of_each(rows * width + columns, weights)
        return (*np.divmod(places, width), weights)

    def _divide(self, value: Any, row: int) -> Collection[Any]:
        if isinstance(value, str):
            return self._divide_text(value, row)
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            return value
        if isinstance(value, np.ndarray) and value.ndim == 1:
            return cells_of_array(value)
        if is_missing(value):
            return ()
        raise TypeError(
            f"{show(value)} in row {row:,} is of type {type(value).__name__}, expected a list of categories, or text "
            "and separator="
        )

    def _divide_text(self, text: str, row: int) -> Collection[Any]:
        stripped = text.strip()
        if not stripped:
            return ()
        if self.json:
            try:
                found = json.loads(stripped)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{show(text)} in row {row:,} is no JSON list: {error}") from error
            if found is not None and not isinstance(found, (list, dict)):
                raise ValueError(f"{show(text)} in row {row:,} is no JSON list: it is a {type(found).__name__}")
            return found or ()
        if self.separator is None:
            raise TypeError(
                f"{show(text)} in row {row:,} is text: say separator= to divide it, or json=True if it is a JSON list"
            )
        if stripped[0] == "[" and stripped[-1] == "]" and _is_written_list(stripped):
            raise ValueError(
                f"{show(text)} in row {row:,} is a list written out, which separator={self.separator!r} would tear "
                "apart: read JSON lists with json=True, and make lists of others"
            )
        return [part.strip() for part in stripped.split(self.separator) if part.strip()]


def _cells_of(values: Any) -> list[Any]:
    """Return the cells of a column. A struct has each field in each row, and becomes a dict without those of null."""
    column = as_column(values, "the column")
    cells = read_objects(column)
    if not str(getattr(column, "dtype", "")).startswith("Struct"):
        return cells
    return [
        {name: weight for name, weight in cell.items() if weight is not None} if isinstance(cell, dict) else cell
        for cell in cells
    ]


def _largest_of_each(places: NDArray[Any], weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the distinct places, sorted, and the largest weight of each."""
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    return places[order[starts]], np.maximum.reduceat(weights[order], starts) if len(starts) else weights


def _is_written_list(text: str) -> bool:
    """Return whether text in brackets is a list of JSON or of Python, rather than a category such as [live]."""
    if text[1:].lstrip()[0] in "\"'":
        return True
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _weights(cell: Mapping[Any, Any], row: int) -> NDArray[np.float64]:
    weights = read_numbers(list(cell.values()), f"the categories of row {row:,}: a weight")
    if np.isnan(weights).any():
        raise ValueError(f"{show(cell)} in row {row:,} has a missing weight: leave that category out")
    return weights


class IdCategories(Categorical):
    """Ids as categories: distinct ids stay distinct, and new ids give no warning, since newcomers have them."""

    def _occurrences(self, values: Any) -> _Occurrences:
        codes, distinct = factorize(values)
        names: dict[str, int] = {}
        numbers = np.array([names.setdefault(_id_text(value), len(names)) for value in distinct], dtype=np.int64)
        return _Occurrences(len(codes), np.arange(len(codes)), numbers[codes], np.ones(len(codes)), list(names))

    def _column_of(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.categories_)}

    def _entries(self, values: Any) -> Encoded:
        return super()._entries(values)._replace(unseen="")


def _id_text(value: Any) -> str:
    """Return the name of an id: 7.0 is 7, since a column with missing values holds whole numbers as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
