"""How many negatives suit small catalogues: presets on the most popular items of larger data sets."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.quality import judge
from benchmarks.quality_methods import NO_COMPONENTS, PRESET_EPOCHS, fit_lightfm
from benchmarks.quality_sets import SETS, Split, of_popular_items, random_split

SOURCES = ("ml-100k", "frappe", "lastfm-2k", "citeulike-a")
N_ITEMS, N_NEGATIVES = (100, 200, 400, 800), (2, 4, 8)


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[1], seeds=3)
    parser.add_argument("--sets", type=harness.choices_of(SOURCES), default=list(SOURCES), help="as ml-100k,frappe")
    parser.add_argument("--items", type=harness.positive_integers, default=list(N_ITEMS), help="sizes of catalogues")
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    rows: list[dict[str, Any]] = []
    for name in options.sets:
        whole = SETS[name](0, False)
        for n_items in options.items:
            small = of_popular_items(whole.train + whole.held_out, n_items)
            splits = [random_split(small, None, seed, False) for seed in range(options.seeds)]
            ndcg = {
                str(n): [_ndcg(split, n, seed, options.threads[0]) for seed, split in enumerate(splits)]
                for n in N_NEGATIVES
            }
            rows.append({"set": name, "items": n_items, "users": small.shape[0], "ndcg": ndcg})
            means = ", ".join(f"{n} negatives {statistics.fmean(values):.4f}" for n, values in ndcg.items())
            print(f"{name}, {n_items} items, {small.shape[0]} users: {means}", flush=True)
    harness.save(options.json, machine, options, rows)


def _ndcg(split: Split, n_negatives: int, seed: int, threads: int) -> float:
    from lightfm_fast import LightFM

    model = LightFM.recommended("fast", no_components=NO_COMPONENTS, n_negatives=n_negatives, random_state=seed)
    return float(np.mean(judge(fit_lightfm(model, split, PRESET_EPOCHS, threads), split)[0]))


if __name__ == "__main__":
    main()
