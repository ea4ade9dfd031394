"""Weights of samples with the presets: their scale means nothing, and large ones train steadily."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from lightfm_fast import LightFM
from lightfm_fast._matrices import check_interactions
from lightfm_fast._training_input import balanced_samples, sum_weights
from lightfm_fast.datasets import make_interactions
from lightfm_fast.evaluation import evaluate
from lightfm_fast.sharded import ShardedDataset
from tests.models import assert_same_state


@pytest.fixture(scope="module")
def data():
    return make_interactions(300, 150, 6_000, random_state=0)


def fitted(train, weights=None, epochs=24, kind="fast", **settings):
    model = LightFM.recommended(kind, no_components=16, random_state=0, **settings)
    given = None if weights is None else sp.coo_matrix((weights, (train.row, train.col)), train.shape)
    return model.fit(train, sample_weight=given, epochs=epochs)


def counts_of(train):
    """Counts of which many are 1 and one is above 1,000, whatever the user and the item are."""
    return np.ceil(np.random.default_rng(0).lognormal(0.5, 2, train.nnz)).astype(np.float32)


@pytest.mark.parametrize("kind", ["fast", "ranking"])
def test_the_scale_of_weights_means_nothing(data, kind):
    train = data["train"]
    of_ones = fitted(train, kind=kind)
    for scale in (1e-3, 10, 1e6):
        assert_same_state(fitted(train, np.full(train.nnz, scale, np.float32), kind=kind), of_ones)
    counts = counts_of(train)
    assert_same_state(fitted(train, counts), fitted(train, 1024 * counts))


@pytest.mark.parametrize("transform", [np.asarray, np.log1p, lambda counts: 1 / counts])
def test_weights_that_say_nothing_hardly_hurt(data, transform):
    train, test = data["train"], data["test"]
    models = fitted(train), fitted(train, transform(counts_of(train)))
    without, found = (evaluate(model, test, train, "ndcg")["ndcg@10"] for model in models)
    assert found > 0.85 * without


def test_a_large_weight_is_several_samples(data):
    train = data["train"]
    weights = np.ones(train.nnz, np.float32)
    weights[::2] = 9
    model = fitted(train, weights, epochs=2)
    assert model.history_[-1]["samples"] == train.nnz + np.count_nonzero(weights == 9)


def test_weights_of_zero_do_not_count(data):
    train = data["train"]
    weights = np.where(np.arange(train.nnz) % 3, 5, 0).astype(np.float32)
    assert fitted(train, weights, epochs=2).history_[-1]["samples"] == train.nnz
    fitted(train, np.zeros(train.nnz, np.float32), epochs=2)


def test_samples_are_at_most_three_times_as_many():
    rows = check_interactions(sp.coo_matrix(np.ones((50, 40))))
    for weights in (np.geomspace(1e-30, 1e30, 2000), np.r_[1e6, np.ones(1999)], np.r_[3e38, np.zeros(1999)]):
        total, n_weights = sum_weights(rows, weights.astype(np.float32), False)
        samples, balanced = balanced_samples(rows, weights.astype(np.float32), total / n_weights, False)
        assert samples.nnz <= 3 * rows.nnz
        assert balanced.max() <= 1.5


def test_dislikes_count_where_they_are_trained_on(data):
    train = data["train"].copy()
    train.data[::2] = -1
    weights = np.where(train.data > 0, 1, 9).astype(np.float32)
    for loss, n_samples in (("bpr", np.count_nonzero(train.data > 0)), ("logistic", 1.5 * train.nnz)):
        model = LightFM(loss=loss, feature_scaling="balanced", random_state=0)
        model.fit(train, sample_weight=sp.coo_matrix((weights, (train.row, train.col)), train.shape))
        assert abs(model.history_[-1]["samples"] - n_samples) <= 1


def test_without_balance_weights_are_taken_as_they_are(data):
    train = data["train"]
    weights = sp.coo_matrix((np.full(train.nnz, 2, np.float32), (train.row, train.col)), train.shape)
    found = [LightFM(loss="bpr", random_state=0).fit(train, sample_weight=of) for of in (weights, None)]
    assert not np.allclose(found[0].item_embeddings, found[1].item_embeddings)


def test_shards_balance_weights_as_memory_does(data, tmp_path):
    train = data["train"]
    counts = counts_of(train)
    rows = {"user_id": train.row, "item_id": train.col, "times": counts}
    found = []
    for scale, n_shards in ((1, 1), (1024, 1), (1, 3)):
        made = ShardedDataset.from_tables(
            [{**rows, "times": scale * counts}], tmp_path / f"{scale} {n_shards}", weight="times", n_shards=n_shards
        )
        model = LightFM.recommended(no_components=16, random_state=0).fit(made, epochs=4)
        found.append((model.history_[-1]["samples"], model.history_[-1]["loss"], model))
    assert_same_state(found[0][2], found[1][2])
    in_memory = fitted(train, counts, epochs=4, linear_components=0).history_[-1]
    assert [samples for samples, *_ in found] == 3 * [in_memory["samples"]]
    assert_allclose([loss for _, loss, _ in found], in_memory["loss"], rtol=0.2)
