"""Entries that are no likes: as in LightFM, ranking losses neither train on them nor draw them as negatives."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.evaluation import auc_score

RANKING = [
    {"loss": "bpr"},
    {"loss": "bpr", "negatives": "uniform"},
    {"loss": "bpr", "negatives": "hardest"},
    {"loss": "warp"},
    {"loss": "warp-kos", "k": 1, "n": 2},
    {"loss": "softmax", "n_negatives": 64},
]


def likes_and_dislikes(shape, is_sorted):
    """Half of 50 users like the first item and half the last; all dislike half of the items between."""
    n_users, n_items = 50, shape[1]
    rows, columns = np.nonzero(np.broadcast_to(np.arange(n_items) % 2 == 1, (n_users, n_items)))
    between = columns < n_items - 1
    rows, columns = rows[between], columns[between]
    liked = np.where(np.arange(n_users) % 2, 0, n_items - 1)
    rows, columns = np.append(np.arange(n_users), rows), np.append(liked, columns)
    values = np.append(np.ones(n_users), -np.ones(len(rows) - n_users)).astype(np.float32)
    values[-1] = 0  # an explicit zero is also an entry
    order = np.lexsort((columns, rows)) if is_sorted else np.random.default_rng(0).permutation(len(rows))
    return sp.coo_matrix((values[order], (rows[order], columns[order])), shape=shape)


@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("shape", [(60, 30), (20_000, 8_000)], ids=["bitmap", "hashed"])  # kinds of membership
@pytest.mark.parametrize("settings", RANKING, ids=lambda settings: "-".join(map(str, settings.values())))
def test_a_dislike_is_no_negative(settings, shape, is_sorted):
    interactions = likes_and_dislikes(shape, is_sorted)
    disliked = np.arange(1, shape[1] - 1, 2)
    # A user who likes all items makes all drawable, and has no negatives.
    before = LightFM(random_state=0, **settings).fit(sp.coo_matrix(np.ones((1, shape[1]))))
    after = copy.deepcopy(before).fit_partial(interactions, epochs=10, num_threads=2)
    np.testing.assert_array_equal(after.item_embeddings[disliked], before.item_embeddings[disliked])
    if settings["loss"] != "softmax":  # whose biases are popularity
        np.testing.assert_array_equal(after.item_biases[disliked], before.item_biases[disliked])
    assert (after.item_embeddings[[0, -1]] != before.item_embeddings[[0, -1]]).all()


@pytest.mark.skipif("LIGHTFM_FAST_DATA" not in os.environ, reason="MovieLens 100K is not there")
@pytest.mark.parametrize(("weight", "least"), [(None, 0.91), (0.5, 0.84)])
def test_bpr_learns_movielens_as_lightfm_does(weight, least):
    data = fetch_movielens(download_if_missing=False)["train"]
    train = sp.coo_matrix((np.where(data.data >= 4, 1, -1), (data.row, data.col)), shape=data.shape)
    weights = (
        None
        if weight is None
        else sp.coo_matrix((np.full(train.nnz, weight, dtype=np.float32), (train.row, train.col)), shape=train.shape)
    )
    model = LightFM(loss="bpr", random_state=10).fit(train, sample_weight=weights, epochs=10)
    assert auc_score(model, sp.csr_matrix(train.toarray() > 0)).mean() > least
