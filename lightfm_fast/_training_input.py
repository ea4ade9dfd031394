"""The input of a training run in the core's layout, made once for all epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._arguments import check_not_negative
from lightfm_fast._feature_rows import copied_row_arrays, is_identity, rows_for_dropout
from lightfm_fast._feature_scaling import FeatureScaling
from lightfm_fast._fingerprint import Fingerprint
from lightfm_fast._lazy import cached_property
from lightfm_fast._losses import LossFacts, facts_of
from lightfm_fast._matrices import (
    Interactions,
    check_interactions,
    check_order,
    check_stored_entries,
    frozen,
    to_single,
)
from lightfm_fast._met import Met
from lightfm_fast._parameters import ParameterTable
from lightfm_fast._shrinkage import OwnFeatures

# Each thread has a copy (see the core's Copies) of the rows that at least COPIED_FROM samples of an epoch visit. All
# threads' copies together take at most MOST_COPIED bytes, about the size of a last-level cache.
COPIED_FROM, MOST_COPIED = 64, 1 << 25

# Arguments of the core's Side: indptr, indices, values, the number of identity columns of each row, the copied rows.
SideArrays = tuple[NDArray[Any] | None, ...]


def check_sample_weight(sample_weight: Any, interactions: sp.coo_matrix, loss: str) -> NDArray[np.float32] | None:
    """Return a weight for each entry of ``interactions``, or None if no weights are given.

    Raises
    ------
    NotImplementedError
        For the k-OS loss, which draws its positives itself, so that samples have no weights.
    ValueError
        If ``sample_weight`` is not a COO matrix with the entries of ``interactions`` in the same order, or a weight is
        not finite or below 0.
    """
    if sample_weight is None:
        return None
    check_takes_weights(facts_of(loss))
    if getattr(sample_weight, "format", None) != "coo":
        raise ValueError(
            f"sample_weight is {type(sample_weight).__name__}, expected a SciPy COO matrix with the entries of "
            "interactions in the same order"
        )
    weights = check_stored_entries(sample_weight, "sample_weight")
    if weights.shape != interactions.shape:
        raise ValueError(f"sample_weight has shape {weights.shape} but interactions has {interactions.shape}")
    if not (np.array_equal(weights.row, interactions.row) and np.array_equal(weights.col, interactions.col)):
        raise ValueError(
            "sample_weight and interactions do not have the same entries in the same order: build both from the "
            "same row and col arrays"
        )
    largest = float(weights.data.max(initial=0))
    if 0 < largest < float(np.finfo(np.float32).tiny):
        raise ValueError(
            f"sample_weight has weights of at most {largest:.3g}, too small for single precision: multiply all by the "
            "same number"
        )
    return _weights_of_entries(weights.data, weights.nnz)


def check_takes_weights(facts: LossFacts) -> None:
    """Raise NotImplementedError for a loss that would ignore the weights of samples."""
    if not facts.takes_weights:
        raise NotImplementedError(
            f"sample_weight has no meaning for loss={facts.name!r}, which draws its own positives: "
            "leave it out, or use 'warp'"
        )


def _weights_of_entries(weights: Any, n_entries: int) -> NDArray[np.float32]:
    """Return a read-only float32 array of a weight for each entry.

    Raises
    ------
    ValueError
        If a weight is not finite or below 0, or there are not ``n_entries`` weights.
    """
    array = np.asarray(weights)
    if array.shape != (n_entries,):
        raise ValueError(f"sample_weight has shape {array.shape}, expected ({n_entries:,},): one for each entry")
    if array.strides == (0,) and array.size and array[0] == 1:  # one stored number, repeated
        return array
    with np.errstate(over="ignore"):
        single = to_single(frozen(array.astype(np.float32)), "sample_weight")
    check_not_negative(single, "sample_weight", "entry")
    return single


def are_samples(interactions: sp.coo_matrix, takes_labels: bool) -> NDArray[np.bool_] | slice:
    """Return the entries that a loss trains on: all if it takes labels, else the positives."""
    return slice(None) if takes_labels else interactions.data > 0


def sum_weights(interactions: sp.coo_matrix, weights: NDArray[np.float32], takes_labels: bool) -> tuple[float, int]:
    """Return the sum of the samples' weights, and how many are not 0."""
    sizes = weights[are_samples(interactions, takes_labels)].astype(np.float64)
    return float(sizes.sum()), int(np.count_nonzero(sizes))


def mean_weight(interactions: sp.coo_matrix, weights: NDArray[np.float32], takes_labels: bool) -> float:
    """Return the mean weight of the samples, 0 without samples. Of a broadcast number only the stored one is read."""
    sizes = weights[:1] if weights.strides == (0,) else weights[are_samples(interactions, takes_labels)]
    return float(sizes.sum(dtype=np.float64)) / max(1, len(sizes))


def balanced_samples(
    interactions: Interactions, weights: NDArray[np.float32], mean: float, takes_labels: bool
) -> tuple[Interactions, NDArray[np.float32]]:
    """Divide weights by their mean, and put several samples of about 1 in the place of one of a large weight.

    A weight multiplies the step of a sample, but not its penalty: lengths of steps and strengths of L2 suit weights
    of about 1.
    """
    if weights.strides == (0,) and (weights[:1] == mean).all():  # a shard may have no interactions
        return interactions, weights
    relative = weights / mean
    copies = np.ones(len(relative), dtype=np.int64)
    chosen = are_samples(interactions, takes_labels)
    copies[chosen] = np.maximum(np.rint(relative[chosen]), 1)
    data, row, col = (np.repeat(getattr(interactions, name), copies) for name in ("data", "row", "col"))
    samples = check_interactions(sp.coo_matrix((data, (row, col)), interactions.shape))
    samples.visits = interactions.visits
    return samples, frozen(np.repeat((relative / copies).astype(np.float32), copies))


def is_one(weights: NDArray[np.float32]) -> bool:
    """Return whether all weights are 1. Of a broadcast number only the stored one is read."""
    return bool(((weights[:1] if weights.strides == (0,) else weights) == 1).all())


def count_items(
    items: NDArray[np.int32], n_items: int, labels: NDArray[np.int8] | None = None, num_threads: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how often each item occurs, and how often with the label +1; the same array twice without labels."""
    counts = np.empty((1 if labels is None else 2, n_items))
    _core.engine.count_items(items, labels, counts, num_threads)
    return counts[0], counts[-1]


def have_positives(indptr: NDArray[np.int64], labels: NDArray[np.int8] | None) -> NDArray[np.bool_]:
    """Tell which users have a label above 0 among their entries, or any entry if there are no labels."""
    have = np.diff(indptr) > 0
    if labels is not None:
        _core.engine.find_positives(indptr, labels, have.view(np.uint8))
    return have


def labels_of(values: NDArray[Any], num_threads: int) -> NDArray[np.int8]:
    """Return +1 for values above 0, else -1."""
    labels = np.empty(len(values), dtype=np.int8)
    if values.dtype != np.float32 or not values.flags.c_contiguous:
        values = (values > 0).astype(np.float32)
    _core.engine.judge_values(values, num_threads, labels)
    return labels


def entries_by_user(
    entries: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32] | None, NDArray[np.int8] | None],
    shape: tuple[int, int],
    check: Any,
    num_threads: int,
) -> tuple[NDArray[np.int64], tuple[Any, ...]]:
    """Sort entries by user and item.

    Parameters
    ----------
    entries : tuple
        Their users, items, and weights and labels or None.
    shape : tuple of int
        The numbers of users and items.
    check : EntryCheck
        The record of their order.
    num_threads : int

    Returns
    -------
    indptr, entries
        CSR's ``indptr`` and the sorted arrays; the same arrays if they were sorted. Labels are sorted in place.
    """
    indptr = np.empty(shape[0] + 1, dtype=np.int64)
    if check.is_sorted:
        check.find_users(entries[0], indptr)
        return indptr, entries
    users, _, weights, labels = entries
    # Labels, which are read before any is written, are sorted in place. The arrays of one block take fewer pages.
    ids = np.empty((2, len(users)), dtype=np.int32)
    by_user = ids[0], ids[1], None if weights is None else np.empty_like(weights), labels
    _core.engine.group_by_user(*entries, shape[1], indptr, *by_user, num_threads)
    return indptr, by_user


def copy_rows(side: SideArrays, visits: NDArray[Any], most: int, in_order: bool) -> SideArrays:
    """Choose at most ``most`` rows of parameters that threads would contend for, and mark their columns.

    ``visits`` counts the visits of each row of features; it may lack the last rows. If rows are visited ``in_order``,
    one thread at a time works on a row, so a column that only one row has needs no copy.
    """
    indptr, indices, values, n_own, _ = side
    if indptr is None or indices is None:
        often = not in_order and len(visits) <= most and visits.sum() >= COPIED_FROM * len(visits)
        return None, None, None, None, np.arange(len(visits), dtype=np.int32) if often else None
    visits = np.concatenate([visits, np.zeros(len(indptr) - 1 - len(visits))])
    touched = np.bincount(indices, weights=np.repeat(visits, np.diff(indptr)))
    if in_order:
        touched[np.bincount(indices) == 1] = 0
    often = np.flatnonzero(touched >= COPIED_FROM)
    copied = often[np.argsort(-touched[often], kind="stable")][:most].astype(np.int32)
    marks = np.arange(len(touched), dtype=np.int32)
    marks[copied] = ~np.arange(len(copied), dtype=np.int32)
    return indptr, marks[indices], values, n_own, copied


def check_tables_fit(tables: Sequence[Any], shapes: Sequence[tuple[int, int]], n_rows: Sequence[int]) -> None:
    """Raise ValueError unless the sizes of parameters, features and interactions agree, for users and items.

    ``shapes`` are the shapes of the feature matrices; ``n_rows`` are the numbers of users and items in interactions.
    """
    for table, shape, n, side in zip(tables, shapes, n_rows, ("user", "item"), strict=True):
        if shape[0] < n or shape[1] != len(table.rows):
            raise ValueError(
                f"{side}_features has shape {shape}, but there are {n:,} {side}s and parameters of "
                f"{len(table.rows):,} {side} features"
            )
    users, items = tables
    if users.no_components != items.no_components:
        raise ValueError(
            f"users have embeddings of {users.no_components} components and items of {items.no_components}: assign all "
            "arrays of one model"
        )


class SideInput(NamedTuple):
    """The features of users or items, and the scales that training applies to them; None for weights as given."""

    features: sp.csr_matrix
    scaling: FeatureScaling | None = None

    def scaled(self) -> sp.csr_matrix:
        return self.features if self.scaling is None else self.scaling.apply(self.features)


def are_same_inputs(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Tell whether two lists of arguments, of which the first two are :class:`SideInput`, name the same objects."""
    flat = [(*inputs[0], *inputs[1], *inputs[2:]) for inputs in (one, other)]
    return all(a is b for a, b in zip(*flat, strict=True))


class TrainingInput:
    """The input of a training run in the core's layout, shared by all epochs.

    Parameters
    ----------
    met : Met, optional
        Whom earlier runs have met. Uniform draws choose among their items and those of this run, by default all.

    Attributes
    ----------
    met : Met
        The same with this run.
    n_drawable : int
        How many items this run draws from.
    """

    def __init__(
        self,
        item_side: SideInput,
        user_side: SideInput,
        interactions: sp.coo_matrix,
        sample_weight: NDArray[np.float32] | None,
        facts: LossFacts,
        drops_identity: bool = False,
        popularity_exponent: float = 1.0,
        num_threads: int = 1,
        met: Met | None = None,
    ) -> None:
        given = (item_side, user_side, interactions, sample_weight, facts)
        self.inputs = (*given, drops_identity, popularity_exponent)
        entries = check_interactions(interactions, num_threads)  # a subclass may pass interactions that nobody checked
        n_users, n_items = entries.shape
        if sample_weight is not None:
            sample_weight = _weights_of_entries(sample_weight, entries.nnz)
        users, items, check = entries.row, entries.col, entries.check
        sides = [(user_side.scaled(), users), (item_side.scaled(), items)]
        self.rows = [
            (*(rows_for_dropout(features, occurring) if drops_identity else (*copied_row_arrays(features), None)), None)
            for features, occurring in sides
        ]
        self._shapes = [features.shape for features, _ in sides]

        weights = None if sample_weight is None or is_one(sample_weight) else sample_weight
        if weights is not None:  # of shards, or of a loss that a callback has set
            check_takes_weights(facts)
        labels = known = None
        if not entries.is_positive:
            if facts.takes_labels:
                labels = labels_of(entries.data, num_threads)
            else:
                positive = entries.data > 0
                indptr, by_user = entries_by_user((users, items, None, None), entries.shape, check, num_threads)
                known = indptr, by_user[1]
                users, items = users[positive], items[positive]
                weights = None if weights is None else weights[positive]
                check = check_order(users, items, entries.shape, num_threads)
        indptr, by_user = entries_by_user((users, items, weights, labels), entries.shape, check, num_threads)
        self._with_copies: dict[tuple[int, bool], list[SideArrays]] = {}
        self._by_user, self.n_items = (indptr, by_user[1]), n_items
        self._labels = by_user[3]
        self._visits, counts = count_items(by_user[1], n_items, self._labels, num_threads)
        met = Met(np.zeros(0, dtype=bool), np.ones(n_items, dtype=np.int64)) if met is None else met
        self.met = met.merged(have_positives(indptr, self._labels), counts)
        is_drawable = self.met.drawable[:n_items]
        self.n_drawable = int(np.count_nonzero(is_drawable))
        popularity = None
        if facts.needs_popularity:
            popularity = is_drawable.astype(np.float64)
            if popularity_exponent:
                # Popularity counts all interactions, also those that the loss does not train on.
                if entries.visits is not None:
                    popularity = entries.visits.astype(np.float64)
                else:
                    popularity = self._visits if items is entries.col else count_items(entries.col, n_items)[0]
                popularity = popularity ** float(popularity_exponent)
        membership = None
        if facts.needs_membership:
            n_known = len(entries.col)
            membership = np.empty(_core.engine.membership_bytes(n_users, n_items, n_known), dtype=np.uint8)
        known_indptr, known_items = known or (None, None)
        self.samples = _core.engine.Samples(
            indptr,
            *by_user,
            n_items,
            None if self.n_drawable == n_items else np.flatnonzero(is_drawable).astype(np.int32),
            popularity,
            known_indptr,
            known_items,
            membership,
            num_threads,
        )

    def is_made_of(self, *inputs: Any) -> bool:
        """Tell whether the constructor got these very objects, up to ``popularity_exponent``."""
        return are_same_inputs(self.inputs, inputs)

    @cached_property
    def own_of_users(self) -> OwnFeatures:
        """The features that a user with samples has alone."""
        return OwnFeatures.of(self.inputs[1].scaled(), np.flatnonzero(np.diff(self._by_user[0])))

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the positives that are trained on."""
        item_features, user_features = (
            None if is_identity(side.features) else side.features for side in self.inputs[:2]
        )
        return Fingerprint.of(*self._by_user, self._labels, user_features, item_features)

    def check_tables(self, *tables: ParameterTable) -> None:
        """Raise ValueError unless the users' and the items' table fit the features, the interactions and each other."""
        n_rows = len(self._by_user[0]) - 1, self.n_items
        check_tables_fit(tables, self._shapes, n_rows)

    def rows_with_copies(self, row_bytes: int, of_ids: bool) -> list[SideArrays]:
        """Return the arrays of both sides, with copied rows.

        ``row_bytes`` is a row's size, summed over all threads. Sides without features have copies if ``of_ids``.
        """
        key = row_bytes, of_ids
        if key not in self._with_copies:
            indptr, items = self._by_user
            visits = np.diff(indptr), self._visits + len(items) / self.n_items
            self._with_copies[key] = [
                copy_rows(side, of_rows, MOST_COPIED // row_bytes, in_order) if of_ids or side[0] is not None else side
                for side, of_rows, in_order in zip(self.rows, visits, (True, False), strict=True)
            ]
        return self._with_copies[key]
