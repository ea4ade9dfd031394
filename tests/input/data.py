"""Interactions and features of a few users and items, and the arrays of matrices and models."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from ..models import STATE

N_USERS, N_ITEMS = 12, 9


def make_data():
    rng = np.random.RandomState(0)
    interactions = (rng.rand(N_USERS, N_ITEMS) < 0.4).astype(np.float32)
    features = {}
    for side, n_rows in (("user", N_USERS), ("item", N_ITEMS)):
        features[f"{side}_features"] = np.hstack([np.eye(n_rows), rng.randint(0, 3, (n_rows, 2))]).astype(np.float32)
    return interactions, features


def sparse_data():
    """The same as :func:`make_data`, sparse."""
    interactions, features = make_data()
    return sp.coo_matrix(interactions), {name: sp.csr_matrix(matrix) for name, matrix in features.items()}


def state_of(model):
    return [np.array(getattr(model, name)) for name in STATE]


def arrays_of(matrix):
    """Return the arrays that a sparse matrix or an array is made of."""
    if isinstance(matrix, np.ndarray):
        return [matrix]
    names = {"coo": ("row", "col", "data"), "csr": ("indptr", "indices", "data"), "csc": ("indptr", "indices", "data")}
    return [getattr(matrix, name) for name in names[matrix.format]]


def set_coordinates(matrix, row, col):
    """Set the index arrays of a COO matrix as they are, past the constructor and the setters, which convert."""
    if hasattr(matrix, "coords"):  # SciPy 1.13 and later
        matrix.coords = row, col
    else:
        matrix.row, matrix.col = row, col


INTERACTIONS, FEATURES = sparse_data()
USER_FEATURES, ITEM_FEATURES = FEATURES["user_features"], FEATURES["item_features"]
FEW = sp.coo_matrix(np.eye(3, 4, dtype=np.float32))


def finite_or_refused(use):
    """Return the result of ``use``, or None if it raises a documented exception; any other exception fails the test."""
    try:
        return use()
    except (ValueError, TypeError):
        return None


def of_side(side, features):
    return {name: matrix for name, matrix in features.items() if name.startswith(side)}
