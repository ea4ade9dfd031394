"""The few items among which a user's best must be, by scores in 7 bits with bounds."""

import numpy as np

from lightfm_fast import _core


def test_shortlists_hold_the_best_of_float64(level):
    """Also with biases and lengths of very different sizes, and with a user of one large component."""
    rng = np.random.RandomState(0)
    for scale, bias in ((1, 1), (1e-12, 1e-13), (1e10, 1e9), (1, 1e9)):
        items = (scale * rng.randn(9000, 30) * rng.exponential(1, (9000, 1)) ** 2).astype(np.float32)
        biases = (bias * rng.randn(9000)).astype(np.float32)
        user = (rng.randn(30) * (1 + 50 * (np.arange(30) == 4))).astype(np.float32)
        quick = _core.ranking.QuickItems(items, biases, 30, False, 1)
        found = quick.shortlist(user, 10, None, 1)
        best = np.argsort(-(items.astype(np.float64) @ user + biases))[:9]  # the tenth can tie by rounding
        if scale != 1 or bias == 1:  # else biases of 1e9 leave no digits for products
            assert found is not None
        assert found is None or (set(best) <= set(found) and len(found) < 500)


def test_a_digest_tells_arrays_apart(level):
    rng = np.random.RandomState(0)
    array = rng.bytes(1003)
    digests = {_core.ranking.digest(np.frombuffer(array, np.uint8))}
    for place in range(1003):
        changed = np.frombuffer(array, np.uint8).copy()
        changed[place] ^= 1
        digests.add(_core.ranking.digest(changed))
    digests.update(_core.ranking.digest(np.frombuffer(array[:size], np.uint8)) for size in range(1003))
    assert len(digests) == 1 + 1003 + 1003
