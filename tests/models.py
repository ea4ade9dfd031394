"""Small data for models, and the arrays that a model has learnt."""

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_array_equal

FIELDS = ("embeddings", "embedding_gradients", "embedding_momentum", "biases", "bias_gradients", "bias_momentum")
STATE = tuple(f"{side}_{field}" for side in ("item", "user") for field in FIELDS)
SCHEDULES = ("adagrad", "adadelta")
N_USERS, N_ITEMS = 30, 20


def make_data(seed=0):
    """Random interactions, and features of both sides: an indicator each and two shared, weighted columns."""
    rng = np.random.RandomState(seed)
    interactions = sp.coo_matrix((rng.rand(N_USERS, N_ITEMS) < 0.3).astype(np.float32))
    features = [
        sp.hstack([sp.identity(n_rows), rng.rand(n_rows, 2)], format="csr", dtype=np.float32)
        for n_rows in (N_USERS, N_ITEMS)
    ]
    return interactions, {"user_features": features[0], "item_features": features[1]}


def state_of(model):
    return {name: np.array(getattr(model, name)) for name in STATE}


def assert_same_state(first, second):
    first, second = (state if isinstance(state, dict) else state_of(state) for state in (first, second))
    for name in STATE:
        assert_array_equal(first[name], second[name], err_msg=name)


def assert_finite(model):
    for name, array in state_of(model).items():
        assert np.isfinite(array).all(), name


def scores_by_definition(model, user_features, item_features):
    users = user_features @ model.user_embeddings.astype(np.float64)
    items = item_features @ model.item_embeddings.astype(np.float64)
    return users @ items.T + (user_features @ model.user_biases)[:, None] + (item_features @ model.item_biases)
