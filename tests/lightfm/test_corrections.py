"""Cases in which LightFM is wrong and this library is right."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES

from ..models import (
    N_ITEMS,
    N_USERS,
    SCHEDULES,
    assert_finite,
    assert_same_state,
    make_data,
    state_of,
)


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
@pytest.mark.parametrize("with_features", [False, True])
def test_user_biases_stay_still_under_ranking_losses(loss, with_features):
    interactions, features = make_data()
    model = LightFM(loss=loss, user_alpha=0.01, random_state=1)
    model.fit(interactions, epochs=3, **(features if with_features else {}))
    assert not model.user_biases.any()
    assert (model.user_bias_gradients == 1).all()
    assert model.item_biases.any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_empty_feature_rows_are_zero_vectors(loss, schedule):
    interactions, features = make_data()
    features = {side: matrix.tolil() for side, matrix in features.items()}
    for matrix in features.values():
        matrix[:5] = 0
    interactions = sp.coo_matrix(np.maximum(interactions.toarray(), np.pad(np.ones((5, 5)), ((0, 25), (0, 15)))))
    model = LightFM(loss=loss, learning_schedule=schedule, random_state=1).fit(interactions, epochs=3, **features)
    assert_finite(model)
    assert_array_equal(model.predict([0, 1, 4], [0, 3, 4], **features), np.zeros(3))
    ranks = model.predict_rank(sp.csr_matrix(np.eye(N_USERS, N_ITEMS)), **features)
    assert np.isfinite(ranks.data).all()


@pytest.mark.parametrize("loss", ["warp", "warp-kos"])
@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_tiny_catalogues(loss, n_items):
    interactions = sp.coo_matrix(np.eye(4, n_items) + np.eye(4, n_items, k=-2))
    model = LightFM(loss=loss, max_sampled=50, random_state=1).fit(interactions, epochs=5)
    assert_finite(model)


@pytest.mark.parametrize("loss", ["warp", "warp-kos"])
def test_the_rank_estimate_counts_items_not_feature_rows(loss):
    """Rows and columns of features without items do not change the parameters of the others."""
    interactions, features = make_data()
    narrow = LightFM(loss=loss, random_state=1).fit(interactions, epochs=0, **features)
    wide_features = sp.block_diag([features["item_features"], sp.identity(500)], format="csr", dtype=np.float32)
    wide = LightFM(loss=loss, random_state=1)
    for name, array in state_of(narrow).items():
        padding = [(0, 500 if name.startswith("item") else 0)] + [(0, 0)] * (array.ndim - 1)
        setattr(wide, name, np.pad(array, padding, constant_values=1))
    narrow.random_state, wide.random_state = 5, 5
    narrow.fit_partial(interactions, epochs=2, **features)
    wide.fit_partial(interactions, epochs=2, **{**features, "item_features": wide_features})
    assert_array_equal(wide.item_embeddings[: N_ITEMS + 2], narrow.item_embeddings)
    assert_array_equal(wide.user_embeddings, narrow.user_embeddings)


def test_set_params_random_state():
    interactions, _ = make_data()
    model = LightFM(random_state=0).set_params(random_state=1)
    assert model.initial_random_state == model.get_params()["random_state"] == 1
    assert_same_state(model.fit(interactions), LightFM(random_state=1).fit(interactions))
    first = LightFM().set_params(random_state=np.random.RandomState(1)).fit(interactions)
    assert_same_state(first, model)
