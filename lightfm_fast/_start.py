"""Initial values of parameters, before the first epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast._feature_rows import is_identity
from lightfm_fast._matrices import rows_of_entries
from lightfm_fast._parameters import Floats, ParameterTable

# Biases of the softmax loss order items of equal cosine: the most popular item's bias, and the largest of any feature.
TIE, MOST_OF_A_TIE = np.float32(2**-20), np.float32(2**-14)


@dataclass(frozen=True)
class Start:
    """Initial values for new features: random or zero embeddings, zero biases.

    Attributes
    ----------
    random_state : RandomState or Generator
    init_scale : float or None
        Embeddings are drawn from N(0, init_scale); with None from U(-0.5, 0.5) / no_components.
    initial_accumulator : float
    """

    random_state: np.random.RandomState | np.random.Generator
    init_scale: float | None
    initial_accumulator: float

    def new_table(
        self,
        n_rows: int,
        no_components: int,
        learning_schedule: str,
        at_zero: NDArray[np.bool_] | None,
        folder: str | None = None,
    ) -> ParameterTable:
        """Make a table with random embeddings, except for the rows in ``at_zero``, whose embeddings are 0.

        With a ``folder`` its arrays are mapped files there.
        """
        table = ParameterTable(n_rows, no_components, learning_schedule, self.initial_accumulator, folder)
        self._draw(table.view("embeddings"))
        if at_zero is not None:
            table.view("embeddings")[at_zero] = 0
        return table

    def grown(
        self, table: ParameterTable, features: sp.csr_matrix, at_zero: NDArray[np.bool_] | None
    ) -> ParameterTable | None:
        """Return a table that also has rows for the columns that ``table`` lacks; None if it lacks none.

        A new feature starts at 0 if every row that has it also has known features: these then decide where the row
        starts.
        """
        n_known, n_columns = len(table.rows), features.shape[1]
        if n_columns == n_known:
            return None
        at_random = np.flatnonzero(stands_alone(features, n_known))
        embeddings = np.zeros((n_columns - n_known, table.no_components), dtype=np.float32)
        drawn = np.empty((len(at_random), table.no_components), dtype=np.float32)
        self._draw(drawn)
        embeddings[at_random] = drawn
        if at_zero is not None:
            embeddings[at_zero[n_known:]] = 0
        return table.grown(embeddings, self.initial_accumulator)

    def wake(self, embeddings: Floats, rows: NDArray[np.intp]) -> None:
        """Draw new values for the given rows that are zero, in place."""
        asleep = rows[~embeddings[rows].any(axis=1)]
        drawn = np.empty((len(asleep), embeddings.shape[1]), dtype=np.float32)
        self._draw(drawn)
        embeddings[asleep] = drawn

    def _draw(self, embeddings: Floats) -> None:
        for first in range(0, len(embeddings), 4096):  # in parts: the generator returns float64, twice the memory
            part = embeddings[first : first + 4096]
            if self.init_scale is None:
                part[...] = self.random_state.uniform(-0.5, 0.5, part.shape) / part.shape[1]
            else:
                part[...] = float(self.init_scale) * self.random_state.standard_normal(part.shape)


def stands_alone(features: sp.csr_matrix, n_known: int) -> NDArray[np.bool_]:
    """Mark each new column (from ``n_known`` on) that is in some row without a known column, or in no row."""
    rows = rows_of_entries(features)
    has_weight = features.data != 0
    is_new = features.indices >= n_known
    has_known = np.zeros(features.shape[0], dtype=bool)
    has_known[rows[has_weight & ~is_new]] = True
    rows, columns = rows[has_weight & is_new], features.indices[has_weight & is_new] - n_known
    n_new = features.shape[1] - n_known
    alone = np.bincount(columns[~has_known[rows]], minlength=n_new) > 0
    return alone | (np.bincount(columns, minlength=n_new) == 0)


def without_positives(interactions: sp.coo_matrix, features: sp.csr_matrix) -> NDArray[np.bool_]:
    """Mark each user feature that no user with a positive interaction has."""
    has_positives = np.zeros(features.shape[0], dtype=bool)
    has_positives[interactions.row[interactions.data > 0]] = True
    if is_identity(features):
        return ~has_positives
    without = np.ones(features.shape[1], dtype=bool)
    without[features.indices[np.repeat(has_positives, np.diff(features.indptr)) & (features.data != 0)]] = False
    return without


def popularity(positives: NDArray[np.int64], features: sp.csr_matrix) -> NDArray[np.float32]:
    """Return biases of item features that sum up to each item's popularity.

    An item's popularity is its number of ``positives`` over the most popular item's number. The biases are fitted by
    least squares, which is exact if every item has an identity feature.
    """
    counts = np.zeros(features.shape[0])
    counts[: len(positives)] = positives
    if not counts.any():
        return np.zeros(features.shape[1], dtype=np.float32)
    shares = counts / counts.max()
    if not is_identity(features):
        from scipy.sparse.linalg import lsmr  # slow to import, and used only here

        shares = lsmr(features.astype(np.float64), shares, maxiter=100)[0]
    return shares.astype(np.float32)


def break_ties(biases: NDArray[np.float32], shares: NDArray[np.float32]) -> None:
    """Set biases to popularity times a factor too small to matter beside cosines.

    Biases that an earlier call has set move halfway to the new value. Larger biases, learned by another loss or
    assigned, stay.
    """
    if np.abs(biases).max() <= MOST_OF_A_TIE:
        wanted = np.clip(TIE * shares, -MOST_OF_A_TIE, MOST_OF_A_TIE)
        biases[...] = np.where(biases == 0, wanted, (biases + wanted) / 2)
