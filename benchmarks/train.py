"""Time an epoch of training against LightFM and implicit, with what each has learnt beside it."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Factors, Problem

LOSSES = ("logistic", "bpr", "warp", "warp-kos")
OURS = "lightfm_fast"


@dataclass(frozen=True)
class Side:
    """A model under training: run one more epoch; give what it has learnt."""

    run_epoch: Callable[[], object]
    factors: Callable[[], Factors]


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    libraries = {
        name: module for name in (OURS, "lightfm", "implicit") if (module := harness.import_peer(name)) is not None
    }
    machine = harness.machine(name for name in libraries if name != OURS)
    problem = harness.load(options)
    harness.print_machine(machine)
    print(f"data: {problem.describe()}")
    print(f"{options.no_components} components, {options.learning_schedule}, epochs 2 to {options.epochs} timed")
    results = []
    for loss in options.losses:
        for threads in options.threads:
            result = {
                "loss": loss,
                "threads": threads,
                "sides": _compare(libraries, problem, loss, threads, options),
            }
            results.append(result)
            _report(result)
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__)
    harness.add_data_options(parser)
    parser.add_argument("--losses", type=_losses, default=list(LOSSES), help="as bpr,warp")
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10, help="at least 2: the first, which allocates, is not timed")
    parser.add_argument("--learning-schedule", choices=["adagrad", "adadelta"], default="adagrad")
    parser.add_argument("--evaluated-users", type=int, default=2000, help="test users that precision is measured on")
    options = parser.parse_args(arguments)
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first is not timed")
    return options


def _losses(text: str) -> list[str]:
    losses = text.split(",")
    if unknown := set(losses) - set(LOSSES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: expected some of {', '.join(LOSSES)}")
    return losses


def _compare(
    libraries: dict[str, Any], problem: Problem, loss: str, threads: int, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    from lightfm_fast.evaluation import precision_at_k

    test = harness.sample_users(problem.test, options.evaluated_users)
    seconds: dict[str, list[float]] = {}
    precision: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        sides = _sides(libraries, problem, loss, threads, seed, options)
        epochs = {name: side.run_epoch for name, side in sides.items()}
        harness.alternate(epochs, 1)
        for name, times in harness.alternate(epochs, options.epochs - 1).items():
            seconds.setdefault(name, []).extend(times)
        for name, side in sides.items():
            value = precision_at_k(side.factors(), test, problem.train, check_intersections=False).mean()
            precision.setdefault(name, []).append(float(value))
    return {
        name: {
            "seconds an epoch": times,
            "precision@10": precision[name],
            "time over ours": harness.paired_ratio(seconds[OURS], times),
        }
        for name, times in seconds.items()
    }


def _sides(
    libraries: dict[str, Any],
    problem: Problem,
    loss: str,
    threads: int,
    seed: int,
    options: argparse.Namespace,
) -> dict[str, Side]:
    sides = {
        name: _lightfm_side(libraries[name].LightFM, problem, loss, threads, seed, options)
        for name in (OURS, "lightfm")
        if name in libraries
    }
    has_features = problem.user_features is not None or problem.item_features is not None
    if "implicit" in libraries and loss == "bpr" and not has_features:
        sides["implicit"] = _implicit_side(problem, threads, seed, options.no_components)
    return sides


def _lightfm_side(
    estimator: Any, problem: Problem, loss: str, threads: int, seed: int, options: argparse.Namespace
) -> Side:
    model = estimator(
        no_components=options.no_components,
        learning_schedule=options.learning_schedule,
        loss=loss,
        random_state=seed,
    )
    features = {"user_features": problem.user_features, "item_features": problem.item_features}
    return Side(
        partial(model.fit_partial, problem.train, epochs=1, num_threads=threads, **features),
        partial(Factors.of_lightfm, model, **features),
    )


def _implicit_side(problem: Problem, threads: int, seed: int, no_components: int) -> Side:
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    # fit continues from the factors it finds; a generator, because a seed would repeat its draws every epoch
    model = BayesianPersonalizedRanking(
        factors=no_components, iterations=1, num_threads=threads, random_state=np.random.default_rng(seed)
    )
    return Side(
        partial(model.fit, problem.train.tocsr(), show_progress=False),
        lambda: Factors(model.user_factors, model.item_factors),
    )


def _report(result: dict[str, Any]) -> None:
    rows = []
    for name, side in result["sides"].items():
        times, ratio = side["seconds an epoch"], side["time over ours"]
        quality = harness.spread(side["precision@10"])
        rows.append(
            [
                name,
                f"{statistics.median(times):.4f} ({min(times):.4f}-{max(times):.4f})",
                "" if name == OURS else f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})",
                f"{quality['mean']:.4f} ± {quality['sd']:.4f}",
            ]
        )
    print(f"\n{result['loss']}, {result['threads']} thread(s)")
    harness.print_table(["", "seconds an epoch: median (min-max)", "time over ours, paired", "precision@10 ± sd"], rows)


if __name__ == "__main__":
    main()
