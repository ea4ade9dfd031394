"""Read a model, interactions and ids; match ids of files and of options to rows."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np

from ..data import Dataset, UnknownIdsError
from ..features import FeatureSpec, MultiCategorical
from ..lightfm import LightFM
from .columns import Columns, as_series, match_rows, read_columns, read_interaction_columns
from .features import add_tags, make_encoder, read_side
from .output import counted, note


def read_dataset(options: argparse.Namespace) -> tuple[Dataset, dict[str, FeatureSpec | None]]:
    """Read the files that fit is given, and make its Dataset and each side's encoders."""
    columns = {name: getattr(options, f"{name}_column") for name in ("user", "item", "value", "weight", "time")}
    interactions = read_interaction_columns(options, options.interactions, columns)
    specs: dict[str, FeatureSpec | None] = {}
    tables: dict[str, Any] = {}
    for side in ("user", "item"):
        given, files, tags = (getattr(options, f"{side}_{what}") for what in ("features", "files", "tags"))
        if given and not files:
            raise ValueError(f"--{side}-features describe the rows of --{side}s FILE, which is not given")
        encoders = dict(map(make_encoder, given))
        tag_encoders = {column: MultiCategorical("|", normalize="l2") for _, column in tags}
        if len(given) + len(tags) > len({**encoders, **tag_encoders}):
            raise ValueError(f"--{side}-features or --{side}-tags names a column twice")
        table: Columns | None = read_side(options, files, side, encoders) if files else None
        if tags:
            table = add_tags(options, side, table, interactions)
        encoders.update(tag_encoders)
        specs[side] = FeatureSpec(encoders) if encoders else None
        tables[f"{side}s"] = table
    try:
        return Dataset.from_tables(
            interactions,
            **tables,
            **columns,
            positive_from=_positive_from(options),
            user_features=specs["user"],
            item_features=specs["item"],
            duplicates=options.duplicates,
            unknown=options.unknown,
            user_identity_features=options.user_identity,
            item_identity_features=options.item_identity,
            normalize=False,  # the encoders do it, each for itself
        ), specs
    except UnknownIdsError as error:
        way_out = ": --unknown skip leaves such rows out, --unknown add trains on them" * (options.unknown == "raise")
        raise ValueError(f"{', '.join(options.interactions)}: {error.problem}{way_out}") from error


def read_interactions(
    options: argparse.Namespace,
    files: Sequence[str],
    users: Sequence[Hashable],
    items: Sequence[Hashable],
    unknown: str,
    to_whom: str = "the model",
) -> Dataset:
    """Read the interactions of known users with known items, and say which rows are left out."""
    columns = {name: getattr(options, f"{name}_column") for name in ("user", "item", "value")}
    table = read_interaction_columns(options, files, columns)
    known = {"user": users, "item": items}
    known_users, known_items = ({columns[side]: list(known[side])} for side in known)
    try:
        dataset = Dataset.from_tables(
            table, known_users, known_items, unknown=unknown, positive_from=_positive_from(options), **columns
        )
    except UnknownIdsError as error:
        types = [
            f"; column {columns[side]!r} of {', '.join(files)} holds text, and the model's ids are whole numbers"
            for side in known
            if set(map(type, known[side])) == {int} and isinstance(as_series(table[columns[side]])[0], str)
        ]
        way_out = ": --unknown skip leaves such rows out" * (unknown == "raise")
        raise UnknownIdsError(f"{', '.join(files)}: {error.problem}{''.join(types)}{way_out}") from error
    if dataset.n_skipped:
        note(options, f"{', '.join(files)}: {describe_skipped(dataset, files, to_whom)}")
    return dataset


def _positive_from(options: argparse.Namespace) -> float | None:
    if options.positive_from is not None and options.value_column is None:
        raise ValueError("--positive-from is the least value of --value-column that is a positive: give that too")
    least: float | None = options.positive_from
    return least


def describe_skipped(dataset: Dataset, files: Sequence[str], by_whom: str = "--users or --items") -> str:
    """Say how many rows were left out, and which was the first."""
    row, side, name = dataset.first_skipped or (0, "", None)
    place = f" in data row {row + 1:,}" if len(files) == 1 else ""
    return f"{counted(dataset.n_skipped, 'row')} with ids unknown to {by_whom} left out, {side} {name!r}{place} first"


def read_rows(options: argparse.Namespace, files: Sequence[str], side: str, known: Mapping[Hashable, int]) -> list[int]:
    """Return the row numbers of the ids in files."""
    own = getattr(options, f"{side}_column")
    rows, names = match_rows(read_columns(options, files, [own], [own], filled=[own])[own], known)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        place = f" in data row {unknown[0] + 1:,}" if len(files) == 1 else ""
        raise ValueError(
            f"{', '.join(files)} has {len(unknown):,} {side}s that the model does not know, "
            f"{names[unknown[0]]!r}{place} first"
        )
    return [int(row) for row in rows]


def load_model(path: str) -> tuple[LightFM, Dataset]:
    """Load a model that was saved with its Dataset."""
    model = LightFM.load(path, mmap=True)
    if model.dataset_ is None:
        raise ValueError(f"{path} was saved without its Dataset, so its ids are not known: save(path, dataset=dataset)")
    return model, model.dataset_


def ids_of(dataset: Dataset) -> tuple[list[Hashable], list[Hashable]]:
    """Return the ids of users and of items, by row."""
    users, _, items, _ = dataset.mapping()
    return list(users), list(items)


def features_of(dataset: Dataset) -> dict[str, Any]:
    """Return the features of a Dataset, by the names of LightFM's arguments."""
    return {"user_features": dataset.user_features, "item_features": dataset.item_features}


def find_row(numbers: Mapping[Hashable, int], text: str, side: str) -> int:
    """Find the row of an id that was typed: as text, or as the number or UUID that it spells."""
    for spell in (str, int, float, UUID):
        with contextlib.suppress(ValueError):
            if (name := spell(text)) in numbers:
                return numbers[name]
    some = ", ".join(map(repr, list(numbers)[:3]))
    raise ValueError(f"the model knows no {side} {text!r}; it knows {len(numbers):,}, such as {some}")
