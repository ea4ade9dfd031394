"""Hold interactions out of training, and measure a model on them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

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

HELD_OUT_METRICS = ("precision", "recall", "ndcg", "mrr", "auc")  # what fit tells of held-out interactions
HOLD_OUTS = ("random", "time", "user-time", "last", "cold-users", "cold-items")


def hold_out(options: argparse.Namespace, dataset: Dataset) -> tuple[Any, Any, Any, Any]:
    """Return what to train on, its weights, the positives that --patience watches and those to report on."""
    whole: Any = dataset.interactions
    weights: Any = None if options.weight_column is None else dataset.weights
    if options.validation and options.hold_out is not None:
        raise ValueError("--validation and --hold-out both hold out interactions: give one")
    if options.validation:
        read = read_interactions(options, options.validation, *ids_of(dataset), "skip", "the model")
        validation = keep_positives(read.interactions)
        if not validation.nnz:
            raise ValueError(f"{', '.join(options.validation)}: no user has a test positive")
        return whole, weights, validation, validation
    if options.hold_out is None:
        return whole, weights, None, None
    train, tested = _split(options, dataset, np.arange(whole.nnz))
    train, watched = (train, tested) if options.patience is None else _split(options, dataset, train)

    def chosen(matrix: Any, entries: Any) -> Any:
        return sp.coo_matrix((matrix.data[entries], (matrix.row[entries], matrix.col[entries])), shape=matrix.shape)

    validation, test = (keep_positives(chosen(whole, entries)) for entries in (watched, tested))
    if not validation.nnz or not test.nnz:
        raise ValueError(f"--hold-out {options.hold_out} holds nothing out: there are too few interactions")
    return chosen(whole, train), None if weights is None else chosen(weights, train), validation, test


def _split(options: argparse.Namespace, dataset: Dataset, entries: Any) -> tuple[Any, Any]:
    """Divide entries of the interactions by --hold-out, into those to train on and those held out."""
    whole: Any = dataset.interactions
    numbers = entries.astype(np.float64)
    matrix = sp.coo_matrix((numbers, (whole.row[entries], whole.col[entries])), shape=whole.shape)
    times = None if dataset.timestamps is None else dataset.timestamps[entries]
    seed = options.model_random_state or 0
    splits: dict[str, Callable[[], Any]] = {
        "random": lambda: random_train_test_split(matrix, options.fraction, seed),
        "time": lambda: time_train_test_split(matrix, times, options.fraction),
        "user-time": lambda: time_train_test_split(matrix, times, options.fraction, per_user=True),
        "last": lambda: leave_last_out_train_test_split(matrix, times),
        "cold-users": lambda: cold_users_train_test_split(matrix, options.fraction, seed),
        "cold-items": lambda: cold_items_train_test_split(matrix, options.fraction, seed),
    }
    train, test = (part.data.astype(np.int64) for part in splits[options.hold_out]()[:2])
    return train, test


def keep_positives(interactions: Any) -> sp.csr_matrix:
    """Leave what is above 0, as training takes it, since metrics count all but 0."""
    matrix = interactions.tocsr()
    positives = sp.csr_matrix(((matrix.data > 0).astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
    positives.eliminate_zeros()
    return positives


def measure(
    model: LightFM,
    test: Any,
    train: Any,
    metrics: Sequence[str],
    k: Sequence[int],
    features: Mapping[str, Any],
    options: argparse.Namespace,
) -> Evaluation:
    """Measure a model on test positives, leaving out those of train."""
    train = None if train is None else keep_positives(train)
    return evaluate(model, test, train, metrics, k, num_threads=options.threads, check_intersections=False, **features)
