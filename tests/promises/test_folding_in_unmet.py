"""Folding in where the model has no direction for a row: items and users that training has not met, with cosines."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM

N_USERS, N_ITEMS = 60, 40
UNMET = 3  # the last items, and the last users, without positives


@pytest.fixture(scope="module")
def train():
    likes = np.random.RandomState(0).rand(N_USERS, N_ITEMS) < 0.2
    likes[-UNMET:], likes[:, -UNMET:] = False, False
    return sp.csr_matrix(likes.astype(np.float32))


@pytest.fixture(scope="module")
def model(train):
    return LightFM.recommended("ranking", no_components=8, random_state=0).fit(train, epochs=5)


def test_new_users_of_unmet_items(train, model):
    """An unmet item has no direction: what new users share with one another there says nothing."""
    known = train[:20].toarray()
    likes = known.copy()
    likes[:, -UNMET:] = 1
    folded = model.fold_in_users(sp.csr_matrix(likes), epochs=10)
    assert_array_equal(folded.embeddings, model.fold_in_users(sp.csr_matrix(known), epochs=10).embeddings)
    assert folded.embeddings.any(axis=1).all()


def test_new_items_of_unmet_users(train, model):
    likes = np.zeros((N_USERS, 4), dtype=np.float32)
    likes[:10], likes[-UNMET:] = 1, 1
    folded = model.fold_in_items(sp.csr_matrix(likes), train, epochs=10)
    likes[-UNMET:] = 0
    assert_array_equal(folded.embeddings, model.fold_in_items(sp.csr_matrix(likes), train, epochs=10).embeddings)
    assert folded.embeddings.any(axis=1).all()


def test_rows_without_features_after_dislikes_alone(train):
    """Training met nobody, so any item may be drawn as a negative: but not those without features."""
    features = sp.diags_array(np.arange(N_ITEMS) < N_ITEMS - UNMET, dtype=np.float32).tocsr()
    features.eliminate_zeros()
    model = LightFM.recommended("ranking", no_components=8, random_state=0)
    model.fit(-train, item_features=features, epochs=5)
    likes = sp.csr_matrix(np.ones((20, N_ITEMS - 5), dtype=np.float32))
    likes.resize(20, N_ITEMS)
    folded = model.fold_in_users(likes, item_features=features, epochs=10)
    assert np.isfinite(folded.embeddings).all()
