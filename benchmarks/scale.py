"""Time training for growing numbers of interactions and equal tables; the time for an interaction should not grow."""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.cases import LOSSES

# The largest acceptable growth: the time for an interaction with the most interactions over the time with the fewest.
TARGET = 1.5


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    import lightfm_fast

    machine = harness.machine()
    harness.print_machine(machine)
    matrices = _thin(_generate(options), options.interactions)
    results = []
    for loss in options.losses:
        models = {
            (count, threads): lightfm_fast.LightFM(no_components=options.no_components, loss=loss, random_state=0)
            for count in matrices
            for threads in options.threads
        }
        epochs = {
            (count, threads): partial(model.fit_partial, matrices[count], num_threads=threads)
            for (count, threads), model in models.items()
        }
        seconds = harness.alternate(epochs, options.epochs)
        for threads in options.threads:
            result: dict[str, Any] = {"loss": loss, "threads": threads, "sizes": {}}
            for count in matrices:
                key, size = (count, threads), matrices[count].nnz
                result["sizes"][size] = {
                    "ns an interaction": [1e9 * time / size for time in seconds[key][1:]],
                    "of it in the core": [1e9 * record["seconds"] / size for record in models[key].history_[1:]],
                }
            fewest, most = (seconds[count, threads][1:] for count in (min(matrices), max(matrices)))
            growth = harness.paired_ratio(fewest, most)
            shrink = matrices[min(matrices)].nnz / matrices[max(matrices)].nnz
            result["growth"] = {name: value * shrink for name, value in growth.items()}
            result["target"] = TARGET
            results.append(result)
            _report(result)
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument(
        "--interactions",
        type=harness.positive_integers,
        default=[10_000_000, 20_000_000, 50_000_000, 100_000_000],
        help="as 10000000,100000000; the most need some 10 GB of memory",
    )
    parser.add_argument("--losses", type=harness.choices_of(LOSSES), default=["bpr", "warp"], help="as bpr,warp")
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3, help="at least 2: the first, which allocates, is not timed")
    options = parser.parse_args(arguments)
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first is not timed")
    if len(set(options.interactions)) < 2:
        parser.error("--interactions must be at least two numbers")
    return options


def _generate(options: argparse.Namespace) -> sp.coo_matrix:
    from lightfm_fast.datasets import make_interactions

    # The smallest test set: nothing is measured on it.
    data = make_interactions(options.users, options.items, max(options.interactions), test_fraction=1e-9)
    return data["train"]


def _thin(interactions: sp.coo_matrix, counts: list[int]) -> dict[int, sp.coo_matrix]:
    """Draw about as many of the interactions as each count says, at random, and keep their order.

    The numbers of users and items and their shares stay, so that only the number of interactions differs.
    """
    generator = np.random.default_rng(0)
    thinned = {}
    for count in sorted(set(counts)):
        if count >= interactions.nnz:
            thinned[count] = interactions
            continue
        kept = generator.random(interactions.nnz, dtype=np.float32) < count / interactions.nnz
        cells = interactions.row[kept], interactions.col[kept]
        thinned[count] = sp.coo_matrix((interactions.data[kept], cells), interactions.shape)
    return thinned


def _report(result: dict[str, Any]) -> None:
    rows = []
    for size, size_result in result["sizes"].items():
        whole, core = (statistics.median(times) for times in size_result.values())
        rows.append([f"{size:,}", f"{whole:.1f}", f"{core:.1f}"])
    print(f"\n{result['loss']}, {result['threads']} thread(s)")
    harness.print_table(["interactions", "ns an interaction, median", "of it in the core"], rows)
    reached = "reached" if result["growth"]["median"] < TARGET else "MISSED"
    print(f"growth: {harness.ratio_text(result['growth'])}, target: below {TARGET}: {reached}")


if __name__ == "__main__":
    main()
