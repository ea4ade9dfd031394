"""Time training against LightFM and implicit: an epoch, and until a peer's precision is reached."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.cases import CASES, LOSSES, Case
from benchmarks.harness import Factors, Problem

OURS = "lightfm_fast"
PEERS = ("lightfm", "implicit")
# The epochs of a peer whose best precision is a goal, and the share of it that counts as reached: curves are noisy.
GOALS = (1, 3, 10)
REACHED = 0.99
# Options that a case sets; the other options apply to any case.
OF_A_CASE = {field.name for field in fields(Case)} - {"losses", "epochs", "seeds"}


@dataclass(frozen=True)
class Side:
    """A model under training: ``run_epoch`` trains one more epoch, ``factors`` gives the parameters as factors."""

    run_epoch: Callable[[], object]
    factors: Callable[[], Factors]


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    libraries = import_libraries()
    machine = harness.machine(name for name in libraries if name != OURS)
    harness.print_machine(machine)
    results: list[dict[str, Any]] = []
    for case in _cases(options):
        for result in measure(case, libraries, options.threads, options.evaluated_users):
            results.append(result)
            _report(result)
            harness.save(options.json, machine, options, results)  # all cases take hours, and may be interrupted
    print_summary(results)


def import_libraries() -> dict[str, Any]:
    """Return this library and its installed peers, by module name."""
    return {name: module for name in (OURS, *PEERS) if (module := harness.import_peer(name)) is not None}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__)
    harness.add_data_options(parser)
    parser.add_argument("--cases", type=_named_cases, help=f"'all', or some of {','.join(case.name for case in CASES)}")
    parser.add_argument(
        "--losses", type=harness.choices_of(LOSSES), help="as bpr,warp (default: all, or what the case says)"
    )
    parser.add_argument("--no-components", type=int, default=64)
    parser.add_argument(
        "--epochs",
        type=int,
        help="at least 2: the first, which allocates, is not timed (default: 10, or what the case says)",
    )
    parser.add_argument("--learning-schedule", choices=["adagrad", "adadelta"], default="adagrad")
    parser.add_argument("--evaluated-users", type=int, default=6000, help="test users that precision is measured on")
    parser.set_defaults(seeds=None)
    options = parser.parse_args(arguments)
    if options.epochs is not None and options.epochs < 2:
        parser.error("--epochs must be at least 2: the first is not timed")
    if options.cases:
        changed = [name for name in sorted(OF_A_CASE & set(vars(options))) if _is_changed(parser, options, name)]
        if changed:
            parser.error(f"--cases says these itself: {', '.join(changed)}")
    return options


def _is_changed(parser: argparse.ArgumentParser, options: argparse.Namespace, name: str) -> bool:
    return bool(getattr(options, name) != parser.get_default(name))


def _named_cases(text: str) -> list[Case]:
    known = {case.name: case for case in CASES}
    return list(known.values()) if text == "all" else harness.named(known)(text)


def _cases(options: argparse.Namespace) -> list[Case]:
    """Return the named cases, or the case that the other options describe, with losses, epochs and seeds as given."""
    given = {name: getattr(options, name) for name in ("losses", "epochs", "seeds") if getattr(options, name)}
    if options.cases:
        cases = [
            replace(case, **{**given, "losses": [loss for loss in given.get("losses", LOSSES) if loss in case.losses]})
            for case in options.cases
        ]
        return [case for case in cases if case.losses]
    described = {name: value for name, value in vars(options).items() if name in OF_A_CASE}
    return [Case("as given", **described, **{"seeds": 5, **given})]


def measure(
    case: Case, libraries: dict[str, Any], threads: Sequence[int], evaluated_users: int
) -> Iterator[dict[str, Any]]:
    """Compare the libraries in one case; yield a result for each loss and number of threads."""
    problem = harness.load(case)
    if case.shuffled:
        problem = replace(problem, train=harness.shuffled(problem.train))
    print(f"\n{case.name}: {problem.describe()}")
    print(f"{case.no_components} components, {case.learning_schedule}, epochs 2 to {case.epochs}, {case.seeds} seed(s)")
    for loss in case.losses:
        compared = _compare(libraries, problem, case, loss, threads, evaluated_users)
        for count in threads:
            sides = {name: side for (name, used), side in compared.items() if used == count}
            for name, side in sides.items():
                side["time over ours"] = harness.paired_ratio(sides[OURS]["seconds an epoch"], side["seconds an epoch"])
                side["target"] = None if name == OURS else case.target(name, loss, count)
                if name != OURS:
                    side["time to its precision over ours"] = over_goals(sides[OURS]["curve"], side["curve"])
            result = {"case": case.name, "data": problem.describe(), "loss": loss, "threads": count, "sides": sides}
            if count > 1 and 1 in threads:
                single = compared[OURS, 1]["seconds an epoch"]
                result["time of 1 thread over this"] = harness.paired_ratio(sides[OURS]["seconds an epoch"], single)
                result["target over 1 thread"] = case.speedup
            yield result


def _compare(
    libraries: dict[str, Any],
    problem: Problem,
    case: Case,
    loss: str,
    threads: Sequence[int],
    evaluated_users: int,
) -> dict[tuple[str, int], dict[str, Any]]:
    """Train every library at every number of threads by turns; return the seconds and the precision of each.

    Precision is measured after every epoch, off the clock. The logistic loss gets negatives too, since positives alone
    teach it only which items are popular.
    """
    from lightfm_fast.evaluation import precision_at_k

    test = harness.sample_users(problem.test, evaluated_users)
    given = replace(problem, train=harness.with_negatives(problem.train)) if loss == "logistic" else problem
    compared: dict[tuple[str, int], dict[str, Any]] = {}

    def precision(side: Side) -> float:
        return float(precision_at_k(side.factors(), test, problem.train, check_intersections=False).mean())

    for seed in range(case.seeds):
        sides = {
            (name, count): side
            for count in threads
            for name, side in _sides(libraries, given, case, loss, count, seed).items()
        }
        seconds, reached = _train(sides, case.epochs, precision)
        for key, times in seconds.items():
            entry = compared.setdefault(key, {"seconds an epoch": [], "precision@10": [], "curve": []})
            entry["seconds an epoch"].extend(times[1:])
            entry["precision@10"].append(reached[key][-1])
            entry["curve"].append({"seconds": list(accumulate(times)), "precision@10": reached[key]})
    return compared


def _train(
    sides: dict[tuple[str, int], Side], epochs: int, precision: Callable[[Side], float]
) -> tuple[dict[tuple[str, int], list[float]], dict[tuple[str, int], list[float]]]:
    """Return the seconds of each side's epochs, and its precision after each."""
    reached: dict[tuple[str, int], list[float]] = {key: [] for key in sides}

    def look() -> None:
        for key, side in sides.items():
            reached[key].append(precision(side))

    turns = {key: side.run_epoch for key, side in sides.items()}
    return harness.alternate(turns, epochs, after_round=look), reached


Curve = Mapping[str, Sequence[float]]


def seconds_until(curve: Curve, goal: float) -> float | None:
    """Return when a model reached a precision, between two epochs by a straight line; None if it never did.

    The first epoch counts whole, since nothing is known within it.
    """
    before = None
    for point in zip(curve["seconds"], curve["precision@10"], strict=True):
        seconds, precision = point
        if precision >= goal:
            if before is None:
                return seconds
            share = (goal - before[1]) / (precision - before[1])
            return before[0] + share * (seconds - before[0])
        before = point
    return None


def over_goals(ours: Sequence[Curve], peer: Sequence[Curve]) -> dict[str, float | None]:
    """Return the peer's time over ours to the peer's best precision within each number of epochs in GOALS.

    Curves are means over seeds. None stands for a precision that we did not reach.
    """
    own, other = mean_curve(ours), mean_curve(peer)
    ratios: dict[str, float | None] = {}
    for epochs in GOALS:
        if epochs <= len(other["seconds"]):
            goal = REACHED * max(other["precision@10"][:epochs])
            ours_until, peer_until = seconds_until(own, goal), seconds_until(other, goal)
            assert peer_until is not None
            ratios[str(epochs)] = None if ours_until is None else peer_until / ours_until
    return ratios


def mean_curve(curves: Sequence[Curve]) -> Curve:
    return {name: np.mean([curve[name] for curve in curves], axis=0).tolist() for name in curves[0]}


def _sides(
    libraries: dict[str, Any], problem: Problem, case: Case, loss: str, threads: int, seed: int
) -> dict[str, Side]:
    sides = {
        name: _lightfm_side(libraries[name].LightFM, problem, case, loss, threads, seed)
        for name in (OURS, "lightfm")
        if name in libraries
    }
    has_features = problem.user_features is not None or problem.item_features is not None
    if "implicit" in libraries and loss == "bpr" and not has_features:
        sides["implicit"] = _implicit_side(problem, threads, seed, case.no_components)
    return sides


def _lightfm_side(estimator: Any, problem: Problem, case: Case, loss: str, threads: int, seed: int) -> Side:
    model = estimator(
        no_components=case.no_components,
        learning_schedule=case.learning_schedule,
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
        rows.append(
            [
                name,
                harness.seconds_text(side["seconds an epoch"]),
                "" if name == OURS else harness.ratio_text(side["time over ours"]),
                "" if name == OURS else _goals_text(side["time to its precision over ours"]),
                harness.spread_text(side["precision@10"]),
            ]
        )
    print(f"\n{result['loss']}, {result['threads']} thread(s)")
    header = [
        "",
        "seconds an epoch: median (min-max)",
        "time over ours, paired",
        "to its precision",
        "precision@10 ± sd",
    ]
    harness.print_table(header, rows)


def _goals_text(ratios: Mapping[str, float | None]) -> str:
    """Say the ratios of time for each number of epochs, as "1: 20.5, 3: not reached"."""
    return ", ".join(
        f"{epochs}: {'not reached' if ratio is None else format(ratio, '.1f')}" for epochs, ratio in ratios.items()
    )


def print_summary(results: Sequence[dict[str, Any]]) -> None:
    """Return a row for each peer and, at several threads, for this library at one: the ratio and its target."""
    rows = []
    for result in results:
        setting = [result["case"], result["loss"], str(result["threads"])]
        ours = result["sides"][OURS]
        for name, side in result["sides"].items():
            if name != OURS:
                rows.append(
                    [
                        *setting,
                        name,
                        *_judged(side["time over ours"], side["target"]),
                        harness.spread_text(ours["precision@10"]),
                        harness.spread_text(side["precision@10"]),
                        harness.verdict(ours["precision@10"], side["precision@10"]),
                    ]
                )
        if "time of 1 thread over this" in result:
            judged = _judged(result["time of 1 thread over this"], result["target over 1 thread"])
            rows.append([*setting, "ours, 1 thread", *judged, "", "", ""])
    if rows:
        print()
        header = ["case", "loss", "threads", "compared with", "time over ours", "target", ""]
        harness.print_table([*header, "our precision@10", "theirs", "ours is"], rows)


def _judged(ratio: dict[str, float], target: float | None) -> tuple[str, str, str]:
    reached = "" if target is None else "reached" if ratio["median"] >= target else "MISSED"
    return harness.ratio_text(ratio), "" if target is None else f"{target:g}", reached


if __name__ == "__main__":
    main()
