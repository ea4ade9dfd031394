"""Users of very many interactions, or of the same ones again and again, train as stably as others.

Samples that are trained together share their slopes, and these users have many samples in such a group.
"""

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM

N_ITEMS = 20_000


def lengths(rows, columns, **settings):
    """Train the preset with a common penalty, and return its loss and the lengths of its longest embeddings."""
    interactions = sp.coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), (rows.max() + 1, N_ITEMS))
    fixed = {"item_alpha": 0.05, "user_alpha": 0.05, "linear_components": 0, "random_state": 0}
    model = LightFM.recommended(**fixed, **settings).fit(interactions, epochs=2)
    sides = model.user_embeddings, model.item_embeddings
    return model.history_[0]["loss"], *(np.linalg.norm(side, axis=1).max() for side in sides)


@pytest.mark.parametrize("settings", [{}, {"negatives": "popularity"}, {"n_negatives": 2}])
def test_a_user_with_thousands_of_interactions(settings):
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(301), [20] * 300 + [1900])
    columns = np.concatenate([rng.integers(0, N_ITEMS, 6000), rng.choice(N_ITEMS, 1900, replace=False)])
    loss, users, items = lengths(rows, columns, **settings)
    assert loss < 1.2  # chance has 0.7; the hardest negatives have more
    assert max(users, items) < 4


@pytest.mark.parametrize("settings", [{}, {"negatives": "popularity"}])
@pytest.mark.parametrize("n_repeats", [1, 50])
def test_interactions_that_are_given_again_and_again(settings, n_repeats):
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(100), 60 * n_repeats)
    columns = np.concatenate([np.repeat(rng.choice(N_ITEMS, 60, replace=False), n_repeats) for _ in range(100)])
    loss, users, items = lengths(rows, columns, **settings)
    assert loss < 1.2
    assert max(users, items) < 4
