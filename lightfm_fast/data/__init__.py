"""People's data -> numbered ids and matrices: the Dataset, and readers of frames."""

from .dataset import Dataset, UnknownIdsError
from .interactions import Interactions

__all__ = ["Dataset", "Interactions", "UnknownIdsError"]
