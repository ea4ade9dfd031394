"""Callbacks of training: progress, early stopping, checkpoints, learning-rate decay.

A callback is anything that can be called with the model; it is called after every epoch. A callback that must also
know when a run begins and ends derives from :class:`Callback`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from ._arguments import (
    LARGEST_INDEX,
    as_array,
    check_count,
    check_flag,
    check_learning_rate_factor,
    check_least,
    import_optional,
    shorten,
)
from ._files import check_path
from ._matrices import check_known_positives, sealed

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "LearningRateSchedule",
    "OptunaPruning",
    "ProgressBar",
    "StopTraining",
]

LOGGER = logging.getLogger("lightfm_fast")


class StopTraining(Exception):
    """Raise it when a callback is called after an epoch, to end training; ``fit`` then returns as usual."""


class Callback:
    """Base class of callbacks that act at the begin or end of a run. All methods are optional."""

    def begin(self, model: Any, n_epochs: int) -> None:
        """Prepare for up to ``n_epochs`` epochs. The input has been checked; the model has not changed yet.

        If this raises, the model stays as it was.
        """

    def __call__(self, model: Any) -> None:
        """Act after an epoch."""

    def end(self, model: Any) -> None:
        """Finish, however the run has ended: also after an exception."""


def check_callbacks(callbacks: Any) -> list[Callable[[Any], object]]:
    """Return the callbacks as a list.

    Raises
    ------
    TypeError
        If they are not an iterable of callables.
    """
    if callbacks is None:
        return []
    expected = "a list of callables that take the model"
    if callable(callbacks) or not isinstance(callbacks, Iterable) or hasattr(callbacks, "shape"):
        raise TypeError(f"callbacks is {shorten(callbacks)}, expected {expected}")
    result = list(callbacks)
    for callback in result:
        if not callable(callback) or isinstance(callback, type):
            raise TypeError(f"callbacks holds {shorten(callback)}, expected {expected}")
    return result


@contextmanager
def running(model: Any, n_epochs: int, callbacks: Sequence[Callable[[Any], object]]) -> Iterator[Callable[[], bool]]:
    """Begin and end the callbacks around a run.

    Yields a function that calls all callbacks after an epoch, and returns False if training shall stop.
    """

    def goes_on() -> bool:
        stopped = False
        for callback in callbacks:
            try:
                callback(model)
            except StopTraining:
                stopped = True  # the remaining callbacks are still called for this epoch
        return not stopped

    with ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, Callback):
                _act(callback.begin, model, n_epochs)
                stack.callback(_act, callback.end, model)
        yield goes_on


def _act(method: Callable[..., None], *arguments: Any) -> None:
    """Call a callback's begin or end, between which alone there is training to stop."""
    try:
        method(*arguments)
    except StopTraining as error:
        raise RuntimeError(
            f"{method.__qualname__} raised StopTraining, which ends training after an epoch: raise it when the "
            "callback is called, and another exception here"
        ) from error


@contextmanager
def stage(callbacks: Iterable[Callable[[Any], object]], name: str) -> Iterator[bool]:
    """Name in each ProgressBar what is done between a run's begin and its first epoch; yield whether there is one."""
    bars = [callback for callback in callbacks if isinstance(callback, ProgressBar)]
    for bar in bars:
        bar.show(name)
    yield bool(bars)
    for bar in bars:
        bar.show("Epoch")


def tell(text: str) -> None:
    """Log a line where the application logs messages of level INFO, else print it, above a bar that is there."""
    if LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers():
        LOGGER.info(text)
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        print(text)
    else:
        tqdm.write(text)


def new_bar(**options: Any) -> Any:
    """Return a progress bar with these options of tqdm, or None if tqdm or standard error is missing, as in a GUI."""
    if sys.stderr is None:
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(**options)


class ProgressBar(Callback):
    """Show a bar with loss and speed if tqdm is installed (extra ``progress``), else a line an epoch.

    What is computed before the first epoch, such as the strength of L2, is named in the place of "Epoch" meanwhile.
    Lines go to the logger ``lightfm_fast`` if it has a handler and level INFO, else to standard output.
    ``fit(..., verbose=True)`` adds a ProgressBar before the other callbacks.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._n_done = 0

    def begin(self, model: Any, n_epochs: int) -> None:
        """Open the bar."""
        self._n_done = 0
        self._bar = new_bar(total=n_epochs, desc="Epoch")

    def show(self, name: str) -> None:
        """Name what is done now; "Epoch" again when the epochs begin."""
        if self._bar is not None:
            self._bar.set_description(name)
            self._bar.unpause()  # the speed is that of the epochs
        elif name != "Epoch":
            tell(name)

    def __call__(self, model: Any) -> None:
        """Show the epoch."""
        self._n_done += 1
        facts = {}
        if model.history_:  # empty if a subclass trains in another way
            last = model.history_[-1]
            facts["loss"] = f"{last['loss']:.4f}"
            facts["samples/s"] = f"{last['samples'] / max(last['seconds'], 1e-9):,.0f}"
        if self._bar is None:
            tell(" ".join([f"Epoch {self._n_done}", *(f"{name} {value}" for name, value in facts.items())]))
        else:
            self._bar.set_postfix(facts, refresh=False)
            self._bar.update()

    def end(self, model: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class EarlyStopping(Callback):
    """Stop when a held-out metric no longer improves, and keep the parameters of the best epoch.

    Parameters
    ----------
    metric : callable
        A function of :mod:`lightfm_fast.evaluation`, called as ``metric(model, interactions, **options)``; its values
        are averaged over the users. Without ``interactions``: any function that returns a number, called as
        ``metric(model, **options)``.
    interactions : sparse matrix or array, or dense array, shape (n_users, n_items), optional
        The held-out interactions. Functions of :mod:`lightfm_fast.evaluation` count every entry as a hit, so they and
        partial functions of them get the entries above 0 only. Any other metric gets the matrix unchanged.
    patience : int
        Training stops after this number of epochs in a row without an improvement.
    min_delta : float
        Smallest improvement: the metric must exceed the best by more than this number.
    greater_is_better : bool
        Set False if a lower value is better, as for a loss.
    restore_best : bool
        When training ends, give the model the parameters and the optimiser's state of the best epoch, also after
        Ctrl-C or another callback's exception. After an epoch that diverges the model is as it was before training.
        ``history_`` keeps all epochs. This keeps one copy of the model in memory.
    **options
        Arguments for the metric, such as ``train_interactions``, ``k``, ``user_features``, ``item_features`` or
        ``num_threads``.

    Attributes
    ----------
    scores_ : list of float
        The metric after every epoch of the last run.
    best_score_ : float or None
        The best value in ``scores_``.
    best_epoch_ : int or None
        The epoch of ``best_score_``, as numbered in ``history_``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of range. In training, ValueError if the metric is not a finite
        number; the model then has the best epoch's parameters if ``restore_best`` is set.
    RuntimeError
        In training, if it watches another model meanwhile.

    Examples
    --------
    >>> from lightfm_fast import LightFM
    >>> from lightfm_fast.callbacks import EarlyStopping
    >>> from lightfm_fast.cross_validation import random_train_test_split
    >>> from lightfm_fast.datasets import make_interactions
    >>> from lightfm_fast.evaluation import recall_at_k
    >>> data = make_interactions(n_users=100, n_items=50, n_interactions=1000, random_state=0)
    >>> train, validation = random_train_test_split(data["train"], random_state=0)  # data["test"] is for the end
    >>> stopping = EarlyStopping(recall_at_k, validation, train_interactions=train, patience=2)
    >>> model = LightFM(loss="warp", random_state=0).fit(train, epochs=30, callbacks=[stopping])
    """

    def __init__(
        self,
        metric: Callable[..., Any],
        interactions: Any = None,
        *,
        patience: int = 3,
        min_delta: float = 0.0,
        greater_is_better: bool = True,
        restore_best: bool = True,
        **options: Any,
    ) -> None:
        if not callable(metric):
            raise TypeError(f"metric is {shorten(metric)}, expected a callable")
        check_count(patience, "patience")
        check_least(min_delta, "min_delta", 0.0)
        self.metric = metric
        self.interactions = self._held_out = interactions
        self.patience = patience
        self.min_delta = min_delta
        self.greater_is_better = check_flag(greater_is_better, "greater_is_better")
        self.restore_best = check_flag(restore_best, "restore_best")
        self.options = options
        self._forget()

    def _forget(self) -> None:
        self.scores_: list[float] = []
        self.best_score_: float | None = None
        self.best_epoch_: int | None = None
        self._best_state: Any = None
        self._n_waited = 0
        self._model: Any = None  # whose run has begun

    def _watches_another(self, model: Any) -> bool:
        return self._model is not None and self._model is not model

    def begin(self, model: Any, n_epochs: int) -> None:
        """Forget the last run."""
        self._forget()
        self._model = model
        self._held_out = self.interactions
        if self.interactions is not None and getattr(getattr(self.metric, "func", self.metric), "takes_likes", False):
            likes = check_known_positives(self.interactions, "interactions", above_zero=True)
            self._held_out = sealed(likes)  # the metric does not check it again

    def __call__(self, model: Any) -> None:
        """Measure the model, and stop training after ``patience`` epochs without an improvement."""
        if self._watches_another(model):
            raise RuntimeError(
                "this EarlyStopping watches another model, whose training began later: make one for each model"
            )
        arguments = () if self.interactions is None else (self._held_out,)
        score = _check_score(self.metric(model, *arguments, **self.options), self.metric)
        self.scores_.append(score)
        gain = np.inf if self.best_score_ is None else score - self.best_score_
        if not self.greater_is_better and self.best_score_ is not None:
            gain = -gain
        if gain > self.min_delta:
            self.best_score_, self.best_epoch_, self._n_waited = score, len(model.history_), 0
            if self.restore_best:
                self._best_state = model.get_state()
            return
        self._n_waited += 1
        if self._n_waited >= self.patience:
            raise StopTraining

    def end(self, model: Any) -> None:
        """Give the model the best epoch's parameters."""
        if self._watches_another(model):
            return
        if self._best_state is not None:
            model.set_state(self._best_state)
        self._best_state = self._model = None


class OptunaPruning(Callback):
    """Report a held-out metric to a trial of Optuna after every epoch, and end a trial that is not promising.

    It needs Optuna (extra ``tune``). :func:`lightfm_fast.tuning.tune` does the whole search; this is for studies of
    your own.

    Parameters
    ----------
    trial : optuna.trial.Trial
        The trial that trains the model. Its pruner decides.
    metric, interactions, **options
        As in :class:`EarlyStopping`. Which direction is better is the study's.

    Attributes
    ----------
    score_ : float or None
        The metric after the last epoch: what the objective returns.

    Raises
    ------
    optuna.TrialPruned
        In training, if the pruner ends the trial. ``fit`` passes it on, for Optuna.
    TypeError, ValueError
        As :class:`EarlyStopping`.

    Examples
    --------
    >>> from lightfm_fast.callbacks import OptunaPruning
    >>> def objective(trial):
    ...     model = LightFM(loss="warp", learning_rate=trial.suggest_float("learning_rate", 0.01, 0.3))
    ...     pruning = OptunaPruning(trial, recall_at_k, validation, train_interactions=train)
    ...     model.fit(train, epochs=20, callbacks=[pruning])
    ...     return pruning.score_
    """

    def __init__(self, trial: Any, metric: Callable[..., Any], interactions: Any = None, **options: Any) -> None:
        self._optuna = import_optional("optuna", "tune", "OptunaPruning")
        if not all(callable(getattr(trial, name, None)) for name in ("report", "should_prune")):
            raise TypeError(f"trial is {shorten(trial)}, expected the trial that Optuna passes to the objective")
        # It measures as early stopping does, and never stops.
        self._measure = EarlyStopping(metric, interactions, patience=LARGEST_INDEX, restore_best=False, **options)
        self.trial = trial
        self.score_: float | None = None

    def begin(self, model: Any, n_epochs: int) -> None:
        """Forget the last run."""
        self._measure.begin(model, n_epochs)
        self.score_ = None

    def __call__(self, model: Any) -> None:
        """Measure the model, report, and ask the pruner."""
        self._measure(model)
        self.score_ = self._measure.scores_[-1]
        self.trial.report(self.score_, len(model.history_))
        if self.trial.should_prune():
            raise self._optuna.TrialPruned

    def end(self, model: Any) -> None:
        """Let another model be measured."""
        self._measure.end(model)


class Checkpoint(Callback):
    """Save the model, its optimiser's state and its random state every few epochs.

    Files are replaced atomically, so a process that is killed at any moment leaves a complete file. To resume, call
    ``LightFM.load(path)`` and ``fit_partial`` with the remaining epochs. With one thread the resumed run gives the same
    bits as an uninterrupted one, whatever ``random_state`` was, unless ``average`` is True. Then the file has the
    means; the resumed run goes on from them, and its means begin anew.

    How to represent newcomers (``cold_start``) is learned after the last epoch, so no checkpoint has it. To serve a
    model, save it when ``fit`` has returned.

    Parameters
    ----------
    path : path
        Where to save. ``{epoch}`` in the path is replaced by the epoch's number; without it each file replaces the
        last.
    every : int
        Save after each epoch whose number, as in ``history_``, is a multiple of this.
    dataset, encoders : optional
        As in :meth:`lightfm_fast.LightFM.save`.

    Raises
    ------
    ValueError
        If ``every`` is not a whole number of at least 1.

    Examples
    --------
    >>> from lightfm_fast.callbacks import Checkpoint
    >>> checkpoint = Checkpoint("model-{epoch}.safetensors", every=5)
    """

    def __init__(
        self, path: str | os.PathLike[str], every: int = 1, *, dataset: Any = None, encoders: Any = None
    ) -> None:
        check_count(every, "every")
        self.path = check_path(path)
        self.every = every
        self.dataset = dataset
        self.encoders = encoders

    def __call__(self, model: Any) -> None:
        """Save if the epoch's number is a multiple of ``every``."""
        epoch = len(model.history_)
        if epoch % self.every == 0:
            model.save(self.path.replace("{epoch}", str(epoch)), dataset=self.dataset, encoders=self.encoders)


class LearningRateSchedule(Callback):
    """Multiply the model's ``learning_rate`` by a factor that depends on the epoch.

    The factor depends on the number of epochs since ``fit``. So training in parts, or resumed from a checkpoint, has
    the same rates. ``learning_rate`` itself does not change.

    Parameters
    ----------
    schedule : float or callable
        A number r decays exponentially: epoch e, from 0, gets the factor :math:`r^e`. A callable is called with e and
        returns the factor.

    Raises
    ------
    TypeError, ValueError
        If a factor, given or returned by the callable, is not a finite number of at least 0. At the beginning of
        training, ValueError if the model's ``learning_schedule`` is "adadelta", which has no learning rate.

    Examples
    --------
    >>> from lightfm_fast.callbacks import LearningRateSchedule
    >>> decays = LearningRateSchedule(0.95)
    >>> warms_up = LearningRateSchedule(lambda epoch: min(1.0, (epoch + 1) / 5))
    """

    def __init__(self, schedule: float | Callable[[int], float]) -> None:
        if not callable(schedule):
            check_learning_rate_factor(schedule)
        self.schedule = schedule

    def _set(self, model: Any) -> None:
        epoch = len(model.history_)
        factor = self.schedule(epoch) if callable(self.schedule) else _power(self.schedule, epoch)
        model.learning_rate_factor = check_learning_rate_factor(factor)

    def begin(self, model: Any, n_epochs: int) -> None:
        """Set the rate of the first epoch."""
        if model.learning_schedule == "adadelta":
            raise ValueError("learning_schedule='adadelta' has no learning rate to schedule: use 'adagrad'")
        self._set(model)

    def __call__(self, model: Any) -> None:
        """Set the rate of the next epoch."""
        self._set(model)

    def end(self, model: Any) -> None:
        """Reset the factor to 1."""
        model.learning_rate_factor = 1.0


def _power(rate: float, epoch: int) -> float:
    """Return ``rate`` to the power of ``epoch``, in double precision; infinity where that is too large."""
    try:
        return float(rate) ** epoch
    except OverflowError:
        return np.inf


def _check_score(values: Any, metric: object) -> float:
    """Return the mean of a metric's values.

    Raises
    ------
    ValueError
        If the mean is not a finite number.
    """
    array = as_array(values, f"what {getattr(metric, '__name__', metric)} gave")
    if (
        array.dtype.kind not in "biuf"
        or not array.size
        or not np.isfinite(score := float(array.mean(dtype=np.float64)))
    ):
        raise ValueError(
            f"{getattr(metric, '__name__', metric)} gave {shorten(values)}, expected a finite number or an array of "
            "them: does any user have held-out interactions?"
        )
    return score
