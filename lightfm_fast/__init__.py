"""Hybrid recommenders: LightFM's models and interface over a fast parallel core."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ._core import show_config
from ._version import __version__
from .lightfm import LightFM
from .persistence import read

if TYPE_CHECKING:
    from .factorization_machine import FMClassifier as FMClassifier
    from .factorization_machine import FMRegressor as FMRegressor

__all__ = ["LightFM", "load", "__version__", "show_config"]
# Imported when first asked for, since they need scikit-learn; not in __all__, so that a star import works without it.
_SCIKIT_LEARN_ESTIMATORS = ("FMClassifier", "FMRegressor")


def load(path: str | os.PathLike[str], mmap: bool = False, verify: str = "all", trusted: bool = False) -> Any:
    """Read a model of whichever kind that ``save`` wrote: a LightFM, FMClassifier or FMRegressor.

    Parameters and exceptions are those of :meth:`LightFM.load`. A factorization machine is not left in its file:
    ValueError with ``mmap``.
    """
    contents = read(path, mmap, verify, trusted)
    kind = contents.document.get("estimator")
    if kind not in _SCIKIT_LEARN_ESTIMATORS:
        return LightFM.from_contents(path, contents, mmap, verify)
    if mmap or verify != "all":
        raise ValueError(
            f"{os.fspath(path)} holds an {kind}, which is read and checked whole: leave mmap and verify out"
        )
    return __getattr__(kind).from_contents(path, contents)


def __getattr__(name: str) -> Any:
    if name in _SCIKIT_LEARN_ESTIMATORS:
        from . import factorization_machine

        return getattr(factorization_machine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_SCIKIT_LEARN_ESTIMATORS]
