"""Train a saved model on later rows, and keep it as it was if that made it worse."""

from __future__ import annotations

import argparse
import contextlib
import functools
import operator
import os
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from .._arguments import check_proper_fraction, counted, threads_for
from .._files import file_version, is_same_file
from ..data import Dataset, UnknownIdsError
from ..evaluation import METRICS, evaluate, mean_and_error
from ..lightfm import LightFM
from ..recommender import Recommender
from .columns import Columns
from .features import encoders_of, read_described
from .holdout import check_one_hold_out, keep_positives
from .hyperparameters import count
from .input import columns_of, describe_skipped, read_interaction_columns
from .output import listed, note, print_json, say

KEPT_OLD = 3  # the exit code
ERRORS = 2.0  # standard errors by which a model must be worse: 1 in 44 updates that change nothing is refused
GATES = tuple(name for name in METRICS if name not in ("coverage", "novelty"))  # more of them is better


class Gate(NamedTuple):
    """The comparison of two models on held-out positives."""

    metric: str
    old: float
    new: float
    difference: float
    standard_error: float
    users: int

    @property
    def keeps_old(self) -> bool:
        """Whether the new model is worse by more than the error of the difference."""
        return self.difference < -ERRORS * self.standard_error

    def __str__(self) -> str:
        verdict = "worse by more" if self.keeps_old else "not worse by more"
        return (
            f"{self.metric} of {counted(self.users, 'user')}: {self.old:.4f} before, {self.new:.4f} after: "
            f"{self.difference:+.4f} ± {self.standard_error:.4f} is {verdict} than {ERRORS:g} standard errors"
        )


def update_model(options: argparse.Namespace) -> int:
    """Train a saved model on later rows, and write the model that results; return the exit code."""
    _check_options(options)
    version = file_version(options.model)
    recommender = Recommender.load(options.model)
    old_model, old_dataset = recommender.model, recommender.dataset
    _take_columns(options, old_dataset)
    rows: Any = _read_rows(options, options.interactions) if options.interactions else None
    held_out = None
    if options.hold_out is not None:
        rows, held_out = _split(options, rows)
    elif options.validation:
        held_out = _read_rows(options, options.validation)
    test = None if held_out is None else _positives(options, old_dataset, held_out)
    ids = {options.user_column: [], options.item_column: []} if rows is None else rows
    described = [_read_described(options, recommender, side, ids) for side in ("user", "item")]
    n_known = 0 if old_dataset.interactions is None else old_dataset.interactions.nnz
    n_rows = 0 if rows is None else len(next(iter(rows.values())))
    options.threads = options.threads or threads_for(n_known + n_rows)
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # without tqdm, progress is printed
        recommender.update(
            rows,
            *described,
            epochs=options.epochs,
            duplicates=options.duplicates,
            unknown=options.unknown,
            missing_ids=options.missing_ids,
            num_threads=options.threads,
            verbose=not options.quiet,
        )
    seconds = time.perf_counter() - started
    if recommender.dataset.n_skipped:
        skipped = describe_skipped(recommender.dataset, options.interactions)
        note(options, f"{listed(options.interactions)}: {skipped}")
    gate = None if test is None else _compare(options, old_model, old_dataset, recommender, test)
    if gate is None or not gate.keeps_old:
        # A file without interactions would else hold the later ones only.
        with_interactions = options.save_interactions and old_dataset.interactions is not None
        if os.path.exists(options.output) and is_same_file(options.output, options.model):
            _check_is_unchanged(options.model, version)
        recommender.save(options.output, interactions=with_interactions, optimizer_state=options.optimizer_state)
    _report(options, old_dataset, recommender, gate, seconds)
    return KEPT_OLD if gate is not None and gate.keeps_old else 0


def _check_is_unchanged(model: str, version: Any) -> None:
    """Refuse to replace a model that somebody else has replaced meanwhile: their rows would be lost."""
    if file_version(model) != version:
        raise ValueError(f"{model} was replaced by another process meanwhile, and stays: run the update again")


def metric_at(text: str) -> tuple[str, int]:
    """Read a metric and the length of its lists, such as ndcg@10."""
    metric, _, length = text.partition("@")
    if metric not in GATES:
        raise argparse.ArgumentTypeError(f"{text} is no metric at a length, such as ndcg@10: of {', '.join(GATES)}")
    return metric, count(length) if length else 10


def _check_options(options: argparse.Namespace) -> None:
    check_one_hold_out(options)
    if not options.interactions:
        if not any((options.user_files, options.item_files, options.user_tags, options.item_tags)):
            raise ValueError("there is nothing to update with: give FILE of later interactions, --users or --items")
        if options.gate is not None:
            raise ValueError("--gate compares models before and after training: give FILE of later interactions too")
    has_held_out = bool(options.validation) or options.hold_out is not None
    if options.gate is not None and not has_held_out:
        raise ValueError("--gate compares on held-out interactions: give --hold-out or --validation")
    if options.gate is None and (has_held_out or options.train):
        raise ValueError("--hold-out, --validation and --train need --gate, such as --gate ndcg@10")
    check_proper_fraction(options.fraction, "--fraction")


def _take_columns(options: argparse.Namespace, dataset: Dataset) -> None:
    """Read the columns that the model's dataset was made of."""
    for role, column in dataset.columns.items():
        setattr(options, f"{role}_column", column)
    if options.hold_out == "time" and options.time_column is None:
        raise ValueError("--hold-out time needs a model that was fitted with --time-column: take --hold-out random")


def _read_rows(options: argparse.Namespace, files: list[str]) -> Columns:
    return read_interaction_columns(options, files, columns_of(options, "user", "item", "value", "weight", "time"))


def _read_described(options: argparse.Namespace, recommender: Recommender, side: str, rows: Columns) -> Columns | None:
    """Read the files that describe one side: the columns that its encoder reads, and of items any titles."""
    encoders = encoders_of(recommender.dataset.encoders[side])
    if side == "item" and recommender.titles is not None:
        encoders.setdefault(str(recommender.title), None)
    return read_described(options, side, rows, encoders)


def _split(options: argparse.Namespace, rows: Columns) -> tuple[Columns, Columns]:
    """Hold out the latest rows, or random ones."""
    columns = {name: np.asarray(column) for name, column in rows.items()}
    n_rows = len(columns[options.user_column])
    n_held_out = round(options.fraction * n_rows)
    if options.hold_out == "time":
        order = np.argsort(columns[options.time_column], kind="stable")
    else:
        order = np.random.default_rng(options.seed).permutation(n_rows)
    if not 0 < n_held_out < n_rows:
        raise ValueError(f"--hold-out {options.hold_out} holds {n_held_out:,} of {n_rows:,} rows out: too few rows")
    parts = np.sort(order[: n_rows - n_held_out]), np.sort(order[n_rows - n_held_out :])
    kept, held_out = ({name: column[part] for name, column in columns.items()} for part in parts)
    return kept, held_out


def _positives(options: argparse.Namespace, dataset: Dataset, rows: Columns) -> sp.csr_matrix:
    """Return the held-out positives of users and items that the old model knows."""
    try:
        return keep_positives(dataset.build_interactions_from_table(rows, "max", "skip").interactions)
    except UnknownIdsError as error:
        raise ValueError(
            f"--gate compares on what the old model knows, but of the held-out rows {error.problem}"
        ) from error


def _compare(
    options: argparse.Namespace, old_model: LightFM, old: Dataset, recommender: Recommender, test: sp.csr_matrix
) -> Gate:
    """Compare both models: they rank the items that the old one knows, for the users that it knows."""
    new = recommender.dataset
    parts = [new.interactions]
    if options.train:
        rows = _read_rows(options, options.train)
        parts.append(new.build_interactions_from_table(rows, "max", "skip").interactions)
    n_rows, n_columns = test.shape
    known = functools.reduce(operator.add, (keep_positives(part)[:n_rows, :n_columns] for part in parts))
    test = sp.csr_matrix(test - test.multiply(known.astype(bool)))
    test.eliminate_zeros()
    n_users = int(np.count_nonzero(np.diff(test.indptr)))
    if n_users < 2:
        raise ValueError(
            "--gate compares users who have held-out positives that the old model does not know, and needs at least "
            f"2, got {n_users}: give later rows, or hold out more of them by --fraction"
        )
    metric, k = options.gate
    values = []
    for model, dataset in ((old_model, old), (recommender.model, new)):
        positives, train = (_enlarged(matrix, dataset.interactions_shape()) for matrix in (test, known))
        features = (dataset.user_features, dataset.item_features, np.arange(test.shape[1]))
        result = evaluate(model, positives, train, metric, k, *features, num_threads=options.threads, per_user=True)
        ((name, of_users),) = (result.per_user or {}).items()
        values.append(of_users)
    before, after = values
    return Gate(name, float(before.mean()), float(after.mean()), *mean_and_error(after - before), n_users)


def _enlarged(matrix: sp.csr_matrix, shape: tuple[int, int]) -> sp.csr_matrix:
    """Return a matrix with empty rows and columns added at the ends."""
    ends = np.pad(matrix.indptr, (0, shape[0] - matrix.shape[0]), mode="edge")
    return sp.csr_matrix((matrix.data, matrix.indices, ends), shape=shape)


def _report(
    options: argparse.Namespace, old: Dataset, recommender: Recommender, gate: Gate | None, seconds: float
) -> None:
    (old_users, old_items), (n_users, n_items) = old.interactions_shape(), recommender.dataset.interactions_shape()
    keeps_old = gate is not None and gate.keeps_old
    if options.json:
        document: dict[str, Any] = {
            "model": None if keeps_old else options.output,
            "users": n_users,
            "items": n_items,
            "new_users": n_users - old_users,
            "new_items": n_items - old_items,
            "skipped_rows": recommender.dataset.n_skipped,
            "epochs": options.epochs if options.interactions else 0,
            "seconds": seconds,
            "gate": None if gate is None else {**gate._asdict(), "keeps_old": keeps_old},
        }
        print_json(document)
        return
    if gate is not None:
        say(str(gate))
    if keeps_old:
        is_there = os.path.exists(options.output)
        say(f"{options.output} {'stays as it was' if is_there else 'is not written'}")
        return
    grown = f"{counted(n_users - old_users, 'new user')}, {counted(n_items - old_items, 'new item')}"
    trained = f"{counted(options.epochs, 'epoch')} in {seconds:.1f} s" if options.interactions else "not trained"
    say(f"{options.output}: {os.path.getsize(options.output) / 1e6:,.1f} MB, {grown}, {trained}")
