"""Baselines against NumPy in float64, and their promises, which are a model's."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.baselines import EASE, ContentProfile, ItemKNN, Popularity
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import LeakWarning, auc_score, evaluate, precision_at_k

from .models import N_ITEMS, N_USERS, make_data

INTERACTIONS = sp.csr_matrix(make_data()[0])
TRAIN = INTERACTIONS.multiply(np.random.default_rng(0).random(INTERACTIONS.shape) < 0.7).tocsr()
TRAIN.eliminate_zeros()
TEST = sp.csr_matrix(INTERACTIONS - TRAIN)
TEST.eliminate_zeros()
TEST.sort_indices()
TAGS = (np.random.default_rng(1).random((N_ITEMS, 8)) < 0.4) * np.random.default_rng(2).integers(1, 4, (N_ITEMS, 8))
X = TRAIN.toarray().astype(np.float64)


def by_popularity(x, _):
    return np.tile(x.sum(axis=0), (len(x), 1))


def by_neighbours(x, _, n_neighbors=3, shrinkage=2.0):
    counts = x.sum(axis=0)
    similarity = x.T @ x / (np.sqrt(np.outer(counts, counts)) + shrinkage)
    np.fill_diagonal(similarity, 0)
    for row in similarity:  # of each item the most similar others; ties keep the lower number
        row[np.argsort(-row, kind="stable")[n_neighbors:]] = 0
    return x @ similarity.T


def by_content(x, tags):
    having = (tags != 0).sum(axis=0)
    weighted = tags * np.where(having > 1, np.log(len(tags) / np.maximum(having, 1)), 0)
    weighted /= np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-300)
    profiles = x @ weighted[: x.shape[1]]
    profiles /= np.maximum(np.linalg.norm(profiles, axis=1, keepdims=True), 1e-300)
    return profiles @ weighted.T


def by_ease(x, _, regularization=5.0):
    precision = np.linalg.inv(x.T @ x + regularization * np.eye(x.shape[1]))
    weights = -precision / np.diag(precision)
    np.fill_diagonal(weights, 0)
    return x @ weights


BASELINES = [
    (Popularity(), by_popularity),
    (ItemKNN(n_neighbors=3, shrinkage=2.0), by_neighbours),
    (ContentProfile(), by_content),
    (EASE(regularization=5.0), by_ease),
]
each_baseline = pytest.mark.parametrize(("baseline", "reference"), BASELINES, ids=lambda value: type(value).__name__)


def scores_of(baseline, shape):
    return np.array([baseline.predict(user, np.arange(shape[1])) for user in range(shape[0])])


@each_baseline
@pytest.mark.parametrize("n_users", [N_USERS, 12])  # more users than items, and fewer
def test_scores_are_those_of_the_definition(baseline, reference, n_users):
    baseline.fit(TRAIN[:n_users], item_features=TAGS)
    scores = scores_of(baseline, (n_users, N_ITEMS))
    assert scores.dtype == np.float32
    assert_array_equal(baseline.scores(np.arange(n_users)), scores)
    assert_allclose(scores, reference(X[:n_users], TAGS), rtol=1e-4, atol=1e-6)


@each_baseline
def test_many_blocks_score_as_one(baseline, reference, monkeypatch):
    whole = baseline.fit(TRAIN, item_features=TAGS).recommend(np.arange(N_USERS))
    monkeypatch.setattr("lightfm_fast.baselines._SCORES_AT_ONCE", 3 * N_ITEMS)
    monkeypatch.setattr("lightfm_fast.baselines._ITEMS_AT_ONCE", 7)
    baseline.fit(TRAIN, item_features=TAGS)
    for one, other in zip(whole, baseline.recommend(np.arange(N_USERS)), strict=True):
        assert_allclose(one, other, rtol=1e-5)
    pairs = np.repeat(np.arange(N_USERS), N_ITEMS), np.tile(np.arange(N_ITEMS), N_USERS)
    assert_allclose(baseline.predict(*pairs), reference(X, TAGS).ravel(), rtol=1e-4, atol=1e-6)


@each_baseline
def test_recommends_the_best_unseen_items_and_the_lower_number_of_ties(baseline, reference):
    baseline.fit(TRAIN, item_features=TAGS)
    scores = scores_of(baseline, TRAIN.shape)
    ids, best = baseline.recommend(np.arange(N_USERS), n=N_ITEMS)
    for user in range(N_USERS):
        unseen = np.flatnonzero(X[user] == 0)
        expected = unseen[np.argsort(-scores[user, unseen], kind="stable")]
        assert_array_equal(ids[user], [*expected, *[-1] * (N_ITEMS - len(expected))])
        assert_array_equal(best[user, : len(expected)], scores[user, expected])
        assert np.isneginf(best[user, len(expected) :]).all()
    chosen, _ = baseline.recommend([4], n=3, interactions=INTERACTIONS, items=[1, 5, 7, 9], exclude=[5])
    allowed = [item for item in (1, 7, 9) if not INTERACTIONS[4, item]]
    assert_array_equal(np.sort(chosen[0])[3 - len(allowed) :], allowed)
    assert not np.isin(baseline.recommend([4], filter_seen=False, n=N_ITEMS).ids, -1).any()


@each_baseline
def test_ranks_count_other_items_of_at_least_the_score(baseline, reference):
    baseline.fit(TRAIN, item_features=TAGS)
    scores = scores_of(baseline, TRAIN.shape)
    ranks = baseline.predict_rank(TEST, TRAIN)
    for user, item, rank in zip(*TEST.nonzero(), ranks.data, strict=True):
        others = (X[user] == 0) & (np.arange(N_ITEMS) != item)
        assert rank == (scores[user, others] >= scores[user, item]).sum()
    both = baseline.predict_rank(TEST, INTERACTIONS, check_intersections=False)
    assert (both.data <= ranks.data).all()


@each_baseline
def test_is_evaluated_as_a_model(baseline, reference):
    baseline.fit(TRAIN, item_features=TAGS)
    metrics = ["precision", "ndcg", "auc", "coverage", "novelty"]
    found = evaluate(baseline, TEST, TRAIN, metrics=metrics, k=5, item_features=TAGS, num_threads=2)
    assert found["precision@5"] == pytest.approx(precision_at_k(baseline, TEST, TRAIN, k=5).mean())
    assert found["auc"] == pytest.approx(auc_score(baseline, TEST, TRAIN).mean())
    some = np.arange(3, 15)
    among = evaluate(baseline, TEST, TRAIN, metrics=metrics, k=5, items=some)
    scores = np.where(X > 0, -np.inf, scores_of(baseline, TRAIN.shape))[:, some]
    held = TEST.toarray()[:, some] > 0
    hits = [
        sum(1 for item in np.flatnonzero(of_user) if (row >= row[item]).sum() - 1 < 5) / 5
        for row, of_user in zip(scores, held, strict=True)
        if of_user.any()
    ]
    assert among["precision@5"] == pytest.approx(np.mean(hits))
    with pytest.warns(LeakWarning):
        evaluate(baseline, TRAIN, item_features=TAGS)


def test_new_items_are_scored_by_content():
    tags = np.vstack([TAGS, TAGS[:3]])
    content = ContentProfile().fit(TRAIN, item_features=tags)
    scores = scores_of(content, (N_USERS, N_ITEMS + 3))
    assert_allclose(scores, by_content(X, tags), rtol=1e-4, atol=1e-6)
    assert_array_equal(scores[:, N_ITEMS:], scores[:, :3])
    assert N_ITEMS in content.recommend(0, n=N_ITEMS + 3).ids


def test_an_indicator_of_each_item_changes_no_content():
    with_indicators = sp.hstack([sp.identity(N_ITEMS), sp.csr_matrix(TAGS)])
    plain, other = (ContentProfile().fit(TRAIN, item_features=tags) for tags in (TAGS, with_indicators))
    assert_array_equal(scores_of(plain, TRAIN.shape), scores_of(other, TRAIN.shape))


@pytest.mark.parametrize("unit", [1e-25, 1e25])
def test_content_has_any_unit(unit):
    plain, other = (ContentProfile().fit(TRAIN, item_features=tags) for tags in (TAGS, unit * TAGS))
    assert_allclose(scores_of(other, TRAIN.shape), scores_of(plain, TRAIN.shape), rtol=1e-5)


def test_ids_of_a_dataset():
    dataset = Dataset()
    dataset.fit(list("ab"), list("xyz"))
    popularity = Popularity().fit(np.array([[1, 1, 0], [0, 1, 0]]))
    assert popularity.recommend(["b"], n=1, dataset=dataset).ids.tolist() == [["x"]]


def test_dislikes_are_no_positives():
    for dislikes in (TRAIN.toarray(), np.where(TEST.toarray() > 0, -1, TRAIN.toarray())):
        assert_array_equal(scores_of(EASE(5.0).fit(dislikes), TRAIN.shape), scores_of(EASE(5.0).fit(X), TRAIN.shape))


@each_baseline
def test_is_pickled_with_what_it_learned(baseline, reference):
    baseline.fit(TRAIN, item_features=TAGS)
    copied = pickle.loads(pickle.dumps(baseline))
    assert repr(copied) == repr(baseline)
    assert_array_equal(copied.recommend(3).ids, baseline.recommend(3).ids)


def test_the_callers_matrix_stays_what_it_was():
    given, features = TRAIN.copy(), sp.csr_matrix(TAGS, dtype=np.float32)
    given.data[:] = 3
    ContentProfile().fit(given, item_features=features).recommend(np.arange(N_USERS))
    assert (given.data == 3).all()
    assert_array_equal(features.toarray(), TAGS)


@each_baseline
def test_bad_input_is_refused_and_changes_nothing(baseline, reference):
    baseline.fit(TRAIN, item_features=TAGS)
    before = scores_of(baseline, TRAIN.shape)
    for interactions, features, message in [
        (np.full((3, 4), np.nan), None, "NaN or infinity"),
        (np.zeros((3, N_ITEMS)), TAGS, "no entry above 0"),
        ([(1, 2), (3, 4)], None, "list of pairs"),
        (TRAIN, TAGS[:5], "item_features"),
    ]:
        with pytest.raises(ValueError, match=message):
            baseline.fit(interactions, item_features=features)
    for call, message in [
        (lambda: baseline.recommend([N_USERS]), "only 30 users"),
        (lambda: baseline.recommend([0], n=0), "at least 1"),
        (lambda: baseline.scores([N_USERS]), "only 30 users"),
        (lambda: baseline.predict(0, [N_ITEMS]), "only 20 items"),
        (lambda: baseline.predict(0, [-1]), "row numbers start at 0"),
        (lambda: baseline.predict_rank(TEST[:, :5]), "expected at most 30 users and 20 items"),
        (lambda: baseline.predict_rank(TEST, TEST), "share"),
        (lambda: baseline.of_items([N_ITEMS]), "only 20 items"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert_array_equal(scores_of(baseline, TRAIN.shape), before)


@each_baseline
def test_a_call_answers_by_one_fit_while_another_thread_fits(baseline, reference, monkeypatch):
    baseline.fit(TRAIN, item_features=TAGS)
    calls = (
        lambda: baseline.predict(3, np.arange(N_ITEMS)),
        lambda: baseline.scores([3]),
        lambda: baseline.predict_rank(TEST).toarray(),
        lambda: baseline.recommend([3], n=5).ids,
        lambda: baseline.of_items([19, 2]).scores([3]),
    )
    expected = [call() for call in calls]
    score = type(baseline)._scores

    def fit_and_score(fitted, users):
        baseline.fit(TRAIN[:8, :10], item_features=TAGS[:10])
        return score(fitted, users)

    for call, answer in zip(calls, expected, strict=True):
        baseline.fit(TRAIN, item_features=TAGS)
        with monkeypatch.context() as patch:
            patch.setattr(type(baseline), "_scores", fit_and_score)
            assert_array_equal(call(), answer)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("interactions", [np.ones((5, 3)), np.ones((3, 5)), np.eye(3), np.eye(2, 3), np.ones((1, 1))])
@pytest.mark.parametrize("regularization", [1e-300, 1e-17, 1e-14])
def test_too_little_regularization_is_refused(interactions, regularization):
    """The matrix is singular, or its inverse has no correct digits."""
    ease = EASE(regularization)
    with pytest.raises(ValueError, match=r"regularization is .*, expected at least .*e-1[12] for these"):
        ease.fit(interactions)
    with pytest.raises(ValueError, match="not fitted"):
        ease.scores(0)
    assert np.isfinite(EASE(1e-10).fit(interactions).scores(0)).all()


def test_ease_needs_no_newer_scipy_than_the_library(monkeypatch):
    """SciPy's inv has taken assume_a since 1.17, and the library works from 1.11 on."""
    monkeypatch.setattr("scipy.linalg.inv", lambda a, overwrite_a=False, check_finite=True: np.linalg.inv(a))
    assert_allclose(EASE(5.0).fit(TRAIN).scores(range(N_USERS)), by_ease(X, None), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [Popularity, ItemKNN, ContentProfile, EASE])
def test_what_is_not_fitted_says_so(kind):
    for call in (lambda b: b.recommend(0), lambda b: b.predict(0, 0), lambda b: b.predict_rank(TEST)):
        with pytest.raises(ValueError, match="not fitted"):
            call(kind())


def test_parameters_are_judged():
    for make, message in [
        (lambda: ItemKNN(0), "n_neighbors is 0"),
        (lambda: ItemKNN(shrinkage=-1), "shrinkage is -1"),
        (lambda: EASE(0), "regularization is 0"),
        (lambda: EASE(largest=0), "largest is 0"),
        (lambda: ContentProfile().fit(TRAIN), "give item_features"),
        (lambda: EASE(largest=10).fit(TRAIN), "both 30 users and 20 items are more than 10"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()


def test_models_and_baselines_compare_in_one_loop():
    for model in (LightFM(random_state=0), Popularity(), EASE(), ItemKNN(), ContentProfile()):
        model.fit(TRAIN, item_features=sp.csr_matrix(TAGS))
        assert 0 < evaluate(model, TEST, TRAIN, item_features=sp.csr_matrix(TAGS))["auc"] < 1


def test_one_item_is_a_list_of_one():
    baseline = Popularity().fit(TRAIN)
    assert_array_equal(baseline.of_items(3).scores([0, 1]), baseline.of_items([3]).scores([0, 1]))


@pytest.mark.filterwarnings("error")
def test_parameters_may_be_of_any_size_and_type():
    users = np.arange(N_USERS)
    assert_array_equal(EASE(Fraction(300)).fit(TRAIN).scores(users), EASE(300).fit(TRAIN).scores(users))
    scores = ItemKNN(shrinkage=1e300).fit(TRAIN).scores(users)
    assert_array_equal(scores > 0, ItemKNN(shrinkage=1).fit(TRAIN).scores(users) > 0)
