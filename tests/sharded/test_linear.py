"""The linear autoencoder beside factors that were trained on shards."""

import functools
import os

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks import quality_sets
from lightfm_fast import LightFM, _autoencoder, load
from lightfm_fast.evaluation import evaluate
from lightfm_fast.sharded import ShardedDataset

from .test_user_features import COLUMNS, N_ITEMS, in_memory, written

N_FACTORS, N_LINEAR = 6, 5


@pytest.fixture(scope="module", params=[None, ["town"]], ids=["ids", "features"])
def make(request, tmp_path_factory):
    """Write shards, once for each number of them, and return them with the interactions and users' features."""

    @functools.cache
    def shards(n_shards):
        made = written(tmp_path_factory.mktemp("linear") / "s", n_shards, user_features=request.param)
        return made, *rows_of(made)

    return shards


def rows_of(made):
    """Return the interactions and the features of users in memory."""
    train, features = in_memory(made)
    return train, features if made.n_shared else None


def model_of(given, linear_components=N_LINEAR, **settings):
    settings = {"loss": "bpr", "no_components": N_FACTORS, "random_state": 3, **settings}
    return LightFM(linear_components=linear_components, **settings).fit(*given, epochs=3)


def linear_part(model, user_features, known):
    """Products of the coordinates of users, and of the items that are known; the sign of a coordinate is arbitrary."""
    users = model.get_user_representations(user_features)[1][:, N_FACTORS:]
    items = model._autoencoder.coordinates("item", sp.identity(N_ITEMS, format="csr"))[known]
    return users @ items.T / model._autoencoder.weight


@pytest.mark.parametrize("linear_components", [N_LINEAR, "auto"])
def test_one_shard_has_the_bits_of_memory(make, linear_components):
    made, train, features = make(1)
    found, expected = (model_of(given, linear_components) for given in ((made,), (train, features)))
    assert found.linear_components_ == expected.linear_components_ > 0
    for one, other in (
        (found.get_user_representations(features), expected.get_user_representations(features)),
        (found.get_item_representations(), expected.get_item_representations()),
    ):
        assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("most_analysed", [20_000, 60])
def test_shards_have_the_coordinates_of_memory(make, most_analysed, monkeypatch):
    monkeypatch.setattr(_autoencoder, "_MOST_ANALYSED", most_analysed)
    made, train, features = make(4)
    found, expected = (model_of(given) for given in ((made,), (train, features)))
    known = np.flatnonzero(np.bincount(train.tocoo().col, minlength=N_ITEMS))
    assert_allclose(*(linear_part(model, features, known) for model in (found, expected)), rtol=1e-3, atol=1e-4)
    assert found._autoencoder.weight > 0


def test_a_saved_model_keeps_the_coordinates(make, tmp_path):
    made, _, features = make(4)
    model = model_of((made,))
    assert isinstance(model._autoencoder.users, np.memmap)  # on disk, as the other parameters of users
    model.save(tmp_path / "model.safetensors")
    copy = load(tmp_path / "model.safetensors")
    assert_array_equal(copy.get_user_representations(features)[1], model.get_user_representations(features)[1])


def test_going_on_keeps_the_coordinates_and_takes_in_further_items(make, tmp_path):
    train, test = make(4)[0].split(tmp_path / "train", tmp_path / "test", 0.3)
    features = rows_of(train)[1]
    known, further = (sp.vstack([shard.interactions for shard in part], format="csr") for part in (train, test))
    model = model_of((train,))
    before = model.get_user_representations(features)[1][:, N_FACTORS:]
    model.fit_partial(train)
    assert_allclose(model.get_user_representations(features)[1][:, N_FACTORS:], before, rtol=1e-4, atol=1e-6)
    added = model.fold_in_users(further).embeddings[:, N_FACTORS:]
    after = model.fit_partial(test).get_user_representations(features)[1][:, N_FACTORS:]
    has_fewer = (np.diff(further.indptr) < np.diff(known.indptr)) & (np.diff(further.indptr) > 0)
    assert has_fewer.sum() > 10
    assert_allclose(after[has_fewer], (before + added)[has_fewer], rtol=1e-4, atol=1e-5)


def test_items_without_columns_of_their_own_are_refused(make):
    made, *_ = make(4)
    tags = np.random.RandomState(0).rand(N_ITEMS, 5) < 0.5
    with pytest.raises(ValueError, match="item_features lack an identity column"):
        model_of((made, None, tags))
    assert model_of((made, None, tags), "auto").linear_components_ == 0


@pytest.mark.skipif("LIGHTFM_FAST_DATA" not in os.environ, reason="MovieLens 100K is not there")
def test_dense_data_rank_as_well_as_in_memory(tmp_path):
    split = quality_sets.SETS["ml-100k"](0, False)
    entries, n_items = split.train.tocoo(), split.train.shape[1]
    table, items = {"who": entries.row, "what": entries.col}, {"what": np.arange(n_items)}
    made = ShardedDataset.from_tables([table], tmp_path / "s", **COLUMNS, items=items, n_shards=4)
    users = [user for shard in made for user in shard.user_ids]
    train, test = (sp.csr_matrix(part)[users] for part in (split.train, split.held_out))
    found = []
    for given, n_linear in ((train, "auto"), (made, "auto"), (made, 0)):
        model = LightFM.recommended(random_state=0, linear_components=n_linear).fit(given, epochs=30)
        found.append(evaluate(model, test, train, "ndcg")["ndcg@10"])
    in_memory, on_shards, without = found
    assert on_shards > 0.98 * in_memory
    assert on_shards > 1.01 * without
