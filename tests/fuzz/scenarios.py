"""The kinds of scenarios, and the share of each in a run."""

from __future__ import annotations

import contextlib

import numpy as np

from .kinds import arguments, callbacks, estimators, files, forks, limits, machines, matrices, state, tables, threads
from .oracle import End, Oracle

# The share of each kind: kinds that found most failures, or have many cases, run more often.
KINDS = {
    "matrices": (matrices.run, 8),
    "estimators": (estimators.run, 3),
    "machines": (machines.run, 3),
    "arguments": (arguments.run, 6),
    "state": (state.run, 3),
    "callbacks": (callbacks.run, 4),
    "threads": (threads.run, 2),
    "forks": (forks.run, 2),
    "files": (files.run, 6),
    "tables": (tables.run, 5),
    "limits": (limits.run, 2),
}
TURNS = [kind for turn in range(8) for kind, (_, share) in KINDS.items() if turn < share]


def kind_of(number: int) -> str:
    return TURNS[number % len(TURNS)]


def run(kind: str, seed: int) -> list[str]:
    """Run a scenario, and return the list of its failures."""
    oracle = Oracle()
    with contextlib.suppress(End):
        KINDS[kind][0](np.random.RandomState(seed), oracle)
    oracle.check_guarded()
    return oracle.failures
