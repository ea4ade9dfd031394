"""Ranking quality against LightFM on MovieLens 100K: warm items, genres, and items never seen in training."""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.cases import LOSSES
from benchmarks.harness import Factors, Problem

EPOCHS = 10
COLD_SHARE = 0.2
OURS, PEER = "lightfm_fast", "lightfm"
# features, loss, metric and thread count: one value a seed
Case = tuple[str, str, str, int]


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: the spread over seeds decides")
    libraries = {name: module for name in (OURS, PEER) if (module := harness.import_peer(name)) is not None}
    machine = harness.machine([PEER] if PEER in libraries else [])
    if PEER not in libraries and len(options.threads) < 2:
        raise SystemExit(f"nothing to compare: install {PEER}, or give two thread counts")
    problem = harness.movielens()
    harness.print_machine(machine)
    print(f"data: {problem.describe()}")
    print(f"{EPOCHS} epochs, LightFM's defaults, {options.seeds} seeds, mean ± sd\n")
    values = {name: _measure(module.LightFM, problem, options) for name, module in libraries.items()}

    results = []
    if PEER in values:
        results += _report(OURS, PEER, values[OURS], values[PEER])
    first, *others = options.threads
    if others:
        threaded = {case: ours for case, ours in values[OURS].items() if case[-1] in others}
        reference = {case: values[OURS][(*case[:-1], first)] for case in threaded}
        results += _report("threaded", f"{first} thread(s)", threaded, reference)
    harness.save(options.json, machine, options, results)


def _measure(estimator: Any, problem: Problem, options: argparse.Namespace) -> dict[Case, list[float]]:
    values = defaultdict(list)
    for loss, threads, seed in itertools.product(LOSSES, options.threads, range(options.seeds)):
        model = estimator(loss=loss, random_state=seed)
        for setting, measure in SETTINGS.items():
            for metric, value in measure(model, problem, threads, seed):
                values[setting, loss, metric, threads].append(value)
    return values


def _identity(model: Any, problem: Problem, threads: int, seed: int) -> Iterator[tuple[str, float]]:
    model.fit(problem.train, epochs=EPOCHS, num_threads=threads)
    yield from _warm_metrics(Factors.of_lightfm(model), problem)


def _genres(model: Any, problem: Problem, threads: int, seed: int) -> Iterator[tuple[str, float]]:
    model.fit(problem.train, item_features=problem.item_features, epochs=EPOCHS, num_threads=threads)
    yield from _warm_metrics(Factors.of_lightfm(model, item_features=problem.item_features), problem)


def _cold(model: Any, problem: Problem, threads: int, seed: int) -> Iterator[tuple[str, float]]:
    n_items = problem.train.shape[1]
    shuffled = np.random.default_rng(seed).permutation(n_items)
    cold, warm = np.split(shuffled, [round(COLD_SHARE * n_items)])
    model.fit(
        problem.train.tocsr()[:, warm],
        item_features=problem.item_features[warm],
        epochs=EPOCHS,
        num_threads=threads,
    )
    # A new item's indicator was never trained, so only its genres represent it.
    genres = problem.item_features[cold]
    genres.data[genres.indices < n_items] = 0
    interactions = (problem.train.tocsr() + problem.test)[:, cold]
    yield from _metrics("cold", Factors.of_lightfm(model, item_features=genres), interactions)


SETTINGS = {"identity": _identity, "identity + genres": _genres, "new items": _cold}


def _warm_metrics(model: Factors, problem: Problem) -> Iterator[tuple[str, float]]:
    yield from _metrics("train", model, problem.train)
    yield from _metrics("test", model, problem.test, problem.train)


def _metrics(part: str, model: Factors, test: sp.spmatrix, train: Any = None) -> Iterator[tuple[str, float]]:
    from lightfm_fast.evaluation import auc_score, precision_at_k

    yield f"{part} precision@10", float(precision_at_k(model, test, train).mean())
    yield f"{part} AUC", float(auc_score(model, test, train).mean())


def _report(
    name: str, reference_name: str, values: dict[Case, list[float]], references: dict[Case, list[float]]
) -> list[dict[str, Any]]:
    rows, results = [], []
    for (features, loss, metric, threads), reference in references.items():
        value = values[features, loss, metric, threads]
        verdict = harness.verdict(value, reference)
        shown = map(harness.spread_text, (value, reference))
        rows.append([features, loss, metric, str(threads), *shown, verdict])
        results.append(
            {
                "features": features,
                "loss": loss,
                "metric": metric,
                "threads": threads,
                name: value,
                reference_name: reference,
                "verdict": verdict,
            }
        )
    harness.print_table(["features", "loss", "metric", "threads", name, reference_name, f"{name} is"], rows)
    verdicts = [row[-1] for row in rows]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in ("at least", "within the spread", "BELOW")]
    print(f"{', '.join(counts)} (of rows that are equal in truth, 1 in 40 is expected to come out BELOW)\n")
    return results


if __name__ == "__main__":
    main()
