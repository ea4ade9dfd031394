"""A run whose loss is far worse than chance says so once, and healthy runs say nothing."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES
from lightfm_fast.datasets import make_interactions


@pytest.fixture(scope="module")
def data():
    return make_interactions(200, 100, 5_000, random_state=0)


@pytest.fixture(scope="module")
def heavy():
    """Ten constant columns beside each user's identity."""
    return sp.hstack([sp.identity(200), np.ones((200, 10))], format="csr", dtype=np.float32)


@pytest.mark.parametrize("loss", ["logistic", "bpr", "warp", "warp-kos"])
def test_long_steps_are_warned_of_once(data, heavy, loss):
    interactions = data["train"].copy()
    if loss == "logistic":
        interactions.data[::2] = -1
    model = LightFM(16, loss=loss, learning_rate=0.1, initial_accumulator=0.01, random_state=0)
    with pytest.warns(UserWarning, match="mean loss of epoch 1 .* feature_scaling='balanced'") as caught:
        model.fit(interactions, user_features=heavy, epochs=3)
    assert len(caught) == 1


@pytest.mark.filterwarnings("error")
def test_the_mean_weight_of_huge_weights_is_computed(data):
    """Their sum is beyond single precision."""
    weights = sp.coo_matrix(data["train"])
    weights.data = np.full(weights.nnz, 1e37, np.float32)
    with pytest.raises(ValueError, match="diverged"):
        LightFM(loss="warp").fit(data["train"], sample_weight=weights)


def test_each_call_warns_anew(data, heavy):
    model = LightFM.recommended(feature_scaling=None, random_state=0)
    for train in (model.fit, model.fit_partial):
        with pytest.warns(UserWarning, match="mean loss"):
            train(data["train"], user_features=heavy)


def test_scaled_features_train_without_a_warning(data, heavy):
    LightFM.recommended(random_state=0).fit(data["train"], user_features=heavy, epochs=3)


def test_advice_is_what_is_left_to_do(data, heavy):
    model = LightFM.recommended(learning_rate=1.0, random_state=0)
    with pytest.warns(UserWarning, match="learning_rate") as caught:
        model.fit(data["train"], user_features=heavy)
    assert "feature_scaling" not in str(caught[0].message)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_are_no_reason_to_warn(data, loss):
    """The loss is in proportion to the weights, and so is the loss of chance."""
    weights = None if loss == "warp-kos" else data["train"].copy()
    if weights is not None:
        weights.data = np.full(weights.nnz, 20, np.float32)
    model = LightFM(16, loss=loss, learning_rate=0.001, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(data["train"], sample_weight=weights, epochs=3)
