"""Metrics in Prometheus' format, of one process or summed over the workers.

prometheus-client decides when it is imported where values are kept: if the environment names a folder in
``PROMETHEUS_MULTIPROC_DIR``, in files that all workers share. :func:`lightfm_fast.serve.run` sets it before.
"""

from __future__ import annotations

import os
import time

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.responses import Response

from .connections import Message, Middleware, Receive, Send

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

REQUESTS = Counter("lightfm_fast_requests", "Requests answered.", ["method", "path", "status"])
SECONDS = Histogram("lightfm_fast_request_seconds", "Seconds to answer a request.", ["path"], buckets=BOUNDS)
RUNNING = Gauge("lightfm_fast_requests_running", "Requests being answered.", multiprocess_mode="livesum")
LOADED = Gauge("lightfm_fast_model_loaded_timestamp_seconds", "When the model was loaded.", multiprocess_mode="max")
METHODS = ("GET", "HEAD", "POST")


class Measured(Middleware):
    """Counts and times requests by the pattern of their path."""

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        status, started = 500, time.perf_counter()

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        RUNNING.inc()
        try:
            await self.app(scope, receive, send_noted)
        finally:
            RUNNING.dec()
            # A client must not make up labels, which are kept: paths count by their pattern, other methods together.
            path = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            REQUESTS.labels(method, path, status).inc()
            SECONDS.labels(path).observe(time.perf_counter() - started)


def report() -> Response:
    """Return the metrics of this process, or of all workers."""
    registry = REGISTRY
    if FOLDER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def forget(process: int) -> None:
    """Remove a worker that has ended from the gauges. Its counts stay."""
    mark_process_dead(process)  # type: ignore[no-untyped-call]
