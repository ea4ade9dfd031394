"""The encoder of vectors, such as embeddings of texts or images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import as_array, check_count, check_finite_numbers, shorten
from .._cells import is_missing
from ..data.columns import as_column, read_objects
from .encoder import MOST_BINS, Encoded, Encoder


class Dense(Encoder):
    """Vectors of numbers, such as embeddings of texts or images: one column for each dimension.

    Values are vectors of one length, at most 65,536, or a matrix with a row for each vector. A missing vector has no
    weights.

    Parameters
    ----------
    normalize : {None, "l1", "l2"}
        As in :class:`Categorical`. A dimension's gradients grow with its weights. Vectors of norm 1 suit the learning
        rate of other features.

    Examples
    --------
    >>> Dense(normalize="l1").fit_transform([[1, -3], None]).toarray().tolist()
    [[0.25, -0.75], [0.0, 0.0]]
    """

    _parameter_names = ("normalize",)
    _fitted_names = ("n_dimensions_",)

    n_dimensions_: int

    def __init__(self, normalize: str | None = None) -> None:
        super().__init__(normalize)

    def _learn(self, values: Any) -> Sequence[Any]:
        vectors, rows, n_rows = _vectors(values)
        if not len(rows) or not vectors.shape[1]:
            raise ValueError(f"all {n_rows:,} vectors are missing or empty: there is nothing to learn from")
        check_count(vectors.shape[1], "the length of the vectors", MOST_BINS)
        return (vectors.shape[1],)

    @property
    def n_unlisted(self) -> int:
        """The number of dimensions, all of whose names are generated."""
        return getattr(self, "n_dimensions_", 0)

    def _can_have_learned(self) -> bool:
        return type(self.n_dimensions_) is int and 1 <= self.n_dimensions_ <= MOST_BINS

    def _names(self) -> list[str]:
        return [str(dimension) for dimension in range(self.n_dimensions_)]

    def _entries(self, values: Any) -> Encoded:
        vectors, rows, n_rows = _vectors(values)
        if len(rows) and vectors.shape[1] != self.n_dimensions_:
            raise ValueError(f"vectors have {vectors.shape[1]} dimensions but were fitted with {self.n_dimensions_}")
        places, columns = np.nonzero(vectors)
        return Encoded(n_rows, (rows[places], columns, vectors[places, columns]))


def _vectors(values: Any) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    """Return the vectors that are not missing, their rows, and the number of rows."""
    column = as_column(values, "the column", vectors=True)
    cells = list(column) if isinstance(column, np.ndarray) else read_objects(column)
    rows = np.array([row for row, cell in enumerate(cells) if not is_missing(cell)], dtype=np.int64)
    if not len(rows):
        return np.zeros((0, 0)), rows, len(cells)
    present = [cells[row] for row in rows]
    lengths = {as_array(cell, "a vector").shape for cell in present}
    text = next((cell for cell in present if isinstance(cell, str)), None)
    if text is not None:
        raise ValueError(f"{shorten(text)} is text, expected a vector: read vectors written as text by json.loads")
    if len(lengths) > 1 or len(next(iter(lengths))) != 1:
        raise ValueError(f"the values have shapes {sorted(lengths)[:5]}, expected vectors of one length")
    vectors = np.array(present)
    if vectors.dtype.kind not in "biuf":
        raise TypeError(f"the vectors hold values of type {vectors.dtype}, expected numbers")
    return check_finite_numbers(vectors.astype(np.float64), "vectors"), rows, len(cells)
