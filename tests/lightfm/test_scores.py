"""Predictions, probabilities, ranks and representations are as defined."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM

from ..models import (
    N_ITEMS,
    N_USERS,
    assert_same_state,
    make_data,
    score_all,
)


@pytest.mark.parametrize("no_components", [1, 10, 64, 65])
def test_predictions_are_the_models_scores(no_components):
    interactions, features = make_data()
    plain = LightFM(no_components=no_components, random_state=1).fit(interactions, epochs=3)
    hybrid = LightFM(no_components=no_components, random_state=1).fit(interactions, epochs=3, **features)
    users, items = (grid.ravel() for grid in np.indices((N_USERS, N_ITEMS)))
    for model, given, matrices in (
        (plain, {}, (sp.identity(N_USERS), sp.identity(N_ITEMS))),
        (hybrid, features, features.values()),
    ):
        for num_threads in (1, 2):
            scores = model.predict(users, items, num_threads=num_threads, **given)
            assert scores.dtype == np.float32
            expected = score_all(model, *matrices).ravel()
            assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_kinds_of_ids():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    expected = model.predict([3, 3, 3], [0, 1, 2])
    for user in (3, np.int64(3), np.int32(3), np.uint8(3), np.array(3), 3.0):
        assert_array_equal(model.predict(user, [0, 1, 2]), expected)
    for items in ((0, 1, 2), range(3), np.arange(3, dtype=np.int64), np.arange(6)[::2] // 2, np.arange(3.0)):
        assert_array_equal(model.predict(3, items), expected)
    assert_array_equal(model.predict([3], [1]), expected[1:2])
    assert_array_equal(model.predict([1, 2], 4), model.predict([1, 2], [4, 4]))
    assert_array_equal(model.predict(3, 1), expected[1:2])
    assert_array_equal(model.predict([N_USERS - 1], [N_ITEMS - 1]).shape, (1,))


@pytest.mark.parametrize("empty", [[], (), np.array([], dtype=np.int32)])
def test_no_ids_no_scores(empty):
    interactions, features = make_data()
    model = LightFM(random_state=1).fit(interactions, **features)
    for users in (empty, 3):
        scores = model.predict(users, empty, **features)
        assert scores.shape == (0,)
        assert scores.dtype == np.float32


def test_features_of_new_items():
    interactions, features = make_data()
    model = LightFM(random_state=1).fit(interactions, **features)
    new = sp.csr_matrix(np.eye(1, N_ITEMS + 2, k=N_ITEMS), dtype=np.float32)
    known = features["user_features"]
    assert_allclose(
        model.predict(4, [0], item_features=new, user_features=known),
        score_all(model, known, new)[4],
        rtol=1e-4,
    )


def test_identity_features_may_be_left_out():
    interactions, _ = make_data()
    items, users = sp.identity(N_ITEMS, format="csr"), sp.identity(N_USERS, format="csr")
    given = LightFM(random_state=1).fit(interactions, item_features=items, user_features=users)
    left_out = LightFM(random_state=1).fit(interactions)
    assert_same_state(given, left_out)
    assert_array_equal(given.predict(0, [0, 1]), left_out.predict(0, [0, 1], item_features=items))


def test_predict_proba_is_the_logistic_function_of_the_score():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=3)
    users, items = interactions.row, interactions.col
    probabilities = model.predict_proba(users, items)
    assert_allclose(probabilities, 1 / (1 + np.exp(-model.predict(users, items))), rtol=1e-6)
    model.user_biases[:2] = (300, -50)
    with np.errstate(all="raise"):
        assert_allclose(model.predict_proba([0, 1], [0, 0]), [1, np.exp(model.predict(1, [0])[0])], rtol=1e-5)


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
def test_ranking_losses_have_no_probabilities(loss):
    interactions, _ = make_data()
    with pytest.raises(ValueError, match=loss):
        LightFM(loss=loss).fit(interactions).predict_proba(0, [0])


def ranks_by_definition(scores, test, train=None):
    ranks = np.zeros(scores.shape)
    for user, item in zip(*test.nonzero(), strict=True):
        others = np.arange(scores.shape[1]) != item
        if train is not None:
            others &= train[user] == 0
        ranks[user, item] = (scores[user, others] >= scores[user, item]).sum()
    return ranks


@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_ranks_count_the_items_that_score_at_least_as_high(with_features, num_threads):
    interactions, features = make_data()
    features = features if with_features else {}
    model = LightFM(random_state=1).fit(interactions, epochs=3, **features)
    users, items = (grid.ravel() for grid in np.indices(interactions.shape))
    scores = model.predict(users, items, **features).reshape(interactions.shape)
    test = (np.random.RandomState(2).rand(*interactions.shape) < 0.3) & (interactions.toarray() == 0)
    for train in (None, interactions):
        ranks = model.predict_rank(sp.csr_matrix(test), train, num_threads=num_threads, **features)
        assert isinstance(ranks, sp.csr_matrix)
        assert ranks.dtype == np.float32
        assert ranks.has_sorted_indices
        assert_array_equal(ranks.indices, sp.csr_matrix(test).indices)
        expected = ranks_by_definition(scores, test, None if train is None else train.toarray())
        assert_array_equal(ranks.toarray(), expected)


def test_ties_count_against_the_item():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.item_embeddings[:] = 0
    model.item_biases[:] = 0
    model.item_biases[4] = 1
    ranks = model.predict_rank(sp.csr_matrix(np.ones((1, N_ITEMS))))
    assert_array_equal(ranks.toarray()[0], np.where(np.arange(N_ITEMS) == 4, 0, N_ITEMS - 1))


def test_unsorted_matrices_are_ranked_and_left_as_they_are():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=3)
    test = sp.csr_matrix((np.ones(4), [9, 2, 7, 0], [0, 3, 4]), shape=(2, N_ITEMS))
    train = sp.csr_matrix((np.ones(4), [12, 5, 3, 1], [0, 4, 4]), shape=(2, N_ITEMS))
    copies = [array.copy() for matrix in (test, train) for array in (matrix.data, matrix.indices, matrix.indptr)]
    ranks = model.predict_rank(test, train)
    expected = model.predict_rank(sp.csr_matrix(test.toarray()), sp.csr_matrix(train.toarray()))
    assert_array_equal(ranks.toarray(), expected.toarray())
    after = [array for matrix in (test, train) for array in (matrix.data, matrix.indices, matrix.indptr)]
    for before, array in zip(copies, after, strict=True):
        assert_array_equal(before, array)


def test_intersections_are_refused_unless_told_otherwise():
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions, epochs=3)
    with pytest.raises(ValueError, match=f"share {interactions.nnz}"):
        model.predict_rank(interactions, interactions)
    ranks = model.predict_rank(interactions, interactions, check_intersections=False)
    scores = np.array([model.predict(user, np.arange(N_ITEMS)) for user in range(N_USERS)])
    seen = interactions.toarray() > 0
    assert_array_equal(ranks.toarray(), ranks_by_definition(scores, seen, seen))


def test_no_entries_to_rank():
    interactions, _ = make_data()
    ranks = LightFM(random_state=1).fit(interactions).predict_rank(sp.csr_matrix(interactions.shape))
    assert ranks.shape == interactions.shape
    assert ranks.nnz == 0


def test_representations():
    interactions, features = make_data()
    model = LightFM(no_components=7, random_state=1).fit(interactions, epochs=2, **features)
    for side, get in (("item", model.get_item_representations), ("user", model.get_user_representations)):
        matrix = features[f"{side}_features"]
        own_biases, own_embeddings = getattr(model, f"{side}_biases"), getattr(model, f"{side}_embeddings")
        biases, embeddings = get()
        assert_array_equal(biases, own_biases)
        assert_array_equal(embeddings, own_embeddings)
        for given in (matrix, matrix.toarray(), matrix.tocoo(), matrix[:3]):
            biases, embeddings = get(given)
            assert biases.dtype == embeddings.dtype == np.float32
            assert_allclose(biases, given @ own_biases, rtol=1e-5, atol=1e-6)
            assert_allclose(embeddings, given @ own_embeddings, rtol=1e-5, atol=1e-6)


def test_rows_asked_for_may_be_those_of_an_identity():
    features = sp.csr_matrix(np.array([[0, 2], [1, 0], [0, 1]], dtype=np.float32))
    model = LightFM(random_state=1).fit(sp.coo_matrix(np.ones((2, 3))), item_features=features)
    every = model.predict(0, [0, 1, 2], item_features=features)
    np.testing.assert_array_equal(model.predict(0, [2, 1], item_features=features), every[[2, 1]])
