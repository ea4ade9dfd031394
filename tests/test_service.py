"""The example service, asked over HTTP by a client of the standard library."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

import lightfm_fast
from lightfm_fast import LightFM
from lightfm_fast.data import Dataset
from lightfm_fast.features import Categorical, FeatureSpec, QuantileBins

SERVICE = Path(__file__).parents[1] / "examples" / "service.py"
WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def train(path):
    """40 users by number with town and age, 30 items by a name that a path must quote."""
    rng = np.random.RandomState(0)
    users = {"user_id": list(range(40)), "town": ["Rome", "Oslo"] * 20, "age": (np.arange(40) + 20).tolist()}
    rows = {"user_id": rng.randint(40, size=600).tolist(), "item_id": [f"a/b {i}" for i in rng.randint(30, size=600)]}
    spec = FeatureSpec({"town": Categorical(), "age": QuantileBins(3)})
    dataset = Dataset.from_tables(rows, users, user_features=spec)
    model = LightFM(loss="warp", random_state=0)
    model.fit(dataset.interactions, user_features=dataset.user_features, epochs=5)
    model.save(path, dataset=dataset, encoders={"user": spec})


def start(path, *arguments):
    """Start the service at a port that is free, and wait for the line that tells it is there."""
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
    path = tmp_path_factory.mktemp("service") / "model.safetensors"
    train(path)
    return path


@pytest.fixture(scope="module")
def model(model_path):
    return LightFM.load(model_path)


@pytest.fixture(scope="module")
def ask(model_path):
    process, address = start(model_path)

    def ask(path, body=None):
        """Return the status and the document of the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
        try:
            with WITHOUT_PROXY.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    yield ask
    stop(process)


def check_list(model, found, ids, scores):
    status, document = found
    assert status == 200
    names = list(model.dataset_.mapping()[2])
    assert [pair["item"] for pair in document["items"]] == [names[item] for item in ids]
    assert_allclose([pair["score"] for pair in document["items"]], scores, rtol=1e-5, atol=1e-6)


def test_health(ask):
    assert ask("/health") == (200, {"users": 40, "items": 30, "user_columns": ["town", "age"]})


def test_recommendations_for_a_user(ask, model):
    ids, scores = model.recommend(7, 5, user_features=model.dataset_.user_features)
    check_list(model, ask("/users/7/recommendations?n=5"), ids[0], scores[0])
    assert len(ask("/users/7/recommendations")[1]["items"]) == 10
    assert len(ask("/users/7/recommendations?n=500")[1]["items"]) == 30


def test_similar_items(ask, model):
    number = model.dataset_.mapping()[2]["a/b 3"]
    ids, scores = model.similar_items(number, 4)
    check_list(model, ask(f"/items/{quote('a/b 3', safe='')}/similar?n=4"), ids[0], scores[0])


@pytest.mark.parametrize("features", [{}, {"town": "Oslo"}, {"town": "Oslo", "age": 31}, {"town": "Bern", "age": None}])
@pytest.mark.parametrize("items", [[], ["a/b 3", "a/b 4", "a/b 3"]])
def test_newcomers(ask, model, features, items):
    table = {"town": [features.get("town")], "age": [features.get("age")]}
    described = model.dataset_.encode_new_users(table, model.encoders_["user"])
    chosen = sp.lil_matrix((1, 30))
    for item in items:
        chosen[0, model.dataset_.mapping()[2][item]] = 1
    users = model.fold_in_users(chosen.tocsr(), described)
    ids, scores = model.recommend(0, 6, chosen.tocsr(), user_representations=users)
    found = ask("/recommendations?n=6", {"features": features, "items": items})
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
        ("/recommendations", {"features": {"town": ["Rome"]}}, 422, "expected text, numbers or the like"),
        ("/recommendations", {"items": ["x"]}, 422, "no items with ids ['x']"),
        ("/recommendations", {"likes": []}, 422, "Extra inputs are not permitted"),
        ("/recommendations", [], 422, "dict"),
        ("/nothing", None, 404, "Not Found"),
    ],
)
def test_requests_that_make_no_sense(ask, path, body, status, message):
    found, document = ask(path, body)
    assert (found, message in str(document["detail"])) == (status, True), document


def test_a_file_that_is_no_model(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(AssertionError, match="no safetensors file"):
        start(path)
