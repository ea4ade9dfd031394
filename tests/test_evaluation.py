"""Ranking metrics against their definitions, computed pair by pair from scores."""

from __future__ import annotations

import copy
import inspect
import itertools
import warnings

import narwhals as nw
import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM, _matrices, evaluation
from lightfm_fast._fingerprint import Fingerprint
from lightfm_fast.datasets import make_interactions

METRICS = (
    evaluation.precision_at_k,
    evaluation.recall_at_k,
    evaluation.ndcg_at_k,
    evaluation.auc_score,
    evaluation.reciprocal_rank,
)
DTYPES = (np.float32, np.float64, np.float64, np.float32, np.float32)


class ScoredModel:
    """Ranks as LightFM documents it: from 0, ties against the item, train positives left out."""

    def __init__(self, scores):
        self.scores = np.asarray(scores)
        self.arguments = {}

    def predict_rank(self, test_interactions, train_interactions=None, **arguments):
        self.arguments = arguments
        ranks = sp.csr_matrix(test_interactions, dtype=np.float32, copy=True)
        in_train = np.zeros(ranks.shape, dtype=bool)
        if train_interactions is not None:
            in_train = train_interactions.toarray() != 0
        users = np.repeat(np.arange(ranks.shape[0]), np.diff(ranks.indptr))
        for entry, (user, item) in enumerate(zip(users, ranks.indices, strict=True)):
            others = ~in_train[user]
            others[item] = False
            ranks.data[entry] = np.sum(self.scores[user, others] >= self.scores[user, item])
        return ranks


class GivenRanks:
    def __init__(self, rows):
        self.ranks = sp.csr_matrix(
            (
                np.array(list(itertools.chain(*rows)), dtype=np.float32),
                np.concatenate([np.arange(len(row)) for row in rows]).astype(int),
                np.cumsum([0, *map(len, rows)]),
            ),
            shape=(len(rows), 20),
        )
        self.test = self.ranks.copy()
        self.test.data[:] = 1

    def predict_rank(self, test_interactions, **arguments):
        return self.ranks


def expected(metric, scores, test, train, k=3):
    """One value a user with test positives, from the definitions."""
    values = []
    for score, positive, known in zip(scores, test, train, strict=True):
        if not positive.any():
            continue
        recommendable = ~known
        places = [
            sum(score[other] >= score[item] for other in np.flatnonzero(recommendable) if other != item)
            for item in np.flatnonzero(positive)
        ]
        hits = sum(place < k for place in places)
        negatives = score[~positive & ~known]
        values.append(
            {
                "precision_at_k": hits / k,
                "recall_at_k": hits / len(places),
                "ndcg_at_k": sum(1 / np.log2(2 + place) for place in places if place < k)
                / sum(1 / np.log2(2 + place) for place in range(min(k, len(places)))),
                "auc_score": np.mean(score[positive][:, None] > negatives) if len(negatives) else 0.5,
                "reciprocal_rank": 1 / (1 + min(places)),
            }[metric.__name__]
        )
    return np.array(values)


def options_of(metric):
    return {"k": 3} if "k" in inspect.signature(metric).parameters else {}


@pytest.fixture
def problem():
    generator = np.random.default_rng(7)
    cell = generator.random((30, 17))
    test, train = cell < 0.15, cell > 0.8
    test[[0, 11, 29]] = False
    return generator.normal(size=cell.shape), test, train


@pytest.mark.parametrize(("metric", "dtype"), list(zip(METRICS, DTYPES, strict=True)))
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("with_train", [False, True])
def test_matches_the_definition(problem, metric, dtype, tied, with_train):
    scores, test, train = problem
    scores = np.round(scores) if tied else scores
    given = sp.csr_matrix(train) if with_train else None
    result = metric(ScoredModel(scores), sp.csr_matrix(test), given, **options_of(metric))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected(metric, scores, test, train & with_train), rtol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_auc_when_test_and_train_overlap(problem, tied):
    scores, test, _ = problem
    scores = np.round(scores) if tied else scores
    train = test.copy()
    train[::2] = False
    train[:, :5] = True
    result = evaluation.auc_score(
        ScoredModel(scores), sp.csr_matrix(test), sp.csr_matrix(train), check_intersections=False
    )
    np.testing.assert_allclose(result, expected(evaluation.auc_score, scores, test, train), rtol=1e-6)


@pytest.mark.parametrize(
    ("metric", "values", "without_positives"),
    [
        (evaluation.precision_at_k, [2 / 3, 0, 1 / 3], 0),
        (evaluation.recall_at_k, [1, 0, 1 / 3], 0),
        (evaluation.ndcg_at_k, [1.5 / (1 + 1 / np.log2(3)), 0, 0.5 / (1.5 + 1 / np.log2(3))], 0),
        (evaluation.auc_score, [1 - 0.5 / 18, 0.5, 1 - (2 + 9 + 17) / 3 / 17], 0.5),
        (evaluation.reciprocal_rank, [1, 0, 1 / 3], 0),
    ],
)
def test_given_ranks(metric, values, without_positives):
    model = GivenRanks([[2, 0], [], [19, 2, 10]])
    values = np.array(values)
    kept = metric(model, model.test, preserve_rows=True, **options_of(metric))
    np.testing.assert_allclose(kept, values, rtol=1e-6)
    assert kept[1] == without_positives
    np.testing.assert_allclose(metric(model, model.test, **options_of(metric)), values[[0, 2]], rtol=1e-6)
    assert model.ranks.data.tolist() == [2, 0, 19, 2, 10]


@pytest.mark.parametrize("metric", METRICS)
def test_signature_is_the_one_lightfm_has(metric):
    parameters = inspect.signature(metric).parameters
    shared = ["user_features", "item_features", "preserve_rows", "num_threads", "check_intersections"]
    k = ["k"] if metric.__name__.endswith("_at_k") else []
    assert list(parameters) == ["model", "test_interactions", "train_interactions", *k, *shared]
    optional = list(parameters.values())[2:]
    assert {each.name: each.default for each in optional} == {
        "train_interactions": None,
        **({"k": 10} if k else {}),
        "user_features": None,
        "item_features": None,
        "preserve_rows": False,
        "num_threads": 1,
        "check_intersections": True,
    }


@pytest.mark.parametrize("metric", METRICS)
def test_model_receives_the_arguments(problem, metric):
    scores, test, _ = problem
    model = ScoredModel(scores)
    given = {"user_features": "u", "item_features": "i", "num_threads": 3, "check_intersections": False}
    metric(model, sp.csr_matrix(test), **given)
    assert model.arguments == given


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "container",
    [np.asarray, sp.coo_matrix, sp.csr_matrix, sp.csc_matrix, sp.lil_matrix, sp.coo_array, sp.csr_array],
)
def test_any_matrix_is_accepted_and_left_alone(problem, metric, container):
    scores, test, train = problem
    reference = metric(ScoredModel(scores), sp.csr_matrix(test), sp.csr_matrix(train))
    given = [container(matrix.astype(np.int64) * -2) for matrix in (test, train)]
    np.testing.assert_array_equal(metric(ScoredModel(scores), *given), reference)
    for matrix, original in zip(given, (test, train), strict=True):
        dense = matrix.toarray() if sp.issparse(matrix) else matrix
        np.testing.assert_array_equal(dense, original * -2)


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_count_once_and_zeros_do_not_count(metric):
    scores = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    clean = sp.coo_matrix((np.ones(3), ([0, 0, 1], [0, 2, 3])), shape=(2, 4))
    rows, columns = np.array([0, 0, 0, 1, 1, 1, 0]), np.array([2, 0, 2, 3, 3, 0, 1])
    values = np.array([1.0, 1, 1, 1, -1, 0, 0])
    untidy_coo = sp.coo_matrix((values, (rows, columns)), shape=clean.shape)
    order = np.argsort(rows, kind="stable")
    untidy_csr = sp.csr_matrix((values[order], columns[order], [0, 4, 7]), shape=clean.shape)
    for untidy in (untidy_coo, untidy_csr):
        stored = untidy.data.copy()
        result = metric(ScoredModel(scores), untidy, **options_of(metric))
        np.testing.assert_array_equal(result, metric(ScoredModel(scores), clean, **options_of(metric)))
        np.testing.assert_array_equal(untidy.data, stored)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("preserve_rows", [False, True])
def test_one_user_is_still_an_array(metric, preserve_rows):
    result = metric(ScoredModel([[1.0, 2.0, 3.0]]), np.array([[0, 0, 1]]), preserve_rows=preserve_rows)
    assert result.shape == (1,)


@pytest.mark.parametrize("metric", METRICS)
def test_no_test_positives_at_all(metric):
    model = ScoredModel(np.zeros((3, 4)))
    assert metric(model, sp.csr_matrix((3, 4))).shape == (0,)
    values = metric(model, sp.csr_matrix((3, 4)), preserve_rows=True)
    assert values.shape == (3,)
    assert values.dtype.kind == "f"


def test_auc_without_negatives_is_chance():
    assert evaluation.auc_score(ScoredModel([[1.0, 2.0]]), np.ones((1, 2))).tolist() == [0.5]


def test_auc_stays_in_range_when_everything_ties():
    test = np.array([[1, 1, 1, 0, 0]])
    assert evaluation.auc_score(ScoredModel(np.zeros((1, 5))), test).tolist() == [0.0]


@pytest.mark.parametrize("metric", [evaluation.precision_at_k, evaluation.recall_at_k, evaluation.ndcg_at_k])
@pytest.mark.parametrize("k", [0, -1])
def test_list_length_below_one_is_refused(problem, metric, k):
    scores, test, _ = problem
    with pytest.raises(ValueError, match=f"k is {k}"):
        metric(ScoredModel(scores), test, k=k)


@pytest.mark.parametrize("metric", METRICS)
def test_bad_input_is_refused(problem, metric):
    scores, test, train = problem
    model = ScoredModel(scores)
    with pytest.raises(ValueError, match="num_threads is 0"):
        metric(model, test, num_threads=0)
    with pytest.raises(ValueError, match=r"train_interactions has shape \(29, 17\)"):
        metric(model, test, train[:29])
    with pytest.raises(ValueError, match="1 dimension"):
        metric(model, test[0])
    with pytest.raises(ValueError, match="NaN or infinity"):
        metric(model, np.where(test, np.nan, 0))
    with pytest.raises(ValueError, match="expected numbers"):
        metric(model, test.astype(str))


# evaluate


class RepresentedModel(ScoredModel):
    """A scored model whose items are features, as evaluate asks of one for lists and for subsets of items."""

    def __init__(self, scores):
        super().__init__(scores)
        self.all_scores = self.scores

    def predict_rank(self, test_interactions, train_interactions=None, item_features=None, **arguments):
        self.scores = self.all_scores if item_features is None else self.all_scores @ item_features.T
        return super().predict_rank(test_interactions, train_interactions, **arguments)

    def get_user_representations(self, features=None):
        return np.zeros(len(self.all_scores)), self.all_scores

    def get_item_representations(self, features=None):
        n_items = self.all_scores.shape[1]
        return (np.zeros(n_items), np.eye(n_items)) if features is None else (np.zeros(features.shape[0]), features)


class RecommendingModel(RepresentedModel):
    def get_user_representations(self, features=None):
        raise AssertionError("lists come from recommend")

    def recommend(self, user_ids, n, interactions=None, filter_seen=True, item_features=None, **options):
        scores = (self.all_scores if item_features is None else self.all_scores @ item_features.T)[user_ids].copy()
        if filter_seen:
            scores[interactions[user_ids].toarray() != 0] = -np.inf
        ids = np.argsort(-scores, axis=1)[:, :n]
        ids[np.isneginf(np.take_along_axis(scores, ids, axis=1))] = -1
        return ids, np.take_along_axis(scores, ids, axis=1)


def expected_of_user(score, positive, known, popularity, n_users, k):
    """Every metric of one user by the definitions, from a sorted list of the items that may be recommended."""
    items = np.flatnonzero(~known)
    items = items[np.argsort(-score[items])]
    relevant = positive[items]
    gains = relevant / np.log2(np.arange(len(items)) + 2)
    precision = np.cumsum(relevant) / np.arange(1, len(items) + 1)
    n_positives = positive.sum()
    negatives = score[~positive & ~known]
    return {
        "precision": relevant[:k].sum() / k,
        "recall": relevant[:k].sum() / n_positives,
        "ndcg": gains[:k].sum() / np.sum(1 / np.log2(np.arange(min(k, n_positives)) + 2)),
        "map": np.sum(precision[:k] * relevant[:k]) / n_positives,
        "hit_rate": float(relevant[:k].any()),
        "mrr": 1 / (1 + np.flatnonzero(relevant)[0]),
        "auc": np.mean(score[positive][:, None] > negatives) if len(negatives) else 0.5,
        "novelty": np.mean(np.log2(max(n_users, 1) / np.maximum(popularity[items[:k]], 1))) if len(items) else 0,
    }


def disjoint(problem):
    scores, test, train = problem
    train[5] = True
    train[5, 2] = False  # one item is left to recommend
    test[5] = False
    test[5, 2] = True
    return scores, test & ~train, train


@pytest.mark.parametrize("model", [RepresentedModel, RecommendingModel])
@pytest.mark.parametrize("subset", [None, [3, 0, 5, 8, 9, 2, 16, 12]])
@pytest.mark.parametrize("with_train", [False, True])
def test_evaluate_matches_the_definitions(problem, model, subset, with_train):
    scores, test, train = disjoint(problem)
    metrics = [name for name in evaluation.METRICS if with_train or name != "novelty"]
    result = evaluation.evaluate(
        model(scores),
        test,
        train if with_train else None,
        metrics=metrics,
        k=[1, 3, 40],
        items=subset,
        per_user=True,
    )
    train = train & with_train
    chosen = slice(None) if subset is None else sorted(subset)
    n_train_users = np.count_nonzero(train.any(axis=1))
    scores, test, train = (matrix[:, chosen] for matrix in (scores, test, train))
    users = np.flatnonzero(test.any(axis=1))
    assert result.users.tolist() == users.tolist()
    labels = [f"{name}@{k}" if evaluation.METRICS[name] else name for name in metrics for k in (1, 3, 40)]
    assert list(result.mean) == list(result.standard_error) == list(dict.fromkeys(labels))
    for k in (1, 3, 40):
        values = [
            expected_of_user(scores[user], test[user], train[user], train.sum(axis=0), n_train_users, k)
            for user in users
        ]
        for name in set(metrics) - {"coverage"}:
            label = f"{name}@{k}" if evaluation.METRICS[name] else name
            own = np.array([each[name] for each in values])
            np.testing.assert_allclose(result.per_user[label], own, rtol=1e-12, atol=1e-15, err_msg=label)
            assert result[label] == pytest.approx(own.mean())
            assert result.standard_error[label] == pytest.approx(own.std(ddof=1) / len(own) ** 0.5)
        lists = [np.argsort(-np.where(train[user], -np.inf, scores[user]))[:k] for user in users]
        shown = {item for user, items in zip(users, lists, strict=True) for item in items if not train[user, item]}
        assert result[f"coverage@{k}"] == pytest.approx(len(shown) / scores.shape[1])
        assert np.isnan(result.standard_error[f"coverage@{k}"])
        assert f"coverage@{k}" not in result.per_user


@pytest.mark.parametrize("tied", [False, True])
def test_evaluate_gives_the_numbers_of_the_functions_for_one_metric(problem, tied):
    scores, test, train = disjoint(problem)
    model = ScoredModel(np.round(scores) if tied else scores)
    result = evaluation.evaluate(model, test, train, k=3, per_user=True)
    names = {"precision@3": 0, "recall@3": 1, "ndcg@3": 2, "auc": 3, "mrr": 4}
    for label, place in names.items():
        values = METRICS[place](model, test, train, **options_of(METRICS[place]))
        np.testing.assert_allclose(result.per_user[label], values, rtol=1e-6)
    assert all(0 <= value <= 1 for value in result.mean.values())


@pytest.mark.parametrize("seed", range(5))
def test_evaluate_agrees_with_trec_eval(seed):
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier has no wheel for this platform")
    generator = np.random.default_rng(seed)
    cell = generator.random((40, 60))
    test, train = cell < 0.1, cell > 0.8
    scores = generator.normal(size=cell.shape).astype(np.float32)  # trec_eval keeps single precision
    result = evaluation.evaluate(ScoredModel(scores), test, train, k=[5, 10], per_user=True)
    relevant = {str(user): {str(item): 1 for item in np.flatnonzero(test[user])} for user in result.users}
    run = {
        user: {str(item): float(scores[int(user), item]) for item in np.flatnonzero(~train[int(user)])}
        for user in relevant
    }
    cuts = "5,10"
    names = {"P": "precision", "recall": "recall", "ndcg_cut": "ndcg", "map_cut": "map", "success": "hit_rate"}
    judged = pytrec_eval.RelevanceEvaluator(relevant, {*(f"{name}.{cuts}" for name in names), "recip_rank"})
    values = judged.evaluate(run)
    for theirs, ours in names.items():
        for k in (5, 10):
            own = [values[str(user)][f"{theirs}_{k}"] for user in result.users]
            np.testing.assert_allclose(result.per_user[f"{ours}@{k}"], own, rtol=1e-6, err_msg=theirs)
    own = [values[str(user)]["recip_rank"] for user in result.users]
    np.testing.assert_allclose(result.per_user["mrr"], own, rtol=1e-6)


def test_evaluate_ranks_once():
    class Counting(ScoredModel):
        calls = 0

        def predict_rank(self, *arguments, **options):
            Counting.calls += 1
            return super().predict_rank(*arguments, **options)

    evaluation.evaluate(Counting(np.eye(4)), np.eye(4), k=[1, 2, 3])
    assert Counting.calls == 1


def test_evaluate_of_a_fitted_model_with_features_and_a_subset_of_items():
    data = make_interactions(n_users=60, n_items=40, n_interactions=1200, random_state=0)
    features = {"item_features": data["item_features"], "user_features": data["user_features"]}
    model = LightFM(loss="warp", random_state=0).fit(data["train"], **features, epochs=3)
    subset = np.arange(0, 40, 3)
    result = evaluation.evaluate(model, data["test"], data["train"], [*evaluation.METRICS], items=subset, **features)
    scores = np.stack([model.predict(user, np.arange(40), **features) for user in range(60)])
    by_scores = evaluation.evaluate(
        RepresentedModel(scores), data["test"], data["train"], [*evaluation.METRICS], items=subset
    )
    assert result.mean == pytest.approx(by_scores.mean)
    with pytest.raises(ValueError, match="fitted with item_features"):
        evaluation.evaluate(model, data["test"], items=subset, user_features=data["user_features"])


@pytest.mark.parametrize("subset", [None, np.arange(0, 40, 3)])
def test_evaluate_judges_each_matrix_once(monkeypatch, subset):
    data = make_interactions(n_users=60, n_items=40, n_interactions=1200, random_state=0)
    features = {side: sp.csr_matrix(data[side], dtype=np.float64) for side in ("user_features", "item_features")}
    model = LightFM(random_state=0).fit(data["train"], **features)
    judged = []
    judge = _matrices._own_entries
    monkeypatch.setattr(_matrices, "_own_entries", lambda matrix: [judged.append(matrix), judge(matrix)][1])
    evaluation.evaluate(model, data["test"], data["train"], ["ndcg", "coverage", "novelty"], items=subset, **features)
    given = [data["test"], data["train"], *features.values()]
    assert list(map(id, judged)) == list(map(id, given))


def test_features_that_a_subclass_writes_to_are_its_own():
    data = make_interactions(n_users=60, n_items=40, n_interactions=1200, random_state=0)
    features = {"item_features": data["item_features"], "user_features": data["user_features"]}

    class Doubling(LightFM):
        def _construct_feature_matrices(self, *arguments):
            user_features, item_features = super()._construct_feature_matrices(*arguments)
            item_features.data *= 2
            return user_features, item_features

    model = Doubling(random_state=0).fit(data["train"], **features)
    scores = np.stack([model.predict(user, np.arange(40), **features) for user in range(60)])
    result = evaluation.evaluate(model, data["test"], data["train"], **features)
    assert result.mean == pytest.approx(evaluation.evaluate(ScoredModel(scores), data["test"], data["train"]).mean)


def test_a_model_of_others_gets_matrices_that_it_may_write_to():
    class Writing(ScoredModel):
        def predict_rank(self, test_interactions, train_interactions=None, **arguments):
            ranks = super().predict_rank(test_interactions, train_interactions, **arguments)
            test_interactions.data[:], train_interactions.data[:] = ranks.data, 0
            return test_interactions

    test, train = np.eye(4), np.eye(4)[::-1]
    features = {"user_features": "anything"}
    writing, other = (model(np.eye(4)) for model in (Writing, ScoredModel))
    assert evaluation.evaluate(writing, test, train, **features).mean == evaluation.evaluate(other, test, train).mean
    for metric in METRICS:
        np.testing.assert_array_equal(metric(writing, test, train, **features), metric(other, test, train))


def test_train_positives_are_taken_out_of_the_test_where_they_may_be_in_both():
    scores = np.array([[3.0, 2.0, 1.0, 0.0]])
    test, train = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]])
    result = evaluation.evaluate(ScoredModel(scores), test, train, k=1, check_intersections=False)
    assert (result["precision@1"], result["recall@1"], result["auc"]) == (1, 1, 1)
    model = LightFM(random_state=0).fit(train)
    with pytest.raises(ValueError, match="share 1 entries"):
        evaluation.evaluate(model, test, train)


def test_evaluations_compare_by_identity():
    one, other = (evaluation.evaluate(ScoredModel(np.eye(3)), np.eye(3)) for _ in range(2))
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_evaluation_prints_a_table():
    result = evaluation.evaluate(RepresentedModel(np.eye(2)), np.eye(2), metrics=["auc", "coverage"], k=1)
    assert str(result).splitlines() == ["2 users", "auc         1.0000 ± 0.0000", "coverage@1  1.0000"]
    assert result.per_user is None


def test_a_dislike_is_no_hit_and_stays_in_the_ranking():
    scores = np.array([[4.0, 3.0, 2.0, 1.0]])
    test = np.array([[-1, 1, 0, 0]])
    metrics = ["precision", "mrr", "auc"]
    result = evaluation.evaluate(ScoredModel(scores), test, metrics=metrics, k=1)
    assert result.mean == {"precision@1": 0, "mrr": 0.5, "auc": pytest.approx(2 / 3)}
    assert evaluation.precision_at_k(ScoredModel(scores), test, k=1) == 1  # as LightFM
    with pytest.raises(ValueError, match="no user has a test positive"):
        evaluation.evaluate(ScoredModel(scores), -np.abs(test))


def test_novelty_does_not_count_dislikes():
    train = np.array([[1, -1, 0], [1, -1, 0], [0, 0, 1]])
    test = np.array([[0, 0, 1], [0, 0, 1], [0, 1, 0]])
    scores = np.array([[0.0, 1, 2]] * 3)
    result = evaluation.evaluate(RepresentedModel(scores), test, train, metrics="novelty", k=1, per_user=True)
    np.testing.assert_allclose(result.per_user["novelty@1"], [np.log2(3), np.log2(3), np.log2(3)])


# training data


def split():
    data = make_interactions(n_users=200, n_items=150, n_interactions=6000, random_state=0)
    return data["train"], data["test"], {side: data[side] for side in ("user_features", "item_features")}


def both(first, second):
    return sp.coo_matrix(first.tocsr() + second.tocsr())


def test_a_test_of_what_the_model_was_trained_on_is_warned_of(tmp_path):
    train, test, features = split()
    dislikes = train.copy()
    dislikes.data = -dislikes.data
    for loss, extra in itertools.product(["warp", "logistic"], [{}, features]):
        given = both(dislikes, test) if not extra else both(train, test)
        model = LightFM(loss=loss, random_state=0).fit(given, **extra)
        path = tmp_path / "model.safetensors"
        model.save(path)
        for each in (model, LightFM.load(path), copy.deepcopy(model)):
            with pytest.warns(evaluation.LeakWarning, match="trained on .* test positives"):
                evaluation.evaluate(each, test, **extra)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            evaluation.evaluate(model.fit(train, **extra), test, train, **extra)
    with pytest.warns(evaluation.LeakWarning):  # a separate run
        evaluation.evaluate(model.fit_partial(test, **extra), test, **extra)


def test_what_was_held_out_is_not_warned_of():
    train, test, features = split()
    newcomers = {**features, "user_features": sp.csr_matrix(features["user_features"])[::-1]}
    model = LightFM(loss="warp", random_state=0).fit(train, **features)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation.evaluate(model, test, **features)
        evaluation.evaluate(model, train, **newcomers)  # other users, in the rows of trained ones
        evaluation.evaluate(ScoredModel(np.eye(4)), np.eye(4))
        with pytest.raises(ValueError, match="diverged"):
            LightFM(learning_rate=1e30, random_state=0).fit(train, epochs=5)
        evaluation.evaluate(LightFM(random_state=0).fit(train, epochs=0), train)


@pytest.mark.parametrize(
    "keys", [np.array([3, 2]), np.array([-1, 2]), np.arange(10_000), np.array([1.0]), np.ones((2, 2), dtype=np.int64)]
)
def test_a_forged_sample_is_refused(keys):
    with pytest.raises(ValueError, match="ascending keys"):
        Fingerprint.restored(keys)


def test_an_evaluation_shows_itself():
    result = evaluation.evaluate(
        RepresentedModel(np.eye(3)), np.eye(3), metrics=["auc", "coverage"], k=1, per_user=True
    )
    assert repr(result) == "<Evaluation of 3 users: auc 1.0000, coverage@1 1.0000>"
    assert "<td>coverage@1</td><td>1.0000</td><td></td>" in result._repr_html_()
    one = evaluation.evaluate(ScoredModel([[1.0, 2.0]]), np.array([[0, 1]]), metrics="auc")
    assert str(one).splitlines()[0] == "1 user"


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_an_evaluation_becomes_a_frame(library):
    module = pytest.importorskip(library)
    result = evaluation.evaluate(RepresentedModel(np.eye(3)), np.eye(3), metrics=["auc", "mrr"], per_user=True)
    frame = result.to_frame(library)
    assert type(frame) is (module.Table if library == "pyarrow" else module.DataFrame)
    assert nw.from_native(frame)["metric"].to_list() == ["auc", "mrr"]
    assert nw.from_native(frame)["mean"].to_list() == [1, 1]
    by_user = nw.from_native(result.to_frame(module, per_user=True))
    assert by_user.columns == ["user", "auc", "mrr"]
    assert by_user["user"].to_list() == [0, 1, 2]
    with pytest.raises(ValueError, match="ask evaluate for per_user=True"):
        evaluation.evaluate(ScoredModel(np.eye(3)), np.eye(3)).to_frame(library, per_user=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ["f1"]}, "metric is 'f1'"),
        ({"metrics": []}, "nothing to measure"),
        ({"k": 0}, "k is 0"),
        ({"k": [5, 2.0]}, "k is 2.0"),
        ({"k": []}, "nothing to measure"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"metrics": "novelty"}, "novelty compares"),
        ({"items": []}, "items is empty"),
        ({"items": [17]}, "items goes up to 17"),
        ({"items": [-1]}, "row numbers start at 0"),
        ({"train": np.zeros((3, 3))}, r"train_interactions has shape \(3, 3\)"),
    ],
)
def test_evaluate_refuses_bad_arguments(problem, arguments, message):
    scores, test, _ = problem
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(RepresentedModel(scores), test, **arguments)


def test_evaluate_refuses_a_test_without_positives():
    with pytest.raises(ValueError, match="no user has a test positive"):
        evaluation.evaluate(ScoredModel(np.zeros((3, 4))), np.zeros((3, 4)))


def test_one_user_has_no_standard_error():
    result = evaluation.evaluate(ScoredModel([[1.0, 2.0, 3.0]]), np.array([[0, 0, 1]]))
    assert result.standard_error.keys() == result.mean.keys() >= {"precision@10", "auc"}
    assert np.isnan([*result.standard_error.values()]).all()


# predicted values


def test_errors_of_predicted_values():
    actual, predicted = [5, 1, 3], np.array([4, 3, 3], dtype=np.float32)
    assert evaluation.rmse(actual, predicted) == pytest.approx((5 / 3) ** 0.5)
    assert evaluation.mae(actual, predicted) == pytest.approx(1)
    assert evaluation.rmse(actual, predicted, [0, 1, 0]) == 2
    assert evaluation.rmse(actual, predicted, [1e308] * 3) == evaluation.rmse(actual, predicted)
    assert evaluation.mae(actual, predicted, sample_weight=[1, 0, 3]) == pytest.approx(1 / 4)


@pytest.mark.parametrize("metric", [evaluation.rmse, evaluation.mae])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1, 2], [1]), "predicted has 1 values but actual has 2"),
        (([1, 2], [1, 2], [1]), "sample_weight has 1 values but actual has 2"),
        (([], []), "nothing to average"),
        (([1, 2], [1, 2], [0, 0]), "nothing to average"),
        (([1, 2], [1, 2], [2, -1]), "nothing to average"),
        (([1, np.nan], [1, 2]), "actual holds NaN"),
        (([1, 2], [[1], [2]]), "predicted has 2 dimension"),
        ((["a"], [1]), "expected numbers"),
    ],
)
def test_values_that_cannot_be_compared_are_refused(metric, given, message):
    with pytest.raises(ValueError, match=message):
        metric(*given)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e300, 1.0, 1e-300])
def test_errors_of_values_of_any_size(size):
    assert evaluation.rmse([size, 0], [0, size]) == evaluation.mae([size, 0], [0, size]) == size
    assert evaluation.rmse([1e308], [-1e308]) == np.inf  # the error is beyond all floats
