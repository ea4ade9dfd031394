"""The example service, called over HTTP by a client of the standard library."""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import scipy.sparse as sp
import uvicorn
from numpy.testing import assert_allclose
from uvicorn.server import ServerState

import lightfm_fast
from lightfm_fast import LightFM
from lightfm_fast.data import Dataset
from lightfm_fast.features import Categorical, FeatureSpec, QuantileBins
from lightfm_fast.table_files import write_table

SERVICE = Path(__file__).parents[1] / "examples" / "service.py"
WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def train(path):
    """40 users by number with town and age, 30 items by a name that a path must quote."""
    rng = np.random.RandomState(0)
    users = {"user_id": list(range(40)), "town": ["Rome", "Oslo"] * 20, "age": (np.arange(40) + 20).tolist()}
    rows = {"user_id": rng.randint(40, size=600).tolist(), "item_id": [f"a/b {i}" for i in rng.randint(30, size=600)]}
    items = {"item_id": [f"a/b {i}" for i in range(30)], "kind": ["x", "y", "z"] * 10}
    spec, item_spec = FeatureSpec({"town": Categorical(), "age": QuantileBins(3)}), FeatureSpec({"kind": Categorical()})
    dataset = Dataset.from_tables(rows, users, items, user_features=spec, item_features=item_spec)
    features = {"user_features": dataset.user_features, "item_features": dataset.item_features}
    model = LightFM(loss="warp", random_state=0).fit(dataset.interactions, **features, epochs=5)
    model.save(path, dataset=dataset, encoders={"user": spec, "item": item_spec})
    table = {"user_id": [*rows["user_id"], 999], "item_id": [*rows["item_id"], "a/b 1"]}
    write_table(path.with_suffix(".csv"), table)
    return dataset.interactions.tocsr()


def start(path, *arguments):
    """Start the service at a free port, and wait for its first line of output."""
    environment = {**os.environ, "PYTHONPATH": str(Path(lightfm_fast.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, str(SERVICE), str(path), "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        found = re.search(r"running on (http://\S+)", line)
        if found:
            return process, found[1]
    process.communicate(timeout=60)
    raise AssertionError(f"the service did not start: {''.join(lines)}")


def stop(process):
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return tmp_path_factory.mktemp("service") / "model.safetensors"


@pytest.fixture(scope="module")
def seen(model_path):
    return train(model_path)


@pytest.fixture(scope="module")
def model(model_path, seen):
    return LightFM.load(model_path)


@pytest.fixture(scope="module")
def features(model):
    return {"user_features": model.dataset_.user_features, "item_features": model.dataset_.item_features}


@pytest.fixture(scope="module")
def address(model_path, seen):
    process, address = start(model_path, "--seen", str(model_path.with_suffix(".csv")))
    yield address
    stop(process)


@pytest.fixture(scope="module")
def ask(address):
    def ask(path, body=None):
        """Return the answer's status and document. A body of bytes is sent unchanged."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
        try:
            with WITHOUT_PROXY.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return ask


def check_list(model, found, ids, scores):
    status, document = found
    assert status == 200
    names = list(model.dataset_.mapping()[2])
    assert [pair["item"] for pair in document["items"]] == [names[item] for item in ids]
    assert_allclose([pair["score"] for pair in document["items"]], scores, rtol=1e-5, atol=1e-6)


def test_health(ask):
    document = {"users": 40, "items": 30, "user_columns": ["town", "age"]}
    assert ask("/health") == (200, {**document, "seen": ask("/health")[1]["seen"]})


def test_recommendations_leave_out_what_a_user_has(ask, model, features, seen):
    ids, scores = model.recommend(7, 5, interactions=seen, **features)
    check_list(model, ask("/users/7/recommendations?n=5"), ids[0], scores[0])
    assert len(ask("/users/7/recommendations")[1]["items"]) == 10
    items = ask("/users/7/recommendations?n=500")[1]["items"]
    names = list(model.dataset_.mapping()[2])
    assert {item["item"] for item in items} == set(names).difference(names[item] for item in seen[7].indices)


def test_recommendations_of_what_a_user_has_on_request(model_path, model, features):
    process, address = start(model_path, "--recommend-seen")
    try:
        with WITHOUT_PROXY.open(f"{address}/users/7/recommendations?n=500", timeout=60) as answer:
            found = answer.status, json.load(answer)
    finally:
        stop(process)
    ids, scores = model.recommend(7, 30, **features)
    check_list(model, found, ids[0], scores[0])


def test_similar_items(ask, model):
    number = model.dataset_.mapping()[2]["a/b 3"]
    ids, scores = model.similar_items(number, 4, item_features=model.dataset_.item_features)
    check_list(model, ask(f"/items/{quote('a/b 3', safe='')}/similar?n=4"), ids[0], scores[0])


@pytest.mark.filterwarnings("ignore::lightfm_fast.features.UnseenCategoryWarning")
@pytest.mark.parametrize("told", [{}, {"town": "Oslo"}, {"town": "Oslo", "age": 31}, {"town": "Bern", "age": None}])
@pytest.mark.parametrize("items", [[], ["a/b 3", "a/b 4", "a/b 3"]])
def test_newcomers(ask, model, told, items):
    table = {"town": [told.get("town")], "age": [told.get("age")]}
    described = model.dataset_.encode_new_users(table, model.encoders_["user"])
    chosen = sp.lil_matrix((1, 30))
    for item in items:
        chosen[0, model.dataset_.mapping()[2][item]] = 1
    item_features = model.dataset_.item_features
    users = model.fold_in_users(chosen.tocsr(), described, item_features)
    ids, scores = model.recommend(0, 6, chosen.tocsr(), item_features=item_features, user_representations=users)
    found = ask("/recommendations?n=6", {"features": told, "items": items})
    check_list(model, found, ids[0], scores[0])
    assert not set(items).intersection(pair["item"] for pair in found[1]["items"])


def test_newcomers_differ(ask):
    lists = [ask("/recommendations", body)[1] for body in ({}, {"features": {"town": "Oslo"}}, {"items": ["a/b 3"]})]
    assert lists[0] != lists[1] != lists[2] != lists[0]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/users/99/recommendations", None, 404, "no user with id '99'"),
        ("/users/ann/recommendations", None, 404, "no user with id 'ann'"),
        ("/items/nothing/similar", None, 404, "no item with id 'nothing'"),
        ("/users/7/recommendations?n=0", None, 422, "greater than or equal to 1"),
        ("/users/7/recommendations?n=x", None, 422, "valid integer"),
        ("/recommendations", {"features": {"height": 3}}, 422, "no feature is made of ['height']"),
        ("/recommendations", {"features": {"age": "old"}}, 422, "expected numbers"),
        ("/recommendations", {"features": {"age": 1e99}}, 422, "too large"),
        ("/recommendations", {"features": {"town": ["Rome"]}}, 422, "expected a plain value such as text or a number"),
        ("/recommendations", {"items": ["x"]}, 422, "no items with ids ['x']"),
        ("/recommendations", {"likes": []}, 422, "Extra inputs are not permitted"),
        ("/recommendations", [], 422, "dict"),
        ("/nothing", None, 404, "Not Found"),
    ],
)
def test_requests_that_make_no_sense(ask, path, body, status, message):
    found, document = ask(path, body)
    assert (found, message in str(document["detail"])) == (status, True), document


LONG = "9" * 4300


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/users/{LONG}/recommendations", None, 404),
        (f"/items/-{LONG}/similar", None, 404),
        (f"/users/7/recommendations?n={LONG}", None, 422),
        ("/recommendations", b'{"features": {"age": 1e400}}', 422),
        ("/recommendations", b'{"features": {"age": NaN}}', 422),
        ("/recommendations", b'{"features": {"age": %s}}' % LONG.encode(), 422),
        ("/recommendations", b'{"features": {"age": 1%s}}' % (b"0" * 400), 422),
        ("/recommendations", b'{"items": [%s]}' % LONG.encode(), 422),
        ("/recommendations", {"features": {"town": "x" * 1000}}, 422),
        ("/recommendations", {"features": {"x" * 1000: 1}}, 422),
        ("/recommendations", {"features": {str(column): 1 for column in range(2000)}}, 422),
        ("/recommendations", {"items": ["x" * 150] * 900}, 422),
        ("/recommendations", {"items": [1] * 10_000}, 422),
        ("/recommendations", {"x" * 1000: 1}, 422),
        ("/recommendations", b"[" * 100_000, 400),
        ("/recommendations", b"\xff\x00", 400),
        ("/recommendations", b" " * (1 << 20), 413),
    ],
)
def test_long_requests_are_refused_in_a_few_words(ask, path, body, status):
    found, document = ask(path, body)
    assert (found in (status, 422), len(json.dumps(document)) < 5000) == (True, True), (found, str(document)[:200])
    assert ask("/health")[0] == 200


def connect(address):
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def test_a_body_without_end_is_refused_before_it_is_held(ask, address):
    with connect(address) as client:
        client.sendall(b"POST /recommendations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = b""
        with contextlib.suppress(OSError):  # the service hangs up
            for _ in range(100):  # 100 MB
                client.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
        with contextlib.suppress(OSError):
            answer = client.recv(1 << 16)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
    assert ask("/health")[0] == 200


@pytest.fixture(scope="module")
def service():
    specification = importlib.util.spec_from_file_location("service", SERVICE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /health HT", b""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 408"),
    ],
)
def test_a_client_that_stops_is_hung_up_on(service, monkeypatch, sent, answer):
    assert service.SECONDS_TO_SEND <= 30
    monkeypatch.setattr(service, "SECONDS_TO_SEND", 0.05)

    async def never_asked(scope, receive, send):
        raise AssertionError("the body is not whole")

    async def talk():
        config = uvicorn.Config(service.LimitedBody(never_asked), lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: service.TimedConnection(config, state, {}), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(sent)
            received = await asyncio.wait_for(reader.read(), 60)  # to the end of the connection
            writer.close()
        return received

    assert asyncio.run(talk()).startswith(answer)


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(AssertionError, match="no safetensors file"):
        start(path, "--recommend-seen")


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("none.csv", None, "there is no file"),
        ("other.csv", {"user_id": [998, 999], "item_id": ["a/b 1", "a/b 2"]}, "no row of a user and an item"),
        ("columns.csv", {"user": [7], "item_id": ["a/b 1"]}, "has no column 'user_id'"),
    ],
)
def test_seen_items_that_cannot_be_read(model_path, seen, tmp_path, name, table, message):
    if table is not None:
        write_table(tmp_path / name, table)
    with pytest.raises(AssertionError, match=message):
        start(model_path, "--seen", str(tmp_path / name))


def test_whether_seen_items_are_left_out_must_be_said(model_path):
    with pytest.raises(AssertionError, match="--seen --recommend-seen is required"):
        start(model_path)
