"""Peak memory of fit against the memory of interactions and parameters.

Interactions count with the bytes of the COO arrays given (12 each: row, column, value). Parameters count with the bytes
of the model's state arrays: embeddings, biases and their accumulators. Feature matrices do not count. "Beyond the data"
is the memory that fit adds to a process that holds the data; "in all" includes the data.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import groupby, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness

# Peak over the memory of interactions and parameters.
TARGET = 1.5


@dataclass(frozen=True)
class Data:
    """Sizes of generated interactions, sorted by user and item or, if ``shuffled``, in random order as in a log."""

    users: int
    items: int
    interactions: int
    shuffled: bool = False


@dataclass(frozen=True)
class Case:
    """A model to fit to the data, with or without tags and user columns."""

    name: str
    data: Data
    features: bool = False
    loss: str = "warp"
    learning_schedule: str = "adagrad"
    no_components: int = 64


_SMALL = Data(6_000, 3_700, 900_000)
_LARGE = Data(138_000, 27_000, 18_000_000)

CASES = (
    Case("0.9m", _SMALL),
    Case("0.9m-features", _SMALL, features=True),
    Case("5m", replace(_LARGE, interactions=5_000_000)),
    Case("18m", _LARGE),
    Case("18m-logistic", _LARGE, loss="logistic"),
    Case("18m-adadelta", _LARGE, learning_schedule="adadelta"),
    Case("18m-features", _LARGE, features=True),
    Case("18m-d10", _LARGE, no_components=10),
    Case("18m-shuffled", replace(_LARGE, shuffled=True)),
    Case("many-parameters", Data(400_000, 100_000, 2_000_000)),
)


def main(arguments: list[str] | None = None) -> None:
    parser = harness.argument_parser(__doc__, seeds=False)
    known = {case.name: case for case in CASES}
    parser.add_argument("--cases", type=harness.choices_of(known), default=list(known), help="as 0.9m,18m")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args(arguments)
    machine = harness.machine()
    harness.print_machine(machine)
    results = []
    for data, cases in groupby((known[name] for name in options.cases), key=lambda case: case.data):
        with TemporaryDirectory() as folder:
            # Each fit has its own process: making the data, or another fit, would raise the peak.
            _in_new_process("generate", folder, data=asdict(data))
            for case, threads in product(cases, options.threads):
                measured = _in_new_process("fit", folder, case=asdict(case), threads=threads, epochs=options.epochs)
                results.append({"case": case.name, "threads": threads, **judge(measured)})
                print(f"measured: {case.name}, {threads} thread(s)")
    _report(results)
    harness.save(options.json, machine, options, results)


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
        [sys.executable, "-m", "benchmarks.memory", "--in-this-process", action, folder, json.dumps(arguments)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(process.stdout)


def generate(folder: Path, data: Data) -> None:
    """Write interactions and features to ``folder``."""
    from lightfm_fast.datasets import make_interactions

    # The smallest test set: nothing is measured on it.
    made = make_interactions(data.users, data.items, data.interactions, test_fraction=1e-9)
    columns = {name: getattr(made["train"], name) for name in ("row", "col", "data")}
    order = np.random.default_rng(0).permutation(made["train"].nnz) if data.shuffled else slice(None)
    for name, values in columns.items():
        np.save(folder / name, values[order])
    for side in ("user_features", "item_features"):
        sp.save_npz(folder / side, made[side], compressed=False)


def read(folder: Path, case: Case) -> tuple[sp.coo_matrix, dict[str, sp.csr_matrix]]:
    """Read interactions and the features of the case without temporary copies."""
    row, col, values = (np.load(folder / f"{name}.npy") for name in ("row", "col", "data"))
    interactions = sp.coo_matrix((values, (row, col)), shape=(case.data.users, case.data.items), copy=False)
    sides = ("user_features", "item_features") if case.features else ()
    return interactions, {side: sp.load_npz(folder / f"{side}.npz") for side in sides}


def fit(folder: Path, case: Case, threads: int, epochs: int) -> dict[str, int]:
    """Return the bytes in memory before fit and at its peak, and the bytes of interactions and parameters."""
    from lightfm_fast import LightFM

    interactions, features = read(folder, case)
    model = LightFM(
        no_components=case.no_components, loss=case.loss, learning_schedule=case.learning_schedule, random_state=0
    )
    before = resident_bytes()
    model.fit(interactions, epochs=epochs, num_threads=threads, **features)
    peak = peak_bytes()
    cells = interactions.row, interactions.col, interactions.data
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
    """Return the bytes of this process in memory now, or their peak if the system reports no present value."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_bytes()
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_bytes() -> int:
    """Return the peak bytes of this process in memory."""
    try:  # getrusage would count the parent's memory at the time of the fork
        status = Path("/proc/self/status").read_text()
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        import resource  # not on Windows

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


def _run_in_this_process(action: str, folder: str, arguments: str) -> None:
    given = json.loads(arguments)
    if action == "generate":
        result: Any = generate(Path(folder), Data(**given["data"]))
    else:
        case = Case(**{**given["case"], "data": Data(**given["case"]["data"])})
        result = fit(Path(folder), case, given["threads"], given["epochs"])
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in-this-process"]:
        _run_in_this_process(*sys.argv[2:])
    else:
        main()
