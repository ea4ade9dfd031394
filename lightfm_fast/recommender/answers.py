"""Answers as tables."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .._cells import is_hashable, show
from ..data import Dataset
from ..data.frames import check_column, make_frame
from ..recommendation import Recommendations
from .state import State

SCORES = ("rank", "score", "cosine")  # the columns of answers besides ids and titles


def make_table(
    state: State,
    side: str,
    given: tuple[Hashable, Sequence[Hashable] | None],
    column: Hashable,
    best: Recommendations,
    score: str,
    library: str | None,
) -> Any:
    """Return a table with a row for each id in ``best``; the column of given ids is left out where they are None."""
    rows, places = np.nonzero(best.ids >= 0)
    found = best.ids[rows, places]
    columns: dict[Hashable, Any] = {}
    name, asked = given
    if asked is not None:
        columns[name] = [asked[row] for row in rows.tolist()]
    columns[column] = state.ids(side, found)
    if side == "item" and state.titles is not None:
        columns[state.title] = [state.titles[row] for row in found.tolist()]
    columns["rank"], columns[score] = places + 1, best.scores[rows, places]
    unnamed = [column for column in columns if not isinstance(column, str)]
    if unnamed and library not in (None, "pandas"):
        raise ValueError(
            f"a frame of {library} names columns by text, and the answer has column {unnamed[0]!r}: ask by a list of "
            "ids, and set library = None for answers as dicts, or 'pandas'"
        )
    try:
        return make_frame(columns, library)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"ids or titles hold text that is no Unicode, which a frame of {library} refuses ({error}): set library = "
            "None for answers as dicts"
        ) from error
    except (TypeError, ValueError) as error:
        for label in (name, column):
            types = sorted({type(value).__name__ for value in columns.get(label, ())})
            if len(types) > 1:
                raise ValueError(
                    f"the ids in {label!r} are of type {' and '.join(types)}, and a column of {library} has one: set "
                    "library = None for answers as dicts, or 'pandas', or train with ids of one type"
                ) from error
        raise


def check_names(dataset: Dataset, title: Hashable) -> None:
    """Raise ValueError if two columns of an answer would have the same name, TypeError if ``title`` is no name."""
    if not is_hashable(title):
        raise TypeError(f"title is {show(title)}, expected the name of a column")
    title = check_column(title, "title")
    user, item = (dataset.columns[side] for side in ("user", "item"))
    names = [user, item, f"similar_{user}", f"similar_{item}", *SCORES, *([] if title is None else [title])]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"answers would have two columns {twice[0]!r}: rename this column of your tables")
