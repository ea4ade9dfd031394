"""Ranking of full catalogues: every library tuned with the same budget on a validation part, presets untuned.

With ``--leave-one-set-out`` the validation parts of all other data sets choose a setting of this library for each data
set. The setting and the unchanged preset are measured on the data set's test parts.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.quality_methods import CANDIDATES, METHODS, OTHERS, SETTINGS, Method, Scorer, Trial
from benchmarks.quality_sets import SETS, TASKS, Split

K = 20
USERS_AT_ONCE = 256
N_SPLITS = 8  # held in memory
LEFT_OUT = "left-out"  # the method of the setting that was chosen without the data set
PRESET = "preset-fast"


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__)
    parser.set_defaults(threads=[2])
    parser.add_argument("--sets", type=harness.choices_of(SETS), default=list(SETS), help="as ml-100k,gowalla")
    parser.add_argument(
        "--methods",
        type=harness.choices_of(METHODS),
        default=[name for name in METHODS if name not in SETTINGS],
        help="as preset,lightfm",
    )
    parser.add_argument("--trials", type=int, default=20, help="settings that each method may try")
    parser.add_argument(
        "--seconds", type=float, default=600, help="processor time after which a method begins no more trials"
    )
    parser.add_argument("--validation", action="store_true", help="judge by the validation part, not the test part")
    parser.add_argument("--quick", action="store_true", help="the two smallest sets, 3 trials, 2 seeds")
    parser.add_argument(
        "--leave-one-set-out", action="store_true", help="choose among --candidates without the data set that is judged"
    )
    parser.add_argument(
        "--candidates", type=harness.choices_of(METHODS), default=list(CANDIDATES), help="settings to choose among"
    )
    parser.add_argument("--kept", type=Path, help="a folder: what is measured is kept there, and not measured again")
    parser.add_argument(
        "--again", type=harness.choices_of(METHODS), default=[], help="methods to measure again, though they are kept"
    )
    parser.add_argument(
        "--tuned-in", type=Path, help="an earlier result: train the settings that it chose, and tune nothing"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.sets = [name for name in options.sets if name in ("ml-100k", "citeulike-a")]
        options.trials, options.seeds = min(options.trials, 3), min(options.seeds, 2)
    peers = {peer: harness.import_peer(peer) is not None for peer in ("lightfm", "implicit")}
    methods = [name for name in options.methods if peers.get(name.split("-")[0], True)]
    machine = harness.machine(peer for peer, is_there in peers.items() if is_there)
    harness.print_machine(machine)
    bench = Bench(options, machine["commit"])
    chosen = _choose(bench, options) if options.leave_one_set_out else {}
    rows: list[dict[str, Any]] = []
    for name in options.sets:
        found = {method: result for method in methods if (result := bench.measure(name, METHODS[method])) is not None}
        if name in chosen:
            result = bench.measure(name, METHODS[chosen[name]])
            if result is not None:
                found[LEFT_OUT] = replace(result, chosen={"setting": chosen[name]})
        rows += [_row(name, method, result, found, options) for method, result in found.items()]
        harness.save(options.json, machine, options, rows)  # after each set, since all of them take hours


@dataclass(frozen=True)
class Run:
    """NDCG and recall of each measured user, for one trained model."""

    users: np.ndarray
    ndcg: np.ndarray
    recall: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Result:
    """The runs of a method on a task, one for each seed, and the chosen trial."""

    runs: Sequence[Run]
    kind: str
    chosen: Trial
    trials: int
    commit: str


class Bench:
    """Measures methods on tasks, and keeps results in the folder ``--kept``, if it is given."""

    def __init__(self, options: argparse.Namespace, commit: str) -> None:
        self._options, self._commit = options, commit
        earlier = json.loads(options.tuned_in.read_text())["results"] if options.tuned_in else ()
        self._earlier = {(row["set"], row["method"]): {of: row[of] for of in ("chosen", "trials")} for row in earlier}
        self._split = functools.lru_cache(maxsize=N_SPLITS)(lambda name, seed, tuning: SETS[name](seed, tuning))
        self._is_anew: set[Path] = set()

    def measure(self, name: str, method: Method, validation: bool = False) -> Result | None:
        """Tune on the validation part; then train with each seed on both parts, and measure on the test part.

        With the option ``--validation``, or with ``validation``, train without the validation part and measure on it.
        """
        tuning = self._split(name, 0, True)
        if not method.fits(tuning):
            print(f"{name}, {method.name}: does not apply")
            return None
        validation = validation or self._options.validation
        earlier = self._earlier.get((name, method.name))
        tuned = self._kept(name, method, "tuned", lambda: earlier or self._tune(name, method))
        runs = []
        for seed in range(self._options.seeds):
            part = f"{'validation' if validation else 'test'}-{seed}"
            run = self._kept(
                name, method, part, lambda seed=seed: self._run(name, method, tuned["chosen"], seed, validation)
            )
            runs.append(Run(*(np.array(run[of]) for of in ("users", "ndcg", "recall")), run["seconds"]))
        return Result(runs, tuning.kind, tuned["chosen"], tuned["trials"], tuned["commit"])

    def kind(self, name: str) -> str:
        return self._split(name, 0, True).kind

    def shares(self, candidates: Mapping[str, Method], names: Collection[str]) -> dict[str, dict[str, float]]:
        """Return how good each candidate is on the validation parts of the named tasks of each data set.

        A candidate's NDCG counts as a share of the best candidate's on that task. Shares are averaged over the tasks of
        a data set.
        """
        shares: dict[str, list[Mapping[str, float]]] = {}
        for source, tasks in TASKS.items():
            for name in (name for name in tasks if name in names):
                of_task = {
                    candidate: statistics.fmean(run.ndcg.mean() for run in result.runs)
                    for candidate, method in candidates.items()
                    if (result := self.measure(name, method, validation=True)) is not None
                }
                best = max(of_task.values())
                shares.setdefault(source, []).append({known: value / best for known, value in of_task.items()})
        return {source: means(tasks) for source, tasks in shares.items()}

    def _kept(self, name: str, method: Method, part: str, make: Any) -> dict[str, Any]:
        """Return the result of ``make``, read from its file if it was kept before."""
        if self._options.kept is None:
            return {**make(), "commit": self._commit}
        path = self._options.kept / name / method.name / f"{part}.json"
        is_stale = method.name in self._options.again and path not in self._is_anew
        if path.exists() and not is_stale:
            kept: dict[str, Any] = json.loads(path.read_text())
            return kept
        content = {**make(), "commit": self._commit}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, default=float))
        self._is_anew.add(path)
        return content

    def _tune(self, name: str, method: Method) -> dict[str, Any]:
        if method.draw is None:
            return {"chosen": {}, "trials": 0}
        tried = list(_tune(method, self._split(name, 0, True), self._options))
        best = max(tried, key=lambda trial: float(trial["ndcg"]))
        return {"chosen": best["trial"], "trials": len(tried)}

    def _run(self, name: str, method: Method, trial: Trial, seed: int, validation: bool) -> dict[str, Any]:
        split = self._split(name, seed, validation)
        start = time.perf_counter()
        scorer = method.train(split, trial, seed, self._options.threads[0])
        seconds = time.perf_counter() - start
        ndcg, recall = judge(scorer, split)
        users = np.flatnonzero(np.diff(split.held_out.indptr))
        print(f"  {name}, {method.name}, seed {seed}: {ndcg.mean():.4f}, {seconds:.1f} s", flush=True)
        rounded = {"ndcg": ndcg.round(6).tolist(), "recall": recall.round(6).tolist()}
        return {"users": users.tolist(), **rounded, "seconds": seconds}


def means(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean share of each candidate."""
    return {known: statistics.fmean(share[known] for share in shares) for known in shares[0]}


def best_of_others(shares: Mapping[str, Mapping[str, float]], source: str) -> str:
    """Return the candidate with the best mean share over all data sets but one; of equals the first."""
    others = means([of_set for other, of_set in shares.items() if other != source] or [shares[source]])
    return max(others, key=lambda known: others[known])


def _choose(bench: Bench, options: argparse.Namespace) -> dict[str, str]:
    """Choose a candidate for each task without the task's data set."""
    shares = bench.shares({known: METHODS[known] for known in options.candidates}, options.sets)
    chosen = {}
    for source in shares:
        best = best_of_others(shares, source)
        print(f"without {source}: {best}")
        chosen |= dict.fromkeys(TASKS[source], best)
    return chosen


def _row(
    name: str, method: str, result: Result, found: Mapping[str, Result], options: argparse.Namespace
) -> dict[str, Any]:
    row: dict[str, Any] = {"set": name, "kind": result.kind, "method": method, "trials": result.trials}
    row |= {"chosen": result.chosen, "threads": options.threads[0], "commit": result.commit}
    row["part"] = "validation" if options.validation else "test"
    for metric in ("ndcg", "recall", "seconds"):
        of_seeds = [float(np.mean(getattr(run, metric))) for run in result.runs]
        row[metric] = {
            "seeds": of_seeds,
            "mean": statistics.fmean(of_seeds),
            "error over seeds": _standard_error(of_seeds),
        }
        if metric != "seconds":
            errors = [_standard_error(getattr(run, metric)) for run in result.runs]
            row[metric]["error over users"] = statistics.fmean(errors)
    if method in (PRESET, LEFT_OUT):
        row["against"] = {other: paired(result.runs, found[other].runs) for other in OTHERS if other in found}
    shown = [
        f"{metric}@{K} {row[metric]['mean']:.4f} ± {row[metric]['error over users']:.4f} (users) "
        f"± {row[metric]['error over seeds']:.4f} (seeds)"
        for metric in ("ndcg", "recall")
    ]
    print(
        f"{name}, {method}: {', '.join(shown)}, {row['seconds']['mean']:.1f} s, {result.chosen or 'untuned'}",
        flush=True,
    )
    return row


def paired(ours: Sequence[Run], theirs: Sequence[Run]) -> dict[str, float]:
    """Mean difference in NDCG over users and seeds, and its standard error.

    A user's differences over the seeds depend on each other, so the error is over users (Liang and Zeger 1986).
    """
    users = np.concatenate([run.users for run in ours])
    differences = np.concatenate([own.ndcg - other.ndcg for own, other in zip(ours, theirs, strict=True)])
    mean = differences.mean()
    sums = np.bincount(users, weights=differences - mean)[np.unique(users)]
    error = np.sqrt(np.square(sums).sum() * len(sums) / max(len(sums) - 1, 1)) / len(differences)
    return {"difference": float(mean), "error": float(error)}


def _tune(method: Method, split: Split, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Random search: the same number of trials and the same time for every method."""
    assert method.draw is not None
    rng = np.random.default_rng(0)
    start = time.process_time()
    for number in range(options.trials):
        trial = method.first if number == 0 and method.first is not None else method.draw(rng)
        try:
            ndcg = float(judge(method.train(split, trial, 0, options.threads[0]), split)[0].mean())
        except ValueError as error:  # training diverged, which counts as a bad trial
            print(f"  {method.name} {trial}: {error}")
            ndcg = 0.0
        yield {"trial": trial, "ndcg": ndcg}
        if time.process_time() - start > options.seconds:
            return


def _standard_error(values: Any) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def judge(scorer: Scorer, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Return NDCG@K and recall@K of every user with held-out items; training items are left out of the ranking.

    Gains are 0 or 1, discounts 1 / log2(1 + rank), and the ideal list has min(K, held-out items) items (Järvelin 2002).
    """
    n_held = np.diff(split.held_out.indptr)
    users = np.flatnonzero(n_held)
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discounts)[np.minimum(n_held[users], K) - 1]
    gains, hits = np.empty(len(users)), np.empty(len(users))
    out = None
    if split.candidates is not None:
        out = np.ones(split.train.shape[1], dtype=bool)
        out[split.candidates] = False
    for first in range(0, len(users), USERS_AT_ONCE):
        block = users[first : first + USERS_AT_ONCE]
        scores = np.array(scorer(block), dtype=np.float32)
        seen = split.train[block]
        scores[np.repeat(np.arange(len(block)), np.diff(seen.indptr)), seen.indices] = -np.inf
        if out is not None:
            scores[:, out] = -np.inf
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
        held = split.held_out[block].toarray() > 0
        hit = np.take_along_axis(held, best, 1)
        gains[first : first + len(block)] = hit @ discounts
        hits[first : first + len(block)] = hit.sum(axis=1)
    return gains / ideal, hits / n_held[users]


if __name__ == "__main__":
    main()
