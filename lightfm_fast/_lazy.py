"""Properties that are computed once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class cached_property(functools.cached_property[T]):  # noqa: TID251
    """The standard library's, without the lock that it has before Python 3.12.

    All objects of a class share that lock. So threads wait for one another, and a process that is forked while a thread
    computes waits for ever.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        super().__init__(compute)
        self.lock = contextlib.nullcontext()
