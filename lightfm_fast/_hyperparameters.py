"""The values that the estimators' constructor arguments accept, and the presets.

Names and defaults are in the constructors' signatures; meanings are in the classes' docstrings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._arguments import (
    LARGEST_INDEX,
    check_random_state,
    is_flag,
    is_real,
    is_whole,
    shorten,
    to_float,
)
from ._losses import LOSSES, facts_of

SCHEDULES = ("adagrad", "adadelta")
INTERACTIONS = ("cross", "all")
NEGATIVES = ("popularity", "uniform", "hardest")
ALPHAS, AUTO = ("item_alpha", "user_alpha"), "auto"  # L2 penalties of LightFM, and one that training is to find
FEATURE_SCALINGS = ("balanced",)
MAY_BE_NONE = ("n_negatives", "init_scale", "feature_scaling")  # arguments of LightFM
COLD_STARTS = ("features", "mapping", "content", "mapping+content", "auto")
LARGEST_LINEAR = 1 << 12  # components of the linear autoencoder

# Values of n_negatives=None: for softmax, and for "hardest" by the largest catalogue that they suit. With more items it
# takes more draws to find hard negatives. Too many draws find items that users would like (benchmarks/NOTES.md).
N_SOFTMAX = 256
N_HARDEST = ((1_000, 4), (10_000, 8), (math.inf, 16))

PRESET_EPOCHS = 40  # the epochs that the presets were chosen with

# Settings of LightFM that rank well on many kinds of data, as measured in docs/quality.md.
PRESETS: dict[str, dict[str, Any]] = {
    "ranking": {
        "no_components": 64,
        "loss": "softmax",
        "n_negatives": 256,
        "temperature": 0.15,
        "learning_rate": 0.3,
        "initial_accumulator": 100.0,
        "init_scale": 0.1,
        "feature_scaling": "balanced",
        "average": True,
    },
    "fast": {
        "no_components": 64,
        "loss": "bpr",
        "negatives": "hardest",
        "learning_rate": 0.1,
        "item_alpha": AUTO,
        "user_alpha": AUTO,
        "initial_accumulator": 0.01,
        "init_scale": 0.1,
        "feature_scaling": "balanced",
        "cold_start": "auto",
        "average": True,
        "linear_components": AUTO,
        "user_shrinkage": 2.0,
    },
}


class ParameterError(ValueError, AssertionError):
    """A constructor argument is out of range.

    LightFM asserts its constructor arguments, and scikit-learn users expect a ``ValueError``: existing handlers of
    both exceptions catch this one.
    """


class Domain(NamedTuple):
    """The values that an argument accepts.

    Attributes
    ----------
    holds : callable
        Returns whether a value is accepted.
    expected : str
        Description of the accepted values in errors.
    """

    holds: Callable[[Any], bool]
    expected: str


def _whole(least: int, largest: int, shown: str) -> Domain:
    return Domain(lambda x: is_whole(x) and least <= x <= largest, f"a whole number from {least} to {shown}")


def _real(least: float, largest: float, shown: str) -> Domain:
    return Domain(lambda x: is_real(x) and least <= to_float(x) <= largest, f"a number from {shown}")  # no NaN


def _one_of(choices: Sequence[str]) -> Domain:
    return Domain(lambda x: isinstance(x, str) and x in choices, f"one of {', '.join(map(repr, choices))}")


def is_auto(value: Any) -> bool:
    """Tell whether an alpha, or the number of linear components, is to be found."""
    return isinstance(value, str) and value == AUTO


LARGEST_SINGLE = float(np.finfo(np.float32).max)
_FROM_ZERO = _real(0, LARGEST_SINGLE, "0 to 3.4e38, the largest in single precision")
_FROM_ZERO_OR_AUTO = Domain(lambda x: is_auto(x) or _FROM_ZERO.holds(x), f"{_FROM_ZERO.expected}, or {AUTO!r}")
_PROPER = Domain(lambda x: is_real(x) and 0 < to_float(x) < 1, "a number between 0 and 1, both excluded")

DOMAINS: dict[str, Domain] = {
    "no_components": _whole(1, 1 << 20, "2**20"),
    "k": _whole(1, 1 << 16, "2**16"),
    "n": _whole(1, 1 << 16, "2**16"),
    "max_sampled": _whole(0, 1 << 20, "2**20"),
    "learning_schedule": _one_of(SCHEDULES),
    "negatives": _one_of(NEGATIVES),
    "cold_start": _one_of(COLD_STARTS),
    "n_negatives": _whole(1, 1 << 16, "2**16, or None"),
    "popularity_exponent": _real(0, 4, "0 to 4"),
    "temperature": _real(1e-3, 1e3, "0.001 to 1000"),
    "initial_accumulator": _real(1e-12, 1e12, "1e-12 to 1e12"),
    "loss": _one_of(LOSSES),
    "learning_rate": _FROM_ZERO,
    "rho": _PROPER,
    "epsilon": _FROM_ZERO,
    "item_alpha": _FROM_ZERO_OR_AUTO,
    "user_alpha": _FROM_ZERO_OR_AUTO,
    "interactions": _one_of(INTERACTIONS),
    "identity_dropout": Domain(
        lambda x: is_real(x) and 0 <= to_float(x) < 1,
        "a number of at least 0 and below 1: to train without identity columns, leave them out of the features",
    ),
    "alpha_w": _FROM_ZERO,
    "alpha_v": _FROM_ZERO,
    # The largest value that keeps initial scores within the core's limit, given the largest normal draw and embedding.
    "init_scale": _real(0, 100, "0 to 100"),
    "feature_scaling": Domain(lambda x: isinstance(x, str) and x in FEATURE_SCALINGS, "'balanced' or None"),
    "linear_components": Domain(
        lambda x: is_auto(x) or (is_whole(x) and 0 <= x <= LARGEST_LINEAR),
        f"a whole number from 0 to 4,096, or {AUTO!r}",
    ),
    "user_shrinkage": _real(0, 1e6, "0 to 1,000,000"),
    "average": Domain(is_flag, "True or False"),
    "validation_fraction": _PROPER,
    "n_iter_no_change": _whole(1, LARGEST_INDEX, "2**31 - 1"),
}


def check_parameters(parameters: dict[str, Any], may_be_none: Container[str] = ()) -> None:
    """Check those constructor arguments of the estimators that are present in ``parameters``.

    Raises
    ------
    ParameterError
        If an argument is out of range or no number.
    TypeError, ValueError
        If ``random_state`` is no seed; see :func:`check_random_state`.
    """
    for name, domain in DOMAINS.items():
        if name not in parameters or (parameters[name] is None and name in may_be_none):
            continue
        if not domain.holds(parameters[name]):
            raise ParameterError(f"{name} is {shorten(parameters[name])}, expected {domain.expected}")
    if "random_state" in parameters:
        seed = parameters["random_state"]
        # check_random_state makes a generator, which is slow, and draws from a Generator.
        if not (isinstance(seed, np.random.Generator) or (is_whole(seed) and 0 <= seed < 1 << 32)):
            check_random_state(seed)


def check_loss_fits(loss: Any, parameters: Mapping[str, Any]) -> None:
    """Raise ParameterError for arguments of LightFM that do not go with the loss.

    A score that is a cosine has no pairs within a row. Alphas are found for BPR alone: no race was measured to find
    them for other losses.
    """
    if parameters["interactions"] == "all" and facts_of(loss).scores_are_cosines:
        raise ParameterError(
            f"loss is {loss!r} with interactions 'all', expected 'cross': its score is a cosine, without biases "
            "to which pairs within a row could be added"
        )
    to_find = [name for name in ALPHAS if is_auto(parameters[name])]
    if to_find and loss != "bpr":
        names = " and ".join(to_find)
        are, number = ("is", "a number") if len(to_find) == 1 else ("are", "a number for each")
        raise ParameterError(
            f"{names} {are} {AUTO!r} with loss {loss!r}, expected {number}: only loss 'bpr' finds the strength. "
            "1 suits most data with 'warp', 0 with 'softmax'"
        )
    n_linear = parameters["linear_components"]
    if not is_auto(n_linear) and n_linear and not takes_content(loss, parameters["interactions"]):
        raise ParameterError(
            f"linear_components is {n_linear} with loss {loss!r} and interactions {parameters['interactions']!r}, "
            "expected 0 or 'auto': a linear autoencoder suits products of embeddings, not cosines or pairs within a row"
        )
    way = parameters["cold_start"]
    if way not in ("features", "auto") and not takes_content(loss, parameters["interactions"]):
        raise ParameterError(
            f"cold_start is {way!r} with loss {loss!r} and interactions {parameters['interactions']!r}, expected "
            f"'features' or 'auto': {way} suits products of embeddings, not cosines or pairs within a row"
        )


def takes_content(loss: str, interactions: str) -> bool:
    """Tell whether scores are products of embeddings, as mappings and content expect."""
    return interactions != "all" and not facts_of(loss).scores_are_cosines
