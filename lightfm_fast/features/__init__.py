"""Columns of people's frames -> named feature weights: an encoder for each kind of column, a spec for a frame."""

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
