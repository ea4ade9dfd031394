"""Training from shards on disk against training in memory: time an interaction, memory and quality, in pairs.

Each fit has its own process. "Anonymous memory" is the peak without mapped files, sampled ten
times a second; pages of mapped files are given back when memory is short.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness

ROWS_AT_ONCE = 1_000_000
GROUPS = 50  # of users, each with a taste for a part of the catalogue


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__, seeds=False)
    parser.add_argument("--interactions", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2, help="fits of each side, which take turns")
    parser.add_argument("--memory", default="200MB", help="for the rows of a shard while it is written")
    parser.add_argument("--folder", type=Path, help="on a disk with room: about 60 bytes an interaction")
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    with TemporaryDirectory(dir=options.folder) as folder:
        started = time.perf_counter()
        facts = write(Path(folder), options)
        facts["seconds"] = time.perf_counter() - started
        results = []
        for threads in options.threads:
            measured: dict[str, list[Any]] = {"memory": [], "shards": []}
            for round_ in range(options.rounds):
                for side in list(measured)[:: -1 if round_ % 2 else 1]:
                    measured[side].append(_in_new_process(side, folder, options.epochs, threads))
            shards, memory = ([fit["seconds"] for fit in measured[side]] for side in ("shards", "memory"))
            results.append(
                {
                    "threads": threads,
                    **facts,
                    "fits": measured,
                    "time of shards over memory": harness.paired_ratio(memory, shards),
                }
            )
            print(json.dumps(results[-1], indent=1))
    harness.save(options.json, machine, options, results)


def tables(options: Any) -> Iterator[dict[str, Any]]:
    """Draw interactions: a user likes the popular items of a part of the catalogue, and some others."""
    rng = np.random.default_rng(0)
    for first in range(0, options.interactions, ROWS_AT_ONCE):
        n = min(ROWS_AT_ONCE, options.interactions - first)
        users = (options.users * rng.random(n) ** 1.5).astype(np.int64)
        ranks = (options.items * rng.random(n) ** 3).astype(np.int64)  # a popular item has a low rank
        own = rng.random(n) < 0.7
        ranks[own] = ranks[own] // GROUPS * GROUPS + users[own] % GROUPS
        yield {"user": users, "item": np.minimum(ranks, options.items - 1)}


def write(folder: Path, options: Any) -> dict[str, Any]:
    """Write the interactions to shards, and split them."""
    from lightfm_fast.sharded import ShardedDataset

    made = ShardedDataset.from_tables(
        tables(options), folder / "all", user="user", item="item", memory=options.memory, items=None
    )
    train, test = made.split(folder / "train", folder / "test", 0.05)
    return {
        "interactions": train.n_interactions,
        "test": test.n_interactions,
        "shards": len(train),
        "shape": made.shape,
    }


def fit(side: str, folder: Path, epochs: int, threads: int) -> dict[str, Any]:
    """Train on one side, and return seconds and nanoseconds an interaction, memory and quality."""
    from lightfm_fast import LightFM
    from lightfm_fast.sharded import ShardedDataset

    train, test = (ShardedDataset(folder / name) for name in ("train", "test"))
    given: Any = train
    if side == "memory":
        given = sp.vstack([shard.interactions for shard in train], format="coo")
    LightFM().fit(np.eye(3), num_threads=threads)
    before, peak = _anonymous(), Peak()
    with peak:
        model = LightFM(loss="warp", no_components=64, random_state=0).fit(given, epochs=epochs, num_threads=threads)
    seconds = float(np.median([record["seconds"] for record in model.history_[1:] or model.history_]))
    found = test.evaluate(model, train, "ndcg", num_threads=threads)
    return {
        "seconds": seconds,
        "nanoseconds an interaction": 1e9 * seconds / train.n_interactions,
        "anonymous memory": peak.bytes,
        "anonymous memory before": before,
        "ndcg@10": found["ndcg@10"],
        "standard error": found.standard_error["ndcg@10"],
    }


def _anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the memory of a process is read from /proc/self/status, which Linux has")


class Peak:
    """Samples this process's anonymous memory during a block."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._over.wait(0.1):
            self.bytes = max(self.bytes, _anonymous())

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: Any) -> None:
        self._over.set()
        self._thread.join()
        self.bytes = max(self.bytes, _anonymous())


def _in_new_process(side: str, folder: str, epochs: int, threads: int) -> Any:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.sharded", "--in-this-process", side, folder, str(epochs), str(threads)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(process.stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-this-process"]:
        _, _, side_, folder_, epochs_, threads_ = sys.argv
        print(json.dumps(fit(side_, Path(folder_), int(epochs_), int(threads_))))
    else:
        main()
