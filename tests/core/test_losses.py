"""Losses: values and slopes against float64, and slopes against the values' differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit

from lightfm_fast import _core
from lightfm_fast._losses import LOSSES

MAGNITUDES = np.concatenate([np.geomspace(1e-6, 1e4, 400), np.arange(0, 110, 0.25)])
MARGINS = np.concatenate([-MAGNITUDES, MAGNITUDES]).astype(np.float32)
LOSSES_OF_A_NUMBER = [name for name in LOSSES if _core.engine.loss_at(name, 0.0) is not None]
HINGES = ("warp", "warp-kos")
SMALLEST_EXP = 2.0**-126  # where the kernel's exp stops falling


def at(name, margins):
    return np.array([_core.engine.loss_at(name, margin) for margin in margins], dtype=np.float64).T


def assert_precise(actual, expected):
    """Compare to single precision. exp(-m) has a relative error of |m| 2^-24, from half a unit of its argument."""
    allowed = (5e-7 + 2.0**-24 * np.abs(MARGINS)) * np.abs(expected) + SMALLEST_EXP
    assert (np.abs(actual - expected) <= allowed).all()


def test_logistic_is_exact_over_all_margins():
    values, slopes = at("logistic", MARGINS)
    margins = MARGINS.astype(np.float64)
    assert_precise(values, np.logaddexp(0, -margins))
    assert_precise(slopes, -expit(-margins))


def test_logistic_is_symmetric():
    values, slopes = at("logistic", MAGNITUDES)
    mirrored_values, mirrored_slopes = at("logistic", -MAGNITUDES)
    assert_allclose(slopes + mirrored_slopes, -1.0, rtol=1e-6)
    assert_allclose(mirrored_values - values, MAGNITUDES.astype(np.float32), rtol=1e-6, atol=1e-6)


def test_hinge_is_exact_on_both_sides_of_its_corner():
    margins = MARGINS.astype(np.float64)
    values, slopes = at("warp", margins)
    assert_allclose(values, np.maximum(1 - margins, 0), rtol=1e-6)
    assert_allclose(slopes, np.where(margins < 1, -1.0, 0.0))


@pytest.mark.parametrize("name", LOSSES_OF_A_NUMBER)
def test_slope_is_the_difference_quotient_of_the_value(name):
    margins = np.arange(-20, 20, 0.0625)
    if name in HINGES:
        margins = margins[np.abs(margins - 1) > 0.0625]
    step = 2.0**-6
    (above, _), (below, _) = at(name, margins + step), at(name, margins - step)
    _, slopes = at(name, margins)
    assert_allclose(slopes, (above - below) / (2 * step), atol=1e-4)


@pytest.mark.parametrize("margin", [np.finfo(np.float32).max, np.finfo(np.float32).min, -0.0])
def test_logistic_is_finite_at_every_finite_margin(margin):
    assert np.isfinite(_core.engine.loss_at("logistic", margin)).all()


def test_unknown_losses_and_schedules_are_refused():
    with pytest.raises(ValueError, match="loss is 'hinge', expected one of 'logistic', "):
        _core.engine.loss_at("hinge", 0.0)
    with pytest.raises(ValueError, match="loss is 'bpr', expected one of 'logistic', 'squared'"):
        _core.machine.Settings(loss="bpr", learning_schedule="adagrad", learning_rate=0.1, rho=0.9, epsilon=1e-6)
    with pytest.raises(ValueError, match="learning_schedule is 'sgd', expected 'adagrad' or 'adadelta'"):
        _core.machine.Settings(loss="squared", learning_schedule="sgd", learning_rate=0.1, rho=0.9, epsilon=1e-6)


def test_samples_without_what_a_loss_needs_are_refused():
    ids = np.zeros(1, np.int32)
    samples = _core.engine.Samples(
        np.array([0, 1]), ids, ids, None, None, 1, None, None, None, None, np.zeros(8, np.uint8), 1
    )
    table = np.zeros((1, 32), np.float32)
    sides = [_core.engine.Side(table, table[:, :2].copy(), 16, None, None, None, None, None, 0.0) for _ in range(2)]
    others = {"learning_rate": 0.1, "rho": 0.9, "epsilon": 1e-6, "log_rank": np.ones(2, np.float32), "k": 1, "n": 1}
    others |= {"all_pairs": False, "identity_dropout": 0.0, "n_negatives": 1, "temperature": 1.0}
    settings = _core.engine.Settings(loss="bpr", negatives="", learning_schedule="adagrad", **others)
    with pytest.raises(ValueError, match="popularity"):
        _core.engine.fit_epoch(settings, samples, *sides, 0, 0, 1)
