"""A penalty that counts once an epoch, so that users of few interactions have more of it for each interaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._feature_rows import is_identity, owners_of
from ._losses import facts_of
from ._parameters import Floats, ParameterTable

__all__: list[str] = []

_ROWS_AT_ONCE = 512  # which fit a cache
_TINY = np.finfo(np.float32).tiny


class OwnFeatures(NamedTuple):
    """Features that one user alone has, such as the identity features.

    Attributes
    ----------
    columns : int array of shape (n_own,)
        Their rows in the users' table, ascending.
    squares : float32 array of shape (n_own,)
        The squares of the users' weights of them.
    """

    columns: NDArray[np.integer]
    squares: Floats

    @classmethod
    def of(cls, features: sp.csr_matrix, users: NDArray[np.int64]) -> OwnFeatures:
        """Find the features of some users that no other row has. ``features`` have the weights that enter the model."""
        if is_identity(features):
            return cls(users, np.ones(len(users), dtype=np.float32))
        owners = owners_of(features, users)
        columns = np.flatnonzero(owners >= 0)
        weights = np.asarray(features[users[owners[columns]], columns], dtype=np.float32).ravel()
        return cls(columns, np.square(weights))


def shrink(
    parameters: Mapping[str, Any], table: ParameterTable, own: OwnFeatures, centres: Floats | None = None
) -> None:
    r"""Step users' own features by the penalty of an epoch, :math:`c \alpha / 2 \, |f (e - e_0)|^2`, in place.

    c is ``user_shrinkage``, :math:`\alpha` is ``user_alpha``, f is the user's weight of the feature. The step is the
    proximal one, :math:`e - e_0 \leftarrow (e - e_0) / (1 + s \, c \alpha f^2)`, where s is the length of the
    optimiser's step for a gradient of 1 (Duchi 2011, composite objectives). So it never goes beyond :math:`e_0`.
    Biases of users are stepped likewise, towards 0, if the loss trains them.

    Parameters
    ----------
    parameters : mapping
        The estimator's hyperparameters, with a number for ``user_alpha``.
    table : ParameterTable
        The users' table.
    own : OwnFeatures
    centres : float32 array of shape (n_user_features, no_components), optional
        :math:`e_0` of all features. By default zeros.
    """
    strength = float(parameters["user_shrinkage"]) * float(parameters["user_alpha"])
    if table.learning_schedule == "adagrad":
        strength *= float(parameters["learning_rate"])
    if not strength:
        return

    def factors(kind: str, rows: Any, squares: Floats) -> Floats:
        with np.errstate(over="ignore"):  # a step of infinite length ends at the centre
            forces = (strength * squares.astype(np.float64)).astype(np.float32)
        if table.learning_schedule == "adagrad":
            roots = np.sqrt(table.view(f"{kind}_gradients")[rows])
        else:
            epsilon = np.float32(parameters["epsilon"])
            roots = np.maximum(np.sqrt(table.view(f"{kind}_gradients")[rows] + epsilon), _TINY)
            forces = forces * np.sqrt(table.view(f"{kind}_momentum")[rows] + epsilon)
        found: Floats = roots / (roots + forces)
        return found

    embeddings, biases = table.view("embeddings"), table.view("biases")
    trains_biases = facts_of(parameters["loss"]).takes_labels
    for first in range(0, len(own.columns), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        columns, squares = own.columns[part], own.squares[part]
        start, end = int(columns[0]), int(columns[-1]) + 1
        rows: Any = slice(start, end) if end - start == len(columns) else columns  # a slice needs no copy
        shares = factors("embedding", rows, squares[:, None])
        if centres is None:
            embeddings[rows] *= shares
        else:
            embeddings[rows] = centres[rows] + shares * (embeddings[rows] - centres[rows])
        if trains_biases:
            biases[rows] *= factors("bias", rows, squares)
