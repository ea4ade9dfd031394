"""Sketches: scores by 8 bits a component against float64."""

import numpy as np
import pytest


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("width", [16, 48, 64, 80, 208])
def test_scores_are_off_by_a_hundredth_of_their_spread(hooks, width, scale):
    errors, scores = [], []
    for seed in range(50):
        rng = np.random.RandomState(seed)
        users, items = (rng.normal(0, 1, (hooks.group_size, width)).astype(np.float32) for _ in range(2))
        items *= rng.uniform(0.1, 3, (hooks.group_size, 1)).astype(np.float32)  # each has its own unit
        biases = scale * rng.normal(0, 1, hooks.group_size).astype(np.float32)
        exact = scale * np.einsum("gc,gc->g", users.astype(np.float64), items) + biases
        errors.append(hooks.score_by_sketches(users * np.float32(scale), items, biases) - exact)
        scores.append(exact)
    assert np.std(errors) < 0.015 * np.std(scores)
    assert np.abs(np.mean(errors)) < 0.002 * np.std(scores)  # errors are unbiased


def test_a_vector_of_zeros_scores_as_its_bias(hooks):
    zeros, ones = np.zeros((hooks.group_size, 64), np.float32), np.ones((hooks.group_size, 64), np.float32)
    biases = np.linspace(-2, 2, hooks.group_size, dtype=np.float32)
    for users, items in ((zeros, ones), (ones, zeros)):
        assert np.abs(hooks.score_by_sketches(users, items, biases) - biases).max() < 0.01


def test_what_is_no_number_shows(hooks):
    """NaN in the bias or the largest component shows that a model has diverged."""
    rows, biases = np.ones((hooks.group_size, 64), np.float32), np.zeros(hooks.group_size, np.float32)
    biases[0] = np.nan
    rows[1, 5] = np.inf
    scores = hooks.score_by_sketches(np.ones_like(rows), rows, biases)
    assert not np.isfinite(scores[:2]).any()
    assert np.isfinite(scores[2:]).all()
