"""Who runs the tasks of a round: this process, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import queue
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .run import forget
from .storage import ATTEMPTS, attempt

__all__: list[str] = []

_CLOSED = ("closing", "closed")  # statuses of a client


class Serial:
    """Runs tasks in this process, one after another."""

    def run(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a function with each tuple of arguments, and return the results in order."""
        return [attempt(function, *call) for call in calls]

    def release(self) -> None:
        """Forget what tasks keep in memory for the next ones."""
        forget()


class Cluster:
    """Runs tasks on the workers of a Dask cluster, each as one task without dependencies.

    A task may run more than once: after an OSError; on another worker, if its own was lost; or, with a ``timeout``, if
    no task has returned for so long. So tasks must write the same files whenever they run.

    Parameters
    ----------
    client : distributed.Client
    timeout : float or None
        In seconds.

    Raises
    ------
    ValueError
        If the client is closed.
    """

    def __init__(self, client: Any, timeout: float | None) -> None:
        if client.status in _CLOSED:
            raise ValueError("the client is closed: connect another, and give it by set_params(client=...)")
        self._client, self._timeout = client, timeout
        self._avoided: set[str] = set()  # workers that did not return

    def run(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a function with each tuple of arguments, and return the results in order.

        Raises
        ------
        TimeoutError
            If tasks did not return in time, and no other worker is left.
        Exception
            That of a task; an OSError only after several attempts.
        """
        if not calls:  # which Dask refuses to map
            return []
        futures: dict[int, Any] = {}
        ended: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        failures: Counter[int] = Counter()

        def submit(numbers: Sequence[int]) -> None:
            workers = sorted(self._workers() - self._avoided) if self._avoided else None
            columns = zip(*(calls[number] for number in numbers), strict=True)
            for number, future in zip(
                numbers, self._client.map(function, *columns, pure=False, workers=workers), strict=True
            ):
                futures[number] = future
                future.add_done_callback(lambda future, number=number: ended.put((number, future)))

        try:
            submit(range(len(calls)))
            waiting = set(range(len(calls)))
            while waiting:
                try:
                    number, future = ended.get(timeout=self._timeout)
                except queue.Empty:
                    self._avoid([futures[number] for number in waiting])
                    submit(sorted(waiting))
                    continue
                if future is not futures[number]:  # another attempt has taken its place
                    continue
                if future.status == "finished":
                    waiting.discard(number)
                    continue
                error = future.exception() if future.status == "error" else RuntimeError(f"a task was {future.status}")
                failures[number] += 1
                if not isinstance(error, OSError) or failures[number] == ATTEMPTS:
                    raise error
                submit([number])
            return list(self._client.gather([futures[number] for number in range(len(calls))]))
        finally:
            self._client.cancel(list(futures.values()))

    def release(self) -> None:
        """Forget what tasks keep in the workers' memory for the next ones. A cluster that is gone keeps nothing."""
        if self._client.status not in _CLOSED:
            with contextlib.suppress(OSError):  # the scheduler is gone
                self._client.run(forget, workers=sorted(self._workers() - self._avoided), on_error="ignore")

    def _workers(self) -> set[str]:
        return set(self._client.nthreads())

    def _avoid(self, futures: Sequence[Any]) -> None:
        """Cancel tasks that do not return, and give their workers no more.

        Raises
        ------
        TimeoutError
            If no other worker is left.
        """
        keys = {future.key for future in futures}
        running = {worker for worker, tasks in self._client.processing().items() if keys.intersection(tasks)}
        self._avoided |= running
        if not self._workers() - self._avoided:
            raise TimeoutError(
                f"no task has returned for {self._timeout} seconds, on {len(running)} workers, and no other worker is "
                "left: give a longer timeout than a round takes, or look at the workers"
            )
        self._client.cancel(futures)
