"""The commands: each a function of the parsed options."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from typing import Any

import numpy as np
import scipy.sparse as sp

from .. import persistence
from .._validation import import_optional
from ..callbacks import EarlyStopping
from ..data import Dataset, UnknownIdsError
from ..lightfm import LightFM
from .columns import match_rows
from .features import read_side
from .holdout import HELD_OUT_METRICS, hold_out, keep_positives, measure
from .input import (
    describe_skipped,
    features_of,
    find_row,
    ids_of,
    load_model,
    read_dataset,
    read_interactions,
    read_rows,
)
from .output import check_output_kind, counted, metrics_of, note, print_json, print_table, progress, say, write_lists

USERS_AT_ONCE = 1 << 16  # recommended to between two steps of the progress bar
PLACES_AT_ONCE = 1 << 24  # in their lists, which bounds the memory
# Of the model that fit makes, what options set, and what they are where neither an option nor --preset sets them.
MODEL_SETTINGS: dict[str, Any] = {
    "loss": "warp",
    "no_components": 32,
    "learning_schedule": "adagrad",
    "learning_rate": 0.05,
    "user_alpha": 0.0,
    "item_alpha": 0.0,
    "max_sampled": 10,
    "k": 5,
    "n": 10,
    "random_state": None,
}
DEFAULT_EPOCHS, PRESET_EPOCHS = 20, 40


def fit_model(options: argparse.Namespace) -> None:
    """Train a model on a file of interactions, and save it."""
    if options.patience is not None and options.hold_out is None and not options.validation:
        raise ValueError("--patience stops on held-out interactions: give --hold-out or --validation")
    if options.metric is not None and options.patience is None:
        raise ValueError("--metric is what --patience watches: give that too")
    if options.hold_out in ("time", "user-time", "last") and options.time_column is None:
        raise ValueError(f"--hold-out {options.hold_out} needs --time-column")
    started = time.perf_counter()
    dataset, specs = read_dataset(options)
    interactions: Any = dataset.interactions
    train, weights, validation, test = hold_out(options, dataset)
    features = {"user_features": dataset.user_features, "item_features": dataset.item_features}
    set_by_option = {name: getattr(options, f"model_{name}") for name in MODEL_SETTINGS}
    given = {name: value for name, value in set_by_option.items() if value is not None}
    if options.preset is None:
        model, epochs = LightFM(**{**MODEL_SETTINGS, **given}), DEFAULT_EPOCHS
    else:
        model, epochs = LightFM.recommended(options.preset, **given), PRESET_EPOCHS
    files = ", ".join(options.interactions)
    note(
        options,
        f"{files}: {interactions.nnz:,} interactions of {interactions.shape[0]:,} users with "
        f"{interactions.shape[1]:,} items, read in {time.perf_counter() - started:.1f} s",
    )
    if dataset.n_skipped:
        note(options, f"{files}: {describe_skipped(dataset, options.interactions)}")
    values = interactions.data
    if options.value_column is not None and options.positive_from is None and len(values) and values.min() > 0:
        note(
            options,
            f"{files}: column {options.value_column!r} has no value at or below 0, so every row is a positive: of "
            "ratings, say with --positive-from which is the least that is one; of counts, use --weight-column",
        )
    stopping = None
    if options.patience is not None:
        metric = options.metric or "ndcg"
        stopping = EarlyStopping(
            lambda model: next(
                iter(measure(model, validation, train, [metric], [options.k], features, options).mean.values())
            ),
            patience=options.patience,
        )
    with contextlib.redirect_stdout(sys.stderr):  # progress, where tqdm is not installed
        model.fit(
            train,
            sample_weight=weights,
            epochs=options.epochs or epochs,
            num_threads=options.threads,
            verbose=not options.quiet,
            callbacks=None if stopping is None else [stopping],
            **features,
        )
    held_out = None
    if test is not None:
        held_out = measure(model, test, train, HELD_OUT_METRICS, [options.k], features, options)
    encoders = {side: spec for side, spec in specs.items() if spec is not None}
    model.save(options.output, optimizer_state=options.optimizer_state, dataset=dataset, encoders=encoders)
    size = os.path.getsize(options.output)
    seconds = sum(epoch["seconds"] for epoch in model.history_)
    facts = {
        "model": options.output,
        "bytes": size,
        "users": interactions.shape[0],
        "items": interactions.shape[1],
        "interactions": interactions.nnz,
        "trained_on": train.nnz,
        "skipped_rows": dataset.n_skipped,
        "epochs": len(model.history_),
        "best_epoch": None if stopping is None else stopping.best_epoch_,
        "loss": model.history_[-1]["loss"] if model.history_ else None,
        "seconds": seconds,
        "held_out": None if held_out is None else metrics_of(held_out),
    }
    if options.json:
        print_json(facts)
        return
    if stopping is not None:
        say(f"best epoch: {stopping.best_epoch_} of {len(model.history_)}, by {counted(validation.nnz, 'interaction')}")
    if held_out is not None:
        what = "that chose the epoch" if stopping is not None and options.validation else "held out"
        say(f"{counted(test.nnz, 'interaction')} {what}: {held_out}")
    loss = "" if facts["loss"] is None else f", loss {facts['loss']:.4f}"
    say(f"{options.output}: {size / 1e6:,.1f} MB, {counted(len(model.history_), 'epoch')} in {seconds:.1f} s{loss}")


def evaluate_model(options: argparse.Namespace) -> None:
    """Measure a saved model on held-out interactions."""
    model, dataset = load_model(options.model)
    files = ", ".join(options.test)
    try:
        read = read_interactions(options, options.test, *ids_of(dataset), options.unknown)
    except UnknownIdsError as error:
        raise ValueError(f"{error}: no user has a test positive") from error
    test, n_skipped = keep_positives(read.interactions), read.n_skipped
    n_positives = test.nnz
    train, n_common = None, 0
    if options.train:
        train = keep_positives(
            read_interactions(options, options.train, *ids_of(dataset), options.unknown).interactions
        )
        n_common = test.multiply(train).nnz
        if n_common == n_positives:
            raise ValueError(f"{files}: --train has each positive of it, so that no user has a test positive")
    if not n_positives:
        raise ValueError(f"{files}: no user has a test positive, which is a row with a value above 0")
    result = measure(model, test, train, options.metrics, options.k, features_of(dataset), options)
    if n_common:
        note(options, f"{files}: {counted(n_common, 'interaction')} known from --train left out")
    if options.json:
        print_json(
            {
                "users": len(result.users),
                "skipped_rows": n_skipped,
                "known_from_train": n_common,
                "metrics": metrics_of(result),
            }
        )
    else:
        say(str(result))


def recommend_items(options: argparse.Namespace) -> None:
    """Recommend items to users, known or new."""
    check_output_kind(options)
    model, dataset = load_model(options.model)
    user_ids, item_ids = ids_of(dataset)
    numbers = dataset.mapping()[2]
    choices: dict[str, Any] = {
        "items": read_rows(options, options.items, "item", numbers) if options.items else None,
        "exclude": [find_row(numbers, text, "item") for text in options.exclude]
        + (read_rows(options, options.exclude_from, "item", numbers) if options.exclude_from else []),
    }
    features = features_of(dataset)
    asked: list[Any]
    if options.newcomers:
        asked, choices["user_representations"], seen = _newcomers(options, model, dataset)
        users = list(range(len(asked)))
    else:
        known = dataset.mapping()[0]
        users = [find_row(known, text, "user") for text in options.users]
        if options.users_from:
            users += read_rows(options, options.users_from, "user", known)
        elif not users:
            users = list(range(len(user_ids)))
        asked = [user_ids[row] for row in users]
        choices["user_features"] = features["user_features"]
        seen = None
        if options.interactions:
            already: Any = read_interactions(options, options.interactions, user_ids, item_ids, "skip").interactions
            seen = already.tocsr()
    found: list[tuple[Any, Any]] = []
    n = min(options.n, len(item_ids))
    step = max(1, min(USERS_AT_ONCE, PLACES_AT_ONCE // n))
    for first in progress(options, range(0, len(asked), step), "Users"):
        found.append(
            model.recommend(
                users[first : first + step],
                n=n,
                interactions=seen,
                filter_seen=not options.keep_seen,
                item_features=features["item_features"],
                num_threads=options.threads,
                **choices,
            )
        )
    ids, scores = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else (np.empty((0, 1)),) * 2
    write_lists(options, asked, item_ids, ids, scores, ("user", options.user_column), ("item", options.item_column))


def find_similar(options: argparse.Namespace) -> None:
    """Find the items or users with the highest cosine similarity to given ones."""
    check_output_kind(options)
    model, dataset = load_model(options.model)
    side = "user" if options.users else "item"
    numbers, ids = dataset.mapping()[0 if options.users else 2], ids_of(dataset)[0 if options.users else 1]
    rows = [find_row(numbers, text, side) for text in options.ids]
    choose = model.similar_users if options.users else model.similar_items
    features = features_of(dataset)[f"{side}_features"]
    found = choose(rows, min(options.n, len(ids)), features, num_threads=options.threads)
    asked = [ids[row] for row in rows]
    column = options.user_column if options.users else options.item_column
    write_lists(options, asked, ids, *found, (side, column), (f"similar_{side}", f"similar_{column}"), "cosine")


def explain_score(options: argparse.Namespace) -> None:
    """Split a score into each feature's contribution."""
    if options.plot is not None:  # said before the work
        pyplot = import_optional("matplotlib.pyplot", "plot", "--plot")
    model, dataset = load_model(options.model)
    users, user_features, items, item_features = dataset.mapping()
    user, item = find_row(users, options.user, "user"), find_row(items, options.item, "item")
    explanation = model.explain(
        user,
        item,
        **features_of(dataset),
        user_feature_names=user_features,
        item_feature_names=item_features,
        user_name=f"user {options.user}",
        item_name=f"item {options.item}",
    )
    rows = explanation.rows()
    if options.plot is not None:
        figure, ax = pyplot.subplots(layout="constrained", figsize=(8, 1.5 + 0.3 * min(len(rows), options.n + 1)))
        explanation.plot(ax, options.n)
        figure.savefig(options.plot, dpi=150)
        pyplot.close(figure)
    if options.json:
        print_json({"user": options.user, "item": options.item, "score": explanation.score, "contributions": rows})
        return
    say(f"score {explanation.score:.4f}, the sum of {len(rows):,} contributions")
    table = [
        (
            f"{row['contribution']:+.4f}",
            *("(bias)" if row[f"{side}_feature"] is None else row[f"{side}_feature"] for side in ("user", "item")),
        )
        for row in rows[: options.n]
    ]
    if len(rows) > options.n:
        rest = sum(row["contribution"] for row in rows[options.n :])
        table.append((f"{rest:+.4f}", f"the sum of {len(rows) - options.n:,} others", ""))
    print_table(("contribution", "user feature", "item feature"), table)


def inspect_model(options: argparse.Namespace) -> None:
    """Print what a file of a model contains."""
    contents = persistence.read(options.model)
    model = LightFM.load(options.model, mmap=True)
    dataset = model.dataset_
    facts: dict[str, Any] = {
        "model": options.model,
        "bytes": os.path.getsize(options.model),
        "versions": contents.versions,
        "parameters": model.get_params(),
        "epochs": len(model.history_),
        "loss": [epoch["loss"] for epoch in model.history_],
        "user_features": len(model.user_biases),
        "item_features": len(model.item_biases),
        "optimizer_state": any(name.endswith("_gradients") for name in contents.tensors),
        "dataset": None,
        "encoders": {name: repr(encoder) for name, encoder in model.encoders_.items()},
    }
    if dataset is not None:
        users, items = ids_of(dataset)
        facts["dataset"] = {
            "users": len(users),
            "items": len(items),
            "user_ids": users[:3],
            "item_ids": items[:3],
            "user_features_saved": dataset.user_features is not None,
            "item_features_saved": dataset.item_features is not None,
        }
    if options.json:
        print_json(facts)
        return
    facts["loss"] = " ".join(f"{loss:.4f}" for loss in facts["loss"][-5:]) + (
        " (last 5)" if len(facts["loss"]) > 5 else ""
    )
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            say(f"{name}:")
            for inner, inner_value in value.items():
                say(f"  {inner}: {inner_value}")
        else:
            say(f"{name}: {f'{value:,}' if type(value) is int else value or 'none'}")


def _newcomers(
    options: argparse.Namespace, model: LightFM, dataset: Dataset
) -> tuple[list[Any], Any, sp.csr_matrix | None]:
    """Represent users whom the model does not know by their features and by folding in what they have chosen."""
    if options.users or options.users_from:
        raise ValueError("--newcomers are recommended to alone: ask for --users or --users-from apart")
    items = ids_of(dataset)[1]
    spec = model.encoders_.get("user")
    files = ", ".join(options.newcomers)
    table = read_side(options, options.newcomers, "user", {} if spec is None else spec.encoders)
    rows, ids = match_rows(table[options.user_column], dataset.mapping()[0])
    familiar = next((name for name, row in zip(ids, rows, strict=True) if row >= 0), None)
    if familiar is not None:
        raise ValueError(f"{files} has {familiar!r}, whom the model knows: ask for --users")
    features = None if spec is None else dataset.encode_new_users(table, spec)
    if not ids:
        raise ValueError(f"{files} has no rows: there is nobody to recommend to")
    nothing = np.zeros(0, dtype=np.int32)
    chosen: Any = sp.coo_matrix((nothing, (nothing, nothing)), shape=(len(ids), len(items)))
    if options.interactions:
        chosen = read_interactions(
            options, options.interactions, ids, items, "skip", "the newcomers or the model"
        ).interactions
    users = model.fold_in_users(
        chosen, user_features=features, item_features=dataset.item_features, num_threads=options.threads
    )
    return ids, users, chosen.tocsr() if options.interactions else None
