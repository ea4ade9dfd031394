"""One call at a time trains a model. A call that fails leaves the model as it was."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from lightfm_fast._parameters import ParameterTable
from lightfm_fast._sides import Side


class _Call:
    """A call that holds a turn, as long as it exists."""


class Turn:
    """A lock that lets one call at a time train a model. A copied or loaded model has a lock that nobody holds.

    The lock refers weakly to the call that holds it. Where Ctrl-C prevents the call from releasing the lock, the lock
    is free when the call is gone.

    Attributes
    ----------
    has_trained : bool
        Whether an epoch of this turn has changed the model, so that a failing call must not restore the snapshot.
    """

    def __init__(self) -> None:
        self._free()

    def _free(self) -> None:
        self.has_trained = False
        self._lock = threading.Lock()  # held only to look at the holder and replace it
        self._holder: weakref.ref[_Call] | None = None
        self._handed_to: int | None = None  # the thread whose inner calls may share the turn
        self._process = os.getpid()

    def __reduce__(self) -> Any:
        return Turn, ()

    @property
    def is_taken(self) -> bool:
        """Whether a call of this process trains the model."""
        return self._process == os.getpid() and self._holder is not None and self._holder() is not None

    @contextmanager
    def taken(self, hands_over: bool = False) -> Iterator[None]:
        """Hold the turn. With ``hands_over``, a call that the same thread makes meanwhile shares the turn.

        Raises
        ------
        RuntimeError
            If another call holds it.
        """
        if self._process != os.getpid():  # the fork copied a lock that only a thread of the parent would release
            self._free()
        thread, call, is_given = threading.get_ident(), _Call(), False
        try:
            with self._lock:
                is_given = self.is_taken and self._handed_to == thread
                if self.is_taken and not is_given:
                    raise RuntimeError(
                        "the model is being trained already: wait until that call returns, or train a copy "
                        "(copy.deepcopy(model)), also from a callback"
                    )
                if not is_given:
                    self.has_trained = False
                    self._holder = weakref.ref(call)
                self._handed_to = thread if hands_over else None
            yield
        finally:
            if is_given:
                self._handed_to = thread
            elif self._holder is not None and self._holder() is call:
                self._holder = self._handed_to = None


class Snapshot:
    """The state of a model at one moment, which :meth:`restore` brings back.

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
        """Copy the tables that training is about to change in place. Tables replaced since need no copy."""
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
