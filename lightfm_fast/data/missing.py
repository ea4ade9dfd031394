"""Rows that lack the id of a user or an item: they are refused, or left out if the caller says so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import check_choice, counted

MISSING_IDS = ("raise", "skip")
_LOGGER = logging.getLogger("lightfm_fast")


def check_missing_ids(missing_ids: str) -> str:
    """Return the choice; ValueError if there is no such choice."""
    check_choice(missing_ids, "missing_ids", MISSING_IDS)
    return missing_ids


def rows_with_ids(
    are_missing: Mapping[Any, NDArray[np.bool_]],
    frame: str,
    missing_ids: str,
    file: str = "",
    may_be_none_left: bool = False,
) -> NDArray[np.bool_] | None:
    """Return which rows of a frame have all their ids; None if each row has.

    Parameters
    ----------
    are_missing : mapping from the name of a column of ids to bool array
        Which cells are missing.
    frame : str
        The frame in messages.
    missing_ids : {"raise", "skip"}
    file : str
        What a message begins with.
    may_be_none_left : bool
        Whether each row may lack an id, as in a part of a frame.

    Raises
    ------
    ValueError
        If a cell is missing and ``missing_ids`` is not "skip", or if no row is left and one must be.
    """
    lacking = {column: missing for column, missing in are_missing.items() if missing.any()}
    if not lacking:
        return None
    if missing_ids != "skip":
        column, missing = next(iter(lacking.items()))
        raise ValueError(
            f"{file}column {column!r} of {frame} has {counted(np.count_nonzero(missing), 'missing id')}, the first in "
            f"row {int(missing.argmax()):,}: leave those rows out by missing_ids='skip'"
        )
    has_ids: NDArray[np.bool_] = ~np.logical_or.reduce(list(lacking.values()))
    if not (has_ids.any() or may_be_none_left):
        raise ValueError(f"{file}{describe_left_out(has_ids, frame)}: none is left")
    return has_ids


def describe_left_out(has_ids: NDArray[np.bool_], frame: str) -> str:
    """Say how many rows are left out, and which is the first."""
    n_missing = len(has_ids) - int(np.count_nonzero(has_ids))
    return f"{counted(n_missing, 'row')} of {frame} without an id left out, the first in row {int(has_ids.argmin()):,}"


def log_left_out(text: str) -> None:
    """Log, at level INFO, that rows were left out."""
    _LOGGER.info(text)
