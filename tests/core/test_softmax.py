"""Slopes of sampled softmax: one step of a row against finite differences of the row's loss, in float64."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from lightfm_fast import LightFM

from .reference import Trainer, visits

N_ITEMS, N_COMPONENTS, RATE = 30, 5, 1e-3  # accumulators hardly grow: all steps have this rate
STATE = ("user_embeddings", "item_embeddings")


def make_model(rng):
    """One user likes four items. Another likes all, with weight 0, so that all items may be drawn."""
    settings = {"learning_rate": RATE * 1e3, "initial_accumulator": 1e6, "init_scale": 0.8, "random_state": 2}
    model = LightFM(N_COMPONENTS, loss="softmax", n_negatives=6, temperature=0.7, **settings)
    users, items = np.repeat([0, 1], [4, N_ITEMS]), np.r_[3, 8, 20, 25, :N_ITEMS]
    interactions = sp.coo_matrix((np.ones(len(users)), (users, items)), (2, N_ITEMS))
    weights = sp.coo_matrix((np.r_[rng.uniform(0.5, 2, 4), np.zeros(N_ITEMS)], (users, items)), (2, N_ITEMS))
    features = sp.csr_matrix(rng.uniform(0.5, 1.5, (N_ITEMS, 7)) * (rng.rand(N_ITEMS, 7) < 0.5))
    return model, interactions, weights, features


@pytest.mark.parametrize("with_features", [False, True], ids=["identity", "features"])
def test_row_steps_down_its_gradient(hooks, with_features):
    model, interactions, weights, features = make_model(np.random.RandomState(4))
    given = {"item_features": features} if with_features else {}
    model.fit_partial(interactions, sample_weight=weights, epochs=0, **given)
    of_items = features.toarray() if with_features else np.eye(N_ITEMS)
    start = [getattr(model, name).astype(np.float64) for name in STATE]
    model.fit_partial(interactions, sample_weight=weights, **given)
    moved = [(before - getattr(model, name)) / RATE for before, name in zip(start, STATE, strict=True)]

    trainer = Trainer(model, interactions)
    ((task, users),) = [(task, list(users)) for task, users in visits(2, model._seed, 0) if 0 in users]
    drawn = trainer.draw_pool(hooks.Draws(trainer.popularity, model._seed, 0, task), users.index(0))
    positives = interactions.col[:4]
    pool = [item for item in drawn if item not in positives]
    assert pool

    def objective(user_embeddings, item_embeddings):
        items = of_items @ item_embeddings
        user = user_embeddings[0]
        cosines = items @ user / np.maximum(np.linalg.norm(items, axis=1), 1e-300) / np.linalg.norm(user)
        exponentials = np.exp(cosines / model.temperature)
        totals = exponentials[positives] + exponentials[pool].sum()
        return -weights.data[:4] @ np.log(exponentials[positives] / totals)

    assert model.history_[0]["loss"] * interactions.nnz == pytest.approx(objective(*start), rel=1e-5)
    for number, (steps, name) in enumerate(zip(moved, STATE, strict=True)):
        slopes = np.empty_like(steps)
        for cell in np.ndindex(slopes.shape):
            values = []
            for side in (1e-6, -1e-6):
                point = [array.copy() for array in start]
                point[number][cell] += side
                values.append(objective(*point))
            slopes[cell] = (values[0] - values[1]) / 2e-6
        # The root of the accumulator is an estimate with an error of at most 2^-11, and steps are rounded to float32.
        assert_allclose(steps, slopes, rtol=3e-3, atol=4e-4, err_msg=name)
