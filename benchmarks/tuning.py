"""``tune`` against the unchanged preset on a test part that neither has seen: NDCG@10, paired, and the cost."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.quality_sets import SETS, Split
from lightfm_fast import LightFM
from lightfm_fast._hyperparameters import PRESET_EPOCHS
from lightfm_fast.evaluation import evaluate
from lightfm_fast.tuning import tune

K = 10


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[2])
    parser.add_argument("--sets", type=harness.choices_of(SETS), default=list(SETS), help="as ml-100k,gowalla")
    parser.add_argument("--budget", default="10min", help="of each search, as 10min or 30trials")
    parser.add_argument("--kept", type=Path, help="a folder: what is measured is kept there, and not measured again")
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    results: list[dict[str, Any]] = []
    for name in options.sets:
        for threads in options.threads:
            for seed in range(options.seeds):
                kept = options.kept and options.kept / f"{name}-{seed}-{threads}.json"
                if kept and kept.exists():
                    found = json.loads(kept.read_text())
                else:
                    found = compare(SETS[name](seed, False), options.budget, seed, threads)
                    found |= {"budget": options.budget, "commit": machine["commit"]}
                    if kept:
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        kept.write_text(json.dumps(found))
                results.append({"set": name, "seed": seed, "threads": threads, **found})
                print(
                    f"{name}, seed {seed}, {threads} thread(s): "
                    f"tuned {found['tuned']:.4f}, preset {found['preset']:.4f}, "
                    f"difference {found['difference']:+.4f} ± {found['standard error']:.4f}; {found['seconds']:.0f} s, "
                    f"{'preset kept' if found['is preset'] else LightFM(**found['chosen'])}",
                    flush=True,
                )
        harness.save(options.json, machine, options, results)


def compare(split: Split, budget: str, seed: int, threads: int) -> dict[str, Any]:
    """Tune and fit the preset on the training part of a split, and measure both on its held-out part."""
    features = {"user_features": split.user_features, "item_features": split.item_features}
    started, processor = time.perf_counter(), time.process_time()
    result = tune(split.train, task=split.kind, budget=budget, random_state=seed, num_threads=threads, **features)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    preset = LightFM.recommended(random_state=seed)
    preset.fit(split.train, epochs=PRESET_EPOCHS, num_threads=threads, **features)
    tuned, untuned = (_of_users(model, split, features, threads) for model in (result.model, preset))
    difference = tuned - untuned
    best = {} if result.best_trial is None else result.trials[result.best_trial]
    return {
        "kind": split.kind,
        "tuned": float(tuned.mean()),
        "preset": float(untuned.mean()),
        "difference": float(difference.mean()),
        "standard error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
        "seconds": seconds,
        "processor seconds": processor,
        "refit seconds": result.refit_seconds,
        "trials": len(result.trials),
        "epochs trained": result.epochs_trained,
        "is preset": result.is_preset,
        "comparison": result.comparison and dataclasses.asdict(result.comparison),
        "best trial": {known: value for known, value in best.items() if known != "curve"},
        "chosen": result.parameters,
        "epochs": result.epochs,
    }


def _of_users(model: LightFM, split: Split, features: dict[str, Any], threads: int) -> Any:
    result = evaluate(
        model,
        split.held_out,
        split.train,
        "ndcg",
        K,
        items=split.candidates,
        num_threads=threads,
        per_user=True,
        **features,
    )
    return (result.per_user or {})[f"ndcg@{K}"]


if __name__ == "__main__":
    main()
