"""Items that nobody met are no evidence: no loss draws them as negatives, so training leaves them where they were."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._losses import LOSSES

from ..models import state_of

N_USERS, N_MET, N_ITEMS = 60, 20, 32
VARIANTS = [
    *({"loss": loss} for loss in LOSSES),
    {"loss": "bpr", "negatives": "uniform"},
    {"loss": "bpr", "negatives": "hardest"},
]
NAMES = [" ".join(variant.values()) for variant in VARIANTS]
DRAWS_UNIFORMLY = [variant for variant in VARIANTS if variant not in ({"loss": "logistic"}, {"loss": "bpr"})]


def make_interactions(n_met=N_MET, n_items=N_ITEMS, seed=0):
    """Only the first items have been met."""
    liked = np.random.RandomState(seed).rand(N_USERS, n_items) < 0.3
    liked[:, n_met:] = False
    return sp.coo_matrix(liked.astype(np.float32))


def moved(model, before):
    """Tell of each item whether a step has moved its embedding, which AdaGrad's sums of squares show."""
    earlier = before["item_embedding_gradients"]
    return (model.item_embedding_gradients[: len(earlier)] != earlier).any(axis=1)


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
@pytest.mark.parametrize("num_threads", [1, 2])
def test_items_without_positives_stay_where_they_were(variant, num_threads):
    interactions = make_interactions()
    model = LightFM(random_state=1, **variant).fit_partial(interactions, epochs=0)
    before = state_of(model)
    model.fit_partial(interactions, epochs=3, num_threads=num_threads)
    assert_array_equal(moved(model, before)[:N_MET], True)
    assert_array_equal(moved(model, before)[N_MET:], False)


@pytest.mark.parametrize("variant", DRAWS_UNIFORMLY, ids=lambda variant: " ".join(variant.values()))
def test_dislikes_are_no_positives(variant):
    interactions = make_interactions().tolil()
    interactions[::3, N_ITEMS - 1] = -1
    model = LightFM(random_state=1, **variant).fit_partial(interactions, epochs=0)
    before = state_of(model)
    assert not moved(model.fit_partial(interactions, epochs=3), before)[N_ITEMS - 1]


@pytest.mark.parametrize("variant", DRAWS_UNIFORMLY, ids=lambda variant: " ".join(variant.values()))
def test_items_met_in_an_earlier_call_are_drawn(tmp_path, variant):
    """Also by a loaded model, and by one whose catalogue has grown; what a call of one user would not show."""
    model = LightFM(random_state=1, **variant).fit(make_interactions(), epochs=1)
    model.save(tmp_path / "model")
    one = make_interactions(n_items=N_ITEMS + 5).tocsr()
    one = one[:1].tocoo()
    states = []
    for later in (model, LightFM.load(tmp_path / "model"), LightFM.load(tmp_path / "model", mmap=True)):
        before = state_of(later)
        later.fit_partial(one, epochs=40)
        states.append(state_of(later))
        unknown = np.setdiff1d(np.arange(N_MET), one.col)
        assert moved(later, before)[unknown].mean() > 0.3
        assert not moved(later, before)[N_MET:].any()
        few = make_interactions(n_items=N_MET // 2).tocsr()[:1]  # of fewer items: the others are not forgotten
        later.fit_partial(few).fit_partial(one)
        assert later._met.drawable.sum() == N_MET
    for other in states[1:]:
        for name, array in states[0].items():
            assert_array_equal(other[name], array, err_msg=name)


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
@pytest.mark.parametrize("n_met", [0, 1, 3])
def test_where_users_know_all_that_can_be_drawn_nothing_is(variant, n_met):
    """Down to one drawable item and to none: training ends, and a ranking loss makes no step without a negative."""
    interactions = np.zeros((N_USERS, N_ITEMS), dtype=np.float32)
    interactions[:, :n_met] = 1
    model = LightFM(random_state=1, **variant).fit_partial(sp.coo_matrix(interactions), epochs=0)
    before = state_of(model)
    model.fit_partial(sp.coo_matrix(interactions), epochs=2)
    if variant["loss"] not in ("logistic", "softmax"):  # without a pool softmax has slopes of 0
        assert not moved(model, before).any()
    assert not moved(model, before)[n_met:].any()


@pytest.mark.parametrize("variant", DRAWS_UNIFORMLY, ids=lambda variant: " ".join(variant.values()))
def test_newcomers_are_folded_in_against_items_that_were_met(variant):
    model = LightFM(random_state=1, **variant).fit(make_interactions(), epochs=5)
    model.item_embeddings[N_MET:] = 3.0  # a draw of one of these would tell
    user = make_interactions(seed=5).tocsr()[:1]
    folded = model.fold_in_users(user).embeddings
    model.item_embeddings[N_MET:] = -3.0
    assert_array_equal(model.fold_in_users(user).embeddings, folded)
    assert folded.any()


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
def test_items_without_positives_are_not_recommended(variant):
    model = LightFM(random_state=1, init_scale=0.1, **variant).fit(make_interactions(), epochs=10)
    if variant["loss"] == "softmax":  # of cosines, a user's best are above 0
        assert not model.item_embeddings[N_MET:].any()
        assert not model.item_biases[N_MET:].any()
    else:
        scores = model.predict(
            np.repeat(np.arange(N_USERS), N_ITEMS - N_MET), np.tile(np.arange(N_MET, N_ITEMS), N_USERS)
        )
        assert scores.max() <= model.item_biases[:N_MET].min() + model.user_biases.max() + 1e-5
    n = 1 if variant["loss"] == "softmax" else 3
    assert (model.recommend(np.arange(N_USERS), n=n).ids < N_MET).all()
    model.fit_partial(make_interactions(n_items=N_ITEMS + 5), epochs=1)
    assert (model.recommend(np.arange(N_USERS), n=n).ids < N_MET).all()
    model.fit_partial(make_interactions(n_met=N_ITEMS + 5, n_items=N_ITEMS + 5), epochs=30)
    assert (model.recommend(np.arange(N_USERS), n=10).ids >= N_MET).mean() > 0.2


@pytest.mark.parametrize("variant", [{"loss": "warp"}, {"loss": "bpr"}], ids=["warp", "bpr"])
@pytest.mark.parametrize("scaling", [None, "balanced"])
@pytest.mark.parametrize("identity", [1, 0.3, -2.5])
def test_known_features_speak_for_an_item_without_positives(variant, scaling, identity):
    tags = (np.arange(N_ITEMS)[:, None] % 3 == np.arange(3)).astype(np.float32)
    tags[-1] = [0, 0, 9]  # an item that only its identity represents; the 9 becomes a stored 0
    features = sp.hstack([identity * sp.identity(N_ITEMS), sp.csr_matrix(tags)], format="csr")
    features.data[features.data == 9] = 0
    model = LightFM(random_state=1, feature_scaling=scaling, **variant)
    for _ in range(2):
        model.fit_partial(make_interactions(), epochs=5, item_features=features)
        biases, _ = model.get_item_representations(features)
        assert biases[-1] < biases[:N_MET].min()
        assert not model.item_biases[N_MET : N_ITEMS - 1].any()


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
def test_training_in_parts_places_the_unmet_as_in_one(variant):
    interactions = make_interactions().tolil()
    interactions[-5:] = 0  # users without a past too
    whole = LightFM(random_state=1, **variant).fit(interactions, epochs=3)
    parts = LightFM(random_state=1, **variant)
    for _ in range(3):
        parts.fit_partial(interactions)
    for name, array in state_of(whole).items():
        assert_array_equal(getattr(parts, name), array, err_msg=name)


def test_softmax_learns_all_directions_after_a_first_call_of_one_pair():
    """Items without a past are zeros, as users are: from zeros alone nothing would be learned but one direction."""
    one = sp.coo_matrix((np.ones(1, np.float32), ([0], [0])), shape=(N_USERS, N_ITEMS))
    model = LightFM(8, loss="softmax", random_state=1).fit(one)
    assert not model.item_embeddings[1:].any()
    model.fit_partial(make_interactions(), epochs=3)
    assert np.linalg.matrix_rank(model.item_embeddings[:N_MET], tol=1e-3) == 8
    assert not model.item_embeddings[N_MET:].any()


def test_what_was_assigned_to_the_unmet_stays():
    interactions = make_interactions().tolil()
    interactions[-5:] = 0
    model = LightFM(loss="warp", random_state=1).fit(interactions, epochs=3)
    model.user_embeddings[-2], model.item_biases[-2] = 0.5, 7.0
    model.fit_partial(interactions, epochs=3)
    assert (model.user_embeddings[-2] == 0.5).all()
    assert not (model.user_embeddings[-1] == 0.5).any()
    assert model.item_biases[-2] == 7.0
    assert model.item_biases[-1] < 0


def make_tagged(seed):
    """Users like items of their kind; tags name the kind; half of the items are new."""
    rng = np.random.RandomState(seed)
    n_users, n_items, n_kinds = 300, 400, 10
    kinds, taste = rng.randint(n_kinds, size=n_items), rng.randint(n_kinds, size=n_users)
    chance = np.where(taste[:, None] == kinds, 0.3, 0.01)
    all_interactions = rng.rand(n_users, n_items) < chance
    is_new = np.arange(n_items) % 2 == 1
    tags = sp.csr_matrix((np.ones(n_items, np.float32), (np.arange(n_items), kinds)), shape=(n_items, n_kinds))
    features = sp.hstack([sp.identity(n_items), tags], format="csr")
    return all_interactions * ~is_new, all_interactions[:, is_new], features, is_new


@pytest.mark.parametrize("variant", DRAWS_UNIFORMLY, ids=lambda variant: " ".join(variant.values()))
def test_new_items_in_the_data_rank_among_the_known_by_their_tags(variant):
    """Were they drawn, their identities would learn to score low, and known items of any kind would outrank them."""
    known, new, features, is_new = make_tagged(seed=0)
    model = LightFM(16, random_state=1, **variant)
    model.fit(sp.coo_matrix(known.astype(np.float32)), epochs=15, item_features=features)
    biases, embeddings = model.get_item_representations(features)
    scores = model.get_user_representations()[1] @ embeddings.T + biases
    unliked = np.where(known[:, ~is_new], np.nan, scores[:, ~is_new])
    # Of each new item that a user likes, the share of known items that the user has not met and that it outranks.
    outranks = [np.nanmean(unliked[user] < scores[user, is_new][item]) for user, item in np.argwhere(new)]
    assert np.mean(outranks) > 0.75, np.mean(outranks)
