"""fit and recommend for data larger than memory, by shards in a folder."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from .._arguments import counted, threads_for
from ..data import Dataset
from ..features import FeatureSpec
from ..lightfm import LightFM
from ..recommender import Recommender
from ..recommender.state import titles_of
from ..sharded import ShardedDataset
from ..sharded.writing import to_bytes
from ..table_files.kinds import PARQUET
from .features import make_encoder, read_features
from .output import note, print_json, report_written, say

# Options of each command that need all interactions or users in memory, and their values by default.
_NOT_OF_FIT: dict[str, Any] = {
    "hold_out": None,
    "validation": [],
    "patience": None,
    "metric": None,
    "tune": None,
    "task": None,
    "unknown": "raise",
    "user_tags": [],
    "item_tags": [],
    "user_identity": True,
    "item_identity": True,
}
BYTES_OF_A_USER, BYTES_OF_AN_INTERACTION = 250, 50  # of ShardedDataset.to_dataset
_NOT_OF_RECOMMEND: dict[str, Any] = {
    "users": [],
    "users_from": [],
    "newcomers": [],
    "interactions": [],
    "items": [],
    "exclude": [],
    "exclude_from": [],
    "value_column": None,
    "positive_from": None,
    "escape_formulas": False,
}


def fit_shards(options: argparse.Namespace, model: LightFM, epochs: int) -> None:
    """Write Parquet files of interactions to shards, train on them, and save the model, with ids that fit in memory."""
    _refuse(options, _NOT_OF_FIT)
    _check_parquet((*options.interactions, *options.user_files))
    started = time.perf_counter()
    item_spec, items = read_features(options, "item", {})
    encoders = dict(map(make_encoder, options.user_features))
    with contextlib.redirect_stdout(sys.stderr):  # progress is printed
        shards = ShardedDataset.from_parquet(
            options.interactions,
            options.shards,
            user=options.user_column,
            item=options.item_column,
            value=options.value_column,
            positive_from=options.positive_from,
            weight=options.weight_column,
            time=options.time_column,
            users=[*options.user_files] or None,
            items=items,
            user_features=FeatureSpec(encoders) if encoders else None,
            item_features=item_spec,
            duplicates=options.duplicates,
            missing_ids=options.missing_ids,
            memory=options.shard_memory,
            verbose=not options.quiet,
        )
        note(options, f"{shards!r}, written in {time.perf_counter() - started:.1f} s")
        dataset = _dataset_that_fits(options, shards)
        model.fit(
            shards,
            item_features=shards.item_features,
            epochs=options.epochs or epochs,
            num_threads=options.threads or threads_for(shards.n_interactions),
            verbose=not options.quiet,
        )
    if dataset is None:
        model.save(options.output, optimizer_state=options.optimizer_state)
    else:
        titles = None if options.title_column is None else titles_of(items, options.title_column, dataset, ())
        recommender = Recommender(model, dataset, titles, options.title_column or "title")
        recommender.save(options.output, optimizer_state=options.optimizer_state)
    size, seconds = os.path.getsize(options.output), sum(epoch["seconds"] for epoch in model.history_)
    facts = {
        "model": options.output,
        "bytes": size,
        "shards": len(shards),
        "users": shards.shape[0],
        "items": shards.shape[1],
        "interactions": shards.n_interactions,
        "epochs": len(model.history_),
        "loss": model.history_[-1]["loss"],
        "seconds": seconds,
    }
    if options.json:
        print_json(facts)
        return
    epochs_told = counted(len(model.history_), "epoch")
    say(f"{options.output}: {size / 1e6:,.1f} MB, {epochs_told} in {seconds:.1f} s, loss {facts['loss']:.4f}")


def _dataset_that_fits(options: argparse.Namespace, shards: ShardedDataset) -> Dataset | None:
    """Return the ids and, if they are asked for, the interactions, as far as they fit in --shard-memory."""
    room = to_bytes(options.shard_memory)
    needed = BYTES_OF_A_USER * shards.shape[0]
    if needed > room:
        note(
            options,
            f"the ids need about {needed / 1e6:,.0f} MB, and --shard-memory is {options.shard_memory}: the model is "
            "saved without ids, and recommend --shards writes the lists of all users",
        )
        return None
    needed += BYTES_OF_AN_INTERACTION * shards.n_interactions
    has_interactions = options.save_interactions and needed <= room
    if options.save_interactions and not has_interactions:
        note(
            options,
            f"ids and interactions need about {needed / 1e6:,.0f} MB, and --shard-memory is {options.shard_memory}: "
            "the model is saved without what users have seen; recommend takes it by --interactions, serve by --seen",
        )
    return shards.to_dataset(has_interactions)


def recommend_shards(options: argparse.Namespace) -> None:
    """Write the best items of all users of shards to Parquet, a shard after another."""
    _refuse(options, _NOT_OF_RECOMMEND)
    if options.output is None:
        raise ValueError("--shards writes the lists of all users to Parquet: name the file or folder by -o")
    shards, model = ShardedDataset(options.shards), LightFM.load(options.model, mmap=True)
    with contextlib.redirect_stdout(sys.stderr):  # without tqdm, progress is printed
        written = shards.recommend_to(
            model,
            options.output,
            n=min(options.n, shards.shape[1]),
            filter_seen=not options.keep_seen,
            num_threads=options.threads,
            verbose=not options.quiet,
        )
    report_written(options, written)


def _refuse(options: argparse.Namespace, defaults: dict[str, Any]) -> None:
    """Raise ValueError if an option is given that shards do not take."""
    for name, default in defaults.items():
        if getattr(options, name) != default:
            option = name.removeprefix("save_").replace("_", "-")
            option = f"--no-{option}" if default is True else f"--{option}"
            raise ValueError(f"--shards goes without {option}: leave one of the two out")


def _check_parquet(files: Iterable[str]) -> None:
    wrong: Sequence[str] = [name for name in files if not os.path.isdir(name) and not name.lower().endswith(PARQUET)]
    if wrong:
        raise ValueError(f"{wrong[0]}: --shards reads Parquet: files, folders or quoted patterns such as '*.parquet'")
