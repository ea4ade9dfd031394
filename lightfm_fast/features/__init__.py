"""Encoders that turn columns of frames into named feature weights: one for each kind of column, and a spec."""

from .categorical import Categorical, MultiCategorical
from .dense import Dense
from .encoder import UnseenCategoryWarning
from .numeric import PiecewiseLinear, QuantileBins, Standardized
from .periodic import Periodic
from .spec import FeatureSpec
from .tags import gather_tags
from .text import Text

__all__ = [
    "FeatureSpec",
    "Categorical",
    "MultiCategorical",
    "Standardized",
    "QuantileBins",
    "PiecewiseLinear",
    "Periodic",
    "Text",
    "Dense",
    "UnseenCategoryWarning",
    "gather_tags",
]
