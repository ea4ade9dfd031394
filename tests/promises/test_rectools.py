"""RecTools' wrapper of LightFM runs unchanged on this package, in a separate environment."""

from __future__ import annotations

import importlib
import sys
from copy import deepcopy

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import lightfm_fast

pytest.importorskip("rectools", reason="RecTools is not installed; 'make test-rectools' tests with it")
pd = pytest.importorskip("pandas", reason="RecTools' tables need pandas")

try:
    import lightfm
except ImportError:
    lightfm = None

K = 4


@pytest.fixture(scope="module")
def wrapper():
    """Import all of RecTools again while this package has LightFM's name, and return RecTools' module."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "rectools"]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "lightfm", lightfm_fast)
        yield importlib.import_module("rectools.models.lightfm")
        for name in [name for name in sys.modules if name.split(".")[0] == "rectools"]:
            patch.delitem(sys.modules, name)


@pytest.fixture(scope="module")
def dataset(wrapper):
    from rectools import Columns
    from rectools.dataset import Dataset

    rng = np.random.RandomState(0)
    pairs = np.argwhere(np.equal.outer(np.arange(30) % 2, np.arange(16) % 2) & (rng.rand(30, 16) < 0.6))
    interactions = pd.DataFrame(
        {
            Columns.User: pairs[:, 0] + 100,
            Columns.Item: pairs[:, 1] + 1000,
            Columns.Weight: rng.randint(1, 4, len(pairs)),
            Columns.Datetime: "2024-01-01",
        }
    )
    users, items = interactions[Columns.User].unique(), interactions[Columns.Item].unique()
    user_features = pd.DataFrame({"id": [*users, 999], "value": [*(users % 2), 1], "feature": "group"})
    item_features = pd.DataFrame({"id": [*items, 9999], "value": [*(items % 2), 1], "feature": "kind"})
    plain = Dataset.construct(interactions)
    featured = Dataset.construct(
        interactions,
        user_features_df=user_features,
        cat_user_features=["group"],
        item_features_df=item_features,
        cat_item_features=["kind"],
    )
    return {"plain": plain, "featured": featured}


@pytest.mark.parametrize("kind", ["plain", "featured"])
@pytest.mark.parametrize("loss", ["logistic", "bpr", "warp", "warp-kos"])
def test_the_wrapper_fits_and_recommends(wrapper, dataset, kind, loss):
    data = dataset[kind]
    assert wrapper.LightFM is lightfm_fast.LightFM
    inner = lightfm_fast.LightFM(no_components=6, loss=loss, learning_rate=0.1, random_state=1)
    model = wrapper.LightFMWrapperModel(inner, epochs=20, num_threads=1, recommend_use_gpu_ranking=False).fit(data)
    assert inner.item_embeddings is None  # RecTools fits a deep copy

    users = data.user_id_map.external_ids[:5]
    known = data.get_raw_interactions()
    recommended = model.recommend(users, data, k=K, filter_viewed=True)
    assert len(recommended) == len(users) * K
    assert not set(map(tuple, recommended[["user_id", "item_id"]].values)) & set(
        map(tuple, known[["user_id", "item_id"]].values)
    )
    found = model.recommend(users, data, k=K, filter_viewed=False)
    same_group = (found["user_id"] % 2) == (found["item_id"] % 2)
    assert same_group.mean() > 0.9

    similar = model.recommend_to_items(data.item_id_map.external_ids[:3], data, k=K)
    assert len(similar) == 3 * K
    user_vectors, item_vectors = model.get_vectors(data)
    assert user_vectors.shape[1] == item_vectors.shape[1] == 8
    row = recommended.iloc[0]
    user = data.user_id_map.convert_to_internal([row["user_id"]])[0]
    item = data.item_id_map.convert_to_internal([row["item_id"]])[0]
    assert_allclose(user_vectors[user] @ item_vectors[item], row["score"], rtol=1e-4, atol=1e-5)


def test_users_and_items_known_by_their_features_only(wrapper, dataset):
    data = dataset["featured"]
    inner = lightfm_fast.LightFM(no_components=6, loss="warp", learning_rate=0.1, random_state=1)
    model = wrapper.LightFMWrapperModel(inner, epochs=20, recommend_use_gpu_ranking=False).fit(data)
    found = model.recommend([999], data, k=K, filter_viewed=False)
    assert (found["item_id"] % 2 == 1).all()
    assert len(model.recommend_to_items([9999], data, k=K)) == K


def test_configurations_and_partial_fits(wrapper, dataset):
    data = dataset["featured"]
    parameters = {"no_components": 5, "loss": "bpr", "random_state": 32, "item_alpha": 1e-4}
    model = wrapper.LightFMWrapperModel(lightfm_fast.LightFM(**parameters), epochs=2, recommend_use_gpu_ranking=False)
    config = model.get_config(simple_types=True)
    assert {name: config["model"][name] for name in parameters} == parameters
    assert config["model"]["cls"] == "LightFM"
    again = wrapper.LightFMWrapperModel.from_config(config)
    vectors, same = (m.fit(data).get_vectors(data) for m in (model, again))
    parts = wrapper.LightFMWrapperModel.from_config(config)
    for _ in range(2):
        parts.fit_partial(data, epochs=1)
    copy = deepcopy(model)
    for other in (same, parts.get_vectors(data), copy.get_vectors(data)):
        assert_array_equal(other[0], vectors[0])
        assert_array_equal(other[1], vectors[1])


@pytest.mark.skipif(lightfm is None, reason="LightFM is not installed")
def test_the_same_arrays_give_lightfms_scores_and_ranks():
    """Side by side: a model trained by LightFM, its arrays in ours."""
    rng = np.random.RandomState(0)
    interactions = sp.coo_matrix((rng.rand(40, 30) < 0.3).astype(np.float32))
    features = {
        "user_features": sp.hstack([sp.identity(40), rng.rand(40, 3)], format="csr", dtype=np.float32),
        "item_features": sp.random(30, 12, 0.4, format="csr", dtype=np.float32, random_state=1),
    }
    theirs = lightfm.LightFM(loss="warp", random_state=1).fit(interactions, epochs=5, **features)
    ours = lightfm_fast.LightFM(loss="warp")
    for name in vars(theirs):
        if name.startswith(("item_e", "item_b", "user_e", "user_b")):
            setattr(ours, name, getattr(theirs, name))
    users, items = (grid.ravel() for grid in np.indices((40, 30)))
    scores = theirs.predict(users, items, **features)
    found = ours.predict(users, items, **features)
    assert found.dtype == scores.dtype
    assert_allclose(found, scores, rtol=1e-4, atol=1e-5)
    test = sp.csr_matrix(((rng.rand(40, 30) < 0.2) & (interactions.toarray() == 0)).astype(np.float32))
    train = interactions.tocsr()
    expected = theirs.predict_rank(test, train, **features)
    ranks = ours.predict_rank(test, train, **features)
    assert ranks.dtype == expected.dtype
    assert_array_equal(ranks.indices, expected.indices)
    assert (ranks.data == expected.data).mean() > 0.99  # rounding may swap near neighbours
    for found, expected in zip(ours.get_item_representations(), theirs.get_item_representations(), strict=True):
        assert found.dtype == expected.dtype
        assert_array_equal(found, expected)
