"""Hybrid recommenders: LightFM's models and interface over a fast parallel core."""

from ._core import show_config
from ._version import __version__
from .lightfm import LightFM

load = LightFM.load

__all__ = ["LightFM", "load", "__version__", "show_config"]
