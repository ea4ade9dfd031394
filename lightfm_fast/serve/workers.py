"""The processes: one loads the model and forks workers, which share its memory and the listening socket.

A reload forks workers of the new model, waits until they answer, and then lets the old ones finish. A connection waits
in the socket's queue meanwhile, so that no request is dropped. A model that does not load leaves the old one in place.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import _exit
from typing import Any

from .._arguments import check_count, import_optional
from .._files import file_version
from ..data import Dataset
from ..recommender import Recommender
from . import limits

SECONDS_TO_DRAIN = limits.SECONDS_TO_SEND + limits.SECONDS_BETWEEN + 1  # after which no idle connection is left
QUEUE = 2048  # connections that wait to be accepted


@dataclass(frozen=True)
class Service:
    """A model to serve, its files and its address.

    Attributes
    ----------
    model : path
        A file of :meth:`lightfm_fast.Recommender.save`, or of :meth:`lightfm_fast.LightFM.save` with its dataset.
    index : path, optional
        A file of :meth:`lightfm_fast.index.ItemIndex.save`, searched for known users and newcomers.
    read_seen : callable, optional
        Takes the model's dataset and returns the matrix of seen items. By default the model's file has this matrix.
    filter_seen : bool
        Leave out the items that known users have seen.
    host, port : str, int
        Port 0 takes any that is free.
    workers : int
    watch : float, optional
        Seconds between two looks at the files, to reload them when they are replaced.
    """

    model: str
    index: str | None = None
    read_seen: Callable[[Dataset], Any] | None = None
    filter_seen: bool = True
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    watch: float | None = None

    def load(self) -> Recommender:
        """Load the model, its index and what users have seen.

        Raises
        ------
        ValueError, OSError
            As :meth:`lightfm_fast.Recommender.load` and :meth:`lightfm_fast.LightFM.load_index`; also ValueError if
            seen items are to be left out but are not known.
        """
        recommender = Recommender.load(self.model, mmap=True)
        if self.read_seen is not None:
            recommender.dataset.interactions = self.read_seen(recommender.dataset)
        if self.filter_seen and recommender.dataset.interactions is None:
            raise ValueError(
                f"{self.model} was saved without what users have seen: give past interactions by --seen, or "
                "recommend seen items too by --recommend-seen"
            )
        if self.index is not None:
            recommender.load_index(self.index)
        return recommender

    def versions(self) -> tuple[Any, ...]:
        """Return what changes when a file is replaced."""
        return tuple(None if path is None else file_version(path) for path in (self.model, self.index))


def run(service: Service) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads the files.

    Where processes cannot fork (Windows), one process serves and does not reload.

    Raises
    ------
    ImportError
        If a library of the extra ``serve`` is not installed.
    ValueError, OSError
        If a file does not load, or the port is taken.
    """
    check_count(service.workers, "workers")
    for module in ("fastapi", "uvicorn"):
        import_optional(module, "serve", "The service")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lightfm-fast-metrics-"))
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read when prometheus_client is imported
        import_optional("prometheus_client", "serve", "The service")
        can_fork = hasattr(os, "fork")
        if not can_fork and (service.workers > 1 or service.watch is not None):
            raise ValueError("this system cannot fork processes: serve with one worker, and restart it to reload")
        versions = service.versions()
        app = _make_app(service)
        sock = stack.enter_context(_listen(service.host, service.port))
        host, port = sock.getsockname()[:2]

        def tell() -> None:
            _say(f"running on http://{host}:{port}")

        if can_fork:
            _Supervisor(service, sock, app, versions).run(tell)
        else:
            _serve(app, sock, tell, None)


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket. Connections inherit that they send at once.

    asyncio sets this only on sockets that were made for TCP by name. Without it the end of an answer waits until the
    client has acknowledged the beginning, which clients put off by 40 ms.
    """
    try:
        sock = socket.create_server((host, port), backlog=QUEUE)
    except OSError as error:
        advice = "give an address of this machine by --host, and a port that this user may take by --port"
        if error.errno == errno.EADDRINUSE:
            advice = "stop the process that listens there, or give another --port, of which 0 is one that is free"
        reason = (error.strerror or str(error)).partition(" (while ")[0]
        raise OSError(f"cannot listen at {host}:{port}, {reason[:1].lower()}{reason[1:]}: {advice}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _make_app(service: Service) -> Any:
    from . import app, metrics

    made = app.create_app(service.load(), service.filter_seen)
    metrics.LOADED.set_to_current_time()
    return made


def _say(text: str) -> None:
    print(f"lightfm-fast serve [{os.getpid()}]: {text}", file=sys.stderr, flush=True)


def _serve(app: Any, sock: socket.socket, when_ready: Callable[[], None], lifeline: int | None) -> None:
    """Answer requests in this process until a signal, or until the process that holds the lifeline's other end ends."""
    import uvicorn

    from .connections import Draining, TimedConnection

    draining = Draining(app)
    config = uvicorn.Config(
        draining,
        http=TimedConnection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=limits.SECONDS_BETWEEN,
        limit_concurrency=limits.MOST_CONNECTIONS,
        backlog=QUEUE,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    def drain() -> None:
        draining.is_draining = True
        for listener in server.servers:
            listener.close()
        asyncio.get_running_loop().call_later(SECONDS_TO_DRAIN, stop)
        asyncio.get_running_loop().create_task(_wait_for_connections(server, stop))

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        if lifeline is not None:
            loop.add_signal_handler(signal.SIGUSR1, drain)
            loop.add_reader(lifeline, stop)
        serving = loop.create_task(server.serve([sock]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            when_ready()
        await serving

    asyncio.run(serve())


async def _wait_for_connections(server: Any, stop: Callable[[], None]) -> None:
    while server.server_state.connections:
        await asyncio.sleep(0.05)
    stop()


class _Supervisor:
    """Keeps as many workers as are wanted, and replaces them when the model is replaced."""

    SIGNALS = ("SIGHUP", "SIGTERM", "SIGINT", "SIGCHLD")
    RETRY = 5.0  # seconds until a worker that could not be forked is tried again

    def __init__(self, service: Service, sock: socket.socket, app: Any, versions: tuple[Any, ...]) -> None:
        self._service, self._socket, self._app = service, sock, app
        self._versions = versions  # of the files, when they were loaded last
        self._workers: set[int] = set()
        self._leaving: set[int] = set()
        self._lifeline, self._held = os.pipe()  # workers see the end of the pipe when this process ends

    def run(self, tell: Callable[[], None]) -> None:
        awaited = {getattr(signal, name) for name in self.SIGNALS}
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        try:
            self._start_workers()
            tell()
            for number in self._signals(awaited):
                if number == signal.SIGCHLD:
                    self._bury()
                elif number == signal.SIGHUP:
                    self._reload()
                else:
                    break
        finally:
            self._stop(self._workers | self._leaving)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)

    def _signals(self, awaited: set[signal.Signals]) -> Iterator[int]:
        """Yield signals; SIGHUP too if a watched file has been replaced, and SIGCHLD while workers are missing."""
        while True:
            is_short = len(self._workers) < self._service.workers
            seconds = self.RETRY if is_short else self._service.watch
            if seconds is None:
                yield signal.sigwait(awaited)
                continue
            found = signal.sigtimedwait(awaited, seconds)
            if found is not None:
                yield found.si_signo
            elif is_short:
                yield signal.SIGCHLD
            elif self._service.versions() != self._versions:
                yield signal.SIGHUP

    def _start_workers(self) -> None:
        """Fork workers and wait until they answer. If one cannot, none of them stays; ValueError if one ends before."""
        pipes: dict[int, Any] = {}  # of each worker, which writes to its pipe once it answers
        gc.freeze()  # so that collections in workers do not touch, and thus copy, what they share
        try:
            with contextlib.ExitStack() as stack:
                for _ in range(self._service.workers):
                    process, ready = self._fork()
                    pipes[process] = stack.enter_context(open(ready, "rb"))
                for process, pipe in pipes.items():
                    if not pipe.read(1):
                        raise ValueError(f"worker {process} ended before it was ready")
        except BaseException:
            self._stop(set(pipes))
            raise
        finally:
            gc.unfreeze()
        self._workers = set(pipes)

    def _fork(self) -> tuple[int, int]:
        ready, signalled = os.pipe()
        try:
            process = os.fork()
        except OSError:
            os.close(ready)
            os.close(signalled)
            raise
        if process:
            os.close(signalled)
            return process, ready
        code = 1
        try:
            os.close(ready)
            os.close(self._held)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            _serve(self._app, self._socket, lambda: _tell(signalled), self._lifeline)
            code = 0
        finally:
            _exit(code)  # the caller's blocks are the supervisor's to leave

    def _reload(self) -> None:
        old, app = self._workers, self._app
        self._versions = self._service.versions()
        try:
            self._app = _make_app(self._service)
            self._start_workers()
        except Exception as error:  # whatever is wrong with the new file, the old model goes on
            self._app = app
            _say(f"not reloaded: {error}")
            return
        for process in old:
            os.kill(process, signal.SIGUSR1)
        self._leaving |= old
        _say(f"reloaded {self._service.model}")

    def _bury(self) -> None:
        """Take note of workers that have ended, and replace workers that ended unasked."""
        from . import metrics

        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if not process:
                    break
                metrics.forget(process)
                self._leaving.discard(process)
                if process in self._workers:
                    _say(f"worker {process} ended ({os.waitstatus_to_exitcode(status)}): another takes its place")
                    self._workers.remove(process)
        while len(self._workers) < self._service.workers:
            time.sleep(0.1)  # a worker that ends at once must not keep the machine busy
            try:
                again, ready = self._fork()
            except OSError as error:  # the machine may have room later; the other workers go on
                _say(f"no worker could be started: {error}; trying again in {self.RETRY:.0f} s")
                return
            self._workers.add(again)
            os.close(ready)

    def _stop(self, processes: set[int]) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)


def _tell(pipe: int) -> None:
    with contextlib.suppress(OSError):  # nobody waits for the worker that takes the place of another
        os.write(pipe, b"1")
    os.close(pipe)
