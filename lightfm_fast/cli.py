"""The command ``lightfm-fast``: fit, evaluate, recommend, similar, explain and inspect, over CSV and Parquet files.

What is asked for goes to standard output, as text or as one JSON document; progress and notes go to standard error.
The user's errors end in one line and exit code 2.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import numpy as np
import scipy.sparse as sp

from . import persistence
from ._validation import LOSSES, import_optional
from ._version import __version__
from .callbacks import EarlyStopping
from .cross_validation import (
    cold_items_train_test_split,
    cold_users_train_test_split,
    leave_last_out_train_test_split,
    random_train_test_split,
    time_train_test_split,
)
from .data import Dataset
from .evaluation import METRICS, Evaluation, evaluate
from .features import Categorical, FeatureSpec, MultiCategorical, PiecewiseLinear, QuantileBins, Standardized, Text
from .lightfm import RECOMMENDED, LightFM
from .table_files import check_ending, read_table, write_csv, write_table

__all__ = ["main"]

PROGRAM = "lightfm-fast"
USER_ERRORS = (ValueError, TypeError, NotImplementedError, OSError, ImportError)
INTERRUPTED, PIPE_CLOSED = 130, 141  # what a shell reports of a process that SIGINT or SIGPIPE ended
USERS_AT_ONCE = 1 << 16  # recommended to between two steps of the progress bar

# Kinds of columns of features: what makes the encoder of what stands after "=", which may be nothing.
KINDS: dict[str, Callable[[str], Any]] = {
    "category": lambda least: Categorical(int(least), unseen="other") if least else Categorical(),
    "tags": lambda separator: MultiCategorical(separator or "|", normalize="l2"),
    "number": lambda _: Standardized(),
    "bins": lambda n_bins: QuantileBins(int(n_bins or 10)),
    "curve": lambda n_bins: PiecewiseLinear(int(n_bins or 10)),
    "text": lambda _: Text(),
}
NUMERIC = (Standardized, QuantileBins, PiecewiseLinear)  # of these a CSV file has numbers, of the others text
HELD_OUT_METRICS = ("precision", "recall", "ndcg", "mrr", "auc")  # what fit tells of held-out interactions
HOLD_OUTS = ("random", "time", "user-time", "last", "cold-users", "cold-items")

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

Columns = dict[str, Any]
_Value = TypeVar("_Value")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with its arguments, those of the process by default, and return its exit code.

    Returns
    -------
    int
        0; or 2 after an error of the user's, told in one line on standard error; 130 if interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at the end
        return PIPE_CLOSED
    except USER_ERRORS as error:
        print(f"{PROGRAM} {options.command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM} {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


# ---------------------------------------------------------------------------------------------------- the commands


def _fit(options: argparse.Namespace) -> None:
    folder = os.path.dirname(os.path.abspath(options.output))
    if not os.path.isdir(folder):  # said before training, not after
        raise FileNotFoundError(f"there is no folder {folder} to write the model to")
    if options.patience is not None and options.hold_out is None and options.validation is None:
        raise ValueError("--patience stops on held-out interactions: give --hold-out or --validation")
    if options.metric is not None and options.patience is None:
        raise ValueError("--metric is what --patience watches: give that too")
    if options.hold_out in ("time", "user-time", "last") and options.time_column is None:
        raise ValueError(f"--hold-out {options.hold_out} needs --time-column")
    started = time.perf_counter()
    dataset, specs = _read_dataset(options)
    interactions: Any = dataset.interactions
    train, weights, test, n_skipped = _held_out(options, dataset)
    features = {"user_features": dataset.user_features, "item_features": dataset.item_features}
    set_by_option = {name: getattr(options, f"model_{name}") for name in MODEL_SETTINGS}
    given = {name: value for name, value in set_by_option.items() if value is not None}
    if options.preset is None:
        model, epochs = LightFM(**{**MODEL_SETTINGS, **given}), DEFAULT_EPOCHS
    else:
        model, epochs = LightFM.recommended(options.preset, **given), PRESET_EPOCHS
    _note(
        options,
        f"{options.interactions}: {interactions.nnz:,} interactions of {interactions.shape[0]:,} users with "
        f"{interactions.shape[1]:,} items, read in {time.perf_counter() - started:.1f} s"
        + (f"; {dataset.n_skipped:,} rows with unknown ids left out" if dataset.n_skipped else ""),
    )
    stopping = None
    if options.patience is not None:
        metric = options.metric or "ndcg"
        stopping = EarlyStopping(
            lambda model: next(
                iter(_measure(model, test, train, [metric], [options.k], features, options).mean.values())
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
        held_out = _measure(model, test, train, HELD_OUT_METRICS, [options.k], features, options)
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
        "skipped_rows": dataset.n_skipped + n_skipped,
        "epochs": len(model.history_),
        "best_epoch": None if stopping is None else stopping.best_epoch_,
        "loss": model.history_[-1]["loss"] if model.history_ else None,
        "seconds": seconds,
        "held_out": None if held_out is None else _metrics(held_out),
    }
    if options.json:
        _print_json(facts)
        return
    if stopping is not None:
        print(f"best epoch: {stopping.best_epoch_} of {len(model.history_)}")
    if held_out is not None:
        print(f"held out ({test.nnz:,} interactions): {held_out}")
    loss = "" if facts["loss"] is None else f", loss {facts['loss']:.4f}"
    print(f"{options.output}: {size / 1e6:,.1f} MB, {facts['epochs']} epochs in {seconds:.1f} s{loss}")


def _evaluate(options: argparse.Namespace) -> None:
    model, dataset = _load(options.model)
    read, n_skipped = _interactions(options, options.test, *_ids(dataset), options.unknown)
    test = _positives(read)
    train, n_common = None, 0
    if options.train is not None:
        train = _positives(_interactions(options, options.train, *_ids(dataset), options.unknown)[0])
        n_common = test.multiply(train).nnz
    result = _measure(model, test, train, options.metrics, options.k, _features(dataset), options)
    for n_rows, what in (
        (n_skipped, "rows with ids unknown to the model"),
        (n_common, "interactions known from --train"),
    ):
        if n_rows:
            _note(options, f"{options.test}: {n_rows:,} {what} left out")
    if options.json:
        _print_json(
            {
                "users": len(result.users),
                "skipped_rows": n_skipped,
                "known_from_train": n_common,
                "metrics": _metrics(result),
            }
        )
    else:
        print(result)


def _recommend(options: argparse.Namespace) -> None:
    if options.output is not None:
        check_ending(options.output)
    model, dataset = _load(options.model)
    user_ids, item_ids = _ids(dataset)
    numbers = dataset.mapping()[2]
    choices: dict[str, Any] = {
        "items": None if options.items is None else _listed(options, options.items, "item", numbers),
        "exclude": [_number(numbers, text, "item") for text in options.exclude]
        + ([] if options.exclude_from is None else _listed(options, options.exclude_from, "item", numbers)),
    }
    features = _features(dataset)
    asked: list[Any]
    if options.newcomers is not None:
        asked, choices["user_representations"], seen = _newcomers(options, model, dataset)
        users = list(range(len(asked)))
    else:
        known = dataset.mapping()[0]
        users = [_number(known, text, "user") for text in options.users]
        if options.users_from is not None:
            users += _listed(options, options.users_from, "user", known)
        elif not users:
            users = list(range(len(user_ids)))
        asked = [user_ids[row] for row in users]
        choices["user_features"] = features["user_features"]
        seen = None
        if options.interactions is not None:
            seen = _interactions(options, options.interactions, user_ids, item_ids, "skip")[0].tocsr()
    found: list[tuple[Any, Any]] = []
    for first in _progress(options, range(0, len(asked), USERS_AT_ONCE), "Users"):
        found.append(
            model.recommend(
                users[first : first + USERS_AT_ONCE],
                n=options.n,
                interactions=seen,
                filter_seen=not options.keep_seen,
                item_features=features["item_features"],
                num_threads=options.threads,
                **choices,
            )
        )
    ids, scores = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else (np.empty((0, 1)),) * 2
    _emit_lists(options, asked, item_ids, ids, scores, ("user", options.user_column), ("item", options.item_column))


def _similar(options: argparse.Namespace) -> None:
    if options.output is not None:
        check_ending(options.output)
    model, dataset = _load(options.model)
    side = "user" if options.users else "item"
    numbers, ids = dataset.mapping()[0 if options.users else 2], _ids(dataset)[0 if options.users else 1]
    rows = [_number(numbers, text, side) for text in options.ids]
    choose = model.similar_users if options.users else model.similar_items
    features = _features(dataset)[f"{side}_features"]
    found = choose(rows, options.n, features, num_threads=options.threads)
    asked = [ids[row] for row in rows]
    column = options.user_column if options.users else options.item_column
    _emit_lists(options, asked, ids, *found, (side, column), (f"similar_{side}", f"similar_{column}"), "cosine")


def _explain(options: argparse.Namespace) -> None:
    if options.plot is not None:  # said before the work
        pyplot = import_optional("matplotlib.pyplot", "plot", "--plot")
    model, dataset = _load(options.model)
    users, user_features, items, item_features = dataset.mapping()
    user, item = _number(users, options.user, "user"), _number(items, options.item, "item")
    explanation = model.explain(
        user,
        item,
        **_features(dataset),
        user_feature_names=user_features,
        item_feature_names=item_features,
    )
    rows = explanation.rows()
    if options.plot is not None:
        figure, ax = pyplot.subplots(layout="constrained", figsize=(8, 1.5 + 0.3 * min(len(rows), options.n + 1)))
        explanation.plot(ax, options.n)
        title = f"user {options.user}, item {options.item}: score {explanation.score:.3g}"
        ax.set_title(title.replace("$", r"\$"))
        figure.savefig(options.plot, dpi=150)
        pyplot.close(figure)
    if options.json:
        _print_json({"user": options.user, "item": options.item, "score": explanation.score, "contributions": rows})
        return
    print(f"score {explanation.score:.4f}, the sum of {len(rows):,} contributions")
    table = [
        (
            f"{row['contribution']:+.4f}",
            *("(bias)" if row[f"{side}_feature"] is None else row[f"{side}_feature"] for side in ("user", "item")),
        )
        for row in rows[: options.n]
    ]
    if len(rows) > options.n:
        rest = sum(row["contribution"] for row in rows[options.n :])
        table.append((f"{rest:+.4f}", f"{len(rows) - options.n:,} others", ""))
    _print_table(("contribution", "user feature", "item feature"), table)


def _inspect(options: argparse.Namespace) -> None:
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
        users, items = _ids(dataset)
        facts["dataset"] = {
            "users": len(users),
            "items": len(items),
            "user_ids": users[:3],
            "item_ids": items[:3],
            "user_features_saved": dataset.user_features is not None,
            "item_features_saved": dataset.item_features is not None,
        }
    if options.json:
        _print_json(facts)
        return
    facts["loss"] = " ".join(f"{loss:.4f}" for loss in facts["loss"][-5:]) + (
        " (last 5)" if len(facts["loss"]) > 5 else ""
    )
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            print(f"{name}:")
            for inner, inner_value in value.items():
                print(f"  {inner}: {inner_value}")
        else:
            print(f"{name}: {f'{value:,}' if type(value) is int else value or 'none'}")


# -------------------------------------------------------------------------------------------------------- the input


def _read_dataset(options: argparse.Namespace) -> tuple[Dataset, dict[str, FeatureSpec | None]]:
    specs: dict[str, FeatureSpec | None] = {}
    tables: dict[str, Any] = {}
    for side in ("user", "item"):
        given, path = getattr(options, f"{side}_features"), getattr(options, f"{side}s")
        if given and path is None:
            raise ValueError(f"--{side}-features describe the rows of --{side}s FILE, which is not given")
        encoders = dict(map(_encoder, given))
        if len(encoders) < len(given):
            raise ValueError(f"--{side}-features names a column twice")
        specs[side] = FeatureSpec(encoders) if encoders else None
        tables[f"{side}s"] = None if path is None else _side_table(options, path, side, specs[side])
    columns = {name: getattr(options, f"{name}_column") for name in ("user", "item", "value", "weight", "time")}
    return Dataset.from_tables(
        _interaction_table(options, options.interactions, columns),
        **tables,
        **columns,
        user_features=specs["user"],
        item_features=specs["item"],
        duplicates=options.duplicates,
        unknown=options.unknown,
        user_identity_features=options.user_identity,
        item_identity_features=options.item_identity,
        normalize=False,  # the encoders do it, each for itself
    ), specs


def _encoder(text: str) -> tuple[str, Any]:
    """Make an encoder of COLUMN, COLUMN:KIND or COLUMN:KIND=ARGUMENT."""
    column, _, how = text.rpartition(":") if ":" in text else (text, "", "category")
    kind, has_argument, argument = how.partition("=")
    if kind not in KINDS or not column:
        raise ValueError(f"{text!r} is no feature: expected COLUMN or COLUMN:KIND, of {', '.join(KINDS)}")
    if (has_argument and not argument) or (argument and kind in ("number", "text")):
        raise ValueError(f"{text!r} is no feature: :{kind} takes {'no argument' if argument else 'something after ='}")
    try:
        return column, KINDS[kind](argument)
    except ValueError as error:
        raise ValueError(f"{text!r} is no feature: {error}") from error


def _side_table(options: argparse.Namespace, path: str, side: str, spec: FeatureSpec | None) -> Columns:
    """Read ids, and what describes users or items."""
    own = getattr(options, f"{side}_column")
    encoders = {} if spec is None else spec.encoders
    text = [column for column, encoder in encoders.items() if not isinstance(encoder, NUMERIC)]
    return read_table(path, list(dict.fromkeys([own, *encoders])), [own, *text])


def _interaction_table(options: argparse.Namespace, path: str, columns: Mapping[str, str | None]) -> Columns:
    wanted = dict.fromkeys(column for column in columns.values() if column is not None)
    return read_table(path, list(wanted), [options.user_column, options.item_column])


def _interactions(
    options: argparse.Namespace, path: str, users: Sequence[Hashable], items: Sequence[Hashable], unknown: str
) -> tuple[sp.coo_matrix, int]:
    """Read the interactions of known users with known items, and count the rows left out."""
    columns = {name: getattr(options, f"{name}_column") for name in ("user", "item", "value")}
    table = _interaction_table(options, path, columns)
    for side, known in (("user", users), ("item", items)):
        table[columns[side]] = _as_known(table[columns[side]], known, f"column {columns[side]!r} of {path}")
    known_users, known_items = {columns["user"]: users}, {columns["item"]: items}
    dataset = Dataset.from_tables(table, known_users, known_items, unknown=unknown, **columns)
    matrix: Any = dataset.interactions
    return matrix, dataset.n_skipped


def _as_known(column: Any, known: Sequence[Hashable], name: str) -> Any:
    """Return a column of ids in the type of those that a model knows: a CSV file has text, a Parquet file has types."""
    import narwhals as nw

    series = nw.from_native(column, series_only=True)
    types = set(map(type, known))
    try:
        if types == {str} and series.dtype.is_integer():
            return series.cast(nw.String)
        if types == {int} and series.dtype == nw.String:
            return series.cast(nw.Int64)
    except Exception as error:  # each library has its own
        raise ValueError(f"{name} holds text, and the model's ids are whole numbers: {error}") from error
    return series


def _listed(options: argparse.Namespace, path: str, side: str, numbers: Mapping[Hashable, int]) -> list[int]:
    """Return the row numbers of the ids in a file."""
    own = getattr(options, f"{side}_column")
    column = _as_known(read_table(path, [own], [own])[own], list(numbers), f"column {own!r} of {path}")
    ids = column.to_list()
    unknown = [name for name in ids if name not in numbers]
    if unknown:
        raise ValueError(f"{path} has {len(unknown):,} {side}s that the model does not know, {unknown[0]!r} first")
    return [numbers[name] for name in ids]


def _newcomers(
    options: argparse.Namespace, model: LightFM, dataset: Dataset
) -> tuple[list[Any], Any, sp.csr_matrix | None]:
    """Represent users whom the model does not know by their features and by folding in what they have chosen."""
    if options.users or options.users_from is not None:
        raise ValueError("--newcomers are recommended to alone: ask for --users or --users-from apart")
    known, items = _ids(dataset)
    spec = model.encoders_.get("user")
    table = _side_table(options, options.newcomers, "user", spec)
    ids = _as_known(
        table[options.user_column], known, f"column {options.user_column!r} of {options.newcomers}"
    ).to_list()
    familiar = next((name for name in ids if name in dataset.mapping()[0]), None)
    if familiar is not None:
        raise ValueError(f"{options.newcomers} has {familiar!r}, whom the model knows: ask for --users")
    features = None if spec is None else dataset.encode_new_users(table, spec)
    if not ids:
        raise ValueError(f"{options.newcomers} has no rows: there is nobody to recommend to")
    nothing = np.zeros(0, dtype=np.int32)
    chosen = sp.coo_matrix((nothing, (nothing, nothing)), shape=(len(ids), len(items)))
    if options.interactions is not None:
        chosen = _interactions(options, options.interactions, ids, items, "skip")[0]
    users = model.fold_in_users(
        chosen, user_features=features, item_features=dataset.item_features, num_threads=options.threads
    )
    return ids, users, None if options.interactions is None else chosen.tocsr()


def _load(path: str) -> tuple[LightFM, Dataset]:
    model = LightFM.load(path, mmap=True)
    if model.dataset_ is None:
        raise ValueError(f"{path} was saved without its Dataset, so its ids are not known: save(path, dataset=dataset)")
    return model, model.dataset_


def _ids(dataset: Dataset) -> tuple[list[Hashable], list[Hashable]]:
    users, _, items, _ = dataset.mapping()
    return list(users), list(items)


def _features(dataset: Dataset) -> dict[str, Any]:
    return {"user_features": dataset.user_features, "item_features": dataset.item_features}


def _number(numbers: Mapping[Hashable, int], text: str, side: str) -> int:
    """Find the row of an id that was typed: as text, or as the number or UUID that it spells."""
    for spell in (str, int, float, UUID):
        with contextlib.suppress(ValueError):
            if (name := spell(text)) in numbers:
                return numbers[name]
    some = ", ".join(map(repr, list(numbers)[:3]))
    raise ValueError(f"the model knows no {side} {text!r}; it knows {len(numbers):,}, such as {some}")


# ------------------------------------------------------------------------------------------------ held-out interactions


def _held_out(options: argparse.Namespace, dataset: Dataset) -> tuple[Any, Any, Any, int]:
    """Return what to train on, its weights, the positives to test on, and the rows left out of these."""
    whole, weights = dataset.interactions, None if options.weight_column is None else dataset.weights
    if options.validation is not None:
        if options.hold_out is not None:
            raise ValueError("--validation and --hold-out both hold out interactions: give one")
        validation, n_skipped = _interactions(options, options.validation, *_ids(dataset), "skip")
        return whole, weights, _positives(validation), n_skipped
    if options.hold_out is None:
        return whole, weights, None, 0
    splits: dict[str, Callable[[Any], Any]] = {
        "random": lambda matrix: random_train_test_split(matrix, options.fraction, options.model_random_state or 0),
        "time": lambda matrix: time_train_test_split(matrix, dataset.timestamps, options.fraction),
        "user-time": lambda matrix: time_train_test_split(matrix, dataset.timestamps, options.fraction, per_user=True),
        "last": lambda matrix: leave_last_out_train_test_split(matrix, dataset.timestamps),
        "cold-users": lambda matrix: cold_users_train_test_split(
            matrix, options.fraction, options.model_random_state or 0
        ),
        "cold-items": lambda matrix: cold_items_train_test_split(
            matrix, options.fraction, options.model_random_state or 0
        ),
    }
    train, test = splits[options.hold_out](whole)
    test = _positives(test)
    if not test.nnz:
        raise ValueError(f"--hold-out {options.hold_out} holds nothing out: there are too few interactions")
    return train, None if weights is None else splits[options.hold_out](weights)[0], test, 0


def _positives(interactions: Any) -> sp.csr_matrix:
    """Leave what is above 0, as training takes it, since metrics count all but 0."""
    matrix = interactions.tocsr()
    positives = sp.csr_matrix(((matrix.data > 0).astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
    positives.eliminate_zeros()
    return positives


def _measure(
    model: LightFM,
    test: Any,
    train: Any,
    metrics: Sequence[str],
    k: Sequence[int],
    features: Mapping[str, Any],
    options: argparse.Namespace,
) -> Evaluation:
    train = None if train is None else _positives(train)
    return evaluate(model, test, train, metrics, k, num_threads=options.threads, check_intersections=False, **features)


# ------------------------------------------------------------------------------------------------------- the output


def _metrics(result: Evaluation) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "mean": value,
            "standard_error": None if math.isnan(result.standard_error[name]) else result.standard_error[name],
        }
        for name, value in result.mean.items()
    }


def _emit_lists(
    options: argparse.Namespace,
    asked: Sequence[Any],
    names: Sequence[Any],
    ids: Any,
    scores: Any,
    given: tuple[str, str],
    chosen: tuple[str, str],
    score: str = "score",
) -> None:
    """Write a list for each id asked about: to a file, as JSON, or as CSV on standard output."""
    rows, places = np.nonzero(ids >= 0)
    found = ids[rows, places].astype(np.int64).tolist()
    values = scores[rows, places].astype(np.float64).round(6).tolist()  # of single precision, not 0.10000000149
    if options.output is None and options.json:
        lists: list[list[dict[str, Any]]] = [[] for _ in asked]
        for row, item, value in zip(rows.tolist(), found, values, strict=True):
            lists[row].append({chosen[0]: names[item], score: value})
        _print_json([{given[0]: name, f"{chosen[0]}s": of_name} for name, of_name in zip(asked, lists, strict=True)])
        return
    columns = {
        given[1]: [asked[row] for row in rows.tolist()],
        chosen[1]: [names[item] for item in found],
        "rank": (places + 1).tolist(),
        score: values,
    }
    if options.output is None:
        write_csv(sys.stdout, columns)
        return
    write_table(options.output, columns)
    if options.json:
        _print_json({"output": options.output, f"{given[0]}s": len(asked), "rows": len(rows)})
    else:
        print(f"{options.output}: {len(rows):,} rows for {len(asked):,} {given[0]}s")


def _print_json(document: Any) -> None:
    print(json.dumps(document, default=str, allow_nan=False))


def _print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join((first.strip().rjust(widths[0]), *others)).rstrip())


def _note(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr)


def _progress(options: argparse.Namespace, steps: Sequence[_Value], name: str) -> Iterator[_Value]:
    """Go through steps with a bar, where there are several and tqdm is installed."""
    if len(steps) > 1 and not options.quiet:
        with contextlib.suppress(ImportError):
            from tqdm.auto import tqdm

            return iter(tqdm(steps, desc=name))
    return iter(steps)


# ------------------------------------------------------------------------------------------------------ the arguments


class _Parser(argparse.ArgumentParser):
    """Tells an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _count(text: str) -> int:
    """Read a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return number


_count.__name__ = "whole number"  # how argparse calls it in "invalid ... value"


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Recommendations from tables in CSV and Parquet files.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON document")
    common.add_argument("--quiet", action="store_true", help="no progress and notes on standard error")
    common.add_argument(
        "--threads", type=_count, default=_usable_cpus(), metavar="N", help="default: all CPUs (%(default)s here)"
    )
    columns = _Parser(add_help=False)
    columns.add_argument("--user-column", default="user_id", metavar="NAME", help="default: %(default)s")
    columns.add_argument("--item-column", default="item_id", metavar="NAME", help="default: %(default)s")
    values = _Parser(add_help=False)
    values.add_argument(
        "--value-column", metavar="NAME", help="what happened: above 0 is a positive; by default each row is one"
    )
    model = _Parser(add_help=False)
    model.add_argument("model", metavar="MODEL", help="file that fit, or LightFM.save with its Dataset, has written")
    output = _Parser(add_help=False)
    output.add_argument(
        "-o", "--output", metavar="FILE", help=".csv, .tsv or .parquet; default: CSV on standard output"
    )

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str, *parents: Any) -> _Parser:
        command = commands.add_parser(name, help=text, description=text, parents=[*parents, common])
        command.set_defaults(run=run)
        return command

    fit = add("fit", _fit, "Train a model on a table of interactions and write it to a file.", columns, values)
    fit.add_argument("interactions", metavar="FILE", help=".csv, .tsv (also .gz) or .parquet, one row an interaction")
    fit.add_argument("-o", "--output", required=True, metavar="MODEL", help="file to write, such as model.safetensors")
    fit.add_argument("--weight-column", metavar="NAME", help="how much each row counts in training")
    fit.add_argument("--time-column", metavar="NAME", help="when: numbers, or datetimes")
    fit.add_argument(
        "--duplicates", choices=("sum", "max", "last", "error"), default="sum", help="rows of the same pair"
    )
    fit.add_argument(
        "--unknown",
        choices=("raise", "skip", "add"),
        default="raise",
        help="rows whose user or item is not in --users or --items (default: %(default)s)",
    )
    for side in ("user", "item"):
        fit.add_argument(f"--{side}s", metavar="FILE", help=f"table of one row a {side}")
        fit.add_argument(
            f"--{side}-features",
            nargs="+",
            action="extend",
            default=[],
            metavar="COLUMN[:KIND[=ARG]]",
            help=f"columns of --{side}s; KIND: category[=least rows], tags[=separator, default |], number, bins[=n], "
            "curve[=n], text",
        )
        fit.add_argument(
            f"--no-{side}-identity",
            dest=f"{side}_identity",
            action="store_false",
            help=f"no embedding for each {side}: features only",
        )
    fit.add_argument(
        "--preset",
        choices=tuple(RECOMMENDED),
        help=f"settings measured to rank well, {PRESET_EPOCHS} epochs; options below replace what they say",
    )
    fit.add_argument("--epochs", type=_count, metavar="N", help=f"({DEFAULT_EPOCHS}; with --preset {PRESET_EPOCHS})")

    def set_model(option: str, name: str, text: str, **how: Any) -> None:
        fit.add_argument(option, dest=f"model_{name}", help=f"{text} ({MODEL_SETTINGS[name]})", **how)

    set_model("--loss", "loss", "what is learned", choices=LOSSES)
    set_model("--components", "no_components", "length of embeddings", type=_count, metavar="N")
    set_model("--schedule", "learning_schedule", "how steps shrink", choices=("adagrad", "adadelta"))
    set_model("--learning-rate", "learning_rate", "size of the first steps", type=float, metavar="X")
    set_model("--user-alpha", "user_alpha", "L2 penalty", type=float, metavar="X")
    set_model("--item-alpha", "item_alpha", "L2 penalty", type=float, metavar="X")
    set_model("--max-sampled", "max_sampled", "WARP's most draws", type=_count, metavar="N")
    set_model("--kos-k", "k", "k of warp-kos", type=_count, metavar="N")
    set_model("--kos-n", "n", "n of warp-kos", type=_count, metavar="N")
    fit.add_argument(
        "--seed",
        dest="model_random_state",
        type=int,
        metavar="N",
        help="with --threads 1, the same seed gives the same bits",
    )
    fit.add_argument("--no-optimizer-state", dest="optimizer_state", action="store_false", help="half the size of file")
    held_out = fit.add_argument_group("held-out interactions")
    held_out.add_argument("--hold-out", choices=HOLD_OUTS, help="which rows to measure on instead of training on them")
    held_out.add_argument("--fraction", type=float, default=0.2, metavar="X", help="how many of them (%(default)s)")
    held_out.add_argument("--validation", metavar="FILE", help="a table of them; rows with unknown ids are left out")
    held_out.add_argument(
        "--patience", type=_count, metavar="N", help="stop after N epochs without a gain, and keep the best epoch"
    )
    held_out.add_argument("--metric", choices=tuple(METRICS), help="what --patience watches (ndcg)")
    held_out.add_argument("--k", type=_count, default=10, metavar="N", help="length of lists (%(default)s)")

    measure = add("evaluate", _evaluate, "Measure a model on held-out interactions.", model, columns, values)
    measure.add_argument("test", metavar="FILE", help="table of the interactions to be found")
    measure.add_argument("--train", metavar="FILE", help="table of known interactions, which are not recommended")
    measure.add_argument(
        "--metrics",
        nargs="+",
        choices=tuple(METRICS),
        default=["precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"],
        metavar="NAME",
        help=f"of {', '.join(METRICS)}; default: all but the last two",
    )
    measure.add_argument("--k", nargs="+", type=_count, default=[10], metavar="N", help="lengths of lists (10)")
    measure.add_argument(
        "--unknown", choices=("raise", "skip"), default="skip", help="rows with unknown ids (default: %(default)s)"
    )

    lists = add("recommend", _recommend, "Recommend items to users.", model, columns, values, output)
    lists.add_argument("--users", nargs="+", action="extend", default=[], metavar="ID", help="default: all users")
    lists.add_argument("--users-from", metavar="FILE", help="table with their ids")
    lists.add_argument(
        "--newcomers",
        metavar="FILE",
        help="table of users unknown to the model, with the columns of the user features where it has them; what they "
        "have in --interactions is folded in",
    )
    lists.add_argument("-n", type=_count, default=10, metavar="N", help="items for each (%(default)s)")
    lists.add_argument("--interactions", metavar="FILE", help="table of what users have already: not recommended again")
    lists.add_argument("--keep-seen", action="store_true", help="recommend it again")
    lists.add_argument("--items", metavar="FILE", help="table of the items to choose from; default: all")
    lists.add_argument("--exclude", nargs="+", action="extend", default=[], metavar="ID", help="items for nobody")
    lists.add_argument("--exclude-from", metavar="FILE", help="table with their ids")

    similar = add("similar", _similar, "Find the items, or users, most like given ones.", model, columns, output)
    similar.add_argument("ids", nargs="+", metavar="ID")
    similar.add_argument("--users", action="store_true", help="the ids are users")
    similar.add_argument("-n", type=_count, default=10, metavar="N", help="how many for each (%(default)s)")

    why = add("explain", _explain, "Take a score apart into what each feature adds.", model)
    why.add_argument("user", metavar="USER")
    why.add_argument("item", metavar="ITEM")
    why.add_argument("-n", type=_count, default=15, metavar="N", help="rows to show; --json has all (%(default)s)")
    why.add_argument("--plot", metavar="FILE", help="draw them as bars: .png, .svg or .pdf")

    add("inspect", _inspect, "Say what is in a model's file.", model)
    return parser
