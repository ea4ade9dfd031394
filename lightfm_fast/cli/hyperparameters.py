"""The options that set hyperparameters."""

from __future__ import annotations

import argparse
from typing import Any

from .._hyperparameters import AUTO, COLD_STARTS, FEATURE_SCALINGS, NEGATIVES, SCHEDULES, is_auto
from .._losses import LOSSES
from ..lightfm import LightFM

MODEL_PREFIX = "model_"  # prefix of the destinations of hyperparameters' options
OWN_DEFAULTS: dict[str, Any] = {"no_components": 32}  # defaults of fit --loss that differ from LightFM's


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return number


def number_or_auto(text: str) -> float | str:
    """Read a number, or the word that asks training to find it."""
    return text if is_auto(text) else float(text)


def whole_or_auto(text: str) -> int | str:
    """Read a whole number, or that word."""
    return text if is_auto(text) else int(text)


# argparse's names for them in "invalid ... value"
count.__name__, number_or_auto.__name__ = "whole number", f"number or {AUTO}"
whole_or_auto.__name__ = f"whole number or {AUTO}"

# For each hyperparameter: the option, its help, and the function that reads it. Defaults are the estimator's.
HYPERPARAMETERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "loss": ("--loss", "objective", {"choices": LOSSES}),
    "no_components": ("--components", "length of embeddings", {"type": count, "metavar": "N"}),
    "learning_schedule": ("--schedule", "optimiser", {"choices": SCHEDULES}),
    "learning_rate": ("--learning-rate", "size of the first steps", {"type": float, "metavar": "X"}),
    "user_alpha": (
        "--user-alpha",
        "strength of the L2 penalty on users, or auto",
        {"type": number_or_auto, "metavar": "X"},
    ),
    "item_alpha": (
        "--item-alpha",
        "strength of the L2 penalty on items, or auto",
        {"type": number_or_auto, "metavar": "X"},
    ),
    "max_sampled": ("--max-sampled", "largest number of draws of warp for a negative", {"type": count, "metavar": "N"}),
    "negatives": ("--negatives", "how bpr draws its negatives", {"choices": NEGATIVES}),
    "n_negatives": (
        "--n-negatives",
        "number of negatives that softmax and hardest draw",
        {"type": count, "metavar": "N"},
    ),
    "temperature": ("--temperature", "divisor of the cosines of softmax", {"type": float, "metavar": "X"}),
    "identity_dropout": (
        "--identity-dropout",
        "probability with which training leaves a row's identity features out",
        {"type": float, "metavar": "X"},
    ),
    "initial_accumulator": (
        "--initial-accumulator",
        "initial value of adagrad's sums of squared gradients",
        {"type": float, "metavar": "X"},
    ),
    "init_scale": ("--init-scale", "standard deviation of the initial embeddings", {"type": float, "metavar": "X"}),
    "feature_scaling": (
        "--feature-scaling",
        "scale features, so that any features train as steadily as ids",
        {"choices": FEATURE_SCALINGS},
    ),
    "cold_start": ("--cold-start", "what represents users and items without interactions", {"choices": COLD_STARTS}),
    "linear_components": (
        "--linear-components",
        "number of coordinates of a linear autoencoder, or auto",
        {"type": whole_or_auto, "metavar": "N"},
    ),
    "user_shrinkage": (
        "--user-shrinkage",
        "number of further samples whose penalty each user gets",
        {"type": float, "metavar": "X"},
    ),
    "average": (
        "--average",
        "end with the means of the parameters over the epochs",
        {"action": argparse.BooleanOptionalAction},
    ),
    "k": ("--kos-k", "warp-kos: train on the k-th best of the positives drawn", {"type": count, "metavar": "N"}),
    "n": ("--kos-n", "warp-kos: number of positives drawn", {"type": count, "metavar": "N"}),
    "random_state": (
        "--seed",
        "random seed; with --threads 1 the same seed gives the same bits",
        {"type": int, "metavar": "N"},
    ),
}


def given_hyperparameters(options: argparse.Namespace) -> dict[str, Any]:
    """Return the hyperparameters that options set."""
    return {
        name.removeprefix(MODEL_PREFIX): value
        for name, value in vars(options).items()
        if name.startswith(MODEL_PREFIX) and value is not None
    }


def as_options(parameters: dict[str, Any], epochs: int) -> str:
    """Return the options by which fit trains with these hyperparameters."""
    defaults = LightFM(**OWN_DEFAULTS).get_params()
    changed = [
        _as_option(name, value) for name, value in parameters.items() if name == "loss" or value != defaults[name]
    ]
    return " ".join([*changed, f"--epochs {epochs}"])


def _as_option(name: str, value: Any) -> str:
    option = HYPERPARAMETERS[name][0]
    if isinstance(value, bool):
        return option if value else option.replace("--", "--no-", 1)
    return f"{option} {value}"
