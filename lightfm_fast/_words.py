"""What the features of a row say of it, in numbers that a regression takes: the row's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._matrices import rows_of_entries, to_length_1
from ._parameters import Floats

# A deviation that is a smaller part of the mean is rounding.
_ROUNDING = 1e-6
# How much stronger than others the penalty of a dense word is.
_OF_DENSE = 10.0


class Columns(NamedTuple):
    """What is known of the columns of a feature matrix.

    Attributes
    ----------
    counts : int array of shape (n_columns,)
        How many rows have a weight other than 0.
    tell_apart : bool array of the same shape
        Whether at least two rows have the column, but not all with the same weight.
    are_dense : bool array of the same shape
        Whether the column is a number or a dimension of a vector, in which 0 says that nothing is known: all rows
        have it, or more than half of the rows and with both signs. Other columns are categories, tags or words.
    means, deviations : float64 arrays of the same shape
        Of the weights other than 0.
    """

    counts: NDArray[np.intp]
    tell_apart: NDArray[np.bool_]
    are_dense: NDArray[np.bool_]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]


def describe_columns(features: sp.csr_matrix) -> Columns:
    """Describe the columns of a matrix, whose rows are those with a past."""
    n_rows, n_columns = features.shape
    has_weight = features.data != 0
    columns = features.indices[has_weight]
    rows = rows_of_entries(features)[has_weight]
    values = features.data[has_weight].astype(np.float64)
    smallest = np.full(n_rows, np.inf)
    np.minimum.at(smallest, rows, np.abs(values))
    counts, positive = (np.bincount(of, minlength=n_columns) for of in (columns, columns[values > 0]))

    def moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        of_all = np.maximum(counts, 1)
        means = np.bincount(columns, values, n_columns) / of_all
        return means, np.sqrt(np.bincount(columns, (values - means[columns]) ** 2, n_columns) / of_all)

    # Rows that were divided by their length still have the same weight if it is so many times their smallest.
    (means, deviations), (ratios, deviations_of_ratios) = moments(values), moments(values / smallest[rows])
    vary = (deviations > _ROUNDING * np.abs(means)) & (deviations_of_ratios > _ROUNDING * np.abs(ratios))
    has_both_signs = (positive > 0) & (positive < counts)
    are_dense = vary & (counts > 1) & ((counts == n_rows) | (has_both_signs & (2 * counts > n_rows)))
    return Columns(counts, (counts > 1) & ((counts < n_rows) | are_dense), are_dense, means, deviations)


@dataclass(frozen=True, eq=False)
class Words:
    r"""How rows of features are read.

    A row's words are its weights of columns that tell rows apart, divided by the row's largest and by the column's
    root mean square, multiplied by :math:`\sqrt{\log(N / n)}` if n of N known rows have the column, and scaled to
    length 1 together. In a dense column a word is the distance to the mean, in standard deviations, times
    :math:`\sqrt{\log 2}`. The dense words of a row are typically no longer than its other words, if rows have any:
    long vectors leave tags their say.

    Attributes
    ----------
    columns : int64 array of shape (n_words,)
        The features that are words, in order; see :class:`Columns`.
    scales : float32 array of shape (n_words,)
        What the columns' weights are multiplied by.
    dense : int64 array of shape (n_dense,)
        Which of ``columns`` are dense, in order.
    centres : float32 array of shape (n_dense,)
        Their means.
    """

    columns: NDArray[np.int64]
    scales: Floats
    dense: NDArray[np.int64]
    centres: Floats

    @classmethod
    def of(cls, features: sp.csr_matrix) -> Words:
        """Return how to read rows like those of a matrix, which have a past."""
        n_rows, n_columns = features.shape
        found = describe_columns(features)
        columns = np.flatnonzero(found.tell_apart)
        is_dense = found.are_dense[columns]
        even = _by_largest(_without(features, found.are_dense[features.indices])).data.astype(np.float64)
        sizes = np.sqrt(np.bincount(features.indices, even**2, n_columns) / np.maximum(found.counts, 1))[columns]
        sizes = np.maximum(np.where(is_dense, found.deviations[columns], sizes), np.finfo(np.float32).tiny)
        logs = np.log(np.where(is_dense, 2.0, n_rows / np.maximum(found.counts, 1)[columns]))
        scales, dense = np.sqrt(logs) / sizes, np.flatnonzero(is_dense)
        if 0 < len(dense) < len(columns):
            square_of_others = logs[~is_dense] @ found.counts[columns[~is_dense]] / n_rows
            scales[dense] *= np.sqrt(min(1.0, square_of_others / logs[dense].sum()))
        return cls(columns, scales.astype(np.float32), dense, found.means[columns[dense]].astype(np.float32))

    def penalties(self, strength: float) -> NDArray[np.float64]:
        """Return the penalty of each word: ``strength``, and that of a dense word, which all rows have, more."""
        penalties = np.full(len(self.columns), strength, dtype=np.float64)
        penalties[self.dense] *= _OF_DENSE
        return penalties

    def of_rows(self, features: sp.csr_matrix) -> sp.csr_matrix:
        """Return the words of rows: rows of length 1 or 0."""
        chosen = sp.csr_matrix(features[:, self.columns], dtype=np.float32)
        centres = np.full(len(self.columns), np.nan)
        centres[self.dense] = self.centres
        of_dense = (chosen.data != 0) & ~np.isnan(centres[chosen.indices])
        words = _by_largest(_without(chosen, of_dense))
        words.data[of_dense] = chosen.data[of_dense] - centres[chosen.indices[of_dense]]
        return to_length_1(words @ sp.diags(self.scales))


def _without(rows: sp.csr_matrix, left_out: NDArray[np.bool_]) -> sp.csr_matrix:
    """Return the rows with 0 in the place of some stored weights."""
    return sp.csr_matrix((np.where(left_out, np.float32(0), rows.data), rows.indices, rows.indptr), shape=rows.shape)


def _by_largest(rows: sp.csr_matrix) -> sp.csr_matrix:
    """Divide each row by its largest absolute weight."""
    counts = np.diff(rows.indptr)
    largest = np.zeros(rows.shape[0], dtype=np.float32)
    np.maximum.at(largest, rows_of_entries(rows), np.abs(rows.data))
    divided = rows.data / np.repeat(np.where(largest > 0, largest, 1), counts)
    return sp.csr_matrix((divided.astype(np.float32), rows.indices, rows.indptr), shape=rows.shape)
