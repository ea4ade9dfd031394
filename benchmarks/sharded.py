"""Training from shards on disk against training in memory: time an interaction, memory and quality, in pairs.

Each fit has its own process. "Anonymous memory" is the peak without mapped files, sampled ten
times a second; pages of mapped files are given back when memory is short. NDCG is compared user by user.

With ``--large N`` the benchmark also writes N interactions to Parquet, makes shards of them and trains on these. Each
step has a process whose private memory may grow by ``--cap`` beyond the table of items (RLIMIT_DATA). Then the
training time per interaction is divided by the training time per interaction of the fits in memory.
"""

from __future__ import annotations

import contextlib
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
ROWS_OF_A_FILE = 10_000_000
GROUPS = 50  # of users, each with a taste for a part of the catalogue
COMPONENTS = 64
BYTES_OF_A_ROW = 2 * 4 * (COMPONENTS + 1)  # of parameters with their accumulators


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__, seeds=False)
    parser.add_argument("--interactions", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2, help="fits of each side, which take turns")
    parser.add_argument("--memory", default="200MB", help="for the rows of a shard while it is written")
    parser.add_argument("--folder", type=Path, help="on a disk with room: about 60 bytes an interaction")
    parser.add_argument("--large", type=int, help="interactions of the run on disk alone, such as 300000000")
    parser.add_argument("--large-memory", default="500MB", help="for the rows of a shard of that run")
    parser.add_argument("--cap", type=int, default=1000, help="megabytes that a step of that run may take")
    parser.add_argument("--evaluated", type=int, default=5000, help="users of the first shard to measure NDCG on")
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    results = []
    with TemporaryDirectory(dir=options.folder) as folder:
        seconds, facts = _timed("write", folder, options.interactions, options.users, options.items, options.memory)
        facts["seconds"] = seconds
        for threads in options.threads:
            result = {"threads": threads, **facts, **_compare(folder, threads, options)}
            results.append(result)
            print(json.dumps(result, indent=1))
    if options.large is not None:
        with TemporaryDirectory(dir=options.folder) as folder:
            for result in _large(folder, options):
                of_memory = next(row for row in results if row["threads"] == result["threads"])["fits"]["memory"]
                fastest = min(fit["nanoseconds an interaction"] for fit in of_memory)
                result["time over that in memory"] = result["fit"]["nanoseconds an interaction"] / fastest
                results.append(result)
                print(json.dumps(result, indent=1))
    harness.save(options.json, machine, options, results)


def _compare(folder: str, threads: int, options: Any) -> dict[str, Any]:
    """Train in memory and from shards, in turns."""
    measured: dict[str, list[Any]] = {"memory": [], "shards": []}
    differences: dict[str, float] = {}
    for round_ in range(options.rounds):
        for side in list(measured)[:: -1 if round_ % 2 else 1]:
            measured[side].append(_run("fit", side, folder, options.epochs, threads, options.evaluated, 0))
        of_users = [np.array(measured[side][-1].pop("of users")) for side in ("shards", "memory")]
        if not round_:
            gained = of_users[0] - of_users[1]
            differences = {"mean": float(gained.mean()), "standard error": _error(gained), "users": len(gained)}
    shards, memory = ([fit["seconds"] for fit in measured[side]] for side in ("shards", "memory"))
    return {
        "fits": measured,
        "time of shards over memory": harness.paired_ratio(memory, shards),
        "ndcg@10, shards less memory": differences,
    }


def _large(folder: str, options: Any) -> Iterator[dict[str, Any]]:
    """Write Parquet, make shards and train. Each of these steps runs in a separate process, with capped memory."""
    users = options.users * options.large // options.interactions
    cap = options.cap * 10**6
    items = options.items * BYTES_OF_A_ROW
    facts: dict[str, Any] = {}
    steps = (("generate", (options.large, users, options.items)), ("partition", (options.large_memory,)))
    for step, arguments in steps:
        seconds, found = _timed(step, folder, *arguments, cap)
        facts.update(found)
        facts[f"seconds to {step}"] = seconds
        print(json.dumps({step: found, "seconds": seconds}), flush=True)
    for threads in options.threads:
        found = _run("fit", "shards", folder, options.epochs, threads, options.evaluated, cap + items)
        del found["of users"]
        limit = {"cap": "RLIMIT_DATA", "bytes allowed beyond the start": cap + items}
        yield {"threads": threads, **facts, **limit, "bytes of users' rows": users * BYTES_OF_A_ROW, "fit": found}


def tables(interactions: int, n_users: int, n_items: int) -> Iterator[dict[str, Any]]:
    """Draw interactions: a user likes the popular items of a part of the catalogue, and some others."""
    rng = np.random.default_rng(0)
    for first in range(0, interactions, ROWS_AT_ONCE):
        n = min(ROWS_AT_ONCE, interactions - first)
        users = (n_users * rng.random(n) ** 1.5).astype(np.int64)
        ranks = (n_items * rng.random(n) ** 3).astype(np.int64)  # a popular item has a low rank
        own = rng.random(n) < 0.7
        ranks[own] = ranks[own] // GROUPS * GROUPS + users[own] % GROUPS
        yield {"user": users, "item": np.minimum(ranks, n_items - 1)}


def write(folder: str, interactions: int, n_users: int, n_items: int, memory: str) -> dict[str, Any]:
    """Write the interactions to shards, and split them."""
    from lightfm_fast.sharded import ShardedDataset

    drawn = tables(interactions, n_users, n_items)
    made = ShardedDataset.from_tables(drawn, Path(folder) / "all", user="user", item="item", memory=memory)
    return _split(folder, made)


def generate(folder: str, interactions: int, n_users: int, n_items: int, cap: int) -> dict[str, Any]:
    """Write the interactions to Parquet files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = Path(folder) / "parquet"
    target.mkdir()
    with _capped(cap) as peak, contextlib.ExitStack() as files:
        for number, table in enumerate(tables(interactions, n_users, n_items)):
            if number % (ROWS_OF_A_FILE // ROWS_AT_ONCE) == 0:
                files.close()
                path = target / f"{number:05}.parquet"
                writer = files.enter_context(pq.ParquetWriter(path, pa.schema([("user", "int64"), ("item", "int64")])))
            writer.write_table(pa.table(table))
    return {"bytes of Parquet": _bytes_of(target), "anonymous memory to generate": peak.bytes}


def partition(folder: str, memory: str, cap: int) -> dict[str, Any]:
    """Make shards of the Parquet files, and split them."""
    from lightfm_fast.sharded import ShardedDataset

    with _capped(cap) as peak:
        made = ShardedDataset.from_parquet(
            Path(folder) / "parquet", Path(folder) / "all", user="user", item="item", memory=memory
        )
        facts = _split(folder, made)
    return {**facts, "bytes of shards": _bytes_of(Path(made.path)), "anonymous memory to partition": peak.bytes}


def _split(folder: str, made: Any) -> dict[str, Any]:
    train, test = made.split(Path(folder) / "train", Path(folder) / "test", 0.05)
    return {
        "interactions": train.n_interactions,
        "test": test.n_interactions,
        "shards": len(train),
        "shape": made.shape,
    }


def fit(side: str, folder: str, epochs: int, threads: int, evaluated: int, cap: int) -> dict[str, Any]:
    """Train on one side, and return seconds and nanoseconds an interaction, memory and quality."""
    from lightfm_fast import LightFM
    from lightfm_fast.evaluation import evaluate
    from lightfm_fast.sharded import ShardedDataset

    train, test = (ShardedDataset(Path(folder) / name) for name in ("train", "test"))
    given: Any = train
    if side == "memory":
        given = sp.vstack([shard.interactions for shard in train], format="coo")
    LightFM().fit(np.eye(3), num_threads=threads)
    before = _anonymous()
    started = time.perf_counter()
    with _capped(cap) as peak:
        model = LightFM(loss="warp", no_components=COMPONENTS, random_state=0)
        model.fit(given, epochs=epochs, num_threads=threads)
        all_seconds = time.perf_counter() - started
        seconds = float(np.median([record["seconds"] for record in model.history_[1:] or model.history_]))
        wanted, seen = (next(iter(part)) for part in (test, train))
        users = np.flatnonzero(np.diff(wanted.interactions.indptr))[:evaluated]
        found = evaluate(
            model,
            wanted.interactions[users],
            seen.interactions[users],
            "ndcg",
            user_features=seen.user_features[users],
            num_threads=threads,
            per_user=True,
        )
    return {
        "seconds": seconds,
        "seconds of the call": all_seconds,
        "nanoseconds an interaction": 1e9 * seconds / train.n_interactions,
        "anonymous memory": peak.bytes,
        "anonymous memory before": before,
        "ndcg@10": found["ndcg@10"],
        "standard error": found.standard_error["ndcg@10"],
        "of users": (found.per_user or {})["ndcg@10"].tolist(),
    }


def _error(values: Any) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the memory of a process is read from /proc/self/status, which Linux has")


def _anonymous() -> int:
    return _status("RssAnon")


def _capped(cap: int) -> Peak:
    """Let this process's private memory grow by ``cap`` bytes, 0 for no limit, and return what samples its peak."""
    if cap:
        import resource

        import pyarrow.dataset  # noqa: F401  loaded libraries are no memory of the step

        resource.setrlimit(resource.RLIMIT_DATA, (_status("VmData") + cap,) * 2)
    return Peak()


class Peak:
    """Samples this process's anonymous memory during a block."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._over.wait(0.1):
            self.bytes = max(self.bytes, _anonymous())

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._over.set()
        self._thread.join()
        self.bytes = max(self.bytes, _anonymous())


def _timed(*arguments: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    found = _run(*arguments)
    return time.perf_counter() - started, found


def _run(action: str, *arguments: Any) -> Any:
    """Call a function of this module in a new process."""
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.sharded", "--in-this-process", action, json.dumps(arguments)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(process.stdout)


ACTIONS = {"write": write, "generate": generate, "partition": partition, "fit": fit}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-this-process"]:
        print(json.dumps(ACTIONS[sys.argv[2]](*json.loads(sys.argv[3]))))
    else:
        main()
