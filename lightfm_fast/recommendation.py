"""The best items for users, and the items or users most similar to given ones, by the compiled core."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core
from lightfm_fast._arguments import (
    check_candidates,
    check_count,
    check_is_unchanged,
    check_row_numbers,
    check_within,
    shorten,
)
from lightfm_fast._cells import is_hashable
from lightfm_fast._matrices import check_representations
from lightfm_fast._parameters import to_directions
from lightfm_fast._sides import Represented, Sides, count_rows
from lightfm_fast.data import Dataset
from lightfm_fast.data.columns import as_ids

__all__ = ["Recommendations"]

Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]  # embeddings and biases
Described = sp.csr_matrix | Arrays


class Recommendations(NamedTuple):
    """The best items (or users) for each given id, a row for each, best first.

    Attributes
    ----------
    ids : int64 array of shape (n_given, n)
        Row numbers; a row with fewer results ends with -1. With a dataset: an object array of the dataset's ids, and
        None instead of -1.
    scores : float32 array of shape (n_given, n)
        Scores; -inf where ``ids`` has -1 or None.
    """

    ids: NDArray[Any]
    scores: NDArray[np.float32]


class Vocabulary:
    """Maps ids to rows and back by a dataset; without a dataset the ids are the row numbers."""

    def __init__(self, dataset: Dataset | None, side: str) -> None:
        if not isinstance(dataset, Dataset | None):
            raise TypeError(f"dataset is {shorten(dataset)}, expected a Dataset")
        self._dataset, self._side = dataset, side

    def rows(self, ids: Any, name: str) -> NDArray[np.int64]:
        """Return the rows of one or several ids, in one dimension.

        Raises
        ------
        ValueError
            If the dataset does not know an id, or without a dataset an id is no row number.
        """
        if self._dataset is None:
            return np.atleast_1d(check_row_numbers(ids, name))
        known = self._mapping(self._dataset)
        given = as_ids(ids, name)
        _check_known_names(given, known, name)
        return np.fromiter((known[name] for name in given), np.int64, len(given))

    def all_rows(self) -> NDArray[np.int64] | None:
        """Return the rows of all ids; None without a dataset."""
        return None if self._dataset is None else np.arange(len(self._mapping(self._dataset)))

    def ids(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the id of each row, None for row -1."""
        if self._dataset is None:
            return rows
        mapping, made = self._mapping(self._dataset), _IDS.setdefault(self._dataset, {})
        known, ids = made.get(self._side, (None, np.empty(0, dtype=object)))
        if known is not mapping or len(ids) != len(mapping) + 1:  # fit_partial extends a mapping, fit makes a new one
            ids = np.full(len(mapping) + 1, None, dtype=object)  # row -1 is the last
            ids[:-1] = np.fromiter(mapping, dtype=object, count=len(mapping))
            made[self._side] = mapping, ids
        return ids[rows]

    def candidates(self, items: Any, exclude: Any, n_items: int) -> NDArray[np.int64] | None:
        """Return the rows of the items to choose from; None means all. Raises as :meth:`rows`."""
        chosen, left_out = (
            None if ids is None else self.rows(ids, name) for ids, name in ((items, "items"), (exclude, "exclude"))
        )
        return check_candidates(chosen, left_out, n_items)

    def _mapping(self, dataset: Dataset) -> Mapping[Hashable, int]:
        users, _, items, _ = dataset.mapping()
        return users if self._side == "user" else items


# All ids of a dataset's sides in the order of their rows, kept since a request needs only few of them.
_IDS: WeakKeyDictionary[Dataset, dict[str, tuple[Any, NDArray[Any]]]] = WeakKeyDictionary()


def check_n(n: int, n_rows: int) -> int:
    """Return ``n``, the number of results asked for. Raise ValueError if it is out of range.

    It must be a whole number from 1 to the larger of 65,536 and ``n_rows``. There is a limit because results take
    memory even where they stay empty.
    """
    return check_count(n, "n", max(n_rows, 1 << 16))


def asked_users(
    sides: Sides,
    user_ids: Any,
    user_features: Any,
    user_representations: Any,
    dataset: Dataset | None,
    num_threads: int,
) -> tuple[NDArray[np.int64], Represented]:
    """Return the users' rows in ``interactions``, and the users' representations."""
    rows, described = check_users(sides, user_ids, user_features, user_representations, dataset)
    return rows, represent_users(sides, described, rows, num_threads)


def check_users(
    sides: Sides,
    user_ids: Any,
    user_features: Any,
    user_representations: Any,
    dataset: Dataset | None,
    name: str = "user_ids",
    many: bool = False,
) -> tuple[NDArray[np.int64], Described]:
    """Return the users' rows, and the features or representations that :func:`represent_users` takes.

    With ``many``, ``user_ids`` may be None for all users, and every row of features is checked, so that blocks of users
    need no check. Without it only the rows of ``user_ids`` are checked.
    """
    if user_features is not None and user_representations is not None:
        raise ValueError("user_features and user_representations say the same thing in two ways: give one of them")
    vocabulary = Vocabulary(dataset if user_representations is None else None, "user")
    rows = vocabulary.all_rows() if many and user_ids is None else vocabulary.rows(user_ids, name)
    if user_representations is not None:
        representations = check_representations(user_representations, "user_representations", sides.length)
        n_users = len(representations[1])
        if rows is not None:
            check_within(rows, "user", n_users)
        return np.arange(n_users) if rows is None else rows, representations
    n_users = 0 if rows is None else count_rows(rows)
    source = f"{name} goes up to {n_users - 1:,}"
    features = sides.users.feature_matrix(n_users, user_features, source=source, rows=None if many else rows)
    return np.arange(features.shape[0]) if rows is None else rows, features


def represent_users(sides: Sides, described: Described, rows: NDArray[np.int64], num_threads: int) -> Represented:
    """Represent rows of checked features or representations. If scores are cosines, embeddings get length 1."""
    represented: Represented
    if isinstance(described, tuple):
        represented = *described, rows
    else:
        represented = sides.represent("user", described, rows, num_threads)
    if sides.are_cosines:
        embeddings, biases, places = represented
        directions = to_directions(embeddings[places, : sides.no_components])
        represented = directions, biases[places], np.arange(len(rows))
    return represented


class Catalogue:
    """The items to choose from: checked and represented once, for one block of users or many.

    Attributes
    ----------
    n_items : int
        All items, also those that are not to be chosen.
    vocabulary : Vocabulary
    candidates : sorted int64 array, or None for all items
    represented : tuple of embeddings, biases and rows

    A ``shortlist`` of row numbers, ascending, takes the place of ``items`` and ``exclude``.
    """

    def __init__(
        self,
        sides: Sides,
        n: int,
        items: Any,
        exclude: Any,
        item_features: Any,
        dataset: Dataset | None,
        num_threads: int,
        shortlist: NDArray[np.int64] | None = None,
    ) -> None:
        matrix = sides.items.feature_matrix(0, item_features, rows=shortlist)
        self.n_items = matrix.shape[0]
        check_n(n, self.n_items)
        self.vocabulary = Vocabulary(dataset, "item")
        self.candidates = shortlist
        if shortlist is None:
            self.candidates = self.vocabulary.candidates(items, exclude, self.n_items)
        self.represented = sides.represent("item", matrix, self.candidates, num_threads)
        self._length, self._are_cosines = sides.length, sides.are_cosines

    def best(self, users: Represented, n: int, seen: sp.csr_matrix | None, num_threads: int) -> Recommendations:
        """Choose the ``n`` best items for each user, by row; see :func:`recommend`."""
        check_is_unchanged(min(users[0].shape[1], self.represented[0].shape[1]) >= self._length)
        arguments = (self._length, self._are_cosines, n, seen, self.candidates, num_threads)
        return recommend(users, self.represented, *arguments)


def recommend(
    users: Represented,
    items: Represented,
    no_components: int,
    by_length: bool,
    n: int,
    seen: sp.csr_matrix | None,
    candidates: NDArray[np.int64] | None,
    num_threads: int,
) -> Recommendations:
    """Choose the ``n`` best items for each user.

    Parameters
    ----------
    users, items : tuple of embeddings, biases and rows
        The rows select the users, and the candidates among the items; for ``items`` None selects all.
    by_length : bool
        Divide the items' embeddings by their lengths.
    seen : csr_matrix of shape (n_users, n_items), optional
        Sorted; the items to leave out for each user.
    candidates : sorted int64 array, optional
        The number of each selected item. By default all items, in their order.
    """
    embeddings, biases, rows = users
    assert rows is not None
    best = Recommendations(np.empty((len(rows), n), dtype=np.int64), np.empty((len(rows), n), dtype=np.float32))
    if not len(rows) or not len(items[1] if items[2] is None else items[2]):
        best.ids.fill(-1)
        best.scores.fill(-np.inf)
        return best
    if seen is not None and candidates is not None:
        seen = seen[:, candidates]
        seen.sort_indices()
    _core.ranking.select(
        embeddings,
        rows,
        *items,
        no_components,
        by_length,
        None if seen is None else seen.indptr.astype(np.int64, copy=False),
        None if seen is None else seen.indices.astype(np.int32, copy=False),
        *best,
        num_threads,
    )
    if candidates is not None:
        best.ids[...] = np.where(best.ids < 0, -1, candidates[best.ids])
    best.scores[...] += biases[rows, None]
    return best


def most_similar(
    embeddings: NDArray[np.float32],
    ids: NDArray[np.int64],
    n: int,
    candidates: NDArray[np.int64] | None,
    num_threads: int,
) -> Recommendations:
    """For each of the rows ``ids``, choose the ``n`` other rows of highest cosine. Zero vectors have cosine 0.

    ``candidates`` is as in :func:`recommend`.
    """
    return most_aligned(to_directions(embeddings), ids, n, candidates, num_threads)


def most_aligned(
    directions: NDArray[np.float32],
    ids: NDArray[np.int64],
    n: int,
    candidates: NDArray[np.int64] | None,
    num_threads: int,
) -> Recommendations:
    """Choose as :func:`most_similar` does, of embeddings that were divided by their lengths before."""
    n_rows, no_components = directions.shape
    no_biases = np.zeros(n_rows, dtype=np.float32)
    itself = sp.csr_matrix((np.ones(len(ids)), ids, np.arange(len(ids) + 1)), shape=(len(ids), n_rows))
    given, others = (directions, no_biases, ids), (directions, no_biases, candidates)
    return recommend(given, others, no_components, False, n, itself, candidates, num_threads)


def _check_known_names(ids: Collection[Any], known: Collection[Any], name: str) -> None:
    """Raise ValueError if a dataset does not know one of ``ids``."""
    unknown = [value for value in ids if not is_hashable(value) or value not in known]
    if unknown:
        first = shorten(unknown[0])
        raise ValueError(f"{name} holds {len(unknown):,} ids that the dataset does not know, first {first}")
