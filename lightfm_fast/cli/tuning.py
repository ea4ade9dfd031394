"""Tune the model that fit trains."""

from __future__ import annotations

import argparse
from typing import Any

from .._arguments import check_choice
from ..tuning import TASKS, TUNABLE_METRICS, TuningResult, parse_budget, tune
from .holdout import Split
from .hyperparameters import as_options, given_hyperparameters

TASK_OPTIONS = {task.replace(" ", "-"): task for task in TASKS}


def check_tuning(options: argparse.Namespace) -> None:
    """Refuse options that conflict with --tune or need it, before files are read."""
    if options.tune is None:
        if options.task is not None:
            raise ValueError("--task needs --tune: give --tune too")
        return
    for name in ("preset", "epochs", "patience"):
        if getattr(options, name) is not None:
            raise ValueError(f"--tune finds the hyperparameters and the epochs: leave --{name} out")
    if options.metric is not None:
        check_choice(options.metric, "--metric", TUNABLE_METRICS)
    if options.task == "next-in-time" and options.time_column is None:
        raise ValueError("--task next-in-time needs --time-column")
    parse_budget(options.tune)


def tune_model(options: argparse.Namespace, split: Split, features: dict[str, Any]) -> TuningResult:
    """Search for the hyperparameters that are no options, and fit a model on the rows that are not held out."""
    space = given_hyperparameters(options)
    seed = space.pop("random_state", None)
    return tune(
        split.train,
        sample_weight=split.weights,
        timestamps=split.times,
        task=TASK_OPTIONS[options.task or "warm"],
        metric=options.metric or "ndcg",
        k=options.k,
        budget=options.tune,
        space=space,
        random_state=seed,
        num_threads=options.threads,
        verbose=not options.quiet,
        **features,
    )


def as_json(tuned: TuningResult) -> dict[str, Any]:
    """Return the result of the search in types that JSON has."""
    return {
        "metric": tuned.metric,
        "is_preset": tuned.is_preset,
        "comparison": None if tuned.comparison is None else vars(tuned.comparison),
        "parameters": tuned.parameters,
        "epochs": tuned.epochs,
        "options": as_options(tuned.parameters, tuned.epochs),
        "seconds": tuned.seconds,
        "trials": tuned.trials,
    }
