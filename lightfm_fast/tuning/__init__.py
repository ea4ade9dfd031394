"""Find the hyperparameters and epochs that suit a data set and a task, and fit the model.

The search is Optuna's (the extra ``tune``). It starts from the presets of :meth:`lightfm_fast.LightFM.recommended`, and
keeps the preset unless a trial is ahead of it on held-out users that the search did not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._arguments import (
    LARGEST_INDEX,
    check_choice,
    check_count,
    check_flag,
    check_num_threads,
    check_proper_fraction,
    check_random_state,
    count_cpus,
    is_whole,
)
from .._feature_rows import own_columns
from ..cross_validation import Entries
from ..lightfm import LightFM
from .budget import Clock, parse_budget
from .progress import Progress
from .result import Comparison, TuningResult, compare
from .search import Search, Trial, make_study
from .space import SPACE, check_space, fixed_by
from .validation import TASKS, TUNABLE_METRICS, Measure, hold_out

__all__ = ["SPACE", "TASKS", "TUNABLE_METRICS", "Comparison", "TuningResult", "parse_budget", "tune"]


def tune(
    interactions: Any,
    user_features: Any = None,
    item_features: Any = None,
    sample_weight: Any = None,
    timestamps: Any = None,
    *,
    task: str = "warm",
    metric: str = "ndcg",
    k: int = 10,
    budget: float | str = "10min",
    space: Mapping[str, Any] | None = None,
    max_epochs: int = 160,
    validation_fraction: float = 0.1,
    random_state: Any = None,
    num_threads: int | None = None,
    verbose: bool = False,
) -> TuningResult:
    r"""Search for the best hyperparameters and epochs, and fit the model with them on all interactions.

    A part of the interactions is held out as the task will meet them:

    "warm"
        Interactions at random, of known users with known items.
    "new items"
        Some items with all their interactions. Training does not know these items; they are ranked among themselves,
        by their features alone, for all users.
    "new users"
        Some users with all their interactions. Training does not know them; they are described by their features. Where
        they have none, or only identity columns, half of their interactions are folded in and the others are to be
        found.
    "next in time"
        The latest interactions, from one point in time on. Users without earlier ones are left out, unless users have
        features.

    Columns of features that no row of training has are left out of held-out rows, as of anything that comes later. The
    held-out users (items for "new items") are divided into two halves. The search chooses on one. The best of many
    trials is in part the luckiest, so it replaces the preset only if, on the other half, its metric is higher by more
    than the standard error of the paired difference. Otherwise the untouched preset is fitted.

    Parameters
    ----------
    interactions, user_features, item_features, sample_weight
        As in :meth:`lightfm_fast.LightFM.fit`.
    timestamps : array of numbers or datetime64, shape (n_entries,), optional
        When each stored entry happened, for ``task="next in time"``.
    task : {"warm", "new items", "new users", "next in time"}
    metric : str
        One of :data:`lightfm_fast.evaluation.METRICS`, but for coverage and novelty.
    k : int
        Length of the lists that the metric looks at.
    budget : float or str
        Seconds, or text such as "90s", "10min", "2h" or "30trials". Seconds are those of the whole call, as far as the
        time of the last fit can be foretold. A budget that is used up before the preset's trial ends gives the preset.
    space : mapping, optional
        Replaces parts of :data:`SPACE`: from constructor arguments to a value, a list of choices, or a range (least,
        largest), logarithmic where the least is above 0. A value goes for the presets too.
        ``{"loss": ["bpr", "warp"]}`` restricts the losses that are searched, and ``{"no_components": (16, 256)}``
        searches the length of embeddings, which is 64 otherwise.
    max_epochs : int
        Trials are judged after 1, 2, 4, 5, 7, 10, 14, 20, 28, 40 ... epochs, training on from each to the next. A trial
        ends at two in a row without a gain, where its score is below the median of the earlier trials, or here.
    validation_fraction : float
        How much is held out, between 0 and 1: interactions, or items or users with all of theirs.
    random_state : int, RandomState or None
        Seed of the split, the search and the models. With the same seed, one thread and a budget of trials, two calls
        give the same bits.
    num_threads : int, optional
        Threads in training and judging; by default all CPUs.
    verbose : bool
        Show a bar (with tqdm installed) or a line a trial.

    Returns
    -------
    TuningResult

    Raises
    ------
    ImportError
        If Optuna is not installed.
    TypeError, ValueError
        If an argument is out of range, the input does not fit together, the task lacks its features or timestamps, or
        too little can be held out; nothing has been trained then. ValueError, too, if every trial diverges.

    Notes
    -----
    Ctrl-C ends the search, and the best so far is fitted; before the preset's trial has ended, and in the last fit, it
    is raised as usual.

    Examples
    --------
    >>> from lightfm_fast.datasets import make_interactions
    >>> from lightfm_fast.tuning import tune
    >>> data = make_interactions(n_users=100, n_items=50, n_interactions=2000, random_state=0)
    >>> result = tune(data["train"], budget="2trials", space={"no_components": 8}, random_state=0, num_threads=1)
    >>> len(result.trials), result.model.no_components
    (2, 8)
    """
    check_choice(task, "task", TASKS)
    check_choice(metric, "metric", TUNABLE_METRICS)
    check_count(k, "k")
    allowed = parse_budget(budget)
    check_count(max_epochs, "max_epochs", LARGEST_INDEX)
    check_proper_fraction(validation_fraction, "validation_fraction")
    seed = _seed(random_state)
    num_threads = check_num_threads(count_cpus() if num_threads is None else num_threads)
    verbose = check_flag(verbose, "verbose")
    check_space(space, has_dislikes=True, has_own_columns=True)
    make_study(seed)  # a missing Optuna is reported before the work
    clock = Clock(allowed)
    problem = Entries(interactions, user_features, item_features, sample_weight, timestamps)
    measure = Measure(metric, k, num_threads)
    validation = hold_out(problem, task, validation_fraction, seed, measure)
    train = validation.train
    search = Search(
        validation,
        check_space(space, bool((train.interactions.data <= 0).any()), _has_own_columns(train)),
        fixed_by(space),
        clock,
        max_epochs,
        seed,
        num_threads,
        problem.interactions.nnz / train.interactions.nnz,
        Progress(verbose, allowed, measure.name),
    )
    search.run()
    return _finish(search, problem, measure, clock, num_threads)


def _finish(search: Search, problem: Entries, measure: Measure, clock: Clock, num_threads: int) -> TuningResult:
    """Choose between the preset and the best trial, and fit what was chosen on all interactions."""
    best, preset = search.best, search.trials[0]
    comparison = None
    if best is not None and best.confirmed is not None and search.preset_confirmed is not None:
        comparison = compare(best.confirmed, search.preset_confirmed)
    is_preset = preset.state != "diverged" and not (comparison is not None and comparison.is_ahead)
    chosen, epochs = (preset, search.preset_epochs) if is_preset else (best, 0 if best is None else best.epochs)
    if chosen is None:
        raise ValueError(
            "every trial diverged: scale down feature values and sample weights, or narrow the space to smaller "
            "learning rates"
        )
    began = clock.seconds
    model = LightFM(**chosen.parameters)
    model.fit(**problem.fit_arguments(), epochs=epochs, num_threads=num_threads)
    return TuningResult(
        model,
        chosen.parameters,
        epochs,
        is_preset,
        comparison,
        measure.name,
        [_record(number, trial) for number, trial in enumerate(search.trials)],
        None if best is None else search.trials.index(best),
        clock.seconds,
        clock.seconds - began,
        sum(trial.epochs_trained for trial in search.trials),
        search.was_interrupted,
    )


def _record(number: int, trial: Trial) -> dict[str, Any]:
    return {
        "trial": number,
        "origin": trial.origin,
        "state": trial.state,
        "score": trial.score if trial.epochs else None,
        "epochs": trial.epochs,
        "epochs_trained": trial.epochs_trained,
        "seconds": trial.seconds,
        "curve": list(trial.curve),
        **trial.parameters,
    }


def _seed(random_state: Any) -> int:
    """Return a seed: the one given, or one that a generator draws."""
    generator = check_random_state(random_state)
    if is_whole(random_state):
        return int(random_state)
    return int(generator.randint(1 << 32, dtype="uint64"))


def _has_own_columns(problem: Entries) -> bool:
    """Whether identity dropout has columns to leave out."""
    sides = ((problem.user_features, problem.interactions.row), (problem.item_features, problem.interactions.col))
    return any(features is not None and own_columns(features, rows) is not None for features, rows in sides)
