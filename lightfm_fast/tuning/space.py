"""The search space: for each loss, the constructor arguments of ``LightFM`` and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._arguments import is_real, shorten, to_float
from .._hyperparameters import AUTO, DOMAINS, MAY_BE_NONE, ParameterError, check_parameters, takes_content
from .._losses import LOSSES
from ..lightfm import LightFM

# A value is fixed, a list holds choices, and a tuple (least, largest) is a range.
SPACE: dict[str, dict[str, Any]] = {
    "bpr": {
        "negatives": "hardest",
        "learning_rate": (0.02, 0.3),
        "item_alpha": (0.003, 1.0),
        "user_alpha": (0.003, 1.0),
        "n_negatives": (2, 32),
        "initial_accumulator": 0.01,
        "init_scale": 0.1,
        "user_shrinkage": 2.0,
    },
    "warp": {
        "learning_rate": (0.01, 0.2),
        "item_alpha": (1e-5, 3.0),
        "user_alpha": (1e-5, 3.0),
        "max_sampled": (5, 100),
    },
    "softmax": {
        "learning_rate": (0.05, 1.0),
        "temperature": (0.03, 0.5),
        "n_negatives": (64, 512),
        "initial_accumulator": 100.0,
        "init_scale": 0.1,
    },
    "logistic": {
        "learning_rate": (0.005, 0.2),
        "item_alpha": (1e-5, 1.0),
        "user_alpha": (1e-5, 1.0),
    },
}
SHARED: dict[str, Any] = {"no_components": 64, "average": True, "linear_components": AUTO}
OF_FEATURES: dict[str, dict[str, Any]] = {  # where there are features: the presets are made for balanced ones
    "bpr": {"feature_scaling": "balanced"},
    "warp": {"feature_scaling": [None, "balanced"]},
    "softmax": {"feature_scaling": "balanced"},
    "logistic": {"feature_scaling": [None, "balanced"]},
}
DROPOUT = (0.0, 0.8)  # of identity columns, where there are some to leave out
# Where newcomers are ranked and share features with known rows: all that "auto" chooses from. Of users it also learns
# from their choices, which nothing else does.
COLD_STARTS = {
    "new items": ["features", "mapping", "content", "mapping+content"],
    "new users": ["features", "mapping", "auto"],
}

# Starting points of the search, after the presets.
STARTS: tuple[dict[str, Any], ...] = (
    {
        "loss": "warp",
        "learning_rate": 0.05,
        "item_alpha": 1e-5,
        "user_alpha": 1e-5,
        "max_sampled": 10,
        "feature_scaling": None,
    },
    {
        "loss": "warp",
        "learning_rate": 0.05,
        "item_alpha": 1.0,
        "user_alpha": 1.0,
        "max_sampled": 10,
        "feature_scaling": "balanced",
    },
    *(
        {
            "loss": "bpr",
            "learning_rate": 0.1,
            "item_alpha": 0.02,
            "user_alpha": 0.02,
            "n_negatives": 8,
            "cold_start": way,
        }
        for way in ("content", "mapping+content")  # other tasks have neither, so one point
    ),
)

Space = dict[str, dict[str, Any]]


def check_space(
    given: Any, has_dislikes: bool, has_features: bool, has_own_columns: bool, cold_starts: Sequence[str] = ()
) -> Space:
    """Return the space of each loss that is searched.

    Parameters
    ----------
    given : mapping or None
        The caller's values by constructor argument, which replace the values in :data:`SPACE`. An argument that only
        some losses have is replaced for these losses.
    has_dislikes : bool
        Whether there are negative interactions, without which the logistic loss learns nothing.
    has_features : bool
        Whether users or items have features.
    has_own_columns : bool
        Whether there are identity columns that can be left out.
    cold_starts : sequence of str
        What may represent the newcomers, if they are ranked.

    Raises
    ------
    TypeError, ValueError
        If it is no mapping, a name is no argument, or a value is out of range.
    """
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise TypeError(f"space is {shorten(given)}, expected a dict from constructor arguments to values")
    known = tuple(LightFM().get_params())
    for name, values in given.items():
        if name not in known:
            raise ValueError(f"space names {name!r}, which is no argument of LightFM: it has {', '.join(known)}")
        if name == "random_state":
            raise ValueError("space names 'random_state', which is not tuned: pass random_state to tune")
        _check_values(name, values)
    losses = [name for name in SPACE if name != "logistic" or has_dislikes]
    if "loss" in given:
        losses = given["loss"] if isinstance(given["loss"], list) else [given["loss"]]
        unsearched = [name for name in losses if name not in SPACE]
        if unsearched:
            raise ValueError(f"space names loss {unsearched[0]!r}, expected one of {', '.join(map(repr, SPACE))}")
    space = {}
    pairs = "all" if "all" in given.get("interactions", ()) else "cross"
    for loss in losses:
        own = {
            **SHARED,
            **SPACE[loss],
            **(OF_FEATURES[loss] if has_features else {}),
            **({"identity_dropout": DROPOUT} if has_own_columns else {}),
            **({"cold_start": list(cold_starts)} if cold_starts and takes_content(loss, pairs) else {}),
        }
        elsewhere = {name for other in SPACE.values() for name in other if name not in own}
        space[loss] = {**own, **{name: values for name, values in given.items() if name not in elsewhere | {"loss"}}}
        _check_together(loss, space[loss], losses)
    return space


def _check_together(loss: str, values: Mapping[str, Any], losses: Sequence[str]) -> None:
    """Raise ParameterError if a loss does not take its arguments."""
    fixed = fixed_by(values)
    try:
        LightFM(loss=loss, **fixed)
        for name, searched in values.items():
            for value in searched if is_searched(searched) else ():
                LightFM(loss=loss, **{**fixed, name: value})
    except ParameterError as error:
        others = [other for other in losses if other != loss]
        advice = f". Or search other losses by space={{'loss': {others}}}" if others else ""
        raise ParameterError(f"{error}{advice}") from error


def fixed_by(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments for which the caller gives a single value, which also applies to presets; never the loss."""
    return {name: value for name, value in (given or {}).items() if name != "loss" and not is_searched(value)}


def is_whole_number(name: str) -> bool:
    """Return whether the argument accepts only whole numbers."""
    return DOMAINS[name].holds(2) and not DOMAINS[name].holds(0.5)


def _check_values(name: str, values: Any) -> None:
    """Check each value that an argument may have."""
    if isinstance(values, tuple):
        if name not in DOMAINS or not (DOMAINS[name].holds(2) or DOMAINS[name].holds(0.5)):
            raise ValueError(f"space[{name!r}] is a range, {values!r}, expected a value or a list: it is no number")
        if len(values) != 2 or not all(map(is_real, values)) or not to_float(values[0]) < to_float(values[1]):
            raise ValueError(f"space[{name!r}] is {values!r}, expected (least, largest); a list holds choices")
    elif isinstance(values, list) and not values:
        raise ValueError(f"space[{name!r}] is an empty list, expected the values to choose from")
    for value in values if isinstance(values, (list, tuple)) else [values]:
        if name == "loss" and value not in LOSSES:
            raise ValueError(f"space names loss {value!r}, expected one of {', '.join(map(repr, SPACE))}")
        check_parameters({name: value}, MAY_BE_NONE)


def is_searched(values: Any) -> bool:
    """Return whether an argument has more than one value in a space."""
    return isinstance(values, (list, tuple))


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """Let a trial of Optuna choose the loss and its arguments."""
    loss = trial.suggest_categorical("loss", list(space))
    return {"loss": loss, **{name: _suggest(trial, f"{loss}.{name}", values) for name, values in space[loss].items()}}


def _suggest(trial: Any, name: str, values: Any) -> Any:
    if isinstance(values, list):
        return trial.suggest_categorical(name, values)
    if not isinstance(values, tuple):
        return values
    whole = is_whole_number(name.partition(".")[2])
    return (trial.suggest_int if whole else trial.suggest_float)(name, *values, log=values[0] > 0)


def place(parameters: Mapping[str, Any], space: Space) -> dict[str, Any] | None:
    """Return ``parameters`` as a point of the space, by Optuna's names; None if they are outside."""
    loss = parameters["loss"]
    if loss not in space or not all(_holds(values, parameters[name]) for name, values in space[loss].items()):
        return None
    return _point(loss, parameters, space)


def starts(space: Space) -> list[dict[str, Any]]:
    """Return the points of :data:`STARTS` in a space; Optuna chooses the arguments that a point does not have."""
    points: list[dict[str, Any]] = []
    for start in STARTS:
        if start["loss"] in space:
            point = _point(start["loss"], {"identity_dropout": 0.0, "cold_start": "features", **start}, space)
            points += [] if point in points else [point]
    return points


def _point(loss: str, parameters: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return the parameters that are searched and lie in their range, by Optuna's names."""
    searched = {name: values for name, values in space[loss].items() if is_searched(values) and name in parameters}
    return {
        "loss": loss,
        **{f"{loss}.{name}": parameters[name] for name, values in searched.items() if _holds(values, parameters[name])},
    }


def _holds(values: Any, value: Any) -> bool:
    if isinstance(values, tuple):
        return is_real(value) and values[0] <= to_float(value) <= values[1]
    return value in values if isinstance(values, list) else value == values
