"""Load on the service: requests a second, their times and the memory, at several sizes of the catalogue.

One client process keeps connections open and asks for random users as soon as it is answered. The model has random
parameters, since only its size matters here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness

N_USERS, N_SEEN = 10_000, 30


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    machine = harness.machine(["fastapi", "uvicorn"])
    harness.print_machine(machine)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for n_items in options.catalogues:
            _save_model(folder, n_items, options.no_components)
            for indexed in (False, True) if n_items >= options.indexed_from else (False,):
                for workers in options.workers:
                    row = _measure(folder, indexed, workers, options)
                    results.append({"items": n_items, "index": indexed, "workers": workers, **row})
                    print(results[-1], flush=True)
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    parser.add_argument("--catalogues", type=harness.positive_integers, default=[41_000, 1_000_000])
    parser.add_argument("--indexed-from", type=int, default=1_000_000, help="items from which an index is served too")
    parser.add_argument("--workers", type=harness.positive_integers, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=60, help="of load in each case; 600 shows that memory is flat")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--no-components", type=int, default=64)
    return parser.parse_args(arguments)


def _save_model(folder: str, n_items: int, no_components: int) -> None:
    from lightfm_fast import LightFM, Recommender
    from lightfm_fast.data import Dataset

    rng = np.random.default_rng(0)
    cells = np.repeat(np.arange(N_USERS), N_SEEN), rng.integers(n_items, size=N_USERS * N_SEEN)
    dataset = Dataset()
    dataset.fit([f"user-{row}" for row in range(N_USERS)], [f"item-{row}" for row in range(n_items)])
    dataset.interactions = sp.coo_matrix((np.ones(len(cells[0]), dtype=np.float32), cells), shape=(N_USERS, n_items))
    model = LightFM(no_components, random_state=0)
    model.fit_partial(dataset.interactions, epochs=0)
    Recommender(model, dataset).save(Path(folder, "model"), optimizer_state=False)
    LightFM.load(Path(folder, "model")).index().save(Path(folder, "index"))


def _measure(folder: str, indexed: bool, workers: int, options: argparse.Namespace) -> dict[str, Any]:
    with _service(folder, indexed, workers) as (process, port):
        asyncio.run(_ask(port, min(5.0, options.seconds), options.connections))
        milliseconds: list[float] = []
        failed = 0
        mebibytes = [_memory(process.pid)]
        for _ in range(2):  # to see whether memory grows with the requests, or settles
            taken, refused = asyncio.run(_ask(port, options.seconds / 2, options.connections))
            milliseconds += taken
            failed += refused
            mebibytes.append(_memory(process.pid))
    p50, p99 = (float(value) for value in np.quantile(milliseconds, [0.5, 0.99]))
    return {
        "requests a second": len(milliseconds) / options.seconds,
        "p50 ms": p50,
        "p99 ms": p99,
        "failed": failed,
        "MiB before": mebibytes[0],
        "MiB halfway": mebibytes[1],
        "MiB after": mebibytes[2],
    }


@contextlib.contextmanager
def _service(folder: str, indexed: bool, workers: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "lightfm_fast", "serve", f"{folder}/model", "--port", "0"]
    command += ["--workers", str(workers), *(["--index", f"{folder}/index"] if indexed else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"running on http://\S+:(\d+)", line):
                break
        else:
            raise SystemExit("the service did not start")
        try:
            yield process, int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)


async def _ask(port: int, seconds: float, connections: int) -> tuple[list[float], int]:
    """Return the milliseconds of all requests, and how many failed."""
    milliseconds: list[float] = []
    failed, end = 0, time.perf_counter() + seconds

    async def ask(number: int) -> None:
        nonlocal failed
        rng = np.random.default_rng(number)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (started := time.perf_counter()) < end:
            user = rng.integers(N_USERS)
            writer.write(f"GET /users/user-{user}/recommendations?n=10 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
            milliseconds.append(1e3 * (time.perf_counter() - started))
            failed += not head.startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(ask(number) for number in range(connections)))
    return milliseconds, failed


def _memory(process: int) -> float:
    """Return the MiB of a process and its workers, shared memory counted once; 0 where the system does not tell."""
    total = 0
    children = Path(f"/proc/{process}/task/{process}/children")
    if not children.exists():
        return 0.0
    for one in (str(process), *children.read_text().split()):
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE)
        total += int(found[1]) if found else 0
    return total / 1024


if __name__ == "__main__":
    main()
