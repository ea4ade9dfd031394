"""Representations of users or items that came after training, from their interactions alone; the model stays still."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import _core
from ._arguments import check_is_unchanged
from ._feature_rows import identity
from ._parameters import ParameterTable, to_directions
from ._training_input import TrainingInput

__all__ = ["Representations"]

# An AdaGrad step is divided by the root of this, so that it rounds to nothing: rows that hold it are frozen.
FROZEN = np.float32(1e30)


class Representations(NamedTuple):
    """What a model would make of the features of users or items, made in another way.

    Attributes
    ----------
    embeddings : float32 array of shape (n, no_components)
    biases : float32 array of shape (n,)
    """

    embeddings: NDArray[np.float32]
    biases: NDArray[np.float32]


def fold_in(
    model: Any,
    interactions: sp.coo_matrix,
    users: Representations,
    items: Representations,
    new_users: slice,
    new_items: slice,
    epochs: int,
    num_threads: int,
) -> tuple[Representations, Representations]:
    """Train with the model's loss and rates, by AdaGrad, the rows in the slices; all others are frozen.

    Returns
    -------
    users, items : Representations
        Of the rows in the slices.

    Raises
    ------
    ValueError
        If training diverges.
    """
    check_is_unchanged(users.embeddings.shape[1] == items.embeddings.shape[1])
    tables = []
    for representations, new in ((users, new_users), (items, new_items)):
        n_rows, no_components = representations.embeddings.shape
        table = ParameterTable(n_rows, no_components, "adagrad", model.initial_accumulator)
        table.view("embeddings")[...], table.view("biases")[...] = representations
        for field in ("embedding_gradients", "bias_gradients"):
            started = table.view(field)[new].copy()
            table.view(field)[...] = FROZEN
            table.view(field)[new] = started
        tables.append(table)
    # Each representation is a feature of its own here; whose it is was settled when it was made.
    sides = [
        _core.engine.Side(table.rows, table.biases, table.width, None, None, None, None, None, alpha)
        for table, alpha in zip(tables, (model.user_alpha, model.item_alpha), strict=True)
    ]
    samples = TrainingInput(
        identity(1),
        identity(1),
        interactions,
        None,
        model.loss,
        negatives=model.negatives,
        popularity_exponent=model.popularity_exponent,
    ).samples
    settings = model._settings(
        model.loss, "adagrad", model.learning_rate, interactions.shape[1], all_pairs=False, identity_dropout=0.0
    )
    for epoch in range(epochs):
        *_, diverged = _core.engine.fit_epoch(settings, samples, *sides, model._seed or 0, epoch, num_threads)
        if diverged or not all(table.all_finite(num_threads) for table in tables):
            raise ValueError(
                f"folding in diverged in epoch {epoch + 1}: try a smaller learning_rate (now {model.learning_rate})"
            )
    folded = []
    for table, new in zip(tables, (new_users, new_items), strict=True):
        embeddings, biases = table.view("embeddings")[new].copy(), table.view("biases")[new].copy()
        folded.append(Representations(to_directions(embeddings) if model._scores_are_cosines else embeddings, biases))
    return folded[0], folded[1]
