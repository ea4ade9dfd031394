"""Hold interactions out of training, and measure a model on them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._matrices import known_positives
from ..cross_validation import (
    cold_items_train_test_split,
    cold_users_train_test_split,
    leave_last_out_train_test_split,
    random_train_test_split,
    time_train_test_split,
)
from ..data import Dataset
from ..evaluation import Evaluation, evaluate
from ..lightfm import LightFM
from .input import ids_of, read_interactions
from .output import listed

# Ways to hold out: functions from interactions, their times, --fraction and --seed to training and held-out parts.
HOLD_OUTS: dict[str, Callable[[Any, Any, float, int], Any]] = {
    "random": lambda matrix, _, fraction, seed: random_train_test_split(matrix, fraction, seed),
    "time": lambda matrix, times, fraction, _: time_train_test_split(matrix, times, fraction),
    "user-time": lambda matrix, times, fraction, _: time_train_test_split(matrix, times, fraction, per_user=True),
    "last": lambda matrix, times, *_: leave_last_out_train_test_split(matrix, times),
    "cold-users": lambda matrix, _, fraction, seed: cold_users_train_test_split(matrix, fraction, seed),
    "cold-items": lambda matrix, _, fraction, seed: cold_items_train_test_split(matrix, fraction, seed),
}
NEED_TIMES = ("time", "user-time", "last")


class Split(NamedTuple):
    """The interactions that fit trains on, and the positives that it holds out."""

    train: Any
    weights: Any
    times: Any = None
    watched: sp.csr_matrix | None = None  # the positives by which --patience stops
    reported: sp.csr_matrix | None = None  # the positives whose metrics are printed


def check_one_hold_out(options: argparse.Namespace) -> None:
    """Refuse two ways to hold interactions out."""
    if options.validation and options.hold_out is not None:
        raise ValueError("--validation and --hold-out both hold out interactions: give one")


def split_interactions(options: argparse.Namespace, dataset: Dataset) -> Split:
    """Hold interactions out as --hold-out or --validation says; by default none."""
    whole: Any = dataset.interactions
    weights: Any = None if options.weight_column is None else dataset.weights
    check_one_hold_out(options)
    if options.validation:
        held_out = keep_positives(read_interactions(options, options.validation, *ids_of(dataset)).interactions)
        if not held_out.nnz:
            raise ValueError(f"{listed(options.validation)}: no user has a test positive")
        return Split(whole, weights, dataset.timestamps, held_out, held_out)
    if options.hold_out is None:
        return Split(whole, weights, dataset.timestamps)
    train, reported = _split_entries(options, dataset, np.arange(whole.nnz))
    watched = reported
    if options.patience is not None:
        train, watched = _split_entries(options, dataset, train)
    if not len(train):
        raise ValueError(
            f"--hold-out {options.hold_out} leaves nothing to train on: hold out less than {options.fraction:g} of the "
            "rows by --fraction"
        )
    positives = [keep_positives(_entries(whole, entries)) for entries in (watched, reported)]
    if not all(matrix.nnz for matrix in positives):
        raise ValueError(f"--hold-out {options.hold_out} holds nothing out: there are too few interactions")
    times = None if dataset.timestamps is None else dataset.timestamps[train]
    return Split(_entries(whole, train), None if weights is None else _entries(weights, train), times, *positives)


def _split_entries(
    options: argparse.Namespace, dataset: Dataset, entries: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Split entries of the interactions, given by number, into entries to train on and held-out entries."""
    whole: Any = dataset.interactions
    numbers = entries.astype(np.float64)
    matrix = sp.coo_matrix((numbers, (whole.row[entries], whole.col[entries])), shape=whole.shape)
    times = None if dataset.timestamps is None else dataset.timestamps[entries]
    parts = HOLD_OUTS[options.hold_out](matrix, times, options.fraction, options.model_random_state or 0)
    train, test = (part.data.astype(np.int64) for part in parts[:2])
    return train, test


def _entries(matrix: Any, entries: NDArray[Any]) -> sp.coo_matrix:
    return sp.coo_matrix((matrix.data[entries], (matrix.row[entries], matrix.col[entries])), shape=matrix.shape)


def keep_positives(interactions: Any) -> sp.csr_matrix:
    """Return entries above 0 as ones: dislikes among train interactions would be left out of the ranking."""
    return known_positives(interactions, above_zero=True)


def measure(
    model: LightFM,
    test: Any,
    known: Any,
    metrics: Sequence[str],
    features: Mapping[str, Any],
    options: argparse.Namespace,
) -> Evaluation:
    """Measure a model on the test positives that are not known already."""
    return evaluate(
        model,
        test,
        known,
        metrics,
        options.k,
        num_threads=options.threads,
        check_intersections=False,
        **features,
    )
