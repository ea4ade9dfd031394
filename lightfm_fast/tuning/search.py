"""The search: presets first, then trials that Optuna chooses. A trial trains on while its score gains."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import DivergedError, import_optional
from .._hyperparameters import PRESET_EPOCHS, PRESETS
from .._training import count_negatives
from ..callbacks import Callback, StopTraining
from ..lightfm import LightFM
from .budget import Clock
from .progress import Progress
from .space import SHARED, Space, place, starts, suggest
from .validation import Validation

BASELINE = "fast"  # the preset to be beaten, the default of ``recommended()``
PATIENCE = 2  # checkpoints in a row without a gain, that is, up to twice the epochs of the best
LEAST_EPOCHS = 20  # no trial ends before: with a large penalty training starts slowly, and the score may dip
N_UNPRUNED = 4  # the number of trials to compare with before any is pruned
N_RANDOM = 10  # the number of random trials before Optuna models the scores


def checkpoints(max_epochs: int) -> set[int]:
    """Return the epochs after which a trial is measured: apart by a factor of the root of 2, including the presets'."""
    steps = {round(PRESET_EPOCHS * 2 ** (power / 2)) for power in range(-11, 2 * int(np.log2(max_epochs)) + 1)}
    return {epoch for epoch in steps if epoch <= max_epochs} | {max_epochs}


@dataclass
class Trial:
    """The record of a trial.

    Attributes
    ----------
    origin : str
        "preset fast", "preset ranking", "start" or "search"; "plain warp" and the like where no preset is searched.
    parameters : dict
        Constructor arguments.
    state : str
        "complete", "pruned", "diverged", "out of time" or "interrupted".
    score : float
        Mean of the metric over the search's half of users, at the best checkpoint.
    epochs : int
        The epochs of the best checkpoint; 0 before the first.
    epochs_trained : int
    seconds : float
        Time of training and measuring.
    curve : list of (int, float)
        Each checkpoint's epochs and score.
    """

    origin: str
    parameters: dict[str, Any]
    state: str = "complete"
    score: float = -np.inf
    epochs: int = 0
    epochs_trained: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)
    is_measured_at_end: bool = False  # what represents newcomers is learned after the last epoch
    confirmed: NDArray[np.float64] | None = None  # metric of each user of the other half, while this trial is the best
    began: float = 0.0  # seconds of the search's clock
    epoch_seconds: float = 0.0  # of the epochs alone: a fit also searches for the L2 penalty, and learns newcomers
    judging_seconds: float = 0.0
    n_calls: int = 0

    @property
    def is_eligible(self) -> bool:
        """Return whether the trial can be chosen: it has been measured and has not diverged."""
        return self.epochs > 0 and self.state != "diverged"


class Search:
    """Runs the trials.

    Attributes
    ----------
    trials : list of Trial
    best : Trial or None
        The trial with the highest score.
    preset_confirmed : array or None
        The unchanged preset's metric of each user, or group of items, of the other half.
    unit : str
        "users" or "groups of items".
    """

    def __init__(
        self,
        validation: Validation,
        space: Space,
        fixed: dict[str, Any],
        ways: list[str],
        clock: Clock,
        max_epochs: int,
        seed: int,
        num_threads: int,
        growth: float,
        progress: Progress,
    ) -> None:
        self._validation = validation
        self._space = space
        self._fixed = fixed
        self._ways = ways  # that cold_start="auto" of new items chooses from
        self._seed = seed
        self._clock = clock
        self._max_epochs = max_epochs
        self._checkpoints = checkpoints(max_epochs)
        self._num_threads = num_threads
        self._growth = growth  # the entries that the model is refitted on over the entries of training
        self._progress = progress
        self._study = make_study(seed)
        self._has_features = not (validation.train.user_features is None and validation.train.item_features is None)
        self.unit = validation.unit
        self.preset_epochs = min(PRESET_EPOCHS, max_epochs)
        self.trials: list[Trial] = []
        self.best: Trial | None = None
        self.preset_confirmed: NDArray[np.float64] | None = None
        self.was_interrupted = False

    def run(self) -> None:
        """Run trials until the budget is used up. Ctrl-C ends the search and keeps the best trial so far."""
        try:
            with self._progress:
                for origin, chosen, trial in self._proposals():
                    self._try(origin, chosen, trial)
                    if self._clock.is_over(len(self.trials), self._refit_seconds()):
                        break
        except KeyboardInterrupt:
            if self.preset_confirmed is None:
                raise
            self.was_interrupted = True
            if self.trials[-1].state == "running":
                self.trials[-1].state = "interrupted"
                self._settle(self.trials[-1])

    def _proposals(self) -> Iterator[tuple[str, dict[str, Any], Any]]:
        """Yield origins, constructor arguments and trials of Optuna, without an end.

        The slower preset comes after the other starting points, so that even a short search tries these.
        """
        (origin, model), *others = self._presets()
        yield origin, model.get_params(), None
        for point in starts(self._space):
            yield "start", *self._enqueued(point)
        for origin, model in others:
            yield origin, model.get_params(), None
        while True:
            trial = self._study.ask()
            yield "search", suggest(trial, self._space), trial

    def _presets(self) -> list[tuple[str, LightFM]]:
        """Return the presets whose loss is searched, or else LightFM's default settings with the first loss."""
        presets = [
            (f"preset {kind}", LightFM.recommended(kind, **self._fixed_of(values["loss"])))
            for kind, values in sorted(PRESETS.items(), key=lambda preset: preset[0] != BASELINE)
            if values["loss"] in self._space
        ]
        loss = next(iter(self._space))
        return presets or [(f"plain {loss}", LightFM(loss=loss, **{**SHARED, **self._fixed_of(loss)}))]

    def _fixed_of(self, loss: str) -> dict[str, Any]:
        """Return the values that the caller fixes and the loss takes."""
        return {name: value for name, value in self._fixed.items() if name in self._space[loss]}

    def _enqueued(self, point: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Return the constructor arguments and the trial of Optuna at a point of the space."""
        self._study.enqueue_trial(point)
        trial = self._study.ask()
        return suggest(trial, self._space), trial

    def _trial_of_preset(self, model: LightFM, trial: Trial) -> Any:
        """Return Optuna's trial of a trained preset, which training has told its penalties; None outside the space."""
        parameters = model.get_params()
        found = {
            "item_alpha": model.item_alpha_,
            "user_alpha": model.user_alpha_,
            "n_negatives": count_negatives(parameters, self._validation.train.interactions.shape[1]),
        }
        point = place({**parameters, **found}, self._space)
        if point is None:
            return None
        _, optuna_trial = self._enqueued(point)
        for epoch, score in trial.curve:
            optuna_trial.report(score, epoch)
        return optuna_trial

    def _try(self, origin: str, chosen: dict[str, Any], optuna_trial: Any) -> None:
        model = LightFM(**{**chosen, "random_state": self._seed})
        trial = Trial(origin, model.get_params(), "running")
        trial.is_measured_at_end = model.cold_start != "features" and self._has_features
        self.trials.append(trial)
        arguments = {**self._validation.train.fit_arguments(), "num_threads": self._num_threads}
        trial.began = self._clock.seconds
        watch = _Watch(self, trial, optuna_trial)
        try:
            with warnings.catch_warnings():
                # The search has chosen the learning rate, so advice to lower it helps nobody.
                warnings.filterwarnings("ignore", "the mean loss of epoch", UserWarning)
                for epochs in self._calls(model, trial):
                    trial.n_calls += 1
                    model.fit_partial(**arguments, epochs=epochs - len(model.history_), callbacks=[watch])
                    if not trial.is_measured_at_end or trial.state != "running":
                        break
                    watch.measure(model)
        except (StopTraining, _OutOfTime):  # the former of a measurement between calls
            pass
        except DivergedError:
            trial.state = "diverged"
        finally:
            trial.seconds = self._clock.seconds - trial.began
        if trial.state == "running":
            trial.state = "complete"
        self._settle(trial)
        if optuna_trial is None:
            optuna_trial = self._trial_of_preset(model, trial)
        if optuna_trial is not None:
            self._tell(optuna_trial, trial)
        self._progress.show(self.trials, self.best, self._clock.seconds)

    def _calls(self, model: LightFM, trial: Trial) -> list[int]:
        """Return the epochs that training has behind it after each call of ``fit_partial``.

        Content is learned by the end of each call. "auto" decides once, by a comparison that takes a part of the
        first call's epochs, so it gets them all.
        """
        if not trial.is_measured_at_end:
            return [self._max_epochs]
        return [self.preset_epochs] if model.cold_start == "auto" else sorted(self._checkpoints)

    def _settle(self, trial: Trial) -> None:
        """Make a trial that has ended the best, if it is."""
        if trial.is_eligible and (self.best is None or trial.score > self.best.score):
            if self.best is not None:
                self.best.confirmed = None
            self.best = trial

    def _tell(self, optuna_trial: Any, trial: Trial) -> None:
        states = import_optional("optuna", "tune", "tune").trial.TrialState
        if trial.state in ("pruned", "out of time"):
            self._study.tell(optuna_trial, state=states.PRUNED)
        else:  # 0 is the worst value of every metric
            self._study.tell(optuna_trial, trial.score if trial.is_eligible else 0.0)

    def _refit_seconds(self) -> float:
        """Estimate the seconds of the refit, as the longer of the best trial's and the preset's.

        A fit has epochs, and work before and after them that does not grow with their number. The work of a trial that
        still runs is known so far only.
        """
        seconds = 0.0
        for trial, epochs in ((self.best, None), (self.trials[0], self.preset_epochs)):
            if trial is None or not trial.epochs_trained:
                continue
            whole = (trial.seconds or self._clock.seconds - trial.began) - trial.judging_seconds
            beside = max(0.0, whole - trial.epoch_seconds) / trial.n_calls
            of_epochs = (trial.epochs if epochs is None else epochs) * trial.epoch_seconds / trial.epochs_trained
            seconds = max(seconds, (beside + of_epochs) * self._growth)
        return seconds

    def judge(self, model: LightFM, trial: Trial) -> float:
        """Measure a model at a checkpoint. If it leads, also measure it on each user of the other half."""
        began = self._clock.seconds
        score = float(self._validation.search(model).mean())
        epoch = len(model.history_)
        self._progress.tick(self._clock.seconds)
        trial.curve.append((epoch, score))
        is_preset = trial is self.trials[0] and epoch == self.preset_epochs
        leads = score > trial.score and (self.best is None or score > self.best.score)
        confirm = self._confirmed_preset if is_preset else self._validation.confirm
        confirmed = confirm(model) if is_preset or leads else None
        if score > trial.score:
            trial.score, trial.epochs = score, epoch
        if leads:
            trial.confirmed = confirmed
        if is_preset:
            self.preset_confirmed = confirmed
        trial.judging_seconds += self._clock.seconds - began
        return score

    def _confirmed_preset(self, model: LightFM) -> NDArray[np.float64]:
        """Measure the preset on the other half; new items in each way, of which the best counts.

        "auto" chooses by one draw of items, so it may choose another way for all interactions than it has here.
        """
        found = [self._validation.confirm(model)]
        for way in self._ways if model.cold_start == "auto" else ():
            with model.represented_by(way, self._validation.train, self._num_threads):
                found.append(self._validation.confirm(model))
        return max(found, key=lambda values: float(values.mean()))

    def is_checkpoint(self, epoch: int) -> bool:
        """Return whether trials are measured after this number of epochs."""
        return epoch in self._checkpoints

    def is_out_of_time(self) -> bool:
        """Return whether only the time for the refit is left."""
        return self._clock.is_over(reserved=self._refit_seconds())


class _OutOfTime(Exception):
    """Ends a trial at once: StopTraining would end it after what represents newcomers has been learned."""


class _Watch(Callback):
    """Measures a trial at its checkpoints, and ends it if it no longer gains or is behind the others."""

    def __init__(self, search: Search, trial: Trial, optuna_trial: Any) -> None:
        self._search, self._trial, self._optuna_trial = search, trial, optuna_trial
        self._n_waited = 0

    def __call__(self, model: LightFM) -> None:
        search, trial = self._search, self._trial
        epoch = trial.epochs_trained = len(model.history_)
        trial.epoch_seconds += model.history_[-1]["seconds"]
        if search.is_checkpoint(epoch) and not trial.is_measured_at_end:
            self.measure(model)
        if search.is_out_of_time():
            trial.state = "out of time"
            raise _OutOfTime

    def measure(self, model: LightFM) -> None:
        """Measure at a checkpoint, and raise StopTraining if the trial has ended."""
        search, trial = self._search, self._trial
        epoch, best = len(model.history_), trial.score
        score = search.judge(model, trial)
        self._n_waited = 0 if score > best else self._n_waited + 1
        if self._is_behind(score, epoch) and trial.origin == "search":
            trial.state = "pruned"
            raise StopTraining
        least = search.preset_epochs if trial is search.trials[0] else LEAST_EPOCHS
        if self._n_waited >= PATIENCE and epoch >= least:
            raise StopTraining

    def _is_behind(self, score: float, epoch: int) -> bool:
        if self._optuna_trial is None:
            return False
        self._optuna_trial.report(score, epoch)
        return bool(self._optuna_trial.should_prune())


def make_study(seed: int) -> Any:
    """Make a silent study of Optuna in memory.

    Raises
    ------
    ImportError
        If Optuna is not installed.
    """
    optuna = import_optional("optuna", "tune", "lightfm_fast.tuning")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # The arguments of one loss are drawn together (multivariate), and separately from other losses' (group).
            sampler = optuna.samplers.TPESampler(
                seed=seed,
                multivariate=True,
                group=True,
                n_startup_trials=N_RANDOM,
            )
        pruner = optuna.pruners.MedianPruner(n_startup_trials=N_UNPRUNED, n_warmup_steps=LEAST_EPOCHS)
        return optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    finally:
        optuna.logging.set_verbosity(verbosity)
