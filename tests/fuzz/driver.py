"""Run scenarios in worker processes. If a scenario kills or blocks its process, it fails and the others go on."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import resource
import signal
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

SECONDS = 20.0
MEMORY = 6 << 30  # bytes of address space, beyond which Python raises MemoryError


class Scenario(NamedTuple):
    kind: str
    seed: int

    def command(self) -> str:
        return f"python -m tests.fuzz --only {self.kind} --seed {self.seed} --scenarios 1"


class Failure(NamedTuple):
    scenario: Scenario
    detail: str

    @property
    def kind(self) -> str:
        return self.detail.partition(":")[0]


def serve(connection: Connection, log: str) -> None:
    """Run the scenarios that the driver sends, one at a time, in a process that leads a new group."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from . import scenarios

    connection.send(None)
    while True:
        kind, seed = connection.recv()
        faulthandler.dump_traceback_later(SECONDS - 1)
        try:
            failures = scenarios.run(kind, seed)
        except BaseException:
            failures = [f"error in the scenario: {traceback.format_exc()}"]
        faulthandler.cancel_dump_traceback_later()
        connection.send(failures)


class Worker:
    """A process, restarted after each scenario that it does not survive."""

    def __init__(self) -> None:
        # Waiting threads must not spin, since workers share the cores.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        descriptor, log = tempfile.mkstemp(suffix=".log")
        os.close(descriptor)
        self._log = Path(log)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, str(self._log)), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # imports may take longer than a scenario

    def run(self, scenario: Scenario) -> list[Failure]:
        self._log.write_text("")
        self._connection.send(tuple(scenario))
        if not self._connection.poll(SECONDS):
            return [self._restart(scenario, f"hang: over {SECONDS:.0f} s")]
        try:
            return [Failure(scenario, detail) for detail in self._connection.recv()]
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return [self._restart(scenario, f"crash: {name}")]

    def _restart(self, scenario: Scenario, what: str) -> Failure:
        self._kill()
        detail = "\n".join([what, *self._log.read_text(errors="replace").splitlines()[:20]])
        self._start()
        return Failure(scenario, detail)

    def _kill(self) -> None:
        """Kill the process and the processes that it forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.join()

    def close(self) -> None:
        self._kill()
        self._log.unlink()


def run(scenarios: Iterable[Scenario], n_workers: int, minutes: float | None, report: object) -> Counter[str]:
    """Run scenarios until all are done or time is over. Report each failure, and count both by kind."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()
    end = None if minutes is None else time.monotonic() + 60 * minutes
    source: Iterator[Scenario] = iter(scenarios)

    def work() -> None:
        worker = Worker()
        try:
            while end is None or time.monotonic() < end:
                with lock:
                    scenario = next(source, None)
                if scenario is None:
                    return
                failures = worker.run(scenario)
                with lock:
                    counts["scenarios"] += 1
                    counts[f"of {scenario.kind}"] += 1
                    counts["scenarios that failed"] += bool(failures)
                    for failure in failures:
                        counts[failure.kind] += 1
                        report(failure)  # type: ignore[operator]
        finally:
            worker.close()

    threads = [threading.Thread(target=work) for _ in range(n_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts
