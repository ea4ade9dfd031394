"""The penalty of the linear autoencoder, chosen by users who are left out in turn."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from lightfm_fast import LightFM, _penalty
from lightfm_fast._gains import mean_gains
from lightfm_fast._svd import largest_singular
from lightfm_fast.evaluation import evaluate


def draw(n_users, n_items, taste, n_each):
    """Draw choices by popularity, by tastes of four dimensions, and by chance; ``n_each`` is a mean over users."""
    rng = np.random.default_rng(0)
    likes = taste * (rng.normal(size=(n_users, 4)) @ rng.normal(size=(4, n_items)))
    likes += rng.gumbel(size=likes.shape) - 0.8 * np.log(np.arange(1, n_items + 1))
    places = np.argsort(np.argsort(-likes, axis=1), axis=1)
    return (places < rng.poisson(n_each, size=(n_users, 1))).astype(np.float32)


def left_out(positives, penalty):
    """Return each user's scores by EASE's regression on the other users, from inverses of whole matrices."""
    scores = np.empty(positives.shape)
    for user in range(len(positives)):
        others = np.delete(positives, user, axis=0).astype(np.float64)
        inverse = np.linalg.inv(others.T @ others + penalty * np.eye(positives.shape[1]))
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0)
        scores[user] = positives[user] @ weights
    return scores


def singular(positives, n):
    return largest_singular(sp.csr_matrix(positives), n, 3, np.random.RandomState(0), 1)


def test_scores_are_those_of_a_regression_without_the_user():
    positives = draw(80, 15, 0.5, n_each=5)
    found = _penalty.scores_of_left_out(*singular(positives, 15), sp.csr_matrix(positives), 4.0)
    assert_allclose(np.concatenate(list(found)), left_out(positives, 4.0), atol=1e-4)


@pytest.mark.parametrize("n_at_once", [1, 15 * 7, 1 << 22])  # scores: a user, some users, all users
def test_gains_are_by_ranks_among_the_items_that_the_user_lacks(monkeypatch, n_at_once):
    monkeypatch.setattr(_penalty, "_AT_ONCE", n_at_once)
    positives = draw(60, 15, 0.5, n_each=5)
    positives[:, 14] = positives[:, 13]  # ties
    scores = left_out(positives, 4.0).round(6)
    ranks = [
        np.mean([(of_user[mine == 0] > score).sum(), (of_user[mine == 0] >= score).sum()])
        for of_user, mine in zip(scores, positives, strict=True)
        for score in of_user[mine > 0]
    ]
    rows = sp.csr_matrix(positives)
    expected = mean_gains(np.array(ranks), rows.indptr)
    assert_allclose(_penalty.gains_of_left_out(*singular(positives, 15), rows, 4.0), expected, atol=0.02)


@pytest.mark.parametrize(
    ("n_users", "n_items", "taste", "n_each", "is_usual"),
    [
        (10_000, 300, 0.3, 40, False),
        (6000, 200, 1.5, 40, False),
        (1000, 300, 1.0, 20, True),
        (90, 100, 0.3, 30, True),  # too few users to compare
    ],
)
def test_penalty_is_stronger_only_where_it_ranks_better(n_users, n_items, taste, n_each, is_usual):
    positives = draw(n_users, n_items, taste, n_each)
    penalty = _penalty.choose_penalty(
        *singular(positives, n_items), sp.csr_matrix(positives), n_each, np.random.RandomState(0)
    )
    usual = _penalty.PENALTIES[0] * n_each
    assert penalty == usual if is_usual else penalty > 9 * usual


def test_preset_ranks_many_choices_among_few_items_better_by_it(monkeypatch):
    positives = draw(10_000, 300, 0.3, 40)
    is_test = np.random.default_rng(1).random(positives.shape) < 0.2
    train, test = (sp.csr_matrix(positives * part) for part in (~is_test, is_test))

    def measure(linear_components="auto"):
        settings = {"item_alpha": 0.05, "user_alpha": 0.05, "linear_components": linear_components}
        model = LightFM.recommended(**settings, random_state=0).fit(train, epochs=10)
        return evaluate(model, test, train, ["ndcg"], k=10)["ndcg@10"]

    found, without = measure(), measure(0)
    monkeypatch.setattr(_penalty, "STRONGER_WINS_BY", np.inf)
    assert found > 1.05 * measure()
    assert found > without
