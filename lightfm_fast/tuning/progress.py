"""Show the progress of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._arguments import counted
from ..callbacks import new_bar, tell
from .budget import Budget


class Progress:
    """A bar with the best score if tqdm is installed (extra ``progress``), else a line for each trial.

    Parameters
    ----------
    is_shown : bool
    budget : Budget
    metric : str
    """

    def __init__(self, is_shown: bool, budget: Budget, metric: str) -> None:
        self._is_shown, self._budget, self._metric = is_shown, budget, metric
        self._bar: Any = None

    def __enter__(self) -> None:
        """Open the bar."""
        if not self._is_shown:
            return
        if self._budget.seconds is None:
            self._bar = new_bar(total=self._budget.trials, desc="Tune", unit="trial")
        else:
            form = "{l_bar}{bar}| {n:.0f} of {total:.0f} s{postfix}"
            self._bar = new_bar(total=self._budget.seconds, desc="Tune", bar_format=form)

    def tick(self, seconds: float) -> None:
        """Show how much of a budget of seconds is used up."""
        if self._bar is not None and self._budget.seconds is not None:
            self._bar.update(min(seconds, self._budget.seconds) - self._bar.n)

    def show(self, trials: Sequence[Any], best: Any, seconds: float) -> None:
        """Show the last trial."""
        if not self._is_shown:
            return
        leading = "none" if best is None else f"{best.score:.4f}, {best.parameters['loss']}"
        if self._bar is None:
            last = trials[-1]
            tell(
                f"Trial {len(trials)} ({last.origin}, {last.parameters['loss']}): {self._metric} {last.score:.4f} "
                f"after {counted(last.epochs, 'epoch')}, {last.state}; best {leading}; {seconds:.0f} s"
            )
            return
        self._bar.set_postfix_str(f"{counted(len(trials), 'trial')}, best {self._metric} {leading}", refresh=False)
        if self._budget.seconds is None:
            self._bar.update()
        self.tick(seconds)

    def __exit__(self, *exception: object) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
