"""Fold in held-out users from half of their interactions, against a model trained on these interactions."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.harness import Factors


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    machine = harness.machine()
    problem = harness.load(options)
    harness.print_machine(machine)
    print(f"data: {problem.describe()}; {options.no_components} components, {options.epochs} epochs")
    results = []
    for loss in options.losses:
        for threads in options.threads:
            rounds = [_compare(problem, loss, threads, seed, options) for seed in range(options.seeds)]
            result = {
                "loss": loss,
                "threads": threads,
                **{name: harness.spread([values[name] for values in rounds]) for name in rounds[0]},
            }
            results.append(result)
            _report(result)
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__)
    harness.add_data_options(parser)
    parser.add_argument("--losses", type=lambda text: text.split(","), default=["bpr", "warp"], help="as bpr,warp")
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20, help="of training; folding in has its own default")
    parser.add_argument("--held-out", type=int, default=2000, help="users that are folded in")
    parser.add_argument("--k", type=int, default=20, help="recall is measured in the first K items")
    return parser.parse_args(arguments)


def _compare(
    problem: harness.Problem, loss: str, threads: int, seed: int, options: argparse.Namespace
) -> dict[str, float]:
    from lightfm_fast import LightFM
    from lightfm_fast.evaluation import recall_at_k

    rng = np.random.default_rng(seed)
    everything = problem.train.tocoo()
    active = np.flatnonzero(np.bincount(everything.row) >= 2)
    held = rng.choice(active, min(options.held_out, len(active) // 2), replace=False)
    is_held = np.isin(everything.row, held)
    is_test = is_held & (rng.random(everything.nnz) < 0.5)
    without, known, with_halves, test = (
        sp.coo_matrix((everything.data[part], (everything.row[part], everything.col[part])), everything.shape)
        for part in (~is_held, is_held & ~is_test, ~is_test, is_test)
    )
    known, test = known.tocsr()[held], test.tocsr()[held]

    def fit(train: Any) -> LightFM:
        model = LightFM(no_components=options.no_components, loss=loss, random_state=seed)
        return model.fit(train, epochs=options.epochs, num_threads=threads)

    def recall(users: np.ndarray, items: np.ndarray) -> float:
        return float(recall_at_k(Factors(users, items), test, known, k=options.k).mean())

    trained, strangers = fit(with_halves), fit(without)
    all_users, all_items = (getattr(Factors.of_lightfm(trained), side) for side in ("user", "item"))
    items = Factors.of_lightfm(strangers).item
    started = time.perf_counter()
    folded = strangers.fold_in_users(known, num_threads=threads)
    seconds = time.perf_counter() - started
    users = np.column_stack([folded.embeddings, np.ones(len(held))])
    popular = np.column_stack([np.zeros_like(folded.embeddings), np.ones(len(held))])
    return {
        "recall, folded in": recall(users, items),
        "recall, trained on them": recall(all_users[held], all_items),
        "recall, by item bias": recall(popular, items),
        "users a second": len(held) / seconds,
    }


def _report(result: dict[str, Any]) -> None:
    print(f"\n{result['loss']}, {result['threads']} thread(s)")
    rows = [
        [name, f"{value['mean']:,.0f}" if "second" in name else f"{value['mean']:.4f} ± {value['sd']:.4f}"]
        for name, value in result.items()
        if isinstance(value, dict)
    ]
    harness.print_table(["", "mean ± sd over seeds"], rows)


if __name__ == "__main__":
    main()
