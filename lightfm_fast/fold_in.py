"""Represent users or items that came after training by their interactions, without changing the model."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._arguments import DivergedError, check_is_unchanged
from ._feature_rows import identity
from ._losses import facts_of
from ._matrices import Interactions, check_interactions
from ._met import Met
from ._parameters import ParameterTable, to_directions
from ._training import exponent_of, run_epoch
from ._training_input import SideInput, TrainingInput

__all__ = ["FrozenItems", "Representations"]

# Rows whose accumulators have this value are frozen: AdaGrad divides by its root, so steps round to 0. To a value of 0
# they add next to nothing.
FROZEN = np.float32(1e30)


class Representations(NamedTuple):
    """Embeddings and biases of users or items, such as :meth:`lightfm_fast.LightFM.fold_in_users` returns.

    Attributes
    ----------
    embeddings : float32 array of shape (n, no_components)
    biases : float32 array of shape (n,)
    """

    embeddings: NDArray[np.float32]
    biases: NDArray[np.float32]


class FrozenItems:
    """A model's items, prepared once for many calls of :meth:`lightfm_fast.LightFM.fold_in_users`.

    Made by :meth:`lightfm_fast.LightFM.freeze_items`. Several threads may fold in with one object.

    Attributes
    ----------
    table : ParameterTable
    has_direction : bool array of shape (n_items,)
        Whether the embedding is other than zero.
    """

    def __init__(self, items: Representations, initial_accumulator: float) -> None:
        self.table = frozen_table(items, slice(0, 0), initial_accumulator)
        self.has_direction = items.embeddings.any(axis=1)

    def checked(self, n_items: int, no_components: int) -> FrozenItems:
        """Return the object itself; ValueError if it does not fit the interactions or the model."""
        if len(self.table.rows) != n_items:
            raise ValueError(
                f"interactions has {n_items:,} items but frozen_items has {len(self.table.rows):,}: freeze the items "
                "of its columns"
            )
        if self.table.no_components != no_components:
            raise ValueError(
                f"the model has {no_components} components but frozen_items has {self.table.no_components}: freeze the "
                "items of this model"
            )
        return self


def frozen_table(representations: Representations, new: slice, initial_accumulator: float) -> ParameterTable:
    """Return a table of which only the rows ``new`` can be trained."""
    n_rows, no_components = representations.embeddings.shape
    table = ParameterTable(n_rows, no_components, "adagrad", initial_accumulator)
    table.view("embeddings")[...], table.view("biases")[...] = representations
    for field in ("embedding_gradients", "bias_gradients"):
        started = table.view(field)[new].copy()
        table.view(field)[...] = FROZEN
        table.view(field)[new] = started
    return table


def check_known_interactions(interactions: Any, n_users: int, loss: str) -> Interactions:
    """Check the known items' interactions as :func:`check_interactions` does.

    Raises
    ------
    ValueError
        As :func:`check_interactions`; also if they are None or have another number of users.
    """
    if interactions is None:
        raise ValueError(
            f"loss={loss!r} ranks a new item among the known ones: give the interactions that the model was fitted to "
            "as known_interactions"
        )
    known = check_interactions(interactions, name="known_interactions")
    if known.shape[0] != n_users:
        raise ValueError(f"known_interactions has {known.shape[0]:,} users but interactions has {n_users:,}")
    return known


def fold_in(
    parameters: dict[str, Any],
    are_cosines: bool,
    seed: int,
    met: Met,
    interactions: Interactions,
    users: Representations,
    items: Representations | FrozenItems,
    new_users: slice,
    new_items: slice,
    epochs: int,
    num_threads: int,
) -> tuple[Representations, Representations]:
    """Train the rows in the slices by AdaGrad; all other rows are frozen.

    Parameters
    ----------
    parameters : dict
        The model's hyperparameters, by name.
    are_cosines : bool
        Whether representations have length 1.
    seed : int
        The seed of the model's training.
    met : Met
        Whom training has met: its items may be drawn as negatives. If it has met none, all may.

    Returns
    -------
    users, items : Representations
        Representations of the rows in the slices.

    Raises
    ------
    DivergedError
        If training diverges.
    """
    item_table = (
        frozen_table(items, new_items, parameters["initial_accumulator"])
        if isinstance(items, Representations)
        else items.table
    )
    check_is_unchanged(users.embeddings.shape[1] == item_table.no_components)
    tables = [frozen_table(users, new_users, parameters["initial_accumulator"]), item_table]
    if are_cosines:
        of_users = np.asarray(users.embeddings.any(axis=1))
        of_items = np.array(items.has_direction if isinstance(items, FrozenItems) else items.embeddings.any(axis=1))
        of_users[new_users], of_items[new_items] = True, True
        interactions, met = _with_directions(interactions, met, of_users, of_items)
    facts = facts_of(parameters["loss"], parameters["negatives"])
    if facts.needs_popularity and new_items == slice(0, 0):  # else newcomers would draw from their own items alone
        interactions = copy.copy(interactions)
        interactions.visits = _popularity(met, interactions.shape[1])
    # Each representation is an identity feature here, for which the core needs no feature matrix.
    parameters = {
        **parameters,
        "learning_schedule": "adagrad",
        "interactions": "cross",
        "identity_dropout": 0.0,
    }
    training_input = TrainingInput(
        SideInput(identity(1)),
        SideInput(identity(1)),
        interactions,
        None,
        facts,
        popularity_exponent=exponent_of(parameters),
        met=met if met.items.any() else None,
    )
    for epoch in range(epochs):
        *_, diverged = run_epoch(
            parameters, training_input, tables[0], tables[1], seed, epoch, num_threads, may_copy=False, centres=users
        )
        if diverged or not all(map(_is_finite, tables, (new_users, new_items))):
            raise DivergedError(
                f"folding in diverged in epoch {epoch + 1}: try a smaller learning_rate "
                f"(now {parameters['learning_rate']})"
            )
    folded = []
    for table, new in zip(tables, (new_users, new_items), strict=True):
        embeddings, biases = table.view("embeddings")[new].copy(), table.view("biases")[new].copy()
        folded.append(Representations(to_directions(embeddings) if are_cosines else embeddings, biases))
    return folded[0], folded[1]


def _popularity(met: Met, n_items: int) -> NDArray[np.int64]:
    """Return each item's number of positives in training; ones if training has met no item."""
    if not met.items.any():
        return np.ones(n_items, dtype=np.int64)
    counts = np.zeros(n_items, dtype=np.int64)
    counts[: len(met.items)] = met.items[:n_items]
    return counts


def _is_finite(table: ParameterTable, new: slice) -> bool:
    """Tell whether all values of the rows that are trained are finite; the others do not change."""
    return bool(np.isfinite(table.rows[new]).all() and np.isfinite(table.biases[new]).all())


def _with_directions(
    interactions: Interactions,
    met: Met,
    of_users: NDArray[np.bool_],
    of_items: NDArray[np.bool_],
) -> tuple[Interactions, Met]:
    """Leave out frozen users and items whose representation is zero: they have no direction to be near to.

    A gradient is divided by the length. Such a row would not stay frozen. ``of_users`` and ``of_items`` tell which rows
    are other than zero, or are trained.
    """
    kept = of_users[interactions.row] & of_items[interactions.col]
    if not kept.all():
        pairs = interactions.row[kept], interactions.col[kept]
        interactions = check_interactions(sp.coo_matrix((interactions.data[kept], pairs), shape=interactions.shape))
    if not of_items.all():  # such items are not drawn as negatives either
        counts = met.items[: len(of_items)] if met.items.any() else np.ones(len(of_items), dtype=np.int64)
        met = replace(met, items=counts * of_items[: len(counts)])
    return interactions, met
