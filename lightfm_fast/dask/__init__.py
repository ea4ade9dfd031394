"""Training on the machines of a Dask cluster, for interactions that one machine is too slow for (extra ``dask``)."""

from .estimator import DaskLightFM

__all__ = ["DaskLightFM"]
