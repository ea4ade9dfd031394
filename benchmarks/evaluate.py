"""Time evaluate against LightFM's precision_at_k, recall_at_k and auc_score for the same model.

The model is trained here and its parameters are handed to LightFM's own class, so that both rank the same scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import harness

METRICS = ("precision", "recall", "auc")


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    lightfm = harness.import_peer("lightfm")
    machine = harness.machine([] if lightfm is None else ["lightfm"])
    problem = harness.load(options)
    harness.print_machine(machine)
    print(
        f"data: {problem.describe()}; {options.no_components} components, {options.evaluated_users:,} users evaluated"
    )
    model = _train(problem, options)
    results = [_compare(problem, model, lightfm, threads, options) for threads in options.threads]
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    harness.add_data_options(parser)
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5, help="of training the model that is evaluated")
    parser.add_argument("--evaluated-users", type=int, default=2000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(arguments)


def _train(problem: harness.Problem, options: argparse.Namespace) -> Any:
    from lightfm_fast import LightFM

    model = LightFM(no_components=options.no_components, loss="warp", random_state=0)
    return model.fit(
        problem.train,
        user_features=problem.user_features,
        item_features=problem.item_features,
        epochs=options.epochs,
        num_threads=max(options.threads),
    )


def _as_lightfm(lightfm: Any, model: Any) -> Any:
    """Return a model of LightFM's class with this library's parameters."""
    other = lightfm.LightFM(no_components=model.no_components, loss="warp")
    for side in ("user", "item"):
        for part in ("embeddings", "embedding_gradients", "embedding_momentum"):
            setattr(other, f"{side}_{part}", np.array(getattr(model, f"{side}_embeddings"), np.float32, order="C"))
        for part in ("biases", "bias_gradients", "bias_momentum"):
            setattr(other, f"{side}_{part}", np.array(getattr(model, f"{side}_biases"), np.float32))
    return other


def _compare(
    problem: harness.Problem, model: Any, lightfm: Any, threads: int, options: argparse.Namespace
) -> dict[str, Any]:
    from lightfm_fast.evaluation import evaluate

    test = harness.sample_users(problem.test, options.evaluated_users)
    # LightFM refuses pairs that are in both
    test = test - test.multiply(problem.train.tocsr() != 0)
    test.eliminate_zeros()
    common = {
        "user_features": problem.user_features,
        "item_features": problem.item_features,
        "num_threads": threads,
    }
    values: dict[str, dict[str, np.ndarray]] = {}

    def ours() -> None:
        made = evaluate(model, test, problem.train, METRICS, k=options.k, per_user=True, **common)
        values["lightfm_fast"] = {name.partition("@")[0]: value for name, value in (made.per_user or {}).items()}

    sides: dict[str, Callable[[], None]] = {"lightfm_fast": ours}
    if lightfm is not None:
        from lightfm import evaluation

        other = _as_lightfm(lightfm, model)
        # Sorted and without duplicates: LightFM reads duplicates and unsorted rows wrongly.
        train, float_test = problem.train.tocsr().astype(np.float32), test.astype(np.float32)

        def theirs() -> None:
            values["LightFM"] = {
                "precision": evaluation.precision_at_k(other, float_test, train, k=options.k, **common),
                "recall": evaluation.recall_at_k(other, float_test, train, k=options.k, **common),
                "auc": evaluation.auc_score(other, float_test, train, **common),
            }

        sides["LightFM"] = theirs
    ours()  # loads modules before the timing
    seconds = harness.alternate(sides, options.rounds)
    result: dict[str, Any] = {
        "threads": threads,
        "seconds": seconds,
        "means": {side: {name: float(np.mean(of[name])) for name in METRICS} for side, of in values.items()},
    }
    if lightfm is not None:
        result["time over ours"] = harness.paired_ratio(seconds["lightfm_fast"], seconds["LightFM"])
        result["largest difference of a user"] = {
            name: float(np.max(np.abs(values["lightfm_fast"][name] - values["LightFM"][name]))) for name in METRICS
        }
    _report(result, options.k)
    return result


def _report(result: dict[str, Any], k: int) -> None:
    print(f"\n{result['threads']} thread(s)")
    rows = [
        [
            side,
            f"{np.median(seconds):.3f} ({min(seconds):.3f}-{max(seconds):.3f})",
            *(f"{result['means'][side][name]:.6f}" for name in METRICS),
            harness.ratio_text(result["time over ours"]) if side == "LightFM" else "",
        ]
        for side, seconds in result["seconds"].items()
    ]
    harness.print_table(["", "seconds", f"precision@{k}", f"recall@{k}", "AUC", "time over ours"], rows)
    if "largest difference of a user" in result:
        differences = result["largest difference of a user"]
        print("largest difference of a user:", ", ".join(f"{name} {differences[name]:.1e}" for name in METRICS))


if __name__ == "__main__":
    main()
