"""Time an epoch of the recommended presets, and of WARP, against one of BPR with the same settings as "fast".

With ``--before``, "fast" of another version of this library trains too, by turns with the others. An epoch is a call of
``fit_partial`` without the linear autoencoder and what represents new users and items: ``fit`` learns these once.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.cases import CASES, Case

BASE, FAST, BEFORE = "bpr", "fast", "fast before"
# The largest acceptable time of an epoch, over an epoch of BPR.
TARGETS = {FAST: 1.7}
# The largest acceptable time of an epoch of "fast", over an epoch of the other version's "fast".
TARGET_BEFORE = 1.2
MEASURED = ("identity", "tags", "gowalla")
LEARNED_ONCE = {"cold_start": "features", "linear_components": 0}  # the settings without it


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
    parser.add_argument("--n-negatives", type=int, help='of "fast"; by default as it chooses')
    parser.add_argument("--before", type=Path, help="a folder with another version of this package, compiled")
    parser.add_argument("--epochs", type=int, default=8, help="at least 2: the first, which allocates, is not timed")
    options = parser.parse_args(arguments)
    if options.epochs < 2:
        parser.error("--epochs must be at least 2: the first is not timed")
    return options


def measure(case: Case, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train all objectives by turns; yield a result for each objective except BPR and each number of threads."""
    from lightfm_fast import LightFM
    from lightfm_fast._training import count_negatives

    problem = harness.load(case)
    print(f"\n{case.name}: {problem.describe()}")
    settings = {"no_components": case.no_components, "random_state": 0}
    fast = LightFM.recommended("fast", n_negatives=options.n_negatives, **LEARNED_ONCE, **settings).get_params()
    models = {
        (name, threads): LightFM(**parameters)
        for threads in options.threads
        for name, parameters in {
            BASE: {**fast, "negatives": "popularity"},
            FAST: fast,
            "warp": {**settings, "loss": "warp"},
            "ranking": LightFM.recommended("ranking", **settings).get_params(),
        }.items()
    }
    epochs: dict[tuple[str, int], Callable[[], object]] = {
        (name, threads): partial(_train, model, problem, threads) for (name, threads), model in models.items()
    }
    with contextlib.ExitStack() as stack:
        if options.before is not None:
            for threads in options.threads:
                given = str(options.before.resolve()), settings, problem, threads
                pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(1, _take, given))
                epochs[BEFORE, threads] = partial(pool.apply, _train_taken)
        seconds = harness.alternate(epochs, options.epochs)
    rows = []
    for (name, threads), times in seconds.items():
        if name in (BASE, BEFORE):
            continue
        ratio = harness.paired_ratio(seconds[BASE, threads][1:], times[1:])
        target = TARGETS.get(name)
        reached = "" if target is None else "reached" if ratio["median"] <= target else "MISSED"
        rows.append(
            [name, str(threads), f"{statistics.median(times[1:]):.3f}", harness.ratio_text(ratio), str(target), reached]
        )
        result = {
            "case": case.name,
            "data": problem.describe(),
            "objective": name,
            "threads": threads,
            "seconds an epoch": {name: times[1:], BASE: seconds[BASE, threads][1:]},
            "time over BPR's": ratio,
            "target": target,
        }
        if name == FAST:
            result["negatives"] = count_negatives(fast, problem.train.shape[1])
            if (BEFORE, threads) in seconds:
                earlier = seconds[BEFORE, threads][1:]
                result["seconds an epoch"][BEFORE] = earlier
                result["time over before's"] = over = harness.paired_ratio(earlier, times[1:])
                print(f"{threads} threads: {harness.ratio_text(over)} over before's, at most {TARGET_BEFORE}")
        yield result
    harness.print_table(["", "threads", "seconds an epoch: median", "over BPR's, paired", "at most", ""], rows)


def _train(model: Any, problem: harness.Problem, threads: int) -> None:
    features = {"user_features": problem.user_features, "item_features": problem.item_features}
    model.fit_partial(problem.train, num_threads=threads, **features)


# The model, its problem and the number of threads. Only the process that imports the other version fills this list.
_taken: list[Any] = []


def _take(folder: str, settings: Mapping[str, Any], problem: harness.Problem, threads: int) -> None:
    """Import the package from a folder, and make its preset."""
    sys.path.insert(0, folder)
    import lightfm_fast

    assert Path(str(lightfm_fast.__file__)).parent == Path(folder) / "lightfm_fast", lightfm_fast.__file__
    model = lightfm_fast.LightFM.recommended("fast", **settings)
    known = model.get_params()  # early versions have fewer
    model.set_params(**{name: value for name, value in LEARNED_ONCE.items() if name in known})
    _taken.extend([model, problem, threads])


def _train_taken() -> None:
    _train(*_taken)


if __name__ == "__main__":
    main()
