"""A table of users, read a block at a time, and their features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._arguments import import_optional
from ..data.side import Side
from .tables import parquet_of, to_arrow

__all__: list[str] = []

# Rows that are encoded at once, and the most rows that an encoder is fitted to.
ROWS_AT_ONCE, MOST_FITTED = 1 << 16, 1 << 19


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

    def __init__(self, table: Any, features: Any, name: str) -> None:
        self.side = Side("user", has_identity=False)
        self.side.id_column = name
        self.side.take_encoder(table, features, None)
        self._files = parquet_of(table)
        self._table = to_arrow(table, "users") if self._files is None else None
        self.n_features = 0
        if self.side.encoder is not None:
            self.side.learn_features(self._sample())
            self.n_features = len(self.side.features)

    @classmethod
    def of(cls, table: Any, features: Any, name: str) -> Users | None:
        """Return the users that a table lists; None without a table and features."""
        return None if table is None and features is None else cls(table, features, name)

    def blocks(self) -> Iterator[tuple[Any, sp.csr_matrix]]:
        """Yield blocks of the table, with the features of their rows.

        Column 0 of a matrix is the user's own feature, with weight 1 before rows are normalized.
        """
        for block in self._blocks():
            own = sp.csr_matrix(np.ones((block.num_rows, 1), np.float32))
            matrix = own
            if self.side.encoder is not None:
                matrix = sp.hstack([own, self.side.encode_newcomers(block, normalize=False)], format="csr")
            if self.side.normalize:
                norms = np.asarray(abs(matrix).sum(axis=1, dtype=np.float64)).ravel()
                matrix.data /= np.repeat(norms, np.diff(matrix.indptr))
            matrix.sort_indices()
            yield block, matrix

    def _blocks(self) -> Iterator[Any]:
        if self._table is not None:
            for first in range(0, self._table.num_rows, ROWS_AT_ONCE):
                yield self._table.slice(first, ROWS_AT_ONCE)
            return
        arrow = import_optional("pyarrow", "cli", "A sharded dataset")
        for batch in self._files.to_batches(batch_size=ROWS_AT_ONCE, batch_readahead=1, fragment_readahead=1):
            if batch.num_rows:
                yield arrow.Table.from_batches([batch])

    def _sample(self) -> Any:
        """Return the rows that an encoder is fitted to: all of a table in memory, or a random part of large files."""
        if self._table is not None:
            return self._table
        share, rng = MOST_FITTED / max(1, self._files.count_rows()), np.random.RandomState(0)
        arrow = import_optional("pyarrow", "cli", "A sharded dataset")
        blocks = self._blocks()
        if share < 1:
            blocks = (block.filter(arrow.array(rng.random_sample(block.num_rows) < share)) for block in blocks)
        return arrow.concat_tables(blocks)
