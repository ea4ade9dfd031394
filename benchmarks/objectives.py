"""Time an epoch of the recommended presets, and of WARP, against one of BPR with the same settings as "fast"."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks import harness
from benchmarks.cases import CASES, Case

BASE = "bpr"
# The largest acceptable time of an epoch, over an epoch of BPR.
TARGETS = {"fast": 1.7}
MEASURED = ("identity", "tags", "gowalla")


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    results: list[dict[str, Any]] = []
    for case in options.cases:
        results.extend(measure(case, options))
        harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    harness.add_cases_option(parser, {case.name: case for case in CASES}, MEASURED)
    parser.add_argument("--n-negatives", type=int, default=8, help='of "fast"')
    parser.add_argument("--epochs", type=int, default=8, help="at least 2: the first, which allocates, is not timed")
    options = parser.parse_args(arguments)
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first is not timed")
    return options


def measure(case: Case, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train all objectives by turns; yield a result for each objective except BPR and each number of threads."""
    from lightfm_fast import LightFM

    problem = harness.load(case)
    print(f"\n{case.name}: {problem.describe()}")
    settings = {"no_components": case.no_components, "random_state": 0}
    fast = LightFM.recommended("fast", n_negatives=options.n_negatives, **settings).get_params()
    models = {
        (name, threads): LightFM(**parameters)
        for threads in options.threads
        for name, parameters in {
            BASE: {**fast, "negatives": "popularity"},
            "fast": fast,
            "warp": {**settings, "loss": "warp"},
            "ranking": LightFM.recommended("ranking", **settings).get_params(),
        }.items()
    }
    features = {"user_features": problem.user_features, "item_features": problem.item_features}
    seconds = harness.alternate(
        {
            (name, threads): partial(model.fit_partial, problem.train, num_threads=threads, **features)
            for (name, threads), model in models.items()
        },
        options.epochs,
    )
    rows = []
    for (name, threads), times in seconds.items():
        if name == BASE:
            continue
        ratio = harness.paired_ratio(seconds[BASE, threads][1:], times[1:])
        target = TARGETS.get(name)
        reached = "" if target is None else "reached" if ratio["median"] <= target else "MISSED"
        rows.append(
            [name, str(threads), f"{statistics.median(times[1:]):.3f}", harness.ratio_text(ratio), str(target), reached]
        )
        yield {
            "case": case.name,
            "data": problem.describe(),
            "objective": name,
            "threads": threads,
            "seconds an epoch": {name: times[1:], BASE: seconds[BASE, threads][1:]},
            "time over BPR's": ratio,
            "target": target,
        }
    harness.print_table(["", "threads", "seconds an epoch: median", "over BPR's, paired", "at most", ""], rows)


if __name__ == "__main__":
    main()
