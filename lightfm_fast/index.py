"""An approximate index of the items, to find the best of millions without scoring all."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast._arguments import (
    check_candidates,
    check_count,
    check_num_threads,
    import_optional,
)
from lightfm_fast._matrices import check_seen
from lightfm_fast._sides import Sides
from lightfm_fast.data import Dataset
from lightfm_fast.fold_in import Representations
from lightfm_fast.recommendation import Recommendations, Vocabulary, asked_users, recommend

__all__ = ["ItemIndex"]

_USERS_AT_ONCE = 256  # the number of users searched for at once, whose candidates are in memory together


class ItemIndex:
    """A model's items in a graph of neighbours (usearch's HNSW), made by :meth:`lightfm_fast.LightFM.index`.

    The index holds the items as they were when it was built. If the model has been trained since, searches raise
    ValueError. Assignments to the model's arrays are not noticed.

    Notes
    -----
    An item is the vector (embedding, bias) and a user (embedding, 1): their product orders a user's items as the score
    does. One more coordinate, 0 for users, gives all items the same length, so that the items of largest product are
    also the nearest (Bachrach 2014). Items with the longest original vectors, which are in most answers, enter the
    graph first. Without either step the search would miss many of the best items.
    """

    def __init__(
        self,
        sides: Callable[[], Sides],
        item_features: Any,
        connectivity: int,
        expansion_add: int,
        expansion_search: int,
        num_threads: int,
    ) -> None:
        check_count(connectivity, "connectivity")
        check_count(expansion_add, "expansion_add")
        check_count(expansion_search, "expansion_search")
        usearch = import_optional("usearch.index", "ann", "An approximate index")
        self._sides = sides  # called before each search, to notice training
        built_of = sides()
        self._state = built_of.state()
        vectors = np.column_stack(built_of.representations("item", item_features, num_threads))
        squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
        # The vectors are in the order in which they enter. `_ids` has each vector's item, `_places` each item's vector.
        self._ids = np.argsort(-squares, kind="stable")
        self._places = np.empty_like(self._ids)
        self._places[self._ids] = np.arange(len(squares))
        self._vectors = np.empty((len(vectors), vectors.shape[1] + 1), dtype=np.float32)
        self._vectors[:, :-1] = vectors[self._ids]
        self._vectors[:, -1] = np.sqrt(squares.max() - squares[self._ids])
        self._index = usearch.Index(
            ndim=self._vectors.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=connectivity,
            expansion_add=expansion_add,
            expansion_search=expansion_search,
        )
        # The graph refers to the vectors instead of copying them.
        self._index.add(np.arange(len(self._vectors)), self._vectors, threads=num_threads, copy=False)

    def __len__(self) -> int:
        return len(self._vectors)

    def __repr__(self) -> str:
        items = f"{len(self):,} item{'' if len(self) == 1 else 's'}"
        age = "" if self._sides().state() == self._state else "; the model has been trained since: build it again"
        return f"<ItemIndex of {items} in {self._vectors.shape[1] - 2} dimensions{age}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"

    def recommend(
        self,
        user_ids: Any,
        n: int = 10,
        interactions: Any = None,
        filter_seen: bool = True,
        exclude: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
        user_representations: Representations | None = None,
        dataset: Dataset | None = None,
    ) -> Recommendations:
        """Find most of the best items for each user; :meth:`recall` measures the share found.

        Arguments and result are as in :meth:`lightfm_fast.LightFM.recommend`; scores are exact. To leave out seen and
        excluded items the search finds that many more items, so a long ``exclude`` costs time.

        Raises
        ------
        ValueError
            As :meth:`lightfm_fast.LightFM.recommend`; also if the model has been trained since the index was built.
        """
        question = self._question(
            user_ids, n, interactions, filter_seen, exclude, user_features, num_threads, user_representations, dataset
        )
        ids, scores = self._find(question, n, num_threads)
        return Recommendations(Vocabulary(dataset, "item").ids(ids), scores)

    def recall(
        self,
        user_ids: Any,
        n: int = 10,
        interactions: Any = None,
        filter_seen: bool = True,
        exclude: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
        user_representations: Representations | None = None,
        dataset: Dataset | None = None,
    ) -> float:
        """Measure the share of the users' exact ``n`` best items that :meth:`recommend` finds; 1 is perfect.

        It takes and raises the same as :meth:`recommend`.
        """
        question = self._question(
            user_ids, n, interactions, filter_seen, exclude, user_features, num_threads, user_representations, dataset
        )
        users = (question.vectors, question.biases, np.arange(len(question.vectors)))
        places = self._places if question.candidates is None else self._places[question.candidates]
        items = (self._vectors, np.zeros(len(self), dtype=np.float32), places)
        width = self._vectors.shape[1]
        exact, _ = recommend(users, items, width, False, n, question.seen, question.candidates, num_threads)
        found, _ = self._find(question, n, num_threads)
        pairs = zip(exact.tolist(), found.tolist(), strict=True)
        hits = sum(len(set(best).intersection(row) - {-1}) for best, row in pairs)
        return hits / max(int((exact >= 0).sum()), 1)

    def _question(
        self,
        user_ids: Any,
        n: int,
        interactions: Any,
        filter_seen: bool,
        exclude: Any,
        user_features: Any,
        num_threads: int,
        user_representations: Any,
        dataset: Dataset | None,
    ) -> _Question:
        check_count(n, "n")
        num_threads = check_num_threads(num_threads)
        sides = self._sides()
        sides.check_initialized()
        _check_index_is_current(sides.state() == self._state)
        rows, (embeddings, biases, places) = asked_users(
            sides, user_ids, user_features, user_representations, dataset, num_threads
        )
        vectors = np.zeros((len(rows), self._vectors.shape[1]), dtype=np.float32)
        vectors[:, :-2] = embeddings[places, : self._vectors.shape[1] - 2]
        vectors[:, -2] = 1
        seen = check_seen(interactions, rows, len(self)) if filter_seen and interactions is not None else None
        exclude = None if exclude is None else Vocabulary(dataset, "item").rows(exclude, "exclude")
        return _Question(vectors, biases[places], seen, check_candidates(None, exclude, len(self)))

    def _find(self, question: _Question, n: int, num_threads: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        n_users, n_items = len(question.vectors), len(self)
        ids = np.full((n_users, n), -1, dtype=np.int64)
        scores = np.full((n_users, n), -np.inf, dtype=np.float32)
        is_allowed = np.ones(n_items, dtype=bool)
        if question.candidates is not None:
            is_allowed[:] = False
            is_allowed[question.candidates] = True
        n_wanted = n + n_items - np.count_nonzero(is_allowed)
        for first in range(0, n_users, _USERS_AT_ONCE):
            part = slice(first, min(first + _USERS_AT_ONCE, n_users))
            vectors = question.vectors[part]
            seen = None if question.seen is None else question.seen[part]
            n_more = 0 if seen is None else int(np.diff(seen.indptr).max())
            found = self._index.search(vectors, min(n_wanted + n_more, n_items), threads=num_threads)
            places = np.reshape(found.keys, (len(vectors), -1)).astype(np.int64)
            values = (self._vectors[places] @ vectors[:, :, None])[:, :, 0]
            keys = self._ids[places]
            counts: Any = getattr(found, "counts", keys.shape[1])  # usearch gives no counts for a single user
            values[(np.arange(keys.shape[1]) >= np.atleast_1d(counts)[:, None]) | ~is_allowed[keys]] = -np.inf
            if seen is not None:
                users = np.arange(len(vectors))
                cells = np.repeat(users, np.diff(seen.indptr)) * n_items + seen.indices
                values[np.isin(users[:, None] * n_items + keys, cells)] = -np.inf
            order = np.lexsort((keys, -values), axis=1)[:, :n]
            best, width = np.take_along_axis(values, order, axis=1), order.shape[1]
            ids[part, :width] = np.where(np.isneginf(best), -1, np.take_along_axis(keys, order, axis=1))
            scores[part, :width] = best + question.biases[part, None]
        return ids, scores


class _Question(NamedTuple):
    """Users to search for: their vectors (embedding, 1, 0), biases and seen items, and the candidate items."""

    vectors: NDArray[np.float32]
    biases: NDArray[np.float32]
    seen: sp.csr_matrix | None
    candidates: NDArray[np.int64] | None


def _check_index_is_current(is_current: bool) -> None:
    """Raise ValueError if the model has been trained since the index was built."""
    if not is_current:
        raise ValueError("the model has been trained since this index was built: build it anew by model.index()")
