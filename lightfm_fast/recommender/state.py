"""What a recommender knows at one moment, and what its answers are computed from."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._arguments import check_candidates, shorten
from .._cells import is_missing
from .._lazy import cached_property
from .._losses import facts_of
from .._matrices import as_seen, check_known_positives, sealed
from .._parameters import to_directions
from ..data import Dataset, UnknownIdsError
from ..data.columns import as_ids, read_objects
from ..data.frames import is_frame, read_columns
from ..data.ids import MOST_COMPARED, closest_id
from ..data.numbering import match_ids
from ..fold_in import FrozenItems, Representations
from ..index import ItemIndex
from ..lightfm import LightFM

# A table of this many rows is warned of if a column of categories has more values than this share of its rows.
_FEWEST_ROWS, _MOST_VALUES = 20, 0.8


class State:
    """What a recommender knows at one moment: replaced as a whole, so that a question sees one state only.

    Attributes
    ----------
    model, dataset, titles, title
        As in the constructor of :class:`Recommender`.
    index : ItemIndex or None
        What recommends approximately.
    """

    index: ItemIndex | None = None

    def __init__(self, model: LightFM, dataset: Dataset, titles: tuple[Any, ...] | None, title: Hashable) -> None:
        self.model, self.dataset, self.titles, self.title = model, dataset, titles, title
        self._history, self._n_epochs = model.history_, len(model.history_)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("model", "dataset", "titles", "title", "_history", "_n_epochs")
        return {name: vars(self)[name] for name in kept}

    @property
    def is_stale(self) -> bool:
        """Whether the model has been trained since, by its own methods."""
        return self.model.history_ is not self._history or len(self._history) != self._n_epochs

    def prepare(self) -> State:
        """Compute what most questions need, so that the first does not wait, and return the state itself."""
        _ = self.users, self.items, self.seen
        return self

    @cached_property
    def users(self) -> Representations:
        """What represents each user."""
        model, features = self.model, self.dataset.user_features
        if self._is_plain:
            return Representations(model.user_embeddings, model.user_biases)
        return represented(model.get_user_representations(features))

    @cached_property
    def items(self) -> Representations:
        """What represents each item."""
        model, features = self.model, self.dataset.item_features
        if self._is_plain:
            return Representations(model.item_embeddings, model.item_biases)
        return represented(model.get_item_representations(features))

    @cached_property
    def user_directions(self) -> NDArray[np.float32]:
        """The users' embeddings, without coordinates of content, divided by their lengths."""
        return to_directions(self.users.embeddings[:, : self.model.no_components])

    @cached_property
    def item_directions(self) -> NDArray[np.float32]:
        """The items' embeddings likewise."""
        return to_directions(self.items.embeddings[:, : self.model.no_components])

    @cached_property
    def frozen_items(self) -> FrozenItems:
        """The items that newcomers are folded in against."""
        return self.model.freeze_items(self.dataset.item_features)

    @property
    def _is_plain(self) -> bool:
        """Whether the parameters themselves are the representations, so that a mapped file need not be copied."""
        are_sums = self.dataset.user_features is not None or self.dataset.item_features is not None
        is_bare = not are_sums and not self.model.linear_components_
        return is_bare and not facts_of(self.model.loss).scores_are_cosines

    @cached_property
    def seen(self) -> sp.csr_matrix | None:
        """A one for each item that a user has an interaction with, whatever its value."""
        given = self.dataset.interactions
        return None if given is None else sealed(check_known_positives(as_seen(given), "interactions"))

    def known_seen(self) -> sp.csr_matrix:
        """Return :attr:`seen`; ValueError if it is not known."""
        if self.seen is None:
            raise ValueError(
                "this recommender does not know what users have seen: it was made or saved without interactions. Pass "
                "filter_seen=False, or add them by update(interactions, epochs=0)"
            )
        return self.seen

    @cached_property
    def feature_names(self) -> dict[str, list[Hashable]]:
        """The name of each column of features; of an id where there are identity features only."""
        users, of_users, items, of_items = self.dataset.mapping()
        return {
            "user": list(users if self.dataset.user_features is None else of_users),
            "item": list(items if self.dataset.item_features is None else of_items),
        }

    @cached_property
    def _ids(self) -> dict[str, NDArray[np.object_]]:
        users, _, items, _ = self.dataset.mapping()
        return {side: _objects(list(numbers)) for side, numbers in (("user", users), ("item", items))}

    def ids(self, side: str, rows: NDArray[np.int64]) -> list[Hashable]:
        """Return the ids of rows."""
        return self._ids[side][rows].tolist()

    def name(self, item: int, prefix: str = "") -> str:
        """Return the title of an item given by its row, or else its id after a prefix."""
        title = None if self.titles is None else self.titles[item]
        return f"{prefix}{self._ids['item'][item]}" if title is None else str(title)

    def rows(self, side: str, ids: Sequence[Hashable]) -> NDArray[np.int64]:
        """Return the rows of ids; UnknownIdsError if one is unknown."""
        users, _, items, _ = self.dataset.mapping()
        known = users if side == "user" else items
        if {bool, np.bool_}.intersection(map(type, ids)) and bool not in set(map(type, known)):  # True equals 1
            raise TypeError(f"{side}s are given by truth values, expected ids: of a mask take the ids where it is True")
        try:
            rows = match_ids(ids, known)
        except TypeError as error:
            raise TypeError(f"{shorten(ids)} cannot be ids of {side}s: {error}") from error
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            problem, advice = _unknown(side, name := ids[unknown[0]], len(unknown), known)
            titles = self.titles if side == "item" and len(known) <= MOST_COMPARED else None
            if titles is not None and isinstance(name, str) and name in titles:
                advice = f"it is the title of {self._ids['item'][titles.index(name)]!r}: ask by this id"
            raise UnknownIdsError(problem, advice)
        return rows.astype(np.int64)

    def item_ids(self, items: Any, name: str) -> list[Any] | None:
        """Return the ids of the argument ``name``: one, a list or column of several, or a table with this column."""
        column = self.dataset.columns["item"]
        if is_frame(items):
            items = read_columns(items, name, [column])[column]
        return None if items is None else as_ids(items, name)

    def candidates(self, items: Any, exclude: Any, name: str = "items") -> NDArray[np.int64] | None:
        """Return the rows of the items to choose from, the argument ``name``; None for all."""
        chosen, left_out = (
            None if ids is None else self.rows("item", ids)
            for ids in (self.item_ids(items, name), self.item_ids(exclude, "exclude"))
        )
        return check_candidates(chosen, left_out, len(self.items.biases))


def represented(representations: tuple[NDArray[np.float32], NDArray[np.float32]]) -> Representations:
    """Return biases and embeddings, as LightFM's methods return them, as Representations."""
    biases, embeddings = representations
    return Representations(embeddings, biases)


def describe_rare(dataset: Dataset, side: str, columns: Iterable[Hashable]) -> tuple[Hashable, str] | None:
    """Return the first of the columns of categories that few rows share, and what is wrong; None if there is none."""
    encoder, n_rows = dataset.encoders[side], dataset.interactions_shape()[side == "item"]
    for column in columns:
        n_values = len(encoder.encoders_[column].categories_)
        if n_rows >= _FEWEST_ROWS and n_values > _MOST_VALUES * n_rows:
            tells = f"so as categories they hardly tell which {side}s are alike"
            return column, f"column {column!r} has {n_values:,} values for {n_rows:,} {side}s, {tells}"
    return None


def training_arguments(dataset: Dataset) -> dict[str, Any]:
    """Return the arguments of LightFM.fit that a dataset holds."""
    interactions: Any = dataset.interactions
    if interactions is None:
        nothing = np.zeros(0, np.int32)
        interactions = sp.coo_matrix((nothing, (nothing, nothing)), shape=dataset.interactions_shape())
    return {
        "interactions": interactions,
        "user_features": dataset.user_features,
        "item_features": dataset.item_features,
        "sample_weight": None if dataset.columns["weight"] is None else dataset.weights,
    }


def check_has_likes(dataset: Dataset, positive_from: float | None) -> None:
    """Raise ValueError if no interaction is a positive whose weight is above 0: a model would learn nothing."""
    interactions: Any = dataset.interactions
    if interactions.nnz and interactions.data.max() <= 0:
        least = "is above 0" if positive_from is None else f"reaches {positive_from:g}"
        raise ValueError(f"no value of column {dataset.columns['value']!r} {least}: there are no likes to learn from")
    weights: Any = dataset.weights
    if interactions.nnz and weights is not None and not weights.data[interactions.data > 0].any():
        raise ValueError(
            f"all likes have weight 0 in column {dataset.columns['weight']!r}: there is nothing to learn from"
        )


def titles_of(items: Any, title: Hashable, dataset: Dataset, before: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return each item's title as text: the table's, else the former title, else None."""
    known = dataset.mapping()[2]
    titles: list[Any] = [*before, *[None] * (len(known) - len(before))]
    if items is not None:
        id_column = dataset.columns["item"]
        read = read_columns(items, "items", [id_column, title])
        rows = match_ids(read_objects(read[id_column]), known)
        for row, text in zip(rows.tolist(), as_titles(read_objects(read[title])), strict=True):
            if row >= 0:  # a row without an id may have been left out
                titles[row] = text
    return tuple(titles)


def as_titles(cells: Iterable[Any]) -> tuple[str | None, ...]:
    """Return titles as text, None where one is missing."""
    return tuple(None if is_missing(cell) else str(cell) for cell in cells)


def _objects(values: list[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values  # np.array would make a matrix of tuples
    return array


def _unknown(side: str, name: Hashable, n_unknown: int, known: Mapping[Hashable, int]) -> tuple[str, str]:
    """Return what is wrong with an unknown id, and what to do."""
    problem = f"{shorten(name)} is no known {side}"
    if n_unknown > 1:
        problem += ", nor is 1 other" if n_unknown == 2 else f", nor are {n_unknown - 1:,} others"
    advice = "add new items by update(items=...)"
    if side == "user":
        advice = "describe newcomers by a dict of their features or by history=[...], or add them by update()"
    if isinstance(name, tuple):
        advice = f"a tuple is one id, and a list is several. Else {advice}"
    near = closest_id(name, known)
    return problem, advice if near is None else f"did you mean {near}? Else {advice}"
