"""An ONNX runtime computes the scores that the model predicts."""

import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from tests.models import N_LIKING, make_cold_items

pytest.importorskip("onnx", reason="the extra onnx is not installed")
runtime = pytest.importorskip("onnxruntime")

N_USERS, N_ITEMS = 9, 31
K = np.array([4], dtype=np.int64)


def make_model(loss="logistic", interactions="cross", **features):
    model = LightFM(5, loss=loss, interactions=interactions, random_state=0)
    model.fit_partial(sp.coo_matrix((N_USERS, N_ITEMS), dtype=np.float32), epochs=0, **features)
    rng = np.random.RandomState(0)
    for name in ("user_embeddings", "item_embeddings", "user_biases", "item_biases"):
        setattr(model, name, rng.normal(size=getattr(model, name).shape))
    return model


def make_features():
    rng = np.random.RandomState(1)
    return {
        "user_features": sp.csr_matrix(rng.normal(size=(N_USERS, 4)), dtype=np.float32),
        "item_features": sp.csr_matrix(rng.normal(size=(N_ITEMS, 6)), dtype=np.float32),
    }


def run(path, k=K, **inputs):
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["scores", "top_ids", "top_scores"], {**inputs, "k": k})


@pytest.mark.parametrize("with_features", [False, True], ids=["identity", "features"])
@pytest.mark.parametrize("inputs", ["ids", "features"])
@pytest.mark.parametrize(("loss", "interactions"), [("logistic", "cross"), ("logistic", "all"), ("softmax", "cross")])
def test_runtime_agrees(tmp_path, loss, interactions, inputs, with_features):
    features = make_features() if with_features else {}
    model = make_model(loss, interactions, **features)
    if loss == "softmax" and not with_features:
        model.user_embeddings[3] = 0
    path = str(tmp_path / "model.onnx")
    users = np.array([3, 0, 8, 3])
    if inputs == "ids":
        model.export_onnx(path, **features)
        scores, ids, best = run(path, user_ids=users)
    else:
        model.export_onnx(path, inputs, item_features=features.get("item_features"))
        rows = features["user_features"].toarray() if with_features else np.eye(N_USERS, dtype=np.float32)
        scores, ids, best = run(path, user_features=rows[users])
    for user, row in zip(users, scores, strict=True):
        predicted = model.predict(np.full(N_ITEMS, user), np.arange(N_ITEMS), **features)
        assert_allclose(row, predicted, rtol=1e-5, atol=1e-5)
    expected = model.recommend(users, int(K[0]), **features)
    assert_array_equal(ids, expected.ids)
    assert_allclose(best, expected.scores, rtol=1e-5, atol=1e-5)
    assert ids.dtype == np.int64


@pytest.mark.parametrize("k", [0, 1, N_ITEMS - 1, N_ITEMS, N_ITEMS + 1, 10 * N_ITEMS])
@pytest.mark.parametrize("users", [[], [4], [4, 0]])
def test_lists_are_padded_as_those_of_recommend(tmp_path, k, users):
    model = make_model()
    path = str(tmp_path / "model.onnx")
    model.export_onnx(path)
    _, ids, scores = run(path, np.array([k]), user_ids=np.array(users, np.int64))
    assert ids.shape == scores.shape == (len(users), k)
    if k and users:
        expected = model.recommend(users, k)
        assert_array_equal(ids, expected.ids)
        assert_allclose(scores, expected.scores, rtol=1e-5, atol=1e-5)


def test_lower_rows_come_first_among_equals(tmp_path):
    model = make_model()
    model.item_embeddings = np.ones((N_ITEMS, 5))
    model.item_biases = np.zeros(N_ITEMS)
    model.export_onnx(tmp_path / "model.onnx")
    assert_array_equal(run(str(tmp_path / "model.onnx"), user_ids=np.array([2]))[1], [np.arange(K[0])])


def test_input_is_judged(tmp_path, monkeypatch):
    model = make_model(**make_features())
    with pytest.raises(ValueError, match="inputs is 'rows'"):
        model.export_onnx(tmp_path / "model.onnx", "rows")
    with pytest.raises(ValueError, match="needs them here too"):
        model.export_onnx(tmp_path / "model.onnx", "features")
    with pytest.raises(ValueError, match="leave them out here"):
        model.export_onnx(tmp_path / "model.onnx", "features", **make_features())
    with pytest.raises(ValueError, match="fit the model"):
        LightFM().export_onnx(tmp_path / "model.onnx")
    monkeypatch.setattr("lightfm_fast.export.LARGEST_GRAPH", 100)
    with pytest.raises(ValueError, match="an ONNX file holds"):
        make_model().export_onnx(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"lightfm_fast\[onnx\]"):
        make_model().export_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    model = make_model()
    model.export_onnx(path)
    written = path.read_bytes()

    def fail_half_way(proto, file, **_):
        Path(file).write_bytes(proto.SerializeToString()[:100])
        raise OSError("no space left")

    monkeypatch.setattr("onnx.save", fail_half_way)
    with pytest.raises(OSError, match="no space left"):
        model.export_onnx(path)
    assert path.read_bytes() == written
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("inputs", ["ids", "features"])
@pytest.mark.parametrize(("cold_start", "n_linear"), [("content", 0), ("content", 5), ("features", 5)])
def test_runtime_agrees_where_there_are_coordinates(tmp_path, inputs, cold_start, n_linear):
    train, _, features = make_cold_items()
    model = LightFM(6, loss="bpr", cold_start=cold_start, linear_components=n_linear, random_state=0)
    model.fit(train, item_features=features, epochs=5)
    path = str(tmp_path / "model.onnx")
    model.export_onnx(path, inputs=inputs, item_features=features)
    users = np.arange(N_LIKING)
    given = {"user_ids": users} if inputs == "ids" else {"user_features": np.eye(N_LIKING, dtype=np.float32)}
    scores, _, best = run(path, **given)
    expected = model.recommend(users, n=4, item_features=features)
    assert_allclose(best, expected.scores, rtol=1e-4, atol=1e-5)
    assert_allclose(scores[2], model.predict(2, np.arange(features.shape[0]), item_features=features), rtol=1e-4)


@pytest.mark.parametrize("n_numbers", [0, 2])
def test_runtime_agrees_where_a_mapping_places_new_users(tmp_path, n_numbers):
    train, _, features = make_cold_items()  # the items' features, for users
    numbers = np.random.RandomState(0).standard_normal((features.shape[0], n_numbers)) + 3
    numbers[-1] = 0
    features = sp.csr_matrix(sp.hstack([features, numbers]), dtype=np.float32)
    likes = sp.coo_matrix(train.T)
    model = LightFM(6, loss="bpr", cold_start="mapping", feature_scaling="balanced", random_state=0)
    model.fit(likes, user_features=features, epochs=5)
    path = str(tmp_path / "model.onnx")
    model.export_onnx(path, inputs="features")
    scores, *_ = run(path, user_features=features.toarray())
    n_users, n_items = features.shape[0], likes.shape[1]
    users, items = np.repeat(np.arange(n_users), n_items), np.tile(np.arange(n_items), n_users)
    expected = model.predict(users, items, user_features=features)
    assert_allclose(scores.ravel(), expected, rtol=1e-3, atol=1e-5)

    alone = sp.csr_matrix(([1.0], ([0], [0])), shape=(n_users, 1))
    wider = sp.csr_matrix(sp.hstack([features, alone]), dtype=np.float32)
    model.fit(likes, user_features=wider, epochs=1)
    with pytest.raises(ValueError, match="several columns"):
        model.export_onnx(path, inputs="features")
