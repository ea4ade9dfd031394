"""What represents new items stays with the model: growth without epochs, small calls, Ctrl-C, assigned arrays."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from tests.models import N_KNOWN, N_LIKING, N_NEW, STATE, make_cold_items

N_COMPONENTS = 6


def has_content(model, features):
    return model.get_item_representations(features)[1].shape[1] > N_COMPONENTS


@pytest.fixture(scope="module")
def data():
    return make_cold_items()


@pytest.fixture(scope="module")
def fitted(data):
    train, _, features = data
    model = LightFM(loss="bpr", no_components=N_COMPONENTS, cold_start="content", random_state=3)
    return model.fit(train, item_features=features, epochs=10)


@pytest.fixture
def model(fitted):
    return copy.deepcopy(fitted)


def test_a_call_without_epochs_grows_content_too(data, model, tmp_path):
    train, _, features = data
    before = model.predict(0, np.arange(N_KNOWN + N_NEW), item_features=features)
    wide = sp.csr_matrix(sp.hstack([features, sp.csr_matrix((features.shape[0], 2))]))
    wide = sp.csr_matrix(
        sp.vstack([wide, sp.csr_matrix(([1.0], ([0], [wide.shape[1] - 1])), shape=(1, wide.shape[1]))])
    )
    grown = sp.coo_matrix((train.data, (train.row, train.col)), shape=(N_LIKING + 1, N_KNOWN + N_NEW + 1))
    model.fit_partial(grown, item_features=wide, epochs=0)
    scores = model.predict(0, np.arange(N_KNOWN + N_NEW), item_features=wide)
    assert_array_equal(scores, before)
    assert np.isfinite(model.predict(N_LIKING, np.arange(wide.shape[0]), item_features=wide)).all()
    model.save(tmp_path / "grown")
    loaded = LightFM.load(tmp_path / "grown", mmap=True)
    assert_array_equal(loaded.predict(0, np.arange(N_KNOWN + N_NEW), item_features=wide), scores)


def test_a_call_with_one_item_keeps_content(data, model):
    """One item has no tags that "several items share, but not all": the items of earlier calls do."""
    train, _, features = data
    items = np.arange(N_KNOWN, N_KNOWN + N_NEW)
    before = model.predict(0, items, item_features=features)
    one = sp.coo_matrix(([1.0], ([1], [0])), shape=train.shape)
    model.set_params(learning_rate=1e-6).fit_partial(one, item_features=features)
    assert has_content(model, features)
    assert_allclose(model.predict(0, items, item_features=features), before, rtol=0.02, atol=0.02)


def test_a_call_without_positives_keeps_content(data):
    train, _, features = data
    model = LightFM(no_components=N_COMPONENTS, cold_start="content", random_state=3)
    model.fit(train, item_features=features, epochs=3)
    model.fit_partial(sp.coo_matrix(-train), item_features=features)
    assert has_content(model, features)
    assert np.isfinite(model.predict(0, np.arange(N_KNOWN + N_NEW), item_features=features)).all()


def test_interrupted_training_keeps_content(data, model):
    train, _, features = data

    def interrupt(model):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit_partial(train, item_features=features, epochs=3, callbacks=[interrupt])
    assert len(model.history_) == 11
    assert has_content(model, features)


def test_arrays_of_another_model_come_without_content(data, model):
    train, _, features = data
    wide = sp.csr_matrix(sp.hstack([features, sp.csr_matrix(np.ones((features.shape[0], 1)))]))
    other = LightFM(loss="bpr", no_components=N_COMPONENTS, random_state=0)
    other.fit(train, item_features=wide)
    for name in STATE:
        setattr(model, name, getattr(other, name))
    items = np.arange(N_KNOWN + N_NEW)
    assert_array_equal(model.predict(0, items, item_features=wide), other.predict(0, items, item_features=wide))


def test_auto_keeps_what_the_first_call_found(data):
    """No tag tells anything in the first call. The tags of the second would make a race choose content."""
    train, _, features = data
    mixed = features.tolil()
    mixed[:, N_KNOWN:] = features[np.random.RandomState(0).permutation(features.shape[0])][:, N_KNOWN:]
    model = LightFM(loss="bpr", no_components=N_COMPONENTS, cold_start="auto", random_state=3)
    model.fit(train, item_features=mixed.tocsr(), epochs=20)
    assert not has_content(model, features)
    model.fit_partial(train, item_features=features, epochs=20)
    assert not has_content(model, features)
