"""Read descriptions of users and items, and make the encoders that options ask for."""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .._arguments import counted
from ..data.numbering import factorize, match_ids
from ..features import (
    Categorical,
    Dense,
    FeatureSpec,
    MultiCategorical,
    PiecewiseLinear,
    QuantileBins,
    Standardized,
    Text,
    gather_tags,
)
from ..features.numeric import Numeric
from .columns import Columns, match_rows, read_columns
from .output import listed, note

# The kinds of COLUMN:KIND: with an argument after "=", empty if it is not given, and without one.
KINDS_WITH_ARGUMENT: dict[str, Callable[[str], Any]] = {
    "category": lambda least: Categorical(int(least), unseen="other") if least else Categorical(),
    "tags": lambda separator: MultiCategorical(separator or "|", normalize="l2"),
    "bins": lambda n_bins: QuantileBins(int(n_bins or 10)),
    "curve": lambda n_bins: PiecewiseLinear(int(n_bins or 10)),
}
PLAIN_KINDS: dict[str, Callable[[], Any]] = {"number": Standardized, "text": Text, "vector": Dense}
KINDS = (*KINDS_WITH_ARGUMENT, *PLAIN_KINDS)


def read_features(
    options: argparse.Namespace, side: str, interactions: Columns
) -> tuple[FeatureSpec | None, Columns | None]:
    """Read the files that describe one side, and make its encoders; None where there is nothing to read or encode."""
    features, files, tags = (getattr(options, f"{side}_{what}") for what in ("features", "files", "tags"))
    if features and not files:
        raise ValueError(f"--{side}-features describe the rows of --{side}s FILE, which is not given")
    encoders: dict[str, Any] = dict(map(make_encoder, features))
    tag_encoders = {column: MultiCategorical("|", normalize="l2") for _, column in tags}
    every = {**encoders, **tag_encoders}
    if len(features) + len(tags) > len(every):
        raise ValueError(f"--{side}-features or --{side}-tags names a column twice")
    if side == "item" and options.title_column is not None:
        encoders.setdefault(options.title_column, None)
    return FeatureSpec(every) if every else None, read_described(options, side, interactions, encoders)


def read_described(
    options: argparse.Namespace, side: str, interactions: Columns, encoders: Mapping[str, Any]
) -> Columns | None:
    """Read one side's files of features and of tags. None if there are no files."""
    files, tags = (getattr(options, f"{side}_{what}") for what in ("files", "tags"))
    of_tags = {column for _, column in tags}
    of_files = {column: encoder for column, encoder in encoders.items() if column not in of_tags}
    columns = read_side(options, files, side, of_files) if files else None
    return _add_tags(options, side, columns, interactions) if tags else columns


def read_side(options: argparse.Namespace, files: Sequence[str], side: str, encoders: Mapping[str, Any]) -> Columns:
    """Read the ids of users or items, each in one row, and the columns to encode."""
    id_column = getattr(options, f"{side}_column")
    numbers = [column for column, encoder in encoders.items() if isinstance(encoder, Numeric)]  # or dates
    text = [column for column in encoders if column not in numbers]
    columns = read_columns(options, files, [id_column], text, times=numbers)
    codes, ids = factorize(columns[id_column])
    if len(ids) < len(codes):
        row = int(np.isin(np.arange(len(codes)), np.unique(codes, return_index=True)[1]).argmin())
        raise ValueError(
            f"{listed(files)}: data row {row + 1:,} repeats {side} {ids[codes[row]]!r}: give each {side} a single row"
        )
    for column, encoder in encoders.items():
        if isinstance(encoder, (MultiCategorical, Dense)):
            name = f"column {column!r} of {listed(files)}"
            columns[column] = _lists(columns[column], name, required=isinstance(encoder, Dense))
    return columns


def encoders_of(encoder: Any) -> dict[str, Any]:
    """Return the encoder of each column that a dataset's encoder reads; None for a column of plain categories."""
    if encoder is None:
        return {}
    return dict(getattr(encoder, "encoders", None) or dict.fromkeys(encoder.columns))


def make_encoder(text: str) -> tuple[str, Any]:
    """Make an encoder of COLUMN, COLUMN:KIND or COLUMN:KIND=ARGUMENT."""
    column, _, how = text.rpartition(":") if ":" in text else (text, "", "category")
    kind, has_argument, argument = how.partition("=")
    if kind not in KINDS or not column:
        raise ValueError(f"{text!r} is no feature: expected COLUMN or COLUMN:KIND, of {', '.join(KINDS)}")
    if (has_argument and not argument) or (argument and kind in PLAIN_KINDS):
        if argument:
            raise ValueError(
                f"{text!r} is no feature: :{kind} takes nothing after it, but {has_argument + argument!r} follows"
            )
        shell = ", and a shell needs it quoted: 'COLUMN:tags=;'" if kind == "tags" else ""
        raise ValueError(f"{text!r} is no feature: something must follow after ={shell}")
    if kind in PLAIN_KINDS:
        return column, PLAIN_KINDS[kind]()
    try:
        return column, KINDS_WITH_ARGUMENT[kind](argument)
    except ValueError as error:
        raise ValueError(f"{text!r} is no feature: {error}") from error


def _add_tags(options: argparse.Namespace, side: str, columns: Columns | None, interactions: Columns) -> Columns:
    """Add a column of lists for each file of --user-tags or --item-tags, which has one row per tag."""
    id_column = getattr(options, f"{side}_column")
    tagged = [
        (file, tag, read_columns(options, [file], [id_column], [tag])) for file, tag in getattr(options, f"{side}_tags")
    ]
    if columns is None:  # no --users or --items lists the ids: take every id in any file
        columns = {id_column: _distinct_ids(part[id_column] for part in (interactions, *(read for *_, read in tagged)))}
    ids = factorize(columns[id_column])[1]
    known = dict(zip(ids, range(len(ids)), strict=True))
    for file, tag, read in tagged:
        rows, names = match_rows(read[id_column], known)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            problem = (
                f"{file}: {counted(len(unknown), 'row')} of {side}s that --{side}s does not list, "
                f"{names[unknown[0]]!r} in data row {unknown[0] + 1:,} first"
            )
            if len(unknown) == len(rows):
                raise ValueError(problem)
            note(options, f"{problem}, left out")
        columns[tag] = gather_tags(read, ids, id=id_column, tag=tag, unknown="skip")
    return columns


def _distinct_ids(columns: Iterable[Any]) -> list[Any]:
    """Return the ids of several columns; ids of different types that spell the same are one."""
    known: dict[Any, int] = {}
    for column in columns:
        names = factorize(column)[1]
        new = [name for name, row in zip(names, match_ids(names, known), strict=True) if row < 0]
        known.update(zip(new, range(len(known), len(known) + len(new)), strict=True))
    return list(known)


def _lists(column: Any, name: str, required: bool) -> Any:
    """Read text that spells lists, in JSON's or Python's notation. Columns without lists stay, if not ``required``."""
    cells = [_literal(cell) if isinstance(cell, str) else cell for cell in column]
    is_list = [cell is None or (not isinstance(cell, str) and hasattr(cell, "__len__")) for cell in cells]
    if all(is_list):
        return cells
    if required or any(fine and cell is not None for fine, cell in zip(is_list, cells, strict=True)):
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
