"""Ranking metrics against their definitions, computed pair by pair from scores."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import evaluation

METRICS = (
    evaluation.precision_at_k,
    evaluation.recall_at_k,
    evaluation.auc_score,
    evaluation.reciprocal_rank,
)
DTYPES = (np.float32, np.float64, np.float32, np.float32)


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
    k = ["k"] if metric in (evaluation.precision_at_k, evaluation.recall_at_k) else []
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
    assert metric(model, sp.csr_matrix((3, 4)), preserve_rows=True).shape == (3,)


def test_auc_without_negatives_is_chance():
    assert evaluation.auc_score(ScoredModel([[1.0, 2.0]]), np.ones((1, 2))).tolist() == [0.5]


def test_auc_stays_in_range_when_everything_ties():
    test = np.array([[1, 1, 1, 0, 0]])
    assert evaluation.auc_score(ScoredModel(np.zeros((1, 5))), test).tolist() == [0.0]


@pytest.mark.parametrize("metric", [evaluation.precision_at_k, evaluation.recall_at_k])
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
