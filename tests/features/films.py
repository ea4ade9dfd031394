"""A frame of films, its spec, and the expected features."""

import numpy as np
import scipy.sparse as sp

from lightfm_fast.features import (
    Categorical,
    Dense,
    FeatureSpec,
    MultiCategorical,
    PiecewiseLinear,
    Standardized,
)


def dense(matrix):
    assert isinstance(matrix, sp.csr_matrix)
    assert matrix.dtype == np.float32
    assert matrix.has_canonical_format
    assert (matrix.data != 0).all()
    return matrix.toarray()


def names(encoder):
    return encoder.get_feature_names_out().tolist()


FILMS = {
    "film": ["up", "heat", "dune"],
    "genres": [["animation"], ["crime", "drama"], None],
    "year": [2009, 1995, None],
    "rated": [True, None, False],
    "studio": ["Pixar", None, "Legendary"],
    "vector": [[1.0, 2.0], [3.0, 4.0], None],
}


def films_spec(**options):
    encoders = {
        "genres": MultiCategorical(normalize="l1"),
        "year": PiecewiseLinear(1),
        "rated": Standardized(),
        "studio": Categorical(),
        "vector": Dense(),
    }
    return FeatureSpec(encoders, **options)


FILMS_NAMES = [
    *("genres:animation", "genres:crime", "genres:drama", "year:any", "year:1995 to 2009", "year:missing"),
    *("rated:standardized", "rated:missing", "studio:Legendary", "studio:Pixar", "vector:0", "vector:1"),
]
FILMS_WEIGHTS = [
    [1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 2],
    [0, 0.5, 0.5, 1, 0, 0, 0, 1, 0, 0, 3, 4],
    [0, 0, 0, 0, 0, 1, -1, 0, 1, 0, 0, 0],
]
