"""Mappings of users that learn from choices: against NumPy in float64, and what newcomers are recommended."""

import copy

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM, _choices, _cold_start
from lightfm_fast._choices import Choices, fit_choices
from lightfm_fast._mapping import FeatureMapping
from tests.models import copies

N_USERS, N_NEW, N_ITEMS = 1200, 100, 150


def test_choices_are_as_likely_as_the_definition_allows():
    rng = np.random.RandomState(0)
    words = sp.random(80, 6, 0.4, format="csr", dtype=np.float32, random_state=rng)
    chosen = rng.rand(80, 30) < 0.2
    chosen[:, 0] = True
    chosen = sp.csr_matrix(chosen, dtype=np.float32)
    items = (rng.normal(size=(30, 4)) * [0.3, 1, 2, 0.1]).astype(np.float32)
    biases = rng.normal(size=30).astype(np.float32)
    usual = rng.normal(size=(7, 4)).astype(np.float32)
    penalty = 5.0
    shares = chosen.toarray() / chosen.getnnz(axis=1)[:, None]
    weights = shares.mean(axis=0)
    centred = items - weights @ items
    covariance = centred.T @ (centred * weights[:, None])

    def loss(vectors):
        vectors = vectors.reshape(7, 4).astype(float)
        scores = (words @ vectors[:-1] + vectors[-1]) @ items.T + biases
        log_chances = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        moved = vectors - usual
        return -np.sum(shares * log_chances) + penalty / 2 * np.trace(moved @ covariance @ moved.T)

    best = scipy.optimize.minimize(loss, usual.ravel().astype(float), method="BFGS").fun
    nobody = np.zeros(80, np.int64)
    correction = fit_choices(Choices(nobody, words, chosen, items, biases), usual, penalty)
    assert correction.dtype == np.float32
    found = usual + correction
    assert best <= loss(found) + 1e-6
    assert loss(found) - best < 0.02 * (loss(usual) - best)


def test_only_the_most_common_words_move(monkeypatch):
    """So memory stays bounded. Squares of embeddings as long as these would overflow in single precision."""
    monkeypatch.setattr(_choices, "_MOST_WORDS", 3)
    rng = np.random.RandomState(0)
    words = sp.csr_matrix(rng.rand(80, 5) < [0.1, 0.5, 0, 0.2, 0.6], dtype=np.float32)
    chosen = np.eye(80, 4, dtype=np.float32)
    chosen[:, 0] = 1
    items = (1e20 * rng.normal(size=(4, 2))).astype(np.float32)
    given = Choices(np.arange(80), words, sp.csr_matrix(chosen), items, np.zeros(4, np.float32))
    correction = fit_choices(given, np.zeros((6, 2), np.float32), 5.0)
    assert_array_equal(correction.any(axis=1), [False, True, False, False, True, True])
    assert np.isfinite(correction).all()


@pytest.fixture(scope="module")
def students():
    """Users who choose by their department and semester, what each user prefers, and users of whom nothing is known."""
    rng = np.random.default_rng(3)
    n_users, sizes = N_USERS + N_NEW, (10, 3)
    of_users = [rng.integers(0, size, n_users) for size in sizes]
    of_items = [rng.integers(0, size, N_ITEMS) for size in sizes]
    appeal = rng.normal(size=N_ITEMS) + np.zeros((n_users, 1))
    for strength, user, item in zip((5, 1), of_users, of_items, strict=True):
        appeal += strength * (user[:, None] == item)
    chosen = np.argsort(-appeal - rng.gumbel(size=appeal.shape), axis=1)[:N_USERS, :8].ravel()
    entries = np.ones(len(chosen), np.float32), (np.repeat(np.arange(N_USERS), 8), chosen)
    shared = [sp.csr_matrix(np.eye(size)[user]) for size, user in zip(sizes, of_users, strict=True)]
    features = sp.csr_matrix(sp.hstack([sp.eye(n_users, N_USERS), *shared]), dtype=np.float32)
    return sp.coo_matrix(entries, shape=appeal.shape), features, appeal[N_USERS:]


@pytest.fixture(scope="module")
def model(students):
    return LightFM.recommended(random_state=1).fit(*students[:2], epochs=10, num_threads=1)


def scores_of_new(model, features):
    new, items = np.arange(N_USERS, N_USERS + N_NEW), np.arange(N_ITEMS)
    return model.predict(np.repeat(new, N_ITEMS), np.tile(items, N_NEW), user_features=features).reshape(N_NEW, -1)


def quality(model, features, appeal):
    """Return what newcomers' ten best items are worth, as a part of what the ten best would be."""
    chances = np.exp(appeal)
    best = np.argsort(-scores_of_new(model, features), axis=1)[:, :10]
    found = np.take_along_axis(chances, best, axis=1).sum(axis=1)
    return float((found / np.sort(chances, axis=1)[:, -10:].sum(axis=1)).mean())


def test_newcomers_get_what_users_like_them_choose(students, model, monkeypatch):
    interactions, features, appeal = students
    monkeypatch.setattr(_cold_start, "rank_better", lambda *_: False)
    regression = LightFM.recommended(random_state=1).fit(interactions, features, epochs=10, num_threads=1)
    known = np.arange(20)
    assert_array_equal(
        model.predict(known, known, user_features=features), regression.predict(known, known, user_features=features)
    )
    assert quality(model, features, appeal) > quality(regression, features, appeal) + 0.008


def test_further_training_keeps_what_was_learned_from_choices(students, model, tmp_path):
    interactions, features, appeal = students
    before = quality(model, features, appeal)
    few = sp.coo_matrix(interactions.tocsr()[:60])
    few.resize(interactions.shape)
    for further, num_threads in ((few, 1), (interactions, 1)):
        models = list(copies(model, tmp_path))
        for copied in models:
            assert_array_equal(scores_of_new(copied, features), scores_of_new(model, features))
            if copied is not models[-1]:  # a mapped file cannot be trained
                copied.fit_partial(further, features, epochs=1, num_threads=num_threads)
                assert quality(copied, features, appeal) > before - 0.01
    assert_allclose(scores_of_new(models[0], features), scores_of_new(models[2], features), rtol=1e-5)


def test_ctrl_c_leaves_what_was_learned_before(students, model, monkeypatch):
    interactions, features, _ = students
    interrupted = copy.deepcopy(model)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_choices, "fit_choices", interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit_partial(interactions, features)
    assert len(interrupted.history_) == len(model.history_) + 1
    before, after = (fitted.get_user_representations(features[N_USERS:]) for fitted in (model, interrupted))
    assert_array_equal(after[1], before[1])


def test_too_few_users_and_users_without_differences_leave_the_regression(students):
    interactions, features, _ = students
    few = interactions.tocsr()[:40]
    model = LightFM.recommended(random_state=1).fit(few, features[:40], epochs=2, num_threads=1)
    alike = sp.csr_matrix(np.tile([1.0, 1, 0, 0], (40, 1)))
    again = LightFM.recommended(random_state=1).fit(alike, features[:40], epochs=2, num_threads=1)
    for fitted in (model, again):
        assert not len(fitted._users.mapping.correction)
        assert np.isfinite(fitted.get_user_representations(features[:40])[1]).all()


def test_misshapen_corrections_are_refused(model):
    mapping = model._users.mapping
    arrays, n_features = mapping.to_arrays(), model.user_embeddings.shape[0]
    assert len(mapping.correction) == len(mapping.words.columns) + 1
    with pytest.raises(ValueError, match="correction"):
        FeatureMapping.of_arrays({**arrays, "correction": mapping.correction[1:]}, 0.5, 64, n_features)
