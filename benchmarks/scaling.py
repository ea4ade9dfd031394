"""Rounds of 16 to 1,024 workers, simulated exactly by one process, against one machine after as many epochs.

A round is a pure function, so a process that runs a round's tasks one after another has the bits of a cluster. Beside
the damped sum the changes are merged by their mean and by their plain sum. The time of a cluster is modelled from
measured rounds, merges, bytes and Dask's time for a task; ``--bandwidth`` is assumed.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import scipy.sparse as sp

from benchmarks import harness

RULES = ("damped sum", "mean", "plain sum")
MOST_SHARDS = 256
LOSSES: dict[str, dict[str, Any]] = {
    "bpr": {"item_alpha": 0.05, "user_alpha": 0.05},  # the preset "fast" without its race
    "warp": {"loss": "warp", "item_alpha": 0.05, "user_alpha": 0.05},
}


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__, seeds=False)
    parser.add_argument("--data", choices=("gowalla", "generated", "ml-100k"), default="gowalla")
    parser.add_argument("--interactions", type=int, default=10_000_000, help="of generated data")
    parser.add_argument("--users", type=int, default=100_000, help="of generated data")
    parser.add_argument("--items", type=int, default=20_000, help="of generated data")
    parser.add_argument("--evaluated", type=int, default=5_000, help="users to measure NDCG on, of generated data")
    parser.add_argument("--loss", choices=LOSSES, default="bpr")
    parser.add_argument("--average", action=argparse.BooleanOptionalAction, default=True, help="means over epochs")
    parser.add_argument("--workers", type=harness.positive_integers, default=[16, 64, 256, 1024])
    parser.add_argument("--rules", type=harness.choices_of(RULES), default=list(RULES))
    parser.add_argument("--syncs", type=int, default=4)
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20, help="of one machine")
    parser.add_argument("--more", type=int, default=2, help="epochs that rounds have beyond one machine's")
    parser.add_argument("--bandwidth", type=float, default=1e9, help="assumed, of storage, in bytes a second a worker")
    parser.add_argument("--kept", type=Path, help="a folder: what is measured is kept there, and not measured again")
    parser.add_argument("--folder", type=Path, help="for shards and rounds: a fast disk, or one in memory")
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    data = functools.cache(lambda: load(options, options.evaluated))  # which what was kept does not need
    results = [kept(options, "one machine", lambda: one_machine(options, *data()))]
    for workers in options.workers:
        for rule in options.rules:
            name = f"{workers} workers, {rule}"
            results.append(kept(options, name, lambda: rounds(options, *data(), workers, rule)))  # noqa: B023
    cost = kept(options, "Dask", lambda: dask_cost(options))
    one, *simulated = results
    for row in simulated:
        last = options.epochs
        row["epochs"], row["average"] = last, options.average
        row["shares"] = [
            row["ndcg of epochs"][str(last + more)] / one["ndcg of epochs"][str(last)]
            for more in range(options.more + 1)
        ]
        equal = [more for more, share in enumerate(row["shares"]) if share >= 1]
        row["epochs more until equal"] = equal[0] if equal else None  # None: not within those trained
        row["modelled"] = modelled(row, one, cost, options)
    harness.save(options.json, machine, options, [one, *simulated, cost])


def kept(options: Any, name: str, measure: Any) -> dict[str, Any]:
    """Return a measurement of an earlier run with the same options, or measure."""
    same = ["data", "loss", "components", "syncs", "interactions", "users", "items", "evaluated", "epochs", "average"]
    if "workers" in name:
        same.append("more")
    file = None
    if options.kept is not None:
        options.kept.mkdir(parents=True, exist_ok=True)
        file = options.kept / f"{'-'.join(str(getattr(options, key)) for key in same)}-{name}.json"
        if file.exists():
            return json.loads(file.read_text())
    found = json.loads(json.dumps({"name": name, **measure()}))
    print(json.dumps(found), flush=True)
    if file is not None:
        file.write_text(json.dumps(found))
    return found


# -------------------------------------------------------------------------------------------------------------- data


def load(options: Any, evaluated: int = 5_000) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Return what is trained on, and what is to be found of some users."""
    if options.data != "generated":
        from benchmarks.quality_sets import SETS

        split = SETS[options.data](0, False)
        return sp.csr_matrix(split.train), sp.csr_matrix(split.held_out)
    from benchmarks.sharded import tables

    rows, columns = (np.empty(options.interactions, np.int32) for _ in range(2))
    first = 0
    for table in tables(options.interactions, options.users, options.items):
        drawn = slice(first, first := first + len(table["user"]))
        rows[drawn], columns[drawn] = table["user"], table["item"]
    entries = sp.coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), (options.users, options.items))
    del rows, columns
    entries = entries.tocsr().tocoo()  # an item that a user has twice counts once
    is_test = np.random.RandomState(0).rand(entries.nnz) < 0.05
    train, test = (
        sp.csr_matrix((np.ones(chosen.sum(), np.float32), (entries.row[chosen], entries.col[chosen])), entries.shape)
        for chosen in (~is_test, is_test)
    )
    return train, harness.sample_users(test, evaluated)


def settings(options: Any) -> dict[str, Any]:
    from lightfm_fast import LightFM

    preset = LightFM.recommended(
        no_components=options.components, random_state=0, cold_start="features", linear_components=0
    )
    return {**preset.get_params(), **LOSSES[options.loss], "average": options.average}


def ndcg(model: Any, train: sp.csr_matrix, test: sp.csr_matrix) -> float:
    from lightfm_fast.evaluation import evaluate

    return float(evaluate(model, test, train, "ndcg", check_intersections=False)["ndcg@10"])


# -------------------------------------------------------------------------------------------------------------- runs


def one_machine(options: Any, train: sp.csr_matrix, test: sp.csr_matrix) -> dict[str, Any]:
    from lightfm_fast import LightFM

    found: dict[int, float] = {}

    def judge(model: Any) -> None:
        found[len(model.history_)] = ndcg(model, train, test)

    model = LightFM(**settings(options)).fit(train, epochs=options.epochs, callbacks=[judge])
    seconds = float(np.median([record["seconds"] for record in model.history_]))
    return {
        "ndcg of epochs": found,
        "seconds an epoch": seconds,
        "shape": train.shape,
        "interactions": train.nnz,
        "interactions of an interaction's item": popularity(train),
    }


def popularity(train: sp.csr_matrix) -> float:
    """Return how many interactions an interaction's item has, in the mean over interactions."""
    counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float64)
    return float(counts @ counts / counts.sum())


def rounds(options: Any, train: sp.csr_matrix, test: sp.csr_matrix, workers: int, rule: str) -> dict[str, Any]:
    """Train by rounds of many workers, one after another."""
    from lightfm_fast.dask import DaskLightFM
    from lightfm_fast.dask import tasks as dask_tasks
    from lightfm_fast.sharded import ShardedDataset

    found: dict[int, float] = {}
    with TemporaryDirectory(dir=options.folder) as folder, merged_by(rule), timed(dask_tasks) as times:
        entries = train.tocoo()
        shards = ShardedDataset.from_tables(
            [{"user": entries.row, "item": entries.col}],
            f"{folder}/shards",
            user="user",
            item="item",
            items={"item": np.arange(train.shape[1])},
            n_shards=min(workers, MOST_SHARDS),
        )
        del entries
        users = np.concatenate([np.asarray(shard.user_ids) for shard in shards])
        seen, wanted = train[users], test[users]

        def judge(model: Any) -> None:
            found[len(model.history_)] = ndcg(model.to_local(), seen, wanted)
            print(f"{workers} workers, {rule}: {found}", flush=True)

        model = DaskLightFM(
            storage=f"{folder}/rounds",
            syncs_per_epoch=options.syncs,
            tasks_per_shard=max(1, workers // MOST_SHARDS),
            **settings(options),
        )
        model.fit(shards, epochs=options.epochs + options.more, callbacks=[judge])
    return {"workers": workers, "rule": rule, "syncs": options.syncs, "ndcg of epochs": found, **times}


@contextmanager
def merged_by(rule: str) -> Iterator[None]:
    """Let tasks merge by another rule."""
    if rule == "damped sum":
        yield
        return

    def merge(plan: Any, items: Any, deltas: Iterable[Any], *_: Any) -> Any:
        from lightfm_fast._rounds import Table

        counts = np.zeros(len(items.rows), np.float32)
        changes = [np.zeros_like(array) for array in items]
        for indices, *arrays in deltas:
            counts[indices] += 1
            for change, array, before in zip(changes, arrays, items, strict=True):
                change[indices] += array - before[indices]
        divisor = np.maximum(counts, 1)[:, None] if rule == "mean" else np.float32(1)
        return Table(*(before + change / divisor for before, change in zip(items, changes, strict=True)))

    with mock.patch("lightfm_fast.dask.tasks.merged", merge):
        yield


@contextmanager
def timed(module: Any) -> Iterator[dict[str, float]]:
    """Note the mean seconds of a round's task and of a merge, and the mean bytes that a task writes for it."""
    spent: dict[str, list[float]] = {"train_round": [], "merged": []}
    sizes: list[int] = []
    result: dict[str, float] = {}

    def timing(name: str) -> Any:
        function = getattr(module, name)

        def call(*arguments: Any) -> Any:
            started = time.process_time()
            value = function(*arguments)
            spent[name].append(time.process_time() - started)
            if name == "train_round":
                sizes.append(sum(array.nbytes for array in value.delta))
            return value

        return call

    with mock.patch.multiple(module, **{name: timing(name) for name in spent}):
        yield result
    result["seconds a task"] = float(np.mean(spent["train_round"]))
    result["seconds a merge"] = float(np.mean(spent["merged"]))
    result["merges"] = len(spent["merged"])
    result["tasks"] = len(spent["train_round"])
    result["bytes a task writes"] = float(np.mean(sizes))


# -------------------------------------------------------------------------------------------------------------- model


def dask_cost(options: Any) -> dict[str, float]:
    """Measure the scheduler's time for a task that does nothing, on two workers of this machine."""
    from distributed import Client, LocalCluster

    from lightfm_fast.dask.executors import Cluster

    n = 1000
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        executor = Cluster(client, None)
        executor.run(abs, [(-1,)] * 10)
        started = time.perf_counter()
        executor.run(abs, [(-1,)] * n)
        return {"seconds a task": (time.perf_counter() - started) / n}


def modelled(row: dict[str, Any], one: dict[str, Any], cost: dict[str, float], options: Any) -> dict[str, float]:
    """Return the modelled seconds of an epoch after the first, with as many workers as a round has tasks.

    In a round the tasks run at once: each reads the items, trains and writes its changes. Then the merges, one for
    each range of items, are spread over the workers, which read all changes and write the items. The scheduler handles
    all tasks one after another.
    """
    from lightfm_fast.dask.run import ROWS_IN_RANGE

    workers, ranges = row["workers"], -(-one["shape"][1] // ROWS_IN_RANGE)
    merging = min(workers, ranges)
    items = one["shape"][1] * 4 * (2 * options.components + 2)
    compute = row["seconds a task"] + row["seconds a merge"] * ranges / merging
    moved = items + row["bytes a task writes"] + (workers * row["bytes a task writes"] + items) / merging
    return {
        "compute": options.syncs * compute,
        "moving": options.syncs * moved / options.bandwidth,
        "Dask": options.syncs * (workers + ranges) * cost["seconds a task"],
    }


if __name__ == "__main__":
    main()
