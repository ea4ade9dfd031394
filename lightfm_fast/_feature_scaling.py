"""Scales of feature weights, learned from the training matrix, so that any features train as steadily as ids do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._matrices import rows_of_entries

# Weight of a row's identity columns beside shared columns, whose weights have a length of about 1. With less, shared
# columns learn more. Users need more: items take several steps for each of a user's.
IDENTITY_WEIGHT = {"user": 0.5, "item": 0.25}
# Added to a row's length, in typical lengths: a row of small weights stays small, and its weights keep their order.
FLOOR = 0.5
# How strongly the weights of common columns are reduced: many samples of a group step such a column at once.
CROWDING = 4.0
# Limits of a column's root mean square, so that scales are single precision's normal numbers.
LEAST_SIZE, LARGEST_SIZE = 1e-30, 1e30
# Rows that are scaled at a time, so that what is computed of them stays in the cache.
ROWS_AT_ONCE = 4096


class VisitedRows(NamedTuple):
    """Some rows of a feature matrix: the row, the column and the value of each weight other than 0.

    Attributes
    ----------
    rows : int array of shape (n_entries,)
        Numbers from 0, also where these are not the first rows of the matrix.
    columns : int array of shape (n_entries,)
    values : float64 array of shape (n_entries,)
    visits : float64 array of shape (n_rows,)
        How many training samples each row has.
    """

    rows: NDArray[Any]
    columns: NDArray[Any]
    values: NDArray[np.float64]
    visits: NDArray[np.float64]

    @classmethod
    def of(cls, features: sp.csr_matrix, visits: NDArray[np.float64]) -> VisitedRows:
        has_weight = features.data != 0
        rows = rows_of_entries(features)
        return cls(rows[has_weight], features.indices[has_weight], features.data[has_weight].astype(np.float64), visits)


# Reads the rows of a feature matrix anew, a part at a time.
Parts = Callable[[], Iterator[VisitedRows]]


@dataclass(frozen=True, eq=False)
class FeatureScaling:
    r"""The scales of one side's feature columns.

    AdaGrad moves an embedding by about the learning rate, whatever the size of the gradient. So a step moves a
    representation by about the learning rate times the sum of the row's weights, unless the weights are scaled.

    A shared column j, which several rows have, gets the scale :math:`s_j = 1 / (r_j t)`: :math:`r_j` is the root mean
    square of the column's weights and t the typical length of a row, both over training samples. With
    :math:`y_{ij} = s_j x_{ij}` the scaled weight is :math:`c_j y_{ij} / \sqrt{|y_i|^2 + q^2}`, where
    :math:`c_j = \sqrt{(1 + q^2) / (1 + 4 d_j)}`, q is 0.5 and :math:`d_j` the share of samples that have the column.
    An identity column, which one row alone has, gets weight 1; beside shared columns 0.5 if it is a user's and 0.25 if
    it is an item's. Several identity columns of a row share it: their weights have this length together. A column that
    no training sample has gets 0, since nothing is known of it, unless it is an identity column of a row without shared
    columns.

    Attributes
    ----------
    weights : float32 array of shape (n_columns,)
        :math:`s_j c_j`, or the factor of an identity column; 0 for a column that no training sample had.
    lengths : float32 array of shape (n_columns,)
        :math:`s_j`; 0 for columns that do not count in a row's length.
    typical : float
        The typical length t; 0 while there are no shared columns.
    """

    weights: NDArray[np.float32]
    lengths: NDArray[np.float32]
    typical: float

    @classmethod
    def unscaled(cls, n_columns: int) -> FeatureScaling:
        """Return scales that leave the weights of so many columns as they are."""
        return cls(np.ones(n_columns, np.float32), np.zeros(n_columns, np.float32), 0.0)

    @classmethod
    def restored(cls, scales: NDArray[Any], typical: Any, n_columns: int) -> FeatureScaling:
        """Make the scales that :meth:`packed` and ``typical`` of a file tell; ValueError if they are malformed."""
        is_sound = scales.dtype == np.float32 and scales.shape == (2, n_columns) and np.isfinite(scales).all()
        if not is_sound or (scales < 0).any() or type(typical) is not float or not 0 <= typical < np.inf:
            raise ValueError(f"its scales of features are not 2 finite numbers for each of {n_columns:,} features")
        return cls(scales[0].copy(), scales[1].copy(), typical)

    def packed(self) -> NDArray[np.float32]:
        return np.stack([self.weights, self.lengths])

    def extended(self, parts: Parts, n_columns: int, side: str) -> FeatureScaling:
        """Return the scales with those of columns that training samples have for the first time.

        Parameters
        ----------
        parts : callable
            Returns an iterator of :class:`VisitedRows`, which together are all rows.
        n_columns : int
        side : {"user", "item"}
        """
        weights, lengths = np.zeros((2, n_columns), np.float32)
        weights[: len(self.weights)], lengths[: len(self.lengths)] = self.weights, self.lengths
        mass, squares, total = np.zeros(n_columns), np.zeros(n_columns), 0.0
        counts = np.zeros(n_columns, dtype=np.intp)
        for part in parts():
            counts += np.bincount(part.columns, minlength=n_columns)
        is_own: NDArray[np.bool_] = counts == 1
        is_alone = np.zeros(n_columns, dtype=bool)
        for part in parts():
            of_entry = part.visits[part.rows]
            mass += np.bincount(part.columns, of_entry, n_columns)
            squares += np.bincount(part.columns, of_entry * part.values**2, n_columns)
            total += float(part.visits.sum())
            # A row without shared columns needs no sample: nothing else represents it.
            is_alone[part.columns[is_own[part.columns] & ~_have(part, ~is_own)[part.rows]]] = True
        is_new = ((mass > 0) | is_alone) & (weights == 0)
        if not is_new.any() and n_columns == len(self.weights):
            return self
        typical = self.typical
        shared = is_new & ~is_own
        if shared.any():
            typical = typical or _typical_length(parts, shared)
            lengths[shared] = 1 / (_clip(np.sqrt(squares[shared] / mass[shared])) * typical)
            weights[shared] = lengths[shared] * np.sqrt((1 + FLOOR**2) / (1 + CROWDING * mass[shared] / total))
        own = is_new & is_own
        for part in parts() if own.any() else ():
            chosen = own[part.columns]
            rows, columns, values = part.rows[chosen], part.columns[chosen], part.values[chosen]
            n_own = np.bincount(rows, minlength=len(part.visits))[rows]
            weights[columns] = np.where(_have(part, ~is_own)[rows], IDENTITY_WEIGHT[side], 1) / (
                _clip(np.abs(values)) * np.sqrt(n_own)
            )
        return FeatureScaling(weights, lengths, typical)

    def of_columns(self, columns: NDArray[np.int64]) -> FeatureScaling:
        """Return the scales of some columns, in the given order."""
        return FeatureScaling(self.weights[columns], self.lengths[columns], self.typical)

    def apply(self, features: sp.csr_matrix) -> sp.csr_matrix:
        """Return the matrix with scaled weights; ``features`` stays as it is."""
        scaled = np.empty(features.nnz, np.float32)
        for first in range(0, features.shape[0], ROWS_AT_ONCE):
            indptr = features.indptr[first : first + ROWS_AT_ONCE + 1]
            part, counts = slice(indptr[0], indptr[-1]), np.diff(indptr)
            rows, columns = np.repeat(np.arange(len(counts)), counts), features.indices[part]
            values = features.data[part].astype(np.float64)
            lengths = self.lengths[columns]
            squares = np.bincount(rows, (values * lengths) ** 2, len(counts))
            values *= self.weights[columns]
            np.divide(values, np.sqrt(squares + FLOOR**2)[rows], out=values, where=lengths > 0)
            scaled[part] = values
        arrays = scaled, features.indices, features.indptr
        return sp.csr_matrix(arrays, shape=features.shape)


def _clip(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(sizes, LEAST_SIZE, LARGEST_SIZE)


def _have(part: VisitedRows, columns: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell of each row whether it has one of the columns that a mask names."""
    return np.bincount(part.rows[columns[part.columns]], minlength=len(part.visits)) > 0


def _typical_length(parts: Parts, is_shared: NDArray[np.bool_]) -> float:
    """Return the root mean square length of the rows that have shared columns, whose weights are 1 in the mean."""
    squares = total = 0.0
    for part in parts():
        counts = np.bincount(part.rows[is_shared[part.columns]], minlength=len(part.visits))
        squares += float((part.visits * counts).sum())
        total += float(part.visits[counts > 0].sum())
    return float(np.sqrt(squares / total)) if total else 0.0
