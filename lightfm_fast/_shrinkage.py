"""A penalty that counts once an epoch, so that users of few interactions have more of it for each interaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import _core
from ._feature_rows import is_identity, owners_of
from ._losses import facts_of
from ._parameters import Floats, ParameterTable


class OwnFeatures(NamedTuple):
    """Features that one user alone has, such as the identity features.

    Attributes
    ----------
    columns : int array of shape (n_own,)
        Their rows in the users' table, ascending.
    squares : float64 array of shape (n_own,)
        The squares of the users' weights of them.
    """

    columns: NDArray[np.integer]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, features: sp.csr_matrix, users: NDArray[np.int64]) -> OwnFeatures:
        """Find the features of some users that no other row has. ``features`` have the weights that enter the model."""
        if is_identity(features):
            return cls(users, np.broadcast_to(1.0, len(users)))  # which takes no memory
        columns = np.flatnonzero(owners_of(features, users) >= 0)  # each with a single weight other than 0
        weights = np.square(features.data, dtype=np.float64)
        squares: NDArray[Any] = np.bincount(features.indices, weights, features.shape[1])
        return cls(columns, squares[columns].astype(np.float64, copy=False))  # of no entries, integers


def shrink(
    parameters: Mapping[str, Any],
    table: ParameterTable,
    own: OwnFeatures,
    num_threads: int = 1,
    centres: tuple[Floats, Floats] | None = None,
) -> None:
    r"""Step users' own features by the penalty of an epoch, :math:`c \alpha / 2 \, |f (e - e_0)|^2`, in place.

    c is ``user_shrinkage``, :math:`\alpha` is ``user_alpha``, f is the user's weight of the feature. The step is the
    proximal one, :math:`e - e_0 \leftarrow (e - e_0) / (1 + s \, c \alpha f^2)`, where s is the length of the
    optimiser's step for a gradient of 1 (Duchi 2011, composite objectives). So it never goes beyond :math:`e_0`.
    Biases of users are stepped likewise, if the loss trains them.

    Parameters
    ----------
    parameters : mapping
        The estimator's hyperparameters, with a number for ``user_alpha``.
    table : ParameterTable
        The users' table.
    own : OwnFeatures
    num_threads : int
        The result has the same bits for any number.
    centres : float32 arrays of shapes (n_user_features, no_components) and (n_user_features,), optional
        :math:`e_0` of the embeddings and biases of all features. By default zeros.
    """
    strength = float(parameters["user_shrinkage"]) * float(parameters["user_alpha"])
    if table.learning_schedule == "adagrad":
        strength *= float(parameters["learning_rate"])
    if not strength:
        return
    has_biases = facts_of(parameters["loss"]).takes_labels
    fields = ("embeddings", "biases")[: 1 + has_biases]
    moved = [] if centres is None else list(zip(map(table.view, fields), centres, strict=False))
    for values, centre in moved:
        values[own.columns] -= centre[own.columns]
    _core.engine.shrink(
        table.rows,
        table.biases,
        table.width,
        own.columns,
        own.squares,
        strength,
        parameters["epsilon"],
        has_biases,
        num_threads,
    )
    for values, centre in moved:
        values[own.columns] += centre[own.columns]
