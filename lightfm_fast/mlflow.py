"""Recommenders as MLflow models (extra ``mlflow``): saved, logged to a run, loaded, and asked by ``mlflow.pyfunc``.

``mlflow.pyfunc.load_model(...).predict(frame)`` takes a pandas data frame, and so do MLflow's servers and batch jobs. A
column of user ids by itself asks for known users. Columns of user features describe newcomers, a row for each, whose
ids may stand beside them. The parameters ``n`` and ``filter_seen`` are those of
:meth:`lightfm_fast.Recommender.recommend`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from ._arguments import import_optional, shorten
from ._version import __version__
from .data.ids import pack_ids
from .recommender import Recommender

__all__ = ["FLAVOR_NAME", "load_model", "log_model", "save_model"]

FLAVOR_NAME = "lightfm_fast"
FILE = "model.safetensors"


def save_model(
    recommender: Recommender,
    path: str,
    *,
    interactions: bool = True,
    optimizer_state: bool = True,
    mlflow_model: Any = None,
    pip_requirements: list[str] | None = None,
    **options: Any,
) -> None:
    """Write a recommender to a folder, as an MLflow model with its signature.

    Parameters
    ----------
    recommender : Recommender
    path : str
        A folder that does not exist yet.
    interactions, optimizer_state
        As in :meth:`lightfm_fast.Recommender.save`.
    mlflow_model : mlflow.models.Model, optional
        What MLflow knows of the model already; :func:`log_model` passes it.
    pip_requirements : list of str, optional
        What a server must install; by default this version of lightfm_fast, with the extra ``mlflow``.
    **options
        Others of ``mlflow.pyfunc.save_model``, such as ``metadata``. The ``input_example`` is by default a known user.

    Raises
    ------
    ImportError
        If MLflow is not installed.
    TypeError
        If ``recommender`` is no Recommender.
    ValueError
        If a column of ids or of user features has a name that is no text.
    mlflow.exceptions.MlflowException
        If the folder exists.
    """
    if not isinstance(recommender, Recommender):
        raise TypeError(f"recommender is {shorten(recommender)}, expected a lightfm_fast.Recommender")
    pyfunc = _import("mlflow.pyfunc")
    if mlflow_model is None:
        mlflow_model = _import("mlflow.models").Model()
    mlflow_model.add_flavor(FLAVOR_NAME, lightfm_fast_version=__version__, data=f"data/{FILE}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, FILE)
        recommender.save(file, interactions=interactions, optimizer_state=optimizer_state)
        pyfunc.save_model(
            path=path,
            loader_module=__name__,
            data_path=str(file),
            mlflow_model=mlflow_model,
            pip_requirements=pip_requirements or [f"lightfm_fast[mlflow]=={__version__}"],
            **{"signature": _signature(recommender, interactions), "input_example": _example(recommender), **options},
        )


def log_model(recommender: Recommender, name: str, **options: Any) -> Any:
    """Log a recommender as a model of the active run, or of a new one.

    Parameters
    ----------
    recommender : Recommender
    name : str
        The name of the model.
    **options
        Those of :func:`save_model` and of ``mlflow.models.Model.log``, such as ``registered_model_name``.

    Returns
    -------
    mlflow.models.model.ModelInfo
        Its ``model_uri`` is for :func:`load_model` and ``mlflow.pyfunc.load_model``.

    Raises
    ------
    ImportError, TypeError
        As :func:`save_model`.
    """
    model = _import("mlflow.models").Model
    return model.log(None, _import(__name__), name=name, recommender=recommender, **options)


def load_model(model_uri: str, *, trusted: bool = False) -> Recommender:
    """Load a recommender that was saved or logged.

    Parameters
    ----------
    model_uri : str
        A folder, or an address that MLflow knows, such as ``models:/films/3`` or ``runs:/RUN/films``.
    trusted : bool
        As in :meth:`lightfm_fast.Recommender.load`.

    Returns
    -------
    Recommender

    Raises
    ------
    ImportError
        If MLflow is not installed.
    ValueError
        If the model has another flavour, or its file is damaged.
    OSError, mlflow.exceptions.MlflowException
        If there is no such model.
    """
    folder = _import("mlflow.artifacts").download_artifacts(artifact_uri=model_uri)
    flavors = _import("mlflow.models").Model.load(folder).flavors
    if FLAVOR_NAME not in flavors:
        raise ValueError(f"{model_uri} is a model of {', '.join(flavors)}, not of {FLAVOR_NAME}")
    return Recommender.load(Path(folder, flavors[FLAVOR_NAME]["data"]), trusted=trusted)


class Predictor:
    """A recommender as ``mlflow.pyfunc`` asks it."""

    def __init__(self, recommender: Recommender) -> None:
        recommender.library = "pandas"
        self.recommender = recommender

    def get_raw_model(self) -> Recommender:
        """Return the recommender."""
        return self.recommender

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        """Recommend to the users of a data frame: see the module.

        Parameters
        ----------
        data : pandas.DataFrame
        params : dict, optional
            ``n`` and ``filter_seen``.

        Returns
        -------
        pandas.DataFrame
            A row for each recommendation, as :meth:`lightfm_fast.Recommender.recommend` returns them.

        Raises
        ------
        TypeError, ValueError
            As :meth:`lightfm_fast.Recommender.recommend`.
        """
        return self.recommender.recommend(data, **(params or {}))


def _load_pyfunc(path: str) -> Predictor:
    """Return what ``mlflow.pyfunc.load_model`` asks; MLflow calls this with the path of the file."""
    return Predictor(Recommender.load(path))


def _import(module: str) -> Any:
    return import_optional(module, "mlflow", "lightfm_fast.mlflow")


def _example(recommender: Recommender) -> Any:
    dataset = recommender.dataset
    user = next(iter(dataset.mapping()[0]))
    user = str(user) if isinstance(user, UUID) else user  # MLflow keeps the example as JSON
    return _import("pandas").DataFrame({dataset.columns["user"]: [user]})


def _signature(recommender: Recommender, knows_seen: bool) -> Any:
    """Return the columns that go in and come out. Ids and features may be missing: one of the two is enough."""
    types, signatures = _import("mlflow.types.schema"), _import("mlflow.models.signature")
    dataset = recommender.dataset
    of_users, _, of_items, _ = dataset.mapping()

    def ids(side: str, known: Mapping[Hashable, int], required: bool = True) -> Any:
        kind = {"str": "string", "int": "long"}.get(pack_ids(known)[0], types.AnyType())
        return types.ColSpec(kind, str(dataset.columns[side]), required)

    features = getattr(dataset.encoders["user"], "columns", ())
    for name in (dataset.columns["user"], dataset.columns["item"], *features):
        if not isinstance(name, str):
            raise ValueError(
                f"MLflow names columns by text, and a table has column {name!r}: rename it, and train again"
            )
    inputs = [ids("user", of_users, required=False)]
    inputs += [types.ColSpec(types.AnyType(), str(name), required=False) for name in features]
    # Newcomers without ids are named by numbers.
    outputs = [types.ColSpec(types.AnyType(), str(dataset.columns["user"])), ids("item", of_items)]
    if recommender.titles is not None:
        outputs.append(types.ColSpec("string", str(recommender.title), required=False))
    outputs += [types.ColSpec("long", "rank"), types.ColSpec("float", "score")]
    filter_seen = knows_seen and dataset.interactions is not None
    parameters = [types.ParamSpec("n", "long", 10), types.ParamSpec("filter_seen", "boolean", filter_seen)]
    return signatures.ModelSignature(types.Schema(inputs), types.Schema(outputs), types.ParamSchema(parameters))
