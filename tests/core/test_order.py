"""The order of an epoch: every position once, and another order for each epoch and seed."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lightfm_fast import LightFM

SEEDS = st.integers(0, 2**64 - 1)
SIZES = st.integers(1, 2000) | st.integers(1, 2**31)


@settings(derandomize=True)
@given(size=SIZES, seed=SEEDS, epoch=st.integers(0, 1000), part=st.floats(0, 1))
def test_groups_partition_the_positions(hooks, size, seed, epoch, part):
    n_blocks = len(hooks.positions(size, seed, epoch, 0))
    group = int(part * ((size - 1) // n_blocks))
    dealt = hooks.positions(size, seed, epoch, group)
    assert sorted(dealt) == list(range(group * n_blocks, (group + 1) * n_blocks))


@settings(derandomize=True)
@given(size=st.integers(1, 5000), spread=st.sampled_from([1, 2, 16]))
def test_walks_take_every_position_once(hooks, size, spread):
    taken = [position for block in range(4) for position in hooks.positions_of_block(size, 4, spread, block)]
    assert sorted(taken) == list(range(size))


@pytest.mark.parametrize("spread", [1, 2, 4, 16])
def test_walks_take_samples_of_a_user_apart(hooks, spread):
    positions = np.asarray(hooks.positions_of_block(4 * 16 * 16 * 3, 4, spread, 1))
    users = positions // (4 * spread)  # each has `spread` samples in a block
    assert all(len(set(together)) == 16 for together in users.reshape(-1, 16))


def test_blocks_take_each_place_of_a_group_equally_often(hooks):
    n_blocks = len(hooks.positions(10**6, 0, 0, 0))
    places = [hooks.positions(10**6, 0, 0, group)[5] % n_blocks for group in range(200 * n_blocks // 32)]
    counts = np.bincount(places, minlength=n_blocks)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < n_blocks + 5 * np.sqrt(2 * n_blocks)


@pytest.mark.parametrize(
    ("of_a_user", "n_blocks", "n_blocks_apart"), [(50, 4, 4), (100, 8, 4), (150, 16, 8), (725, 16, 32), (5000, 16, 32)]
)
def test_blocks_grow_with_the_interactions_of_a_user(hooks, of_a_user, n_blocks, n_blocks_apart):
    n_users = 6000
    size = of_a_user * n_users
    assert hooks.choose_n_blocks(size, n_users, 4, False) == n_blocks
    assert hooks.choose_n_blocks(size, n_users, 4, True) == n_blocks_apart
    assert hooks.choose_n_blocks(size, n_users, 32, False) == 32
    assert hooks.choose_n_blocks(2**18 - 1, n_users, 4, True) == 128


def test_seed_epoch_and_group_change_the_order(hooks):
    def offsets(seed, epoch, group):
        dealt = hooks.positions(10**6, seed, epoch, group)
        return tuple(position - group * len(dealt) for position in dealt)

    orders = {offsets(*key) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len(orders) == 4


def test_samples_have_their_users_beside_users_without_any():
    # As below; enough samples that their users are found from the first user of each stratum.
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 500, 400) * (rng.random(400) < 0.7)
    lengths[:20] = lengths[200:230] = lengths[-20:] = 0
    users = np.repeat(np.arange(400), lengths)
    items = np.concatenate([rng.choice(500, length, replace=False) for length in lengths])
    model = LightFM(no_components=1, learning_rate=1e-30, random_state=0)
    interactions = sp.coo_matrix((np.ones(len(users), dtype=np.float32), (users, items)), (400, 500))
    assert len(users) // 128 > 400
    model.fit_partial(interactions, epochs=0)
    model.user_embeddings, model.item_embeddings = np.zeros((400, 1)), np.zeros((500, 1))
    model.fit_partial(interactions)
    assert_allclose(model.user_bias_gradients, 1 + lengths / 4, rtol=1e-5)
    assert_allclose(model.item_bias_gradients, 1 + np.bincount(items, minlength=500) / 4, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 127), (2, 64), (3, 43), (7, 300), (600, 500), (70_000, 5)])
def test_epoch_visits_every_sample_once(shape):
    # Parameters are zero and do not move: each visit adds (weight / 2)^2 to its user's and its item's accumulator.
    weights = np.random.RandomState(0).uniform(0.5, 2, shape).astype(np.float32)
    interactions = sp.coo_matrix(np.ones(shape, dtype=np.float32))
    model = LightFM(no_components=1, learning_rate=1e-30, random_state=0)
    model.fit_partial(interactions, epochs=0)
    model.user_embeddings, model.item_embeddings = np.zeros((shape[0], 1)), np.zeros((shape[1], 1))
    model.fit_partial(interactions, sample_weight=sp.coo_matrix(weights))
    squares = weights.astype(np.float64) ** 2 / 4
    assert model.history_[0]["samples"] == weights.size
    assert_allclose(model.user_bias_gradients, 1 + squares.sum(axis=1), rtol=1e-5)
    assert_allclose(model.item_bias_gradients, 1 + squares.sum(axis=0), rtol=1e-5)
    assert_allclose(model.history_[0]["loss"], np.log(2) * weights.mean(dtype=np.float64), rtol=1e-5)
