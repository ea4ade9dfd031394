"""Time ranking the whole catalogue, and metrics of the ranks, against LightFM with the same parameters."""

from __future__ import annotations

import argparse
import importlib
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.cases import Case
from benchmarks.harness import Problem

OURS, PEER = "lightfm_fast", "lightfm"
PARAMETERS = ("user_embeddings", "item_embeddings", "user_biases", "item_biases")
TARGET = 40.0  # LightFM's time over ours
CASES = (
    Case("gowalla", data="gowalla"),
    Case("generated-18m", users=138_000, items=27_000, interactions=20_000_000),
)
# The timed tasks, each with LightFM's counterpart, which ranks once for each metric, and the number of our rankings.
TASKS = {
    "predict_rank": ("predict_rank", 1),
    "precision_at_k + auc_score": ("precision_at_k + auc_score", 2),
    "evaluate": ("precision_at_k + auc_score", 1),
}

Ranked = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    peer = harness.import_peer(PEER)
    machine = harness.machine([] if peer is None else [PEER])
    harness.print_machine(machine)
    results: list[dict[str, Any]] = []
    for case in options.cases:
        for result in measure(case, peer, options):
            results.append(result)
            _report(result)
        harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    known = {case.name: case for case in CASES}
    harness.add_cases_option(parser, known, list(known))
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3, help="of WARP before anything is ranked")
    parser.add_argument(
        "--users", type=int, default=5_000, help="users ranked, drawn at random, with their interactions; 0 for all"
    )
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(arguments)


def measure(case: Case, peer: Any, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rank by turns with both libraries; yield a result for each task and number of threads."""
    from lightfm_fast import LightFM

    problem = harness.load(case)
    print(f"\n{case.name}: {problem.describe()}")
    model = LightFM(no_components=options.no_components, loss="warp", random_state=0)
    model.fit(problem.train, epochs=options.epochs, num_threads=max(options.threads))
    state = {name: np.array(getattr(model, name)) for name in PARAMETERS}
    problem, state = _sample(problem, state, options.users)
    scores = int(np.count_nonzero(np.diff(problem.test.indptr))) * problem.test.shape[1]
    print(f"ranked: {problem.describe()}")

    models = {OURS: _model(LightFM, state), **({PEER: _model(peer.LightFM, state)} if peer else {})}
    train, test = problem.train.tocsr(), problem.test.tocsr()
    found: dict[tuple[str, str], Ranked] = {}
    sides = {
        (task, name, threads): partial(_keep, found, (task, name), _RUNS[task], model, test, train, threads)
        for task, (counterpart, _) in TASKS.items()
        for threads in options.threads
        for name, model in models.items()
        if name == OURS or counterpart == task
    }
    seconds = harness.alternate(sides, options.rounds)
    for task, (counterpart, passes) in TASKS.items():
        for threads in options.threads:
            ours = seconds[task, OURS, threads]
            theirs = seconds[counterpart, PEER, threads] if peer else None
            yield {
                "case": case.name,
                "data": problem.describe(),
                "task": task,
                "threads": threads,
                "seconds": {OURS: ours, **({PEER: theirs} if theirs else {})},
                # one multiplication and one addition for each component of each score
                "GFlop/s": passes * scores * 2 * options.no_components / 1e9 / statistics.median(ours),
                "time over ours": harness.paired_ratio(ours, theirs) if theirs else None,
                "agreement": _agreement(found[task, OURS], found[counterpart, PEER]) if peer else None,
                "target": TARGET,
            }


def _sample(problem: Problem, state: dict[str, Any], n_users: int) -> tuple[Problem, dict[str, Any]]:
    """Reduce interactions and parameters to some users; all items stay."""
    if not 0 < n_users < problem.test.shape[0]:
        return problem, state
    rows = np.sort(np.random.default_rng(0).permutation(problem.test.shape[0])[:n_users])
    matrices = {name: sp.csr_matrix(getattr(problem, name))[rows] for name in ("train", "test")}
    return replace(problem, **matrices), {
        name: value[rows] if name.startswith("user") else value for name, value in state.items()
    }


def _model(estimator: Any, state: Mapping[str, np.ndarray]) -> Any:
    """Return a model of either library with these parameters."""
    n_users, no_components = state["user_embeddings"].shape
    shape = (n_users, len(state["item_embeddings"]))
    model = estimator(no_components=no_components, loss="warp", random_state=0)
    model.fit_partial(sp.coo_matrix(([np.float32(1)], ([0], [0])), shape), epochs=0)
    for name, value in state.items():
        setattr(model, name, np.ascontiguousarray(value, dtype=np.float32))
    return model


def _keep(
    found: dict[tuple[str, str], Ranked], key: tuple[str, str], run: Callable[..., Ranked], *arguments: Any
) -> None:
    found[key] = run(*arguments)


def _rank(model: Any, test: sp.csr_matrix, train: sp.csr_matrix, threads: int) -> Ranked:
    return {"ranks": model.predict_rank(test, train, num_threads=threads)}


def _measure(model: Any, test: sp.csr_matrix, train: sp.csr_matrix, threads: int) -> Ranked:
    metrics = importlib.import_module(type(model).__module__.partition(".")[0] + ".evaluation")
    return {
        "precision": metrics.precision_at_k(model, test, train, k=10, num_threads=threads),
        "auc": metrics.auc_score(model, test, train, num_threads=threads),
    }


def _evaluate(model: Any, test: sp.csr_matrix, train: sp.csr_matrix, threads: int) -> Ranked:
    from lightfm_fast.evaluation import evaluate

    measured = evaluate(model, test, train, ["precision", "auc"], k=10, num_threads=threads, per_user=True)
    return {"precision": measured.per_user["precision@10"], "auc": measured.per_user["auc"]}


_RUNS: dict[str, Callable[..., Ranked]] = dict(zip(TASKS, (_rank, _measure, _evaluate), strict=True))


def _agreement(ours: Ranked, theirs: Ranked) -> dict[str, float]:
    """Return the number of values that differ, and the largest difference."""
    differences = {}
    for name, values in ours.items():
        pair = [values, theirs[name]]
        if name == "ranks":
            pair = [ranks.sorted_indices() for ranks in pair]  # the order of entries is not part of the answer
            if not all(
                np.array_equal(getattr(pair[0], part), getattr(pair[1], part)) for part in ("indptr", "indices")
            ):
                raise ValueError("the two libraries ranked different entries")
            pair = [ranks.data for ranks in pair]
        first, second = (np.asarray(values, dtype=np.float64) for values in pair)
        difference = np.abs(first - second)
        differences[f"{name} compared"] = len(first)
        differences[f"{name} that differ"] = int(np.count_nonzero(difference > (0 if name == "ranks" else 1e-6)))
        differences[f"{name}, largest difference"] = float(difference.max(initial=0))
    return differences


def _report(result: dict[str, Any]) -> None:
    rows = []
    for name, times in result["seconds"].items():
        ratio = result["time over ours"]
        rows.append(
            [
                name,
                harness.seconds_text(times, digits=3),
                harness.ratio_text(ratio) if name == PEER else "",
                ("reached" if ratio["median"] >= result["target"] else "MISSED") if name == PEER else "",
            ]
        )
    print(f"\n{result['case']}: {result['task']}, {result['threads']} thread(s), {result['GFlop/s']:.0f} GFlop/s")
    header = ["", "seconds: median (min-max)", "time over ours, paired", f"target {result['target']:g}"]
    harness.print_table(header, rows)
    if result["agreement"]:
        print("; ".join(f"{name} {value:g}" for name, value in result["agreement"].items()))


if __name__ == "__main__":
    main()
