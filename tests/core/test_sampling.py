"""The samplers' draws and their frequencies.

Training is used to count draws. Parameters do not move, and scores are biases only. The embedding of a user is the unit
vector of the user's group. So component g of an item's accumulator is the sum of squared slopes of the item's steps
with users of group g.
"""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from scipy.stats import binom, chi2

from lightfm_fast import LightFM

MASK, MASK_32 = (1 << 64) - 1, (1 << 32) - 1
GOLDEN_RATIO = 0x9E3779B97F4A7C15
WORDS = st.integers(0, MASK)


def assert_drawn_as(counts, probabilities):
    """Pearson's test; a correct sampler fails for one seed in 10^5. Counts of probability 0 must be 0."""
    counts, expected = np.asarray(counts), np.asarray(probabilities) * np.sum(counts)
    assert (counts[expected == 0] == 0).all()
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert expected.min() > 20
    assert ((counts - expected) ** 2 / expected).sum() < chi2.isf(1e-5, len(counts) - 1)


def meet_all_items(model, n_items):
    """Make all items drawable: a user likes them all, and so has no negatives."""
    model.fit_partial(sp.coo_matrix(np.ones((1, n_items))))
    assert (model.item_embedding_gradients == 1).all()


def sum_squared_slopes(loss, liked, item_biases=None, copies=200, epochs=5, **settings):
    """Sums of shape (n_groups, n_items): `copies` users like the items of each row of `liked`."""
    n_groups, n_items = np.shape(liked)
    groups = np.repeat(np.arange(n_groups), copies)
    interactions = sp.csr_matrix(liked, dtype=np.float32)[groups].tocoo()
    model = LightFM(n_groups, loss=loss, learning_rate=1e-30, random_state=11, **settings)
    meet_all_items(model, n_items)
    model.fit_partial(interactions, epochs=0)
    model.user_embeddings = np.eye(n_groups)[groups]
    model.item_embeddings = np.zeros((n_items, n_groups))
    model.item_biases = np.zeros(n_items) if item_biases is None else item_biases
    model.fit_partial(interactions, epochs=epochs)
    return model.item_embedding_gradients.T.astype(np.float64) - 1


def as_counts(sums, squared_slope):
    counts = np.round(sums / squared_slope)
    assert_allclose(sums, counts * squared_slope, rtol=1e-3)
    return counts


# ------------------------------------------------------------------ raw draws


def mix(word):
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & MASK
    return word ^ (word >> 31)


def mix_32(word):
    word = (word ^ (word >> 16)) * 0x85EBCA6B & MASK_32
    word = (word ^ (word >> 13)) * 0xC2B2AE35 & MASK_32
    return word ^ (word >> 16)


@settings(derandomize=True)
@given(seed=WORDS, epoch=st.integers(0, 10**6), task=WORDS, counter=WORDS, n=st.integers(1, (1 << 32) - 1))
def test_draws_are_those_of_splitmix64_and_murmur_hash_3(hooks, seed, epoch, task, counter, n):
    key = mix(mix((seed + GOLDEN_RATIO * (epoch + 1)) & MASK) + GOLDEN_RATIO * (task + 1) & MASK)
    draws = hooks.Draws(np.ones(1), seed, epoch, task)
    assert draws.bits(counter) == mix((key + GOLDEN_RATIO * counter) & MASK)
    of_sample = mix_32((key + (counter >> 32)) & MASK_32)
    word = mix_32((of_sample + ((key >> 32) ^ (counter & MASK_32))) & MASK_32)
    assert draws.below(n, counter) == word * n >> 32


def test_uniform_draws_are_uniform(hooks):
    draws = hooks.Draws(np.ones(1), 1, 2, 3)
    of_one_sample, of_many = range(20_000), range(0, 20_000 << 32, 1 << 32)
    for counters in (of_one_sample, of_many):
        assert_drawn_as(np.bincount([draws.below(37, counter) for counter in counters]), np.full(37, 1 / 37))


@pytest.mark.parametrize(
    "popularity",
    [[1], [0, 1], [5, 0, 1, 100, 7, 0, 37], [10**12, 10**12, 1], range(1, 60)],
    ids=["one", "zero and one", "mixed", "vast", "rising"],
)
def test_popularity_draws_follow_the_counts(hooks, popularity):
    popularity = np.array(popularity, dtype=np.float64)
    draws = hooks.Draws(popularity, 4, 5, 6)
    counts = np.bincount([draws.popular(counter) for counter in range(50_000)], minlength=len(popularity))
    share = popularity / popularity.sum()
    share[share < 1e-9] = 0
    if np.count_nonzero(share) == 1:
        assert_array_equal(counts, share * 50_000)
    else:
        assert_drawn_as(counts, share)


# ------------------------------------------------------------------ BPR


@settings(derandomize=True)
@given(st.data(), st.integers(1, 60), st.booleans())
def test_positives_are_found_among_a_users(hooks, data, n_items, scaled):
    items = sorted(data.draw(st.lists(st.integers(0, n_items - 1), min_size=1)))  # some twice
    step = (2**31 - 1) // n_items if scaled else 1
    listed = np.array(items, dtype=np.int32) * step
    found = [item for item in range(n_items) if hooks.is_listed(listed, n_items * step, item * step)]
    assert found == sorted(set(items))


# The large catalogue, 12,000 users by 12,000 items, has a Bloom filter for membership; the small one has a bitmap.
@pytest.mark.parametrize(("n_items", "copies"), [(8, 1000), (12_000, 4000)])
def test_bpr_draws_by_popularity_among_unknown_items(n_items, copies):
    liked = np.zeros((3, n_items))
    pool = np.random.RandomState(0).permutation(n_items)[:8]
    liked[:, pool] = [[1, 1, 1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 1, 1, 0]]
    sums = sum_squared_slopes("bpr", liked, copies=copies, epochs=1)
    counts = as_counts(sums, 0.25)  # the logistic loss's slope is 1/2 at margin 0
    for row, counted in zip(liked, counts, strict=True):
        assert (counted[row == 1] == copies).all()  # only as the positive, never as a negative
        popularity = liked.sum(axis=0) * (row == 0)
        assert counted[row == 0].sum() == copies * row.sum()
        assert_drawn_as(counted[row == 0], (popularity / popularity.sum())[row == 0])


@pytest.mark.parametrize(
    ("settings", "exponent"),
    [({"negatives": "uniform"}, 0.0), ({"popularity_exponent": 0.5}, 0.5), ({"popularity_exponent": 0.0}, 0.0)],
)
def test_bpr_draws_by_a_power_of_popularity(settings, exponent):
    liked = np.array([[1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 1, 0]])
    counts = as_counts(sum_squared_slopes("bpr", liked, copies=1000, epochs=1, **settings), 0.25)
    for row, counted in zip(liked, counts, strict=True):
        drawn = (liked.sum(axis=0) ** exponent * (row == 0))[row == 0]
        assert (counted[row == 1] == 1000).all()
        assert_drawn_as(counted[row == 0], drawn / drawn.sum())


def test_hardest_is_the_best_of_the_draws_that_are_no_positives():
    n_items, n_negatives, copies = 9, 3, 20_000
    liked = np.zeros((1, n_items))
    best_first = np.random.RandomState(1).permutation(n_items)
    liked[0, best_first[[0, 4]]] = 1  # a positive is the best of all, but is never chosen
    item_biases = np.empty(n_items)
    item_biases[best_first] = -0.125 * np.arange(n_items)
    model = LightFM(1, loss="bpr", negatives="hardest", n_negatives=n_negatives, learning_rate=1e-30, random_state=3)
    interactions = sp.coo_matrix(np.repeat(liked, copies, axis=0))
    meet_all_items(model, n_items)
    model.fit_partial(interactions, epochs=0)
    model.user_embeddings, model.item_embeddings = np.ones((copies, 1)), np.zeros((n_items, 1))
    model.item_biases = item_biases
    model.fit_partial(interactions)
    # A pair adds the square of its slope to both accumulators, so a negative's positives cannot be identified.
    squares = model.item_embedding_gradients[:, 0].astype(np.float64) - 1
    slopes = expit(item_biases[None, :] - item_biases[best_first[[0, 4]], None])
    counted = squares / (slopes**2).mean(axis=0)
    negatives = [item for item in best_first if not liked[0, item]]
    better = np.array(
        [
            np.flatnonzero(best_first == item)[0] - sum(liked[0, best_first[: list(best_first).index(item)]])
            for item in negatives
        ]
    )
    # Positives among the draws do not count: the best is item r if no draw is better, and not all are worse.
    none_better = ((n_items - better) / n_items) ** n_negatives
    neither = ((n_items - better - 1) / n_items) ** n_negatives
    expected = 2 * copies * (none_better - neither)
    assert_allclose(counted[negatives], expected, atol=6 * np.sqrt(expected.max()) * 2)


@pytest.mark.parametrize("loss", ["bpr", "warp", "warp-kos"])
def test_user_who_likes_everything_has_no_negative(loss):
    assert (sum_squared_slopes(loss, np.ones((1, 6)), copies=3) == 0).all()


def test_user_who_likes_everything_has_no_hardest_negative():
    assert (sum_squared_slopes("bpr", np.ones((1, 6)), copies=3, negatives="hardest") == 0).all()


def test_hardest_is_found_among_many_positives():
    n_items, copies, epochs = 41, 3, 5
    liked = np.ones((1, n_items))
    liked[0, 7] = 0
    item_biases = np.linspace(1, 2, n_items)  # so that most searches find one positive after another
    item_biases[7] = 0
    sums = sum_squared_slopes(
        "bpr", liked, item_biases, copies=copies, epochs=epochs, negatives="hardest", n_negatives=2_000
    )[0]
    slopes = expit(-np.delete(item_biases, 7))
    assert_allclose(np.delete(sums, 7), copies * epochs * slopes**2, rtol=1e-3)
    assert_allclose(sums[7], copies * epochs * (slopes**2).sum(), rtol=1e-3)


# ------------------------------------------------------------------ WARP


def test_warp_draws_uniformly_among_violating_unknown_items():
    liked = np.array([[1, 1, 0, 0, 0, 0, 0, 0, 0]])
    item_biases = np.array([0, 0, 0, -0.5, 5, 0.99, -1, -1.5, -9])  # a margin of 1 or more does not violate
    counts = as_counts(sum_squared_slopes("warp", liked, item_biases, max_sampled=1, epochs=20), np.log(8) ** 2)[0]
    n_samples = 2 * 200 * 20
    assert (counts[6:] == 0).all()
    negatives = counts[2:6]
    assert counts[:2].sum() == negatives.sum()  # the positive of each pair, never a negative
    assert_drawn_as([*negatives, n_samples - negatives.sum()], [1 / 9, 1 / 9, 1 / 9, 1 / 9, 5 / 9])


@pytest.mark.parametrize(("max_sampled", "n_draws"), [(1, 1), (3, 3), (10, 10)])
def test_warp_gives_up_after_max_sampled_draws(max_sampled, n_draws):
    n_items = 40
    liked = np.zeros((1, n_items))
    liked[0, 0] = 1
    item_biases = np.full(n_items, -2.0)
    item_biases[:2] = 0  # item 1 alone violates
    sums = sum_squared_slopes("warp", liked, item_biases, max_sampled=max_sampled, epochs=20)[0]
    draws = np.arange(1, n_draws + 1)
    log_ranks = np.log((n_items - 1) // draws)
    found = (1 - 1 / n_items) ** (draws - 1) / n_items  # geometric in the number of draws
    mean, variance = (found * log_ranks**2).sum(), (found * log_ranks**4).sum()
    assert sums[1] == pytest.approx(sums[0], rel=1e-5)
    assert abs(sums[1] - 4000 * mean) < 5 * np.sqrt(4000 * variance)
    assert (sums[2:] == 0).all()


# ------------------------------------------------------------------ k-OS


@pytest.mark.parametrize(("n_liked", "n", "k"), [(5, 3, 2), (4, 4, 4), (5, 1, 1), (3, 10, 2), (2, 10, 5), (4, 2, 3)])
def test_kos_takes_the_kth_best_of_the_positives_drawn(n_liked, n, k):
    n_items = 30
    liked = np.zeros((1, n_items))
    best_first = np.random.RandomState(0).permutation(n_items)[:n_liked]
    liked[0, best_first] = 1
    item_biases = np.zeros(n_items)
    item_biases[best_first] = -0.1 * np.arange(n_liked)
    # One task has many batches of samples: if batches repeated draws, counts would vary too much.
    sums = sum_squared_slopes("warp-kos", liked, item_biases, copies=20_000, epochs=1, n=n, k=k, max_sampled=1)
    counts = as_counts(sums, np.log(n_items - 1) ** 2)[0]
    n_drawn = min(n, n_liked)  # as many as there are
    # The k-th best is among the r best positives if k or more of the drawn ones are.
    among_best = binom.sf(min(k, n_drawn) - 1, n_drawn, np.arange(n_liked + 1) / n_liked)
    assert_drawn_as(counts[best_first], np.diff(among_best))


def test_kos_takes_the_kth_best_where_k_is_large():
    n_items, n_liked, n, k, copies = 80, 40, 40, 36, 2_000
    liked = np.tile([[1.0, 0.0]], n_liked)
    best_first = 2 * np.arange(n_liked)
    item_biases = np.zeros(n_items)
    item_biases[best_first] = -0.1 * np.arange(n_liked)
    sums = sum_squared_slopes("warp-kos", liked, item_biases, copies=copies, epochs=1, n=n, k=k, max_sampled=1)
    counts = as_counts(sums, np.log(n_items - 1) ** 2)[0][best_first]
    expected = np.diff(binom.sf(k - 1, n, np.arange(n_liked + 1) / n_liked)) * counts.sum()
    assert (np.abs(counts - expected) < 5 + 5 * np.sqrt(expected)).all()
