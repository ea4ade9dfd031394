"""Hybrid recommenders: LightFM's models and interface over a fast parallel core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core import show_config
from ._version import __version__
from .lightfm import LightFM

load = LightFM.load

if TYPE_CHECKING:
    from .factorization_machine import FMClassifier as FMClassifier
    from .factorization_machine import FMRegressor as FMRegressor

__all__ = ["LightFM", "load", "__version__", "show_config"]
# Imported when first asked for, since they need scikit-learn; not in __all__, so that a star import works without it.
_SCIKIT_LEARN_ESTIMATORS = ("FMClassifier", "FMRegressor")


def __getattr__(name: str) -> Any:
    if name in _SCIKIT_LEARN_ESTIMATORS:
        from . import factorization_machine

        return getattr(factorization_machine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_SCIKIT_LEARN_ESTIMATORS]
