"""Processor time of ``fit`` with the strength of L2 to be found, over ``fit`` with the strength that it finds.

The two train by turns, on one thread, without what new users and items need.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks import harness
from benchmarks.quality_methods import NO_COMPONENTS, PRESET_EPOCHS
from benchmarks.quality_sets import SETS
from lightfm_fast import LightFM

MEASURED = ("ml-100k", "ml-100k-dense", "frappe", "lastfm-2k", "amazon-beauty", "movielens-2016", "lectures", "planes")
TARGET = 1.5


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.add_argument("--sets", type=harness.choices_of(SETS), default=list(MEASURED), help="as ml-100k,gowalla")
    parser.add_argument("--rounds", type=int, default=5, help="times that both train")
    parser.set_defaults(threads=[1], seeds=1)
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    results: list[dict[str, Any]] = []
    for name in options.sets:
        results.append(measure(name, options.rounds, options.threads[0]))
        print(f"{name}: {harness.ratio_text(results[-1]['time over given'])}, at most {TARGET}", flush=True)
        harness.save(options.json, machine, options, results)


def measure(name: str, rounds: int, threads: int) -> dict[str, Any]:
    """Train both by turns, and return their seconds."""
    split = SETS[name](0, False)
    features = {"user_features": split.user_features, "item_features": split.item_features}
    train = split.train.tocoo()

    def seconds(**alphas: float) -> tuple[float, LightFM]:
        model = LightFM.recommended(no_components=NO_COMPONENTS, cold_start="features", random_state=0, **alphas)
        start = time.process_time()
        model.fit(train, epochs=PRESET_EPOCHS, num_threads=threads, **features)
        return time.process_time() - start, model

    _, model = seconds()  # not timed: the first call of a process loads code
    found = model.item_alpha_
    assert found is not None
    auto, given = [], []
    for _ in range(rounds):
        auto.append(seconds()[0])
        given.append(seconds(item_alpha=found, user_alpha=found)[0])
    return {
        "set": name,
        "found": found,
        "processor seconds": {"auto": auto, "given": given},
        "median": statistics.median(given),
        "time over given": harness.paired_ratio(given, auto),
        "target": TARGET,
    }


if __name__ == "__main__":
    main()
