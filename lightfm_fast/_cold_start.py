"""Learn from the data whether, and how strongly, content represents the items without a past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._arguments import DivergedError
from ._content import Content, coordinates_of, nearest, unit_rows, words_of
from ._feature_rows import is_identity, own_columns
from ._matrices import to_length_1
from ._parameters import Floats
from ._sides import Sides

N_COORDINATES = 256
# Users whose profiles the coordinates are found from, at most, and how: passes over them, and the least square of a
# singular value that counts, beside the largest.
_MOST_ANALYSED, _N_PASSES, _LEAST_VALUE = 5000, 2, 1e-9
# Items that are held out, and users and items that scores are compared of, at most.
_MOST_HELD_OUT, _MOST_USERS, _MOST_ITEMS = 2000, 1000, 1000
HELD_OUT = 0.1
# Content must rank better than features by this many standard errors over users.
_LEAST_ERRORS = 2.0
_N_RANKED = 10

# Trains a new model without the interactions of the items that a mask names.
Race = Callable[[NDArray[np.bool_]], Sides]


class Input(NamedTuple):
    """What a model was trained on: the positives, as pairs of rows, and the features of both sides."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    user_features: sp.csr_matrix
    item_features: sp.csr_matrix

    def positives(self) -> sp.csr_matrix:
        """Return a matrix of ones, shape (users, items) with features."""
        shape = self.user_features.shape[0], self.item_features.shape[0]
        return sp.csr_matrix((np.ones(len(self.users), np.float32), (self.users, self.items)), shape=shape)

    def known_items(self) -> NDArray[np.int64]:
        return np.unique(self.items).astype(np.int64)


def has_content(interactions: sp.coo_matrix, item_features: sp.csr_matrix) -> bool:
    """Tell whether all items with positives have identity columns, and some features that others have too."""
    items = np.unique(interactions.col[interactions.data > 0]).astype(np.int32)
    if is_identity(item_features) or own_columns(item_features, items) is None:
        return False
    counts = column_counts(item_features, items)
    return bool(((counts > 1) & (counts < len(items))).any())


def check_has_content(cold_start: str, interactions: sp.coo_matrix, item_features: sp.csr_matrix) -> None:
    """Raise ValueError if content is asked for and there is none, in the sense of :func:`has_content`."""
    if cold_start == "content" and not has_content(interactions, item_features):
        raise ValueError(
            "cold_start is 'content', but item_features have no content: expected an identity column for each item "
            "with interactions, and columns that several items share, but not all. Give such item_features, as "
            "Dataset makes them, or say cold_start='auto'"
        )


def column_counts(features: sp.csr_matrix, rows: NDArray[np.integer]) -> NDArray[np.intp]:
    """Count the rows that have a weight other than 0 in each column."""
    chosen = features[rows]
    return np.bincount(chosen.indices[chosen.data != 0], minlength=features.shape[1])


def learn_content(sides: Sides, given: Input, choice: str, seed: int, race: Race, num_threads: int) -> Content | None:
    """Learn how content represents new items; None where features alone rank them as well.

    Parameters
    ----------
    sides : Sides
        The trained parameters.
    given : Input
        What they were trained on.
    choice : {"auto", "content"}
        "auto" holds items out and compares; "content" does not compare.
    seed : int
        Of the draws.
    race : callable
        See :data:`Race`.
    num_threads : int
    """
    rng = np.random.RandomState(seed)
    rarity = rarity_of(given.item_features, given.known_items())
    loadings = find_loadings(given, rarity, rng)
    if choice == "auto" and not ranks_better(given, loadings, rarity, rng, race, num_threads):
        return None
    return represented(sides, given, loadings, rarity, rng, num_threads)


def refreshed(content: Content, sides: Sides, given: Input, seed: int, num_threads: int) -> Content:
    """Bring content up to date after more training: with its items and users, and the changed parameters.

    Rarity and coordinates stay. Features that are new since have rarity 0.
    """
    return represented(
        sides,
        given,
        content.loadings,
        content.rarity,
        np.random.RandomState(seed),
        num_threads,
        known=np.union1d(np.flatnonzero(~content.is_new(given.item_features)), given.known_items()),
        profiles=content.profiles,
    )


def rarity_of(features: sp.csr_matrix, known: NDArray[np.int64]) -> Floats:
    r"""Return :math:`\log(N / n)` of a feature that n of the N known items have, 0 if n is 1 (Spärck Jones 1972)."""
    counts = column_counts(features, known)
    return np.where(counts > 1, np.log(len(known) / np.maximum(counts, 1)), 0).astype(np.float32)


def find_loadings(given: Input, rarity: Floats, rng: np.random.RandomState) -> Floats:
    """Return what each feature adds to the coordinates of an item.

    The coordinates are those of the largest singular values of the users' profiles (latent semantic analysis,
    Deerwester 1990), found by random projection (Halko 2011). Those of the items' content would lose more of the
    scores, which are products with profiles.
    """
    users = np.unique(given.users)
    if len(users) > _MOST_ANALYSED:
        users = np.sort(rng.choice(users, _MOST_ANALYSED, replace=False))
    columns = np.flatnonzero(rarity)
    profiles = to_length_1(given.positives()[users] @ words_of(given.item_features, rarity)[:, columns])
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
    given: Input,
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
    known = given.known_items() if known is None else known.astype(np.int64)
    sides = replace(sides, content=None)
    embeddings, biases, places = sides.represent("item", given.item_features, known, num_threads)
    if places is None:
        places = np.arange(len(known))
    new_profiles = _profiles(given, loadings)
    content = Content(
        loadings,
        _owners(given.item_features, known),
        known,
        rarity,
        words_of(given.item_features[known], rarity),
        embeddings[places, : sides.no_components].copy(),
        biases[places].copy(),
        new_profiles if profiles is None else profiles + new_profiles,
        0.0,
        0.0,
    )
    numbers = np.arange(len(known))
    if len(numbers) > _MOST_ITEMS:
        numbers = np.sort(rng.choice(numbers, _MOST_ITEMS, replace=False))
    neighbours, shares = nearest(content.words[numbers], content.by_word, numbers)
    with_profile: NDArray[Any] = np.unique(given.users)
    if profiles is not None:  # a few users of one call would say little
        columns = np.flatnonzero(content.profiles.any(axis=1))
        with_profile = np.flatnonzero(np.diff(given.user_features[:, columns].indptr))
    if not len(with_profile):
        return content
    users = _sampled_users(with_profile, rng)
    of_users, _, places = sides.represent("user", given.user_features, users, num_threads)
    factors = of_users[places, : sides.no_components] @ _means(content.embeddings, neighbours, shares).T
    factors += _means(content.biases[:, None], neighbours, shares).T
    matches = (
        unit_rows(given.user_features[users] @ content.profiles)
        @ coordinates_of(given.item_features[known[numbers]], loadings).T
    )
    spread = matches.std(axis=1).mean()
    weight = float(factors.std(axis=1).mean() / spread) if spread > 0 else 0.0
    return replace(content, weight=weight, offset=weight * float(matches.mean()))


def ranks_better(
    given: Input, loadings: Floats, rarity: Floats, rng: np.random.RandomState, race: Race, num_threads: int
) -> bool:
    """Hold items out, train on the others, and tell whether content ranks those better than their features do."""
    known = given.known_items()
    n_held = int(min(max(HELD_OUT * len(known), 1), _MOST_HELD_OUT))
    held = np.sort(rng.choice(known, n_held, replace=False))
    is_held = np.zeros(given.item_features.shape[0], dtype=bool)
    is_held[held] = True
    of_held = is_held[given.items]
    left = given._replace(users=given.users[~of_held], items=given.items[~of_held])
    users = _sampled_users(np.intersect1d(given.users[of_held], left.users), rng)
    if len(users) < 2:
        return False
    wanted = given._replace(users=given.users[of_held], items=given.items[of_held]).positives()
    hits = wanted[users][:, held].toarray() > 0
    try:
        sides = race(is_held)
    except DivergedError:  # training did not: the features that it learned stay
        return False
    content = represented(sides, left, loadings, rarity, rng, num_threads)
    features = _without_columns(given.item_features[held], _owners(given.item_features, known) >= 0)
    found = []
    for way in (sides, replace(sides, content=content)):
        embeddings, _, places = way.represent("user", given.user_features, users, num_threads)
        items, biases, _ = way.represent("item", features, None, num_threads)
        found.append(ndcg(embeddings[places] @ items.T + biases, hits))
    gain = found[1] - found[0]
    return bool(gain.mean() > _LEAST_ERRORS * gain.std(ddof=1) / np.sqrt(len(gain)))


def ndcg(scores: Floats, hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """NDCG of each row's ten best scores, for gains of 0 or 1 (Järvelin 2002); each row has a hit."""
    n_ranked = min(_N_RANKED, scores.shape[1])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n_ranked]
    discounts = 1 / np.log2(np.arange(2, n_ranked + 2))
    ideal = np.cumsum(discounts)[np.minimum(hits.sum(axis=1), n_ranked) - 1]
    gains: NDArray[np.float64] = np.take_along_axis(hits, best, axis=1) @ discounts
    return gains / ideal


def _means(values: Floats, neighbours: NDArray[np.intp], shares: Floats) -> Floats:
    """Return the neighbours' mean of values, weighted by their shares."""
    means: Floats = np.einsum("ij,ijk->ik", shares, values[neighbours])
    return means


def _sampled_users(users: NDArray[np.integer], rng: np.random.RandomState) -> NDArray[np.int64]:
    if len(users) > _MOST_USERS:
        users = np.sort(rng.choice(users, _MOST_USERS, replace=False))
    return users.astype(np.int64)


def _without_columns(features: sp.csr_matrix, left_out: NDArray[np.bool_]) -> sp.csr_matrix:
    features = features.copy()
    features.data[left_out[features.indices]] = 0
    features.eliminate_zeros()
    return features


def _owners(features: sp.csr_matrix, known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the known item that alone has each feature, as its number in ``known``; -1 where there is none."""
    entries = features.tocoo()
    has_weight = entries.data != 0
    rows, columns = entries.row[has_weight], entries.col[has_weight]
    numbers = np.full(features.shape[0], -1)
    numbers[known] = np.arange(len(known))
    owners = np.full(features.shape[1], -1)
    is_own = np.bincount(columns, minlength=features.shape[1])[columns] == 1
    owners[columns[is_own]] = numbers[rows[is_own]]
    return owners


def _profiles(given: Input, loadings: Floats) -> Floats:
    """Return what each user feature adds to a profile: the sum of the coordinates of its users' items.

    Where each user with positives has an identity column, only these columns have profiles.
    """
    features = given.user_features
    sums = given.positives() @ coordinates_of(given.item_features, loadings)
    if is_identity(features):
        return np.asarray(sums, dtype=np.float32)
    is_own = own_columns(features, np.unique(given.users))
    if is_own is None:
        return np.asarray(features.T @ unit_rows(sums), dtype=np.float32)
    features = features.copy()
    features.data = is_own.astype(np.float32)
    return np.asarray(features.T @ sums, dtype=np.float32)
