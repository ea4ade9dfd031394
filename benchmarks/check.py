"""Check in minutes that training has kept its recorded speed and precision against LightFM.

Ratios of two libraries timed by turns vary less than seconds, but depend on the processor, the build level and other
work on the machine. The check reports a processor or build level that differs from the record. A case that lost speed
or precision is measured again, and fails if it lost twice.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness, train
from benchmarks.cases import CASES, Case, quick

RECORD = Path("benchmarks", "results", "baseline.json")  # benchmarks are run in the root of the repository
CHECKED = ("identity", "tags", "tags-users", "identity-adadelta")
# Case, loss and thread count; then the figures compared: LightFM's time over ours, for an epoch and until its precision
# after some epochs, which is 0 if we did not reach it, and our precision over LightFM's.
Key = tuple[str, str, int]
Values = dict[str, float]
SPEED, QUALITY = "LightFM's time over ours", "our precision over LightFM's"


def main(arguments: list[str] | None = None) -> int:
    parser = harness.argument_parser(__doc__, seeds=False)
    known = [case.name for case in CASES]
    parser.add_argument("--cases", type=harness.choices_of(known), default=list(CHECKED), help="as identity,tags")
    parser.add_argument("--record", action="store_true", help="measure, and make that the record")
    parser.add_argument("--against", type=Path, default=RECORD, help="the record to compare with, or to write")
    parser.add_argument("--tolerance", type=float, default=0.25, help="share of a ratio that may be lost")
    options = parser.parse_args(arguments)
    if not 0 < options.tolerance < 1:
        parser.error("--tolerance must be between 0 and 1")
    if not options.record and not options.against.exists():
        parser.error(f"{options.against} does not exist: write it with --record")
    libraries = train.import_libraries()
    libraries.pop("implicit", None)
    if "lightfm" not in libraries:
        raise SystemExit("nothing to compare with: install lightfm-next")
    machine = harness.machine(["lightfm"])
    harness.print_machine(machine)

    cases = [quick(case) for case in CASES if case.name in options.cases]
    results = _measure(cases, libraries, options.threads)
    if options.record:
        harness.save(options.against, machine, options, results)
        return 0
    record = json.loads(options.against.read_text())
    for name in _differences(record["machine"], machine):
        print(f"{name} is another than in the record: ratios may differ for no other reason")
    recorded, fresh = values_of(record["results"]), values_of(results)
    if suspects := fallen(recorded, fresh, options.tolerance):
        print(f"\n{len(suspects)} of {len(fresh)} seem to have fallen: once more")
        again = [
            replace(case, losses=losses)
            for case in cases
            if (losses := [loss for loss in case.losses if any(key[:2] == (case.name, loss) for key in suspects)])
        ]
        second = values_of(_measure(again, libraries, options.threads))
        for key in suspects:
            fresh[key] = {name: max(value, second[key][name]) for name, value in fresh[key].items()}
    return _report(recorded, fresh, options.tolerance, machine, options, results)


def _measure(cases: Sequence[Case], libraries: dict[str, Any], threads: Sequence[int]) -> list[dict[str, Any]]:
    return [result for case in cases for result in train.measure(case, libraries, threads, evaluated_users=1000)]


def values_of(results: Sequence[Mapping[str, Any]]) -> dict[Key, Values]:
    """Return the compared figures from the results of ``benchmarks.train``."""
    values = {}
    for result in results:
        ours, peer = result["sides"][train.OURS], result["sides"]["lightfm"]
        quality = np.mean(ours["precision@10"]) / np.mean(peer["precision@10"])
        key = (result["case"], result["loss"], result["threads"])
        goals = peer.get("time to its precision over ours", {})  # which older records lack
        values[key] = {
            f"{SPEED}, to its precision after {epochs}": 0.0 if ratio is None else ratio
            for epochs, ratio in goals.items()
        }
        values[key] |= {SPEED: peer["time over ours"]["median"], QUALITY: float(quality)}
    return values


def fallen(recorded: Mapping[Key, Values], fresh: Mapping[Key, Values], tolerance: float) -> list[Key]:
    """Return the recorded cases of which a figure is lower than the record by more than the tolerance."""
    return [
        key
        for key, values in fresh.items()
        if any(value < (1 - tolerance) * recorded.get(key, {}).get(name, 0) for name, value in values.items())
    ]


def _differences(recorded: Mapping[str, Any], fresh: Mapping[str, Any]) -> list[str]:
    names = [name for name in ("processor", "usable cores", "peers") if recorded[name] != fresh[name]]
    return names + ["build level"] * (recorded["build"]["level"] != fresh["build"]["level"])


def _report(
    recorded: Mapping[Key, Values],
    fresh: Mapping[Key, Values],
    tolerance: float,
    machine: Mapping[str, Any],
    options: Any,
    results: Sequence[Any],
) -> int:
    fell = fallen(recorded, fresh, tolerance)
    rows = []
    for key, values in fresh.items():
        for name, value in values.items():
            before = recorded.get(key, {}).get(name)
            change = "not recorded" if before is None else f"{value / before - 1:+.0%}"
            verdict = "FELL" if before is not None and value < (1 - tolerance) * before else ""
            text = "" if before is None else f"{before:.2f}"
            rows.append([*map(str, key), name, text, f"{value:.2f}", change, verdict])
    print()
    harness.print_table(["case", "loss", "threads", "figure", "recorded", "now", "change", ""], rows)
    print(f"{len(fell)} of {len(fresh)} fell by more than {tolerance:.0%}")
    harness.save(options.json, machine, options, results)
    return 1 if fell else 0


if __name__ == "__main__":
    sys.exit(main())
