"""The command serve, called over HTTP by a client of the standard library."""

import asyncio
import contextlib
import errno
import html
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import numpy as np
import pytest
import scipy.sparse as sp
import uvicorn
from numpy.testing import assert_allclose
from uvicorn.server import ServerState

import lightfm_fast
from lightfm_fast import LightFM, Recommender
from lightfm_fast.cli import main
from lightfm_fast.data import Dataset
from lightfm_fast.data.categories import CategoricalColumns
from lightfm_fast.features import (
    Categorical,
    Dense,
    FeatureSpec,
    MultiCategorical,
    PiecewiseLinear,
    QuantileBins,
    Text,
)
from lightfm_fast.serve import connections, limits, workers
from lightfm_fast.table_files import write_table

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
        [sys.executable, "-m", "lightfm_fast", "serve", str(path), "--port", "0", *arguments],
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


def test_health(ask, seen):
    status, document = ask("/health")
    assert (status, document.pop("version")) == (200, lightfm_fast.__version__)
    assert document == {
        "users": 40,
        "items": 30,
        "user_columns": ["town", "age"],
        "seen": seen.nnz,
        "approximate": False,
    }
    assert ask("/users?n=3")[1] == {"users": [0, 1, 2]}


def test_recommendations_leave_out_what_a_user_has(ask, model, features, seen):
    ids, scores = model.recommend(7, 5, interactions=seen, **features)
    check_list(model, ask("/users/7/recommendations?n=5"), ids[0], scores[0])
    assert len(ask("/users/7/recommendations")[1]["items"]) == 10
    items = ask("/users/7/recommendations?n=500")[1]["items"]
    names = list(model.dataset_.mapping()[2])
    assert {item["item"] for item in items} == set(names).difference(names[item] for item in seen[7].indices)


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
    if items:
        users = model.fold_in_users(chosen.tocsr(), described, item_features)
    else:
        users = model.get_user_representations(described)[::-1]
    ids, scores = model.recommend(0, 6, chosen.tocsr(), item_features=item_features, user_representations=users)
    found = ask("/recommendations?n=6", {"features": told, "items": items})
    check_list(model, found, ids[0], scores[0])
    assert not set(items).intersection(pair["item"] for pair in found[1]["items"])


def test_scores_are_explained(ask, model, features):
    item = model.dataset_.mapping()[2]["a/b 3"]
    status, document = ask(f"/users/7/explanations/{quote('a/b 3', safe='')}?n=2")
    assert (status, len(document["contributions"])) == (200, 2)
    assert_allclose(document["score"], model.predict(7, [item], **features)[0], rtol=1e-5)
    parts = sum(row["contribution"] for row in document["contributions"]) + document["others"]
    assert_allclose(parts, document["score"], rtol=1e-5)
    body = {"features": {"town": "Oslo", "age": 31}, "items": ["a/b 1", "a/b 2"]}
    status, document = ask(f"/explanations/{quote('a/b 3', safe='')}", body)
    assert status == 200
    assert {"town:Oslo", "history"} <= {row["user_feature"] for row in document["contributions"]}
    best = ask("/recommendations?n=30", body)[1]["items"]
    assert_allclose(document["score"], next(row["score"] for row in best if row["item"] == "a/b 3"), rtol=1e-4)


def test_newcomers_differ(ask):
    lists = [ask("/recommendations", body)[1] for body in ({}, {"features": {"town": "Oslo"}}, {"items": ["a/b 3"]})]
    assert lists[0] != lists[1] != lists[2] != lists[0]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/users/99/recommendations", None, 404, "no user with id '99'"),
        ("/users/ann/recommendations", None, 404, "no user with id 'ann'"),
        ("/items/nothing/similar", None, 404, "no item with id 'nothing'"),
        ("/users/7/recommendations?n=0", None, 422, "query 'n': Input should be greater than or equal to 1"),
        ("/users/7/recommendations?n=x", None, 422, "valid integer"),
        ("/users/7/explanations/nothing", None, 404, "no item with id 'nothing'"),
        ("/explanations/nothing", {"features": {"town": "Oslo"}}, 404, "no item with id 'nothing'"),
        (
            "/explanations/a%2Fb%203",
            {"features": {"height": 3}},
            422,
            "no user feature of this model is made of 'height'",
        ),
        ("/recommendations", {"features": {"height": 3}}, 422, "no user feature of this model is made of 'height'"),
        ("/recommendations", {"features": {"age": "old"}}, 422, "features holds 'old' in 'age', expected a number"),
        ("/explanations/a%2Fb%203", {"items": ["x"]}, 422, "no items with ids ['x']"),
        (
            "/explanations/a%2Fb%203",
            {"features": {"age": "old"}},
            422,
            "features holds 'old' in 'age', expected a number",
        ),
        ("/recommendations", {"features": {"age": 1e99}}, 422, "expected a number within single precision"),
        ("/recommendations", {"features": {"town": ["Rome"]}}, 422, "in 'town', expected text or a number"),
        (
            "/recommendations",
            {"features": {"town": {}}},
            422,
            "'town': expected text, a number, a list of these, or null",
        ),
        ("/recommendations", {"features": {"town": [None]}}, 422, "'town' 'list' 0: expected text or a number"),
        (
            "/recommendations",
            {"features": {"user_id": 7}},
            422,
            "features holds 7 in 'user_id', the column of users' ids",
        ),
        ("/recommendations", {"features": []}, 422, "body 'features': expected a JSON object"),
        ("/recommendations", {"items": [True]}, 422, "body 'items' 0: expected an id: text or a whole number"),
        ("/recommendations", {"items": ["x"]}, 422, "no items with ids ['x']"),
        ("/recommendations", {"likes": []}, 422, "body 'likes': unknown, expected 'features' or 'items'"),
        ("/recommendations", [], 422, "body: expected a JSON object, sent with the header content-type: application"),
        ("/nothing", None, 404, "Not Found"),
    ],
)
def test_requests_that_make_no_sense(ask, path, body, status, message):
    found, document = ask(path, body)
    assert (found, message in document["detail"]) == (status, True), document


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


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /health HT", b""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 408"),
    ],
)
def test_a_client_that_stops_is_hung_up_on(monkeypatch, sent, answer):
    assert limits.SECONDS_TO_SEND <= 30
    monkeypatch.setattr(limits, "SECONDS_TO_SEND", 0.05)

    async def never_asked(scope, receive, send):
        raise AssertionError("the body is not whole")

    async def talk():
        config = uvicorn.Config(connections.LimitedBody(never_asked), lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: connections.TimedConnection(config, state, {}), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(sent)
            received = await asyncio.wait_for(reader.read(), 60)  # to the end of the connection
            writer.close()
        return received

    assert asyncio.run(talk()).startswith(answer)


@pytest.fixture(scope="module")
def replaceable(model_path, seen, tmp_path_factory):
    """Two workers of a file that tests replace, with an index and without what users have seen."""
    folder = tmp_path_factory.mktemp("replaceable")
    recommender = Recommender.load(model_path)
    recommender.save(folder / "model.safetensors")
    recommender.model.index(recommender.dataset.item_features).save(folder / "items.index")
    arguments = ["--workers", "2", "--recommend-seen", "--watch", "0.1", "--index", str(folder / "items.index")]
    process, address = start(folder / "model.safetensors", *arguments)
    yield folder, process, address
    stop(process)


def ask_until_told(address, told, failures, answers):
    """Ask over one connection, as often as it is closed over another, until the test says to stop."""
    client = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    while not told.is_set():
        try:
            client.request("GET", "/users/7/recommendations?n=30")
            answer = client.getresponse()
            (answers if answer.status == 200 else failures).append(answer.read())
        except (OSError, http.client.HTTPException) as error:
            failures.append(error)
            client.close()
    client.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork, so that the service cannot reload")
def test_a_replaced_model_is_served_without_a_request_lost(replaceable, model, features):
    folder, process, address = replaceable
    told, failures, answers = threading.Event(), [], []
    clients = [threading.Thread(target=ask_until_told, args=(address, told, failures, answers)) for _ in range(4)]
    for client in clients:
        client.start()
    (folder / "broken").write_bytes(b"nothing")
    os.replace(folder / "broken", folder / "model.safetensors")
    assert "not reloaded: " in process.stderr.readline()
    Recommender(model, model.dataset_).save(folder / "model.safetensors")
    process.send_signal(signal.SIGHUP)  # it also finds the file by itself: once or twice, the same
    assert ": reloaded " in process.stderr.readline()
    told.set()
    for client in clients:
        client.join()
    assert (failures, len(answers) > 0) == ([], True)
    ids, scores = model.recommend(7, 30, **features)
    with WITHOUT_PROXY.open(f"{address}/users/7/recommendations?n=30", timeout=60) as answer:
        check_list(model, (answer.status, json.load(answer)), ids[0], scores[0])
    with WITHOUT_PROXY.open(f"{address}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    counted = re.search(r'requests_total.*path="/users/{user}/recommendations",status="200"} (\S+)', text)
    assert float(counted[1]) == len(answers) + 1  # of all workers, also of those that are gone
    assert "request_seconds_bucket" in text


def test_the_metrics_that_the_documentation_names_are_reported(address):
    page = Path(__file__).parents[1] / "docs" / "serving.md"
    names = re.findall(r"^\| `(lightfm_fast_\w+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    for path in ("health", "metrics"):  # a worker reports no count before its first request
        with WITHOUT_PROXY.open(f"{address}/{path}", timeout=60) as answer:
            text = answer.read().decode()
    assert [name for name in names if f"# TYPE {name} " in text] == names != []


def test_the_page_needs_no_other_host(address):
    with WITHOUT_PROXY.open(f"{address}/", timeout=60) as answer:
        page, kind = answer.read().decode(), answer.headers["content-type"]
    assert (kind, 'lang="en"' in page) == ("text/html; charset=utf-8", True)
    assert not re.search(r"https?://|src=|@import", page)


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to show the page")
def test_the_page_shows_recommendations_and_why_in_a_browser(address, ask, tmp_path):
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", f"--user-data-dir={tmp_path}"]
    show = [BROWSER, *options, "--virtual-time-budget=20000", "--dump-dom"]
    for place, user in (("", 0), ("#7", 7)):  # the first user, or the user that the address names
        done = subprocess.run([*show, f"{address}/{place}"], capture_output=True, text=True, check=False, timeout=120)
        page = html.unescape(done.stdout)
        best = ask(f"/users/{user}/recommendations")[1]["items"]
        assert f"10 items for {user}." in page, done.stderr[-2000:]
        assert re.findall(r"<span>(a/b \d+)</span>", page) == [item["item"] for item in best]
        assert f"The score {best[0]['score']:.3f} is the sum of:" in page  # of the best item
    done = subprocess.run([*show, f"{address}/#%"], capture_output=True, text=True, check=False, timeout=120)
    assert "URI malformed" in done.stdout


@pytest.mark.parametrize("ids", [[UUID(int=number) for number in range(6)], [number + 0.5 for number in range(6)]])
def test_items_of_a_newcomer_are_read_as_ids_of_a_path(ids):
    app = pytest.importorskip("lightfm_fast.serve.app")
    recommender = Recommender.from_tables(
        {"user_id": [0, 0, 1, 1, 2, 2], "item_id": ids}, model=LightFM(random_state=0), epochs=1
    )
    (route,) = (route for route in app.create_app(recommender).routes if route.path == "/recommendations")
    answer = route.endpoint(app.Newcomer(items=[str(ids[0]), str(ids[1]).upper()]), 6)
    assert {item.item for item in answer.items} == set(ids[2:])


def test_refused_features_are_told_of_in_words_of_requests():
    app = pytest.importorskip("lightfm_fast.serve.app")
    users = {
        "user_id": range(9),
        "tags": [["a", "b"], ["c"], ["c", "a"]] * 3,
        "words": ["a|b", "c", ""] * 3,
        "lists": ['["a"]', '["b", "c"]', None] * 3,
        "text": ["a good day", "a day", "good"] * 3,
        "vector": np.eye(9)[:, :3].tolist(),
    }
    encoders = {
        "tags": MultiCategorical(),
        "words": MultiCategorical("|"),
        "lists": MultiCategorical(json=True),
        "text": Text(),
        "vector": Dense(),
    }
    rows = {"user_id": list(range(9)), "item_id": [1, 2, 3] * 3}
    columns = CategoricalColumns(["words"])
    for spec, wrong in (
        (
            FeatureSpec(encoders),
            {
                "tags": ("a", "a list of text or numbers"),
                "words": (7, "a list of text or numbers, or text divided by '|'"),
                "lists": ("a", "a list of text or numbers, or text that is a JSON list"),
                "text": (["good"], "text"),
                "vector": ([1, 2], "a list of 3 numbers"),
            },
        ),
        (columns, {"words": ("z", "one of the values that the model was trained with")}),
    ):
        recommender = Recommender.from_tables(rows, users, user_features=spec, model=LightFM(random_state=0), epochs=1)
        routes = {route.path: route.endpoint for route in app.create_app(recommender).routes}
        for column, (value, expected) in wrong.items():
            with pytest.raises(app.HTTPException) as refused:
                routes["/recommendations"](app.Newcomer(features={column: value}), 3)
            assert refused.value.status_code == 422
            assert refused.value.detail == f"features holds {value!r} in {column!r}, expected {expected}"
        if spec is not columns:
            routes["/recommendations"](app.Newcomer(features={"vector": [0.5, 1, 0], "tags": [7, True]}), 3)


def test_a_newcomers_dates_are_iso_text():
    app = pytest.importorskip("lightfm_fast.serve.app")
    users = {"user_id": range(9), "since": np.arange("2020-01-01", "2020-01-10", dtype="datetime64[D]")}
    recommender = Recommender.from_tables(
        {"user_id": list(range(9)), "item_id": [1, 2, 3] * 3},
        users,
        user_features={"since": PiecewiseLinear(4)},
        model=LightFM(random_state=0),
        epochs=5,
    )
    routes = {route.path: route.endpoint for route in app.create_app(recommender).routes}
    for text, day in (("2020-01-04", "2020-01-04"), ("2020-01-03T23:30:00-00:30", "2020-01-04")):
        since = {"since": np.datetime64(day)}
        answer = routes["/recommendations"](app.Newcomer(features={"since": text}), 3)
        assert [item.score for item in answer.items] == list(recommender.recommend(since)["score"])
        assert (
            routes["/explanations/{item:path}"]("2", app.Newcomer(features={"since": text})).score
            == recommender.explain(since, 2).score
        )
    for text in ("yesterday", "2020-13-01", "20200104"):
        with pytest.raises(app.HTTPException) as refused:
            routes["/recommendations"](app.Newcomer(features={"since": text}), 3)
        assert refused.value.status_code == 422


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("none.csv", None, "there is no file"),
        ("other.csv", {"user_id": [998, 999], "item_id": ["a/b 1", "a/b 2"]}, "998"),
        ("columns.csv", {"user": [7], "item_id": ["a/b 1"]}, "has no column 'user_id'"),
    ],
)
def test_seen_items_that_cannot_be_read(model_path, seen, tmp_path, capsys, name, table, message):
    if table is not None:
        write_table(tmp_path / name, table)
    assert main(["serve", str(model_path), "--port", "0", "--seen", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


def test_files_that_cannot_be_served(model_path, seen, tmp_path, capsys):
    (tmp_path / "nothing").write_bytes(b"nothing")
    for arguments, message in (
        ([tmp_path / "nothing"], "no safetensors file"),
        ([model_path], "was saved without what users have seen"),
        ([model_path, "--recommend-seen", "--index", model_path], "holds no index"),
    ):
        assert main(["serve", *map(str, arguments), "--port", "0"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", [b"\xff", "half of a pair \ud800", ("\ud800", 1)])
@pytest.mark.parametrize("column", ["user_id", "item_id", "title", "kind"])
def test_names_without_json_are_refused_at_the_start(tmp_path, capsys, name, column):
    rows = {"user_id": [0, 0, 1, 1], "item_id": ["a", "b", "a", "c"]}
    items = {"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], "kind": ["x", "y", "x"]}
    if column == "title" or (column == "kind" and not isinstance(name, str)):
        name = "\ud800"  # others become text of ASCII
    for table in (rows, items):
        if column in table:
            table[column] = [name if cell == table[column][0] else cell for cell in table[column]]
    recommender = Recommender.from_tables(
        rows, items=items, title="title", item_features=["kind"], model=LightFM(random_state=0), epochs=1
    )
    recommender.save(tmp_path / "model")
    assert main(["serve", str(tmp_path / "model"), "--port", "0"]) == 2
    assert "cannot be written as JSON" in capsys.readouterr().err


def test_connections_send_answers_at_once():
    listening = workers._listen("127.0.0.1", 0)
    with listening, socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_told_of_with_what_to_do():
    with workers._listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^cannot listen at 127.0.0.1:{port}, .*: stop the process"):
            workers._listen("127.0.0.1", port)
    with pytest.raises(OSError, match=r"^cannot listen at 192.0.2.1:0, .*: give an address of this machine by --host"):
        workers._listen("192.0.2.1", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork, so that the service cannot reload")
def test_a_reload_that_cannot_fork_all_workers_leaves_none(monkeypatch, capsys):
    first = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    forked = [(first.pid, os.open(os.devnull, os.O_RDONLY))]

    def fork(self):
        if not forked:
            raise BlockingIOError(errno.EAGAIN, "no process is left")
        return forked.pop()

    monkeypatch.setattr(workers, "_make_app", lambda service: None)
    monkeypatch.setattr(workers._Supervisor, "_fork", fork)
    workers._Supervisor(workers.Service("model", workers=2), None, None, ())._reload()
    assert "not reloaded: " in capsys.readouterr().err
    assert first.poll() is not None  # it has ended


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork, so that workers are not replaced")
def test_a_dead_worker_is_replaced_once_the_machine_can_fork_again(monkeypatch, capsys):
    ended, other = (subprocess.Popen([sys.executable, "-c", code]) for code in ("", "import time; time.sleep(600)"))
    refusals = [BlockingIOError(errno.EAGAIN, "no process is left")]

    def fork(self):
        if refusals:
            raise refusals.pop()
        return 2**30, os.open(os.devnull, os.O_RDONLY)  # no process has this number

    monkeypatch.setattr(workers._Supervisor, "_fork", fork)
    monkeypatch.setattr(workers._Supervisor, "RETRY", 0.01)
    monkeypatch.setattr("lightfm_fast.serve.metrics.forget", lambda process: None)
    supervisor = workers._Supervisor(workers.Service("model", workers=2), None, None, ())
    supervisor._workers = {ended.pid, other.pid}
    try:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        supervisor._bury()
        assert supervisor._workers == {other.pid}
        assert "no worker could be started" in capsys.readouterr().err
        assert next(supervisor._signals({signal.SIGUSR2})) == signal.SIGCHLD
        supervisor._bury()
        assert supervisor._workers == {other.pid, 2**30}
    finally:
        other.kill()
        other.wait()
        ended.wait()
