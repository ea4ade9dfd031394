"""Connections and bodies of requests: limited in size and time, and closed gently when a worker is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import h11
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from . import limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Middleware:
    """ASGI middleware that sees requests only: what a server tells the app besides goes straight to the app."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass on what the server says."""
        await (self.answer if scope["type"] == "http" else self.app)(scope, receive, send)

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        raise NotImplementedError


class LimitedBody(Middleware):
    """Reads a request's body first, and answers 413 if it is too large, 408 if it is late."""

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            body = await asyncio.wait_for(_read_body(receive), limits.SECONDS_TO_SEND)
        except asyncio.TimeoutError:
            late = f"a request must arrive within {limits.SECONDS_TO_SEND:g} seconds"
            await _refusal(408, late)(scope, receive, send)
            return
        if body is None:
            await _refusal(413, f"a body has at most {limits.LARGEST_BODY:,} bytes")(scope, receive, send)
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_read() -> Message:
            return messages.pop() if messages else await receive()

        await self.app(scope, receive_read, send)


async def _read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if it is too large."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limits.LARGEST_BODY:
            return None
    return bytes(body)


def _refusal(status: int, text: str) -> Any:
    return JSONResponse({"detail": text}, status, {"connection": "close"})


class Draining(Middleware):
    """Once ``is_draining`` is set, asks clients to close their connections after the answer.

    A client that keeps its connection open would else send a request while the worker closes it, and get no answer.
    """

    is_draining = False

    async def answer(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def send_last(message: Message) -> None:
            if self.is_draining and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, send_last)


class TimedConnection(H11Protocol):
    """A connection that closes unless its client sends the head of a request in time."""

    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stop the clock once the head is whole."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        super().connection_lost(exc)
        self._stop_watching()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:  # the head has arrived
            self._stop_watching()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(limits.SECONDS_TO_SEND, self.transport.close)

    def _stop_watching(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
