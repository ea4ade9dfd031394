"""Turn ids and tables into row numbers and matrices: the Dataset, and readers of frames."""

from .dataset import Dataset
from .interactions import Interactions
from .side import UnknownIdsError

__all__ = ["Dataset", "Interactions", "UnknownIdsError"]
