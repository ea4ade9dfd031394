"""Means of parameters over the epochs of a call.

The last epoch's parameters are noisy: each sample has just pulled its rows its way. The mean over epochs has less of
that noise, and mostly ranks better (Polyak and Juditsky 1992).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

from ._parameters import Floats, ParameterTable, aligned_zeros, in_file

__all__: list[str] = []

Tables = Callable[[], Sequence[ParameterTable]]

# How much more later epochs count (eta of Shamir and Zhang 2013). Rows averaged at once, which fit a cache.
LATENESS = 3
_BLOCK = 4096


@contextmanager
def averaged(tables: Tables, is_on: bool) -> Iterator[Callable[[bool], AbstractContextManager[None]]]:
    """Replace parameters by their means at the end, also after an exception.

    Yields a function to call after each epoch. It takes the epoch in and returns a context, in which callbacks are
    called: if it is given True, they see the means. With ``is_on`` False nothing is averaged.
    """
    if not is_on:
        yield lambda has_callbacks: nullcontext()
        return
    averages = Averages(tables)

    def after_epoch(has_callbacks: bool) -> AbstractContextManager[None]:
        averages.add()
        return averages.shown() if has_callbacks else nullcontext()

    try:
        yield after_epoch
    finally:
        averages.put()


class Averages:
    """The means of tables' embeddings and biases over epochs, in which later epochs count more.

    After epoch t the mean moves by (eta + 1) / (t + eta) of its distance to the parameters: polynomial-decay averaging,
    which need not know how many epochs follow (Shamir and Zhang 2013).

    Parameters
    ----------
    tables : callable
        Returns the tables, always the same, that are trained meanwhile; called each time before they are written to.
        The means of a table in a file are in a file too.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._n_epochs = 0
        self._means = [_like(table) for table in tables()]

    def add(self) -> None:
        """Take in the parameters after an epoch."""
        self._n_epochs += 1
        share = np.float32((LATENESS + 1) / (self._n_epochs + LATENESS))
        for means, table in zip(self._means, self._tables(), strict=True):
            for mean, now in _blocks(means, table):
                mean += share * (now - mean)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put the means in the place of the parameters meanwhile.

        If somebody writes other parameters, they stay: training goes on from them, and means begin anew.
        """
        tables = self._tables()
        kept = [_like(table) for table in tables]
        for held, table in zip(kept, tables, strict=True):
            for copy, now in _blocks(held, table):
                copy[...] = now
        self.put()
        try:
            yield
        finally:
            tables = self._tables()
            pairs = list(zip(self._means, tables, strict=True))
            if all(np.array_equal(mean, now) for means, table in pairs for mean, now in _blocks(means, table)):
                for held, table in zip(kept, tables, strict=True):
                    for copy, now in _blocks(held, table):
                        now[...] = copy
            else:
                self._n_epochs = 0

    def put(self) -> None:
        """Replace the parameters by their means, if there has been an epoch."""
        if not self._n_epochs:
            return
        for means, table in zip(self._means, self._tables(), strict=True):
            for mean, now in _blocks(means, table):
                now[...] = mean


def _like(table: ParameterTable) -> tuple[Floats, Floats]:
    """Return room for a table's embeddings and biases, where the table is: in memory or in a file."""
    n_rows = len(table.rows)
    if table.folder is None:
        return aligned_zeros(n_rows, table.width), aligned_zeros(n_rows, 1)
    return in_file(table.folder, n_rows, table.width), in_file(table.folder, n_rows, 1)


def _blocks(kept: tuple[Floats, Floats], table: ParameterTable) -> Iterator[tuple[Floats, Floats]]:
    """Yield some rows of what is kept and of the table's parameters, as views."""
    embeddings, biases = kept
    for first in range(0, len(embeddings), _BLOCK):
        rows = slice(first, first + _BLOCK)
        yield embeddings[rows], table.rows[rows, : table.width]
        yield biases[rows], table.biases[rows, :1]
