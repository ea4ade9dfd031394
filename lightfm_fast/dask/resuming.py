"""How far a run has come, noted in its folder after every epoch, so that a later process can go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from .. import persistence
from .._arguments import is_whole
from .._version import __version__
from ..sharded import ShardedDataset, manifest
from .run import Run, State
from .storage import Storage, attempt

__all__: list[str] = []

RUN = "run-"
_PROGRESS = "progress.json"


class Progress(NamedTuple):
    """What a run has reached.

    Attributes
    ----------
    question : str
        The hash of all that the result depends on.
    state : State
    learning_rate_factor : float
        As callbacks have set it.
    is_over : bool
        Whether nothing is left to be trained.
    """

    question: str
    state: State
    learning_rate_factor: float
    is_over: bool

    def left(self, epochs: int) -> range:
        """Return which of ``epochs`` epochs are to be trained."""
        return range(epochs if self.is_over else self.state.epoch, epochs)


def question_of(
    parameters: Mapping[str, Any], shards: ShardedDataset, item_features: sp.csr_matrix | None, epochs: int
) -> str:
    """Return the hash of all that the result of a fit depends on. A seed counts if ``random_state`` is a number."""
    named = {name: value for name, value in parameters.items() if name != "random_state"}
    seed = parameters["random_state"]
    named["random_state"] = int(seed) if is_whole(seed) else None
    shapes = [shards.shape, None if item_features is None else item_features.shape]
    facts = [__version__, named, manifest.read(shards.path)["files"], shapes, epochs]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=float).encode())
    if item_features is not None:
        for array in (item_features.indptr, item_features.indices, item_features.data):
            digest.update(np.asarray(array, dtype=np.float64).data)
    return digest.hexdigest()


def write(run: Run, progress: Progress, last: State | None = None) -> None:
    """Note what a run has reached, and then delete the parameters of the state ``last`` before it."""
    state = progress.state
    facts = state._asdict()
    if state.placed is not None:
        facts["placed"] = state.placed.tolist()
    attempt(run.storage.write_json, _PROGRESS, {**progress._asdict(), "state": facts})
    if last is not None and last.version != state.version:
        attempt(run.delete_shared, last.version)
    if last is not None and last.epoch != state.epoch:
        attempt(run.delete_users, last.epoch)


def find(storage: Storage, question: str) -> tuple[Storage, Progress] | None:
    """Return the folder of the run of the same question that has come farthest, if a storage has one."""
    found = []
    for name in sorted(attempt(storage.names)):
        if name.startswith(RUN):
            folder = storage.within(name)
            progress = _read(folder, question)
            if progress is not None:
                found.append((folder, progress))
    return max(found, key=lambda run: (run[1].is_over, run[1].state.epoch), default=None)


def _read(folder: Storage, question: str) -> Progress | None:
    try:
        facts = attempt(folder.read_json, _PROGRESS)
        if facts["question"] != question:
            return None
        state = State(**facts["state"])
        if state.placed is not None:
            state = state._replace(placed=np.array(state.placed, dtype=np.float32))
        return Progress(**{**facts, "state": state})
    except (FileNotFoundError, *persistence.MALFORMED, ValueError):
        return None  # its process was killed before the first epoch, or prepares it now, or the disk has lost it
