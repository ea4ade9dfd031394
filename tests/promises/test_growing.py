"""Wider input: the model grows and keeps its parameters."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES
from lightfm_fast.data import Dataset

from ..models import SCHEDULES, STATE, state_of

N_USERS, N_ITEMS = 12, 9


def make_interactions(n_users, n_items, seed=0):
    return sp.coo_matrix((np.random.RandomState(seed).rand(n_users, n_items) < 0.4).astype(np.float32))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("mapped", [False, True])
def test_new_users_and_items_get_rows(tmp_path, loss, schedule, mapped):
    model = LightFM(no_components=5, loss=loss, learning_schedule=schedule, random_state=1)
    model.fit(make_interactions(N_USERS, N_ITEMS), epochs=3)
    if mapped:
        model.save(tmp_path / "model")
        model = LightFM.load(tmp_path / "model", mmap=True)
    before = state_of(model)
    scores = model.predict(np.arange(9), np.arange(9))
    larger = make_interactions(N_USERS + 4, N_ITEMS + 3)
    with pytest.raises(ValueError, match="13 users are asked for"):
        model.predict(N_USERS, [0])

    model.fit_partial(larger, epochs=0)
    for name in STATE:
        n_new = 4 if name.startswith("user") else 3
        found = getattr(model, name)
        assert_array_equal(found[:-n_new], before[name], err_msg=name)
        new = found[-n_new:]
        if name.endswith("_embeddings"):
            assert 0 < np.abs(new).max() <= 0.5 / 5
            assert len(np.unique(new)) == new.size
        else:
            assert (new == (schedule == "adagrad" and "gradients" in name)).all(), name
    assert_array_equal(model.predict(np.arange(9), np.arange(9)), scores)
    model.fit_partial(larger, epochs=2)
    assert model.predict([N_USERS + 3], [N_ITEMS + 2]).shape == (1,)
    assert len(model.history_) == 5
    with pytest.raises(ValueError, match="17 users are asked for"):
        model.predict(N_USERS + 4, [0])


def test_growing_draws_on_from_the_seed():
    def grow(seed):
        model = LightFM(random_state=seed).fit(make_interactions(N_USERS, N_ITEMS))
        return model.fit_partial(make_interactions(N_USERS + 4, N_ITEMS + 3)).user_embeddings

    assert_array_equal(grow(1), grow(1))
    assert not np.array_equal(grow(1)[-4:], grow(2)[-4:])


def test_one_side_grows_alone_and_the_smaller_matrix_still_trains():
    model = LightFM(random_state=1).fit(make_interactions(N_USERS, N_ITEMS))
    model.fit_partial(make_interactions(N_USERS, N_ITEMS + 3))
    assert (len(model.user_biases), len(model.item_biases)) == (N_USERS, N_ITEMS + 3)
    model.fit_partial(make_interactions(N_USERS, N_ITEMS))
    assert (len(model.user_biases), len(model.item_biases)) == (N_USERS, N_ITEMS + 3)


def test_a_new_feature_starts_at_zero_where_known_ones_carry_its_rows():
    known = sp.csr_matrix(np.hstack([np.eye(4), [[1, 0], [0, 1], [1, 0], [0, 1]]]), dtype=np.float32)
    model = LightFM(no_components=6, random_state=1).fit(make_interactions(N_USERS, 4), item_features=known, epochs=3)
    before = model.item_embeddings.copy()
    #                     known: 4 ids, 2 tags   new: ids of 3 items; a tag of a known item, one of no item's
    wider = np.zeros((7, 11), dtype=np.float32)
    wider[:4, :6] = known.toarray()
    wider[4, [6, 4]] = 1  # a new item with a known tag
    wider[5, 7] = 1  # a new item with nothing else
    wider[6, [8, 9]] = 1  # a new item with a new tag that a known item has too
    wider[1, 9] = 1
    model.fit_partial(make_interactions(N_USERS, 7), item_features=wider, epochs=0)
    assert_array_equal(model.item_embeddings[:6], before)
    assert not model.item_embeddings[6].any()
    assert model.item_embeddings[[7, 8, 9, 10]].all()
    scores = model.predict(2, np.arange(7), item_features=wider)
    by_its_tag = model.user_embeddings[2] @ before[4] + model.item_biases[4] + model.user_biases[2]
    assert_allclose(scores[4], by_its_tag, rtol=1e-4)
    wider[6, 0] = 1  # with a known tag, every row with the new tag would have known features
    model = LightFM(no_components=6, random_state=1).fit(make_interactions(N_USERS, 4), item_features=known, epochs=3)
    scores = model.predict(2, np.arange(4), item_features=known)
    model.fit_partial(make_interactions(N_USERS, 7), item_features=wider, epochs=0)
    assert not model.item_embeddings[[6, 8, 9]].any()
    assert_array_equal(model.predict(2, np.arange(4), item_features=wider), scores)


def test_a_dataset_and_its_model_grow_together():
    dataset = Dataset()
    dataset.fit(["ann", "bob"], ["dune", "emma"], item_features=["novel", "long"])

    def matrices(pairs, tags):
        return dataset.build_interactions(pairs)[0], dataset.build_item_features(tags)

    tags = [("dune", ["novel", "long"]), ("emma", ["novel"])]
    interactions, features = matrices([("ann", "dune"), ("bob", "emma")], tags)
    model = LightFM(loss="warp", random_state=1).fit(interactions, item_features=features, epochs=3)
    scores = model.predict([0, 1], [1, 0], item_features=features)
    dataset.fit_partial(["cid"], ["ulysses"], item_features=["modern"])
    interactions, features = matrices([("cid", "ulysses")], [*tags, ("ulysses", ["novel", "modern"])])
    model.fit_partial(interactions, item_features=features, epochs=0)
    assert_array_equal(model.predict([0, 1], [1, 0], item_features=features), scores)
    model.fit_partial(interactions, item_features=features, epochs=5)
    assert model.predict([2], [2], item_features=features).shape == (1,)


def test_a_model_that_gets_features_later_asks_for_them():
    model = LightFM(random_state=1).fit(make_interactions(N_USERS, N_ITEMS))
    tags = sp.hstack([sp.identity(N_ITEMS), np.ones((N_ITEMS, 1))])
    model.fit_partial(make_interactions(N_USERS, N_ITEMS), item_features=tags)
    with pytest.raises(ValueError, match="item_features"):
        model.predict(0, [N_ITEMS])


def test_prediction_does_not_grow_a_model():
    model = LightFM(random_state=1).fit(make_interactions(N_USERS, N_ITEMS))
    wide = sp.identity(N_ITEMS + 1)
    for use in (
        lambda: model.predict(0, [0], item_features=wide),
        lambda: model.predict_rank(make_interactions(N_USERS, N_ITEMS), item_features=wide),
        lambda: model.get_item_representations(wide),
    ):
        with pytest.raises(ValueError, match="10 columns but the model was fitted with 9"):
            use()
    assert len(model.item_biases) == N_ITEMS
    # new items with known features only need no new rows
    assert model.predict(0, [N_ITEMS], item_features=np.ones((N_ITEMS + 1, N_ITEMS))).shape == (1,)


def test_fewer_columns_are_refused_and_neither_side_grows():
    features = np.hstack([np.eye(N_ITEMS), np.ones((N_ITEMS, 1))])
    model = LightFM(random_state=1).fit(make_interactions(N_USERS, N_ITEMS), item_features=features)
    with pytest.raises(ValueError, match="9 columns but the model was fitted with 10"):
        model.fit_partial(make_interactions(N_USERS + 5, N_ITEMS), item_features=features[:, :N_ITEMS])
    assert len(model.user_biases) == N_USERS


def test_arrays_that_do_not_agree_are_refused_before_either_side_grows():
    model = LightFM(random_state=1).fit(make_interactions(N_USERS, N_ITEMS))
    model.item_embeddings = np.zeros((N_ITEMS + 1, 10))
    with pytest.raises(ValueError, match="item_"):
        model.fit_partial(make_interactions(N_USERS + 5, N_ITEMS + 5))
    assert len(model.user_biases) == N_USERS
