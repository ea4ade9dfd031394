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
from ..data.missing import check_missing_ids, describe_left_out, log_left_out, rows_with_ids
from ..data.numbering import factorize, match_ids, number_ids


def gather_tags(
    table: Any,
    ids: Any,
    *,
    id: Hashable,
    tag: Hashable = "tag",
    weight: Hashable | None = None,
    unknown: str = "raise",
    missing_ids: str = "raise",
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
    missing_ids : {"raise", "skip"}
        Refuse rows of ``table`` without an id, or leave them out.

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
    codes, distinct = number_ids(read[id], "the table of tags", id, check_missing_ids(missing_ids))
    has_ids = rows_with_ids({id: codes < 0}, "the table of tags", missing_ids)
    if has_ids is not None:
        log_left_out(describe_left_out(has_ids, "the table of tags"))
    own, known = factorize(as_column(ids, "ids"))
    if len(own) and own.min() < 0:
        raise ValueError(f"ids has no id in row {int(own.argmin()):,}: leave it out")
    numbers = match_ids(distinct, dict(zip(known, range(len(known)), strict=True)))
    places = np.append(numbers, -1)[codes]
    is_unknown = (places < 0) & (codes >= 0)
    if unknown == "raise" and is_unknown.any():
        raise ValueError(
            f"{np.count_nonzero(is_unknown):,} of {len(places):,} rows of the table of tags have an unknown id, "
            f"{distinct[codes[is_unknown.argmax()]]!r} in row {int(is_unknown.argmax()):,} first: add it to ids, or "
            "pass unknown='skip'"
        )
    tag_codes, tags = name_categories(read[tag])
    weights = np.ones(len(places)) if weight is None else read_numbers(read[weight], f"column {weight!r}")
    has_no_weight = np.isnan(weights) & (codes >= 0)
    if has_no_weight.any():
        raise ValueError(f"column {weight!r} has no weight in row {int(has_no_weight.argmax()):,}: leave it out")
    gathered: list[dict[str, float]] = [{} for _ in known]
    kept = (places >= 0) & (tag_codes >= 0)
    for place, code, number in zip(
        places[kept].tolist(), tag_codes[kept].tolist(), weights[kept].tolist(), strict=True
    ):
        gathered[place][tags[code]] = gathered[place].get(tags[code], 0.0) + number
    cells = gathered if weight is not None else [list(cell) for cell in gathered]
    return [copy.copy(cells[place]) for place in own.tolist()]
