"""A user without a past gets popular items, whatever the loss."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES
from lightfm_fast._met import RIDGE, least_squares, popular_embedding
from lightfm_fast.datasets import fetch_movielens

N_USERS, N_ITEMS, N_COLD, N = 200, 60, 5, 5


@pytest.fixture(scope="module")
def data():
    """Interactions by popularity only; the last users and the last item have none. Dislikes do not count."""
    rng = np.random.RandomState(0)
    chances = np.r_[rng.permutation(np.linspace(0.02, 0.6, N_ITEMS - 1) ** 2 * 2), 0]
    interactions = (rng.rand(N_USERS, N_ITEMS) < chances).astype(np.float32)
    interactions[-N_COLD:] = 0
    popularity = interactions.sum(axis=0)
    interactions[:-N_COLD, -1] = -1
    tags = (np.arange(N_ITEMS)[:, None] % 4 == np.arange(4)).astype(np.float32)
    groups = (np.arange(N_USERS)[:, None] % 3 == np.arange(3)).astype(np.float32)
    features = {
        "item_features": sp.hstack([sp.identity(N_ITEMS), tags], format="csr"),
        "user_features": sp.hstack([sp.identity(N_USERS), groups], format="csr"),
    }
    return sp.coo_matrix(interactions), popularity, features


def check_popular(recommended, popularity):
    """On average the items are among the most popular tenth and fifth."""
    ranks = np.empty(N_ITEMS)
    ranks[np.argsort(-popularity)] = np.arange(N_ITEMS)
    assert ranks[recommended.ids].mean() < N_ITEMS / 5, ranks[recommended.ids]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("sides", [(), ("item_features",)])
def test_a_user_without_a_past_gets_popular_items(data, tmp_path, loss, schedule, sides):
    interactions, popularity, features = data
    given = {name: features[name] for name in sides}
    model = LightFM(16, loss=loss, learning_schedule=schedule, learning_rate=0.1, random_state=1)
    model.fit(interactions, epochs=10, **given)
    path = tmp_path / "model"
    model.save(path, optimizer_state=False)
    for served in (model, LightFM.load(path), model.to_matrix_factorization(**given)):
        items = {} if served.item_embeddings.shape[0] == N_ITEMS else given
        cold = np.arange(N_USERS - N_COLD, N_USERS)
        check_popular(served.recommend(cold, n=N, **items), popularity)
        nobody = served.fold_in_users(sp.coo_matrix((1, N_ITEMS)), **items)
        check_popular(served.recommend([0], n=N, user_representations=nobody, **items), popularity)


PRESETS = ("fast", "ranking")


@pytest.mark.parametrize("kind", [*LOSSES, *PRESETS])
@pytest.mark.parametrize("with_items", [False, True])
def test_features_of_users_without_a_past_may_be_known_unknown_or_missing(data, kind, with_items):
    interactions, popularity, features = data
    users = features["user_features"].tolil()
    users.resize(N_USERS, N_USERS + 4)
    users[-3:, N_USERS : N_USERS + 3] = 0  # three have no group, and one of them a feature that nobody else has
    users[-1, -1] = 1
    given = {"user_features": users.tocsr()}
    if with_items:
        given["item_features"] = features["item_features"]
    options = {"no_components": 16, "random_state": 1}
    if kind in PRESETS:
        model = LightFM.recommended(kind, **options)
    else:
        model = LightFM(loss=kind, learning_rate=0.1, **options)
    model.fit(interactions, epochs=24 if kind in PRESETS else 10, **given)
    check_popular(model.recommend(np.arange(N_USERS - N_COLD, N_USERS), n=N, **given), popularity)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("negatives", ["popularity", "hardest"])
def test_the_list_without_a_past_is_as_good_as_popularity(loss, negatives):
    """On MovieLens, for a tenth of the users: the share of a user's likes in the first ten."""
    if negatives == "hardest" and loss != "bpr":
        pytest.skip("for bpr only")
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if not folder or not Path(folder, "ml-100k.zip").is_file():
        pytest.skip("LIGHTFM_FAST_DATA names no folder with ml-100k.zip")
    data = fetch_movielens(folder, min_rating=4.0, download_if_missing=False)
    interactions = (data["train"] + data["test"]).tocsr()
    cold = np.arange(0, interactions.shape[0], 10)
    train = interactions.tolil()
    train[cold] = 0
    model = LightFM(16, loss=loss, negatives=negatives, random_state=1).fit(train, epochs=5)
    popular = np.argsort(-np.asarray((train > 0).sum(axis=0)).ravel())[:10]
    truth = interactions[cold].toarray() > 0
    found = np.take_along_axis(truth, model.recommend(cold, n=10).ids, axis=1).mean()
    assert found > 0.9 * truth[:, popular].mean()


@pytest.mark.parametrize("n_components", [1, 8, 40])
def test_a_popular_embedding_orders_as_far_as_components_go(n_components):
    rng = np.random.RandomState(3)
    counts = rng.permutation(np.geomspace(1, 1000, 30).astype(np.int64))
    counts[:3] = 0
    embeddings = rng.standard_normal((30, n_components)).astype(np.float32)
    by_popularity = (np.log(np.maximum(counts, 1))).astype(np.float32)
    assert not popular_embedding(embeddings, by_popularity, counts).any()  # biases order already
    embedding = popular_embedding(embeddings, -by_popularity, counts)
    first = np.argsort(-(embeddings @ embedding - by_popularity)[3:])[:5] + 3
    if n_components == 40:
        assert_array_equal(np.sort(first), np.sort(np.argsort(-counts)[:5]))
    elif n_components == 8:
        assert counts[first].sum() > 5 * np.sort(counts[3:])[:5].sum()
    assert popular_embedding(embeddings, -by_popularity, np.zeros(30, np.int64)).tolist() == [0.0] * n_components


@pytest.mark.parametrize("n_columns", [3, 30, 200])
def test_least_squares_by_rows_and_by_columns_are_one(n_columns):
    rng = np.random.RandomState(4)
    design, wanted, weights = rng.standard_normal((30, n_columns)), rng.standard_normal(30), rng.uniform(0.1, 1, 30)
    normal = (design.T * weights) @ design
    ridge = RIDGE * np.trace(normal) / n_columns * np.eye(n_columns)
    expected = np.linalg.solve(normal + ridge, (design.T * weights) @ wanted)
    assert_allclose(least_squares(design, wanted, weights), expected, rtol=1e-6, atol=1e-8)


def test_a_user_without_a_past_costs_no_square_of_components(data):
    model = LightFM(1 << 16, loss="bpr", random_state=1).fit(data[0])  # the square would take 34 GB
    assert np.isfinite(model.recommend([N_USERS - 1], n=N).scores).all()


def test_popularity_orders_only_items_of_equal_cosine(data):
    interactions, popularity, features = data
    for given in ({}, {"item_features": features["item_features"]}):
        model = LightFM(loss="softmax", random_state=1).fit(interactions, epochs=3, **given)
        assert 0 < np.abs(model.item_biases).max() < 1e-4
        biases, _ = model.get_item_representations(*given.values())
        assert_array_equal(np.argsort(-biases, kind="stable")[:N], np.argsort(-popularity, kind="stable")[:N])
        assert np.abs(biases).max() < 2e-6
        cold = model.recommend([N_USERS - 1], n=N, **given)
        assert_array_equal(np.sort(cold.ids[0]), np.sort(np.argsort(-popularity, kind="stable")[:N]))


def test_features_without_a_past_start_at_zero_and_learn_once_they_have_one(data):
    interactions, _, features = data
    groups = features["user_features"][:, N_USERS:]
    late = groups.tocsc()[:, [0, 1, 2, 2]].tolil()
    late[:, 3] = 0
    late[N_USERS - 1] = [[0, 0, 0, 1]]  # a feature that only a user without a past has
    late = late.tocsr()
    model = LightFM(loss="softmax", random_state=1).fit(interactions, epochs=2, user_features=late)
    assert_array_equal(np.any(model.user_embeddings != 0, axis=1), [True, True, True, False])
    more = interactions.tolil()
    more[N_USERS - 1, :10] = 1
    model.fit_partial(more, epochs=5, user_features=late)
    assert model.user_embeddings[3].any()


@pytest.mark.parametrize("loss", ["warp", "logistic"])
def test_biases_that_another_loss_learned_stay(data, loss):
    interactions, *_ = data
    model = LightFM(loss=loss, random_state=1).fit(interactions, epochs=2)
    learned = model.item_biases.copy()
    model.set_params(loss="softmax").fit_partial(interactions)
    assert_array_equal(model.item_biases, learned)


def test_training_in_parts_gives_the_same_biases(data):
    interactions, *_ = data
    whole = LightFM(loss="softmax", random_state=1).fit(interactions, epochs=3)
    parts = LightFM(loss="softmax", random_state=1)
    for _ in range(3):
        parts.fit_partial(interactions)
    assert_array_equal(parts.item_biases, whole.item_biases)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_without_any_positive_nothing_is_popular(data, value):
    features = data[2]["item_features"]
    model = LightFM(loss="softmax").fit(sp.coo_matrix(np.full((1, 1), value)), item_features=features)
    assert not model.item_biases.any()
