"""Hybrid recommenders: LightFM's models and interface over a fast parallel core."""

from ._core import show_config
from ._version import __version__
from .lightfm import LightFM

__all__ = ["LightFM", "__version__", "show_config"]
