"""Scales of feature weights, learned from the training matrix, so that any features train as steadily as ids do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__: list[str] = []

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

    def extended(self, features: sp.csr_matrix, visits: NDArray[np.float64], side: str) -> FeatureScaling:
        """Return the scales with those of columns that training samples have for the first time.

        Parameters
        ----------
        features : csr_matrix of shape (n_rows, n_columns)
        visits : float64 array of shape (n_rows,)
            How many training samples each row has.
        side : {"user", "item"}
        """
        n_columns = features.shape[1]
        weights, lengths = np.zeros((2, n_columns), np.float32)
        weights[: len(self.weights)], lengths[: len(self.lengths)] = self.weights, self.lengths
        rows, columns, values = _entries(features)
        is_own = np.bincount(columns, minlength=n_columns) == 1
        has_shared = np.bincount(rows[~is_own[columns]], minlength=len(visits)) > 0
        is_trained = np.bincount(columns, visits[rows], n_columns) > 0
        # A row without shared columns needs no sample: nothing else represents it.
        is_trained[columns[is_own[columns] & ~has_shared[rows]]] = True
        is_new = is_trained & (weights == 0)
        if not is_new.any() and n_columns == len(self.weights):
            return self
        typical = self.typical
        shared = is_new & ~is_own
        if shared.any():
            of_entry = visits[rows]
            mass = np.bincount(columns, of_entry, n_columns)[shared]
            squares = np.bincount(columns, of_entry * values**2, n_columns)[shared]
            typical = typical or _typical_length(shared[columns], rows, visits)
            lengths[shared] = 1 / (_clip(np.sqrt(squares / mass)) * typical)
            weights[shared] = lengths[shared] * np.sqrt((1 + FLOOR**2) / (1 + CROWDING * mass / visits.sum()))
        chosen = (is_new & is_own)[columns]
        rows, columns, values = rows[chosen], columns[chosen], values[chosen]
        n_own = np.bincount(rows, minlength=len(visits))[rows]
        weights[columns] = np.where(has_shared[rows], IDENTITY_WEIGHT[side], 1) / (
            _clip(np.abs(values)) * np.sqrt(n_own)
        )
        return FeatureScaling(weights, lengths, typical)

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


def _entries(features: sp.csr_matrix) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Return the row, the column and the value of each entry that is not zero."""
    has_weight = features.data != 0
    rows = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    return rows[has_weight], features.indices[has_weight], features.data[has_weight].astype(np.float64)


def _typical_length(is_shared: NDArray[np.bool_], rows: NDArray[Any], visits: NDArray[np.float64]) -> float:
    """Return the root mean square length of the rows that have shared columns, whose weights are 1 in the mean."""
    counts = np.bincount(rows[is_shared], minlength=len(visits))
    total = visits[counts > 0].sum()
    return float(np.sqrt((visits * counts).sum() / total)) if total else 0.0
