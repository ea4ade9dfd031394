"""A model that is asked for its strength of L2 finds one that suits the data, and trains as if it had been given."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from lightfm_fast import LightFM, _regularization
from lightfm_fast._feature_rows import identity
from lightfm_fast._hyperparameters import ParameterError
from lightfm_fast._matrices import check_interactions
from lightfm_fast._regularization import (
    HALF_TIME,
    LEAST_EPOCHS,
    LEAST_USERS,
    LONG_RUN,
    POPULAR_ALPHA,
    SHARE_OF_TRAINING,
    SHORT_RUN,
    USUAL_ALPHA,
    Problem,
    Run,
    among_met_items,
    find_alpha,
    hold_out,
    score_popularity,
    wins,
)
from lightfm_fast.baselines import Popularity
from lightfm_fast.callbacks import StopTraining
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.evaluation import evaluate

AUTO = {"item_alpha": "auto", "user_alpha": "auto"}


def draw(n_users, n_items, per_user, strength, seed=0, rank=16):
    """Users choose items by factors of their own and items', by popularity and by chance; a fifth is the test."""
    rng = np.random.RandomState(seed)
    scores = (rng.randn(n_users, rank) @ rng.randn(rank, n_items)) * strength / np.sqrt(rank) + rng.randn(n_items)
    chosen = np.argsort(-scores - rng.gumbel(size=scores.shape), axis=1)[:, :per_user]
    rows, columns = np.repeat(np.arange(n_users), per_user), chosen.ravel()
    is_test = rng.rand(len(rows)) < 0.2
    return [
        sp.coo_matrix((np.ones(which.sum(), np.float32), (rows[which], columns[which])), (n_users, n_items))
        for which in (~is_test, is_test)
    ]


@pytest.fixture(scope="module")
def clear():
    """Many choices, mostly by taste: a weak penalty is best."""
    return draw(600, 400, 80, strength=2.0)


@pytest.fixture(scope="module")
def noisy():
    """Few choices, mostly by chance: a strong penalty is best."""
    return draw(400, 100, 15, strength=1.2)


def preset(**parameters):
    """Return "fast" with the last epoch's factors alone, on which strengths differ more than on means.

    It has as many negatives as at catalogues of the usual size; those of the tests are small.
    """
    chosen = {"no_components": 32, "n_negatives": 8, "random_state": 4, "average": False, "linear_components": 0}
    return LightFM.recommended(**{**chosen, **parameters})


def ndcg(model, data):
    train, test = data
    return evaluate(model, test, train, metrics=["ndcg"], k=20)["ndcg@20"]


def number_of(monkeypatch):
    """Count the epochs of races from here on."""
    counted = []
    run_epoch = _regularization.run_epoch
    monkeypatch.setattr(_regularization, "run_epoch", lambda *given: counted.append(given) or run_epoch(*given))
    return counted


# ------------------------------------------------------------------ what it finds


def test_a_weaker_penalty_is_found_where_it_is_better(clear):
    found = preset(**AUTO).fit(clear[0], epochs=40)
    assert found.item_alpha_ == found.user_alpha_ < USUAL_ALPHA
    usual = preset(item_alpha=USUAL_ALPHA, user_alpha=USUAL_ALPHA).fit(clear[0], epochs=40)
    assert ndcg(found, clear) > 1.03 * ndcg(usual, clear)


def test_means_are_compared_where_training_ends_with_means(clear):
    """A weaker penalty than the usual suits the last epoch's parameters of these data; their means rank alike."""
    alphas = {False: [], True: []}
    for seed, average in itertools.product(range(3), alphas):
        options = {"average": average, "random_state": seed}
        usual = preset(item_alpha=USUAL_ALPHA, user_alpha=USUAL_ALPHA, **options).fit(clear[0], epochs=40)
        found = preset(**AUTO, **options).fit(clear[0], epochs=40)
        alphas[average].append(found.item_alpha_)
        assert ndcg(found, clear) >= ndcg(usual, clear)
    assert max(alphas[False]) < USUAL_ALPHA
    assert alphas[True].count(USUAL_ALPHA) >= 2


def test_a_stronger_penalty_is_found_where_it_is_better(noisy):
    found = preset(**AUTO).fit(noisy[0], epochs=40)
    assert found.item_alpha_ == found.user_alpha_ > USUAL_ALPHA
    usual = preset(item_alpha=USUAL_ALPHA, user_alpha=USUAL_ALPHA).fit(noisy[0], epochs=40)
    assert ndcg(found, noisy) > 1.1 * ndcg(usual, noisy)


@pytest.mark.parametrize("n_items", [60, 300])
def test_popularity_is_not_lost_where_there_is_hardly_any_taste(n_items):
    """Without the rule, lists are 10 to 20 % worse than popularity's."""
    data = draw(150, n_items, 16, strength=0.1)
    model = preset(average=True, linear_components="auto", **AUTO).fit(data[0], epochs=40)
    assert model.item_alpha_ == model.user_alpha_ == POPULAR_ALPHA
    assert model.linear_components_ == 0
    assert ndcg(model, data) > 0.97 * ndcg(Popularity().fit(data[0]), data)
    assert model.fit_partial(data[0], epochs=2).linear_components_ == 0


def test_an_autoencoder_that_is_asked_for_stays_where_popularity_wins():
    train = draw(150, 60, 16, strength=0.1)[0]
    model = preset(linear_components=16, **AUTO).fit(train, epochs=40)
    assert (model.item_alpha_, model.linear_components_) == (POPULAR_ALPHA, 16)


def test_popularity_is_scored_as_a_run_is(noisy):
    held_out = hold_out(problem_of(noisy[0]), np.random.RandomState(0))
    rest = held_out.training_input.inputs[2]
    counts = np.bincount(rest.col, minlength=rest.shape[1])
    expected = []
    for user in np.flatnonzero(np.diff(held_out.wanted.indptr)):
        known = held_out.known[user].indices
        ranks = [
            np.delete(counts > counts[item], known).sum() + (np.delete(counts == counts[item], known).sum() - 1) / 2
            for item in held_out.wanted[user].indices
        ]
        expected.append(np.mean(1 / np.log2(2 + np.array(ranks))))
    assert_allclose(score_popularity(held_out), expected)


def test_one_penalty_is_found_beside_one_that_is_given(clear):
    model = preset(item_alpha="auto", user_alpha=0.05, random_state=0).fit(clear[0], epochs=40)
    assert model.item_alpha_ < USUAL_ALPHA
    assert model.user_alpha_ == 0.05


@pytest.mark.parametrize("seed", range(3))
def test_on_movielens_it_is_as_good_as_the_usual(seed):
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if not folder or not Path(folder, "ml-100k.zip").is_file():
        pytest.skip("LIGHTFM_FAST_DATA names no folder with ml-100k.zip")
    parts = fetch_movielens(folder, min_rating=4.0, download_if_missing=False)
    data = parts["train"], parts["test"]
    found = preset(random_state=seed, **AUTO).fit(data[0], epochs=40)
    usual = preset(random_state=seed, item_alpha=USUAL_ALPHA, user_alpha=USUAL_ALPHA).fit(data[0], epochs=40)
    assert ndcg(found, data) > 0.98 * ndcg(usual, data)


# ------------------------------------------------------------------ training afterwards


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_it_trains_as_if_the_penalty_had_been_given(clear, schedule):
    train, _ = clear
    rng = np.random.RandomState(0)
    given = {
        "user_features": sp.csr_matrix(np.hstack([np.eye(600), rng.rand(600, 3)])),
        "item_features": sp.csr_matrix(np.hstack([np.eye(400), rng.rand(400, 2)])),
        "sample_weight": sp.coo_matrix((rng.rand(train.nnz), (train.row, train.col)), train.shape),
        "epochs": LEAST_EPOCHS,
    }
    settings = {"learning_schedule": schedule, "identity_dropout": 0.2, "interactions": "all"}
    found = preset(**AUTO, **settings).fit(train, **given)
    alphas = {"item_alpha": found.item_alpha_, "user_alpha": found.user_alpha_}
    same = preset(**alphas, **settings).fit(train, **given)
    for name, array in same.get_state().items():
        assert_array_equal(found.get_state()[name], array)
    assert [record["loss"] for record in found.history_] == [record["loss"] for record in same.history_]


def test_training_goes_on_with_what_the_first_call_found(clear, noisy, monkeypatch):
    model = preset(**AUTO).fit(clear[0], epochs=40)
    found = model.item_alpha_
    raced = number_of(monkeypatch)
    model.fit_partial(clear[0], epochs=40)
    assert (model.item_alpha_, raced) == (found, [])
    model.fit(noisy[0], epochs=40)
    assert model.item_alpha_ > USUAL_ALPHA
    assert raced


def test_a_number_is_shown_too(noisy):
    model = preset(item_alpha=0.1, user_alpha=0.2)
    assert (model.item_alpha_, model.user_alpha_) == (None, None)
    model.fit(noisy[0])
    assert (model.item_alpha_, model.user_alpha_) == (0.1, 0.2)
    model.set_params(**AUTO).fit_partial(noisy[0], epochs=40)
    assert (model.item_alpha_, model.user_alpha_) == (0.1, 0.2)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("epochs", [1, 23, 24, 31, 40, 200])
def test_a_race_takes_at_most_two_fifths_of_the_epochs(noisy, clear, monkeypatch, epochs, num_threads):
    raced = number_of(monkeypatch)
    for data in (noisy, clear):
        raced.clear()
        model = preset(no_components=8, **AUTO)
        model.fit(data[0], epochs=epochs, callbacks=[stop], num_threads=num_threads)
        assert len(raced) <= min(SHARE_OF_TRAINING * epochs, max(5 * SHORT_RUN, SHORT_RUN + 2 * LONG_RUN))
        assert bool(raced) == (epochs >= LEAST_EPOCHS)
        assert len(model.history_) == 1
        assert {given[6] for given in raced} <= {num_threads}
        if epochs < LEAST_EPOCHS:
            assert model.item_alpha_ == USUAL_ALPHA


def test_a_weaker_penalty_that_does_not_lead_at_half_time_runs_no_further(noisy, monkeypatch):
    raced = number_of(monkeypatch)
    preset(**AUTO).fit(noisy[0], epochs=40, callbacks=[stop])
    assert [given[0]["item_alpha"] for given in raced].count(0.03) == HALF_TIME


def stop(model):
    raise StopTraining


def test_too_few_users_get_the_usual(noisy, monkeypatch):
    raced = number_of(monkeypatch)
    train = noisy[0].tocsr()[: LEAST_USERS - 1]
    assert preset(**AUTO).fit(train, epochs=40, callbacks=[stop]).item_alpha_ == USUAL_ALPHA
    ones = sp.coo_matrix(np.eye(200, 10, dtype=np.float32) + np.eye(200, 10, -100, dtype=np.float32))
    assert preset(**AUTO).fit(ones, epochs=40, callbacks=[stop]).item_alpha_ == USUAL_ALPHA
    assert raced == []


def test_the_race_is_no_part_of_the_history_and_calls_no_callback(clear):
    seen = []
    model = preset(**AUTO).fit(clear[0], epochs=LEAST_EPOCHS, callbacks=[lambda model: seen.append(model.item_alpha_)])
    assert [record["epoch"] for record in model.history_] == list(range(1, LEAST_EPOCHS + 1))
    assert seen == [model.item_alpha_] * LEAST_EPOCHS


def test_interrupt_of_the_race_changes_nothing(clear, noisy, monkeypatch):
    model = preset(**AUTO).fit(noisy[0], epochs=LEAST_EPOCHS)
    before = pickle.dumps(model)

    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(_regularization, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(clear[0], epochs=LEAST_EPOCHS)
    assert pickle.dumps(model) == before


@pytest.mark.parametrize("with_bar", [True, False])
def test_verbose_says_what_was_found(clear, noisy, capsys, monkeypatch, with_bar):
    if not with_bar:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    model = preset(**AUTO).fit(clear[0], epochs=40, verbose=True)
    told = capsys.readouterr().out
    assert f"item_alpha, user_alpha {model.item_alpha_}: 0.05 scores " in told
    assert "of 600 users" in told
    preset(**AUTO).fit(noisy[0], epochs=2, verbose=True)
    assert "item_alpha, user_alpha 0.05: the usual, since" in capsys.readouterr().out
    preset(**AUTO).fit(clear[0], epochs=LEAST_EPOCHS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("diverging", [{0.03}, {0.05}, {0.03, 0.05, 0.08}])
def test_a_run_that_diverges_does_not_win(clear, monkeypatch, diverging):
    run_epoch = _regularization.run_epoch
    monkeypatch.setattr(
        _regularization,
        "run_epoch",
        lambda *given: (0.0, 0, True) if given[0]["item_alpha"] in diverging else run_epoch(*given),
    )
    model = preset(**AUTO).fit(clear[0], epochs=40, callbacks=[stop])
    expected = {1: 0.03 if 0.05 in diverging else 0.05, 3: POPULAR_ALPHA}  # if all do, popularity has won
    assert model.item_alpha_ == expected[len(diverging)]


# ------------------------------------------------------------------ what is kept


def test_it_is_saved_and_copied(clear, tmp_path):
    model = preset(**AUTO).fit(clear[0], epochs=LEAST_EPOCHS)
    path = tmp_path / "model.safetensors"
    model.save(path)
    newcomers = clear[1].tocsr()[:5]
    folded = model.fold_in_users(newcomers)
    for other in (LightFM.load(path), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert (other.item_alpha_, other.user_alpha_) == (model.item_alpha_, model.user_alpha_)
        assert {name: other.get_params()[name] for name in AUTO} == AUTO
        assert_array_equal(other.fold_in_users(newcomers).embeddings, folded.embeddings)
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert copied.item_alpha_ is None
    plain = model.to_matrix_factorization()
    assert plain.item_alpha_ == model.item_alpha_
    assert_array_equal(plain.fold_in_users(newcomers).embeddings, folded.embeddings)
    given = preset(item_alpha=model.item_alpha_, user_alpha=model.user_alpha_).fit(clear[0], epochs=LEAST_EPOCHS)
    assert_array_equal(given.fold_in_users(newcomers).embeddings, folded.embeddings)


@pytest.mark.parametrize("loss", ["logistic", "warp", "warp-kos", "softmax"])
def test_other_losses_refuse(loss, noisy):
    message = f"_alpha is 'auto' with loss '{loss}', expected a number"
    with pytest.raises(ParameterError, match=message):
        LightFM(loss=loss, user_alpha="auto")
    model = LightFM(loss="bpr", item_alpha="auto")
    with pytest.raises(ParameterError, match=message):
        model.set_params(loss=loss)
    assert model.loss == "bpr"
    model.loss = loss
    with pytest.raises(ParameterError, match=message):
        model.fit(noisy[0])


def test_a_preset_with_another_loss_asks_for_both_penalties_at_once():
    with pytest.raises(ParameterError, match="item_alpha and user_alpha are 'auto' with loss 'warp'.* 1 suits most"):
        preset(loss="warp")
    assert preset(loss="warp", item_alpha=1.0, user_alpha=1.0).loss == "warp"


@pytest.mark.parametrize("value", ["Auto", "0.05", None, -1, float("nan"), np.array(["auto"])])
def test_other_values_are_refused(value):
    with pytest.raises(ParameterError, match="item_alpha is .* from 0 to 3.4e38.*, or 'auto'"):
        LightFM(loss="bpr", item_alpha=value)


# ------------------------------------------------------------------ what is held out


def problem_of(interactions, weights=None):
    entries = check_interactions(interactions)
    weights = np.ones(entries.nnz, dtype=np.float32) if weights is None else weights
    features = [identity(n) for n in entries.shape]
    return Problem(preset(**AUTO).get_params(), *features, entries, weights, 1)


def test_a_fifth_of_some_users_positives_is_held_out(clear, monkeypatch):
    monkeypatch.setattr(_regularization, "MOST_USERS", 100)
    held_out = hold_out(problem_of(clear[0]), np.random.RandomState(0))
    counts, of_user = np.diff(held_out.wanted.indptr), clear[0].tocsr().getnnz(axis=1)
    chosen = counts > 0
    assert chosen.sum() == held_out.n_users == 100
    assert_array_equal(counts[chosen], np.maximum(np.rint(0.2 * of_user[chosen]), 1))
    assert_array_equal((held_out.wanted + held_out.known)[chosen].toarray(), clear[0].toarray()[chosen])
    assert held_out.known[~chosen].nnz == 0
    rest = held_out.training_input.inputs[2]
    assert_array_equal(rest.toarray(), clear[0].toarray() - held_out.wanted.toarray())
    other = hold_out(problem_of(clear[0]), np.random.RandomState(1))
    assert (other.wanted != held_out.wanted).nnz


def test_what_is_no_positive_is_not_held_out():
    """Of each user: one item given twice, one disliked, one of no weight; some have a second positive."""
    n_users = 200
    rows = np.repeat(np.arange(n_users), 5)
    columns = np.tile([0, 0, 1, 2, 3], n_users)
    values = np.tile([1.0, 1.0, -1.0, 1.0, 1.0], n_users)
    weights = np.tile([1, 1, 1, 0, 1], n_users).astype(np.float32)
    values[4::10] = 0  # of every other user
    held_out = hold_out(
        problem_of(sp.coo_matrix((values, (rows, columns)), (n_users, 4)), weights), np.random.RandomState(0)
    )
    assert held_out.n_users == n_users // 2
    assert set(held_out.wanted.indices) == {0, 3}
    rest = held_out.training_input.inputs[2]
    has_lost = np.bincount(rest.row, minlength=n_users) < 5
    assert_array_equal(has_lost, np.diff(held_out.wanted.indptr) > 0)
    trained = sp.coo_matrix((np.ones(rest.nnz), (rest.row, rest.col)), rest.shape).tocsr()
    assert held_out.wanted.multiply(trained).nnz == 0  # both copies of an item are gone


def test_items_without_positives_take_no_part(clear):
    """They are in the matrix and change nothing but the numbers of the others."""
    train = clear[0]
    disliked = sp.coo_matrix((np.full(50, -1.0), (np.arange(50), np.arange(50) % 7)), (600, 7))
    among_others = sp.hstack([disliked, train, sp.coo_matrix((600, 5))])
    reduced = among_met_items(problem_of(among_others))
    assert_array_equal(reduced.interactions.toarray(), train.toarray())
    assert reduced.parameters["n_negatives"] == 8
    assert among_met_items(problem_of(train)).interactions.shape == train.shape
    features = sp.csr_matrix(np.arange(412 * 3, dtype=np.float32).reshape(412, 3))
    reduced = among_met_items(replace(problem_of(among_others), item_features=features))
    assert_array_equal(reduced.item_features.toarray(), features.toarray()[7:407])
    alone, beside = (
        find_alpha(problem_of(some), 40, np.random.RandomState(0)) for some in (train, among_others.tocoo())
    )
    assert beside == alone
    nothing = sp.coo_matrix((600, 400), dtype=np.float32)
    assert preset(**AUTO).fit(nothing, epochs=40).item_alpha_ == USUAL_ALPHA


def test_ranking_few_users_of_a_large_catalogue(monkeypatch):
    monkeypatch.setattr(_regularization, "RANKED_PER_SAMPLE", 1)
    interactions = sp.random(2000, 1000, 0.1, format="coo", random_state=0)
    assert hold_out(problem_of(interactions), np.random.RandomState(0)).n_users == interactions.nnz // 1000


def test_wins_by_standard_errors():
    one, other = (Run.__new__(Run) for _ in range(2))
    other.scores = {2: np.ones(100), 4: np.zeros(100)}
    one.scores = {2: np.zeros(100), 4: np.tile([0.0, 0.2], 50), 7: np.zeros(100)}  # 0.1 better, 0.01 its error
    assert wins(one, other, 9.9)
    assert not wins(one, other, 10.1)
    assert not wins(other, one, 0)
    assert not wins(one, one, 0)
