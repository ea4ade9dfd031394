"""One call at a time trains a model, and one that fails leaves the model as it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lightfm_fast._parameters import ParameterTable
from lightfm_fast._sides import Side

__all__: list[str] = []


class Turn:
    """Whose turn it is to train a model: one call's at a time. A copy of a model, and a loaded one, is free.

    Attributes
    ----------
    has_trained : bool
        Whether an epoch has changed the model in this turn, and the change is to stay.
    """

    def __init__(self) -> None:
        self._free()

    def _free(self) -> None:
        self.has_trained = False
        self._lock = threading.Lock()
        self._handed_to: int | None = None  # the thread whose call takes the turn over
        self._process = os.getpid()

    def __reduce__(self) -> Any:
        return Turn, ()

    @contextmanager
    def taken(self, hands_over: bool = False) -> Iterator[None]:
        """Hold the turn. With ``hands_over``, calls by the same thread in the meantime take it over.

        Raises
        ------
        RuntimeError
            If another call holds it.
        """
        if self._process != os.getpid():  # a fork copied a lock that only the parent releases
            self._free()
        thread = threading.get_ident()
        is_given = self._handed_to == thread
        if not is_given:
            if not self._lock.acquire(blocking=False):
                raise RuntimeError(
                    "the model is being trained already: wait until that call returns, or train a copy "
                    "(copy.deepcopy(model)), also from a callback"
                )
            self.has_trained = False
        self._handed_to = thread if hands_over else None
        try:
            yield
        finally:
            self._handed_to = thread if is_given else None
            if not is_given:
                self._lock.release()


class Snapshot:
    """A model as it is now, to go back to.

    Parameters
    ----------
    attributes : dict
        The model's ``vars``, which :meth:`restore` writes to.
    sides : sequence of Side
    history : list
    random_state : RandomState
    """

    def __init__(
        self, attributes: dict[str, Any], sides: Sequence[Side], history: list[Any], random_state: np.random.RandomState
    ) -> None:
        self._attributes, self._as_found = attributes, dict(attributes)
        self._history, self._records = history, list(history)
        self._random_state, self._generator = random_state, random_state.get_state(legacy=False)
        self._sides = [(side, side.contents()) for side in sides]
        self._values: list[tuple[ParameterTable, ParameterTable]] = []

    def keep_values(self) -> None:
        """Copy the tables that training is about to change in place; a table that it replaced needs no copy."""
        self._values = [
            (table, table.copy())
            for side, (table, *_) in self._sides
            if isinstance(table, ParameterTable) and side.contents()[0] is table
        ]

    def restore(self) -> None:
        self._attributes.update(self._as_found)
        self._history[:] = self._records
        self._random_state.set_state(self._generator)
        for side, contents in self._sides:
            side.put_back(*contents)
        for table, values in self._values:
            values.save_to(table)
