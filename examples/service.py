"""Serve recommendations over HTTP, from a model that all worker processes share in memory.

    lightfm-fast fit interactions.csv -o model.safetensors --users users.csv --user-features age:bins town
    python examples/service.py model.safetensors --seen interactions.csv --workers 4

    GET  /users/{user}/recommendations?n=10   for a user of the model, without the user's items in the file of --seen
    POST /recommendations?n=10                for a newcomer: {"features": {"age": 31, "town": "Oslo"}, "items": [7, 9]}
    GET  /items/{item}/similar?n=10
    GET  /health                              sizes of the model
    GET  /docs                                describes all requests

Needs ``pip install fastapi uvicorn``. An id in a path is looked up as text, or else as the number that it spells.
The service answers 404 to an unknown id in a path, 422 to an invalid request, and 413 to a body that is too large.
docs/serving.md lists the limits of the service and what belongs in front of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Hashable, Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any

import h11
import numpy as np
import scipy.sparse as sp
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from uvicorn.protocols.http.h11_impl import H11Protocol

from lightfm_fast import LightFM
from lightfm_fast.data import Dataset, UnknownIdsError
from lightfm_fast.features import UnseenCategoryWarning
from lightfm_fast.table_files import read_table

FOLDER = "LIGHTFM_FAST_SERVICE_FOLDER"  # the environment variable with the folder of the prepared files
MODEL, SEEN = "model.safetensors", "seen.npz"

MOST_RECOMMENDED = 1000
LONGEST_TEXT = 200  # characters of an id or a feature's value
LARGEST_NUMBER = 2**63 - 1
MOST_VALUES = 1000  # items of a newcomer, and values of a feature
LARGEST_BODY = 1 << 18  # bytes: enough for MOST_VALUES values of LONGEST_TEXT characters
SECONDS_TO_SEND = 10.0  # for a client to send the head of a request, and for its body
SECONDS_BETWEEN = 5  # that an idle connection stays open
MOST_CONNECTIONS = 512  # of a worker, which answers 503 to more
LONGEST_ECHO = 80  # characters of the client's input that an answer repeats

Length = Annotated[int, Query(ge=1, le=MOST_RECOMMENDED)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Whole = Annotated[int, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Newcomer(BaseModel):
    """A user unknown to the model, described by columns of user features, by chosen items, or by both."""

    model_config = ConfigDict(extra="forbid")
    features: Annotated[
        dict[Text, Text | Whole | Number | Annotated[list[Text], Field(max_length=MOST_VALUES)] | None],
        Field(max_length=MOST_VALUES),
    ] = {}
    items: Annotated[list[Text | Whole], Field(max_length=MOST_VALUES)] = []


def prepare(path: str, seen: str | None, user_column: str, item_column: str, folder: str | os.PathLike[str]) -> None:
    """Write the files that workers map into memory: the model with item features summed up, and users' items."""
    model = LightFM.load(path, mmap=True)
    dataset = model.dataset_
    if dataset is None:
        raise ValueError(f"{path} was saved without its Dataset: save(path, dataset=dataset)")
    if seen is not None:
        sp.save_npz(Path(folder, SEEN), read_seen(seen, dataset, user_column, item_column), compressed=False)
    serving = model.to_matrix_factorization(item_features=dataset.item_features, sides=["item"])
    serving.save(Path(folder, MODEL), optimizer_state=False)


def read_seen(path: str, dataset: Dataset, user_column: str, item_column: str) -> sp.csr_matrix:
    """Return the items that users have; rows of unknown users and items are left out, and counted."""
    users, _, items, _ = dataset.mapping()
    known_users, known_items = {user_column: list(users)}, {item_column: list(items)}
    text = [column for column, ids in (known_users | known_items).items() if str in set(map(type, ids))]
    table = read_table(path, [user_column, item_column], text)
    try:
        found = Dataset.from_tables(table, known_users, known_items, user=user_column, item=item_column, unknown="skip")
    except UnknownIdsError as error:
        raise ValueError(f"{path} has no row of a user and an item that the model knows: {error}") from error
    if found.n_skipped:
        print(f"{path}: {found.n_skipped:,} rows name users or items that the model does not know", flush=True)
    if not found.interactions.nnz:
        raise ValueError(f"{path} has no row of a user and an item that the model knows")
    return found.interactions.tocsr()


def create_app(folder: str | os.PathLike[str]) -> FastAPI:
    """Make the app of a folder that :func:`prepare` has written."""
    # Python keeps the text of every warning that it shows, and clients would fill the memory with it.
    warnings.simplefilter("ignore", UnseenCategoryWarning)
    model = LightFM.load(Path(folder, MODEL), mmap=True)
    dataset, encoder = model.dataset_, model.encoders_.get("user")
    seen = sp.load_npz(Path(folder, SEEN)) if Path(folder, SEEN).exists() else None
    user_numbers, _, item_numbers, _ = dataset.mapping()
    item_ids = list(item_numbers)
    columns = [] if encoder is None else list(encoder.encoders)
    app = FastAPI(title="lightfm_fast")
    app.add_middleware(LimitedBody)

    def answer(ids: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
        chosen = ids >= 0  # -1 where there are fewer items
        pairs = zip(ids[chosen].tolist(), scores[chosen].tolist(), strict=True)
        return {"items": [{"item": item_ids[number], "score": score} for number, score in pairs]}

    @app.exception_handler(RequestValidationError)
    def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
        # pydantic repeats the input in each error, which may be long or not representable as JSON: leave it out.
        details = [{"loc": echo(list(each["loc"])), "msg": echo(each["msg"], 200)} for each in error.errors()[:10]]
        return JSONResponse({"detail": details}, 422)

    # Plain functions, not coroutines: FastAPI runs them in threads, and the model releases the GIL.
    @app.get("/health")
    def health() -> dict[str, Any]:
        known = 0 if seen is None else seen.nnz
        return {"users": len(user_numbers), "items": len(item_ids), "user_columns": columns, "seen": known}

    @app.get("/users/{user}/recommendations")
    def recommend(user: str, n: Length = 10) -> dict[str, Any]:
        row, interactions, features = find(user_numbers, user, "user"), seen, dataset.user_features
        if features is not None:
            # Pass only the user's row: checking the whole matrix takes longer than scoring the items.
            features, interactions = features[[row]], None if seen is None else seen[[row]]
            row = 0
        ids, scores = model.recommend(row, n, interactions=interactions, user_features=features)
        return answer(ids[0], scores[0])

    @app.post("/recommendations")
    def recommend_to_newcomer(newcomer: Newcomer, n: Length = 10) -> dict[str, Any]:
        wrong = sorted(set(newcomer.features).difference(columns))
        if wrong:
            raise HTTPException(422, f"no feature is made of {echo(wrong)}; features are made of {columns}")
        unknown = [item for item in newcomer.items if item not in item_numbers]
        if unknown:
            raise HTTPException(422, f"no items with ids {echo(unknown)}")
        numbers = np.array(sorted({item_numbers[item] for item in newcomer.items}), dtype=np.int32)
        chosen = sp.csr_matrix((np.ones(len(numbers)), numbers, [0, len(numbers)]), shape=(1, len(item_ids)))
        features = None
        if encoder is not None:  # features that are not given are missing
            table = {column: [newcomer.features.get(column)] for column in columns}
            try:
                features = dataset.encode_new_users(table, encoder)
            except (TypeError, ValueError) as error:
                raise HTTPException(422, echo(error, 300)) from error
        users = model.fold_in_users(chosen, user_features=features)
        ids, scores = model.recommend(0, n, interactions=chosen, user_representations=users)
        return answer(ids[0], scores[0])

    @app.get("/items/{item:path}/similar")
    def similar(item: str, n: Length = 10) -> dict[str, Any]:
        found = model.similar_items(find(item_numbers, item, "item"), n)
        return answer(found.ids[0], found.scores[0])

    return app


def find(numbers: Mapping[Hashable, int], text: str, kind: str) -> int:
    """Return the row of the id that a path spells."""
    names: list[Hashable] = [text]
    if len(text) <= len(str(LARGEST_NUMBER)) + 1 and text.removeprefix("-").isdecimal():
        names.append(int(text))
    for name in names:
        if name in numbers:
            return numbers[name]
    raise HTTPException(404, f"no {kind} with id {echo(text)}")


def echo(value: object, length: int = LONGEST_ECHO) -> str:
    """Return a client's input, or an error that repeats it, cut off."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


class LimitedBody:
    """ASGI middleware that reads a request's body first, and answers 413 if it is too large, 408 if it is late."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Callable[..., Any]) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(read_body(receive), SECONDS_TO_SEND)
        except asyncio.TimeoutError:
            await refusal(408, f"a request must arrive within {SECONDS_TO_SEND:g} seconds")(scope, receive, send)
            return
        if body is None:
            await refusal(413, f"a body has at most {LARGEST_BODY:,} bytes")(scope, receive, send)
            return
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_read() -> MutableMapping[str, Any]:
            return messages.pop() if messages else await receive()

        await self.app(scope, receive_read, send)


async def read_body(receive: Receive) -> bytes | None:
    """Return the whole body, or None if it is too large."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)


def refusal(status: int, text: str) -> JSONResponse:
    return JSONResponse({"detail": text}, status, {"connection": "close"})


class TimedConnection(H11Protocol):
    """A connection that closes unless its client sends the head of a request in time."""

    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.stop_watching()

    def watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:  # the head has arrived
            self.stop_watching()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(SECONDS_TO_SEND, self.transport.close)

    def stop_watching(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


def app() -> FastAPI:
    """Make the app of the folder that the environment names: each worker process calls it."""
    return create_app(os.environ[FOLDER])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seen", metavar="FILE", help="interactions (CSV or Parquet), which are not recommended again")
    what.add_argument(
        "--recommend-seen", action="store_true", help="recommend to known users also the items that they have"
    )
    parser.add_argument("--user-column", default="user_id", help="of --seen (default: %(default)s)")
    parser.add_argument("--item-column", default="item_id", help="of --seen (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lightfm-fast-service-") as folder:
        try:
            prepare(options.model, options.seen, options.user_column, options.item_column, folder)
        except (OSError, ValueError) as error:
            parser.error(str(error))
        os.environ[FOLDER] = folder
        uvicorn.run(
            "service:app",
            factory=True,
            app_dir=str(Path(__file__).parent),
            host=options.host,
            port=options.port,
            workers=options.workers,
            http=TimedConnection,
            ws="none",
            timeout_keep_alive=SECONDS_BETWEEN,
            limit_concurrency=MOST_CONNECTIONS,
        )


if __name__ == "__main__":
    main()
