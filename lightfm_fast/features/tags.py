"""Tags in rows, gathered into the column of lists that MultiCategorical reads."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Any

import numpy as np

from .._arguments import check_choice
from ..data.categories import name_categories
from ..data.columns import as_column, read_numbers
from ..data.frames import read_columns
from ..data.numbering import factorize, match_ids


def gather_tags(
    table: Any,
    ids: Any,
    *,
    id: Hashable,
    tag: Hashable = "tag",
    weight: Hashable | None = None,
    unknown: str = "raise",
) -> list[Any]:
    """Make a column for :class:`MultiCategorical` from a frame with a row for each tag of an item or a user.

    Parameters
    ----------
    table : frame
        Rows of an id, a tag and possibly a weight, in any order.
    ids : list, array or column
        The column of ids in the frame of items, or of users, that the new column goes into.
    id, tag : hashable
        Names of columns of ``table``.
    weight : hashable, optional
        Name of a column of weights. The weights of duplicate tags of an id are summed.
    unknown : {"raise", "skip"}
        Refuse rows with an id that is not among ``ids``, or leave the rows out.

    Returns
    -------
    list
        For each of ``ids`` a list of tags, or with ``weight`` a dict from tag to weight. Both are empty for an id
        without rows.

    Raises
    ------
    TypeError, ValueError
        If a column is missing or holds the wrong kind of values, an id or a weight is missing, or an id is unknown.

    Examples
    --------
    >>> films = {"film": ["Up", "Heat"]}
    >>> tags = {"film": ["Heat", "Up", "Heat"], "tag": ["crime", "balloon", "tense"], "votes": [9, 4, 1]}
    >>> gather_tags(tags, films["film"], id="film")
    [['balloon'], ['crime', 'tense']]
    >>> gather_tags(tags, films["film"], id="film", weight="votes")
    [{'balloon': 4.0}, {'crime': 9.0, 'tense': 1.0}]
    """
    check_choice(unknown, "unknown", ("raise", "skip"))
    read = read_columns(table, "the table of tags", [id, tag, *([] if weight is None else [weight])])
    codes, distinct = factorize(read[id])
    if len(codes) and codes.min() < 0:
        raise ValueError(f"column {id!r} of the table of tags has no id in row {int(codes.argmin()):,}: leave it out")
    own, known = factorize(as_column(ids, "ids"))
    if len(own) and own.min() < 0:
        raise ValueError(f"ids has no id in row {int(own.argmin()):,}: leave it out")
    numbers = match_ids(distinct, dict(zip(known, range(len(known)), strict=True)))
    places = numbers[codes]
    if unknown == "raise" and len(places) and places.min() < 0:
        raise ValueError(
            f"{np.count_nonzero(places < 0):,} of {len(places):,} rows of the table of tags have an unknown id, "
            f"{distinct[codes[places.argmin()]]!r} in row {int(places.argmin()):,} first: add it to ids, or pass "
            "unknown='skip'"
        )
    tag_codes, tags = name_categories(read[tag])
    weights = np.ones(len(places)) if weight is None else read_numbers(read[weight], f"column {weight!r}")
    if np.isnan(weights).any():
        raise ValueError(f"column {weight!r} has no weight in row {int(np.isnan(weights).argmax()):,}: leave it out")
    gathered: list[dict[str, float]] = [{} for _ in known]
    kept = (places >= 0) & (tag_codes >= 0)
    for place, code, number in zip(
        places[kept].tolist(), tag_codes[kept].tolist(), weights[kept].tolist(), strict=True
    ):
        gathered[place][tags[code]] = gathered[place].get(tags[code], 0.0) + number
    cells = gathered if weight is not None else [list(cell) for cell in gathered]
    return [copy.copy(cells[place]) for place in own.tolist()]
