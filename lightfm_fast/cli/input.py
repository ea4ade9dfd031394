"""Read a model, interactions and ids; find the rows of ids that were typed."""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from .._arguments import counted
from ..data import Dataset, UnknownIdsError
from ..data.ids import closest_id, read_id
from ..lightfm import LightFM
from ..recommender import Recommender
from ..recommender.answers import check_names
from ..recommender.state import check_has_likes, describe_rare, titles_of
from ..table_files import MissingColumnError
from .columns import Columns, match_rows, read_columns
from .features import read_features
from .output import Titles, listed, note


def read_dataset(options: argparse.Namespace) -> tuple[Dataset, tuple[Any, ...] | None]:
    """Read the files that fit is given, and any title of each item."""
    roles = columns_of(options, "user", "item", "value", "weight", "time")
    interactions = read_interaction_columns(options, options.interactions, roles)
    if not len(interactions[options.user_column]):
        raise ValueError(f"{listed(options.interactions)} has no rows: there is nothing to train on")
    specs, described = {}, {}
    for side in ("user", "item"):
        specs[side], described[side] = read_features(options, side, interactions)
    try:
        dataset = Dataset.from_tables(
            interactions,
            described["user"],
            described["item"],
            **roles,
            positive_from=_positive_from(options),
            user_features=specs["user"],
            item_features=specs["item"],
            duplicates=options.duplicates,
            unknown=options.unknown,
            missing_ids=options.missing_ids,
            user_identity_features=options.user_identity,
            item_identity_features=options.item_identity,
            normalize=False,  # each encoder normalizes its own columns
        )
    except UnknownIdsError as error:
        way_out = ": --unknown skip leaves such rows out, --unknown add trains on them" * (options.unknown == "raise")
        raise ValueError(f"{listed(options.interactions)}: {error.problem}{way_out}") from error
    check_has_likes(dataset, options.positive_from)
    for side in ("user", "item"):
        plain = [name for name in getattr(options, f"{side}_features") if ":" not in name]
        if (rare := describe_rare(dataset, side, plain)) is not None:
            column, problem = rare
            encoded = f"{column}:curve for numbers and dates, {column}:tags for tags, {column}:text for text"
            note(options, f"{listed(getattr(options, f'{side}_files'))}: {problem}. Write {encoded}")
    if options.title_column is None:
        return dataset, None
    check_names(dataset, options.title_column)
    return dataset, titles_of(described["item"], options.title_column, dataset, ())


def with_columns(options: argparse.Namespace, dataset: Dataset) -> argparse.Namespace:
    """Return options with the columns and the threshold of the rows that fit read, where they give no others."""
    columns = {role: None if column is None else str(column) for role, column in dataset.columns.items()}
    named = argparse.Namespace(**vars(options))
    for role in ("user", "item", "value"):
        if getattr(options, f"{role}_column", None) is None:
            setattr(named, f"{role}_column", columns[role])
    if getattr(options, "positive_from", None) is None:
        named.positive_from = dataset.positive_from if named.value_column == columns["value"] else None
    named.value_column = named.value_column or None
    return named


def read_seen(options: argparse.Namespace, files: Sequence[str], users: list[Hashable], items: list[Hashable]) -> Any:
    """Read which items users have, whatever their values."""
    named = argparse.Namespace(**{**vars(options), "value_column": None, "positive_from": None})
    return read_interactions(named, files, users, items).interactions


def read_interactions(
    options: argparse.Namespace,
    files: Sequence[str],
    users: list[Hashable],
    items: list[Hashable],
    unknown: str = "skip",
    to_whom: str = "the model",
) -> Dataset:
    """Read the interactions of known users with known items, and say which rows are left out."""
    roles = columns_of(options, "user", "item", "value")
    try:
        interactions = read_interaction_columns(options, files, roles)
    except MissingColumnError as error:
        if error.column != options.value_column:
            raise
        raise ValueError(
            f"{error}; --value-column names another, and --value-column '' makes every row a positive"
        ) from error
    known: dict[str, list[Hashable]] = {options.user_column: users, options.item_column: items}
    try:
        dataset = Dataset.from_tables(
            interactions,
            {options.user_column: users},
            {options.item_column: items},
            **roles,
            unknown=unknown,
            positive_from=_positive_from(options),
        )
    except UnknownIdsError as error:
        types = [
            f"; column {column!r} of {listed(files)} holds text, and the model's ids are whole numbers"
            for column, ids in known.items()
            if set(map(type, ids)) == {int} and isinstance(interactions[column][0], str)
        ]
        way_out = ": --unknown skip leaves such rows out" * (unknown == "raise")
        raise UnknownIdsError(f"{listed(files)}: {error.problem}{''.join(types)}{way_out}") from error
    if dataset.n_skipped:
        note(options, f"{listed(files)}: {describe_skipped(dataset, files, to_whom)}")
    return dataset


def describe_skipped(dataset: Dataset, files: Sequence[str], to_whom: str = "--users or --items") -> str:
    """Say how many rows were left out, and which was the first."""
    row, side, name = dataset.first_skipped or (0, "", None)
    place = f" in data row {row + 1:,}" if len(files) == 1 else ""
    return f"{counted(dataset.n_skipped, 'row')} with ids unknown to {to_whom} left out, {side} {name!r}{place} first"


def read_rows(options: argparse.Namespace, files: Sequence[str], side: str, known: Mapping[Hashable, int]) -> list[int]:
    """Return the rows of the ids in files; ValueError if an id is unknown."""
    id_column = getattr(options, f"{side}_column")
    rows, names = match_rows(read_columns(options, files, [id_column])[id_column], known)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        place = f" in data row {unknown[0] + 1:,}" if len(files) == 1 else ""
        raise ValueError(
            f"{listed(files)} has {len(unknown):,} {side}s that the model does not know, "
            f"{names[unknown[0]]!r}{place} first"
        )
    return rows.tolist()


def find_row(text: str, side: str, known: Mapping[Hashable, int], titles: Mapping[Hashable, str] | None = None) -> int:
    """Find the row of an id that was typed: as text, or as the number or UUID that it spells."""
    if (name := read_id(text, known)) in known:
        return known[name]
    titled = next((name for name, title in (titles or {}).items() if title == text), None)
    if titled is not None:
        raise ValueError(f"the model knows no {side} {text!r}: it is the title of {titled!r}, so ask by this id")
    near = closest_id(text, known)
    some = f"did you mean {near}? It" if near else "it"
    some += f" knows {len(known):,}, such as {', '.join(map(repr, islice(known, 3)))}"
    raise ValueError(f"the model knows no {side} {text!r}; {some}")


def load_model(path: str) -> tuple[LightFM, Dataset, Titles | None]:
    """Load a model that was saved with its Dataset, and any titles."""
    recommender = Recommender.load(path, mmap=True)
    dataset = recommender.dataset
    titles = None
    if recommender.titles is not None:
        titled = zip(ids_of(dataset)[1], recommender.titles, strict=True)
        titles = Titles(str(recommender.title), {name: title for name, title in titled if title is not None})
    return recommender.model, dataset, titles


def ids_of(dataset: Dataset) -> tuple[list[Hashable], list[Hashable]]:
    """Return the ids of users and of items, by row."""
    users, _, items, _ = dataset.mapping()
    return list(users), list(items)


def features_of(dataset: Dataset) -> dict[str, Any]:
    """Return the features of a Dataset, by the names of LightFM's arguments."""
    return {"user_features": dataset.user_features, "item_features": dataset.item_features}


def columns_of(options: argparse.Namespace, *roles: str) -> dict[str, Any]:
    """Return the column of each role, None where no option names one."""
    return {role: getattr(options, f"{role}_column") for role in roles}


def read_interaction_columns(options: argparse.Namespace, files: Sequence[str], roles: Mapping[str, Any]) -> Columns:
    """Read the columns of interactions that roles name: "user" and "item", and "value", "weight" and "time" or None."""
    ids, numbers, times = (
        [column for name in names if (column := roles.get(name)) is not None]
        for names in (("user", "item"), ("value", "weight"), ("time",))
    )
    return read_columns(options, files, ids, numbers=numbers, times=times, filled=True)


def _positive_from(options: argparse.Namespace) -> float | None:
    least: float | None = options.positive_from
    if least is not None and options.value_column is None:
        raise ValueError(
            "--positive-from is the least value that is a positive: name the column of values by --value-column"
        )
    return least
