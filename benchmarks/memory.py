"""Peak memory of fit against the memory of what goes in and of what comes out.

Interactions count with the bytes of the COO arrays given (12 each: row, column, value), parameters with the bytes of
the state arrays that the fitted model shows: embeddings, biases and their accumulators. Feature matrices do not count.
"Beyond the data" is what fit adds to a process that holds the data already; "in all" includes the data.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness
from benchmarks.harness import Problem

# Peak over the memory of interactions and parameters.
TARGET = 1.25


@dataclass(frozen=True)
class Case:
    """Sizes of generated data and a model; the fields up to ``test_fraction`` are what ``harness.load`` reads."""

    name: str
    users: int
    items: int
    interactions: int
    features: str = "none"
    data: str = "generated"
    tags: int = 50
    tags_per_item: int = 8
    test_fraction: float = 1e-9  # nothing is measured on it
    shuffled: bool = False  # entries in any order, as from a log, not by user and item
    loss: str = "warp"
    learning_schedule: str = "adagrad"
    no_components: int = 64


_LARGE = Case("18M", 138_000, 27_000, 18_000_000)

CASES = (
    Case("0.9M", 6_000, 3_700, 900_000),
    Case("0.9M, tags and user columns", 6_000, 3_700, 900_000, features="tags+users"),
    Case("5M", 138_000, 27_000, 5_000_000),
    _LARGE,
    replace(_LARGE, name="18M, shuffled", shuffled=True),
    replace(_LARGE, name="18M, logistic", loss="logistic"),
    replace(_LARGE, name="18M, adadelta", learning_schedule="adadelta"),
    replace(_LARGE, name="18M, tags and user columns", features="tags+users"),
    Case("mostly parameters", 400_000, 100_000, 2_000_000),
)


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    results = []
    for case in CASES:
        case = replace(
            case,
            users=max(1, round(case.users * options.scale)),
            items=max(case.tags, round(case.items * options.scale)),
            interactions=max(1, round(case.interactions * options.scale)),
        )
        with tempfile.TemporaryDirectory() as folder:
            # Each in a process of its own: neither making the data nor another fit must have raised the peak.
            _in_new_process("generate", folder, case=asdict(case))
            for threads in options.threads:
                measured = _in_new_process("fit", folder, case=asdict(case), threads=threads, epochs=options.epochs)
                results.append({"case": case.name, "threads": threads, **judge(measured)})
        print(f"measured: {case.name}")
    _report(results)
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of users, items and interactions")
    return parser.parse_args(arguments)


def judge(measured: Mapping[str, int]) -> dict[str, Any]:
    """Add the two ratios to the bytes that :func:`fit` measured."""
    needed = measured["interactions"] + measured["parameters"]
    beyond = measured["peak"] - measured["before fit"]
    return {
        "bytes": dict(measured),
        "beyond the data": beyond / needed,
        "in all": (beyond + measured["interactions"]) / needed,
        "target": TARGET,
    }


def _in_new_process(action: str, folder: str, **arguments: Any) -> Any:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", f"--{action}", folder, json.dumps(arguments)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(process.stdout)


def generate(folder: Path, case: Case) -> None:
    """Write the data of a case to ``folder``."""
    problem = harness.load(case)
    row, col, data = problem.train.row, problem.train.col, problem.train.data
    if case.shuffled:
        order = np.random.default_rng(0).permutation(len(data))
        row, col, data = row[order], col[order], data[order]
    for name, array in (("row", row), ("col", col), ("data", data)):
        np.save(folder / name, array)
    for side in ("user_features", "item_features"):
        if (features := getattr(problem, side)) is not None:
            sp.save_npz(folder / side, features, compressed=False)


def read(folder: Path, case: Case) -> Problem:
    """Read it again, in no more memory than it takes."""
    row, col, data = (np.load(folder / f"{name}.npy") for name in ("row", "col", "data"))
    train = sp.coo_matrix((data, (row, col)), shape=(case.users, case.items), copy=False)
    features = {
        side: sp.load_npz(path)
        for side in ("user_features", "item_features")
        if (path := folder / f"{side}.npz").exists()
    }
    return Problem(case.name, train, sp.csr_matrix(train.shape), **features)


def fit(folder: Path, case: Case, threads: int, epochs: int) -> dict[str, int]:
    """Bytes before fit and at its peak, of the interactions given and of the parameters learnt."""
    from lightfm_fast import LightFM

    problem = read(folder, case)
    features = {"user_features": problem.user_features, "item_features": problem.item_features}
    model = LightFM(
        no_components=case.no_components, loss=case.loss, learning_schedule=case.learning_schedule, random_state=0
    )
    before = resident_bytes()
    model.fit(problem.train, epochs=epochs, num_threads=threads, **features)
    peak = peak_bytes()
    cells = problem.train.row, problem.train.col, problem.train.data
    parts = ["embeddings", "embedding_gradients", "biases", "bias_gradients"]
    if case.learning_schedule == "adadelta":
        parts += ["embedding_momentum", "bias_momentum"]
    state = [getattr(model, f"{side}_{part}") for side in ("user", "item") for part in parts]
    return {
        "before fit": before,
        "peak": peak,
        "interactions": sum(array.nbytes for array in cells),
        "parameters": sum(array.nbytes for array in state),
    }


def resident_bytes() -> int:
    """Bytes of this process that are in memory now or, where the system does not tell, were at the most."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_bytes()
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Most bytes of this process that were in memory at once."""
    try:  # getrusage would count the parent's memory at the time of the fork
        status = Path("/proc/self/status").read_text()
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def _report(results: list[dict[str, Any]]) -> None:
    def megabytes(number: int) -> str:
        return f"{number / 2**20:,.1f}"

    rows = []
    for result in results:
        size = result["bytes"]
        rows.append(
            [
                result["case"],
                str(result["threads"]),
                megabytes(size["interactions"]),
                megabytes(size["parameters"]),
                megabytes(size["peak"] - size["before fit"]),
                *(_judged(result[name]) for name in ("beyond the data", "in all")),
            ]
        )
    print(f"\nMiB; ratios to interactions + parameters, target: at most {TARGET}")
    harness.print_table(
        ["case", "threads", "interactions", "parameters", "fit adds", "beyond the data", "in all"], rows
    )


def _judged(ratio: float) -> str:
    return f"{ratio:.2f} {'reached' if ratio <= TARGET else 'MISSED'}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--generate"]:
        given = json.loads(sys.argv[3])
        generate(Path(sys.argv[2]), Case(**given["case"]))
        print("null")
    elif sys.argv[1:2] == ["--fit"]:
        given = json.loads(sys.argv[3])
        print(json.dumps(fit(Path(sys.argv[2]), Case(**given.pop("case")), **given)))
    else:
        main()
