"""Seeded interactions that resemble real ones: long-tailed, personal, and explained by features.

The model is a mixture of tastes, so that a choice costs one binary search in the catalogue:

    P(item | user) = sum over tastes of P(taste | user) P(item | taste).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast._arguments import check_count, check_proper_fraction, is_whole, shorten

# Standard deviations of the logarithms, near those of MovieLens 20M for users.
_ACTIVITY_SPREAD = 1.1
_POPULARITY_SPREAD = 1.2
# Exponent of the power law of tags and of users' values.
_FEATURE_TAIL = 0.5
# Share of the variance of a latent vector that its features explain.
_EXPLAINED = 0.9
# Scale of the scores of tastes for a user, and of items for a taste.
_USER_SHARPNESS = 4.0
_ITEM_SHARPNESS = 2.5
_TASTES_PER_COMPONENT = 4
# Above this share of the catalogue, redrawing duplicates costs more than scoring every item.
_DENSE_SHARE = 0.1
_CHUNK = 2_000_000
_TOWNS, _GENRES = ("Oslo", "Rome", "Lima"), ("crime", "comedy", "family")


def make_interactions(
    n_users: int = 1000,
    n_items: int = 500,
    n_interactions: int = 50_000,
    *,
    n_components: int = 8,
    n_tags: int = 50,
    tags_per_item: int = 8,
    user_columns: int = 3,
    values_per_user_column: int = 10,
    test_fraction: float = 0.2,
    random_state: int | np.random.Generator | None = 0,
) -> dict[str, Any]:
    """Draw implicit interactions with a long tail from a latent model that the features largely explain.

    Parameters
    ----------
    n_users, n_items : int
        Size of the matrix.
    n_interactions : int
        Number of distinct (user, item) pairs in train and test together; met exactly.
    n_components : int
        Dimension of the latent space.
    n_tags, tags_per_item : int
        Number of tags, and of different tags of each item.
    user_columns, values_per_user_column : int
        Number of categorical columns that describe users, and of values in each.
    test_fraction : float
        Probability that an interaction is in the test set; between 0 and 1, both excluded.
    random_state : int, Generator or None
        Seed. The same seed and sizes give the same data.

    Returns
    -------
    dict
        - ``train``, ``test`` : coo_matrix of float32 ones, shape (n_users, n_items), int32 indices,
          sorted by user and item
        - ``item_features`` : csr_matrix of float32 ones, shape (n_items, n_items + n_tags):
          identity, then tags
        - ``item_feature_labels`` : array of str, shape (n_items + n_tags,)
        - ``item_labels`` : array of str, shape (n_items,)
        - ``user_features`` : csr_matrix of float32 ones, shape (n_users, n_users + user_columns *
          values_per_user_column): identity, then one value of each column
        - ``user_feature_labels`` : array of str, one for each column of ``user_features``

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1, if there are more interactions than pairs or more
        tags an item than tags, or if ``test_fraction`` is out of range.

    Notes
    -----
    The steps, in the order of drawing:

    1. Each tag and each value of a user column has a latent vector from the standard normal distribution. An
       item has ``tags_per_item`` tags, a user one value a column, both with a long tail (weight 1 / √rank).
    2. An item's latent vector is the sum of its tags' vectors, scaled to unit variance, times √0.9, plus √0.1
       times another standard normal vector. A user's vector is drawn likewise from the user's values.
    3. There are 4 ``n_components`` tastes: random directions c of unit length. A user u follows a taste with
       probability softmax(4 c·u) over tastes; within a taste an item i is chosen with probability
       proportional to popularity(i) exp(2.5 c·i). The score of a pair is the mixture of these.
    4. Popularity is log-normal (σ = 1.2). A user's number of interactions is log-normal (σ = 1.1), scaled so that the
       sum is ``n_interactions``. It is at most half of the items, if that suffices.
    5. Each user chooses one item after another, without repetition.

    Time and memory are proportional to the number of interactions.
    """
    n_users, n_items = check_count(n_users, "n_users"), check_count(n_items, "n_items")
    n_components, n_tags = check_count(n_components, "n_components"), check_count(n_tags, "n_tags")
    user_columns = check_count(user_columns, "user_columns")
    values_per_user_column = check_count(values_per_user_column, "values_per_user_column")
    n_interactions = check_count(n_interactions, "n_interactions", largest=n_users * n_items)
    tags_per_item = check_count(tags_per_item, "tags_per_item", largest=n_tags)
    test_fraction = check_proper_fraction(test_fraction, "test_fraction")
    generator = _generator_of(random_state)

    tags = _draw_tags(n_items, n_tags, tags_per_item, generator)
    values = _draw_column_values(n_users, user_columns, values_per_user_column, generator)
    item_vectors = _latent_vectors(tags, n_components, generator)
    user_vectors = _latent_vectors(values, n_components, generator)

    tastes = generator.standard_normal((_TASTES_PER_COMPONENT * n_components, n_components), dtype=np.float32)
    tastes /= np.linalg.norm(tastes, axis=1, keepdims=True)
    taste_of_user = _softmax(_USER_SHARPNESS * user_vectors @ tastes.T)
    popularity = _POPULARITY_SPREAD * generator.standard_normal(n_items, dtype=np.float32)
    item_of_taste = _softmax(_ITEM_SHARPNESS * tastes @ item_vectors.T + popularity)

    activity = np.exp(_ACTIVITY_SPREAD * generator.standard_normal(n_users))
    # A user has at most half the catalogue, unless n_interactions needs more.
    most_choices = max(n_items // 2, -(-n_interactions // n_users))
    n_choices = _apportion(n_interactions, activity, most_choices)
    train, test = _draw_interactions(n_choices, taste_of_user, item_of_taste, test_fraction, generator)

    item_labels = _labels("item", n_items)
    value_labels = [
        f"column{column}:{value}" for column in range(user_columns) for value in range(values_per_user_column)
    ]
    return {
        "train": train,
        "test": test,
        "item_features": _with_identity(tags),
        "item_feature_labels": np.concatenate([item_labels, _labels("tag", n_tags)]),
        "item_labels": item_labels,
        "user_features": _with_identity(values),
        "user_feature_labels": np.concatenate([_labels("user", n_users), value_labels]),
    }


def make_tables(
    n_users: int = 200, n_films: int = 100, random_state: int | np.random.Generator | None = 0
) -> tuple[dict[str, list[Any]], dict[str, list[Any]], dict[str, list[Any]]]:
    """Invent the tables of a cinema, to try things out with: each town likes the films of one genre.

    Parameters
    ----------
    n_users, n_films : int
        At least 3 of each.
    random_state : int, numpy.random.Generator or None

    Returns
    -------
    views : dict of columns
        ``user``, ``film``, ``stars`` from 1 to 5, and ``day``, in whose order the rows are. The last film is new:
        it has no views.
    users : dict of columns
        ``user``, ``town`` and ``age``.
    films : dict of columns
        ``film``, ``title``, ``genre`` and ``year``.

    Raises
    ------
    ValueError
        If a number is no whole number of at least 3.

    Examples
    --------
    >>> views, users, films = make_tables()
    >>> list(views), list(users), list(films)
    (['user', 'film', 'stars', 'day'], ['user', 'town', 'age'], ['film', 'title', 'genre', 'year'])
    """
    n_users, n_films = check_count(n_users, "n_users"), check_count(n_films, "n_films")
    for number, name in ((n_users, "n_users"), (n_films, "n_films")):
        if number < len(_GENRES):
            raise ValueError(f"{name} is {number}, expected at least {len(_GENRES)}: one of each kind")
    generator = _generator_of(random_state)
    town, genre = generator.permutation(n_users) % len(_TOWNS), generator.permutation(n_films) % len(_GENRES)
    suits = town[:, None] == genre
    popularity = generator.permutation(np.linspace(0.1, 0.9, n_films))
    popularity[-1] = 0
    watched = generator.random((n_users, n_films)) < popularity * np.where(suits, 1, 0.08)
    user, film = generator.permutation(np.argwhere(watched)).T
    stars = np.clip(generator.normal(np.where(suits[user, film], 4.3, 2.7), 0.8).round(), 1, 5).astype(int)
    views = {
        "user": [f"user-{n}" for n in user],
        "film": [f"film-{n}" for n in film],
        "stars": stars.tolist(),
        "day": np.linspace(1, 365, len(user)).astype(int).tolist(),
    }
    users = {
        "user": [f"user-{n}" for n in range(n_users)],
        "town": [_TOWNS[n] for n in town],
        "age": generator.integers(16, 80, n_users).tolist(),
    }
    films = {
        "film": [f"film-{n}" for n in range(n_films)],
        "title": [f"{_GENRES[kind].capitalize()} {n}" for n, kind in enumerate(genre)],
        "genre": [_GENRES[kind] for kind in genre],
        "year": generator.integers(1950, 2025, n_films).tolist(),
    }
    return views, users, films


def _generator_of(random_state: Any) -> np.random.Generator:
    """Return the generator that a seed or a generator makes.

    Raises
    ------
    TypeError
        If it is neither None, a whole number nor a Generator.
    ValueError
        If it is negative.
    """
    # NumPy's own error prints the object. SciPy's str of a malformed matrix writes past its arrays.
    if not (random_state is None or is_whole(random_state) or isinstance(random_state, np.random.Generator)):
        raise TypeError(f"random_state is {shorten(random_state)}, expected None, a whole number or a Generator")
    if is_whole(random_state) and random_state < 0:
        raise ValueError(f"random_state is {shorten(random_state)}, expected a whole number of at least 0")
    return np.random.default_rng(random_state)


def _draw_tags(n_items: int, n_tags: int, tags_per_item: int, generator: np.random.Generator) -> sp.csr_matrix:
    """Draw ``tags_per_item`` different tags an item, low numbers more often; shape (n_items, n_tags)."""
    columns = np.empty((n_items, tags_per_item), dtype=np.int32)
    probability = _power_law(n_tags)[np.newaxis]
    rows_at_once = max(1, _CHUNK // n_tags)
    for start in range(0, n_items, rows_at_once):
        chunk = columns[start : start + rows_at_once]
        chunk[:] = _choose_without_repetition(probability, len(chunk), tags_per_item, generator)
    return _ones(columns, n_tags)


def _draw_column_values(n_users: int, n_columns: int, n_values: int, generator: np.random.Generator) -> sp.csr_matrix:
    """Draw a value of each column for a user, low numbers more often; shape (n_users, n_columns * n_values)."""
    values = generator.choice(n_values, size=(n_users, n_columns), p=_power_law(n_values))
    return _ones((values + n_values * np.arange(n_columns)).astype(np.int32), n_columns * n_values)


def _latent_vectors(features: sp.csr_matrix, n_components: int, generator: np.random.Generator) -> np.ndarray:
    """Draw a vector for each row, mostly the sum of its features' vectors; float32, shape (n_rows, n_components)."""
    feature_vectors = generator.standard_normal((features.shape[1], n_components), dtype=np.float32)
    features_per_row = features.nnz / features.shape[0]
    own = generator.standard_normal((features.shape[0], n_components), dtype=np.float32)
    return np.sqrt(np.float32(_EXPLAINED / features_per_row)) * (features @ feature_vectors) + (
        np.sqrt(np.float32(1 - _EXPLAINED)) * own
    )


def _apportion(total: int, weights: np.ndarray, largest: int) -> np.ndarray:
    """Return whole numbers proportional to ``weights``, none above ``largest``, that sum to ``total``."""
    # Cut shares above the limit and spread the excess over the others, until no share is above it.
    share = np.zeros(len(weights))
    free = np.ones(len(weights), dtype=bool)
    while free.any():
        share[free] = (total - largest * np.count_nonzero(~free)) * weights[free] / weights[free].sum()
        over = free & (share > largest)
        if not over.any():
            break
        share[over] = largest
        free &= ~over
    whole = np.floor(share).astype(np.int64)
    by_remainder = np.argsort(whole - share, kind="stable")
    open_rows = by_remainder[whole[by_remainder] < largest]
    whole[open_rows[: total - whole.sum()]] += 1
    return whole


def _draw_interactions(
    n_choices: np.ndarray,
    taste_of_user: np.ndarray,
    item_of_taste: np.ndarray,
    test_fraction: float,
    generator: np.random.Generator,
) -> tuple[sp.coo_matrix, sp.coo_matrix]:
    n_items = item_of_taste.shape[1]
    shape = (len(n_choices), n_items)
    cumulative = np.cumsum(item_of_taste, axis=1)
    cumulative[:, -1] = 1.0
    users = np.repeat(np.arange(len(n_choices), dtype=np.int32), n_choices)
    items = np.empty(len(users), dtype=np.int32)
    stop = 0
    for chunk in _chunks(n_choices):
        dense = n_choices[chunk] > _DENSE_SHARE * n_items
        pairs = np.concatenate(
            [
                _choose_by_trial(chunk[~dense], n_choices, taste_of_user, cumulative, generator),
                _choose_by_score(chunk[dense], n_choices, taste_of_user, item_of_taste, generator),
            ]
        )
        pairs.sort()
        start, stop = stop, stop + len(pairs)
        items[start:stop] = pairs % n_items
    in_test = generator.random(len(users), dtype=np.float32) < test_fraction

    def select(mask: np.ndarray) -> sp.coo_matrix:
        ones = np.ones(np.count_nonzero(mask), dtype=np.float32)
        return sp.coo_matrix((ones, (users[mask], items[mask])), shape=shape)

    return select(~in_test), select(in_test)


def _chunks(n_choices: np.ndarray) -> Iterator[np.ndarray]:
    """Yield consecutive users with about ``_CHUNK`` choices together."""
    boundaries = np.flatnonzero(np.diff(np.cumsum(n_choices) // _CHUNK)) + 1
    yield from np.split(np.arange(len(n_choices)), boundaries)


def _choose_by_trial(
    users: np.ndarray,
    n_choices: np.ndarray,
    taste_of_user: np.ndarray,
    cumulative: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return pairs, as user * n_items + item: draw with repetition, drop duplicates, draw the missing ones again."""
    n_tastes, n_items = cumulative.shape
    finished, pairs = [], np.empty(0, dtype=np.int64)
    lacking = n_choices[users]
    while len(users):
        by_taste = generator.multinomial(lacking, taste_of_user[users])
        drawn = [pairs]
        for taste in range(n_tastes):
            chooser = np.repeat(users, by_taste[:, taste])
            item = np.searchsorted(cumulative[taste], generator.random(len(chooser)), side="right")
            drawn.append(chooser * n_items + item)
        pairs = np.concatenate(drawn)
        pairs.sort()
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        # Most users are done after the first rounds: keep only the pairs of the others.
        position = np.searchsorted(users, pairs // n_items)
        lacking = n_choices[users] - np.bincount(position, minlength=len(users))
        done = lacking == 0
        finished.append(pairs[done[position]])
        pairs = pairs[~done[position]]
        users, lacking = users[~done], lacking[~done]
    return np.concatenate([*finished, pairs])


def _choose_by_score(
    users: np.ndarray,
    n_choices: np.ndarray,
    taste_of_user: np.ndarray,
    item_of_taste: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return pairs, as user * n_items + item, of users who choose a large share of the items: score every item."""
    n_items = item_of_taste.shape[1]
    chosen = [np.empty(0, dtype=np.int64)]
    for user in users:
        probability = taste_of_user[user : user + 1] @ item_of_taste
        items = _choose_without_repetition(probability, 1, n_choices[user], generator)[0]
        chosen.append(user * n_items + items)
    return np.concatenate(chosen)


def _choose_without_repetition(
    probability: np.ndarray, n_rows: int, n_chosen: int, generator: np.random.Generator
) -> np.ndarray:
    """Choose without repetition, as a race: the first arrivals at rates ``probability`` are chosen.

    P. S. Efraimidis and P. G. Spirakis, "Weighted random sampling with a reservoir", IPL 97(5), 2006.
    """
    n_columns = probability.shape[1]
    arrival = generator.standard_exponential((n_rows, n_columns)) / probability
    return np.argpartition(arrival, min(n_chosen, n_columns - 1), axis=1)[:, :n_chosen]


def _power_law(n: int) -> np.ndarray:
    weight = np.arange(1, n + 1) ** -_FEATURE_TAIL
    return weight / weight.sum()


def _softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _ones(columns: np.ndarray, n_columns: int) -> sp.csr_matrix:
    """Return a CSR matrix with a one in each column that is listed for a row."""
    columns = np.sort(columns, axis=1)
    row_starts = np.arange(0, columns.size + 1, columns.shape[1], dtype=np.int32)
    data = np.ones(columns.size, dtype=np.float32)
    return sp.csr_matrix((data, columns.ravel(), row_starts), shape=(len(columns), n_columns))


def _with_identity(features: sp.csr_matrix) -> sp.csr_matrix:
    identity = sp.identity(features.shape[0], format="csr", dtype=np.float32)
    return sp.csr_matrix(sp.hstack([identity, features], format="csr"))


def _labels(kind: str, n: int) -> np.ndarray:
    return np.array([f"{kind}:{number}" for number in range(n)])
