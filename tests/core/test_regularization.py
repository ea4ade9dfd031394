"""The L2 penalty against dense SGD in float64: a sample's objective is its loss and α/2 (|q|² + b²) of both sides."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from lightfm_fast import LightFM

from .reference import visits

N_USERS, N_ITEMS, N_COMPONENTS = 7, 9, 3
STATE = ("user_embeddings", "user_biases", "item_embeddings", "item_biases")


def make_features(n_rows, n_columns, rng):
    weights = rng.uniform(0.5, 1.5, (n_rows, n_columns)) * (rng.rand(n_rows, n_columns) < 0.4)
    return sp.csr_matrix(weights, dtype=np.float32)


def differentiate(function, point, step=1e-5):
    """Return the gradient by central differences."""
    return np.array([(function(point + h) - function(point - h)) / (2 * step) for h in step * np.eye(len(point))])


@pytest.mark.parametrize("with_features", [False, True], ids=["identity", "features"])
def test_penalty_is_that_of_dense_sgd(with_features):
    rng = np.random.RandomState(0)
    interactions = sp.coo_matrix(np.where(rng.rand(N_USERS, N_ITEMS) < 0.6, rng.choice([-1, 1], (N_USERS, N_ITEMS)), 0))
    weights = {"user": np.eye(N_USERS), "item": np.eye(N_ITEMS)}
    features = {}
    if with_features:
        features = {"user_features": make_features(N_USERS, 4, rng), "item_features": make_features(N_ITEMS, 5, rng)}
        weights = {side: features[f"{side}_features"].toarray().astype(np.float64) for side in ("user", "item")}
    # The estimate of AdaGrad's root has an error of up to 2^-11 of a step, so steps are short.
    model = LightFM(N_COMPONENTS, learning_rate=0.02, user_alpha=0.5, item_alpha=0.2, random_state=3)
    model.fit_partial(interactions, **features, epochs=0)
    for name in STATE:
        setattr(model, name, rng.normal(size=getattr(model, name).shape))
    shapes = [getattr(model, name).shape for name in STATE]
    ends = np.cumsum([np.prod(shape) for shape in shapes])

    def unpack(parameters):
        return [part.reshape(shape) for part, shape in zip(np.split(parameters, ends[:-1]), shapes, strict=True)]

    def objective(parameters, user, item, label):
        user_embeddings, user_biases, item_embeddings, item_biases = unpack(parameters)
        f_user, f_item = weights["user"][user], weights["item"][item]
        q, p = f_user @ user_embeddings, f_item @ item_embeddings
        user_bias, item_bias = f_user @ user_biases, f_item @ item_biases
        score = q @ p + user_bias + item_bias
        of_user, of_item = q @ q + user_bias**2, p @ p + item_bias**2
        return np.logaddexp(0, -label * score) + model.user_alpha / 2 * of_user + model.item_alpha / 2 * of_item

    parameters = np.concatenate([getattr(model, name).ravel() for name in STATE]).astype(np.float64)
    seen = np.ones_like(parameters)
    model.fit_partial(interactions, **features)
    samples = sorted(zip(interactions.row, interactions.col, interactions.data, strict=True))
    for _, positions in visits(len(samples), model._seed, 0):
        for position in positions:
            gradient = differentiate(lambda point, sample=samples[position]: objective(point, *sample), parameters)
            parameters -= model.learning_rate * gradient / np.sqrt(seen)
            seen += gradient**2
    for name, expected in zip(STATE, unpack(parameters), strict=True):
        assert_allclose(getattr(model, name), expected, rtol=4e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("loss", ["logistic", "bpr", "warp"])
def test_row_decays_as_often_as_it_occurs(loss):
    counts = np.array([1, 10, 100, 0])
    users = np.repeat(np.arange(4), counts)
    items = np.arange(len(users))
    shape = (4, len(users))
    interactions = sp.coo_matrix((np.ones(len(users)), (users, items)), shape=shape)
    no_weight = sp.coo_matrix((np.zeros(len(users)), (users, items)), shape=shape)  # only the penalty is left
    model = LightFM(2, loss=loss, learning_rate=0.05, user_alpha=0.01, max_sampled=1000, random_state=0)
    model.fit_partial(interactions, epochs=0)
    model.user_embeddings = np.ones((4, 2))
    model.fit_partial(interactions, sample_weight=no_weight)
    decay = 1 - np.float64(model.user_embeddings)
    assert_allclose(decay, np.repeat(0.05 * 0.01 * counts[:, None], 2, axis=1), rtol=0.05, atol=1e-7)
