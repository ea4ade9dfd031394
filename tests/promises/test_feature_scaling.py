"""feature_scaling="balanced": any legal features train well, and every door of the model scales them alike."""

import copy
import os
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM, load
from lightfm_fast._feature_scaling import CROWDING, FLOOR, IDENTITY_WEIGHT, FeatureScaling, VisitedRows
from lightfm_fast.datasets import fetch_movielens, make_interactions
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import Dense, FeatureSpec
from lightfm_fast.sharded import ShardedDataset

N_USERS, N_ITEMS, K = 40, 30, 10


def with_identity(columns):
    return sp.hstack([sp.identity(columns.shape[0]), columns], format="csr", dtype=np.float32)


def make_noise(n_rows, seed):
    """Random columns: 1 to 200, dense or sparse, some constant, some alike, of one scale or each of another."""
    rng = np.random.default_rng(seed)
    n_columns = int(rng.integers(1, 201))
    values = rng.normal(loc=rng.choice([0.0, 2.0]), size=(n_rows, n_columns))
    values *= rng.random((n_rows, n_columns)) < rng.choice([0.05, 0.3, 1.0])
    is_constant = rng.random(n_columns) < rng.choice([0.0, 0.2])
    values[:, is_constant] = 1.0
    alike = rng.integers(0, n_columns, n_columns)
    is_copy = rng.random(n_columns) < rng.choice([0.0, 0.3, 1.0])
    values[:, is_copy] = values[:, alike[is_copy]]
    return with_identity(values * 10 ** rng.uniform(-3, 3, rng.choice([1, n_columns])))


def learned(features, visits, side, n_parts=1):
    """Return the scales of a matrix whose rows are read in parts."""
    rows = np.array_split(np.arange(features.shape[0]), n_parts)
    parts = [VisitedRows.of(features[chosen], visits[chosen]) for chosen in rows]
    return FeatureScaling.unscaled(0).extended(lambda: iter(parts), features.shape[1], side)


def ndcg(train, test, epochs=10, **features):
    model = LightFM.recommended(random_state=0).fit(train, epochs=epochs, **features)
    return evaluate(model, test, train, "ndcg", K, **features)[f"ndcg@{K}"], model


@pytest.fixture(scope="module")
def small():
    return make_interactions(300, 150, 12_000, random_state=0)


@pytest.fixture
def fitted():
    rng = np.random.default_rng(0)
    interactions = sp.coo_matrix((rng.random((N_USERS, N_ITEMS)) < 0.3).astype(np.float32))
    features = {
        "user_features": with_identity(rng.normal(size=(N_USERS, 3)) * [1e-3, 1.0, 1e3]),
        "item_features": with_identity(rng.random((N_ITEMS, 4)) < 0.4),
    }
    model = LightFM(8, loss="bpr", feature_scaling="balanced", random_state=0)
    return model.fit(interactions, epochs=3, **features), interactions, features


def scores_of(model, **features):
    users, items = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
    return model.predict(users, items, **features)


@pytest.mark.parametrize("n_parts", [1, 3])
def test_scales_are_those_of_the_docstring(n_parts):
    features = sp.csr_matrix([[2.0, 0, 3, 1], [0, 5, 3, 0], [0, 0, 0, 2], [0, 0, 6, 1]])
    visits = np.array([1.0, 2, 3, 0])
    scaled = learned(features, visits, "item", n_parts).apply(features).toarray()
    expected = np.zeros((4, 4))
    expected[0, 0] = expected[1, 1] = IDENTITY_WEIGHT["item"]
    size = np.sqrt([9, (1 * 1 + 3 * 4) / 4])
    typical = np.sqrt((1 * 2 + 2 * 1 + 3 * 1) / 6)
    share = np.array([3 / 6, 4 / 6])
    y = features.toarray()[:, 2:] / size / typical
    common = np.sqrt((1 + FLOOR**2) / (1 + CROWDING * share))
    expected[:, 2:] = y * common / np.sqrt((y**2).sum(axis=1, keepdims=True) + FLOOR**2)
    assert_allclose(scaled, expected, rtol=1e-6)


def test_scale_of_a_column_does_not_matter():
    rng = np.random.default_rng(1)
    features, visits = with_identity(rng.normal(size=(20, 5))), rng.integers(1, 9, 20).astype(float)
    stretched = features @ sp.diags(10 ** rng.uniform(-3, 3, 25))
    first, second = (learned(f, visits, "user").apply(f) for f in (features, stretched))
    assert_allclose(first.toarray(), second.toarray(), rtol=1e-5)


def test_identity_columns_alone_have_weight_1():
    features = sp.csr_matrix(np.diag([2.0, 0.5, 1e3]))
    scaled = learned(features, np.ones(3), "item").apply(features)
    assert_allclose(scaled.toarray(), np.eye(3), rtol=1e-6)


def noise_of(sides, shape, seed):
    seeds = {"user": seed, "item": seed + 1000}
    return {f"{side}_features": make_noise(shape[side == "item"], seeds[side]) for side in sides}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sides", [("user",), ("item",), ("user", "item")], ids="+".join)
def test_noise_costs_no_tenth_of_the_quality(small, sides, seed):
    train, test = small["train"], small["test"]
    without, _ = ndcg(train, test)
    noise = noise_of(sides, train.shape, seed)
    with_noise, model = ndcg(train, test, **noise)
    assert with_noise >= 0.9 * without, f"{noise}: {with_noise:.3f}, without {without:.3f}"
    assert model.history_[0]["loss"] < 1


def ndcg_of_shards(small, folder, user_features=None, item_features=None):
    """Train from shards, whose users have their noise as vectors, and measure in memory."""
    users = {"who": np.arange(small["train"].shape[0])}
    vectors = None
    if user_features is not None:
        users["noise"] = user_features[:, small["train"].shape[0] :].toarray().tolist()
        vectors = FeatureSpec({"noise": Dense()})
    entries = small["train"].tocoo()
    made = ShardedDataset.from_tables(
        [{"who": entries.row, "what": entries.col}],
        folder,
        user="who",
        item="what",
        users=users,
        items={"what": np.arange(entries.shape[1])},
        user_features=vectors,
        n_shards=3,
    )
    model = LightFM.recommended(random_state=0).fit(made, epochs=10, item_features=item_features)
    order = [user for shard in made for user in shard.user_ids]
    given = {"item_features": item_features}
    if user_features is not None:
        given["user_features"] = sp.vstack([shard.user_features for shard in made], format="csr")
    train, test = (sp.csr_matrix(small[name])[order] for name in ("train", "test"))
    return evaluate(model, test, train, "ndcg", K, **given)[f"ndcg@{K}"]


def test_noise_costs_no_tenth_of_the_quality_in_shards(small, tmp_path):
    without = ndcg_of_shards(small, tmp_path / "without")
    for seed in range(2):
        noise = noise_of(("user", "item"), small["train"].shape, seed)
        assert ndcg_of_shards(small, tmp_path / str(seed), **noise) >= 0.9 * without


@pytest.mark.skipif("LIGHTFM_FAST_DATA" not in os.environ, reason="MovieLens 100K is not there")
@pytest.mark.parametrize(("n_columns", "side"), [(8, "user"), (8, "item")])
def test_constant_columns_on_movielens(n_columns, side):
    data = fetch_movielens(min_rating=4.0)
    train, test = data["train"], data["test"]
    without, _ = ndcg(train, test)
    constant = with_identity(np.ones((train.shape[0 if side == "user" else 1], n_columns)))
    assert ndcg(train, test, **{f"{side}_features": constant})[0] >= 0.9 * without


def test_informative_features_help_new_items():
    data = make_interactions(800, 600, 20_000, random_state=0)
    interactions, features = (data["train"] + data["test"]).tocsr(), data["item_features"]
    is_new = np.random.default_rng(0).random(interactions.shape[1]) < 0.3
    train = sp.coo_matrix(interactions @ sp.diags((~is_new).astype(np.float32)))
    train.eliminate_zeros()
    wanted = interactions[:, is_new].toarray() > 0
    hits = {}
    for scaling in ("balanced", None):
        model = LightFM.recommended(random_state=0, feature_scaling=scaling, cold_start="features")
        model.fit(train, item_features=features, epochs=20)
        biases, items = model.get_item_representations(features)
        _, users = model.get_user_representations()
        scores = users @ items[is_new].T + biases[is_new]
        best = np.argsort(-scores, axis=1)[:, :5]
        hits[scaling] = np.take_along_axis(wanted, best, axis=1).mean()
    assert hits["balanced"] > 1.5 * max(hits[None], wanted.mean())


def test_every_door_scales_alike(fitted, tmp_path):
    model, interactions, features = fitted
    scores = scores_of(model, **features)
    users, items = (
        model.get_user_representations(features["user_features"]),
        model.get_item_representations(features["item_features"]),
    )
    expected = (users[1] @ items[1].T + users[0][:, None] + items[0]).ravel()
    assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    best = model.recommend(np.arange(N_USERS), 3, **features)
    assert_allclose(best.scores, -np.sort(-expected.reshape(N_USERS, N_ITEMS), axis=1)[:, :3], rtol=1e-4, atol=1e-5)
    explanation = model.explain(3, 5, **features)
    assert_allclose(explanation.score, scores[3 * N_ITEMS + 5], rtol=1e-4, atol=1e-5)
    assert_array_equal(explanation.user_weights, features["user_features"][[3]].data)  # weights are shown as given
    plain = model.to_matrix_factorization(**features)
    assert_allclose(scores_of(plain), scores, rtol=1e-4, atol=1e-5)
    half = model.to_matrix_factorization(item_features=features["item_features"], sides=["item"])
    assert_allclose(scores_of(half, user_features=features["user_features"]), scores, rtol=1e-4, atol=1e-5)
    path = tmp_path / "model.safetensors"
    model.save(path)
    for twin in (load(path), LightFM.load(path, mmap=True), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_array_equal(scores_of(twin, **features), scores)
        twin.fit_partial(interactions, epochs=1, **features)
    trained = copy.deepcopy(model).fit_partial(interactions, epochs=1, **features)
    assert_array_equal(scores_of(twin, **features), scores_of(trained, **features))
    newcomers = model.fold_in_users(interactions, epochs=0, **features)
    assert_allclose(newcomers.embeddings, users[1], rtol=1e-5)


@pytest.mark.parametrize(("loss", "pairs"), [("bpr", "cross"), ("bpr", "all"), ("softmax", "cross")])
def test_exported_graph_scales_alike(fitted, tmp_path, loss, pairs):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    runtime = pytest.importorskip("onnxruntime")
    _, interactions, features = fitted
    model = LightFM(8, loss=loss, interactions=pairs, feature_scaling="balanced", random_state=0)
    model.fit(interactions, epochs=3, **features)
    path = str(tmp_path / "model.onnx")
    model.export_onnx(path, "features", item_features=features["item_features"])
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = features["user_features"].toarray()
    (scores,) = session.run(["scores"], {"user_features": rows, "k": np.array([3], np.int64)})
    assert_allclose(scores.ravel(), scores_of(model, **features), rtol=1e-3, atol=1e-4)


def test_training_in_parts_is_training_at_once(fitted):
    model, interactions, features = fitted
    parts = LightFM(8, loss="bpr", feature_scaling="balanced", random_state=0)
    parts.fit(interactions, epochs=1, **features).fit_partial(interactions, epochs=2, **features)
    assert_array_equal(scores_of(parts, **features), scores_of(model, **features))


def test_known_scales_stay_when_the_model_grows(fitted):
    model, interactions, features = fitted
    grown = {**features, "item_features": sp.hstack([features["item_features"], np.ones((N_ITEMS, 2))]).tocsr()}
    before = model._items.scaling
    model.fit_partial(interactions, epochs=1, **grown)
    after = model._items.scaling
    assert_array_equal(after.packed()[:, : len(before.weights)], before.packed())
    assert (after.weights[-2:] > 0).all()
    assert after.typical == before.typical


def test_features_that_come_later_do_not_change_what_was_learned(fitted):
    _, interactions, features = fitted
    model = LightFM(8, loss="bpr", feature_scaling="balanced", random_state=0).fit(interactions, epochs=2)
    before = scores_of(model)
    model.fit_partial(interactions, epochs=0, item_features=features["item_features"])
    assert_allclose(scores_of(model, item_features=features["item_features"]), before, rtol=1e-4, atol=1e-5)


def test_refused_input_keeps_the_scales(fitted):
    model, interactions, features = fitted
    before = scores_of(model, **features)
    with pytest.raises(ValueError, match="rows"):
        model.fit(interactions, user_features=features["user_features"][:3])
    assert_array_equal(scores_of(model, **features), before)


def test_column_without_training_samples_is_left_out(fitted):
    model, _, features = fitted
    interactions = sp.coo_matrix((np.ones(2, np.float32), ([0, 1], [0, 1])), (N_USERS, N_ITEMS))
    model.fit(interactions, epochs=1, **features)
    unknown = sp.csr_matrix(([7.0], ([0], [N_USERS - 1])), (1, N_USERS + 3), dtype=np.float32)
    bias, embedding = model.get_user_representations(unknown)
    assert not bias.any()
    assert not embedding.any()


def test_without_scaling_weights_are_used_as_given(fitted):
    _, interactions, features = fitted
    model = LightFM(8, loss="bpr", random_state=0)
    model.fit(interactions, item_features=features["item_features"], epochs=2)
    expected = features["item_features"] @ model.item_embeddings
    assert_allclose(model.get_item_representations(features["item_features"])[1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", ["unit", 1, True])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="feature_scaling"):
        LightFM(feature_scaling=value)
