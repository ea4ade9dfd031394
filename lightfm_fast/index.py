"""An approximate index of the items, to find the best of millions without scoring all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from lightfm_fast import _core, persistence
from lightfm_fast._arguments import check_count, check_flag, check_num_threads, counted
from lightfm_fast._matrices import check_seen, count_pairs
from lightfm_fast._parameters import Floats, to_directions
from lightfm_fast._sides import Represented, Sides
from lightfm_fast.data import Dataset
from lightfm_fast.fold_in import Representations
from lightfm_fast.recommendation import Recommendations, Vocabulary, asked_users, check_n, recommend

__all__ = ["ItemIndex"]

SAMPLED = 64  # items of each group from which the centres are learned
ROUNDS = 8
HASHED = 1024  # rows of each side that identify a model
KIND = "ItemIndex"
N_COMPARED = 20_000


class ItemIndex:
    """An approximate index: a search compares a user with the nearest groups of similar items only.

    :meth:`lightfm_fast.LightFM.index` builds an index, and :meth:`lightfm_fast.LightFM.load_index` loads a saved one.
    The index holds the items as they were when it was built. If the model has been trained since, searches raise
    ValueError. Assignments to the model's arrays are not noticed.

    Attributes
    ----------
    n_compared : int
        Smallest number of items that a search compares with the user. A larger number finds more of the best items and
        takes proportionally longer. It may be changed at any time.

    Notes
    -----
    This is an inverted file (Jégou 2011). The groups, ``2 sqrt(n_items)`` of them, are made by spherical k-means. An
    item is the vector (embedding, bias), and one more coordinate gives all items the same length, so that the items of
    the highest scores are also the nearest ones (Bachrach 2014). Without this coordinate, groups would be made by
    length as much as by direction, and the search would miss many of the best items.
    """

    def __init__(self, sides: Callable[[], Sides], state: tuple[Any, ...], groups: _Groups, n_compared: int) -> None:
        n_compared = check_count(n_compared, "n_compared")
        self._sides = sides  # called before each search, to notice training
        self._state = state
        self._groups = groups
        self.n_compared = n_compared

    def __reduce__(self) -> Any:
        """Refuse to be pickled or copied: an index belongs to its model.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            "an index belongs to its model, so it is neither pickled nor copied: save it by index.save(path), and load "
            "it by model.load_index(path)"
        )

    @classmethod
    def build(cls, sides: Callable[[], Sides], item_features: Any, n_compared: int, num_threads: int) -> ItemIndex:
        """Build the index of a model's items; see :meth:`lightfm_fast.LightFM.index`."""
        n_compared = check_count(n_compared, "n_compared")
        state = sides().state()  # taken first, to notice also training that another thread does meanwhile
        embeddings, biases = sides().representations("item", item_features, num_threads)
        return cls(sides, state, _Groups.of(embeddings, biases, num_threads), n_compared)

    @classmethod
    def load(cls, path: str | os.PathLike[str], sides: Callable[[], Sides], verify: str) -> ItemIndex:
        """Map a saved index into memory; see :meth:`lightfm_fast.LightFM.load_index`."""
        contents = persistence.read(path, verify=verify)
        try:
            if contents.document["estimator"] != KIND:
                raise ValueError(f"it is a model of {contents.document['estimator']}: load it by its own load()")
            groups = _Groups.restored(contents.tensors)
            index = cls(sides, sides().state(), groups, contents.document["n_compared"])
            if contents.document["model"] != _identify(sides(), len(groups.items)):
                raise ValueError(
                    "it was built for another model, or before the model was trained last: build it anew by "
                    "model.index()"
                )
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)} holds no index of this model: {error}") from error
        except persistence.MALFORMED as error:
            raise ValueError(f"{os.fspath(path)} holds a malformed index: {error!r}") from error
        return index

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a safetensors file, which :meth:`lightfm_fast.LightFM.load_index` maps into memory.

        The file takes about as many bytes as the items' embeddings. Save it beside the model.

        Raises
        ------
        ValueError
            If the model has been trained since the index was built.
        OSError
            If the file cannot be written. An existing file stays as it was.
        """
        sides = self._current_sides()
        document = {"estimator": KIND, "n_compared": self.n_compared, "model": _identify(sides, len(self))}
        persistence.write(path, document, self._groups._asdict())

    def __len__(self) -> int:
        return len(self._groups.items)

    def __repr__(self) -> str:
        age = "" if self._sides().state() == self._state else "; the model has been trained since: build it again"
        return f"<ItemIndex of {counted(len(self), 'item')} in {self._groups.embeddings.shape[1]} dimensions{age}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"

    def recommend(
        self,
        user_ids: Any,
        n: int = 10,
        interactions: Any = None,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
        user_representations: Representations | None = None,
        dataset: Dataset | None = None,
    ) -> Recommendations:
        """Find most of the best items for each user; :meth:`recall` measures the share found.

        Arguments and result are as in :meth:`lightfm_fast.LightFM.recommend`; scores are exact.

        Raises
        ------
        ValueError
            As :meth:`lightfm_fast.LightFM.recommend`; also if the model has been trained since the index was built.
        """
        num_threads = check_num_threads(num_threads)
        n = check_n(n, len(self))
        users, seen = self._asked(
            user_ids, interactions, filter_seen, user_features, num_threads, user_representations, dataset
        )
        vocabulary = Vocabulary(dataset, "item")
        best = self.search(users, n, seen, vocabulary.candidates(items, exclude, len(self)), num_threads)
        return Recommendations(vocabulary.ids(best.ids), best.scores)

    def recall(
        self,
        user_ids: Any,
        n: int = 10,
        interactions: Any = None,
        filter_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        user_features: Any = None,
        num_threads: int = 1,
        user_representations: Representations | None = None,
        dataset: Dataset | None = None,
    ) -> float:
        """Measure the share of the users' exact ``n`` best items that :meth:`recommend` finds; 1 is perfect.

        It takes the same as :meth:`recommend`.

        Raises
        ------
        ValueError
            As :meth:`recommend`; also if no user has an item to find, so that there is no share.
        """
        num_threads = check_num_threads(num_threads)
        n = check_n(n, len(self))
        users, seen = self._asked(
            user_ids, interactions, filter_seen, user_features, num_threads, user_representations, dataset
        )
        candidates = Vocabulary(dataset, "item").candidates(items, exclude, len(self))
        groups = self._groups
        places = groups.places if candidates is None else groups.places[candidates]
        represented = groups.embeddings, groups.biases, places
        width = groups.embeddings.shape[1]
        exact = recommend(users, represented, width, False, n, seen, candidates, num_threads)
        n_best = int((exact.ids >= 0).sum())
        if not n_best:
            raise ValueError(
                f"no item is left to find for the {len(exact.ids):,} users, so there is no recall: give users who have "
                "not seen all items (or filter_seen=False), and items that exclude leaves"
            )
        found = self.search(users, n, seen, candidates, num_threads)
        pairs = zip(exact.ids.tolist(), found.ids.tolist(), strict=True)
        hits = sum(len(set(best).intersection(row) - {-1}) for best, row in pairs)
        return hits / n_best

    def search(
        self,
        users: Represented,
        n: int,
        seen: sp.csr_matrix | None = None,
        candidates: NDArray[np.int64] | None = None,
        num_threads: int = 1,
    ) -> Recommendations:
        """Find the best items of users that are represented already.

        Parameters
        ----------
        users : tuple of embeddings, biases and rows
            Of shapes (n, length or more), (n,) and (n_users,): the rows select the users.
        n : int
        seen : csr_matrix of shape (n_users, n_items), optional
            Sorted; the items to leave out for each user.
        candidates : sorted int64 array, optional
            The items to choose from. By default all.
        num_threads : int

        Returns
        -------
        Recommendations
            Rows of items, -1 where there are fewer.

        Raises
        ------
        ValueError
            If the model has been trained since the index was built.
        """
        self._current_sides()
        embeddings, biases, rows = users
        assert rows is not None
        groups = self._groups
        best = Recommendations(np.full((len(rows), n), -1), np.full((len(rows), n), -np.inf, dtype=np.float32))
        is_candidate, sizes = None, np.diff(groups.starts)
        if candidates is not None:
            is_candidate = np.zeros(len(self), dtype=bool)
            is_candidate[groups.places[candidates]] = True
            sizes = np.add.reduceat(is_candidate, groups.starts[:-1], dtype=np.int64)
        for number, row in enumerate(rows.tolist()):
            left_out = None if seen is None else seen.indices[seen.indptr[number] : seen.indptr[number + 1]]
            n_left_out = 0 if left_out is None else len(left_out)
            embedding = embeddings[row : row + 1, : groups.embeddings.shape[1]]
            places = self._nearest(embedding[0], max(self.n_compared, n + n_left_out), sizes)
            if is_candidate is not None:
                places = places[is_candidate[places]]
            if left_out is not None:
                left_out = _positions(np.sort(groups.places[left_out]), places)
            if not len(places):
                continue
            ids, scores = best.ids[number : number + 1], best.scores[number : number + 1]
            _core.ranking.select(
                embedding,
                _FIRST,
                groups.embeddings,
                groups.biases,
                places,
                embedding.shape[1],
                False,
                None if left_out is None else np.array([0, len(left_out)]),
                left_out,
                ids,
                scores,
                num_threads,
            )
            is_found = ids[0] >= 0
            found = groups.items[places[ids[0, is_found]]]
            order = np.lexsort((found, -scores[0, is_found]))  # the lower number first among equal scores
            ids[0, is_found] = found[order]
            scores[0] += biases[row]
        return best

    def _nearest(self, embedding: Floats, n_compared: int, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of all items in the nearest groups that together have ``n_compared``, in order."""
        groups = self._groups
        nearness = groups.centres[:, :-1] @ embedding + groups.centres[:, -1]
        order = np.argsort(-nearness)
        n_groups = int(np.searchsorted(np.cumsum(sizes[order]), n_compared)) + 1
        chosen = np.sort(order[:n_groups])
        starts, ends = groups.starts[chosen], groups.starts[chosen + 1]
        lengths = ends - starts
        return np.arange(lengths.sum()) + np.repeat(ends - np.cumsum(lengths), lengths)

    def _asked(
        self,
        user_ids: Any,
        interactions: Any,
        filter_seen: bool,
        user_features: Any,
        num_threads: int,
        user_representations: Any,
        dataset: Dataset | None,
    ) -> tuple[Represented, sp.csr_matrix | None]:
        """Return the users, and the items that they have seen, from the arguments of a search."""
        filter_seen = check_flag(filter_seen, "filter_seen")
        sides = self._current_sides()
        rows, represented = asked_users(sides, user_ids, user_features, user_representations, dataset, num_threads)
        seen = check_seen(interactions, rows, len(self)) if filter_seen and interactions is not None else None
        return represented, seen

    def _current_sides(self) -> Sides:
        """Return the model's parameters; ValueError if the model has been trained since the index was built."""
        sides = self._sides()
        sides.check_initialized()
        if sides.state() != self._state:
            raise ValueError("the model has been trained since this index was built: build it anew by model.index()")
        return sides


_FIRST = np.zeros(1, dtype=np.int64)


class _Groups(NamedTuple):
    """Items in groups: one after the other, each group's items together.

    Attributes
    ----------
    embeddings : float32 array of shape (n_items, length)
    biases : float32 array of shape (n_items,)
    items : int64 array of shape (n_items,)
        The item in each place.
    places : int64 array of shape (n_items,)
        The place of each item.
    centres : float32 array of shape (n_groups, length + 1)
        The mean embedding and bias of each group.
    starts : int64 array of shape (n_groups + 1,)
        Where each group starts; the last is the number of items.
    """

    embeddings: Floats
    biases: Floats
    items: NDArray[np.int64]
    places: NDArray[np.int64]
    centres: Floats
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, embeddings: Floats, biases: Floats, num_threads: int) -> _Groups:
        """Group items by spherical k-means on vectors of the same length; deterministic."""
        n_items = len(biases)
        if not n_items:
            raise ValueError("there are no items to index: item_features has no rows")
        squares = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64) + np.square(biases, dtype=np.float64)
        vectors = np.column_stack([embeddings, biases, np.sqrt(squares.max() - squares)]).astype(np.float32)
        n_groups = max(1, min(n_items, int(2 * np.sqrt(n_items))))
        random = np.random.default_rng(0)
        sample = vectors[np.sort(random.choice(n_items, min(n_items, SAMPLED * n_groups), replace=False))]
        centres = to_directions(sample[random.choice(len(sample), n_groups, replace=False)])
        for _ in range(ROUNDS):
            centres = to_directions(_means(sample, _nearest_centres(sample, centres, num_threads), centres))
        group = _nearest_centres(vectors, centres, num_threads)
        group = np.unique(group, return_inverse=True)[1]  # groups without items are left out
        items = np.argsort(group, kind="stable")
        places = np.empty_like(items)
        places[items] = np.arange(n_items)
        starts = np.append(0, np.cumsum(np.bincount(group)))
        means = _means(vectors[:, :-1], group, np.zeros((len(starts) - 1, vectors.shape[1] - 1), dtype=np.float32))
        return cls(embeddings[items], biases[items], items, places, means, starts)

    @classmethod
    def restored(cls, tensors: dict[str, NDArray[Any]]) -> _Groups:
        """Check the arrays of a file, which must not lead the core outside of them; ValueError if they are unsound."""
        groups = cls(**tensors)
        arrays: tuple[NDArray[Any], ...] = groups
        n_items, n_groups, length = len(groups.items), len(groups.starts) - 1, groups.embeddings.shape[-1]
        shapes = ((n_items, length), (n_items,), (n_items,), (n_items,), (n_groups, length + 1), (n_groups + 1,))
        dtypes = (np.float32, np.float32, np.int64, np.int64, np.float32, np.int64)
        for name, array, shape, dtype in zip(cls._fields, arrays, shapes, dtypes, strict=True):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name} is of shape {array.shape} and type {array.dtype}, expected {shape}")
        starts, items, places = groups.starts, groups.items, groups.places
        if not n_items or starts[0] != 0 or starts[-1] != n_items or (np.diff(starts) < 1).any():
            raise ValueError("its groups do not hold each item once")
        in_range = places.min() >= 0 and places.max() < n_items
        if not in_range or not np.array_equal(items[places], np.arange(n_items)):
            raise ValueError("its groups do not hold each item once")
        return groups


def _nearest_centres(vectors: Floats, centres: Floats, num_threads: int) -> NDArray[np.int64]:
    """Return the row of the centre of largest product with each vector."""
    no_biases = np.zeros(max(len(vectors), len(centres)), dtype=np.float32)
    users = vectors, no_biases, np.arange(len(vectors))
    items = centres, no_biases[: len(centres)], None
    return recommend(users, items, vectors.shape[1], False, 1, None, None, num_threads).ids[:, 0]


def _means(vectors: Floats, group: NDArray[np.int64], otherwise: Floats) -> Floats:
    """Return the mean of each group's vectors; the row of ``otherwise`` for a group without vectors."""
    members = count_pairs(group, np.arange(len(group)), (len(otherwise), len(vectors)))
    sizes = np.bincount(group, minlength=len(otherwise))
    means = np.asarray(members @ vectors) / np.maximum(sizes, 1)[:, None].astype(np.float32)
    return np.where(sizes[:, None] > 0, means, otherwise)


def _positions(chosen: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return where some places are among ``places``; both are sorted."""
    found = np.searchsorted(places, chosen)
    found = found[found < len(places)]
    return found[places[found] == chosen[: len(found)]].astype(np.int32)


def _identify(sides: Sides, n_items: int) -> str:
    """Return a hash of a model's sizes, of its epochs and of some rows of all that scores depend on."""
    digest = hashlib.sha256(f"{n_items} {sides.n_epochs} {sides.are_cosines} {sides.has_pairs}".encode())
    tables = (sides.table(side.name).view(field) for side in sides.both for field in ("embeddings", "biases"))
    for array in (*tables, *sides.other_arrays().values()):
        rows = np.linspace(0, len(array) - 1, min(len(array), HASHED)).astype(np.int64)
        digest.update(f" {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array[rows], dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
