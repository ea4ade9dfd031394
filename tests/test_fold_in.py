"""Newcomers are folded in by the model's objective, and the model does not change."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES

from .models import STATE

N_USERS, N_ITEMS, N_NEW = 80, 40, 10


@pytest.fixture(scope="module")
def data():
    """Two groups of users, each with its items; interactions of the known and of new users and items."""
    rng = np.random.RandomState(0)

    def draw(n_users, n_items, density=0.4):
        same = np.equal.outer(np.arange(n_users) % 2, np.arange(n_items) % 2)
        return sp.coo_matrix((same & (rng.rand(n_users, n_items) < density)).astype(np.float32))

    return {"known": draw(N_USERS, N_ITEMS), "users": draw(N_NEW, N_ITEMS, 0.3), "items": draw(N_USERS, N_NEW, 0.3)}


def features_of(n_rows, n_columns):
    """An indicator for each known row, and one for each group; new rows have the group's indicator only."""
    own = np.eye(n_rows) if n_rows == n_columns else np.zeros((n_rows, n_columns))
    return sp.csr_matrix(np.hstack([own, np.eye(2)[np.arange(n_rows) % 2]]))


def labelled(interactions, loss):
    """Give the logistic loss the negatives that it does not draw for itself."""
    if loss != "logistic":
        return interactions
    dense = interactions.toarray()
    drawn = np.random.RandomState(1).rand(*dense.shape) < 0.3
    return sp.coo_matrix(np.where(dense > 0, 1.0, -1.0 * drawn))


def fitted(data, loss, schedule="adagrad", **features):
    model = LightFM(no_components=8, loss=loss, learning_schedule=schedule, random_state=1)
    return model.fit(labelled(data["known"], loss), epochs=30, **features)


def group_gap(scores):
    """Return how much higher the items of a user's group score than the items of the other group."""
    same = np.equal.outer(np.arange(scores.shape[0]) % 2, np.arange(scores.shape[1]) % 2)
    return scores[same].mean() - scores[~same].mean()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_new_users_find_their_group(data, loss, schedule, num_threads):
    model = fitted(data, loss, schedule)
    users = model.fold_in_users(labelled(data["users"], loss), num_threads=num_threads)
    biases, items = model.get_item_representations()
    assert users.embeddings.shape == (N_NEW, 8)
    assert users.biases.shape == (N_NEW,)
    assert users.embeddings.dtype == users.biases.dtype == np.float32
    scores = users.embeddings @ items.T + biases + users.biases[:, None]
    same = np.equal.outer(np.arange(N_NEW) % 2, np.arange(N_ITEMS) % 2)
    unknown = data["users"].toarray() == 0
    for user in range(N_NEW):  # only among the items that the user is not known to like
        assert scores[user, same[user] & unknown[user]].mean() > scores[user, ~same[user]].mean()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("assigned", [False, True])
def test_a_new_user_alone_finds_its_group(data, loss, assigned):
    model = fitted(data, loss)
    if assigned:  # to a model that training has not told which items are popular
        state, model = {name: getattr(model, name) for name in STATE}, LightFM(no_components=8, loss=loss)
        for name, value in state.items():
            setattr(model, name, value)
    items = model.get_item_representations()[1]
    for user in range(N_NEW):
        one = sp.csr_matrix(labelled(data["users"], loss))[user]
        scores = model.fold_in_users(one).embeddings[0] @ items.T
        assert scores[user % 2 :: 2].mean() > scores[1 - user % 2 :: 2].mean()


@pytest.mark.parametrize("loss", LOSSES)
def test_new_items_find_their_group(data, loss):
    model = fitted(data, loss)
    items = model.fold_in_items(labelled(data["items"], loss), None if loss == "logistic" else data["known"])
    assert items.embeddings.shape == (N_NEW, 8)
    biases, users = model.get_user_representations()
    assert group_gap(users @ items.embeddings.T + items.biases + biases[:, None]) > 0.5


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
def test_new_items_do_not_outrank_the_known_ones_everywhere(data, loss):
    model = fitted(data, loss)
    new = model.fold_in_items(data["items"], data["known"], epochs=20)
    (known_biases, known), (_, users) = model.get_item_representations(), model.get_user_representations()
    scores = users @ np.vstack([known, new.embeddings]).T + np.concatenate([known_biases, new.biases])
    among_first = np.argsort(-scores, axis=1)[:, :10] >= N_ITEMS
    assert 0.02 < among_first.mean() < 0.4  # a fifth of the items are new


@pytest.mark.parametrize("mapped", [False, True])
def test_the_model_is_not_touched(data, tmp_path, mapped):
    model = fitted(data, "warp")
    if mapped:
        model.save(tmp_path / "model")
        model = LightFM.load(tmp_path / "model", mmap=True)
    before = copy.deepcopy(model)
    model.fold_in_users(data["users"])
    model.fold_in_items(data["items"], data["known"])
    assert model.item_embeddings.flags.writeable != mapped
    for name in STATE:
        assert_array_equal(getattr(model, name), getattr(before, name))
    assert model.history_ == before.history_
    for name in STATE:  # the random state too is where it was
        trained = [getattr(m.fit_partial(data["known"]), name) for m in (copy.deepcopy(model), copy.deepcopy(before))]
        assert_array_equal(*trained)


def test_the_same_input_gives_the_same_bits(data):
    model = fitted(data, "warp")
    for first, second in zip(model.fold_in_users(data["users"]), model.fold_in_users(data["users"]), strict=True):
        assert_array_equal(first, second)


def test_one_logistic_step_is_the_objectives(data):
    """A single sample of a user that starts at 0: q = rate * sigma(-b) * p, b_u = rate * sigma(-b)."""
    model = fitted(data, "logistic")
    one = sp.coo_matrix(([1.0], ([0], [3])), shape=(1, N_ITEMS))
    users = model.fold_in_users(one, epochs=1)
    slope = 1 / (1 + np.exp(model.item_biases[3].astype(np.float64)))
    assert_allclose(users.embeddings[0], 0.05 * slope * model.item_embeddings[3], rtol=1e-3)
    assert_allclose(users.biases, [0.05 * slope], rtol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_newcomers_start_where_their_features_put_them(data, loss):
    users, items = features_of(N_USERS, N_USERS), features_of(N_ITEMS, N_ITEMS)
    model = fitted(data, loss, user_features=users, item_features=items)
    new_users, new_items = features_of(N_NEW, N_USERS), features_of(N_NEW, N_ITEMS)
    start = model.get_user_representations(new_users)[::-1]
    folded = model.fold_in_users(sp.coo_matrix((N_NEW, N_ITEMS)), new_users, items)
    for found, expected in zip(folded, start, strict=True):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    # features put these users into the other group, and their interactions bring them back
    contrary = new_users[np.arange(N_NEW) ^ 1]
    biases, embeddings = model.get_item_representations(items)
    before, after = (
        users.embeddings @ embeddings.T + biases
        for users in (
            model.fold_in_users(labelled(data["users"], loss), contrary, items, epochs=epochs) for epochs in (0, 20)
        )
    )
    assert group_gap(before) < -0.5
    assert group_gap(after) > group_gap(before) + 0.5

    start = model.get_item_representations(new_items)[::-1]
    for found, expected in zip(
        model.fold_in_items(labelled(data["items"], loss), data["known"], users, new_items, items, epochs=0),
        start,
        strict=True,
    ):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_nobody_known_is_at_zero(data):
    model = fitted(data, "warp")
    users = model.fold_in_users(sp.coo_matrix((3, N_ITEMS)))
    assert not users.embeddings.any()
    assert not users.biases.any()


BAD = {
    "more items than known": ("41 items", lambda m, d: m.fold_in_users(np.ones((2, N_ITEMS + 1)))),
    "more users than known": ("81 users", lambda m, d: m.fold_in_items(np.ones((N_USERS + 1, 2)), d["known"])),
    "NaN": ("NaN", lambda m, d: m.fold_in_users(np.full((2, N_ITEMS), np.nan))),
    "no known interactions": ("known_interactions", lambda m, d: m.fold_in_items(d["items"])),
    "another number of users": ("80", lambda m, d: m.fold_in_items(d["items"], np.ones((3, N_ITEMS)))),
    "user features": ("user_features", lambda m, d: m.fold_in_users(d["users"], np.ones((N_NEW, 3)))),
    "too few rows": ("user_features", lambda m, d: m.fold_in_users(d["users"], np.ones((2, N_USERS)))),
    "item features": ("item_features", lambda m, d: m.fold_in_users(d["users"], None, np.ones((N_ITEMS, 3)))),
    "negative epochs": ("epochs", lambda m, d: m.fold_in_users(d["users"], epochs=-1)),
    "no threads": ("num_threads", lambda m, d: m.fold_in_users(d["users"], num_threads=0)),
    "not fitted": ("fit the model", lambda m, d: LightFM().fold_in_users(d["users"])),
    "not fitted either": ("fit the model", lambda m, d: LightFM().fold_in_items(d["items"], d["known"])),
    "divergence": ("diverged", lambda m, d: m.set_params(learning_rate=1e38).fold_in_users(d["users"], epochs=9)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(data, case):
    message, use = BAD[case]
    model = fitted(data, "warp")
    with pytest.raises(ValueError, match=message):
        use(model, data)


def test_forgotten_features_are_asked_for(data):
    model = fitted(data, "warp", item_features=features_of(N_ITEMS, N_ITEMS))
    with pytest.raises(ValueError, match="item_features"):
        model.fold_in_users(data["users"])
    with pytest.raises(ValueError, match="item_features"):
        model.fold_in_items(data["items"], data["known"])


@pytest.mark.parametrize("loss", ["bpr", "warp", "softmax"])
def test_frozen_items_serve_many_calls(data, loss):
    features = {"user_features": features_of(N_USERS, N_USERS), "item_features": features_of(N_ITEMS, N_ITEMS)}
    model = fitted(data, loss, **features)
    frozen = model.freeze_items(features["item_features"])
    before = frozen.table.rows.copy()
    newcomers = data["users"], features_of(N_NEW, N_USERS), features["item_features"]
    expected = model.fold_in_users(*newcomers)
    for _ in range(3):
        for part, again in zip(expected, model.fold_in_users(*newcomers, frozen_items=frozen), strict=True):
            assert_array_equal(part, again)
    assert_allclose(frozen.table.rows, before, atol=1e-12)
    with pytest.raises(ValueError, match="interactions has 10 items but frozen_items has 40"):
        model.fold_in_users(data["items"], frozen_items=frozen)
    model.set_params(no_components=3)
    model.fit(data["known"])
    with pytest.raises(ValueError, match="the model has 3 components but frozen_items has 8: freeze the items"):
        model.fold_in_users(data["users"], frozen_items=frozen)
