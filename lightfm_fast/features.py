"""Columns of people's tables -> named feature weights: an encoder for each kind of column, a spec for a table."""

from __future__ import annotations

import copy
import json
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._cells import is_hashable, is_missing, show
from ._tables import (
    as_column,
    column_name,
    factorize,
    match_ids,
    name_categories,
    number_categories,
    read_columns,
    read_numbers,
)
from ._validation import (
    check_choice,
    check_count,
    check_finite_numbers,
    check_identity,
    check_positive,
    import_optional,
)

__all__ = [
    "FeatureSpec",
    "Categorical",
    "MultiCategorical",
    "Standardized",
    "QuantileBins",
    "PiecewiseLinear",
    "Periodic",
    "Text",
    "Dense",
    "UnseenCategoryWarning",
    "gather_tags",
]

OTHER = "other"
MISSING = "missing"

# A file of a few bytes may ask for so many columns; those that it lists are bounded by its length.
MOST_BINS = 1 << 16
MOST_HASHES = 1 << 20
DEFAULT_HASHES = 1 << 12
MOST_UNLISTED = 1 << 22
LONGEST_NGRAM = 32

_Encoder = TypeVar("_Encoder", bound="Encoder")
# The rows, columns and weights of the entries of a matrix.
_Entries = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


class UnseenCategoryWarning(UserWarning):
    """Categories were not there when an encoder was fitted, and their rows have no weight for them.

    One call gives one warning, which says how many rows and which first. Where such categories are expected,
    ``warnings.simplefilter("ignore", UnseenCategoryWarning)`` silences it, and ``unseen="other"`` gives them a weight.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; correct them, or fit again with them, or take unseen='other'")


class _Encoded(NamedTuple):
    """The entries of a matrix; those of the same place are added up."""

    n_rows: int
    entries: _Entries
    unseen: str = ""
    """What was not there in fitting, for a warning."""


class Encoder:
    """Base of all encoders: one column of a table in, a float32 CSR matrix of a row for each value out.

    Values are a list, an array, or a column of a data frame that narwhals reads. Missing are None, NaN and whatever
    the data frame's library takes for missing.
    """

    _parameter_names: tuple[str, ...] = ()
    _fitted_names: tuple[str, ...] = ()  # attributes of what JSON has

    def __init__(self, normalize: str | None) -> None:
        check_choice(normalize, "normalize", (None, "l1", "l2"))
        self.normalize = normalize

    def fit(self: _Encoder, values: Any) -> _Encoder:
        """Learn from the values what columns there are; a call that raises changes nothing.

        Raises
        ------
        TypeError, ValueError
            If the values are not of the kind that the encoder takes.
        """
        learned = self._learn(values)
        for name, value in zip(self._fitted_names, learned, strict=True):
            setattr(self, name, value)
        return self

    def transform(self, values: Any) -> sp.csr_matrix:
        """Return the weights.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_values, n_columns)

        Raises
        ------
        TypeError, ValueError
            If the encoder is not fitted, the values are not of the kind that it takes, or a weight is too large for
            single precision.

        Warns
        -----
        UnseenCategoryWarning
            If categories were not there in fitting and have no weight.
        """
        matrix, unseen = self._encode_rows(values)
        if unseen:
            warnings.warn(UnseenCategoryWarning(unseen), stacklevel=2)
        return matrix

    def _encode_rows(self, values: Any) -> tuple[sp.csr_matrix, str]:
        """Return the matrix of :meth:`transform`, and what the warning says."""
        names = self.get_feature_names_out()
        n_rows, (rows, columns, weights), unseen = self._entries(values)
        matrix = sp.csr_matrix((weights.astype(np.float64), (rows, columns)), shape=(n_rows, len(names)))
        if self.normalize is not None:
            size = abs(matrix) if self.normalize == "l1" else matrix.multiply(matrix)
            norms = np.asarray(size.sum(axis=1)).ravel()
            if self.normalize == "l2":
                norms = np.sqrt(norms)
            # a row without entries takes part in none, and one of zeros stays so
            matrix.data /= np.repeat(np.where(norms > 0, norms, 1.0), np.diff(matrix.indptr))
        matrix.eliminate_zeros()
        data = check_finite_numbers(matrix.data, "weights").astype(np.float32)
        return sp.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape), unseen

    def fit_transform(self, values: Any) -> sp.csr_matrix:
        """Return ``fit(values).transform(values)``."""
        return self.fit(values).transform(values)

    def get_feature_names_out(self) -> NDArray[np.object_]:
        """Return the name of every column of the matrix; ValueError if the encoder is not fitted."""
        if not self.is_fitted:
            raise ValueError(f"this {type(self).__name__} is not fitted yet: call fit(values) first")
        return np.array(self._names(), dtype=object)

    @property
    def is_fitted(self) -> bool:
        """Whether there is what fitting learns."""
        return all(hasattr(self, name) for name in self._fitted_names)

    def to_state(self) -> dict[str, Any]:
        """Return parameters and what was learned, as what JSON has."""
        fitted = {name: getattr(self, name) for name in self._fitted_names if hasattr(self, name)}
        return {"parameters": self._parameters(), "fitted": fitted}

    @classmethod
    def from_state(cls: type[_Encoder], state: Mapping[str, Any]) -> _Encoder:
        """Make the encoder whose :meth:`to_state` gave ``state``; TypeError or ValueError if none did."""
        encoder = cls(**state["parameters"])
        fitted = state["fitted"]
        if fitted:
            if set(fitted) != set(cls._fitted_names):
                raise ValueError(f"{sorted(fitted)} is not what {cls.__name__} learns: {sorted(cls._fitted_names)}")
            for name, value in fitted.items():
                setattr(encoder, name, value)
            if not encoder._can_have_learned():
                raise ValueError(f"{cls.__name__} cannot have learned {str(fitted)[:200]}")
        return encoder

    @property
    def n_unlisted(self) -> int:
        """The number of columns whose names are made up when they are asked for, and not among what was learned."""
        return 0

    def _can_have_learned(self) -> bool:
        """Whether the attributes that fitting sets, which a file gave, are such as fitting sets."""
        return True

    def _parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._parameter_names}

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value!r}" for name, value in self._parameters().items())
        return f"{type(self).__name__}({parameters})"

    def _learn(self, values: Any) -> Sequence[Any]:
        """Return the values of the attributes that fitting sets."""
        raise NotImplementedError

    def _names(self) -> list[str]:
        raise NotImplementedError

    def _entries(self, values: Any) -> _Encoded:
        raise NotImplementedError


# ------------------------------------------------------------------------------------------------------ categories


class Categorical(Encoder):
    """One column of weight 1 for each value: a town, a brand, a postcode.

    Equal values are one category whatever type or file holds them: 1991, 1991.0, the text "1991.0" and a decimal are
    ``1991``; True and the text "true" are ``True``, and so is 1 where the column has truth values; a date, the
    timestamp of its midnight and either as ISO text are ``2020-01-31``. So the text "1" and the number 1 are one
    category; 007 stays text. Columns are in the order of the names. A missing value or empty text has no weight.

    Parameters
    ----------
    min_count : int, default 1
        Values in fewer rows than this share the column ``other``. A value that is called so is in it as well.
    unseen : {"ignore", "other"}
        What becomes of values that were not there in fitting: no weight and an :class:`UnseenCategoryWarning`, or the
        weight of ``other``. That column is trained only where rare values are pooled in it.
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
        if not (_are_names(self.categories_) and _are_names(self.pooled_) and type(self.has_other_) is bool):
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
        """Return the column of each known category, made once: requests for a row each are many."""
        known = getattr(self, "_known", None)
        if known is None or known[0] is not self.categories_ or known[1] is not self.pooled_:
            columns = number_categories([*self.categories_, *self.pooled_])
            other = len(self.categories_)
            known = self.categories_, self.pooled_, {name: min(column, other) for name, column in columns.items()}
            self._known = known
        return known[2]

    def _entries(self, values: Any) -> _Encoded:
        n_rows, rows, numbers, weights, names = self._occurrences(values)
        default = len(self.categories_) if self.unseen == OTHER else -1
        column_of = self._column_of()
        column_of_name = np.array([column_of.get(name, default) for name in names], dtype=np.int64)
        columns = column_of_name[numbers]
        known = columns >= 0
        note = ""
        if not known.all():
            first = int(known.argmin())
            note = (
                f"{np.count_nonzero(~known):,} of {len(known):,} values, {np.count_nonzero(column_of_name < 0):,} of "
                f"them different, were not there in fitting and have no weight, "
                f"{show(names[numbers[first]])} in row {rows[first]:,} first"
            )
            rows, columns, weights = rows[known], columns[known], weights[known]
        return _Encoded(n_rows, self._merge(rows, columns, weights), note)

    def _merge(self, rows: NDArray[Any], columns: NDArray[Any], weights: NDArray[Any]) -> _Entries:
        return rows, columns, weights


class _Occurrences(NamedTuple):
    """The categories of the rows of a column."""

    n_rows: int
    rows: NDArray[Any]
    """Of each single value, in order."""
    numbers: NDArray[Any]
    """Of the name of each single value."""
    weights: NDArray[Any]
    names: list[str]


class MultiCategorical(Categorical):
    """Several categories a row, each of weight 1: genres, tags, languages.

    A value is a list, a tuple, a set or an array of categories, each of which counts once; or a dict from category to
    weight; or text that ``separator`` divides, or that is a JSON list where ``json`` is True. A missing or empty one
    has no weight. :func:`gather_tags` makes such values of a table with a row for each tag.

    Parameters
    ----------
    separator : str, optional
        What stands between the categories of a value that is text. Text that is a list in JSON's or Python's notation
        is refused then, as it would be divided into ``["a"`` and ``"b"]``.
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
            raise ValueError(f"separator is {separator!r}, expected None or text that is not empty")
        if not isinstance(json, bool):
            raise TypeError(f"json is {json!r}, expected True or False")
        if json and separator is not None:
            raise ValueError("separator and json say how to read text in two ways: give one")
        self.separator = separator
        self.json = json

    def _occurrences(self, values: Any) -> _Occurrences:
        cells = [self._divide(value, row) for row, value in enumerate(_objects(values))]
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
        return np.bincount(places % n_names, minlength=n_names)  # once a row, however often it says so

    def _merge(self, rows: NDArray[Any], columns: NDArray[Any], weights: NDArray[Any]) -> _Entries:
        width = len(self.categories_) + 1
        places, weights = _largest_of_each(rows * width + columns, weights)
        return (*np.divmod(places, width), weights)

    def _divide(self, value: Any, row: int) -> Collection[Any]:
        if isinstance(value, str):
            return self._divide_text(value, row)
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            return value
        if isinstance(value, np.ndarray) and value.ndim == 1:
            return value.tolist()
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


def _largest_of_each(places: NDArray[Any], weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the different places, sorted, and the largest weight of each."""
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    return places[order[starts]], np.maximum.reduceat(weights[order], starts) if len(starts) else weights


def _is_written_list(text: str) -> bool:
    """Tell whether text in brackets is a list of JSON or of Python, rather than a category such as [live]."""
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


def gather_tags(
    table: Any,
    ids: Any,
    *,
    id: Hashable,
    tag: Hashable = "tag",
    weight: Hashable | None = None,
    unknown: str = "raise",
) -> list[Any]:
    """Make a column for :class:`MultiCategorical` of a table that has a row for each tag of an item or a user.

    Parameters
    ----------
    table : table
        Rows of id and tag, and a weight perhaps, in any order.
    ids : list, array or column
        The ids of the rows that the new column stands beside: that of the table of items, or of users.
    id, tag : hashable
        Columns of ``table``.
    weight : hashable, optional
        Column of how much a tag counts. Weights of a tag that an id has several times are added up.
    unknown : {"raise", "skip"}
        Refuse rows whose id is not among ``ids``, or leave them out.

    Returns
    -------
    list
        For each of ``ids`` a list of tags, or a dict from tag to weight where ``weight`` is given; without rows, an
        empty one.

    Raises
    ------
    TypeError, ValueError
        If a column is missing or is of another kind, an id or a weight is missing, or an id is unknown.

    Examples
    --------
    >>> films = {"film": ["Up", "Heat"]}
    >>> tags = {"film": ["Heat", "Up", "Heat"], "tag": ["crime", "balloon", "tense"], "votes": [9, 4, 1]}
    >>> gather_tags(tags, films["film"], id="film")
    [['balloon'], ['crime', 'tense']]
    >>> gather_tags(tags, films["film"], id="film", weight="votes")
    [{'balloon': 4.0}, {'crime': 9.0, 'tense': 1.0}]
    """
    check_choice(unknown, "unknown", ("raise", "skip"))
    read = read_columns(table, "the table of tags", [id, tag, *([] if weight is None else [weight])])
    codes, distinct = factorize(read[id])
    if len(codes) and codes.min() < 0:
        raise ValueError(f"column {id!r} of the table of tags has no id in row {int(codes.argmin()):,}: leave it out")
    own, known = factorize(as_column(ids, "ids"))
    if len(own) and own.min() < 0:
        raise ValueError(f"ids has no id in row {int(own.argmin()):,}: leave it out")
    numbers = match_ids(distinct, dict(zip(known, range(len(known)), strict=True)))
    places = numbers[codes] if len(numbers) else codes
    if unknown == "raise" and len(places) and places.min() < 0:
        raise ValueError(
            f"{np.count_nonzero(places < 0):,} of {len(places):,} rows of the table of tags have an unknown id, "
            f"{distinct[codes[places.argmin()]]!r} in row {int(places.argmin()):,} first: add it to ids, or say "
            "unknown='skip'"
        )
    tag_codes, tags = name_categories(read[tag])
    weights = np.ones(len(places)) if weight is None else read_numbers(read[weight], f"column {weight!r}")
    if np.isnan(weights).any():
        raise ValueError(f"column {weight!r} has no weight in row {int(np.isnan(weights).argmax()):,}: leave it out")
    gathered: list[dict[str, float]] = [{} for _ in known]
    kept = (places >= 0) & (tag_codes >= 0)
    for place, code, number in zip(
        places[kept].tolist(), tag_codes[kept].tolist(), weights[kept].tolist(), strict=True
    ):
        gathered[place][tags[code]] = gathered[place].get(tags[code], 0.0) + number
    cells = gathered if weight is not None else [list(cell) for cell in gathered]
    return [copy.copy(cells[place]) for place in own.tolist()]


# --------------------------------------------------------------------------------------------------------- numbers


class _Numeric(Encoder):
    """Base of encoders of numbers, whose last column has weight 1 where a value is missing."""

    def _entries(self, values: Any) -> _Encoded:
        numbers = _numbers(values)
        is_missing = np.isnan(numbers)
        present, missing = np.flatnonzero(~is_missing), np.flatnonzero(is_missing)
        places, columns, weights = self._encode(numbers[present])
        last = np.full(len(missing), len(self._names()) - 1)
        return _Encoded(
            len(numbers),
            (
                np.concatenate([present[places], missing]),
                np.concatenate([columns, last]),
                np.concatenate([weights, np.ones(len(missing))]),
            ),
        )

    def _present(self, values: Any) -> NDArray[np.float64]:
        numbers = _numbers(values)
        present = numbers[~np.isnan(numbers)]
        if not len(present):
            raise ValueError(f"all {len(numbers):,} values are missing: there is nothing to learn from")
        return present

    def _encode(self, numbers: NDArray[np.float64]) -> _Entries:
        raise NotImplementedError


class Standardized(_Numeric):
    """A number as the weight of one column, with mean 0 and standard deviation 1 where it was fitted.

    What the column stands for grows in proportion to the number. A column of one value only has weight 0.

    Parameters
    ----------
    normalize : {None, "l1", "l2"}
        As in :class:`Categorical`; leaves the sign only, so it is of use only beside other columns.

    Examples
    --------
    >>> Standardized().fit_transform([10, 30, None]).toarray().tolist()
    [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """

    _parameter_names = ("normalize",)
    _fitted_names = ("mean_", "scale_")

    mean_: float
    scale_: float

    def __init__(self, normalize: str | None = None) -> None:
        super().__init__(normalize)

    def _learn(self, values: Any) -> Sequence[Any]:
        numbers = self._present(values)
        if numbers.min() == numbers.max():  # rounding would leave a spread
            return float(numbers[0]), 1.0
        return float(numbers.mean()), float(numbers.std()) or 1.0

    def _can_have_learned(self) -> bool:
        return _are_finite([self.mean_, self.scale_]) and self.scale_ > 0

    def _names(self) -> list[str]:
        return ["standardized", MISSING]

    def _encode(self, numbers: NDArray[np.float64]) -> _Entries:
        return np.arange(len(numbers)), np.zeros(len(numbers), np.int64), (numbers - self.mean_) / self.scale_


class _BetweenQuantiles(_Numeric):
    """Base of encoders by ranges between quantiles."""

    _parameter_names = ("n_bins", "normalize")
    _fitted_names = ("edges_",)

    edges_: list[float]

    def __init__(self, n_bins: int = 10, normalize: str | None = None) -> None:
        super().__init__(normalize)
        check_count(n_bins, "n_bins", MOST_BINS)
        self.n_bins = n_bins

    def _can_have_learned(self) -> bool:
        return isinstance(self.edges_, list) and _are_finite(self.edges_) and bool((np.diff(self.edges_) > 0).all())


class QuantileBins(_BetweenQuantiles):
    """One column for each range of numbers, weight 1 in the range that a number is in.

    The ranges hold about as many of the fitted values each; there are fewer where values repeat. The first and the
    last are open: they take what is below and above all fitted values.

    Parameters
    ----------
    n_bins : int, default 10
        The number of ranges, at most 65,536.
    normalize : {None, "l1", "l2"}
        As in :class:`Categorical`.

    Examples
    --------
    >>> age = QuantileBins(2).fit([18, 25, 40, 60])
    >>> age.get_feature_names_out().tolist()
    ['<40', '>=40', 'missing']
    >>> age.transform([39, 40, None]).toarray().tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    def _learn(self, values: Any) -> Sequence[Any]:
        numbers = self._present(values)
        edges = np.unique(_quantiles(numbers, self.n_bins)[1:-1])
        return (edges[edges > numbers.min()].tolist(),)

    def _names(self) -> list[str]:
        if not self.edges_:
            return ["any", MISSING]
        labels = _labels(self.edges_)
        middle = [f"[{low}, {high})" for low, high in pairwise(labels)]
        return [f"<{labels[0]}", *middle, f">={labels[-1]}", MISSING]

    def _encode(self, numbers: NDArray[np.float64]) -> _Entries:
        return np.arange(len(numbers)), np.searchsorted(self.edges_, numbers, side="right"), np.ones(len(numbers))


class PiecewiseLinear(_BetweenQuantiles):
    """Ranges between quantiles that fill up one after the other, as a thermometer does.

    With edges b_0 < ... < b_T the weight of column t is 0 where x < b_{t-1}, 1 where x >= b_t, and between these
    (x − b_{t-1}) / (b_t − b_{t-1}), so what a number stands for is a continuous function of it. The first range
    goes on below b_0 and the last above b_T. (Gorishniy, Rubachev & Babenko 2022, On Embeddings for Numerical
    Features in Tabular Deep Learning, equation 1.) A column ``any`` before them has weight 1 for every number: it is
    the bias of the layer that the ranges go into there, and all that the least number has.

    Parameters
    ----------
    n_bins : int, default 10
        The number of ranges, T, at most 65,536; there are fewer where values repeat, and none where all values are
        the same.
    normalize : {None, "l1", "l2"}
        As in :class:`Categorical`.

    Examples
    --------
    >>> age = PiecewiseLinear(2).fit([20, 30, 70])
    >>> age.get_feature_names_out().tolist()
    ['any', '20 to 30', '30 to 70', 'missing']
    >>> age.transform([20, 25, 40, None]).toarray().tolist()
    [[1.0, 0.0, 0.0, 0.0], [1.0, 0.5, 0.0, 0.0], [1.0, 1.0, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """

    def _learn(self, values: Any) -> Sequence[Any]:
        edges = np.unique(_quantiles(self._present(values), self.n_bins))
        return (edges.tolist() if len(edges) > 1 else [],)

    def _names(self) -> list[str]:
        labels = _labels(self.edges_)
        return ["any", *(f"{low} to {high}" for low, high in pairwise(labels)), MISSING]

    def _encode(self, numbers: NDArray[np.float64]) -> _Entries:
        edges = np.array(self.edges_)
        weights = np.ones((len(numbers), max(len(edges), 1)))
        weights[:, 1:] = (numbers[:, None] - edges[:-1]) / np.diff(edges)
        weights[:, 2:] = np.maximum(weights[:, 2:], 0)
        weights[:, 1:-1] = np.minimum(weights[:, 1:-1], 1)
        places, columns = np.nonzero(weights)
        return places, columns, weights[places, columns]


class Periodic(_Numeric):
    """A number that comes round: the hour, the weekday, the month, an angle.

    The circle has ``n_bins`` columns at equal distances, the first at 0. A number's two neighbours share a weight of
    1 by its distance to them, so that 23:30 is as close to midnight as 0:30.

    Parameters
    ----------
    period : float
        After which it starts anew: 24 for hours, 7 for weekdays, 12 for months. From 1e-30 to 1e30.
    n_bins : int
        From 2 to 65,536.
    normalize : {None, "l1", "l2"}
        As in :class:`Categorical`.

    Examples
    --------
    >>> hour = Periodic(24, n_bins=4).fit([])
    >>> hour.get_feature_names_out().tolist()
    ['0', '6', '12', '18', 'missing']
    >>> hour.transform([6, 22.5]).toarray().tolist()
    [[0.0, 1.0, 0.0, 0.0, 0.0], [0.75, 0.0, 0.0, 0.25, 0.0]]
    """

    _parameter_names = ("period", "n_bins", "normalize")

    def __init__(self, period: float, n_bins: int, normalize: str | None = None) -> None:
        super().__init__(normalize)
        self.period = check_positive(period, "period")
        if not 1e-30 <= self.period <= 1e30:
            raise ValueError(f"period is {period}, expected a number from 1e-30 to 1e30")
        check_count(n_bins, "n_bins", MOST_BINS)
        if n_bins < 2:
            raise ValueError(f"n_bins is {n_bins}, expected at least 2: a circle of one bin tells nothing apart")
        self.n_bins = n_bins

    def _learn(self, values: Any) -> Sequence[Any]:
        _numbers(values)  # nothing to learn, but what are no numbers is found here
        return ()

    @property
    def n_unlisted(self) -> int:
        """All columns but that of missing values."""
        return self.n_bins

    def _names(self) -> list[str]:
        return [*_labels([self.period * bin / self.n_bins for bin in range(self.n_bins)]), MISSING]

    def _encode(self, numbers: NDArray[np.float64]) -> _Entries:
        position = np.mod(numbers, self.period) / self.period * self.n_bins
        before = np.floor(position)
        share = position - before
        columns = np.concatenate([before, before + 1]).astype(np.int64) % self.n_bins
        return np.tile(np.arange(len(numbers)), 2), columns, np.concatenate([1 - share, share])


# ------------------------------------------------------------------------------------------------ text and vectors


class Text(Encoder):
    """Words of a text, by scikit-learn's vectorisers: ``pip install 'lightfm_fast[text]'``.

    Parameters
    ----------
    vectorizer : {"tfidf", "hashing"}
        ``TfidfVectorizer``, with a column for each word that it was fitted to, or ``HashingVectorizer``, which
        learns no words: those that fall into the same of its 4,096 columns share it.
    normalize : {None, "l1", "l2"}, default "l2"
        As in :class:`Categorical`.
    **options
        Of the vectoriser, such as ``min_df``, ``max_features``, ``stop_words``, ``ngram_range`` and ``n_features``:
        what JSON has, no functions. Hashed words have no sign unless ``alternate_sign=True`` is among them.
        ``ngram_range`` goes up to 32 and ``n_features`` up to 2**20. A model whose ``token_pattern`` is not known to
        be fast is loaded with ``trusted=True`` only.

    Examples
    --------
    >>> plot = Text(use_idf=False, normalize="l1").fit(["a spice planet", "a planet of apes"])
    >>> plot.get_feature_names_out().tolist()
    ['apes', 'of', 'planet', 'spice']
    >>> plot.transform(["planet of planet spice", None]).toarray().tolist()
    [[0.0, 0.25, 0.5, 0.25], [0.0, 0.0, 0.0, 0.0]]
    """

    _fitted_names = ("terms_", "idf_")

    terms_: list[str] | None
    idf_: list[float] | None

    def __init__(self, vectorizer: str = "tfidf", normalize: str | None = "l2", **options: Any) -> None:
        super().__init__(normalize)
        check_choice(vectorizer, "vectorizer", ("tfidf", "hashing"))
        ours = sorted({"norm", "dtype", "vocabulary", "input"}.intersection(options))
        if ours:
            raise TypeError(f"{ours[0]} is no option of Text: normalize= scales rows, and fit learns the words")
        try:
            json.dumps(options)
        except TypeError as error:
            raise TypeError(f"the options of Text are saved with it: {error}") from error
        if isinstance(options.get("ngram_range"), list):  # JSON has no tuples
            options["ngram_range"] = tuple(options["ngram_range"])
        known = {**_TEXT_OPTIONS, **(_TFIDF_OPTIONS if vectorizer == "tfidf" else _HASHING_OPTIONS)}
        for name, value in options.items():
            if name not in known:
                raise TypeError(f"{name} is no option of Text with vectorizer={vectorizer!r}: {', '.join(known)} are")
            is_valid, expected = known[name]
            if not is_valid(value):
                raise ValueError(f"{name} is {value!r}, expected {expected}")
        self.vectorizer = vectorizer
        self.options = options

    def _parameters(self) -> dict[str, Any]:
        return {"vectorizer": self.vectorizer, "normalize": self.normalize, **self.options}

    def _make(self, **fitted: Any) -> Any:
        text = import_optional("sklearn.feature_extraction.text", "text", "Text")
        if self.vectorizer == "tfidf":
            return text.TfidfVectorizer(norm=None, **self.options, **fitted)
        defaults = {"n_features": DEFAULT_HASHES, "alternate_sign": False}
        return text.HashingVectorizer(norm=None, **{**defaults, **self.options})

    def _learn(self, values: Any) -> Sequence[Any]:
        texts = _texts(values)
        vectorizer = self._make()
        if self.vectorizer == "hashing":
            vectorizer.fit(texts)  # judges its options
            return None, None
        try:
            vectorizer.fit(texts)
        except ValueError as error:
            raise ValueError(f"nothing can be learned from {len(texts):,} texts: {error}") from error
        idf = vectorizer.idf_.tolist() if vectorizer.use_idf else None
        return vectorizer.get_feature_names_out().tolist(), idf

    @property
    def n_unlisted(self) -> int:
        """The columns that hashed words fall into."""
        n_features: int = self.options.get("n_features", DEFAULT_HASHES)
        return n_features if self.vectorizer == "hashing" else 0

    def _can_have_learned(self) -> bool:
        if self.vectorizer == "hashing":
            return self.terms_ is None and self.idf_ is None
        if not _are_names(self.terms_) or not self.terms_:
            return False
        if not self.options.get("use_idf", True):
            return self.idf_ is None
        return isinstance(self.idf_, list) and _are_finite(self.idf_) and len(self.idf_) == len(self.terms_)

    def _names(self) -> list[str]:
        if self.terms_ is not None:
            return self.terms_
        return [f"hash {number}" for number in range(self._make().n_features)]

    def _entries(self, values: Any) -> _Encoded:
        texts = _texts(values)
        if self.terms_ is None:
            vectorizer = self._make()
        else:
            vectorizer = self._make(vocabulary=self.terms_)
            if self.idf_ is not None:
                vectorizer.idf_ = np.array(self.idf_)
            else:
                vectorizer.fit([""])  # there is nothing to learn
        matrix = vectorizer.transform([*texts, ""]).tocoo()  # scikit-learn refuses no texts at all
        return _Encoded(len(texts), (matrix.row, matrix.col, matrix.data))


class Dense(Encoder):
    """Vectors of numbers as they are, such as embeddings of texts or pictures: one column for each dimension.

    Values are vectors of one length, at most 65,536, or a matrix of a row for each. A missing vector has no weights.

    Parameters
    ----------
    normalize : {None, "l1", "l2"}
        As in :class:`Categorical`. What is learned of a dimension grows with its weights: vectors of length 1 suit
        the learning rate that the other features have.

    Examples
    --------
    >>> Dense(normalize="l1").fit_transform([[1, -3], None]).toarray().tolist()
    [[0.25, -0.75], [0.0, 0.0]]
    """

    _parameter_names = ("normalize",)
    _fitted_names = ("n_dimensions_",)

    n_dimensions_: int

    def __init__(self, normalize: str | None = None) -> None:
        super().__init__(normalize)

    def _learn(self, values: Any) -> Sequence[Any]:
        vectors, rows, n_rows = _vectors(values)
        if not len(rows) or not vectors.shape[1]:
            raise ValueError(f"all {n_rows:,} vectors are missing or empty: there is nothing to learn from")
        check_count(vectors.shape[1], "the length of the vectors", MOST_BINS)
        return (vectors.shape[1],)

    @property
    def n_unlisted(self) -> int:
        """All columns."""
        return getattr(self, "n_dimensions_", 0)

    def _can_have_learned(self) -> bool:
        return type(self.n_dimensions_) is int and 1 <= self.n_dimensions_ <= MOST_BINS

    def _names(self) -> list[str]:
        return [str(dimension) for dimension in range(self.n_dimensions_)]

    def _entries(self, values: Any) -> _Encoded:
        vectors, rows, n_rows = _vectors(values)
        if len(rows) and vectors.shape[1] != self.n_dimensions_:
            raise ValueError(f"vectors have {vectors.shape[1]} dimensions but were fitted with {self.n_dimensions_}")
        places, columns = np.nonzero(vectors)
        return _Encoded(n_rows, (rows[places], columns, vectors[places, columns]))


def _is_whole_from_one(value: Any, largest: float = np.inf) -> bool:
    return type(value) is int and 1 <= value <= largest


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_share_or_count(value: Any) -> bool:
    return _is_whole_from_one(value) or (isinstance(value, float) and 0 <= value <= 1)


_FLAG = (_is_flag, "True or False")
_SHARE_OR_COUNT = (_is_share_or_count, "a share from 0.0 to 1.0 or a number of texts")
# The options of scikit-learn's vectorisers that JSON has, with what each may be, and how to say so.
_TEXT_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "encoding": (lambda x: isinstance(x, str), "a name"),
    "decode_error": (lambda x: x in ("strict", "ignore", "replace"), "'strict', 'ignore' or 'replace'"),
    "strip_accents": (lambda x: x in (None, "ascii", "unicode"), "None, 'ascii' or 'unicode'"),
    "lowercase": _FLAG,
    "preprocessor": (lambda x: x is None, "None, since functions are not saved"),
    "tokenizer": (lambda x: x is None, "None, since functions are not saved"),
    "stop_words": (lambda x: x in (None, "english") or _are_texts(x), "None, 'english' or a list of words"),
    "token_pattern": (lambda x: isinstance(x, str), "text"),
    "ngram_range": (
        lambda x: (
            type(x) is tuple and len(x) == 2 and all(_is_whole_from_one(n, LONGEST_NGRAM) for n in x) and x[0] <= x[1]
        ),
        f"two whole numbers from 1 to {LONGEST_NGRAM}, the smaller first",
    ),
    "analyzer": (lambda x: x in ("word", "char", "char_wb"), "'word', 'char' or 'char_wb'"),
    "binary": _FLAG,
}
_TFIDF_OPTIONS = {
    "max_df": _SHARE_OR_COUNT,
    "min_df": _SHARE_OR_COUNT,
    "max_features": (lambda x: x is None or _is_whole_from_one(x), "None or a whole number of at least 1"),
    "use_idf": _FLAG,
    "smooth_idf": _FLAG,
    "sublinear_tf": _FLAG,
}
_HASHING_OPTIONS = {
    "n_features": (lambda x: _is_whole_from_one(x, MOST_HASHES), f"a whole number from 1 to {MOST_HASHES:,}"),
    "alternate_sign": _FLAG,
}


# --------------------------------------------------------------------------------------------------------- a table


class _Ids(Categorical):
    """Ids as categories: two that differ stay two, and new ones, which are what newcomers have, are not warned of."""

    def _occurrences(self, values: Any) -> _Occurrences:
        codes, distinct = factorize(values)
        names: dict[str, int] = {}
        numbers = np.array([names.setdefault(_id_text(value), len(names)) for value in distinct], dtype=np.int64)
        return _Occurrences(len(codes), np.arange(len(codes)), numbers[codes], np.ones(len(codes)), list(names))

    def _column_of(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.categories_)}

    def _entries(self, values: Any) -> _Encoded:
        return super()._entries(values)._replace(unseen="")


def _id_text(value: Any) -> str:
    """Name an id: whole numbers as such, which a column with missing values holds as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class FeatureSpec:
    """An encoder for each of some columns of a table, and the one matrix that they make, side by side.

    Tables are data frames of pandas, polars, pyarrow or any other library that narwhals reads, or dicts from column
    name to list, array or column. ``Dataset.from_tables`` takes a spec as ``user_features`` or ``item_features``.

    Parameters
    ----------
    encoders : mapping from column name to encoder
        The encoders stay as they are: :meth:`fit` fits copies, ``encoders_``.
    identity : {"drop", "keep"} or float, default "drop"
        Give each id that was there in fitting a column of its own, before all others, with weight 1 or this one.
        ``Dataset.from_tables`` adds such columns itself, of weight 1: leave that to it, or say
        ``item_identity_features=False`` (``user_identity_features=False``) there.
    id_column : str, optional
        Where the ids are, for calls that do not give them.

    Attributes
    ----------
    encoders_ : dict from column name to fitted encoder
    fields_ : ndarray of str, shape (n_features,)
        The column of the table that each feature is made of: ``fields`` of a field-weighted factorization machine.
        Identity features are of ``id_column``, or of ``"identity"``.

    Examples
    --------
    >>> spec = FeatureSpec({"genres": MultiCategorical(), "year": PiecewiseLinear(1)}, identity=0.5, id_column="film")
    >>> films = {"film": ["Up", "Heat"], "genres": [["animation"], ["crime", "drama"]], "year": [2009, 1995]}
    >>> spec.fit_transform(films).toarray().tolist()
    [[0.0, 0.5, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0], [0.5, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]]
    >>> spec.get_feature_names_out()[:5].tolist()
    ['film:Heat', 'film:Up', 'genres:animation', 'genres:crime', 'genres:drama']
    """

    encoders_: dict[str, Any]
    _identity: Categorical | None

    def __init__(
        self, encoders: Mapping[str, Any], identity: str | float = "drop", id_column: str | None = None
    ) -> None:
        if not isinstance(encoders, Mapping):
            raise TypeError(f"encoders is {encoders!r}, expected a dict from column name to encoder")
        for column, encoder in encoders.items():
            if isinstance(encoder, type) or not all(hasattr(encoder, name) for name in ("fit", "transform")):
                raise TypeError(f"column {column!r} has {encoder!r}, expected an encoder such as Categorical()")
        self.identity = check_identity(identity)
        if not encoders and self.identity == "drop":
            raise ValueError("encoders is empty and identity is 'drop': there are no features to make")
        if id_column is not None and id_column in encoders and self.identity != "drop":
            raise ValueError(f"column {id_column!r} holds the ids, which identity= encodes: give it no encoder")
        self.encoders = dict(encoders)
        self.id_column = id_column

    def fit(self, table: Any, ids: Any = None) -> FeatureSpec:
        """Fit a copy of each encoder to its column; a call that raises changes nothing.

        Parameters
        ----------
        table : table
            With a column for each encoder; others are left alone.
        ids : array of length n_rows, optional
            Of the rows; the column ``id_column`` of the table by default.

        Raises
        ------
        TypeError
            If the table is none, or a column holds values that its encoder does not take.
        ValueError
            If a column is not there or not of the length of the others, holds nothing to learn from, two features
            have the same name, or identity features are wanted and ids are missing.
        ImportError
            If a column is text and scikit-learn is not installed.
        """
        columns, _, row_ids = self._read(table, ids)
        fitted: dict[str, Any] = {}
        for column, encoder in self.encoders.items():
            fitted[column] = copy.copy(encoder)
            _of_column(column, fitted[column].fit, columns[column])
        identity = None if row_ids is None else _Ids().fit(row_ids)
        named = self._name(fitted, identity)
        self.encoders_, self._identity, self._named = fitted, identity, named
        return self

    def transform(self, table: Any, ids: Any = None) -> sp.csr_matrix:
        """Return the features of the rows of a table.

        Parameters
        ----------
        table : table
        ids : array of length n_rows, optional
            As in :meth:`fit`. One that was not there then has no identity feature: a newcomer has the others only.

        Returns
        -------
        scipy.sparse.csr_matrix of float32, shape (n_rows, n_features)

        Raises
        ------
        TypeError, ValueError
            In the cases of :meth:`fit`, or if the spec is not fitted.

        Warns
        -----
        UnseenCategoryWarning
            If columns have categories that were not there in fitting and have no weight: one warning for all.
        """
        self._check_fitted()
        columns, n_rows, row_ids = self._read(table, ids)
        blocks, unseen = [], []
        if self._identity is not None:
            blocks.append(self._identity.transform(row_ids) * np.float32(self._identity_weight()))
        for column, encoder in self.encoders_.items():
            if isinstance(encoder, Encoder):
                matrix, note = _of_column(column, encoder._encode_rows, columns[column])
                unseen += [f"column {column!r}: {note}"] if note else []
            else:
                matrix = _of_column(column, encoder.transform, columns[column])
            blocks.append(matrix)
            if blocks[-1].shape[0] != n_rows:
                raise ValueError(f"column {column!r} gave {blocks[-1].shape[0]:,} rows, expected {n_rows:,}")
        if unseen:
            warnings.warn(UnseenCategoryWarning("; ".join(unseen)), stacklevel=2)
        matrix = sp.csr_matrix(sp.hstack(blocks, format="csr", dtype=np.float32))
        matrix.sort_indices()
        return matrix

    def fit_transform(self, table: Any, ids: Any = None) -> sp.csr_matrix:
        """Return ``fit(table, ids).transform(table, ids)``."""
        return self.fit(table, ids).transform(table, ids)

    def get_feature_names_out(self) -> NDArray[np.object_]:
        """Return the name ``column:value`` of every feature; ValueError if the spec is not fitted."""
        self._check_fitted()
        return np.array(self._named[0], dtype=object)

    @property
    def fields_(self) -> NDArray[np.str_]:
        """The column of the table that each feature is made of."""
        if not hasattr(self, "encoders_"):
            raise AttributeError("fields_ is there once the FeatureSpec is fitted")
        return np.array(self._named[1], dtype=str)

    @property
    def n_unlisted(self) -> int:
        """The number of columns whose names are made up when they are asked for, and not among what was learned."""
        return sum(getattr(encoder, "n_unlisted", 0) for encoder in getattr(self, "encoders_", self.encoders).values())

    def to_state(self) -> dict[str, Any]:
        """Return encoders, fitted ones where there are, as what JSON has.

        Raises
        ------
        ValueError
            If an encoder is none of :mod:`lightfm_fast.features`.
        """
        is_fitted = hasattr(self, "encoders_")
        identity = self._identity if is_fitted else None
        return {
            "identity": self.identity,
            "id_column": self.id_column,
            "encoders": _pack(self.encoders),
            "fitted": _pack(self.encoders_) if is_fitted else None,
            "ids": None if identity is None else identity.to_state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FeatureSpec:
        """Make the spec whose :meth:`to_state` gave ``state``.

        Raises
        ------
        TypeError, ValueError, KeyError
            If none did.
        """
        spec = cls(_unpack(state["encoders"]), state["identity"], column_name(state["id_column"]))
        if state["fitted"] is not None:
            spec.encoders_ = _unpack(state["fitted"])
            spec._identity = None if state["ids"] is None else _Ids.from_state(state["ids"])
            kinds = [
                {column: type(part) for column, part in parts.items()} for parts in (spec.encoders, spec.encoders_)
            ]
            if kinds[0] != kinds[1] or (spec._identity is None) != (spec.identity == "drop"):
                raise ValueError("the fitted encoders of a FeatureSpec are others than those it was made with")
            for part in (*spec.encoders_.values(), *([] if spec._identity is None else [spec._identity])):
                if not part.is_fitted:
                    raise ValueError(f"a FeatureSpec is fitted but its {type(part).__name__} is not")
        if spec.n_unlisted > MOST_UNLISTED:
            raise ValueError(f"a FeatureSpec makes {spec.n_unlisted:,} columns, expected at most {MOST_UNLISTED:,}")
        return spec

    def __repr__(self) -> str:
        return f"FeatureSpec({self.encoders!r}, identity={self.identity!r}, id_column={self.id_column!r})"

    def _check_fitted(self) -> None:
        if not hasattr(self, "encoders_"):
            raise ValueError("this FeatureSpec is not fitted yet: call fit(table) first")

    def _identity_weight(self) -> float:
        return 1.0 if isinstance(self.identity, str) else self.identity

    def _name(self, encoders: Mapping[str, Any], identity: Categorical | None) -> tuple[list[str], list[str]]:
        parts = {} if identity is None else {self.id_column or "identity": identity}
        blocks = [*parts.items(), *encoders.items()]
        pairs = [(f"{column}:{name}", str(column)) for column, part in blocks for name in part.get_feature_names_out()]
        names = [name for name, _ in pairs]
        (name, count), *_ = Counter(names).most_common(1) or [("", 0)]
        if count > 1:
            raise ValueError(f"{count} features would have the name {name!r}: rename a column")
        return names, [field for _, field in pairs]

    @cached_property
    def _named(self) -> tuple[list[str], list[str]]:
        """The name and the column of every feature; of a loaded spec once they are asked for."""
        return self._name(self.encoders_, self._identity)

    def _read(self, table: Any, ids: Any) -> tuple[dict[str, Any], int, list[Any] | None]:
        """Return the columns, the number of rows, and the ids where identity features are wanted."""
        wanted = list(self.encoders)
        with_ids = self.identity != "drop"
        if with_ids and ids is None:
            if self.id_column is None:
                raise ValueError(
                    f"identity is {self.identity!r} but there are no ids: give ids=, or say id_column= where they are "
                    "in the table"
                )
            wanted.append(self.id_column)
        columns = read_columns(table, "the table", wanted, vectors=True)
        if not with_ids:
            return columns, len(next(iter(columns.values()))), None
        row_ids = _objects(columns[self.id_column] if ids is None and self.id_column is not None else ids)
        missing = [row for row, value in enumerate(row_ids) if is_missing(value)]
        if missing:
            raise ValueError(f"{len(missing):,} ids are missing, in row {missing[0]:,} first: leave those rows out")
        lengths = {column: len(values) for column, values in columns.items()}
        if any(length != len(row_ids) for length in lengths.values()):
            raise ValueError(f"there are {len(row_ids):,} ids but the columns of the table have lengths {lengths}")
        return columns, len(row_ids), row_ids


def _of_column(column: str, method: Any, values: Any) -> Any:
    try:
        return method(values)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"column {column!r}: {error}") from error


def _pack(encoders: Mapping[str, Any]) -> list[list[Any]]:
    packed = []
    for column, encoder in encoders.items():
        name = type(encoder).__name__
        if globals().get(name) is not type(encoder) or name not in __all__:
            raise ValueError(f"column {column!r} has {encoder!r}, which is none of lightfm_fast.features: not saved")
        packed.append([column, name, encoder.to_state()])
    return packed


def _unpack(packed: Sequence[Sequence[Any]]) -> dict[str, Any]:
    encoders: dict[Any, Any] = {}
    for column, name, state in packed:
        column = column_name(column)
        if column in encoders:
            raise ValueError(f"column {column!r} has two encoders")
        kind = globals()[name] if name in __all__ else None
        if not (isinstance(kind, type) and issubclass(kind, Encoder)):
            raise ValueError(f"{name!r} is no encoder of lightfm_fast.features")
        encoders[column] = kind.from_state(state)
    return encoders


# --------------------------------------------------------------------------------------------------------- columns


def _objects(values: Any) -> list[Any]:
    column = as_column(values, "the column")
    if isinstance(column, np.ndarray):
        # nanoseconds would become plain integers
        return (column.astype("datetime64[us]") if column.dtype.kind == "M" else column).tolist()
    return column if isinstance(column, list) else column.to_list()


def _numbers(values: Any) -> NDArray[np.float64]:
    """Return double precision with NaN where a value is missing."""
    numbers = read_numbers(as_column(values, "the column"), "the column")
    return check_finite_numbers(numbers, "values", may_be_missing=True)


def _texts(values: Any) -> list[str]:
    texts = ["" if is_missing(value) else value for value in _objects(values)]
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise TypeError(f"{wrong!r} is of type {type(wrong).__name__}, expected text")
    return texts


def _vectors(values: Any) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Return the vectors that are there, the rows in which they are, and the number of rows."""
    column = as_column(values, "the column", vectors=True)
    cells = list(column) if isinstance(column, np.ndarray) else _objects(column)
    rows = np.array([row for row, cell in enumerate(cells) if not is_missing(cell)], dtype=np.int64)
    if not len(rows):
        return np.zeros((0, 0)), rows, len(cells)
    present = [cells[row] for row in rows]
    lengths = {np.shape(cell) for cell in present}
    if len(lengths) > 1 or len(next(iter(lengths))) != 1:
        raise ValueError(f"the values have shapes {sorted(lengths)[:5]}, expected vectors of one length")
    vectors = np.array(present)
    if vectors.dtype.kind not in "biuf":
        raise TypeError(f"the vectors hold values of type {vectors.dtype}, expected numbers")
    return check_finite_numbers(vectors.astype(np.float64), "vectors"), rows, len(cells)


def _are_names(values: Any) -> bool:
    """Whether values that a file gives are a list of texts, each once."""
    return _are_texts(values) and len(set(values)) == len(values)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is str for value in values)


def _are_finite(values: Sequence[Any]) -> bool:
    """Whether values that a file gives are finite numbers, in single precision too."""
    largest = float(np.finfo(np.float32).max)
    return all(type(value) in (int, float) and abs(value) <= largest for value in values)


def _quantiles(numbers: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return n_bins + 1 quantiles from the least to the largest, all of them values that there are."""
    ranks = -(-np.arange(n_bins + 1) * (len(numbers) - 1) // n_bins)
    return np.sort(numbers)[ranks]


def _labels(numbers: Sequence[float]) -> list[str]:
    """Write numbers with as few digits as tell them apart, at least six."""
    for digits in range(6, 18):
        labels = [str(int(x)) if x.is_integer() and abs(x) < 1e15 else f"{x:.{digits}g}" for x in map(float, numbers)]
        if len(set(labels)) == len(labels):
            break
    return labels
