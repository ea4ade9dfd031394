"""scikit-learn's tools work on the estimator, which does not need scikit-learn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.evaluation import auc_score

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.model_selection import GridSearchCV, ParameterGrid, RandomizedSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402

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
}


@pytest.fixture
def interactions():
    groups = np.equal.outer(np.arange(40) % 2, np.arange(24) % 2)
    return sp.coo_matrix((groups & (np.random.RandomState(0).rand(40, 24) < 0.5)).astype(np.float32))


def everything(interactions):
    """A "split" that trains and scores on all users, since a user who is left out cannot be scored."""
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


def test_a_subclass_is_cloned(interactions):
    class Own(LightFM):
        pass

    assert type(clone(Own(no_components=3))) is Own


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
