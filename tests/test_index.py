"""The approximate index finds most of the best items, and gives the model's scores."""

import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.data import Dataset
from tests.models import N_LIKING, make_cold_items

pytest.importorskip("usearch.index", reason="the extra ann is not installed")

N_USERS, N_ITEMS = 300, 700  # more users than are searched for at once


def make_model(**features):
    model = LightFM(8, random_state=0)
    model.fit_partial(sp.coo_matrix((N_USERS, N_ITEMS), dtype=np.float32), epochs=0, **features)
    rng = np.random.RandomState(0)
    for name in ("user_embeddings", "item_embeddings", "user_biases", "item_biases"):
        setattr(model, name, rng.normal(size=getattr(model, name).shape))
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def index(model):
    return model.index(expansion_search=700)


def test_finds_the_best_with_their_scores(model, index):
    users = np.arange(N_USERS)
    assert len(index) == N_ITEMS
    assert index.recall(users, 10) > 0.95
    ids, scores = index.recommend(users, 10, num_threads=2)
    predicted = model.predict(np.repeat(users, 10), ids.ravel()).reshape(-1, 10)
    assert_allclose(scores, predicted, rtol=1e-4, atol=1e-5)
    assert (np.diff(scores) <= 0).all()
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("spread", [0.0, 0.5], ids=["alike", "of many lengths"])
def test_default_settings_find_the_best_among_thousands(spread):
    n_items, rng = 4000, np.random.RandomState(0)
    model = LightFM(16, random_state=0)
    model.fit_partial(sp.coo_matrix((100, n_items), dtype=np.float32), epochs=0)
    model.item_embeddings = rng.normal(size=(n_items, 16)) * rng.lognormal(0, spread, size=(n_items, 1))
    model.user_embeddings = rng.normal(size=(100, 16))
    assert model.index().recall(np.arange(100), 10) > 0.99


@pytest.mark.parametrize("expansion_search", [1, 700])
def test_recall_is_the_share_found(model, expansion_search):
    index = model.index(connectivity=2, expansion_add=2, expansion_search=expansion_search)
    users = np.arange(N_USERS)
    exact, found = model.recommend(users, 10).ids, index.recommend(users, 10).ids
    share = np.mean([np.isin(best, row).mean() for best, row in zip(exact, found, strict=True)])
    assert_allclose(index.recall(users, 10), share)
    assert share < 1


def test_seen_and_excluded_items_are_left_out(model, index):
    seen = sp.csr_matrix(np.random.RandomState(1).rand(N_USERS, N_ITEMS) < 0.3)
    users, exclude = np.arange(N_USERS)[::-1], np.arange(0, N_ITEMS, 2)
    for options in ({"interactions": seen}, {"exclude": exclude}, {"interactions": seen, "exclude": exclude}):
        ids, scores = index.recommend(users, 10, **options)
        expected = model.recommend(users, 10, **options)
        assert np.mean(ids == expected.ids) > 0.95
        assert_allclose(scores[ids == expected.ids], expected.scores[ids == expected.ids], rtol=1e-4, atol=1e-5)
        assert (ids >= 0).all()
        if "exclude" in options:
            assert (ids % 2 == 1).all()
        if "interactions" in options:
            assert not seen.toarray()[users[:, None], ids].any()
        assert index.recall(users, 10, **options) > 0.95
    assert_array_equal(index.recommend(users, 10, seen, filter_seen=False).ids, index.recommend(users, 10).ids)


def test_more_than_there_is(index):
    ids, scores = index.recommend(3, N_ITEMS + 5)
    assert (ids[0, -5:] == -1).all()
    assert np.isneginf(scores[0, -5:]).all()
    assert index.recommend(3, 4, exclude=np.arange(1, N_ITEMS)).ids.tolist() == [[0, -1, -1, -1]]
    assert index.recommend([], 4).ids.shape == (0, 4)


def test_users_folded_in(model, index):
    folded = model.fold_in_users(sp.csr_matrix(([1.0, 1, 1], ([0, 0, 1], [5, 6, 7])), shape=(2, N_ITEMS)))
    found, exact = (side.recommend([1, 0], 5, user_representations=folded) for side in (index, model))
    assert_array_equal(found.ids, exact.ids)
    assert_allclose(found.scores, exact.scores, rtol=1e-4, atol=1e-5)


def test_features_and_peoples_ids():
    features = sp.csr_matrix(np.random.RandomState(2).rand(N_ITEMS, 6), dtype=np.float32)
    model = make_model(item_features=features)
    index = model.index(features, expansion_search=700)
    dataset = Dataset()
    dataset.fit([f"user {i}" for i in range(N_USERS)], [f"item {i}" for i in range(N_ITEMS)])
    rows, expected = index.recommend(4, 5)
    ids, scores = index.recommend("user 4", 5, dataset=dataset)
    assert ids.tolist() == [[f"item {row}" for row in rows[0]]]
    assert_array_equal(scores, expected)
    assert_allclose(scores[0], model.predict(np.full(5, 4), rows[0], features), rtol=1e-4, atol=1e-5)
    first = f"item {rows[0, 0]}"
    assert index.recommend("user 4", 4, exclude=[first], dataset=dataset).ids.tolist() == ids[:, 1:].tolist()
    assert index.recall(["user 4", "user 7"], 5, exclude=[first], dataset=dataset) > 0.5
    with pytest.raises(ValueError, match="needs them here too"):
        model.index()


def test_a_model_that_was_trained_on_is_refused():
    interactions = sp.coo_matrix(np.eye(20, 30, dtype=np.float32))
    for change in (
        lambda model: model.fit_partial(interactions),
        lambda model: model.fit(interactions),
        lambda model: model.fit_partial(sp.coo_matrix((20, 31), dtype=np.float32), epochs=0),
    ):
        model = LightFM(4, random_state=0).fit(interactions)
        index = model.index()
        index.recommend(0)
        change(model)
        for method in (index.recommend, index.recall):
            with pytest.raises(ValueError, match="trained since this index was built"):
                method(0)


def test_input_is_judged(model, index):
    for name in ("connectivity", "expansion_add", "expansion_search"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            model.index(**{name: 0})
    for arguments, message in (
        ({"n": 0}, "n is 0"),
        ({"user_ids": N_USERS}, "users are asked for"),
        ({"exclude": [N_ITEMS]}, "exclude goes up to"),
        ({"interactions": np.ones((N_USERS, N_ITEMS + 1))}, "interactions has"),
    ):
        for method in (index.recommend, index.recall):
            with pytest.raises(ValueError, match=message):
                method(**{"user_ids": 0, **arguments})
    with pytest.raises(ValueError, match="fit the model"):
        LightFM().index()


def test_missing_library_names_the_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(ImportError, match=r"lightfm_fast\[ann\]"):
        model.index()


def test_an_index_shows_what_it_is_of():
    model = make_model()
    index = model.index()
    assert repr(index) == f"<ItemIndex of {N_ITEMS} items in 8 dimensions>"
    assert "&lt;ItemIndex of" in index._repr_html_()
    model.fit_partial(np.ones((N_USERS, N_ITEMS)))
    assert repr(index).endswith("the model has been trained since: build it again>")


def test_scores_are_the_models_where_content_places_new_items():
    train, _, features = make_cold_items()
    model = LightFM(6, loss="bpr", cold_start="content", random_state=0).fit(train, item_features=features, epochs=5)
    found = model.index(item_features=features).recommend(np.arange(N_LIKING), n=5)
    expected = model.recommend(np.arange(N_LIKING), n=5, item_features=features)
    assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
