"""The commands: each a function of the parsed options."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from .. import persistence
from .._arguments import counted, import_optional, threads_for
from .._hyperparameters import PRESET_EPOCHS, is_auto
from .._matrices import as_seen
from ..callbacks import EarlyStopping
from ..data import Dataset, UnknownIdsError
from ..evaluation import Evaluation
from ..lightfm import LightFM
from ..recommendation_files import Lists
from ..recommender import Recommender
from ..tuning import TuningResult
from ..vectors import export_vectors
from .columns import match_rows
from .features import encoders_of, read_side
from .holdout import NEED_TIMES, Split, keep_positives, measure, split_interactions
from .hyperparameters import OWN_DEFAULTS, as_options, given_hyperparameters
from .input import (
    describe_skipped,
    features_of,
    find_row,
    ids_of,
    load_model,
    read_dataset,
    read_interactions,
    read_rows,
    read_seen,
    with_columns,
)
from .output import (
    check_output_kind,
    listed,
    metrics_of,
    note,
    print_json,
    print_table,
    progress,
    report_written,
    say,
    write_lists,
    writes_text,
)
from .sharding import fit_shards, recommend_shards
from .tuning import as_json, check_tuning, tune_model

USERS_AT_ONCE = 1 << 16  # users in a block that is written as text
PLACES_AT_ONCE = 1 << 18  # places in the lists of these users: bounds the memory of a block
HELD_OUT_METRICS = ("precision", "recall", "ndcg", "mrr", "auc")  # the metrics of held-out interactions that fit prints
DEFAULT_PRESET, DEFAULT_EPOCHS = "fast", 20  # the preset of Recommender; the epochs of --loss without a preset
SHARD_MEMORY = "1GB"
FOUND = ("item_alpha", "user_alpha", "linear_components")  # hyperparameters that fit finds if they are "auto"


def fit_model(options: argparse.Namespace) -> None:
    """Train a model on files of interactions, and save it."""
    if options.title_column is not None and not options.item_files:
        raise ValueError("--title-column names a column of --items FILE, which is not given")
    if options.shards is not None:
        fit_shards(options, *_make_model(options))
        return
    _check_fit(options)
    started = time.perf_counter()
    dataset, titles = read_dataset(options)
    split = split_interactions(options, dataset)
    options.threads = options.threads or threads_for(split.train.nnz)
    _note_what_was_read(options, dataset, time.perf_counter() - started)
    features = features_of(dataset)
    model, epochs = (None, 0) if options.tune else _make_model(options)
    known = None if split.reported is None else keep_positives(split.train)

    def watch(model: LightFM) -> float:
        (value,) = measure(model, split.watched, known, [options.metric or "ndcg"], features, options).mean.values()
        return value

    stopping = None if options.patience is None else EarlyStopping(watch, patience=options.patience)
    tuned = None
    with contextlib.redirect_stdout(sys.stderr):  # without tqdm, fit prints its progress
        if model is None:
            tuned = tune_model(options, split, features)
            model = tuned.model
        else:
            model.fit(
                split.train,
                sample_weight=split.weights,
                epochs=options.epochs or epochs,
                num_threads=options.threads,
                verbose=not options.quiet,
                callbacks=None if stopping is None else [stopping],
                **features,
            )
    held_out = None
    if split.reported is not None:
        held_out = measure(model, split.reported, known, HELD_OUT_METRICS, features, options)
    recommender = Recommender(model, dataset, titles, options.title_column or "title")
    recommender.save(options.output, interactions=options.save_interactions, optimizer_state=options.optimizer_state)
    _report_fit(options, model, dataset, split, stopping, held_out, tuned)


def _check_fit(options: argparse.Namespace) -> None:
    """Refuse options that need others, before files are read."""
    if options.patience is not None and options.hold_out is None and not options.validation:
        raise ValueError("--patience stops on held-out interactions: give --hold-out or --validation")
    if options.metric is not None and options.patience is None and options.tune is None:
        raise ValueError("--metric needs --patience or --tune: give one of them too")
    check_tuning(options)
    if options.shard_memory != SHARD_MEMORY:
        raise ValueError("--shard-memory is for --shards, which is not given")
    if options.hold_out in NEED_TIMES and options.time_column is None:
        raise ValueError(f"--hold-out {options.hold_out} needs --time-column")


def _make_model(options: argparse.Namespace) -> tuple[LightFM, int]:
    """Make a model as options say, and the number of epochs to train it for by default."""
    given = given_hyperparameters(options)
    if options.preset is None and "loss" in given:
        return LightFM(**{**OWN_DEFAULTS, **given}), DEFAULT_EPOCHS
    return LightFM.recommended(options.preset or DEFAULT_PRESET, **given), PRESET_EPOCHS


def _note_what_was_read(options: argparse.Namespace, dataset: Dataset, seconds: float) -> None:
    interactions: Any = dataset.interactions
    n_users, n_items = interactions.shape
    files = listed(options.interactions)
    note(
        options,
        f"{files}: {interactions.nnz:,} interactions of {n_users:,} users with {n_items:,} items, "
        f"read in {seconds:.1f} s",
    )
    if dataset.n_skipped:
        note(options, f"{files}: {describe_skipped(dataset, options.interactions)}")
    values = interactions.data
    if options.value_column is not None and options.positive_from is None and len(values) and values.min() > 0:
        note(
            options,
            f"{files}: column {options.value_column!r} has no value at or below 0, so every row is a positive. "
            "For ratings, give the smallest one that is a positive by --positive-from; for counts, use --weight-column",
        )


def _report_fit(
    options: argparse.Namespace,
    model: LightFM,
    dataset: Dataset,
    split: Split,
    stopping: EarlyStopping | None,
    held_out: Evaluation | None,
    tuned: TuningResult | None,
) -> None:
    interactions: Any = dataset.interactions
    size = os.path.getsize(options.output)
    n_epochs, seconds = len(model.history_), sum(epoch["seconds"] for epoch in model.history_)
    loss = model.history_[-1]["loss"] if model.history_ else None
    if options.json:
        print_json(
            {
                "model": options.output,
                "bytes": size,
                "users": interactions.shape[0],
                "items": interactions.shape[1],
                "interactions": interactions.nnz,
                "trained_on": split.train.nnz,
                "skipped_rows": dataset.n_skipped,
                "epochs": n_epochs,
                "best_epoch": None if stopping is None else stopping.best_epoch_,
                "loss": loss,
                "seconds": seconds,
                "held_out": None if held_out is None else metrics_of(held_out),
                **({} if tuned is None else {"tuning": as_json(tuned)}),
            }
        )
        return
    if tuned is not None:
        say(str(tuned))
        say(f"to repeat the fit: {as_options(tuned.parameters, tuned.epochs)}")
    if stopping is not None and split.watched is not None:
        say(f"best epoch: {stopping.best_epoch_} of {n_epochs}, by {counted(split.watched.nnz, 'interaction')}")
    if held_out is not None and split.reported is not None:
        what = "that chose the epoch" if stopping is not None and options.validation else "held out"
        say(f"{counted(split.reported.nnz, 'interaction')} {what}: {held_out}")
    shown_loss = "" if loss is None else f", loss {loss:.4f}"
    say(f"{options.output}: {size / 1e6:,.1f} MB, {counted(n_epochs, 'epoch')} in {seconds:.1f} s{shown_loss}")


def evaluate_model(options: argparse.Namespace) -> None:
    """Measure a saved model on held-out interactions."""
    model, dataset, _ = load_model(options.model)
    options = with_columns(options, dataset)
    ids = ids_of(dataset)
    files = listed(options.test)
    try:
        read = read_interactions(options, options.test, *ids, options.unknown)
    except UnknownIdsError as error:
        raise ValueError(f"{error}: no user has a test positive") from error
    test = keep_positives(read.interactions)
    if not test.nnz:
        least = "a value above 0" if options.positive_from is None else f"a value of at least {options.positive_from:g}"
        raise ValueError(f"{files}: no user has a test positive, which is a row with {least}")
    train, n_known = None, 0
    if options.train:
        train = keep_positives(read_interactions(options, options.train, *ids, options.unknown).interactions)
        n_known = test.multiply(train).nnz
        if n_known == test.nnz:
            raise ValueError(f"each positive of {files} is in --train too: no user has a test positive")
    result = measure(model, test, train, options.metrics, features_of(dataset), options)
    if n_known:
        note(options, f"{files}: {counted(n_known, 'interaction')} known from --train left out")
    if options.json:
        print_json(
            {
                "users": len(result.users),
                "skipped_rows": read.n_skipped,
                "known_from_train": n_known,
                "metrics": metrics_of(result),
            }
        )
    else:
        say(str(result))


def recommend_items(options: argparse.Namespace) -> None:
    """Recommend items to users, known or new, in blocks of users."""
    if options.shards is not None:
        recommend_shards(options)
        return
    check_output_kind(options, may_be_folder=True)
    model, dataset, titles = load_model(options.model)
    options = with_columns(options, dataset)
    item_ids, known_items = ids_of(dataset)[1], dataset.mapping()[2]
    items = read_rows(options, options.items, "item", known_items) if options.items else None
    exclude = [find_row(text, "item", known_items) for text in options.exclude]
    if options.exclude_from:
        exclude += read_rows(options, options.exclude_from, "item", known_items)
    users = (_read_newcomers if options.newcomers else _read_users)(options, model, dataset)
    request: dict[str, Any] = {
        "users": users.asked,
        "n": min(options.n, len(item_ids)),
        "interactions": users.seen,
        "filter_seen": not options.keep_seen,
        "items": None if items is None else [item_ids[row] for row in items],
        "exclude": [item_ids[row] for row in exclude],
        "item_features": dataset.item_features,
        "num_threads": options.threads,
        "dataset": dataset,
        **users.described,
    }
    if options.output is None or writes_text(options.output):
        n_at_once = max(1, min(USERS_AT_ONCE, PLACES_AT_ONCE // request["n"]))
        blocks = model.recommend_in_blocks(**request, users_per_block=n_at_once)
        blocks = progress(options, _named(blocks, users.ids), len(users.ids), n_at_once)
        write_lists(options, blocks, ("user", options.user_column), ("item", options.item_column), titles=titles)
        return
    with contextlib.redirect_stdout(sys.stderr):  # without tqdm, progress is printed
        written = model.recommend_to(
            options.output,
            **request,
            user_names=users.ids,
            user=options.user_column,
            item=options.item_column,
            verbose=not options.quiet,
        )
    report_written(options, written)


def _named(blocks: Iterator[Lists], ids: list[Hashable]) -> Iterator[Lists]:
    """Iterate over blocks of all users in their order, with their ids."""
    names = iter(ids)
    for block in blocks:
        yield block._replace(users=np.fromiter(islice(names, len(block.users)), dtype=object))


class Users(NamedTuple):
    """Users to recommend to.

    Attributes
    ----------
    ids : list of hashable
    asked : list of hashable, or None
        The argument ``users`` of LightFM.recommend_to.
    seen : csr_matrix or None
    described : dict
        The argument of LightFM.recommend_to that describes users.
    """

    ids: list[Hashable]
    asked: list[Hashable] | None
    seen: sp.csr_matrix | None
    described: dict[str, Any]


def _read_users(options: argparse.Namespace, model: LightFM, dataset: Dataset) -> Users:
    """Return the model's users that options name, by default all, and their interactions."""
    user_ids, item_ids = ids_of(dataset)
    known = dataset.mapping()[0]
    rows = [find_row(text, "user", known) for text in options.users]
    if options.users_from:
        rows += read_rows(options, options.users_from, "user", known)
    elif not rows:
        rows = list(range(len(user_ids)))
    seen: Any = None
    if options.interactions:
        seen = read_seen(options, options.interactions, user_ids, item_ids).tocsr()
    elif dataset.interactions is not None:  # saved with the model
        seen = as_seen(dataset.interactions).tocsr()
    ids = [user_ids[row] for row in rows]
    return Users(ids, ids, seen, {"user_features": dataset.user_features})


def _read_newcomers(options: argparse.Namespace, model: LightFM, dataset: Dataset) -> Users:
    """Read users unknown to the model, and represent them by their features and by folding in their interactions."""
    if options.users or options.users_from:
        raise ValueError("--newcomers goes without --users and --users-from: ask for known users in another call")
    known_users, _, known_items, _ = dataset.mapping()
    spec = model.encoders_.get("user")
    files = listed(options.newcomers)
    columns = read_side(options, options.newcomers, "user", encoders_of(spec))
    rows, ids = match_rows(columns[options.user_column], known_users)
    known = next((name for name, row in zip(ids, rows, strict=True) if row >= 0), None)
    if known is not None:
        raise ValueError(f"{files} has {known!r}, whom the model knows: ask for --users")
    features = None if spec is None else dataset.encode_new_users(columns, spec)
    if not ids:
        raise ValueError(f"{files} has no rows: there are no users to recommend to")
    nothing = np.zeros(0, dtype=np.int32)
    chosen: Any = sp.coo_matrix((nothing, (nothing, nothing)), shape=(len(ids), len(known_items)))
    if options.interactions:
        to_whom = "the newcomers or the model"
        chosen = read_interactions(options, options.interactions, ids, list(known_items), "skip", to_whom).interactions
    representations = model.fold_in_users(
        chosen, user_features=features, item_features=dataset.item_features, num_threads=options.threads
    )
    if features is None and not options.interactions:
        note(
            options,
            f"{files}: the model has no user features, and --interactions names no file, so all newcomers get the same "
            "items: the most popular ones",
        )
    seen = as_seen(chosen).tocsr() if options.interactions else None
    return Users(ids, None, seen, {"user_representations": representations})


def find_similar(options: argparse.Namespace) -> None:
    """Find the items or users with the highest cosine similarity to given ones."""
    check_output_kind(options)
    model, dataset, titles = load_model(options.model)
    options = with_columns(options, dataset)
    side = "user" if options.users else "item"
    known = dataset.mapping()[0 if options.users else 2]
    ids, column = list(known), getattr(options, f"{side}_column")
    title_of = titles.of if titles is not None and side == "item" else None
    rows = [find_row(text, side, known, title_of) for text in options.ids]
    choose = model.similar_users if options.users else model.similar_items
    features = features_of(dataset)[f"{side}_features"]
    found = choose(rows, min(options.n, len(ids)), features, num_threads=options.threads)
    names = np.fromiter([*ids, None], dtype=object)  # a list that has ended goes on with -1
    lists = Lists(names[rows], names[found.ids], found.scores)
    chosen = (f"similar_{side}", f"similar_{column}")
    write_lists(options, [lists], (side, column), chosen, "cosine", titles if side == "item" else None)


def explain_score(options: argparse.Namespace) -> None:
    """Split a score into each feature's contribution."""
    if options.plot is not None:  # a missing matplotlib is reported before the work
        pyplot = import_optional("matplotlib.pyplot", "plot", "--plot")
    model, dataset, titles = load_model(options.model)
    users, user_features, items, item_features = dataset.mapping()
    title_of: Mapping[Hashable, str] = {} if titles is None else titles.of
    user, item = find_row(options.user, "user", users), find_row(options.item, "item", items, title_of)
    explanation = model.explain(
        user,
        item,
        **features_of(dataset),
        user_feature_names=user_features,
        item_feature_names=[title_of.get(name, name) for name in item_features],
        user_name=f"user {options.user}",
        item_name=title_of.get(list(items)[item], f"item {options.item}"),
    )
    rows = explanation.rows()
    if options.plot is not None:
        figure = explanation.plot(n=options.n).figure
        try:
            figure.savefig(options.plot, dpi=150)
        except ValueError as error:  # matplotlib does not write this kind
            raise ValueError(f"{options.plot}: {error}") from error
        finally:
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


def export_vectors_of_model(options: argparse.Namespace) -> None:
    """Write what represents items or users, for databases that search by inner product."""
    side = "user" if options.users else "item"
    model, dataset, _ = load_model(options.model)
    options = with_columns(options, dataset)
    features, column = features_of(dataset)[f"{side}_features"], getattr(options, f"{side}_column")
    n_rows, n_dimensions = export_vectors(model, options.output, side, features, dataset, options.bias, column)
    if options.json:
        print_json({"output": options.output, f"{side}s": n_rows, "dimensions": n_dimensions})
    else:
        say(f"{options.output}: {counted(n_rows, side)} in {n_dimensions} dimensions")


def inspect_model(options: argparse.Namespace) -> None:
    """Print the contents of a model's file."""
    contents = persistence.read(options.model)
    model = LightFM.from_contents(options.model, contents, mmap=True)
    dataset, parameters = model.dataset_, model.get_params()
    facts: dict[str, Any] = {
        "model": options.model,
        "bytes": os.path.getsize(options.model),
        "versions": contents.versions,
        "parameters": parameters,
        "found_by_auto": {name: getattr(model, f"{name}_") for name in FOUND if is_auto(parameters[name])},
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
    last = " (last 5)" if len(facts["loss"]) > 5 else ""
    facts["loss"] = " ".join(f"{loss:.4f}" for loss in facts["loss"][-5:]) + last
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            say(f"{name}:")
            for inner, inner_value in value.items():
                say(f"  {inner}: {inner_value}")
        else:
            say(f"{name}: {f'{value:,}' if type(value) is int else value or 'none'}")
