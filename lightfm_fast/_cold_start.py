"""Learn from the data what represents users and items without a past: sums of features, a mapping, or content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._arguments import DivergedError
from ._choices import Choices, rank_better
from ._content import Content, coordinates_of, nearest, rarity_of, unit_rows, words_of
from ._feature_rows import are_unowned, is_identity, own_columns, owners_of, sampled_rows
from ._mapping import FeatureMapping, fit_mapping
from ._matrices import count_pairs, to_length_1
from ._parameters import Floats
from ._scoring import ndcg_shares
from ._sides import Sides
from ._words import describe_columns

N_COORDINATES = 256
# Users whose profiles the coordinates are found from, at most, and how: passes over them, and the least square of a
# singular value that counts, beside the largest.
_MOST_ANALYSED, _N_PASSES, _LEAST_VALUE = 5000, 2, 1e-9
# Items that are held out, and users and items that scores are compared of, at most.
_MOST_HELD_OUT, _MOST_USERS, _MOST_ITEMS = 2000, 1000, 1000
HELD_OUT = 0.1
# Another way must rank better than a mapping by this many standard errors.
_LEAST_ERRORS = 2.0
# The penalty of mappings. Held-out items do not tell it: which are drawn matters more.
STRENGTH = 0.5

# What earlier training has learned: the content of items, and the mappings of users and of items.
Newcomers = tuple[Content | None, FeatureMapping | None, FeatureMapping | None]
AnyPart = TypeVar("AnyPart", Choices, Content, FeatureMapping)
# Trains a new model without the interactions of the items that a mask names.
Race = Callable[[NDArray[np.bool_]], Sides]


class Given(Protocol):
    """What content is made of, in memory or in shards."""

    @property
    def item_features(self) -> sp.csr_matrix: ...

    def known(self, name: str) -> NDArray[np.int64]:
        """Return the rows of a side with positives."""

    def rows_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        """Return the rows of :meth:`Input.positives` of some users, given in ascending order."""

    def features_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        """Return the features of some users, given in ascending order."""

    def with_any(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the users who have any of some features."""

    def profiles(self, loadings: Floats, before: Floats | None) -> Floats:
        """Return what each user feature adds to a profile: the sum of the coordinates of its users' items.

        Where each user with positives has an identity column, only these columns have profiles. Those from ``before``
        are added.
        """


class Input(NamedTuple):
    """What a model was trained on: the positives, as pairs of rows, and the features of both sides."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    user_features: sp.csr_matrix
    item_features: sp.csr_matrix

    def positives(self) -> sp.csr_matrix:
        """Return a matrix of ones, shape (users, items) with features. A pair that is given twice has a two."""
        shape = self.user_features.shape[0], self.item_features.shape[0]
        return count_pairs(self.users, self.items, shape)

    def known(self, name: str) -> NDArray[np.int64]:
        return np.unique(self.users if name == "user" else self.items).astype(np.int64)

    def features(self, name: str) -> sp.csr_matrix:
        return self.user_features if name == "user" else self.item_features

    def rows_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        return self.positives()[users]

    def features_of(self, users: NDArray[np.int64]) -> sp.csr_matrix:
        return self.user_features[users]

    def with_any(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.flatnonzero(np.diff(self.user_features[:, columns].indptr))

    def profiles(self, loadings: Floats, before: Floats | None) -> Floats:
        added = self._profiles(coordinates_of(self.item_features, loadings))
        return added if before is None else before + added

    def _profiles(self, coordinates: Floats) -> Floats:
        features, sums = self.user_features, self.positives() @ coordinates
        if is_identity(features):
            return np.asarray(sums, dtype=np.float32)
        is_own = own_columns(features, np.unique(self.users))
        if is_own is None:
            return np.asarray(features.T @ unit_rows(sums), dtype=np.float32)
        features = features.copy()
        features.data = is_own.astype(np.float32)
        return np.asarray(features.T @ sums, dtype=np.float32)


class Way(NamedTuple):
    """Whether a mapping represents new items instead of the sum of their features, and whether content does."""

    has_mapping: bool
    has_content: bool


WAYS = {"mapping": Way(True, False), "content": Way(False, True), "mapping+content": Way(True, True)}
# What is compared with a mapping.
_OTHERS = (Way(False, False), Way(False, True), Way(True, True))


def has_content(interactions: sp.coo_matrix, item_features: sp.csr_matrix) -> bool:
    """Tell whether all items with positives have identity columns, and some features that others have too."""
    return _share_features(np.unique(interactions.col[interactions.data > 0]), item_features)


def has_words(interactions: sp.coo_matrix, item_features: sp.csr_matrix) -> bool:
    """Tell whether items also share features of different rarity, without which their content says nothing."""
    known = np.unique(interactions.col[interactions.data > 0])
    return has_content(interactions, item_features) and bool(rarity_of(item_features, known).any())


def may_map_users(interactions: sp.coo_matrix, user_features: sp.csr_matrix) -> bool:
    """Tell of users what :func:`has_content` tells of items."""
    return _share_features(np.unique(interactions.row[interactions.data > 0]), user_features)


def _share_features(known: NDArray[np.integer], features: sp.csr_matrix) -> bool:
    if is_identity(features) or own_columns(features, known.astype(np.int32)) is None:
        return False
    return bool(describe_columns(features[known]).tell_apart.any())


def check_has_content(
    cold_start: str,
    interactions: sp.coo_matrix,
    item_features: sp.csr_matrix,
    user_features: sp.csr_matrix | None = None,
) -> None:
    """Raise ValueError if content is asked for and there is none, in the sense of :func:`has_content`.

    A mapping may also be asked for where only users have features that they share.
    """
    if cold_start not in WAYS:
        return
    if (has_content if cold_start == "mapping" else has_words)(interactions, item_features):
        return
    if cold_start == "mapping" and user_features is not None and may_map_users(interactions, user_features):
        return
    names = "neither item_features nor user_features have" if cold_start == "mapping" else "item_features have no"
    raise ValueError(
        f"cold_start is {cold_start!r}, but {names} content: expected an identity column for each row with "
        "interactions, and columns that several rows share, but not all. Give such features, as Dataset makes them, or "
        "set cold_start='auto'"
    )


def learn(sides: Sides, given: Input, choice: str, seed: int, race: Race | None, num_threads: int) -> Content | None:
    """Learn what represents new users and items: set the sides' mappings, and return the content of items, if any.

    Parameters
    ----------
    sides : Sides
        The trained parameters.
    given : Input
        What they were trained on.
    choice : {"mapping", "content", "mapping+content", "auto"}
        "auto" holds items out and compares; the others do not compare.
    seed : int
        Of the draws.
    race : callable or None
        See :data:`Race`; None where items share no features.
    num_threads : int
    """
    rng = np.random.RandomState(seed)
    content = None
    if race is not None:
        rarity = rarity_of(given.item_features, given.known("item"))
        loadings = find_loadings(given, rarity, rng) if rarity.any() else None
        way = WAYS[choice] if choice in WAYS else best_way(given, loadings, rarity, rng, race, num_threads)
        if way.has_mapping:
            sides.items.mapping = fitted(sides, given, "item", STRENGTH, rng, num_threads)
        if way.has_content:
            assert loadings is not None
            content = represented(sides, given, loadings, rarity, rng, num_threads)
    if _share_features(given.known("user"), given.user_features):
        mapping = fitted(sides, given, "user", STRENGTH, rng, num_threads)
        sides.users.mapping = chosen(sides, given, mapping, rng, num_threads) if choice == "auto" else mapping
    return content


def chosen(
    sides: Sides, given: Input, mapping: FeatureMapping, rng: np.random.RandomState, num_threads: int
) -> FeatureMapping:
    """Let a mapping of users learn from the choices of the given users, if it ranks better then."""
    choices = _choices(sides, given, mapping, rng, num_threads)
    of_users = _trained(sides, "user", given.user_features, choices.rows, num_threads)
    if not rank_better(choices, of_users[:, :-1], mapping.words.penalties(STRENGTH), rng):
        return mapping
    return _finite(choices.correct(mapping))


def _choices(
    sides: Sides, given: Input, mapping: FeatureMapping, rng: np.random.RandomState, num_threads: int
) -> Choices:
    def represent_items(rows: NDArray[np.int64]) -> Floats:
        return _trained(sides, "item", given.item_features, rows, num_threads)

    return _finite(Choices.of(mapping, (given.users, given.items), given.user_features, represent_items, rng))


def fitted(
    sides: Sides,
    given: Input,
    name: str,
    strength: float,
    rng: np.random.RandomState,
    num_threads: int,
    known: NDArray[np.int64] | None = None,
) -> FeatureMapping:
    """Fit a mapping to the rows with positives, or to ``known``, as training has left them."""
    known = given.known(name) if known is None else known
    features = given.features(name)
    return _finite(fit_mapping(features, known, _trained(sides, name, features, known, num_threads), strength, rng))


def _finite(part: AnyPart) -> AnyPart:
    """Return ``part``. Raise DivergedError if a number in it is not finite, since parameters are too large."""
    numbers = (value for value in vars(part).values() if isinstance(value, (float, np.ndarray)))
    with np.errstate(invalid="ignore"):  # infinities of both signs
        sums = [np.sum(number, dtype=np.float64) for number in numbers]  # without an array as large, of users on disk
    if not np.isfinite(sums).all():
        raise DivergedError(
            "training leaves parameters too large to represent new users and items by, and the model is as it was "
            "before: assign smaller parameters, scale down feature values, or fit anew"
        )
    return part


def _trained(sides: Sides, name: str, features: sp.csr_matrix, known: NDArray[np.int64], num_threads: int) -> Floats:
    """Return the embeddings and, last, the biases of known rows: the sums of their features."""
    embeddings, biases, places = replace(sides, content=None).represent(name, features, known, num_threads)
    return np.column_stack([embeddings[places, : sides.no_components], biases[places]])


def refreshed(
    before: Newcomers,
    sides: Sides,
    given: Input,
    seed: int,
    num_threads: int,
) -> Content | None:
    """Bring content and the mappings of users and items up to date after more training.

    They gain its users and items, and follow the changed parameters. Strengths, rarity and coordinates stay, and
    whether users' choices count. Features of content that are new since have rarity 0.
    """
    content, *mappings = before
    rng = np.random.RandomState(seed)
    for name, mapping in zip(("user", "item"), mappings, strict=True):
        if mapping is not None:
            features = given.features(name)
            known = np.union1d(np.flatnonzero(~are_unowned(features, mapping.owners)), given.known(name))
            if not len(known):  # a call of new rows alone, without positives, tells nothing
                continue
            sides[name].mapping = None  # it would place rows that are known since
            found = fitted(sides, given, name, mapping.strength, rng, num_threads, known)
            if len(mapping.correction):
                if 2 * len(given.known(name)) < len(known):  # a few users of one call would say little
                    found = found.corrected_as(mapping)
                else:
                    found = _finite(_choices(sides, given, found, rng, num_threads).correct(found))
            sides[name].mapping = found
    return None if content is None else refreshed_content(content, sides, given, seed, num_threads)


def refreshed_content(content: Content, sides: Sides, given: Given, seed: int, num_threads: int) -> Content:
    """Bring content up to date, as :func:`refreshed` does."""
    known = np.union1d(np.flatnonzero(~content.is_new(given.item_features)), given.known("item"))
    if not len(known):
        return content
    return represented(
        sides,
        given,
        content.loadings,
        content.rarity,
        np.random.RandomState(seed),
        num_threads,
        known=known,
        profiles=content.profiles,
    )


def find_loadings(given: Given, rarity: Floats, rng: np.random.RandomState) -> Floats:
    """Return what each feature adds to the coordinates of an item.

    The coordinates are those of the largest singular values of the users' profiles (latent semantic analysis,
    Deerwester 1990), found by random projection (Halko 2011). Those of the items' content would lose more of the
    scores, which are products with profiles.
    """
    users = sampled_rows(given.known("user"), _MOST_ANALYSED, rng)
    columns = np.flatnonzero(rarity)
    profiles = to_length_1(given.rows_of(users) @ words_of(given.item_features, rarity)[:, columns])
    n_coordinates = min(N_COORDINATES, *profiles.shape)
    n_directions = min(n_coordinates + 16, *profiles.shape)
    span = rng.standard_normal((len(columns), n_directions)).astype(np.float32)
    for _ in range(_N_PASSES):
        span = np.linalg.qr(profiles.T @ (profiles @ span))[0]
    # span is orthonormal over the features: the singular values are those of the small matrix profiles @ span.
    projected = np.asarray(profiles @ span, dtype=np.float64)
    values, vectors = np.linalg.eigh(projected.T @ projected)
    largest = np.argsort(-values)[:n_coordinates]
    largest = largest[values[largest] > _LEAST_VALUE * values.max()]
    loadings = np.zeros((len(rarity), len(largest)), dtype=np.float32)
    loadings[columns] = rarity[columns, None] * (span @ vectors[:, largest])
    return loadings


def represented(
    sides: Sides,
    given: Given,
    loadings: Floats,
    rarity: Floats,
    rng: np.random.RandomState,
    num_threads: int,
    known: NDArray[np.int64] | None = None,
    profiles: Floats | None = None,
) -> Content:
    """Put together what represents new items.

    The weight of content gives both parts of the score equal spreads over known items, as if they were new.
    ``known`` and ``profiles`` are those of earlier training; by default there was none.
    """
    known = given.known("item") if known is None else known.astype(np.int64)
    sides = replace(sides, content=None)
    trained = _trained(sides, "item", given.item_features, known, num_threads)
    content = Content(
        loadings,
        owners_of(given.item_features, known),
        known,
        rarity,
        words_of(given.item_features[known], rarity),
        trained[:, :-1].copy(),
        trained[:, -1].copy(),
        given.profiles(loadings, profiles),
        0.0,
        0.0,
    )
    numbers = sampled_rows(np.arange(len(known)), _MOST_ITEMS, rng)
    neighbours, shares = nearest(content.words[numbers], content.by_word, numbers)
    with_profile = given.known("user")
    if profiles is not None:  # a few users of one call would say little
        with_profile = given.with_any(np.flatnonzero(content.profiles.any(axis=1)))
    if not len(with_profile):
        return _finite(content)
    users = sampled_rows(with_profile, _MOST_USERS, rng)
    of_users = given.features_of(users)
    embeddings, _, places = sides.represent("user", of_users, np.arange(len(users)), num_threads)
    factors = embeddings[places, : sides.no_components] @ _means(content.embeddings, neighbours, shares).T
    factors += _means(content.biases[:, None], neighbours, shares).T
    matches = unit_rows(of_users @ content.profiles) @ coordinates_of(given.item_features[known[numbers]], loadings).T
    spread = matches.std(axis=1).mean()
    weight = float(factors.std(axis=1).mean() / spread) if spread > 0 else 0.0
    return _finite(replace(content, weight=weight, offset=weight * float(matches.mean())))


def best_way(
    given: Input,
    loadings: Floats | None,
    rarity: Floats | None,
    rng: np.random.RandomState,
    race: Race,
    num_threads: int,
) -> Way:
    """Hold items out, train on the others, and return the way that ranks the held-out items best.

    It is a mapping unless another way ranks better by two standard errors. Without ``loadings`` and ``rarity``, of
    :func:`find_loadings` and :func:`rarity_of`, content is not among the ways.
    """
    known = given.known("item")
    n_held = int(min(max(HELD_OUT * len(known), 1), _MOST_HELD_OUT))
    held = np.sort(rng.choice(known, n_held, replace=False))
    is_held = np.zeros(given.item_features.shape[0], dtype=bool)
    is_held[held] = True
    of_held = is_held[given.items]
    left = given._replace(users=given.users[~of_held], items=given.items[~of_held])
    users = sampled_rows(np.intersect1d(given.users[of_held], left.users), _MOST_USERS, rng)
    if len(users) < 2:
        return WAYS["mapping"]
    wanted = given._replace(users=given.users[of_held], items=given.items[of_held]).positives()
    hits = wanted[users][:, held].toarray() > 0
    try:
        sides = race(is_held)
    except DivergedError:
        return WAYS["mapping"]
    features = _without_columns(given.item_features[held], owners_of(given.item_features, known) >= 0)
    content = None
    if loadings is not None and rarity is not None:
        content = represented(sides, left, loadings, rarity, rng, num_threads)
    mapping = fitted(sides, left, "item", STRENGTH, rng, num_threads)

    def shares(way: Way) -> NDArray[np.float64]:
        sides.items.mapping = mapping if way.has_mapping else None
        compared = replace(sides, content=content if way.has_content else None)
        embeddings, _, places = compared.represent("user", given.user_features, users, num_threads)
        items, biases, _ = compared.represent("item", features, None, num_threads)
        return ndcg_shares(embeddings[places] @ items.T + biases, hits)

    usual = shares(WAYS["mapping"])
    found = {way: shares(way) - usual for way in _OTHERS if content is not None or not way.has_content}
    best = max(found, key=lambda way: float(found[way].sum()))
    # Users share the held-out items: the draw of either moves the mean.
    squares = 0.0
    for axis in (0, 1):
        sums = found[best].sum(axis=axis)
        squares += float(((sums - sums.mean()) ** 2).sum())
    return best if found[best].sum() > _LEAST_ERRORS * np.sqrt(squares) else WAYS["mapping"]


def _means(values: Floats, neighbours: NDArray[np.intp], shares: Floats) -> Floats:
    """Return the neighbours' mean of values, weighted by their shares."""
    means: Floats = np.einsum("ij,ijk->ik", shares, values[neighbours])
    return means


def _without_columns(features: sp.csr_matrix, left_out: NDArray[np.bool_]) -> sp.csr_matrix:
    features = features.copy()
    features.data[left_out[features.indices]] = 0
    features.eliminate_zeros()
    return features
