"""Time making a dataset from a frame with ids of text, against LightFM's Dataset on the same rows.

LightFM gets its fastest input: fit takes the distinct ids that the frame's library finds, and build_interactions takes
the two columns as lists of str. The time to make the lists counts. Peak memory is measured in a separate process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.memory import peak_bytes, resident_bytes

FRAMES = ("pyarrow", "polars", "pandas", "pandas-object")
IDS = {
    "short": lambda side, numbers: [f"{side}-{number}" for number in numbers],
    "uuid": lambda side, numbers: [
        f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for number in numbers
    ],
}


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    lightfm_data = harness.import_peer("lightfm.data")
    machine = harness.machine([] if lightfm_data is None else ["lightfm"])
    harness.print_machine(machine)
    with TemporaryDirectory() as folder:
        path = Path(folder, "interactions.arrow")
        _write(path, options)
        print(f"{options.rows:,} rows, {options.users:,} users, {options.items:,} items, {options.ids} ids")
        results = [_compare(path, kind, lightfm_data, options) for kind in options.frames]
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--ids", choices=list(IDS), default="short", help="user-123456, or 32 hexadecimal digits")
    parser.add_argument("--frames", type=harness.choices_of(FRAMES), default=list(FRAMES), help="as pyarrow,polars")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="save the results here, as benchmarks/results/NAME.json")
    return parser.parse_args(arguments)


def _write(path: Path, options: argparse.Namespace) -> None:
    """Write a log in random order, as one chunk; some users and items occur far more often than others."""
    import pyarrow
    from pyarrow import feather

    rng = np.random.default_rng(0)
    columns = {}
    for side, n_ids, skew in (("user", options.users, 2), ("item", options.items, 3)):
        ids = pyarrow.array(IDS[options.ids](side, map(int, rng.permutation(n_ids))))
        columns[f"{side}_id"] = ids.take(pyarrow.array((rng.random(options.rows) ** skew * n_ids).astype(np.int64)))
    feather.write_feather(pyarrow.table(columns), path, compression="uncompressed", chunksize=options.rows)


def read(path: Path, kind: str) -> Any:
    """Read the log as a frame of the named library."""
    from pyarrow import feather

    table = feather.read_table(path, memory_map=False)
    if kind == "pyarrow":
        return table
    if kind == "polars":
        import polars

        return polars.from_arrow(table)
    frame = table.to_pandas()
    return frame.astype(object) if kind == "pandas-object" else frame


def of_lightfm(data: Any, frame: Any) -> Any:
    """Return LightFM's dataset and its two matrices."""
    users, items = frame["user_id"], frame["item_id"]
    dataset = data.Dataset()
    dataset.fit(_as_list(users.unique()), _as_list(items.unique()))
    return dataset, *dataset.build_interactions(zip(_as_list(users), _as_list(items), strict=True))


def _as_list(values: Any) -> list[str]:
    method = next(name for name in ("to_pylist", "to_list", "tolist") if hasattr(values, name))
    return getattr(values, method)()


def of_ours(frame: Any) -> Any:
    from lightfm_fast.data import Dataset

    dataset = Dataset.from_tables(frame)
    return dataset, dataset.interactions, dataset.weights


def _compare(path: Path, kind: str, lightfm_data: Any, options: argparse.Namespace) -> dict[str, Any]:
    from lightfm_fast.data.frames import read_columns
    from lightfm_fast.data.numbering import factorize

    frame = read(path, kind)
    columns = list(read_columns(frame, "interactions", ["user_id", "item_id"]).values())
    made: dict[str, Any] = {}

    def in_two_threads(work: Callable[[Any], object]) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, columns))

    sides: dict[str, Callable[[], object]] = {
        "lightfm_fast": lambda: made.update(ours=of_ours(frame)),
        "of which numbering ids": lambda: in_two_threads(factorize),
    }
    if kind == "pyarrow":
        sides["pyarrow's dictionary_encode"] = lambda: in_two_threads(
            lambda column: column.to_native().dictionary_encode()
        )
    of_ours(frame)  # loads modules before the timing
    if lightfm_data is not None:
        sides["LightFM"] = lambda: made.update(theirs=of_lightfm(lightfm_data, frame))
    seconds = harness.alternate(sides, options.rounds)
    result: dict[str, Any] = {"frame": kind, "seconds": seconds}
    if "LightFM" in sides:
        result["time over ours"] = harness.paired_ratio(seconds["lightfm_fast"], seconds["LightFM"])
        result["same interactions"] = _same(made["ours"], made["theirs"])
    compared = {"lightfm_fast": "ours", "LightFM": "theirs"}
    result["peak bytes beyond the table"] = {
        name: _in_new_process(path, kind, side) for name, side in compared.items() if name in sides
    }
    _report(result)
    return result


def _same(ours: Any, theirs: Any) -> bool:
    """Return whether both have the same pairs equally often, after mapping the peer's rows and columns to ours."""
    dataset, _, weights = ours
    other, _, other_weights = theirs
    rows, columns = (
        np.fromiter(map(known.__getitem__, numbers), np.int32, len(numbers))
        for known, numbers in ((dataset.mapping()[0], other.mapping()[0]), (dataset.mapping()[2], other.mapping()[2]))
    )
    renumbered = other_weights.copy()
    renumbered.row, renumbered.col = rows[other_weights.row], columns[other_weights.col]
    difference = weights.tocsr() - renumbered.tocsr()
    return bool(difference.count_nonzero() == 0)


def _in_new_process(path: Path, kind: str, side: str) -> int:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.tables", "--peak", str(path), kind, side],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(json.loads(process.stdout))


def measure_peak(path: Path, kind: str, side: str) -> int:
    """Return the peak bytes that making the dataset adds to a process that holds the frame."""
    frame = read(path, kind)
    lightfm_data = harness.import_peer("lightfm.data") if side == "theirs" else None
    from lightfm_fast.data import Dataset

    Dataset.from_tables({"user_id": ["a"], "item_id": ["b"]})  # loads modules, which must not count
    with suppress(OSError):  # not on Linux
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak, which reading the table may have raised
    before = resident_bytes()
    made = of_ours(frame) if side == "ours" else of_lightfm(lightfm_data, frame)
    assert made
    return peak_bytes() - before


def _report(result: dict[str, Any]) -> None:
    print(f"\n{result['frame']}")
    peaks = result["peak bytes beyond the table"]
    rows = [
        [
            name,
            f"{np.median(seconds):.3f} ({min(seconds):.3f}-{max(seconds):.3f})",
            f"{peaks[name] / 2**20:,.0f}" if name in peaks else "",
            harness.ratio_text(result["time over ours"]) if name == "LightFM" else "",
        ]
        for name, seconds in result["seconds"].items()
    ]
    harness.print_table(["", "seconds", "peak MiB beyond the table", "time over ours"], rows)
    if "same interactions" in result:
        print("same interactions" if result["same interactions"] else "DIFFERENT INTERACTIONS")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print(measure_peak(Path(sys.argv[2]), *sys.argv[3:]))
    else:
        main()
