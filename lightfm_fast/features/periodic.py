"""The encoder of periodic numbers, such as hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import check_count, check_positive
from .encoder import MISSING, MOST_BINS, Entries
from .numeric import Numeric, numbers_of, write_labels


class Periodic(Numeric):
    """A periodic number: the hour, the weekday, the month, an angle.

    ``n_bins`` columns stand at equal distances on a circle, the first at 0. A number's two neighbours share a weight
    of 1 by its distance to them, so that 23:30 is as close to midnight as 0:30.

    Parameters
    ----------
    period : float
        The length of the circle: 24 for hours, 7 for weekdays, 12 for months. From 1e-30 to 1e30.
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
            raise ValueError(f"n_bins is {n_bins}, expected at least 2: with one bin all numbers are the same")
        self.n_bins = n_bins

    def _learn(self, values: Any) -> Sequence[Any]:
        numbers_of(values)  # nothing to learn, but raises if values are no numbers
        return ()

    @property
    def n_unlisted(self) -> int:
        """All columns except the one of missing values."""
        return self.n_bins

    def _names(self) -> list[str]:
        return [*write_labels([self.period * bin / self.n_bins for bin in range(self.n_bins)]), MISSING]

    def _encode(self, numbers: NDArray[np.float64]) -> Entries:
        position = np.mod(numbers, self.period) / self.period * self.n_bins
        before = np.floor(position)
        share = position - before
        columns = np.concatenate([before, before + 1]).astype(np.int64) % self.n_bins
        return np.tile(np.arange(len(numbers)), 2), columns, np.concatenate([1 - share, share])
