"""The command ``lightfm-fast``: fit, evaluate, recommend, similar, explain and inspect, over tables in files.

What is asked for goes to standard output, as text or as one JSON document; progress and notes go to standard error.
The user's errors end in one line and exit code 2. A terminal gets no control characters out of tables.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import numpy as np
import scipy.sparse as sp

from . import persistence
from ._tables import factorize, match_ids
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
from .data import Dataset, UnknownIdsError
from .evaluation import METRICS, Evaluation, LeakWarning, evaluate
from .features import (
    Categorical,
    Dense,
    FeatureSpec,
    MultiCategorical,
    PiecewiseLinear,
    QuantileBins,
    Standardized,
    Text,
)
from .lightfm import RECOMMENDED, LightFM
from .table_files import CsvFormat, not_a_formula, read_table, writable_ending, write_csv, write_table

__all__ = ["main"]

PROGRAM = "lightfm-fast"
USER_ERRORS = (ValueError, TypeError, NotImplementedError, OSError, ImportError, MemoryError)
INTERRUPTED, PIPE_CLOSED = 130, 141  # what a shell reports of a process that SIGINT or SIGPIPE ended
USERS_AT_ONCE = 1 << 16  # recommended to between two steps of the progress bar
PLACES_AT_ONCE = 1 << 24  # in their lists, which bounds the memory
LONGEST_LIST = 1_000_000  # what -n and --k may ask for

# Kinds of columns of features: what makes the encoder of what stands after "=", which may be nothing.
KINDS: dict[str, Callable[[str], Any]] = {
    "category": lambda least: Categorical(int(least), unseen="other") if least else Categorical(),
    "tags": lambda separator: MultiCategorical(separator or "|", normalize="l2"),
    "number": lambda _: Standardized(),
    "bins": lambda n_bins: QuantileBins(int(n_bins or 10)),
    "curve": lambda n_bins: PiecewiseLinear(int(n_bins or 10)),
    "text": lambda _: Text(),
    "vector": lambda _: Dense(),
}
NUMERIC = (Standardized, QuantileBins, PiecewiseLinear)  # of these a CSV file has numbers, of the others text
HELD_OUT_METRICS = ("precision", "recall", "ndcg", "mrr", "auc")  # what fit tells of held-out interactions
HOLD_OUTS = ("random", "time", "user-time", "last", "cold-users", "cold-items")

# Where a message of the library names an argument, the option that sets it.
OPTIONS = {
    "loss": "--loss",
    "no_components": "--components",
    "learning_schedule": "--schedule",
    "learning_rate": "--learning-rate",
    "user_alpha": "--user-alpha",
    "item_alpha": "--item-alpha",
    "max_sampled": "--max-sampled",
    "k": "--k",
    "random_state": "--seed",
    "Seed": "--seed",
    "epochs": "--epochs",
    "num_threads": "--threads",
    "test_percentage": "--fraction",
    "positive_from": "--positive-from",
    "sample_weight": "--weight-column",
}

PYTHON_WORDS = {  # advice of the library's, in the words of the command line
    "say with duplicates= what": "say with --duplicates what",
    ", or take unseen='other'": "",
}

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
        with warnings.catch_warnings():
            warnings.simplefilter("default", LeakWarning)
            warnings.showwarning = lambda message, *_, **__: _note(options, f"warning: {_in_words_of_options(message)}")
            _check_outputs(options)
            options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at the end
        return PIPE_CLOSED
    except USER_ERRORS as error:
        print(f"{PROGRAM} {options.command}: error: {_in_words_of_options(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM} {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def _in_words_of_options(message: Exception | Warning | str) -> str:
    """Say in one line, in the words of the command line, what is wrong."""
    text = " ".join(str(message).split()) or "there is not enough memory"
    if isinstance(message, LeakWarning):
        text = f"{text.partition(':')[0]}: hold interactions out, by fit --hold-out or in a file that fit does not read"
    for python, ours in PYTHON_WORDS.items():
        text = text.replace(python, ours)
    text = re.sub(r"in row ([\d,]+)", lambda found: f"in data row {int(found[1].replace(',', '')) + 1:,}", text)
    option = OPTIONS.get(text.partition(" ")[0])
    return _printable(text if option is None else f"{option}: {text}")


class InputFile(str):
    """The name of a file that a command reads."""

    __slots__ = ()


class OutputFile(str):
    """The name of a file that a command writes."""

    __slots__ = ()


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse, before any work, outputs that are inputs and those whose folder does not exist."""
    given = [name for value in vars(options).values() for name in (value if isinstance(value, list) else [value])]
    given += [name for pair in given if isinstance(pair, list) for name in pair]
    for output in given:
        if not isinstance(output, OutputFile):
            continue
        folder = os.path.dirname(os.path.abspath(output))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"there is no folder {folder} to write {os.path.basename(output)} to")
        for name in given:
            if isinstance(name, InputFile) and _is_same_file(name, output):
                raise ValueError(f"{output} would be written over {name}, which is read: give another name")


def _is_same_file(first: str, second: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(first, second)  # by another name or a link too
    return os.path.realpath(first) == os.path.realpath(second)


# ---------------------------------------------------------------------------------------------------- the commands


def _fit(options: argparse.Namespace) -> None:
    if options.patience is not None and options.hold_out is None and not options.validation:
        raise ValueError("--patience stops on held-out interactions: give --hold-out or --validation")
    if options.metric is not None and options.patience is None:
        raise ValueError("--metric is what --patience watches: give that too")
    if options.hold_out in ("time", "user-time", "last") and options.time_column is None:
        raise ValueError(f"--hold-out {options.hold_out} needs --time-column")
    started = time.perf_counter()
    dataset, specs = _read_dataset(options)
    interactions: Any = dataset.interactions
    train, weights, validation, test = _held_out(options, dataset)
    features = {"user_features": dataset.user_features, "item_features": dataset.item_features}
    set_by_option = {name: getattr(options, f"model_{name}") for name in MODEL_SETTINGS}
    given = {name: value for name, value in set_by_option.items() if value is not None}
    if options.preset is None:
        model, epochs = LightFM(**{**MODEL_SETTINGS, **given}), DEFAULT_EPOCHS
    else:
        model, epochs = LightFM.recommended(options.preset, **given), PRESET_EPOCHS
    files = ", ".join(options.interactions)
    _note(
        options,
        f"{files}: {interactions.nnz:,} interactions of {interactions.shape[0]:,} users with "
        f"{interactions.shape[1]:,} items, read in {time.perf_counter() - started:.1f} s",
    )
    if dataset.n_skipped:
        _note(options, f"{files}: {_left_out(dataset, options.interactions)}")
    values = interactions.data
    if options.value_column is not None and options.positive_from is None and len(values) and values.min() > 0:
        _note(
            options,
            f"{files}: column {options.value_column!r} has no value at or below 0, so every row is a positive: of "
            "ratings, say with --positive-from which is the least that is one; of counts, use --weight-column",
        )
    stopping = None
    if options.patience is not None:
        metric = options.metric or "ndcg"
        stopping = EarlyStopping(
            lambda model: next(
                iter(_measure(model, validation, train, [metric], [options.k], features, options).mean.values())
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
        "skipped_rows": dataset.n_skipped,
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
        _say(
            f"best epoch: {stopping.best_epoch_} of {len(model.history_)}, by {_counted(validation.nnz, 'interaction')}"
        )
    if held_out is not None:
        what = "that chose the epoch" if stopping is not None and options.validation else "held out"
        _say(f"{_counted(test.nnz, 'interaction')} {what}: {held_out}")
    loss = "" if facts["loss"] is None else f", loss {facts['loss']:.4f}"
    _say(f"{options.output}: {size / 1e6:,.1f} MB, {_counted(len(model.history_), 'epoch')} in {seconds:.1f} s{loss}")


def _evaluate(options: argparse.Namespace) -> None:
    model, dataset = _load(options.model)
    files = ", ".join(options.test)
    try:
        read = _interactions(options, options.test, *_ids(dataset), options.unknown)
    except UnknownIdsError as error:
        raise ValueError(f"{error}: no user has a test positive") from error
    test, n_skipped = _positives(read.interactions), read.n_skipped
    n_positives = test.nnz
    train, n_common = None, 0
    if options.train:
        train = _positives(_interactions(options, options.train, *_ids(dataset), options.unknown).interactions)
        n_common = test.multiply(train).nnz
        if n_common == n_positives:
            raise ValueError(f"{files}: --train has each positive of it, so that no user has a test positive")
    if not n_positives:
        raise ValueError(f"{files}: no user has a test positive, which is a row with a value above 0")
    result = _measure(model, test, train, options.metrics, options.k, _features(dataset), options)
    if n_common:
        _note(options, f"{files}: {_counted(n_common, 'interaction')} known from --train left out")
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
        _say(str(result))


def _recommend(options: argparse.Namespace) -> None:
    _check_output_kind(options)
    model, dataset = _load(options.model)
    user_ids, item_ids = _ids(dataset)
    numbers = dataset.mapping()[2]
    choices: dict[str, Any] = {
        "items": _listed(options, options.items, "item", numbers) if options.items else None,
        "exclude": [_number(numbers, text, "item") for text in options.exclude]
        + (_listed(options, options.exclude_from, "item", numbers) if options.exclude_from else []),
    }
    features = _features(dataset)
    asked: list[Any]
    if options.newcomers:
        asked, choices["user_representations"], seen = _newcomers(options, model, dataset)
        users = list(range(len(asked)))
    else:
        known = dataset.mapping()[0]
        users = [_number(known, text, "user") for text in options.users]
        if options.users_from:
            users += _listed(options, options.users_from, "user", known)
        elif not users:
            users = list(range(len(user_ids)))
        asked = [user_ids[row] for row in users]
        choices["user_features"] = features["user_features"]
        seen = None
        if options.interactions:
            already: Any = _interactions(options, options.interactions, user_ids, item_ids, "skip").interactions
            seen = already.tocsr()
    found: list[tuple[Any, Any]] = []
    n = min(options.n, len(item_ids))
    step = max(1, min(USERS_AT_ONCE, PLACES_AT_ONCE // n))
    for first in _progress(options, range(0, len(asked), step), "Users"):
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
    _emit_lists(options, asked, item_ids, ids, scores, ("user", options.user_column), ("item", options.item_column))


def _similar(options: argparse.Namespace) -> None:
    _check_output_kind(options)
    model, dataset = _load(options.model)
    side = "user" if options.users else "item"
    numbers, ids = dataset.mapping()[0 if options.users else 2], _ids(dataset)[0 if options.users else 1]
    rows = [_number(numbers, text, side) for text in options.ids]
    choose = model.similar_users if options.users else model.similar_items
    features = _features(dataset)[f"{side}_features"]
    found = choose(rows, min(options.n, len(ids)), features, num_threads=options.threads)
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
        _print_json({"user": options.user, "item": options.item, "score": explanation.score, "contributions": rows})
        return
    _say(f"score {explanation.score:.4f}, the sum of {len(rows):,} contributions")
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
            _say(f"{name}:")
            for inner, inner_value in value.items():
                _say(f"  {inner}: {inner_value}")
        else:
            _say(f"{name}: {f'{value:,}' if type(value) is int else value or 'none'}")


# -------------------------------------------------------------------------------------------------------- the input


def _read_dataset(options: argparse.Namespace) -> tuple[Dataset, dict[str, FeatureSpec | None]]:
    columns = {name: getattr(options, f"{name}_column") for name in ("user", "item", "value", "weight", "time")}
    interactions = _interaction_table(options, options.interactions, columns)
    specs: dict[str, FeatureSpec | None] = {}
    tables: dict[str, Any] = {}
    for side in ("user", "item"):
        given, files, tags = (getattr(options, f"{side}_{what}") for what in ("features", "files", "tags"))
        if given and not files:
            raise ValueError(f"--{side}-features describe the rows of --{side}s FILE, which is not given")
        encoders = dict(map(_encoder, given))
        tag_encoders = {column: MultiCategorical("|", normalize="l2") for _, column in tags}
        if len(given) + len(tags) > len({**encoders, **tag_encoders}):
            raise ValueError(f"--{side}-features or --{side}-tags names a column twice")
        table: Columns | None = _side_table(options, files, side, encoders) if files else None
        if tags:
            table = _with_tags(options, side, table, interactions)
        encoders.update(tag_encoders)
        specs[side] = FeatureSpec(encoders) if encoders else None
        tables[f"{side}s"] = table
    try:
        return Dataset.from_tables(
            interactions,
            **tables,
            **columns,
            positive_from=_positive_from(options),
            user_features=specs["user"],
            item_features=specs["item"],
            duplicates=options.duplicates,
            unknown=options.unknown,
            user_identity_features=options.user_identity,
            item_identity_features=options.item_identity,
            normalize=False,  # the encoders do it, each for itself
        ), specs
    except UnknownIdsError as error:
        way_out = ": --unknown skip leaves such rows out, --unknown add trains on them" * (options.unknown == "raise")
        raise ValueError(f"{', '.join(options.interactions)}: {error.problem}{way_out}") from error


def _with_tags(options: argparse.Namespace, side: str, table: Columns | None, interactions: Columns) -> Columns:
    """Add a column for each table of one row per tag: a list of tags for each user or item."""
    own = getattr(options, f"{side}_column")
    read: list[tuple[str, str, Columns]] = []
    for file, column in getattr(options, f"{side}_tags"):
        read.append((file, column, _read(options, [file], [own, column], [own, column], filled=[own])))
    if table is None:  # then everything that is named anywhere is known
        named = dict.fromkeys(factorize(_as_series(interactions[own]))[1])
        for _, _, tagged in read:
            names = factorize(_as_series(tagged[own]))[1]
            numbers = match_ids(names, dict(zip(named, range(len(named)), strict=True)))
            named.update(dict.fromkeys(name for name, number in zip(names, numbers, strict=True) if number < 0))
        table = {own: list(named)}
    ids = factorize(_as_series(table[own]))[1]
    known = dict(zip(ids, range(len(ids)), strict=True))
    for file, column, tagged in read:
        codes, names = factorize(_as_series(tagged[own]))
        rows = match_ids(names, known)[codes] if len(names) else codes
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            problem = (
                f"{file}: {_counted(len(unknown), 'row')} of {side}s that --{side}s does not list, "
                f"{names[codes[unknown[0]]]!r} in data row {unknown[0] + 1:,} first"
            )
            if len(unknown) == len(rows):
                raise ValueError(problem)
            _note(options, f"{problem}, left out")
        lists: list[list[Any]] = [[] for _ in ids]
        for row, tag in zip(rows.tolist(), _as_series(tagged[column]), strict=True):
            if row >= 0 and tag is not None:
                lists[row].append(tag)
        table[column] = lists
    return table


def _encoder(text: str) -> tuple[str, Any]:
    """Make an encoder of COLUMN, COLUMN:KIND or COLUMN:KIND=ARGUMENT."""
    column, _, how = text.rpartition(":") if ":" in text else (text, "", "category")
    kind, has_argument, argument = how.partition("=")
    if kind not in KINDS or not column:
        raise ValueError(f"{text!r} is no feature: expected COLUMN or COLUMN:KIND, of {', '.join(KINDS)}")
    if (has_argument and not argument) or (argument and kind in ("number", "text", "vector")):
        raise ValueError(f"{text!r} is no feature: :{kind} takes {'no argument' if argument else 'something after ='}")
    try:
        return column, KINDS[kind](argument)
    except ValueError as error:
        raise ValueError(f"{text!r} is no feature: {error}") from error


def _side_table(options: argparse.Namespace, files: Sequence[str], side: str, encoders: Mapping[str, Any]) -> Columns:
    """Read ids, and what describes users or items."""
    own = getattr(options, f"{side}_column")
    numbers = [column for column, encoder in encoders.items() if isinstance(encoder, NUMERIC)]
    text = [column for column in encoders if column not in numbers]
    table = _read(options, files, list(dict.fromkeys([own, *encoders])), [own, *text], numbers=numbers, filled=[own])
    codes, ids = factorize(_as_series(table[own]))
    if len(ids) < len(codes):
        row = int(np.isin(np.arange(len(codes)), np.unique(codes, return_index=True)[1]).argmin())
        raise ValueError(
            f"{', '.join(files)}: data row {row + 1:,} is of {side} {ids[codes[row]]!r} again, and each {side} has one "
            "row"
        )
    for column, encoder in encoders.items():
        if isinstance(encoder, (MultiCategorical, Dense)):
            table[column] = _lists(
                table[column], f"column {column!r} of {', '.join(files)}", isinstance(encoder, Dense)
            )
    return table


def _lists(column: Any, name: str, must: bool) -> Any:
    """Read cells of text that are lists, as JSON or Python writes them: all of them, or none where none has to be."""
    cells = [_literal(cell) if isinstance(cell, str) else cell for cell in _as_series(column)]
    is_list = [cell is None or (not isinstance(cell, str) and hasattr(cell, "__len__")) for cell in cells]
    if all(is_list):
        return cells
    if must or any(fine and cell is not None for fine, cell in zip(is_list, cells, strict=True)):
        row = is_list.index(False)
        raise ValueError(f"{name} has {cells[row]!r} in data row {row + 1:,}, expected a list as in other rows")
    return column


def _literal(cell: str) -> Any:
    """Return the list that a cell spells, or the cell."""
    for read in (json.loads, ast.literal_eval) if cell.lstrip().startswith("[") else ():
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = read(cell)
            if isinstance(found, list):
                return found
    return cell


def _interaction_table(options: argparse.Namespace, files: Sequence[str], columns: Mapping[str, str | None]) -> Columns:
    given = {name: column for name, column in columns.items() if column is not None}
    wanted = list(dict.fromkeys(given.values()))
    return _read(
        options,
        files,
        wanted,
        [options.user_column, options.item_column],
        numbers=[given[name] for name in ("value", "weight") if name in given],
        times=[given["time"]] if "time" in given else [],
        filled=wanted,
        what="interactions",
    )


def _read(
    options: argparse.Namespace,
    files: Sequence[str],
    columns: Sequence[str],
    text: Sequence[str],
    numbers: Sequence[str] = (),
    times: Sequence[str] = (),
    filled: Sequence[str] = (),
    what: str = "the table",
) -> Columns:
    """Read columns of one file, or of several below one another; those ``filled`` may have no missing cells."""
    how = CsvFormat(options.delimiter, options.encoding, options.decimal, tuple(options.missing))
    tables = []
    for file in files:
        table = read_table(file, columns, text, numbers=numbers, times=times, csv_format=how)
        for column in filled:
            missing = _missing(table[column])
            if missing.any():
                raise ValueError(
                    f"{file}: column {column!r} of {what} has {np.count_nonzero(missing):,} missing "
                    f"{'ids' if column in text else 'values'}, the first in data row {int(missing.argmax()) + 1:,}: "
                    "fill them in, or leave those rows out"
                )
        tables.append(table)
    if len(tables) == 1:
        return tables[0]
    whole: Columns = {}
    for column in columns:
        parts = [_as_series(table[column]) for table in tables]
        kinds = {file: _kind(part) for file, part in zip(files, parts, strict=True) if len(part)}
        if len(set(kinds.values())) > 1:
            raise ValueError(
                f"column {column!r} holds {' but '.join(f'{kind} in {file}' for file, kind in kinds.items())}: bring "
                "the files to one type"
            )
        if "text or others" in kinds.values():
            whole[column] = [value for part in parts for value in part.to_list()]
        else:
            whole[column] = np.concatenate([part.to_numpy() for part in parts])
    return whole


def _as_series(column: Any) -> Any:
    """Return a column of a library as narwhals sees it, a list or an array as it is."""
    import narwhals as nw

    return column if isinstance(column, (list, np.ndarray)) else nw.from_native(column, series_only=True)


def _missing(column: Any) -> Any:
    series = _as_series(column)
    missing = series.is_null().to_numpy()
    if series.dtype.is_float():
        missing = missing | np.isnan(series.to_numpy())
    return missing


def _kind(series: Any) -> str:
    dtype = series.dtype
    return "numbers" if dtype.is_numeric() else "dates" if dtype.is_temporal() else "text or others"


def _interactions(
    options: argparse.Namespace,
    files: Sequence[str],
    users: Sequence[Hashable],
    items: Sequence[Hashable],
    unknown: str,
    to_whom: str = "the model",
) -> Dataset:
    """Read the interactions of known users with known items, and say which rows are left out."""
    columns = {name: getattr(options, f"{name}_column") for name in ("user", "item", "value")}
    table = _interaction_table(options, files, columns)
    known = {"user": users, "item": items}
    known_users, known_items = ({columns[side]: list(known[side])} for side in known)
    try:
        dataset = Dataset.from_tables(
            table, known_users, known_items, unknown=unknown, positive_from=_positive_from(options), **columns
        )
    except UnknownIdsError as error:
        types = [
            f"; column {columns[side]!r} of {', '.join(files)} holds text, and the model's ids are whole numbers"
            for side in known
            if set(map(type, known[side])) == {int} and isinstance(_as_series(table[columns[side]])[0], str)
        ]
        way_out = ": --unknown skip leaves such rows out" * (unknown == "raise")
        raise UnknownIdsError(f"{', '.join(files)}: {error.problem}{''.join(types)}{way_out}") from error
    if dataset.n_skipped:
        _note(options, f"{', '.join(files)}: {_left_out(dataset, files, to_whom)}")
    return dataset


def _positive_from(options: argparse.Namespace) -> float | None:
    if options.positive_from is not None and options.value_column is None:
        raise ValueError("--positive-from is the least value of --value-column that is a positive: give that too")
    least: float | None = options.positive_from
    return least


def _left_out(dataset: Dataset, files: Sequence[str], by_whom: str = "--users or --items") -> str:
    """Say how many rows were left out, and which was the first."""
    row, side, name = dataset.first_skipped or (0, "", None)
    place = f" in data row {row + 1:,}" if len(files) == 1 else ""
    return f"{_counted(dataset.n_skipped, 'row')} with ids unknown to {by_whom} left out, {side} {name!r}{place} first"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _rows_of(column: Any, known: Mapping[Hashable, int]) -> tuple[Any, list[Hashable]]:
    """Return the row of each id of a column among the known ones, -1 where it is unknown, and the ids."""
    codes, names = factorize(_as_series(column))
    return (match_ids(names, known)[codes] if len(names) else codes), [names[code] for code in codes.tolist()]


def _listed(options: argparse.Namespace, files: Sequence[str], side: str, known: Mapping[Hashable, int]) -> list[int]:
    """Return the row numbers of the ids in files."""
    own = getattr(options, f"{side}_column")
    rows, names = _rows_of(_read(options, files, [own], [own], filled=[own])[own], known)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        place = f" in data row {unknown[0] + 1:,}" if len(files) == 1 else ""
        raise ValueError(
            f"{', '.join(files)} has {len(unknown):,} {side}s that the model does not know, "
            f"{names[unknown[0]]!r}{place} first"
        )
    return [int(row) for row in rows]


def _newcomers(
    options: argparse.Namespace, model: LightFM, dataset: Dataset
) -> tuple[list[Any], Any, sp.csr_matrix | None]:
    """Represent users whom the model does not know by their features and by folding in what they have chosen."""
    if options.users or options.users_from:
        raise ValueError("--newcomers are recommended to alone: ask for --users or --users-from apart")
    items = _ids(dataset)[1]
    spec = model.encoders_.get("user")
    files = ", ".join(options.newcomers)
    table = _side_table(options, options.newcomers, "user", {} if spec is None else spec.encoders)
    rows, ids = _rows_of(table[options.user_column], dataset.mapping()[0])
    familiar = next((name for name, row in zip(ids, rows, strict=True) if row >= 0), None)
    if familiar is not None:
        raise ValueError(f"{files} has {familiar!r}, whom the model knows: ask for --users")
    features = None if spec is None else dataset.encode_new_users(table, spec)
    if not ids:
        raise ValueError(f"{files} has no rows: there is nobody to recommend to")
    nothing = np.zeros(0, dtype=np.int32)
    chosen: Any = sp.coo_matrix((nothing, (nothing, nothing)), shape=(len(ids), len(items)))
    if options.interactions:
        chosen = _interactions(
            options, options.interactions, ids, items, "skip", "the newcomers or the model"
        ).interactions
    users = model.fold_in_users(
        chosen, user_features=features, item_features=dataset.item_features, num_threads=options.threads
    )
    return ids, users, chosen.tocsr() if options.interactions else None


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


def _held_out(options: argparse.Namespace, dataset: Dataset) -> tuple[Any, Any, Any, Any]:
    """Return what to train on, its weights, the positives that --patience watches and those to report on."""
    whole: Any = dataset.interactions
    weights: Any = None if options.weight_column is None else dataset.weights
    if options.validation and options.hold_out is not None:
        raise ValueError("--validation and --hold-out both hold out interactions: give one")
    if options.validation:
        read = _interactions(options, options.validation, *_ids(dataset), "skip", "the model")
        validation = _positives(read.interactions)
        if not validation.nnz:
            raise ValueError(f"{', '.join(options.validation)}: no user has a test positive")
        return whole, weights, validation, validation
    if options.hold_out is None:
        return whole, weights, None, None
    train, tested = _split(options, dataset, np.arange(whole.nnz))
    train, watched = (train, tested) if options.patience is None else _split(options, dataset, train)

    def chosen(matrix: Any, entries: Any) -> Any:
        return sp.coo_matrix((matrix.data[entries], (matrix.row[entries], matrix.col[entries])), shape=matrix.shape)

    validation, test = (_positives(chosen(whole, entries)) for entries in (watched, tested))
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
    escape = not_a_formula if options.escape_formulas else None
    if options.output is None:
        write_csv(sys.stdout, columns, change=_shown if sys.stdout.isatty() and escape is None else escape)
        return
    write_table(options.output, columns, escape)
    if options.json:
        _print_json({"output": options.output, f"{given[0]}s": len(asked), "rows": len(rows)})
    else:
        _say(f"{options.output}: {_counted(len(rows), 'row')} for {_counted(len(asked), given[0])}")


def _check_output_kind(options: argparse.Namespace) -> None:
    """Refuse names of files that are not written, before the work, and --escape-formulas where no CSV is written."""
    ending = None if options.output is None else writable_ending(options.output)
    if options.escape_formulas and (options.json if ending is None else ending not in (".csv", ".tsv")):
        raise ValueError("--escape-formulas changes text in CSV, and other output is asked for")


def _printable(text: str) -> str:
    """Return text without characters that steer a terminal or hide in it: each is spelled as in Python."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _shown(cell: Any) -> Any:
    return _printable(cell) if isinstance(cell, str) else cell


def _say(line: str) -> None:
    print(_printable(line) if sys.stdout.isatty() else line)


def _print_json(document: Any) -> None:
    print(json.dumps(document, default=str, allow_nan=False))


def _print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _say("  ".join((first.strip().rjust(widths[0]), *others)).rstrip())


def _note(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        print(_printable(text), file=sys.stderr)


def _progress(options: argparse.Namespace, steps: Sequence[_Value], name: str) -> Iterator[_Value]:
    """Go through steps with a bar, where there are several and tqdm is installed."""
    if len(steps) > 1 and not options.quiet:
        with contextlib.suppress(ImportError):
            from tqdm.auto import tqdm

            return iter(tqdm(steps, desc=name))
    return iter(steps)


# ------------------------------------------------------------------------------------------------------ the arguments


class _Tags(argparse.Action):
    """Collects pairs of a file and a column."""

    def __call__(self, parser: Any, options: argparse.Namespace, values: Any, option: str | None = None) -> None:
        """Append a pair."""
        file, column = values
        setattr(options, self.dest, [*getattr(options, self.dest), [InputFile(file), column]])


class _Parser(argparse.ArgumentParser):
    """Tells an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {_printable(message)} (see {self.prog} --help)\n")


def _count(text: str) -> int:
    """Read a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return number


def _length(text: str) -> int:
    """Read the length of a list, which memory is taken for."""
    if (number := _count(text)) > LONGEST_LIST:
        raise argparse.ArgumentTypeError(f"{text} is more than {LONGEST_LIST:,}")
    return number


def _delimiter(text: str) -> str:
    """Read a delimiter; a tab may be spelled."""
    return {"tab": "\t", "\\t": "\t"}.get(text, text)


_count.__name__ = _length.__name__ = "whole number"  # how argparse calls it in "invalid ... value"


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Recommendations from tables in files.")
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
    values.add_argument(
        "--positive-from",
        type=float,
        metavar="X",
        help="the least value that is a positive, such as 4 of 5 stars; those below are negatives",
    )
    tables = _Parser(add_help=False)
    form = tables.add_argument_group(
        "tables",
        "FILE is .csv, .tsv, .jsonl (also .gz, .bz2, .xz or .zst), .parquet, .arrow or .feather. Options that take "
        "a FILE may be given several times: the files then are one table.",
    )
    form.add_argument(
        "--delimiter", type=_delimiter, metavar="CHAR", help="between cells, such as ';' or tab; default: by the name"
    )
    form.add_argument("--encoding", default="utf-8", metavar="NAME", help="of CSV, such as latin-1 (%(default)s)")
    form.add_argument("--decimal", default=".", choices=(".", ","), help="in numbers of CSV (%(default)s)")
    form.add_argument(
        "--missing",
        action="append",
        default=[],
        metavar="TEXT",
        help="cell of CSV that stands for what is missing, such as NA, besides empty ones; may be given several times",
    )
    model = _Parser(add_help=False)
    model.add_argument(
        "model", type=InputFile, metavar="MODEL", help="file that fit, or LightFM.save with its Dataset, has written"
    )
    output = _Parser(add_help=False)
    output.add_argument(
        "-o",
        "--output",
        type=OutputFile,
        metavar="FILE",
        help=".csv, .tsv or .parquet; default: CSV on standard output",
    )
    output.add_argument(
        "--escape-formulas",
        action="store_true",
        help="put an apostrophe before text in CSV that a spreadsheet would run: = + - @, tab or line end in front",
    )

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str, *parents: Any) -> _Parser:
        command = commands.add_parser(name, help=text, description=text, parents=[*parents, common])
        command.set_defaults(run=run)
        return command

    fit = add("fit", _fit, "Train a model on a table of interactions and write it to a file.", columns, values, tables)
    fit.add_argument("interactions", nargs="+", type=InputFile, metavar="FILE", help="one row per interaction")
    fit.add_argument(
        "-o",
        "--output",
        required=True,
        type=OutputFile,
        metavar="MODEL",
        help="file to write, such as model.safetensors",
    )
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
        fit.add_argument(
            f"--{side}s",
            dest=f"{side}_files",
            action="append",
            default=[],
            type=InputFile,
            metavar="FILE",
            help=f"table of one row per {side}",
        )
        fit.add_argument(
            f"--{side}-tags",
            nargs=2,
            action=_Tags,
            default=[],
            metavar=("FILE", "COLUMN"),
            help=f"table of one row per tag, with the {side}'s id and the tag in COLUMN",
        )
        fit.add_argument(
            f"--{side}-features",
            nargs="+",
            action="extend",
            default=[],
            metavar="COLUMN[:KIND[=ARG]]",
            help=f"columns of --{side}s; KIND: category[=least rows], tags[=separator, default |], number, bins[=n], "
            "curve[=n], text, vector",
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
    held_out.add_argument(
        "--validation",
        action="append",
        default=[],
        type=InputFile,
        metavar="FILE",
        help="a table of them; rows with unknown ids are left out",
    )
    held_out.add_argument(
        "--patience",
        type=_count,
        metavar="N",
        help="stop after N epochs without a gain, and keep the best epoch; with --hold-out it watches interactions "
        "that are held out once more in the same way, so that what is reported on chose nothing",
    )
    held_out.add_argument("--metric", choices=tuple(METRICS), help="what --patience watches (ndcg)")
    held_out.add_argument("--k", type=_length, default=10, metavar="N", help="length of lists (%(default)s)")

    measure = add("evaluate", _evaluate, "Measure a model on held-out interactions.", model, columns, values, tables)
    measure.add_argument(
        "test", nargs="+", type=InputFile, metavar="FILE", help="table of the interactions to be found"
    )
    measure.add_argument(
        "--train",
        action="append",
        default=[],
        type=InputFile,
        metavar="FILE",
        help="table of known interactions, which are not recommended",
    )
    measure.add_argument(
        "--metrics",
        nargs="+",
        choices=tuple(METRICS),
        default=["precision", "recall", "ndcg", "map", "hit_rate", "mrr", "auc"],
        metavar="NAME",
        help=f"of {', '.join(METRICS)}; default: all but the last two",
    )
    measure.add_argument("--k", nargs="+", type=_length, default=[10], metavar="N", help="lengths of lists (10)")
    measure.add_argument(
        "--unknown", choices=("raise", "skip"), default="skip", help="rows with unknown ids (default: %(default)s)"
    )

    lists = add("recommend", _recommend, "Recommend items to users.", model, columns, values, tables, output)
    lists.add_argument("--users", nargs="+", action="extend", default=[], metavar="ID", help="default: all users")
    some: dict[str, Any] = {"action": "append", "default": [], "type": InputFile, "metavar": "FILE"}
    lists.add_argument("--users-from", help="table with their ids", **some)
    lists.add_argument(
        "--newcomers",
        **some,
        help="table of users unknown to the model, with the columns of the user features where it has them; what they "
        "have in --interactions is folded in",
    )
    lists.add_argument("-n", type=_length, default=10, metavar="N", help="items for each (%(default)s)")
    lists.add_argument("--interactions", help="table of what users have already: not recommended again", **some)
    lists.add_argument("--keep-seen", action="store_true", help="recommend it again")
    lists.add_argument("--items", help="table of the items to choose from; default: all", **some)
    lists.add_argument("--exclude", nargs="+", action="extend", default=[], metavar="ID", help="items for nobody")
    lists.add_argument("--exclude-from", help="table with their ids", **some)

    similar = add("similar", _similar, "Find the items, or users, most like given ones.", model, columns, output)
    similar.add_argument("ids", nargs="+", metavar="ID")
    similar.add_argument("--users", action="store_true", help="the ids are users")
    similar.add_argument("-n", type=_length, default=10, metavar="N", help="how many for each (%(default)s)")

    why = add("explain", _explain, "Take a score apart into what each feature adds.", model)
    why.add_argument("user", metavar="USER")
    why.add_argument("item", metavar="ITEM")
    why.add_argument("-n", type=_count, default=15, metavar="N", help="rows to show; --json has all (%(default)s)")
    why.add_argument("--plot", type=OutputFile, metavar="FILE", help="draw them as bars: .png, .svg or .pdf")

    add("inspect", _inspect, "Say what is in a model's file.", model)
    return parser
