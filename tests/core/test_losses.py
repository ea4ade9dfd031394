"""Losses: values and slopes against float64, and slopes against the values' differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

MAGNITUDES = np.concatenate([np.geomspace(1e-6, 1e4, 400), np.arange(0, 110, 0.25)])
MARGINS = np.concatenate([-MAGNITUDES, MAGNITUDES]).astype(np.float32)
SMALLEST_EXP = 2.0**-126  # where the kernel's exp stops falling


def at(hooks, name, margins):
    return np.array([hooks.loss_at(name, margin) for margin in margins], dtype=np.float64).T


def assert_precise(actual, expected):
    """Hold to single precision; exp(-m) loses half a unit of its argument, |m| units of 2^-24 in its value."""
    allowed = (5e-7 + 2.0**-24 * np.abs(MARGINS)) * np.abs(expected) + SMALLEST_EXP
    assert (np.abs(actual - expected) <= allowed).all()


def test_logistic_is_exact_over_all_margins(hooks):
    values, slopes = at(hooks, "logistic", MARGINS)
    margins = MARGINS.astype(np.float64)
    assert_precise(values, np.logaddexp(0, -margins))
    assert_precise(slopes, -expit(-margins))


def test_logistic_is_symmetric(hooks):
    values, slopes = at(hooks, "logistic", MAGNITUDES)
    mirrored_values, mirrored_slopes = at(hooks, "logistic", -MAGNITUDES)
    assert_allclose(slopes + mirrored_slopes, -1.0, rtol=1e-6)
    assert_allclose(mirrored_values - values, MAGNITUDES.astype(np.float32), rtol=1e-6, atol=1e-6)


def test_hinge_is_exact_on_both_sides_of_its_corner(hooks):
    margins = MARGINS.astype(np.float64)
    values, slopes = at(hooks, "hinge", margins)
    assert_allclose(values, np.maximum(1 - margins, 0), rtol=1e-6)
    assert_allclose(slopes, np.where(margins < 1, -1.0, 0.0))


@pytest.mark.parametrize("name", ["logistic", "hinge"])
def test_slope_is_the_difference_quotient_of_the_value(hooks, name):
    margins = np.arange(-20, 20, 0.0625)
    if name == "hinge":
        margins = margins[np.abs(margins - 1) > 0.0625]
    step = 2.0**-6
    (above, _), (below, _) = at(hooks, name, margins + step), at(hooks, name, margins - step)
    _, slopes = at(hooks, name, margins)
    assert_allclose(slopes, (above - below) / (2 * step), atol=1e-4)


@pytest.mark.parametrize("margin", [np.finfo(np.float32).max, np.finfo(np.float32).min, -0.0])
def test_logistic_is_finite_at_every_finite_margin(hooks, margin):
    assert np.isfinite(hooks.loss_at("logistic", margin)).all()
