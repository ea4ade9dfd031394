"""Find the hyperparameters and epochs that suit a data set and a task, and fit the model.

The search is Optuna's (the extra ``tune``). It starts from the presets of :meth:`lightfm_fast.LightFM.recommended`, and
keeps the preset unless a trial is ahead of it on held-out users that the search did not see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import scipy.sparse as sp

from .._arguments import (
    LARGEST_INDEX,
    check_choice,
    check_count,
    check_num_threads,
    check_proper_fraction,
    check_random_state,
    check_verbose,
    is_whole,
    threads_for,
)
from .._cold_start import WAYS, check_has_content, has_content, has_words, may_map_users
from .._feature_rows import check_identity_dropout, has_identity_columns, identity
from ..cross_validation import Entries
from ..lightfm import LightFM
from .budget import Clock, parse_budget
from .progress import Progress
from .result import Comparison, TuningResult, compare
from .search import Search, Trial, make_study
from .space import COLD_STARTS, SPACE, check_space, fixed_by, is_searched
from .validation import HELD_OUT, TASKS, TUNABLE_METRICS, Measure, check_task, hold_out

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
    validation_fraction: float | None = None,
    random_state: Any = None,
    num_threads: int | None = None,
    verbose: bool = False,
) -> TuningResult:
    r"""Search for the best hyperparameters and epochs, and fit a model with them on all interactions.

    The task says which part of the interactions is held out:

    "warm"
        Random interactions of known users with known items.
    "new items"
        Some items with all their interactions. Training does not know these items. They are ranked among themselves,
        by their features only, for all users.
    "new users"
        Some users with all their interactions. Training does not know these users. They are represented by their
        features. If they have none, or only identity columns, half of their interactions are folded in, and the model
        must find the other half.
    "next in time"
        The latest interactions, from one point in time on. Users without earlier interactions are left out, unless
        users have features.

    Held-out rows lose the feature columns that no row of training has, since later rows would not have them either. The
    held-out users (items for "new items") are divided into two halves. The search chooses on one half. The best of many
    trials is the best partly by chance. So the best trial replaces the preset only if, on the other half, its metric is
    higher by more than the standard error of the paired difference. For "new items" it must be higher by more than two
    standard errors, and the preset has the ``cold_start`` that ranks this half best. Otherwise the unchanged preset is
    fitted.

    Parameters
    ----------
    interactions, user_features, item_features, sample_weight
        As in :meth:`lightfm_fast.LightFM.fit`.
    timestamps : array of numbers or datetime64, shape (n_entries,), optional
        The time of each stored entry, for ``task="next in time"``.
    task : {"warm", "new items", "new users", "next in time"}
        Also with hyphens or underscores: "next-in-time".
    metric : str
        One of :data:`lightfm_fast.evaluation.METRICS`, except coverage and novelty.
    k : int
        Length of the lists that the metric looks at.
    budget : float or str
        Seconds, or text such as "90s", "10min", "2h" or "30trials". Seconds limit the whole call: the search ends when
        only the estimated time of the last fit is left. If the budget is over before the preset's trial ends, the
        preset is fitted, however long that takes. docs/tuning.md says when a call takes longer than its seconds.
    space : mapping, optional
        Replaces parts of :data:`SPACE`. It maps constructor arguments to a value, a list of choices, or a range (least,
        largest), which is logarithmic if the least is above 0. A single value also applies to the presets.
        ``{"loss": ["bpr", "warp"]}`` restricts the losses, and ``{"no_components": (16, 256)}`` searches the length of
        embeddings, which is 64 otherwise. If no preset has one of the losses, LightFM's default settings for the first
        loss take the preset's place.
    max_epochs : int
        A trial is measured after 1, 2, 4, 5, 7, 10, 14, 20, 28, 40 ... epochs of one training run. From 20 epochs on,
        it ends after two of these checkpoints without a gain, at the latest at ``max_epochs``. A trial that Optuna
        chose also ends if its score is below the median of the earlier trials.
    validation_fraction : float, optional
        The share that is held out, between 0 and 1: of interactions, by default 0.1; or of items or users with all
        their interactions, by default 0.2, since they are fewer.
    random_state : int, RandomState, Generator or None
        Seed of the split, the search and the models. With the same seed, one thread and a budget of trials, two calls
        give the same bits.
    num_threads : int, optional
        Threads of training and ranking; by default one for fewer than 200,000 interactions, which train fast, else all
        CPUs.
    verbose : bool
        Show a bar if tqdm is installed, else a line for each trial.

    Returns
    -------
    TuningResult

    Raises
    ------
    ImportError
        If Optuna is not installed.
    TypeError, ValueError
        If an argument is out of range, the input does not fit together, the task lacks its features or timestamps, or
        too little can be held out; nothing has been trained then. Also ValueError if every trial diverges.

    Notes
    -----
    Ctrl-C ends the search, and the best model so far is fitted. Before the preset's trial has ended, and in the last
    fit, Ctrl-C raises KeyboardInterrupt as usual.

    Examples
    --------
    >>> from lightfm_fast.datasets import make_interactions
    >>> from lightfm_fast.tuning import tune
    >>> data = make_interactions(n_users=100, n_items=50, n_interactions=2000, random_state=0)
    >>> result = tune(data["train"], budget="2trials", space={"no_components": 8}, random_state=0, num_threads=1)
    >>> len(result.trials), result.model.no_components
    (2, 8)
    """
    task = check_task(task)
    check_choice(metric, "metric", TUNABLE_METRICS)
    k = check_count(k, "k")
    allowed = parse_budget(budget)
    max_epochs = check_count(max_epochs, "max_epochs", LARGEST_INDEX)
    if validation_fraction is None:
        validation_fraction = HELD_OUT[task]
    validation_fraction = check_proper_fraction(validation_fraction, "validation_fraction")
    seed = _seed(random_state)
    num_threads = None if num_threads is None else check_num_threads(num_threads)
    verbose = check_verbose(verbose)
    check_space(space, has_dislikes=True, has_features=True, has_own_columns=True, cold_starts=COLD_STARTS["new items"])
    make_study(seed)  # a missing Optuna is reported before the work
    clock = Clock(allowed)
    problem = Entries(interactions, user_features, item_features, sample_weight, timestamps)
    num_threads = num_threads or threads_for(problem.interactions.nnz)
    measure = Measure(metric, k, num_threads)
    validation = hold_out(problem, task, validation_fraction, seed, measure)
    train = validation.train
    parts = _judged(problem), _judged(train)
    ways = [way for way in COLD_STARTS.get(task, ()) if all(_may_represent(way, task, *part) for part in parts)]
    searched = check_space(
        space,
        has_dislikes=bool((train.interactions.data <= 0).any()),
        has_features=not (train.user_features is None and train.item_features is None),
        has_own_columns=all(has_identity_columns(users, items, entries) for entries, users, items in parts),
        cold_starts=ways,
    )
    for entries, users, items in parts:  # a trial would refuse these, or the last fit
        for values in searched.values():
            check_identity_dropout(_largest(values.get("identity_dropout", 0.0)), users, items, entries)
            given = values.get("cold_start", "features")
            for way in given if is_searched(given) else [given]:
                check_has_content(way, entries, items, users)
    search = Search(
        validation,
        searched,
        fixed_by(space),
        ways if task == "new items" else [],
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
    """Choose between the preset and the best trial, and fit the chosen settings on all interactions."""
    best, preset = search.best, search.trials[0]
    comparison = None
    if best is not None and best.confirmed is not None and search.preset_confirmed is not None:
        comparison = compare(best.confirmed, search.preset_confirmed, search.unit)
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
    """Return the given seed, or a seed drawn from the given generator."""
    generator = check_random_state(random_state)
    if is_whole(random_state):
        return int(random_state)
    return int(generator.randint(1 << 32, dtype="uint64"))


def _may_represent(way: str, task: str, entries: sp.coo_matrix, users: sp.csr_matrix, items: sp.csr_matrix) -> bool:
    """Tell whether known users or items share features, by which a way can represent the newcomers of a task."""
    if task == "new users":
        return may_map_users(entries, users)
    return (has_words if way in WAYS and WAYS[way].has_content else has_content)(entries, items)


def _judged(problem: Entries) -> tuple[sp.coo_matrix, sp.csr_matrix, sp.csr_matrix]:
    """Return the interactions and the features of both sides, which are the identity if none were given."""
    (n_users, n_items), users, items = problem.interactions.shape, problem.user_features, problem.item_features
    return (
        problem.interactions,
        identity(n_users) if users is None else users,
        identity(n_items) if items is None else items,
    )


def _largest(values: Any) -> Any:
    return max(values) if is_searched(values) else values
