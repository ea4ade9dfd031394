"""Encoders of numbers: standardized, in bins between quantiles, or piecewise linear."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import check_count, check_finite_numbers
from ..data.columns import as_column, holds_times, read_numbers, read_objects, read_times
from .encoder import MISSING, MOST_BINS, Encoded, Encoder, Entries, are_finite

_DATE = re.compile(r"\s*\d{1,4}[-./ ](\d{1,2}|[A-Za-z]{3,9})[-./ ]\d{1,4}")


class Numeric(Encoder):
    """Base of encoders of numbers, whose last column has weight 1 for a missing value."""

    def _entries(self, values: Any) -> Encoded:
        numbers = numbers_of(values)
        is_missing = np.isnan(numbers)
        present, missing = np.flatnonzero(~is_missing), np.flatnonzero(is_missing)
        places, columns, weights = self._encode(numbers[present])
        last = np.full(len(missing), len(self._names()) - 1)
        return Encoded(
            len(numbers),
            (
                np.concatenate([present[places], missing]),
                np.concatenate([columns, last]),
                np.concatenate([weights, np.ones(len(missing))]),
            ),
        )

    def _present(self, values: Any) -> NDArray[np.float64]:
        numbers = numbers_of(values)
        present = numbers[~np.isnan(numbers)]
        if not len(present):
            raise ValueError(f"all {len(numbers):,} values are missing: there is nothing to learn from")
        return present

    def _encode(self, numbers: NDArray[np.float64]) -> Entries:
        raise NotImplementedError


class Standardized(Numeric):
    """A number as the weight of one column, with mean 0 and standard deviation 1 over the fitted values.

    The feature's share of a representation is proportional to the number. A constant column has weight 0.

    Parameters
    ----------
    normalize : {None, "l1", "l2"}
        As in :class:`Categorical`. A row has one weight, of which only the sign would remain.

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
        if numbers.min() == numbers.max():  # rounding would leave a deviation above 0
            return float(numbers[0]), 1.0
        return float(numbers.mean()), float(numbers.std()) or 1.0

    def _can_have_learned(self) -> bool:
        return are_finite([self.mean_, self.scale_]) and self.scale_ > 0

    def _names(self) -> list[str]:
        return ["standardized", MISSING]

    def _encode(self, numbers: NDArray[np.float64]) -> Entries:
        return np.arange(len(numbers)), np.zeros(len(numbers), np.int64), (numbers - self.mean_) / self.scale_


class _BetweenQuantiles(Numeric):
    """Base of encoders by ranges between quantiles."""

    _parameter_names = ("n_bins", "normalize")
    _fitted_names = ("edges_",)

    edges_: list[float]

    def __init__(self, n_bins: int = 10, normalize: str | None = None) -> None:
        super().__init__(normalize)
        check_count(n_bins, "n_bins", MOST_BINS)
        self.n_bins = n_bins

    def _can_have_learned(self) -> bool:
        return isinstance(self.edges_, list) and are_finite(self.edges_) and bool((np.diff(self.edges_) > 0).all())


class QuantileBins(_BetweenQuantiles):
    """One column for each range of numbers, of weight 1 if the number is in the range: for effects with jumps.

    Each range holds about as many of the fitted values. Repeated values may leave fewer ranges. The first and the last
    range are open: they include numbers below and above all fitted values.

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
        labels = write_labels(self.edges_)
        middle = [f"[{low}, {high})" for low, high in pairwise(labels)]
        return [f"<{labels[0]}", *middle, f">={labels[-1]}", MISSING]

    def _encode(self, numbers: NDArray[np.float64]) -> Entries:
        return np.arange(len(numbers)), np.searchsorted(self.edges_, numbers, side="right"), np.ones(len(numbers))


class PiecewiseLinear(_BetweenQuantiles):
    """Ranges between quantiles that fill up one after the other: for smooth effects that are not linear.

    With edges b_0 < ... < b_T the weight of column t is 0 for x < b_{t-1}, 1 for x >= b_t, and
    (x − b_{t-1}) / (b_t − b_{t-1}) in between. So a representation is a continuous function of the number. The first
    range continues below b_0 and the last above b_T (Gorishniy, Rubachev & Babenko 2022, On Embeddings for Numerical
    Features in Tabular Deep Learning, equation 1). A first column ``any`` has weight 1 for every number. It replaces
    the bias of the paper's next layer, and is the only weight of the least number.

    Parameters
    ----------
    n_bins : int, default 10
        The number of ranges, T, at most 65,536. Repeated values leave fewer ranges, and equal values none.
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
        labels = write_labels(self.edges_)
        return ["any", *(f"{low} to {high}" for low, high in pairwise(labels)), MISSING]

    def _encode(self, numbers: NDArray[np.float64]) -> Entries:
        edges = np.array(self.edges_)
        weights = np.ones((len(numbers), max(len(edges), 1)))
        weights[:, 1:] = (numbers[:, None] - edges[:-1]) / np.diff(edges)
        weights[:, 2:] = np.maximum(weights[:, 2:], 0)
        weights[:, 1:-1] = np.minimum(weights[:, 1:-1], 1)
        places, columns = np.nonzero(weights)
        return places, columns, weights[places, columns]


def _quantiles(numbers: NDArray[np.float64], n_bins: int) -> NDArray[np.float64]:
    """Return n_bins + 1 quantiles from the least to the largest, all of them among the numbers."""
    ranks = -(-np.arange(n_bins + 1) * (len(numbers) - 1) // n_bins)
    return np.sort(numbers)[ranks]


def write_labels(numbers: Sequence[float]) -> list[str]:
    """Write numbers with the fewest significant digits, at least six, that make them distinct."""
    for digits in range(6, 18):
        labels = [str(int(x)) if x.is_integer() and abs(x) < 1e15 else f"{x:.{digits}g}" for x in map(float, numbers)]
        if len(set(labels)) == len(labels):
            break
    return labels


def numbers_of(values: Any) -> NDArray[np.float64]:
    """Return values in double precision, with NaN for a missing one; of dates and times the year and its fraction."""
    column = as_column(values, "the column")
    if holds_times(column):
        times = read_times(column, "the column").astype("datetime64[us]")
        years = times.astype("datetime64[Y]")
        first, last = (year.astype("datetime64[us]") for year in (years, years + 1))
        return 1970 + (years - np.datetime64(0, "Y")) / np.timedelta64(1, "Y") + (times - first) / (last - first)
    try:
        numbers = read_numbers(column, "the column")
    except TypeError as error:
        if any(isinstance(cell, str) and _DATE.match(cell) for cell in read_objects(column)):
            read_times(column, "the column")  # raises an error that says how to read dates
        raise error
    return check_finite_numbers(numbers, "values", may_be_missing=True)
