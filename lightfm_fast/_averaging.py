"""Means of parameters over the epochs of a call.

The last epoch's parameters are noisy: each sample has just pulled its rows its way. The mean over epochs has less of
that noise, and mostly ranks better (Polyak and Juditsky 1992).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

from ._parameters import Floats, ParameterTable, zeros_in

Tables = Callable[[], Sequence[ParameterTable]]
Kept = tuple[Floats, Floats]  # embeddings with their padding, and biases, of all rows of a table

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
        for mean, now in _blocks(self._means, self._tables()):
            move(mean, now, self._n_epochs)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put the means in the place of the parameters meanwhile.

        If somebody writes other parameters, they stay: training goes on from them, and means begin anew.
        """
        tables = self._tables()
        kept = [_like(table) for table in tables]
        for copy, now in _blocks(kept, tables):
            copy[...] = now
        self.put()
        try:
            yield
        finally:
            tables = self._tables()
            if all(np.array_equal(mean, now) for mean, now in _blocks(self._means, tables)):
                for copy, now in _blocks(kept, tables):
                    now[...] = copy
            else:
                self._n_epochs = 0

    def put(self) -> None:
        """Replace the parameters by their means, if there has been an epoch."""
        if not self._n_epochs:
            return
        for mean, now in _blocks(self._means, self._tables()):
            now[...] = mean


def move(means: Floats, now: Floats, n_epochs: int) -> None:
    """Take the parameters after epoch ``n_epochs``, from 1, into their means over the epochs before."""
    means += np.float32((LATENESS + 1) / (n_epochs + LATENESS)) * (now - means)


def _like(table: ParameterTable) -> Kept:
    """Return room for a table's embeddings and biases, where the table is: in memory or in a file."""
    folder, n_rows = table.folder, len(table.rows)
    return zeros_in(folder, n_rows, table.width), zeros_in(folder, n_rows, 1)


def _blocks(kept: Sequence[Kept], tables: Sequence[ParameterTable]) -> Iterator[tuple[Floats, Floats]]:
    """Yield some rows of what is kept and of the tables' parameters, as views."""
    for (embeddings, biases), table in zip(kept, tables, strict=True):
        for first in range(0, len(embeddings), _BLOCK):
            rows = slice(first, first + _BLOCK)
            yield embeddings[rows], table.rows[rows, : table.width]
            yield biases[rows], table.biases[rows, :1]
