"""The lists of all users written to Parquet, against ``recommend`` in memory: seconds, and memory added.

Embeddings are drawn at random, and each user has ``--seen`` items, which are left out. Every run has its own process.
Memory added is the peak, less the memory of the model and the interactions. Processor seconds of all
threads are compared, round by round, since other work on the machine hardly changes them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.memory import peak_bytes, resident_bytes

WAYS = ("recommend", "recommend_to")


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    machine = harness.machine(["pyarrow"])
    harness.print_machine(machine)
    results = [_compare(users, options) for users in options.users]
    _report(results)
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    parser.add_argument("--users", type=harness.positive_integers, default=[20_000, 40_000, 80_000])
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--seen", type=int, default=20, help="items that each user has")
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--n", type=int, default=100, help="items a user gets")
    parser.add_argument("--rounds", type=int, default=2, help="each way once")
    return parser.parse_args(arguments)


def _compare(users: int, options: argparse.Namespace) -> dict[str, Any]:
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    sizes = users, options.items, options.seen, options.no_components, options.n, max(options.threads)

    def run(way: str) -> None:
        measured[way].append(_in_new_process(way, *sizes))

    harness.alternate({way: lambda way=way: run(way) for way in WAYS}, options.rounds)  # type: ignore[misc]
    of_way = {way: {key: [run[key] for run in runs] for key in runs[0]} for way, runs in measured.items()}
    ratio = harness.paired_ratio(*(of_way[way]["processor seconds"] for way in reversed(WAYS)))
    return {"users": users, "items": options.items, "n": options.n, **of_way, "processor time over ours": ratio}


def _in_new_process(*arguments: Any) -> dict[str, float]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def measure(way: str, users: int, items: int, seen: int, no_components: int, n: int, threads: int) -> dict[str, float]:
    """Return the seconds and the bytes that one way takes."""
    import pyarrow.parquet  # noqa: F401  the library's own memory is not measured

    from lightfm_fast import LightFM

    rng = np.random.default_rng(0)
    model = LightFM(no_components).fit_partial(sp.coo_matrix((users, items), dtype=np.float32), epochs=0)
    for name in ("user_embeddings", "user_biases", "item_embeddings", "item_biases"):
        setattr(model, name, rng.standard_normal(getattr(model, name).shape, dtype=np.float32))
    chosen = rng.integers(items, size=(users, seen))
    chosen.sort(axis=1)
    ends = np.arange(0, chosen.size + 1, seen)
    interactions = sp.csr_matrix((np.ones(chosen.size, dtype=np.float32), chosen.ravel(), ends), shape=(users, items))
    del chosen
    with TemporaryDirectory() as folder:
        before, started, worked = resident_bytes(), time.perf_counter(), time.process_time()
        if way == "recommend":
            model.recommend(np.arange(users), n, interactions, num_threads=threads)
        else:
            model.recommend_to(Path(folder) / "lists.parquet", None, n, interactions, num_threads=threads)
        seconds, processor = time.perf_counter() - started, time.process_time() - worked
    return {"seconds": seconds, "processor seconds": processor, "added bytes": max(peak_bytes() - before, 0)}


def _report(results: list[dict[str, Any]]) -> None:
    print("\nseen items left out")
    header = ["users", *(f"{way}, {unit}" for unit in ("s", "added MB") for way in WAYS), "recommend / recommend_to"]
    harness.print_table(header, [cells(result) for result in results])


def cells(result: dict[str, Any]) -> list[str]:
    """Return users, the fastest seconds and the most megabytes of both ways, and the ratio of processor times."""
    return [
        f"{result['users']:,}",
        *(f"{min(result[way]['seconds']):.1f}" for way in WAYS),
        *(f"{max(result[way]['added bytes']) / 1e6:,.0f}" for way in WAYS),
        harness.ratio_text(result["processor time over ours"]),
    ]


if __name__ == "__main__":
    main()
