"""A table of users, read a block at a time, and their features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..data import Dataset
from ..data.side import Side
from .spread import rows_to_read
from .tables import ParquetFiles, are_paths, import_arrow, to_arrow

__all__: list[str] = []

# Rows that are encoded at once, and the most rows that an encoder is fitted to.
ROWS_AT_ONCE, MOST_FITTED = 1 << 16, 1 << 19


def check_has_users(n_rows: int) -> None:
    """Raise ValueError if a table of users has no row with an id."""
    if not n_rows:
        raise ValueError("users has no rows with an id, expected one for each user")


class Users:
    """The users that a table lists.

    Parameters
    ----------
    table : frame, or path or list of paths of Parquet files
        Files are read twice, a block at a time.
    features : list of columns, encoder or None
        As in :meth:`lightfm_fast.data.Dataset.from_tables`.
    name : str
        The column of ids.
    fitted : Side, optional
        Users whose fitted encoder to take instead.
    missing_ids : {"raise", "skip"}
        What to do with rows without an id.

    Attributes
    ----------
    side : Side
        Knows the features' encoder, and no ids.
    n_features : int
        How many features there are beside each user's own.

    Raises
    ------
    TypeError, ValueError
        If features are asked for without a table, or are neither a list of columns nor an encoder.
    """

    def __init__(
        self, table: Any, features: Any, name: str, fitted: Side | None = None, missing_ids: str = "raise"
    ) -> None:
        self._name, self._missing_ids = name, missing_ids
        if fitted is None:
            self.side = Side("user", has_identity=False)
            self.side.id_column = name
            self.side.take_encoder(table, features, None)
        else:
            self.side = fitted
        self._files = ParquetFiles(table, "users") if are_paths(table) else None
        self._table: Any = to_arrow(table, "users") if self._files is None else None
        if fitted is None and self.side.encoder is not None:
            sample = self._sample()
            check_has_users(sample.num_rows)
            self.side.learn_features(sample)
        self.n_features = len(self.side.features)

    def blocks(self) -> Iterator[tuple[Any, sp.csr_matrix]]:
        """Yield blocks of the table, with the features of their rows.

        Column 0 of a matrix is the user's own feature, with weight 1 before rows are normalized.
        """
        for block in filter(len, self._blocks()):
            own = sp.csr_matrix(np.ones((block.num_rows, 1), np.float32))
            matrix = own
            if self.side.encoder is not None:
                matrix = sp.hstack([own, self.side.encode_newcomers(block, normalize=False)], format="csr")
            if self.side.normalize:
                norms = np.asarray(abs(matrix).sum(axis=1, dtype=np.float64)).ravel()
                matrix.data /= np.repeat(norms, np.diff(matrix.indptr))
            yield block, matrix.sorted_indices()

    def _blocks(self) -> Iterator[Any]:
        if self._files is not None:
            return map(self._kept, filter(len, self._files.blocks(ROWS_AT_ONCE)))
        starts = range(0, self._table.num_rows, ROWS_AT_ONCE)
        return (self._kept(self._table.slice(first, ROWS_AT_ONCE)) for first in starts)

    def _kept(self, block: Any) -> Any:
        """Return a block without the rows that lack an id."""
        if self._name not in block.schema.names:
            return block  # which is refused later
        has_ids = rows_to_read({self._name: block.column(self._name)}, self._missing_ids, "users")
        return block if has_ids is None else block.filter(has_ids)

    def _sample(self) -> Any:
        """Return the rows that an encoder is fitted to: all of a table in memory, or a random part of large files."""
        if self._files is None:
            return self._kept(self._table)
        n_rows = self._files.count_rows()
        check_has_users(n_rows)
        share, rng = MOST_FITTED / n_rows, np.random.RandomState(0)
        arrow = import_arrow()
        blocks = self._blocks()
        if share < 1:
            blocks = (block.filter(arrow.array(rng.random_sample(block.num_rows) < share)) for block in blocks)
        return arrow.concat_tables(blocks)


class UsersOfDataset:
    """The users of a dataset in memory, with the attributes and methods of :class:`Users`.

    Raises
    ------
    ValueError
        If the dataset gives its users no identity features, or the features were changed.
    """

    def __init__(self, dataset: Dataset) -> None:
        known, matrix = dataset.user_side, dataset.user_features
        self.side = Side("user", has_identity=False)
        self.side.id_column, self.side.encoder, self.side.normalize = known.id_column, known.encoder, known.normalize
        self._ids, self._features = list(known.ids), matrix
        if not known.has_identity or (matrix is not None and matrix.shape != known.shape):
            raise ValueError(
                "the users of the dataset have no identity features, or their matrix lacks some: shards give each user "
                "a feature of its own, so make the dataset with user_identity_features=True"
            )
        own = known.columns_of(known.ids)
        self._places = np.zeros(known.shape[1], dtype=np.int32)  # 0 for each user's own feature
        is_shared = np.ones(known.shape[1], dtype=bool)
        is_shared[own] = False
        self.n_features = int(np.count_nonzero(is_shared)) if matrix is not None else 0
        self._places[is_shared] = np.arange(1, np.count_nonzero(is_shared) + 1)
        if matrix is not None:
            self.side.add_features(name for name, number in known.features.items() if is_shared[number])

    def blocks(self) -> Iterator[tuple[Any, sp.csr_matrix]]:
        """Yield blocks as :meth:`Users.blocks` does."""
        arrow = import_arrow()
        for first in range(0, len(self._ids), ROWS_AT_ONCE):
            ids = self._ids[first : first + ROWS_AT_ONCE]
            rows = sp.csr_matrix(np.ones((len(ids), 1), np.float32))
            if self._features is not None:
                rows = self._features[first : first + ROWS_AT_ONCE]
                arrays = rows.data, self._places[rows.indices], rows.indptr
                rows = sp.csr_matrix(arrays, shape=(len(ids), self.n_features + 1)).sorted_indices()
            yield arrow.table({str(self.side.id_column): ids}), rows
