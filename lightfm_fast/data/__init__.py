"""People's data -> numbered ids and matrices: the Dataset, and readers of frames."""

from .dataset import Dataset
from .interactions import Interactions
from .side import UnknownIdsError

__all__ = ["Dataset", "Interactions", "UnknownIdsError"]
