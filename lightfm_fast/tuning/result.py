"""The result of a search: the model, its settings, the trials, and the comparison with the preset."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from .._arguments import check_axes, counted
from .._axes import mark_point, new_axes
from .._hyperparameters import PRESET_EPOCHS
from ..evaluation import mean_and_error
from ..lightfm import LightFM

# Few popular items carry the metric, so two errors, as where "auto" compares what represents new items.
_LEAST_ERRORS = {"users": 1.0, "groups of items": 2.0}
_SHOWN_STATES = {"complete": "o", "pruned": "x", "out of time": "s", "interrupted": "s"}


@dataclass(frozen=True)
class Comparison:
    """The best trial compared with the unchanged preset, on held-out users, or items, that the search did not see.

    Attributes
    ----------
    tuned, preset : float
        The mean metric of the best trial and of the preset, for new items in its best way of ``cold_start``.
    difference, standard_error : float
        The best trial's metric less the preset's, and the standard error of this difference: over users or, for new
        items, over groups of items (jackknife).
    n : int
        The number of users or groups.
    unit : str
        "users" or "groups of items".
    """

    tuned: float
    preset: float
    difference: float
    standard_error: float
    n: int
    unit: str

    @property
    def is_ahead(self) -> bool:
        """Whether the tuned model is ahead by more than a standard error; by two for groups of items."""
        return self.difference > _LEAST_ERRORS[self.unit] * self.standard_error


@dataclass(frozen=True, eq=False, repr=False)
class TuningResult:
    """The result of :func:`tune`.

    Attributes
    ----------
    model : LightFM
        Fitted on all interactions with ``parameters`` for ``epochs``.
    parameters : dict
        The constructor's arguments, including the seed.
    epochs : int
    is_preset : bool
        Whether the unchanged preset was kept, since no trial was ahead of it: see :attr:`Comparison.is_ahead`.
    comparison : Comparison or None
        The best trial compared with the preset. None if the preset's trial diverged, or the budget ended before it.
    metric : str
        Such as ``"ndcg@10"``.
    trials : list of dict
        One record a trial: ``trial`` (from 0), ``origin``, ``state``, ``score``, ``epochs`` (of the best checkpoint),
        ``epochs_trained``, ``seconds``, ``curve`` (pairs of epochs and score) and the constructor's arguments.
    best_trial : int or None
        The number of the record with the highest score. Since it is the best of many, its score is too high;
        ``comparison`` has an unbiased one.
    seconds, refit_seconds : float
        Time of the whole call, and of the refit in it.
    epochs_trained : int
        The epochs of all trials.
    was_interrupted : bool
        Whether Ctrl-C ended the search.
    """

    model: LightFM
    parameters: dict[str, Any]
    epochs: int
    is_preset: bool
    comparison: Comparison | None
    metric: str
    trials: list[dict[str, Any]]
    best_trial: int | None
    seconds: float
    refit_seconds: float
    epochs_trained: int
    was_interrupted: bool

    def __str__(self) -> str:
        return "\n".join([self._verdict(), self._repeat(), self._cost()])

    def __repr__(self) -> str:
        return f"<TuningResult: {self._verdict()}>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self._verdict())}<br><code>{escape(self._repeat())}</code><br>{escape(self._cost())}</p>"

    def _verdict(self) -> str:
        found, first = self.comparison, self.trials[0]["origin"]
        if found is None:
            what = f"{first} kept, since the search ended before its trial" if self.is_preset else "tuned"
            return f"{self.metric}: {what}"
        who = f"{first} kept, best trial" if self.is_preset else "tuned"
        return (
            f"{self.metric}: {who} {found.tuned:.4f}, {first} {found.preset:.4f}, difference {found.difference:+.4f} ± "
            f"{found.standard_error:.4f} over {found.n:,} {found.unit} that the search did not see"
        )

    def _repeat(self) -> str:
        return f"{LightFM(**self.parameters)!r}.fit(..., epochs={self.epochs})"

    def _cost(self) -> str:
        return (
            f"{counted(len(self.trials), 'trial')}, {counted(self.epochs_trained, 'epoch')}, {self.seconds:.0f} s with "
            f"{self.refit_seconds:.0f} s for the model on all interactions"
        )

    def to_frame(self, backend: Any = "pandas") -> Any:
        """Return the trials as a data frame with a row for each, without curves.

        Parameters
        ----------
        backend : str or module
            The library of the frame: "pandas", "polars", "pyarrow" or another that narwhals supports.

        Returns
        -------
        data frame

        Raises
        ------
        ImportError
            If the library is not installed.
        ValueError
            If narwhals does not support the library.
        """
        import narwhals as nw  # imported here, since it is slow to import

        columns = {name: [trial[name] for trial in self.trials] for name in self.trials[0] if name != "curve"}
        return nw.from_dict(columns, backend=backend).to_native()

    def plot(self, ax: Any = None) -> Any:
        """Draw each trial's score by epochs; the best trial and the unchanged preset stand out.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed; the extra ``plot`` installs it.
        TypeError
            If ``ax`` is no Axes.
        """
        check_axes(ax)
        ax = new_axes("TuningResult.plot") if ax is None else ax
        losses = dict.fromkeys(trial["loss"] for trial in self.trials)
        colours = {loss: f"C{number}" for number, loss in enumerate(losses)}
        named = set()
        for trial in self.trials:
            if not trial["curve"]:
                continue
            is_best, is_preset = trial["trial"] == self.best_trial, trial["trial"] == 0
            loss = trial["loss"]
            label = None if loss in named else loss
            named.add(loss)
            epochs, scores = zip(*trial["curve"], strict=True)
            front = is_best or is_preset
            (line,) = ax.plot(
                epochs,
                scores,
                color=colours[loss],
                linewidth=2.2 if front else 1,
                linestyle="--" if is_preset and not is_best else "-",
                alpha=1 if front else 0.45,
                zorder=3 if front else 2,
                label=label,
            )
            mark = _SHOWN_STATES.get(trial["state"], "x")
            ax.plot(epochs[-1:], scores[-1:], mark, markersize=4, color=line.get_color(), alpha=line.get_alpha())
            if is_preset and PRESET_EPOCHS in epochs:
                at = epochs.index(PRESET_EPOCHS)
                mark_point(ax, (epochs[at], scores[at]), trial["origin"], -12, "0.2")
            if is_best:
                mark_point(ax, (trial["epochs"], trial["score"]), f"best: {trial['score']:.4g}", 8, line.get_color())
        ax.set_xscale("log")
        ticks = sorted({epoch for trial in self.trials for epoch, _ in trial["curve"]})[::2]
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.margins(y=0.12)
        ax.set_xlabel("epochs")
        ax.set_ylabel(f"{self.metric} of the search's users")
        ax.legend(frameon=False, title="loss")
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def compare(tuned: Any, preset: Any, unit: str = "users") -> Comparison:
    """Compare two models' metrics of the same users, or groups of items, each of shape (n,)."""
    return Comparison(float(tuned.mean()), float(preset.mean()), *mean_and_error(tuned - preset), len(tuned), unit)
