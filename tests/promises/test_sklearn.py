"""scikit-learn's tools work with LightFM, which does not need scikit-learn."""

from __future__ import annotations

import pickle
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.cross_validation import Entries, InteractionSplitter
from lightfm_fast.evaluation import LeakWarning, auc_score, evaluate

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import (  # noqa: E402
    GridSearchCV,
    KFold,
    ParameterGrid,
    RandomizedSearchCV,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402

PARAMETERS = {
    "no_components": 7,
    "k": 2,
    "n": 3,
    "learning_schedule": "adadelta",
    "loss": "warp",
    "learning_rate": 0.1,
    "rho": 0.9,
    "epsilon": 1e-5,
    "item_alpha": 1e-4,
    "user_alpha": 1e-3,
    "max_sampled": 20,
    "random_state": 3,
    "interactions": "all",
    "identity_dropout": 0,
    "negatives": "hardest",
    "n_negatives": 4,
    "popularity_exponent": 0.5,
    "temperature": 0.2,
    "initial_accumulator": 0.1,
    "init_scale": 0.3,
    "feature_scaling": "balanced",
    "cold_start": "features",  # all that interactions="all" takes
    "average": True,
    "linear_components": "auto",
    "user_shrinkage": 2.0,
}


@pytest.fixture
def interactions():
    groups = np.equal.outer(np.arange(40) % 2, np.arange(24) % 2)
    return sp.coo_matrix((groups & (np.random.RandomState(0).rand(40, 24) < 0.5)).astype(np.float32))


def everything(interactions):
    """A "split" that trains and scores on all users, since users who are not trained cannot be scored."""
    users = np.arange(interactions.shape[0])
    return [(users, users)]


def mean_auc(model, interactions, y=None):
    return auc_score(model, interactions).mean()


def test_parameters_go_in_and_out():
    assert LightFM(**PARAMETERS).get_params() == PARAMETERS
    assert LightFM().set_params(**PARAMETERS).get_params(deep=False) == PARAMETERS
    model = LightFM()
    assert model.set_params() is model
    assert model.get_params()["random_state"] is None


@pytest.mark.parametrize("random_state", [None, 3, np.int64(3), np.random.RandomState(3)])
def test_clone_copies_the_parameters_only(interactions, random_state):
    model = LightFM(**{**PARAMETERS, "random_state": random_state})
    copy = clone(model.fit(interactions))
    assert copy.item_embeddings is None
    assert {**copy.get_params(), "random_state": 0} == {**PARAMETERS, "random_state": 0}
    assert type(copy.get_params()["random_state"]) is type(random_state)


def test_a_clone_trains_the_same(interactions):
    model = LightFM(**PARAMETERS).fit(interactions, epochs=2)
    assert_array_equal(clone(model).fit(interactions, epochs=2).item_embeddings, model.item_embeddings)


def test_a_model_with_a_generator_is_cloned_and_copied(interactions):
    models = [LightFM(random_state=np.random.default_rng(3)) for _ in range(2)]
    told = LightFM().set_params(random_state=np.random.default_rng(3))
    clones = [clone(models[0]), deepcopy(models[0]), models[0], models[1], told]
    first, *others = (model.fit(interactions, epochs=2).item_embeddings for model in clones)
    for other in others:
        assert_array_equal(other, first)


def test_a_subclass_is_cloned(interactions):
    class Own(LightFM):
        pass

    assert type(clone(Own(no_components=3))) is Own


def test_scikit_learn_knows_what_is_fitted(interactions):
    for model in (LightFM(), make_pipeline(LightFM())):
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
        check_is_fitted(model.fit(interactions))


def test_grid_search(interactions):
    grid = {"learning_rate": [0.0, 0.1], "loss": ["warp", "bpr"], "random_state": [1]}
    search = GridSearchCV(LightFM(), grid, cv=everything(interactions), scoring=mean_auc, error_score="raise")
    search.fit(interactions, epochs=10)
    assert search.best_params_["learning_rate"] == 0.1
    expected = [mean_auc(LightFM(**p).fit(interactions, epochs=10), interactions) for p in ParameterGrid(grid)]
    assert_array_equal(search.cv_results_["mean_test_score"], np.array(expected, dtype=float))
    assert len(search.best_estimator_.history_) == 10
    assert search.score(interactions) == mean_auc(search.best_estimator_, interactions)


def test_randomized_search(interactions):
    search = RandomizedSearchCV(
        LightFM(random_state=1),
        {"no_components": [2, 4, 8]},
        n_iter=2,
        cv=everything(interactions),
        scoring=mean_auc,
        random_state=0,
    )
    assert search.fit(interactions.tocsr()).best_score_ > 0.4


def test_pipelines_and_kinds(interactions):
    assert not is_classifier(LightFM())
    assert not is_regressor(LightFM())
    make_pipeline(LightFM()).fit(interactions)
    assert "lightfm" in repr(make_pipeline(LightFM(loss="warp"))).lower()


def test_scikit_learn_is_not_imported(tmp_path):
    code = "import sys, lightfm_fast.lightfm, lightfm_fast.evaluation; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


# ------------------------------------------------------------------------------- entries of interactions as samples


@pytest.fixture
def entries(interactions):
    groups = np.eye(2, dtype=np.float32)[np.arange(24) % 2]
    weights = sp.coo_matrix((1 + interactions.col / 24, (interactions.row, interactions.col)), interactions.shape)
    times = np.random.RandomState(1).permutation(interactions.nnz)
    return Entries(interactions, item_features=sp.hstack([sp.eye(24), groups]), sample_weight=weights, timestamps=times)


def test_entries_are_indexed_as_samples(entries):
    assert entries.shape == (len(entries),)
    numbers = np.array([5, 3, 3])
    some = entries[numbers, ...]
    assert some.interactions.shape == entries.interactions.shape
    for part in (some, entries[np.isin(np.arange(len(entries)), numbers)]):
        assert set(part.timestamps) == set(entries.timestamps[numbers])
    assert_array_equal(some.weights, entries.weights[numbers])
    assert_array_equal(some.interactions.row, entries.interactions.row[numbers])
    assert some.item_features is entries.item_features
    assert len(entries) == entries.interactions.nnz


@pytest.mark.parametrize("copied", [deepcopy, lambda kept: pickle.loads(pickle.dumps(kept))], ids=["copy", "pickle"])
def test_entries_and_models_fitted_on_them_go_to_other_processes(entries, copied):
    other, part = copied(entries), copied(entries[[3, 1]])
    assert_array_equal(part.interactions.row, entries.interactions.row[[3, 1]])
    for given in (other, other[[0, 2]]):
        copied(LightFM(random_state=1).fit(given)).fit_partial(given)
    models = [LightFM(loss="warp", random_state=1).fit(given, epochs=2) for given in (entries, other)]
    assert_array_equal(models[0].item_embeddings, models[1].item_embeddings)


def test_a_search_in_processes(entries):
    search = GridSearchCV(LightFM(random_state=1), {"no_components": [2, 3]}, cv=InteractionSplitter(2), n_jobs=2)
    assert search.fit(entries).best_params_["no_components"] in (2, 3)
    pickle.dumps(search.best_estimator_)


@pytest.mark.parametrize("chosen", [3, -1, None, "a", 1.5, np.array(2), [[0]], np.zeros((2, 2), int)])
def test_entries_are_not_indexed_one_by_one(entries, chosen):
    with pytest.raises(IndexError, match="entries are chosen by a slice, a mask or a list of numbers|only integers"):
        entries[chosen]


def test_fitting_entries_is_fitting_what_they_hold(entries):
    model = LightFM(loss="warp", random_state=1).fit(entries, epochs=2)
    expected = LightFM(loss="warp", random_state=1).fit(**entries.fit_arguments(), epochs=2)
    assert_array_equal(model.item_embeddings, expected.item_embeddings)


@pytest.mark.parametrize("name", ["user_features", "item_features", "sample_weight"])
def test_what_entries_hold_is_not_given_twice(entries, name):
    model = LightFM(loss="warp")
    with pytest.raises(ValueError, match=name):
        model.fit(entries, **{name: sp.eye(40)})
    assert model.item_embeddings is None


@pytest.mark.parametrize("by", ["random", "time"])
def test_splits_train_on_some_entries_and_test_on_others(entries, by):
    splits = list(InteractionSplitter(n_splits=3, by=by, test_percentage=0.25, random_state=0).split(entries))
    assert len(splits) == InteractionSplitter(3).get_n_splits() == 3
    for train, test in splits:
        assert not set(train) & set(test)
        if by == "time":
            assert entries.timestamps[train].max() < entries.timestamps[test].min()
        else:
            assert len(train) + len(test) == len(entries)
    assert len({tuple(test) for _, test in splits}) == 3
    again = list(InteractionSplitter(n_splits=3, by=by, test_percentage=0.25, random_state=0).split(entries))
    assert_array_equal(splits[2][1], again[2][1])


def test_grid_search_over_entries_trains_and_scores_by_hand(entries):
    grid = {"learning_rate": [0.0, 0.1], "random_state": [1]}
    splitter = InteractionSplitter(n_splits=2, random_state=0)
    search = GridSearchCV(LightFM(loss="warp"), grid, cv=splitter, error_score="raise").fit(entries, epochs=8)
    expected = []
    for parameters in ParameterGrid(grid):
        scores = []
        for train, test in splitter.split(entries):
            model = LightFM(loss="warp", **parameters).fit(**entries[train].fit_arguments(), epochs=8)
            result = evaluate(
                model,
                entries[test].interactions,
                entries[train].interactions,
                "ndcg",
                item_features=entries.item_features,
            )
            scores.append(result["ndcg@10"])
        expected.append(np.mean(scores))
    assert_array_equal(search.cv_results_["mean_test_score"], expected)
    assert search.best_params_["learning_rate"] == 0.1
    whole = LightFM(loss="warp", **search.best_params_).fit(**entries.fit_arguments(), epochs=8)
    assert_array_equal(search.best_estimator_.item_embeddings, whole.item_embeddings)


def test_training_entries_are_left_out_of_the_score(entries):
    """Also if a splitter leaves some entries out of both parts."""
    train, test, unused = np.split(np.random.RandomState(0).permutation(len(entries)), [150, 200])
    model = LightFM(loss="warp", random_state=1).fit(entries[train], epochs=5)
    options = {"item_features": entries.item_features, "metrics": "ndcg"}
    expected = evaluate(model, entries[test].interactions, entries[train].interactions, **options)["ndcg@10"]
    assert model.score(entries[test]) == expected
    known = entries[np.concatenate([train, unused])].interactions
    assert model.score(entries[test], train_interactions=known) != expected
    copy = pickle.loads(pickle.dumps(model))
    assert copy.score(entries[test]) == expected
    assert model.fit(**entries[train].fit_arguments(), epochs=5).score(entries[test]) < expected


def test_score_of_a_matrix(interactions):
    model = LightFM(loss="warp", random_state=1).fit(interactions, epochs=5)
    with pytest.warns(LeakWarning):
        assert model.score(interactions, metric="auc") == pytest.approx(auc_score(model, interactions).mean())


@pytest.mark.filterwarnings("ignore::lightfm_fast.evaluation.LeakWarning")
def test_folds_of_a_matrix_are_not_scored_as_other_users(interactions):
    """scikit-learn divides the rows of a matrix, which are users, and row 0 of a fold is not user 0."""
    with pytest.raises(ValueError, match=r"the model was fitted for \d+ users: .*cross_validation\.Entries"):
        cross_val_score(LightFM(loss="warp", random_state=1), interactions.tocsr(), cv=3, error_score="raise")


def test_randomized_search_and_other_scorings_take_entries(entries):
    search = RandomizedSearchCV(
        LightFM(loss="warp", random_state=1),
        {"no_components": [2, 4, 8]},
        n_iter=2,
        cv=InteractionSplitter(n_splits=2, by="time"),
        scoring=lambda model, held_out: model.score(held_out, metric="recall", k=5),
        random_state=0,
        error_score="raise",
    ).fit(entries, epochs=3)
    assert 0 < search.best_score_ <= 1
    assert len(cross_val_score(LightFM(loss="warp"), entries, cv=KFold(3, shuffle=True, random_state=0))) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [({"n_splits": 0}, "n_splits"), ({"by": "user"}, "by"), ({"test_percentage": 1.0}, "test_percentage")],
)
def test_splitters_refuse_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        InteractionSplitter(**change)


def test_splitters_refuse_what_they_cannot_split(interactions, entries):
    with pytest.raises(TypeError, match="Entries"):
        list(InteractionSplitter().split(interactions))
    with pytest.raises(ValueError, match="timestamps"):
        list(InteractionSplitter(by="time").split(Entries(interactions)))
    with pytest.raises(ValueError, match="to train on"):
        list(InteractionSplitter().split(entries[:1]))


@pytest.mark.parametrize("of", ["entries", "their matrix"])
def test_entries_may_get_other_values(of):
    """Ratings that become dislikes are not trained on as likes."""
    ratings = sp.coo_matrix(np.random.RandomState(0).randint(1, 6, size=(30, 20)).astype(np.float32))
    entries = Entries(ratings.copy())
    entries.interactions.data[ratings.data < 4] = -1
    given = entries if of == "entries" else entries.interactions
    expected = sp.coo_matrix(np.where(ratings.toarray() < 4, -1, 5))
    found, same = (LightFM(loss="bpr", random_state=0).fit(matrix) for matrix in (given, expected))
    assert found.history_[0]["samples"] == same.history_[0]["samples"] < len(entries)
    assert_array_equal(found.item_embeddings, same.item_embeddings)
    entries.interactions.data[3] = np.nan
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        LightFM(loss="bpr").fit(given)
