"""Scores and ranks against brute force in float64."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from ..models import drawn_model, score_all


def rank_all(scores, test, train):
    """Return the rank of each test entry: the number of others, not in train, that score at least as high."""
    ranks = np.zeros(scores.shape)
    for user, item in np.argwhere(test):
        others = ~train[user]
        others[item] = False
        ranks[user, item] = (scores[user, others] >= scores[user, item]).sum()
    return ranks


def shuffled_csr(pattern, rng):
    """Return `pattern` with unsorted column indices in its rows."""
    matrix = sp.csr_matrix(pattern, dtype=np.float32)
    for first, last in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        rng.shuffle(matrix.indices[first:last])
    matrix.has_sorted_indices = False
    return matrix


def make_features(n_rows, n_columns, rng, whole_numbers=False):
    """Sparse weights of either sign; the first row has none."""
    weights = rng.randint(-1, 3, (n_rows, n_columns)) if whole_numbers else rng.normal(size=(n_rows, n_columns))
    weights = weights * (rng.rand(n_rows, n_columns) < 0.3)
    weights[0] = 0
    return sp.csr_matrix(weights, dtype=np.float32)


# Catalogues around the kernel's tile of 16 items, and numbers of users around its 4 at once.
@pytest.mark.parametrize("with_features", [False, True], ids=["identity", "features"])
@pytest.mark.parametrize("n_components", [1, 7, 16, 65])
@pytest.mark.parametrize(("n_users", "n_items"), [(1, 1), (3, 15), (4, 16), (5, 17), (9, 50)])
def test_ranks_with_ties_match_brute_force(n_users, n_items, n_components, with_features):
    rng = np.random.RandomState(n_items)
    features = {}
    if with_features:
        features = {
            "user_features": make_features(n_users, 6, rng, whole_numbers=True),
            "item_features": make_features(n_items, 5, rng, whole_numbers=True),
        }
    model = drawn_model(n_users, n_items, n_components, whole_numbers=True, **features)
    test = rng.rand(n_users, n_items) < 0.4
    test[n_users // 2] = False  # a user without test items
    test[0] = True
    train = (rng.rand(n_users, n_items) < 0.4) & ~test
    scores = score_all(model, **features)
    for excluded in (None, shuffled_csr(train, rng)):
        ranks = model.predict_rank(shuffled_csr(test, rng), excluded, **features)
        assert ranks.nnz == test.sum()
        expected = rank_all(scores, test, np.zeros_like(train) if excluded is None else train)
        assert_array_equal(ranks.toarray(), expected)


def test_train_items_asked_for_rank_among_the_others():
    rng = np.random.RandomState(2)
    model = drawn_model(6, 20, 3, whole_numbers=True)
    test, train = rng.rand(6, 20) < 0.5, rng.rand(6, 20) < 0.5
    ranks = model.predict_rank(sp.csr_matrix(test), sp.csr_matrix(train), check_intersections=False)
    assert_array_equal(ranks.toarray(), rank_all(score_all(model), test, train))


# More items than the kernel scores at a time (768), in tiles that do not fill up; more users than one task has (288)
# and fewer; users with more test items than are compared with one by one (192), and with fewer.
@pytest.mark.parametrize("with_train", [False, True])
@pytest.mark.parametrize("whole_numbers", [False, True])
@pytest.mark.parametrize(("n_users", "n_items"), [(13, 801), (29, 395), (2400, 430)])
def test_large_problems_match_brute_force(n_users, n_items, whole_numbers, with_train):
    rng = np.random.RandomState(4)
    model = drawn_model(n_users, n_items, 5, whole_numbers)
    test = rng.rand(n_users, n_items) < rng.choice([0.01, 0.3, 0.7], (n_users, 1))
    train = (rng.rand(n_users, n_items) < 0.3) if with_train else np.zeros_like(test)
    ranks = model.predict_rank(
        sp.csr_matrix(test), sp.csr_matrix(train) if with_train else None, check_intersections=False, num_threads=2
    )
    assert sorted(set(np.minimum(np.diff(ranks.indptr) // 193, 1))) == [0, 1]
    if not whole_numbers:  # rounding may swap two close scores
        sampled = test & (rng.rand(n_users, 1) < 40 / n_users)
        expected = rank_all(score_all(model), sampled, train)
        assert np.abs(ranks.toarray() - expected)[sampled].max() <= 1
        return
    users = rng.choice(n_users, min(n_users, 40), replace=False)
    expected = rank_all(score_all(model)[users], test[users], train[users])
    assert_array_equal(ranks.toarray()[users], expected)


def test_scores_beyond_single_precision_rank_without_harm():
    model = drawn_model(3, 300, 2)
    model.user_embeddings[:] = 3e38
    model.item_embeddings[:, 0], model.item_embeddings[:, 1] = 3e38, np.where(np.arange(300) % 2, -3e38, 1)
    ranks = model.predict_rank(sp.csr_matrix(np.ones((3, 300)))).toarray()
    assert ((ranks >= 0) & (ranks < 300)).all()


def test_equal_items_tie_wherever_they_stand():
    model = drawn_model(5, 37, 10)
    model.item_embeddings[:] = model.item_embeddings[0]
    model.item_biases[:] = model.item_biases[0]
    assert (model.predict_rank(sp.csr_matrix(np.ones((5, 37)))).toarray() == 36).all()


def test_ranks_do_not_depend_on_the_number_of_threads():
    model, everything = drawn_model(13, 40, 8), sp.csr_matrix(np.ones((13, 40)))
    alone, together = (model.predict_rank(everything, num_threads=number) for number in (1, 2))
    assert_array_equal(alone.toarray(), together.toarray())


@pytest.mark.parametrize("sides", ["identity", "users", "items", "users and items"])
@pytest.mark.parametrize("n_components", [1, 7, 8, 10, 64, 65])
def test_scores_match_dense_float64(n_components, sides):
    rng = np.random.RandomState(1)
    features = {}
    if "users" in sides:
        features["user_features"] = make_features(9, 11, rng)
    if "items" in sides:
        features["item_features"] = make_features(21, 7, rng)
    model = drawn_model(9, 21, n_components, **features)
    scores = score_all(model, **features)
    users, items = (ids.ravel() for ids in np.indices(scores.shape))
    for chosen in (slice(None), rng.permutation(len(users))[:5]):  # all pairs, and fewer than there are rows
        predicted = model.predict(users[chosen], items[chosen], **features)
        assert_allclose(predicted, scores[users[chosen], items[chosen]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", ["user", "item"])
def test_representations_match_dense_float64(side):
    features = make_features(9, 11, np.random.RandomState(1))
    model = drawn_model(9, 9, 10, **{f"{side}_features": features})
    biases, embeddings = getattr(model, f"get_{side}_representations")(features)
    weights = features.toarray().astype(np.float64)
    assert_allclose(embeddings, weights @ getattr(model, f"{side}_embeddings"), rtol=1e-5, atol=1e-6)
    assert_allclose(biases, weights @ getattr(model, f"{side}_biases"), rtol=1e-5, atol=1e-6)
