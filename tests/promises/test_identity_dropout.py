"""identity_dropout leaves identities out in training, so that other features represent newcomers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM, load
from lightfm_fast.data import Dataset

N_USERS, N_ITEMS, N_GROUPS = 60, 40, 4
GROUPS = np.arange(N_ITEMS) % N_GROUPS
TAGS = sp.csr_matrix(np.eye(N_GROUPS, dtype=np.float32)[GROUPS])
WITH_IDENTITY = sp.hstack([sp.identity(N_ITEMS), TAGS], format="csr")
LIKED = np.equal.outer(np.arange(N_USERS) % N_GROUPS, GROUPS)
INTERACTIONS = sp.coo_matrix(LIKED & (np.random.RandomState(0).rand(N_USERS, N_ITEMS) < 0.5))
STATE = ("user_embeddings", "user_biases", "item_embeddings", "item_biases")


def train(item_features=WITH_IDENTITY, interactions=INTERACTIONS, **parameters):
    model = LightFM(**{"loss": "warp", "random_state": 0, "identity_dropout": 0.5, **parameters})
    return model.fit(interactions, item_features=item_features, epochs=5)


def test_same_seed_same_bits():
    first, second, other = train(), train(), train(random_state=1)
    for name in STATE:
        assert_array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.item_embeddings, other.item_embeddings)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_identity_is_left_out_with_its_probability(probability):
    """Without slopes only the penalty moves a row, along its representation, which stays near 1 here."""
    interactions = sp.coo_matrix(np.ones((200, N_ITEMS)))
    no_weight = sp.coo_matrix((np.zeros(interactions.nnz), (interactions.row, interactions.col)), interactions.shape)
    model = LightFM(1, item_alpha=1e-4, identity_dropout=probability, random_state=0)
    model.fit_partial(interactions, item_features=WITH_IDENTITY, epochs=0)
    model.item_embeddings = np.repeat([0.0, 1.0], [N_ITEMS, N_GROUPS])[:, None]
    model.fit_partial(interactions, item_features=WITH_IDENTITY, sample_weight=no_weight, epochs=5)
    identities, groups = np.split(model.item_embeddings.ravel().astype(float), [N_ITEMS])
    visits = -np.log(groups) / (0.05 * 1e-4)
    assert visits == pytest.approx(np.full(N_GROUPS, 1000 * N_ITEMS / N_GROUPS), rel=0.03)
    visits = -identities / (0.05 * 1e-4 * (1 + groups.mean()) / 2)
    assert visits.mean() / 1000 == pytest.approx(1 - probability, rel=0.1)
    assert visits.std() / 1000 < 0.05  # rows have independent draws


def test_newcomers_are_ranked_by_their_features():
    """Half of the items never occur. Identities of large weight learn most of the effect that groups could learn."""
    cold = np.arange(N_ITEMS) >= N_ITEMS // 2
    seen = sp.coo_matrix(INTERACTIONS.toarray() * ~cold)
    features = sp.hstack([3 * sp.identity(N_ITEMS), TAGS], format="csr")
    users, items = np.indices(LIKED.shape)

    def gap(identity_dropout):
        model = LightFM(loss="warp", identity_dropout=identity_dropout, random_state=0)
        model.fit(seen, item_features=features, epochs=30)
        scores = model.predict(users.ravel(), items.ravel(), item_features=features).reshape(LIKED.shape)
        return scores[LIKED & cold].mean() - scores[~LIKED & cold].mean()

    assert gap(0.5) > 1.4 * gap(0.0) > 0


def test_order_of_columns_does_not_matter():
    """Identity columns are found by their entries: behind other columns, in any order and with any weight."""
    order = np.random.RandomState(1).permutation(N_ITEMS + N_GROUPS)
    places = np.argsort(order)
    models = []
    for features, chosen in ((WITH_IDENTITY, slice(None)), (WITH_IDENTITY[:, order], places)):
        model = LightFM(identity_dropout=0.5, random_state=0).fit_partial(
            INTERACTIONS, item_features=features, epochs=0
        )
        model.item_embeddings = np.random.RandomState(2).normal(size=model.item_embeddings.shape)[
            order if chosen is places else slice(None)
        ]
        models.append(model.fit_partial(INTERACTIONS, item_features=features).item_embeddings[chosen])
    np.testing.assert_allclose(*models, rtol=1e-4, atol=1e-6)


def test_without_dropout_nothing_changes():
    for name in STATE:
        assert_array_equal(getattr(train(identity_dropout=0), name), getattr(train(identity_dropout=0.0), name))
    assert not np.array_equal(train(identity_dropout=0).item_embeddings, train().item_embeddings)


def test_features_of_a_dataset():
    dataset = Dataset()
    dataset.fit(range(N_USERS), range(N_ITEMS), item_features=["a", "b"])
    features = dataset.build_item_features((item, ["ab"[item % 2]]) for item in range(N_ITEMS))
    before = features.copy()
    train(features)
    assert (features != before).nnz == 0
    assert_array_equal(features.indices, before.indices)


def test_rows_that_do_not_occur_need_no_identity():
    cold = sp.vstack([WITH_IDENTITY, sp.hstack([sp.csr_matrix((4, N_ITEMS)), sp.identity(N_GROUPS)])])
    model = train(
        cold, sp.coo_matrix((INTERACTIONS.data, (INTERACTIONS.row, INTERACTIONS.col)), (N_USERS, N_ITEMS + 4))
    )
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]


def test_saved_and_loaded(tmp_path):
    train().save(tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").identity_dropout == 0.5


RARE = sp.lil_matrix(TAGS)
RARE.resize(N_ITEMS, N_GROUPS + 1)
RARE[0, N_GROUPS] = 1  # a tag that one item alone has makes no identity block


@pytest.mark.parametrize(
    "features", [None, TAGS, RARE.tocsr(), sp.identity(N_ITEMS)], ids=["none", "tags", "rare", "ids"]
)
def test_nothing_to_leave_out_is_refused(features):
    with pytest.raises(ValueError, match="no identity column to leave out"):
        train(features)
    model = LightFM(random_state=0).fit(INTERACTIONS, item_features=features)
    before = model.item_embeddings.copy()
    model.set_params(identity_dropout=0.5)
    with pytest.raises(ValueError, match="no identity column to leave out"):
        model.fit_partial(INTERACTIONS, item_features=features)
    assert_array_equal(model.item_embeddings, before)
    assert len(model.history_) == 1
