"""The interactions of a call of ``fit``, in memory or in shards: what training asks of them, with one set of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._autoencoder import Autoencoder, Places, Positives, check_have_places
from ._beside import Beside
from ._choices import MOST_USERS as MOST_ASKED
from ._cold_start import (
    STRENGTH,
    WAYS,
    Input,
    Newcomers,
    Race,
    Way,
    best_way,
    check_has_content,
    chosen,
    find_loadings,
    fitted,
    has_content,
    learn,
    may_map_users,
    refreshed,
    refreshed_content,
    represented,
)
from ._content import Content, coordinates_of, rarity_of
from ._feature_rows import are_unowned, check_identity_dropout, sampled_rows
from ._feature_scaling import FeatureScaling, Parts, VisitedRows
from ._hyperparameters import is_auto
from ._lazy import cached_property
from ._losses import facts_of
from ._mapping import MOST_FITTED
from ._matrices import Interactions, check_interactions, count_pairs
from ._parameters import Floats, in_file
from ._shards import Part, Shards, check_takes_shards
from ._sides import Side, Sides
from ._start import without_positives
from ._training_input import SideInput, balanced_samples, check_sample_weight, sum_weights
from ._words import describe_columns


class InMemory:
    """A matrix of interactions.

    Attributes
    ----------
    shape : tuple of int
        The numbers of users and items.
    entries : Interactions of shape ``shape``
        For checks that ask which items occur, and with which signs.
    samples : Interactions or OnDisk
        What an epoch trains on: the entries or, with balanced weights, some of them several times.
    weights : float32 array of shape (n_samples,), or None
        The weight of each sample; None if the samples know their weights.
    given_features : sparse matrix or array, dense array or None
        The users' features before they are checked.
    user_features : csr_matrix
        The checked features, which ``fit`` sets. Of shards only the shape is right, unless it is the identity.
    scratch : str or None
        The folder of the users' parameters; None if they are in memory.
    """

    scratch: str | None = None

    def __init__(
        self,
        interactions: Any,
        user_features: Any,
        sample_weight: Any,
        loss: str,
        has_balanced_weights: bool,
        num_threads: int,
    ) -> None:
        self.entries = self.samples = check_interactions(interactions, num_threads)
        weights = check_sample_weight(sample_weight, self.entries, loss)
        if weights is not None and has_balanced_weights:
            takes_labels = facts_of(loss).takes_labels
            total, n_weights = sum_weights(self.entries, weights, takes_labels)
            if total:
                mean = total / n_weights
                self.samples, weights = balanced_samples(self.entries, weights, mean, takes_labels)
        if weights is None:  # hooks expect an array, as in LightFM: here one stored 1, repeated by a stride of 0
            weights = np.ndarray(self.entries.nnz, np.float32, np.float32(1).tobytes(), strides=(0,))
        self.weights, self.shape = weights, self.entries.shape
        self.given_features, self.user_features = user_features, sp.csr_matrix(self.shape)

    def check_content(self, choice: str, item_features: sp.csr_matrix, content: Content | None) -> None:
        """Raise ValueError if content is asked for and there is none, unless ``content`` is of earlier training."""
        if content is None:
            check_has_content(choice, self.entries, item_features, self.user_features)

    def have_content(self, item_features: sp.csr_matrix) -> bool:
        """Tell whether a side has features by which newcomers can be represented."""
        return has_content(self.entries, item_features) or may_map_users(self.entries, self.user_features)

    def learn_newcomers(
        self,
        sides: Sides,
        before: Newcomers,
        item_features: sp.csr_matrix,
        choice: str,
        seed: int,
        race: Race,
        num_threads: int,
    ) -> Content | None:
        """Learn what represents new users and items, or bring up to date what earlier training has learned.

        Sets the sides' mappings, and returns the content. The arguments are those of :func:`learn` and
        :func:`refreshed`.
        """
        positive = self.entries.data > 0
        given = Input(self.entries.row[positive], self.entries.col[positive], self.user_features, item_features)
        if any(part is not None for part in before):
            return refreshed(before, sides, given, seed, num_threads)
        items_share = has_content(self.entries, item_features)
        return learn(sides, given, choice, seed, race if items_share else None, num_threads)

    def check_autoencoder(
        self, n_components: int | str, item_features: sp.csr_matrix, autoencoder: Autoencoder | None
    ) -> None:
        """Raise ValueError if linear components are asked for, and rows have no columns of their own."""
        if autoencoder is None and not is_auto(n_components) and n_components:
            is_positive = self.entries.data > 0
            check_have_places("user", self.user_features, np.unique(self.entries.row[is_positive]))
            check_have_places("item", item_features, np.unique(self.entries.col[is_positive]))

    def beside(
        self, n_components: int | str, item_features: sp.csr_matrix, before: Autoencoder | None, num_threads: int
    ) -> Beside | None:
        """Return the linear autoencoder of these positives, or the one from before with them, if there is any."""
        ones = cache(partial(_ones, self.samples, self.weights))
        places = partial(Places.of, self.user_features)
        positives = Positives(self.shape, lambda: iter([ones()]), self.features_of, places)
        return Beside.of(positives, item_features, n_components, before, num_threads)

    def check_dropout(self, probability: float, item_features: sp.csr_matrix) -> None:
        """Raise ValueError if identity columns are to be left out and there are none."""
        check_identity_dropout(probability, self.user_features, item_features, self.entries)

    def check_may_grow(self, n_known: int) -> None:
        """Raise ValueError if the user features cannot follow the ``n_known`` features of the model."""

    def without_past(self, n_known: int = 0) -> NDArray[np.bool_] | None:
        """Mark each user feature that no user with a positive interaction has; None if the model knows all features."""
        return without_positives(self.entries, self.user_features) if self.user_features.shape[1] > n_known else None

    def count_likers(self) -> int:
        """Count the users with positives."""
        return len(np.unique(self.entries.row[self.entries.data > 0]))

    @property
    def positives(self) -> NDArray[np.int64]:
        """How many positives each item has; the last items may be missing."""
        return np.bincount(self.entries.col[self.entries.data > 0])

    def visited(self, side: str, features: sp.csr_matrix, takes_labels: bool) -> Parts:
        """Return the rows of a side's features and how many samples each has, as scales are learned of them."""
        rows = self.entries.row if side == "user" else self.entries.col
        visits = np.bincount(rows if takes_labels else rows[self.entries.data > 0], minlength=features.shape[0])
        part = VisitedRows.of(features, visits.astype(np.float64))
        return lambda: iter([part])

    def excerpt(
        self, scaling: FeatureScaling | None, num_threads: int
    ) -> tuple[SideInput, Interactions, NDArray[np.float32]]:
        """Return the features, interactions and weights of users on whom settings may be compared: here all."""
        return SideInput(self.user_features, scaling), self.samples, self.weights

    def blocks_of_users(self) -> Iterator[sp.csr_matrix]:
        """Yield the features of all users, a block at a time."""
        yield self.user_features

    def features_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        """Return the features of some users, given in ascending order."""
        return self.user_features[users]


class OnDisk:
    """Interactions in shards, with the methods and attributes of :class:`InMemory`."""

    weights = None

    def __init__(
        self, shards: Shards, num_threads: int, has_balanced_weights: bool = False, takes_labels: bool = False
    ) -> None:
        self.shards, self.shape, self.scratch = shards, shards.shape, shards.scratch
        self._has_balanced_weights, self._takes_labels = has_balanced_weights, takes_labels
        self.entries = check_interactions(shards.occurring(), num_threads)
        self.samples = self
        shape = shards.shape[0], shards.shape[0] + shards.n_shared
        empty = np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(shape[0] + 1, np.int32)
        self.user_features = sp.csr_matrix(empty, shape=shape)
        self.given_features = self.user_features if shards.n_shared else None

    @cached_property
    def _mean_weight(self) -> float:
        """The mean size of the samples' weights. Found by reading all shards, once."""
        parts = (self.shards.part(number) for number in range(len(self.shards)))
        sums = [sum_weights(part.interactions, part.weights, self._takes_labels) for part in parts]
        totals, counts = zip(*sums, strict=True)
        return sum(totals) / sum(counts) if sum(totals) else 1.0

    def samples_of(self, part: Part) -> tuple[Interactions, NDArray[np.float32]]:
        """Return the samples of a shard and their weights, as an epoch trains on them."""
        if not self._has_balanced_weights:
            return part.interactions, part.weights
        return balanced_samples(part.interactions, part.weights, self._mean_weight, self._takes_labels)

    @cached_property
    def has_positives(self) -> NDArray[np.bool_]:
        """Whether each user has a positive interaction. Found by reading all shards, once."""
        return self.shards.has_positives()

    def check_content(self, choice: str, item_features: sp.csr_matrix, content: Content | None) -> None:
        if content is None and not (choice == "mapping" and self.may_map_users):  # which reads all features
            check_has_content(choice, self.entries, item_features)

    def check_autoencoder(
        self, n_components: int | str, item_features: sp.csr_matrix, autoencoder: Autoencoder | None
    ) -> None:
        if autoencoder is None and not is_auto(n_components) and n_components:
            check_have_places("item", item_features, np.flatnonzero(self.positives))

    def beside(
        self, n_components: int | str, item_features: sp.csr_matrix, before: Autoencoder | None, num_threads: int
    ) -> Beside | None:
        return Beside.of(self._likes(num_threads), item_features, n_components, before, num_threads)

    def _likes(self, num_threads: int) -> Positives:
        def blocks() -> Iterator[sp.csr_matrix]:
            for number in range(len(self.shards)):
                part = self.shards.part(number, num_threads)
                yield _ones(part.interactions, part.weights)

        return Positives(self.shape, blocks, self.features_of, self._places_of, self.scratch)

    def _places_of(self, users: NDArray[np.int64]) -> tuple[Places, NDArray[np.int64]]:
        """Return the places of users, each of whom has a column of its own."""
        places = np.full(self.user_features.shape[1], -1)
        places[users] = np.arange(len(users))
        return Places(places, np.asarray(self.features_of(users)[np.arange(len(users)), users]).ravel()), users

    def have_content(self, item_features: sp.csr_matrix) -> bool:
        return self.may_map_users or has_content(self.entries, item_features)

    def learn_newcomers(
        self,
        sides: Sides,
        before: Newcomers,
        item_features: sp.csr_matrix,
        choice: str,
        seed: int,
        race: Race,
        num_threads: int,
    ) -> Content | None:
        """Set the sides' mappings and return the content, as of interactions in memory.

        Whether a mapping or the sum of features represents new items is compared on one shard. The mapping of
        users is fitted to users drawn from all shards. Users' profiles are in a file.
        """
        rng, everybody = np.random.RandomState(seed), InputInShards(self, item_features)
        content, loadings = before[0], None
        known = {"user": np.flatnonzero(self.has_positives), "item": np.flatnonzero(self.positives)}
        strengths = {side.name: None if side.mapping is None else side.mapping.strength for side in sides.both}
        if any(part is not None for part in before):
            for side in sides.both:
                if side.mapping is not None:
                    known[side.name] = np.union1d(known[side.name], self._mapped_before(side, item_features))
                    side.mapping = None  # it would place rows that are known since
        else:
            strengths["user"] = STRENGTH if self.may_map_users else None
            if has_content(self.entries, item_features):
                way = WAYS.get(choice) or Way(self._mapping_wins(item_features, rng, race, num_threads), False)
                if way.has_mapping:
                    strengths["item"] = STRENGTH
                if way.has_content:
                    rarity = rarity_of(item_features, known["item"])
                    loadings = find_loadings(everybody, rarity, rng)
        nobody = np.zeros(0, np.int32)
        if strengths["item"] is not None:
            given = Input(nobody, nobody, self.user_features, item_features)
            sides.items.mapping = fitted(sides, given, "item", strengths["item"], rng, num_threads, known["item"])
        if loadings is not None:
            content = represented(sides, everybody, loadings, rarity, rng, num_threads)
        if strengths["user"] is not None:
            users = known["user"]
            drawn = sampled_rows(users, MOST_FITTED, rng)
            given = Input(nobody, nobody, self.features_of(drawn), item_features)
            mapping = fitted(sides, given, "user", strengths["user"], rng, num_threads, np.arange(len(drawn)))
            if before[1] is not None:
                mapping = mapping.corrected_as(before[1])
            elif choice == "auto":
                asked = sampled_rows(drawn, MOST_ASKED, rng)
                pairs = everybody.rows_of(asked).tocoo()
                given = Input(pairs.row, pairs.col, self.features_of(asked), item_features)
                mapping = chosen(sides, given, mapping, rng, num_threads)
            owners = np.full(self.user_features.shape[1], -1)
            owners[users] = np.arange(len(users))
            sides.users.mapping = replace(mapping, owners=owners)
        return content if before[0] is None else refreshed_content(before[0], sides, everybody, seed, num_threads)

    def _mapped_before(self, side: Side, item_features: sp.csr_matrix) -> NDArray[np.intp]:
        """Return the rows that earlier training knew."""
        owners = np.zeros(0, np.int64) if side.mapping is None else side.mapping.owners
        if side.name == "item":
            return np.flatnonzero(~are_unowned(item_features, owners))
        return np.flatnonzero(owners[: self.shape[0]] >= 0)

    def _mapping_wins(
        self, item_features: sp.csr_matrix, rng: np.random.RandomState, race: Race, num_threads: int
    ) -> bool:
        of_users, entries, _ = self.excerpt(None, num_threads)
        positive = entries.data > 0
        given = Input(entries.row[positive], entries.col[positive], of_users.features, item_features)
        return best_way(given, None, None, rng, race, num_threads).has_mapping

    @cached_property
    def may_map_users(self) -> bool:
        """Whether users with positives share a feature that tells them apart."""
        if not self.shards.n_shared:
            return False
        counts = np.zeros(self.user_features.shape[1], dtype=np.intp)
        are_dense = np.zeros(len(counts), dtype=bool)
        for number in range(len(self.shards)):
            known = self.has_positives[self.shards.starts[number] : self.shards.starts[number + 1]]
            found = describe_columns(self.shards.user_features(number)[np.flatnonzero(known)])
            counts += found.counts
            are_dense |= found.are_dense
        return bool(((counts > 1) & ((counts < np.count_nonzero(self.has_positives)) | are_dense)).any())

    def features_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        edges = np.searchsorted(users, self.shards.starts)
        blocks = [
            self.shards.user_features(number)[users[first:last] - self.shards.starts[number]]
            for number, (first, last) in enumerate(pairwise(edges.tolist()))
            if last > first
        ]
        return sp.csr_matrix(sp.vstack(blocks, format="csr")) if blocks else self.user_features[:0]

    def check_dropout(self, probability: float, item_features: sp.csr_matrix) -> None:
        if not self.shards.n_shared:
            check_identity_dropout(probability, self.user_features, item_features, self.entries)

    def check_may_grow(self, n_known: int) -> None:
        n_users, n_columns = self.user_features.shape
        if self.shards.n_shared and n_known != n_columns:
            raise ValueError(
                f"the shards have {n_columns:,} features of users ({n_users:,} users and {self.shards.n_shared:,} "
                f"features that they share) but the model has {n_known:,}: go on with the shards of fit, or fit anew"
            )

    def without_past(self, n_known: int = 0) -> NDArray[np.bool_]:
        if not self.shards.n_shared:
            return ~self.has_positives
        without = np.ones(self.user_features.shape[1], dtype=bool)
        for number in range(len(self.shards)):
            features, columns = self.shards.own_features(number), self.shards.columns(number)
            has_positives = self.has_positives[columns[: features.shape[0]]]
            counts = np.repeat(has_positives, np.diff(features.indptr)) & (features.data != 0)
            without[columns[features.indices[counts]]] = False
        return without

    def count_likers(self) -> int:
        return int(np.count_nonzero(self.has_positives))

    @property
    def positives(self) -> NDArray[np.int64]:
        return self.shards.positives

    def visited(self, side: str, features: sp.csr_matrix, takes_labels: bool) -> Parts:
        if side == "user":
            return lambda: self._visited_users(takes_labels)
        visits = np.zeros(features.shape[0])
        visits[: self.shape[1]] = self.shards.visits if takes_labels else self.shards.positives
        part = VisitedRows.of(features, visits)
        return lambda: iter([part])

    def _visited_users(self, takes_labels: bool) -> Iterator[VisitedRows]:
        for number in range(len(self.shards)):
            visits = self.shards.counts(number, positives=not takes_labels)
            yield VisitedRows.of(self.shards.user_features(number), visits.astype(np.float64))

    def excerpt(
        self, scaling: FeatureScaling | None, num_threads: int
    ) -> tuple[SideInput, Interactions, NDArray[np.float32]]:
        has_likes = (number for number in range(len(self.shards)) if self.shards.counts(number, positives=True).any())
        part = self.shards.part(next(has_likes, 0), num_threads)  # one shard, so that memory holds no more of them
        return self.of_users(part, scaling), *self.samples_of(part)

    def blocks_of_users(self) -> Iterator[sp.csr_matrix]:
        if not self.shards.n_shared:
            yield self.user_features  # the identity, of which no block is copied
        else:
            yield from map(self.shards.user_features, range(len(self.shards)))

    def of_users(self, part: Part, scaling: FeatureScaling | None) -> SideInput:
        """Return the features of a shard's users, with columns for these and the shared features only."""
        number = int(np.searchsorted(self.shards.starts, part.first, side="right")) - 1
        features = self.shards.own_features(number)
        return SideInput(features, None if scaling is None else scaling.of_columns(self.shards.columns(number)))


TrainingData = InMemory | OnDisk


@dataclass(frozen=True)
class InputInShards:
    """Interactions in shards, as content is made of them; see :class:`Given`."""

    data: OnDisk
    item_features: sp.csr_matrix

    def known(self, name: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.data.has_positives if name == "user" else self.data.positives)

    def features_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        return self.data.features_of(users)

    def rows_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        chosen = []
        for first, block in self._blocks():
            begin, end = np.searchsorted(users, (first, first + block.shape[0])).tolist()
            chosen.append(block[users[begin:end] - first])
        return sp.csr_matrix(sp.vstack(chosen, format="csr"))

    def with_any(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        return columns[columns < self.data.shape[0]]  # only users' own features have profiles

    def profiles(self, loadings: Floats, before: Floats | None) -> Floats:
        found = in_file(self.data.scratch, self.data.user_features.shape[1], loadings.shape[1])
        if before is not None:
            found[:] = before
        coordinates = coordinates_of(self.item_features, loadings)
        for first, block in self._blocks():
            found[first : first + block.shape[0]] += block @ coordinates
        return found

    def _blocks(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Yield the first user of each shard, and the shard's positives as ones."""
        for number in range(len(self.data.shards)):
            part = self.data.shards.part(number)
            is_positive = part.interactions.data > 0
            users, items = part.interactions.row[is_positive], part.interactions.col[is_positive]
            yield part.first, count_pairs(users, items, (part.n_users, self.item_features.shape[0]))


def _ones(entries: Interactions, weights: NDArray[np.float32]) -> sp.csr_matrix:
    """Return ones for the positives that count."""
    positive = (entries.data > 0) & (weights > 0)
    ones = count_pairs(entries.row[positive], entries.col[positive], entries.shape)
    ones.data[:] = 1
    return ones


def training_data(
    interactions: Any, user_features: Any, sample_weight: Any, parameters: Mapping[str, Any], num_threads: int
) -> TrainingData:
    """Check the interactions and the weights that ``fit`` was given.

    Raises
    ------
    NotImplementedError, ValueError
        As :func:`check_interactions`, :func:`check_sample_weight` and :func:`check_takes_shards`.
    """
    has_balanced_weights = parameters["feature_scaling"] == "balanced"
    if isinstance(interactions, Shards):
        check_takes_shards(user_features, sample_weight)
        return OnDisk(interactions, num_threads, has_balanced_weights, facts_of(parameters["loss"]).takes_labels)
    return InMemory(interactions, user_features, sample_weight, parameters["loss"], has_balanced_weights, num_threads)
