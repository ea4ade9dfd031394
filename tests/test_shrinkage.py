"""The penalty of an epoch against its proximal step in float64."""

from __future__ import annotations

import os

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._parameters import ParameterTable
from lightfm_fast._shrinkage import OwnFeatures, shrink
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.evaluation import evaluate
from lightfm_fast.sharded import ShardedDataset

N_USERS, N_ITEMS, C, ALPHA = 30, 20, 4.0, 0.3
SETTINGS = {"no_components": 5, "user_alpha": ALPHA, "item_alpha": 0.1, "random_state": 1}


@pytest.fixture(scope="module")
def interactions():
    """Some dislikes, and a user without interactions."""
    rng = np.random.RandomState(0)
    values = rng.choice([0, 0, 0, 1, 2, -1], (N_USERS, N_ITEMS))
    values[7] = 0
    return sp.coo_matrix(values.astype(np.float32))


def shrunk(model, squares, parameter="embedding"):
    """Return what the penalty of an epoch makes of a model's users, of whose features ``squares`` are the weights'."""
    field = "biases" if parameter == "bias" else "embeddings"
    values, seen, moved = (
        np.float64(getattr(model, f"user_{name}"))
        for name in (field, f"{parameter}_gradients", f"{parameter}_momentum")
    )
    lengths = model.learning_rate / np.sqrt(seen) if model.learning_schedule == "adagrad" else None
    if lengths is None:
        lengths = np.sqrt(moved + model.epsilon) / np.sqrt(seen + model.epsilon)
    return values / (1 + C * ALPHA * squares.reshape(-1, *[1] * (values.ndim - 1)) * lengths)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_users_without_any_feature_train(interactions, n_threads):
    """They share nothing and own nothing, so they are all alike."""
    model = LightFM.recommended(random_state=0)
    model.fit(interactions, user_features=sp.csr_matrix((N_USERS, 3)), num_threads=n_threads)
    assert np.isfinite(model.predict(0, np.arange(N_ITEMS), user_features=sp.csr_matrix((N_USERS, 3)))).all()


@pytest.mark.parametrize("loss", ["logistic", "bpr", "warp", "softmax"])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("has_features", [False, True])
def test_penalty_of_an_epoch(interactions, loss, schedule, has_features):
    """It steps the features that a trained user has alone. An epoch's draws do not depend on it."""
    features, squares = None, np.ones(N_USERS)
    if has_features:  # identities of weights from 0.5 to 1, in the last columns, beside two that users share
        weights = np.linspace(0.5, 1, N_USERS, dtype=np.float32)
        features = sp.hstack([np.eye(2)[np.arange(N_USERS) % 2], sp.diags(weights)], format="csr", dtype=np.float32)
        squares = np.concatenate([np.zeros(2), np.square(weights.astype(np.float64))])
    squares[7 - N_USERS] = 0  # the user without interactions
    settings = {**SETTINGS, "loss": loss, "learning_schedule": schedule}
    without = LightFM(**settings).fit(interactions, user_features=features)
    model = LightFM(**settings, user_shrinkage=C).fit(interactions, user_features=features)
    is_met = squares > 0 if not has_features else np.ones(len(squares), dtype=bool)  # others are placed after training
    assert_allclose(model.user_embeddings[is_met], shrunk(without, squares)[is_met], rtol=1e-6)
    biases = shrunk(without, squares, "bias") if loss == "logistic" else without.user_biases
    assert_allclose(model.user_biases, biases, rtol=1e-6)
    for name in ("item_embeddings", "user_embedding_gradients", "user_bias_gradients"):
        assert_array_equal(getattr(model, name), getattr(without, name))


def test_no_penalty_without_alpha(interactions):
    settings = {**SETTINGS, "loss": "bpr", "user_alpha": 0.0}
    one, other = (LightFM(**settings, user_shrinkage=c).fit(interactions, epochs=3) for c in (0, C))
    assert_array_equal(one.user_embeddings, other.user_embeddings)


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_users_with_shared_features_alone_have_no_penalty(interactions, schedule):
    features = np.eye(2, dtype=np.float32)[np.arange(N_USERS) % 2]
    settings = {**SETTINGS, "loss": "logistic", "learning_schedule": schedule}
    one, other = (
        LightFM(**settings, user_shrinkage=c).fit(interactions, user_features=features, epochs=2) for c in (0, C)
    )
    assert_array_equal(one.user_embeddings, other.user_embeddings)
    assert_array_equal(one.user_biases, other.user_biases)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("size", [1e-30, 1, 1e25])
@pytest.mark.parametrize("alpha", [1e-45, 3e38])
@pytest.mark.parametrize("settings", [{}, {"learning_schedule": "adadelta", "epsilon": 0.0}])
def test_extreme_penalties_keep_parameters_finite(settings, alpha, size):
    """1e25 squared is beyond the largest number in single precision."""
    model = LightFM(loss="logistic", user_alpha=alpha, user_shrinkage=1e6, **settings)
    table = ParameterTable(N_USERS, 5, model.learning_schedule, model.initial_accumulator)
    table.view("embeddings")[...] = table.view("biases")[...] = 1
    own = OwnFeatures.of(sp.csr_matrix(sp.identity(N_USERS, dtype=np.float32) * np.float32(size)), np.arange(N_USERS))
    shrink(model.get_params(), table, own)
    assert np.isfinite(table.rows).all()
    assert np.isfinite(table.biases).all()


def test_users_who_are_not_in_the_call_stay(interactions):
    model = LightFM(**SETTINGS, loss="bpr", user_shrinkage=C).fit(interactions, epochs=2)
    before = model.user_embeddings.copy()
    later = sp.coo_matrix((np.ones(3, np.float32), ([1, 1, 2], [3, 4, 5])), shape=interactions.shape)
    model.fit_partial(later)
    changed = np.flatnonzero((model.user_embeddings != before).any(axis=1))
    assert set(changed) - {7} == {1, 2}  # user 7 has no interactions at all


def test_training_in_parts_is_training_in_one(interactions, tmp_path):
    settings = {**SETTINGS, "loss": "bpr", "user_shrinkage": C}
    whole = LightFM(**settings).fit(interactions, epochs=4)
    LightFM(**settings).fit(interactions, epochs=2).save(tmp_path / "model.safetensors")
    parts = LightFM.load(tmp_path / "model.safetensors").fit_partial(interactions, epochs=2)
    assert parts.user_shrinkage == C
    assert_array_equal(parts.user_embeddings, whole.user_embeddings)
    assert_array_equal(parts.item_embeddings, whole.item_embeddings)


def test_folded_in_users_stay_near_where_they_start(interactions):
    """The penalty is on the distance from the start, which is where their features put them."""
    features = sp.hstack([np.eye(2)[np.arange(N_USERS) % 2], sp.identity(N_USERS)], format="csr", dtype=np.float32)
    model = LightFM(**SETTINGS, loss="bpr", learning_rate=0.1).fit(interactions, user_features=features, epochs=10)
    new = sp.coo_matrix(interactions.toarray()[:4])
    of_new = sp.csr_matrix(np.hstack([np.eye(2)[[0, 1, 0, 1]], np.zeros((4, N_USERS))]), dtype=np.float32)
    _, start = model.get_user_representations(of_new)
    for given, centre in ((of_new, start), (None, np.zeros_like(start))):
        model.user_shrinkage = 0
        free = model.fold_in_users(new, user_features=given, epochs=20).embeddings - centre
        model.user_shrinkage = 30
        near = model.fold_in_users(new, user_features=given, epochs=20).embeddings - centre
        assert (np.linalg.norm(near, axis=1) < 0.7 * np.linalg.norm(free, axis=1)).all()
    nobody = model.fold_in_users(sp.coo_matrix((4, N_ITEMS)), user_features=of_new).embeddings
    assert_array_equal(nobody, start)


def test_biases_of_folded_in_users_stay_near_where_they_start(interactions):
    features = np.eye(2, dtype=np.float32)[np.arange(N_USERS) % 2]
    model = LightFM(**SETTINGS, loss="logistic", user_shrinkage=1e6).fit(interactions, features, epochs=10)
    biases, embeddings = model.get_user_representations(features)
    folded = model.fold_in_users(interactions, user_features=features)
    assert np.abs(biases).min() > 0.01
    assert_allclose(folded.biases, biases, rtol=1e-3)
    assert_allclose(folded.embeddings, embeddings, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("has_features", [False, True])
def test_penalty_in_shards(has_features, tmp_path):
    """Each user is in one shard, and so in one part of an epoch."""
    rng = np.random.RandomState(2)
    views = {"user": [f"u{i}" for i in rng.randint(40, size=400)], "item": [f"i{i}" for i in rng.randint(15, size=400)]}
    users = {"user": [f"u{i}" for i in range(40)], "town": [f"t{i % 2}" for i in range(40)]}
    options = {"users": users} if has_features else {}
    shards = ShardedDataset.from_tables([views], tmp_path / "s", user="user", item="item", n_shards=3, **options)
    settings = {**SETTINGS, "loss": "bpr"}
    dask = pytest.importorskip("lightfm_fast.dask")
    kinds = [lambda **chosen: LightFM(**settings, **chosen).fit(shards)]
    kinds.append(lambda **chosen: dask.DaskLightFM(syncs_per_epoch=2, **settings, **chosen).fit(shards).to_local())
    for train in kinds:
        without, model = train(), train(user_shrinkage=C)
        own = np.arange(len(without.user_embeddings)) < shards.shape[0]
        weights = np.ones(shards.shape[0])
        if has_features:
            matrices = [shards.user_features(number) for number in range(len(shards))]
            weights = sp.vstack(matrices, format="csr")[:, : shards.shape[0]].diagonal()
        squares = np.concatenate([np.square(weights), np.zeros((~own).sum())])
        assert_allclose(model.user_embeddings, shrunk(without, squares), rtol=1e-6)
        assert_array_equal(model.item_embeddings, without.item_embeddings)


def test_users_of_few_interactions_are_ranked_better():
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if folder is None or not os.path.exists(os.path.join(folder, "ml-100k.zip")):
        pytest.skip("LIGHTFM_FAST_DATA names no folder with ml-100k.zip")
    data = fetch_movielens(folder, min_rating=4.0, download_if_missing=False)
    rng, train, test = np.random.RandomState(0), sp.csr_matrix(data["train"]), sp.csr_matrix(data["test"])
    few = rng.rand(train.shape[0]) < 1 / 3
    for user in np.flatnonzero(few):
        items = train.indices[train.indptr[user] : train.indptr[user + 1]]
        kept = rng.permutation(len(items))[: rng.randint(1, 6)]
        train.data[train.indptr[user] : train.indptr[user + 1]] = np.isin(np.arange(len(items)), kept)
    train.eliminate_zeros()
    gains = []
    for seed in range(2):
        found = []
        for c in (0, 3):
            model = LightFM.recommended(random_state=seed, item_alpha=0.05, user_alpha=0.05, user_shrinkage=c)
            model.fit(sp.coo_matrix(train), epochs=40)
            wanted = sp.diags(few.astype(np.float32)) @ test
            found.append(evaluate(model, wanted, train, metrics=["ndcg"], k=20)["ndcg@20"])
        gains.append(found[1] / found[0])
    assert np.mean(gains) > 1.01
