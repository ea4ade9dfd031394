"""A round of training on one shard, and the merge of the shards' rounds, as functions of arrays.

All shards of a round begin with the same shared table: the rows of the items' features, and after them the rows of
features that users share. Each shard trains some of its users and a copy of the shared table, and returns the rows that
it has changed. The merge makes the next shared table of them. Neither function reads a file, keeps state or knows who
calls it, so any engine that moves arrays between machines can run both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from ._parameters import Floats, ParameterTable, padded_width
from ._shards import SEED_STEP, part_of
from ._training import exponent_of, run_epoch
from ._training_input import SideInput, TrainingInput

# Deltas that are merged at once. More are merged by a tree, which holds no more of them in memory.
FAN = 100
_ROWS_AT_ONCE = 4096


class Table(NamedTuple):
    """Parameters as arrays, laid out as in :class:`ParameterTable`.

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
        The changed rows of the shared table.
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
    n_shared : int
        The number of features that users share.
    features_a_user : float
        In the mean, with a user's own feature.
    """

    parameters: Mapping[str, Any]
    item_features: sp.csr_matrix
    visits: NDArray[np.int64]
    positives: NDArray[np.int64]
    seed: int
    n_shared: int = 0
    features_a_user: float = 1.0

    @property
    def n_rows(self) -> tuple[int, int]:
        """How many rows of the shared table are items', and how many are users'."""
        return self.item_features.shape[1], self.n_shared

    @property
    def width(self) -> int:
        """How many numbers of a row are its embedding, with padding."""
        return padded_width(self.parameters["no_components"])

    def parts(self, shared: Table) -> tuple[Table, Table]:
        """Return the shared table's rows of items' features, and those of users' features."""
        n_items, _ = self.n_rows
        return Table(*(array[:n_items] for array in shared)), Table(*(array[n_items:] for array in shared))

    def copied(self, table: Table) -> ParameterTable:
        """Copy arrays into a table that the core can train."""
        return ParameterTable.of_copies(*table, self.parameters["no_components"], self.parameters["learning_schedule"])


def train_round(
    plan: Plan,
    users: Table,
    shared: Table,
    entries: Mapping[str, NDArray[Any]],
    number: int,
    epoch: int,
    num_threads: int = 1,
    user_side: SideInput | None = None,
) -> Trained:
    """Train some users of a shard on their interactions, against a copy of the shared table.

    Parameters
    ----------
    plan : Plan
    users : Table
        The rows of these users.
    shared : Table
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
    user_side : SideInput, optional
        The users' features, with columns for these users and then the shared features, and their scales. By default
        each user has one feature.

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
        return Trained(Table(own.rows, own.biases), changed(shared, shared), 0.0, 0, False)
    part = part_of(entries, 0, n_users, len(plan.visits), plan.visits, num_threads)
    training_input = TrainingInput(
        SideInput(plan.item_features),
        SideInput(identity(n_users)) if user_side is None else user_side,
        part.interactions,
        part.weights,
        facts_of(parameters["loss"], parameters["negatives"]),
        parameters["identity_dropout"] > 0,
        exponent_of(parameters),
        num_threads,
        Met(np.zeros(n_users, dtype=bool), plan.positives),
    )
    items, of_users = plan.parts(shared)
    own, copy = plan.copied(stacked([users, of_users])), plan.copied(items)
    seed = (plan.seed + number * SEED_STEP) % (1 << 64)
    loss, samples, diverged = run_epoch(parameters, training_input, own, copy, seed, epoch, num_threads)
    now = Table(copy.rows, copy.biases), Table(own.rows[n_users:], own.biases[n_users:])
    delta = changed(shared, stacked(now))  # NaN differs from all numbers
    trained = Table(own.rows[:n_users], own.biases[:n_users])
    diverged = diverged or not all(_core.engine.all_finite(array, num_threads) for array in (*trained, *delta[1:]))
    return Trained(trained, delta, loss, samples, diverged)


def stacked(tables: Sequence[Table]) -> Table:
    """Return the rows of several tables, one table after another; of a table with rows alone, the table itself."""
    filled = [table for table in tables if len(table.rows)] or list(tables[:1])
    if len(filled) == 1:
        return filled[0]
    return Table(*(np.concatenate(arrays) for arrays in zip(*filled, strict=True)))


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


def merged(
    plan: Plan, shared: Table, deltas: Iterable[Delta], num_threads: int = 1, features_a_row: float | None = None
) -> Table:
    """Merge the deltas of a round, in their order, by the damped sum (Adadelta: the mean); see kernels/merge.hpp.

    Parameters
    ----------
    plan : Plan
    shared : Table
        As the round began, or a range of its rows.
    deltas : iterable of Delta
        Of the shards, in order. ``indices`` count from the range's first row. An iterator is read ``FAN`` at a time.
    num_threads : int
        Has no influence on the result.
    features_a_row : float, optional
        How many features a row of their side has in the mean. By default those of an item.

    Returns
    -------
    Table
    """
    if features_a_row is None:
        features_a_row = plan.item_features.nnz / plan.item_features.shape[0]
    if plan.parameters["learning_schedule"] == "adagrad":  # a mean of means would be another mean
        while len(deltas := list(_nodes(plan, shared, deltas, num_threads, features_a_row))) > FAN:
            continue
    table = plan.copied(shared)
    merge_into(plan, table, list(deltas), num_threads, features_a_row)
    return Table(table.rows, table.biases)


def _nodes(
    plan: Plan, shared: Table, deltas: Iterable[Delta], num_threads: int, features_a_row: float
) -> Iterator[Delta]:
    """Merge each FAN deltas into one; fewer in all stay as they are."""
    waiting = iter(deltas)
    first = list(islice(waiting, FAN + 1))
    if len(first) <= FAN:
        yield from first
        return
    for group in _groups(first, waiting):
        table = plan.copied(shared)
        merge_into(plan, table, group, num_threads, features_a_row)
        yield changed(shared, Table(table.rows, table.biases))


def _groups(first: list[Delta], waiting: Iterator[Delta]) -> Iterator[list[Delta]]:
    while first:
        yield first[:FAN]
        first = [*first[FAN:], *islice(waiting, FAN)]


def merge_into(plan: Plan, table: ParameterTable, deltas: list[Delta], num_threads: int, features_a_row: float) -> None:
    _core.engine.merge(
        table.rows,
        table.biases,
        table.width,
        deltas,
        0,
        len(table.rows),
        plan.parameters["learning_rate"],
        features_a_row,
        num_threads,
    )
