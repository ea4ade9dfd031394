"""Read what describes users and items, and make the encoders that options ask for."""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..data.numbering import factorize, match_ids
from ..features import Categorical, Dense, MultiCategorical, PiecewiseLinear, QuantileBins, Standardized, Text
from .columns import Columns, as_series, read_columns
from .output import counted, note

# Kinds of columns of features: what makes the encoder of what stands after "=", which may be nothing.
KINDS: dict[str, Callable[[str], Any]] = {
    "category": lambda least: Categorical(int(least), unseen="other") if least else Categorical(),
    "tags": lambda separator: MultiCategorical(separator or "|", normalize="l2"),
    "number": lambda _: Standardized(),
    "bins": lambda n_bins: QuantileBins(int(n_bins or 10)),
    "curve": lambda n_bins: PiecewiseLinear(int(n_bins or 10)),
    "text": lambda _: Text(),
    "vector": lambda _: Dense(),
}
NUMERIC = (Standardized, QuantileBins, PiecewiseLinear)  # of these a CSV file has numbers, of the others text


def add_tags(options: argparse.Namespace, side: str, table: Columns | None, interactions: Columns) -> Columns:
    """Add a column for each table of one row per tag: a list of tags for each user or item."""
    own = getattr(options, f"{side}_column")
    read: list[tuple[str, str, Columns]] = []
    for file, column in getattr(options, f"{side}_tags"):
        read.append((file, column, read_columns(options, [file], [own, column], [own, column], filled=[own])))
    if table is None:  # then everything that is named anywhere is known
        named = dict.fromkeys(factorize(as_series(interactions[own]))[1])
        for _, _, tagged in read:
            names = factorize(as_series(tagged[own]))[1]
            numbers = match_ids(names, dict(zip(named, range(len(named)), strict=True)))
            named.update(dict.fromkeys(name for name, number in zip(names, numbers, strict=True) if number < 0))
        table = {own: list(named)}
    ids = factorize(as_series(table[own]))[1]
    known = dict(zip(ids, range(len(ids)), strict=True))
    for file, column, tagged in read:
        codes, names = factorize(as_series(tagged[own]))
        rows = match_ids(names, known)[codes] if len(names) else codes
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            problem = (
                f"{file}: {counted(len(unknown), 'row')} of {side}s that --{side}s does not list, "
                f"{names[codes[unknown[0]]]!r} in data row {unknown[0] + 1:,} first"
            )
            if len(unknown) == len(rows):
                raise ValueError(problem)
            note(options, f"{problem}, left out")
        lists: list[list[Any]] = [[] for _ in ids]
        for row, tag in zip(rows.tolist(), as_series(tagged[column]), strict=True):
            if row >= 0 and tag is not None:
                lists[row].append(tag)
        table[column] = lists
    return table


def make_encoder(text: str) -> tuple[str, Any]:
    """Make an encoder of COLUMN, COLUMN:KIND or COLUMN:KIND=ARGUMENT."""
    column, _, how = text.rpartition(":") if ":" in text else (text, "", "category")
    kind, has_argument, argument = how.partition("=")
    if kind not in KINDS or not column:
        raise ValueError(f"{text!r} is no feature: expected COLUMN or COLUMN:KIND, of {', '.join(KINDS)}")
    if (has_argument and not argument) or (argument and kind in ("number", "text", "vector")):
        raise ValueError(f"{text!r} is no feature: :{kind} takes {'no argument' if argument else 'something after ='}")
    try:
        return column, KINDS[kind](argument)
    except ValueError as error:
        raise ValueError(f"{text!r} is no feature: {error}") from error


def read_side(options: argparse.Namespace, files: Sequence[str], side: str, encoders: Mapping[str, Any]) -> Columns:
    """Read ids, and what describes users or items."""
    own = getattr(options, f"{side}_column")
    numbers = [column for column, encoder in encoders.items() if isinstance(encoder, NUMERIC)]
    text = [column for column in encoders if column not in numbers]
    table = read_columns(
        options, files, list(dict.fromkeys([own, *encoders])), [own, *text], numbers=numbers, filled=[own]
    )
    codes, ids = factorize(as_series(table[own]))
    if len(ids) < len(codes):
        row = int(np.isin(np.arange(len(codes)), np.unique(codes, return_index=True)[1]).argmin())
        raise ValueError(
            f"{', '.join(files)}: data row {row + 1:,} is of {side} {ids[codes[row]]!r} again, and each {side} has one "
            "row"
        )
    for column, encoder in encoders.items():
        if isinstance(encoder, (MultiCategorical, Dense)):
            table[column] = _lists(
                table[column], f"column {column!r} of {', '.join(files)}", isinstance(encoder, Dense)
            )
    return table


def _lists(column: Any, name: str, must: bool) -> Any:
    """Read cells of text that are lists, as JSON or Python writes them: all of them, or none where none has to be."""
    cells = [_literal(cell) if isinstance(cell, str) else cell for cell in as_series(column)]
    is_list = [cell is None or (not isinstance(cell, str) and hasattr(cell, "__len__")) for cell in cells]
    if all(is_list):
        return cells
    if must or any(fine and cell is not None for fine, cell in zip(is_list, cells, strict=True)):
        row = is_list.index(False)
        raise ValueError(f"{name} has {cells[row]!r} in data row {row + 1:,}, expected a list as in other rows")
    return column


def _literal(cell: str) -> Any:
    """Return the list that a cell spells, or the cell."""
    for read in (json.loads, ast.literal_eval) if cell.lstrip().startswith("[") else ():
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = read(cell)
            if isinstance(found, list):
                return found
    return cell
