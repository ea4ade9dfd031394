"""Optimisers: one step and many against float64, for vectors (embeddings) and single numbers (biases)."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from .reference import adadelta, adagrad

SIZE = 4096


@pytest.fixture(params=[True, False], ids=["vectors", "numbers"])
def by_vectors(request):
    return request.param


def magnitudes(rng, low, high, size=SIZE):
    return np.exp(rng.uniform(np.log(low), np.log(high), size)).astype(np.float32)


def signed(rng, low, high, size=SIZE):
    return magnitudes(rng, low, high, size) * rng.choice([-1, 1], size).astype(np.float32)


ESTIMATED_ROOT = 2**-11


def in_float64(*arrays):
    return [array.astype(np.float64) for array in arrays]


def assert_steps(moved, expected_moves, weights, rtol):
    """Compare steps by their relative error, plus a unit in the last place of the weight."""
    assert (np.abs(moved - expected_moves) <= rtol * np.abs(expected_moves) + 1e-7 * np.abs(weights)).all()


@pytest.mark.parametrize("learning_rate", [1e-3, 0.05, 10.0])
def test_adagrad_step(hooks, by_vectors, learning_rate):
    rng = np.random.RandomState(0)
    weights, gradients = signed(rng, 1e-4, 1e2), signed(rng, 1e-6, 1e4)
    seen = magnitudes(rng, 1.0, 1e12)
    before = in_float64(weights, seen)
    model = SimpleNamespace(learning_rate=np.float64(np.float32(learning_rate)))
    expected, expected_seen, _ = adagrad(*before, 0.0, gradients.astype(np.float64), model)
    hooks.step_adagrad(weights, seen, gradients, learning_rate, by_vectors)
    assert_steps(weights - before[0], expected - before[0], before[0], rtol=ESTIMATED_ROOT)
    assert_allclose(seen, expected_seen, rtol=3e-7)


@pytest.mark.parametrize("epsilon", [1e-6, 1e-2])
@pytest.mark.parametrize("rho", [0.5, 0.95])
def test_adadelta_step(hooks, by_vectors, rho, epsilon):
    rng = np.random.RandomState(1)
    weights, gradients = signed(rng, 1e-4, 1e2), signed(rng, 1e-6, 1e4)
    seen, moved = magnitudes(rng, 1e-12, 1e8), magnitudes(rng, 1e-12, 1e2)
    seen[::7] = moved[::5] = 0  # as training starts
    before = in_float64(weights, seen, moved)
    model = SimpleNamespace(rho=np.float64(np.float32(rho)), epsilon=np.float64(np.float32(epsilon)))
    expected = adadelta(*before, gradients.astype(np.float64), model)
    hooks.step_adadelta(weights, seen, moved, gradients, rho, epsilon, by_vectors)
    assert_steps(weights - before[0], expected[0] - before[0], before[0], rtol=2e-6)
    assert_allclose(seen, expected[1], rtol=1e-6)
    assert_allclose(moved, expected[2], rtol=4e-6)


def test_adadelta_without_epsilon_stays_finite(hooks, by_vectors):
    weights, seen, moved = np.ones(16, np.float32), np.zeros(16, np.float32), np.zeros(16, np.float32)
    gradients = np.linspace(-1, 1, 16, dtype=np.float32)
    gradients[3] = 0
    hooks.step_adadelta(weights, seen, moved, gradients, 0.95, 0.0, by_vectors)
    assert np.isfinite([weights, seen, moved]).all()


def test_nothing_moves_without_gradient(hooks, by_vectors):
    for step in (
        lambda weights, gradients: hooks.step_adagrad(weights, np.ones(16, np.float32), gradients, 0.1, by_vectors),
        lambda weights, gradients: hooks.step_adadelta(
            weights, np.ones(16, np.float32), np.ones(16, np.float32), gradients, 0.9, 1e-6, by_vectors
        ),
    ):
        weights = np.linspace(-3, 3, 16, dtype=np.float32)
        step(weights, np.zeros(16, np.float32))
        assert (weights == np.linspace(-3, 3, 16, dtype=np.float32)).all()
