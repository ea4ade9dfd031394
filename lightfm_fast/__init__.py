"""Hybrid recommenders: ``Recommender`` takes tables and ids, ``LightFM`` takes matrices and has LightFM's interface."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from ._core import show_config
from ._version import __version__
from .lightfm import LightFM
from .persistence import read
from .recommender import Recommender

if TYPE_CHECKING:
    from . import baselines as baselines
    from . import callbacks as callbacks
    from . import cross_validation as cross_validation
    from . import dask as dask
    from . import data as data
    from . import datasets as datasets
    from . import design as design
    from . import evaluation as evaluation
    from . import explanation as explanation
    from . import factorization_machine as factorization_machine
    from . import features as features
    from . import fold_in as fold_in
    from . import hub as hub
    from . import index as index
    from . import mlflow as mlflow
    from . import plotting as plotting
    from . import recommendation as recommendation
    from . import recommendation_files as recommendation_files
    from . import serve as serve
    from . import sharded as sharded
    from . import tuning as tuning
    from . import vectors as vectors
    from .factorization_machine import FMClassifier as FMClassifier
    from .factorization_machine import FMRegressor as FMRegressor

__all__ = ["LightFM", "Recommender", "load", "__version__", "show_config"]
# These need scikit-learn, so they are imported at first use. A star import must work without it: not in __all__.
_SCIKIT_LEARN_ESTIMATORS = ("FMClassifier", "FMRegressor")
# Imported at first use (SPEC 1), so that none costs time before.
_SUBMODULES = (
    "baselines",
    "callbacks",
    "cross_validation",
    "dask",
    "data",
    "datasets",
    "design",
    "evaluation",
    "explanation",
    "factorization_machine",
    "features",
    "fold_in",
    "hub",
    "index",
    "mlflow",
    "plotting",
    "recommendation",
    "recommendation_files",
    "serve",
    "sharded",
    "tuning",
    "vectors",
)


def load(path: str | os.PathLike[str], mmap: bool = False, verify: str = "all", trusted: bool = False) -> Any:
    """Read what ``save`` wrote: a Recommender, a LightFM, an FMClassifier or an FMRegressor.

    Parameters
    ----------
    path, mmap, verify, trusted
        As in :meth:`LightFM.load`. A factorization machine is always read and checked whole: leave ``mmap`` and
        ``verify`` out for one.

    Returns
    -------
    Recommender, LightFM, FMClassifier or FMRegressor
        What was saved. :meth:`Recommender.load` makes a Recommender of a LightFM that was saved with its dataset.

    Raises
    ------
    ValueError, OSError
        As :meth:`LightFM.load`; also ValueError if the file holds a factorization machine and ``mmap`` or ``verify``
        is set.
    """
    contents = read(path, mmap, verify, trusted)
    if "recommender" in contents.document:
        return Recommender.from_contents(path, contents, mmap, verify)
    kind = contents.document.get("estimator")
    if kind not in _SCIKIT_LEARN_ESTIMATORS:
        return LightFM.from_contents(path, contents, mmap, verify)
    if mmap or verify != "all":
        raise ValueError(
            f"{os.fspath(path)} holds an {kind}, which is read and checked whole: leave mmap and verify out"
        )
    return __getattr__(kind).from_contents(path, contents)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _SCIKIT_LEARN_ESTIMATORS:
        from . import factorization_machine

        return getattr(factorization_machine, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*{**globals(), **dict.fromkeys((*_SCIKIT_LEARN_ESTIMATORS, *_SUBMODULES))}]
