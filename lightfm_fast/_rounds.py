"""A round of training on one shard, and the merge of the shards' rounds, as functions of arrays.

All shards of a round begin with the same table of items. Each trains some of its users and a copy of the items, and
returns the rows of items that it has changed. The merge makes the next table of items of them. Neither function reads
a file, keeps state or knows who calls it, so any engine that moves arrays between machines can run both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from . import _core
from ._feature_rows import identity
from ._losses import facts_of
from ._met import Met
from ._parameters import Floats, ParameterTable
from ._shards import SEED_STEP, part_of
from ._training import exponent_of, run_epoch
from ._training_input import SideInput, TrainingInput

__all__: list[str] = []

# Deltas that are merged at once. More are merged by a tree, which holds no more of them in memory.
FAN = 100
_ROWS_AT_ONCE = 4096


class Table(NamedTuple):
    """Parameters of users or items as arrays, laid out as in :class:`ParameterTable`.

    Attributes
    ----------
    rows : float32 array of shape (n_rows, segments * width)
    biases : float32 array of shape (n_rows, 2 or 4)
    """

    rows: Floats
    biases: Floats


class Delta(NamedTuple):
    """The rows of a table that a round has changed.

    Attributes
    ----------
    indices : int32 array of shape (n_changed,)
        The numbers of the rows, ascending.
    rows, biases : float32 arrays
        Their new values, with the optimiser's sums.
    """

    indices: NDArray[np.int32]
    rows: Floats
    biases: Floats


class Trained(NamedTuple):
    """What a round returns.

    Attributes
    ----------
    users : Table
        The new rows of its users.
    delta : Delta
        The changed rows of the items.
    loss : float
        The sum over the samples.
    samples : int
    diverged : bool
        Whether a score or a parameter is no longer finite. The other values mean nothing then.
    """

    users: Table
    delta: Delta
    loss: float
    samples: int
    diverged: bool


@dataclass(frozen=True)
class Plan:
    """What all rounds of a run share.

    Attributes
    ----------
    parameters : mapping
        The estimator's hyperparameters, with numbers for alphas that are to be found.
    item_features : csr_matrix of shape (n_items, n_item_features)
        With the weights that enter the model.
    visits, positives : int64 arrays of shape (n_items,)
        How many interactions, and how many positive ones, each item has in all shards.
    seed : int
    """

    parameters: Mapping[str, Any]
    item_features: sp.csr_matrix
    visits: NDArray[np.int64]
    positives: NDArray[np.int64]
    seed: int

    def copied(self, table: Table) -> ParameterTable:
        """Copy arrays into a table that the core can train."""
        return ParameterTable.of_copies(*table, self.parameters["no_components"], self.parameters["learning_schedule"])


def train_round(
    plan: Plan,
    users: Table,
    items: Table,
    entries: Mapping[str, NDArray[Any]],
    number: int,
    epoch: int,
    num_threads: int = 1,
) -> Trained:
    """Train some users of a shard on their interactions, against a copy of the items.

    Parameters
    ----------
    plan : Plan
    users : Table
        The rows of these users.
    items : Table
        As all shards of this round begin.
    entries : mapping
        The users' interactions as CSR arrays: int64 ``indptr`` from 0, int32 ``indices``; float32 ``values`` and
        ``weights``, unless all are 1.
    number : int
        Determines the draws, with the plan's seed and the epoch: another one for each part of each shard.
    epoch : int
        From 0.
    num_threads : int
        With 1, the same arguments give the same bits.

    Returns
    -------
    Trained
        New arrays; the arguments are not changed.

    Raises
    ------
    ValueError
        If ``entries`` are no interactions of these users and items.
    """
    parameters, n_users = plan.parameters, len(users.rows)
    if not len(entries["indices"]):
        own = plan.copied(users)
        return Trained(Table(own.rows, own.biases), changed(items, items), 0.0, 0, False)
    part = part_of(entries, 0, n_users, len(plan.visits), plan.visits, num_threads)
    training_input = TrainingInput(
        SideInput(plan.item_features),
        SideInput(identity(n_users)),
        part.interactions,
        part.weights,
        facts_of(parameters["loss"], parameters["negatives"]),
        parameters["identity_dropout"] > 0,
        exponent_of(parameters),
        num_threads,
        Met(np.zeros(n_users, dtype=bool), plan.positives),
    )
    own, copy = plan.copied(users), plan.copied(items)
    seed = (plan.seed + number * SEED_STEP) % (1 << 64)
    loss, samples, diverged = run_epoch(
        parameters, training_input, own, copy, seed, epoch, num_threads, num_threads > 1
    )
    delta = changed(items, Table(copy.rows, copy.biases))  # NaN differs from all numbers
    arrays = own.rows, own.biases, delta.rows, delta.biases
    diverged = diverged or not all(_core.engine.all_finite(array, num_threads) for array in arrays)
    return Trained(Table(own.rows, own.biases), delta, loss, samples, diverged)


def changed(before: Table, after: Table) -> Delta:
    """Return the rows that differ."""
    found = []
    for first in range(0, len(before.rows), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        differs = (before.rows[part] != after.rows[part]).any(axis=1)
        differs |= (before.biases[part] != after.biases[part]).any(axis=1)
        found.append(first + np.flatnonzero(differs))
    indices = np.concatenate(found).astype(np.int32)
    return Delta(indices, after.rows[indices], after.biases[indices])


def merged(plan: Plan, items: Table, deltas: Iterable[Delta], num_threads: int = 1) -> Table:
    """Merge the deltas of a round, in their order, by the damped sum (Adadelta: the mean); see kernels/merge.hpp.

    Parameters
    ----------
    plan : Plan
    items : Table
        As the round began, or a range of its rows.
    deltas : iterable of Delta
        Of the shards, in order. ``indices`` count from the range's first row. An iterator is read ``FAN`` at a time.
    num_threads : int
        Has no influence on the result.

    Returns
    -------
    Table
    """
    if plan.parameters["learning_schedule"] == "adagrad":  # a mean of means would be another mean
        while len(deltas := list(_nodes(plan, items, deltas, num_threads))) > FAN:
            continue
    table = plan.copied(items)
    merge_into(plan, table, list(deltas), num_threads)
    return Table(table.rows, table.biases)


def _nodes(plan: Plan, items: Table, deltas: Iterable[Delta], num_threads: int) -> Iterator[Delta]:
    """Merge each FAN deltas into one; fewer in all stay as they are."""
    waiting = iter(deltas)
    first = list(islice(waiting, FAN + 1))
    if len(first) <= FAN:
        yield from first
        return
    for group in _groups(first, waiting):
        table = plan.copied(items)
        merge_into(plan, table, group, num_threads)
        yield changed(items, Table(table.rows, table.biases))


def _groups(first: list[Delta], waiting: Iterator[Delta]) -> Iterator[list[Delta]]:
    while first:
        yield first[:FAN]
        first = [*first[FAN:], *islice(waiting, FAN)]


def merge_into(plan: Plan, table: ParameterTable, deltas: list[Delta], num_threads: int) -> None:
    features = plan.item_features
    _core.engine.merge(
        table.rows,
        table.biases,
        table.width,
        deltas,
        0,
        len(table.rows),
        plan.parameters["learning_rate"],
        features.nnz / features.shape[0],
        num_threads,
    )
