"""The budget of a search: seconds or trials."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

import numpy as np

from .._arguments import is_real, shorten, to_float

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Budget(NamedTuple):
    """The limit of a search.

    Attributes
    ----------
    seconds : float or None
        Time of the whole search, including the refit.
    trials : int or None
    """

    seconds: float | None
    trials: int | None


def parse_budget(budget: Any) -> Budget:
    """Read a number of seconds, or text such as "90s", "10min", "2h" or "30trials".

    Raises
    ------
    TypeError, ValueError
        If it is neither of these, or not above 0.
    """
    expected = "expected seconds, or text such as '90s', '10min', '2h' or '30trials'"
    if isinstance(budget, str):
        expected = expected.replace("seconds, or text", "a number with a unit,")
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|trials?)\s*", budget)
        if not found:
            raise ValueError(f"budget is {shorten(budget)}, {expected}")
        number, unit = found.groups()
        if unit in _UNITS:
            return parse_budget(float(number) * _UNITS[unit])
        if "." in number or int(number) < 1:
            raise ValueError(f"budget is {shorten(budget)}, expected a whole number of at least 1 trial")
        return Budget(None, int(number))
    if not is_real(budget):
        raise TypeError(f"budget is {shorten(budget)}, {expected}")
    seconds = to_float(budget)
    if not 0 < seconds < np.inf:
        raise ValueError(f"budget is {shorten(budget)} seconds, expected a number above 0")
    return Budget(seconds, None)


class Clock:
    """Measures whether a budget is used up."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the search began."""
        return time.perf_counter() - self._started

    def is_over(self, n_trials: int = 0, reserved: float = 0.0) -> bool:
        """Return whether the number of trials is reached, or only the reserved seconds are left."""
        if self.budget.trials is not None:
            return n_trials >= self.budget.trials
        return self.budget.seconds is not None and self.seconds + reserved >= self.budget.seconds
