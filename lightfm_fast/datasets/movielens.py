"""MovieLens 100K, read out of the archive that GroupLens publishes."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast._arguments import check_feature_choice, check_finite_number
from lightfm_fast.datasets._archive import check_digest, locate_archive, open_archive

_NAME = "ml-100k.zip"
_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"

_LARGEST = 32_000_000  # bytes: the archive has 5 million, which unpack to 16 million
_LARGEST_UNPACKED = 64_000_000

# The archive whose MD5 GroupLens publishes as 0e33842e24a9c977be4e0107933c0723.
_ARCHIVE_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"

# What fetch_movielens reads, and what fetch_movielens_tables reads.
_OF_MATRICES = ("ua.base", "ua.test", "u.genre", "u.item")
_OF_TABLES = ("u.data", "u.user", "u.genre", "u.item")

# A copy that was unpacked and packed again has other bytes but the same members.
_MEMBER_SHA256 = {
    "u.data": {"06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"},
    "u.user": {"f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c"},
    "ua.base": {"67b5bcdb380c29f85d56a012ecd88612ae020f30a6730d117a334ee8203b91f2"},
    "ua.test": {"d0497e202417720f57a184ec8c66be2d1afa4ff41bb53787c57b28d6bf79bc42"},
    "u.genre": {"9757e0d3e6b298159a80dd48eaf938114690e911e39af97a76949ef1663610bb"},
    "u.item": {
        "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
        # In circulation with the accents taken off the titles.
        "e706db993261e876c2a6b3bc617709311da781695be13af1fe2b3e1b6f723e64",
    },
}


def fetch_movielens(
    data_home: str | os.PathLike[str] | None = None,
    indicator_features: bool = True,
    genre_features: bool = False,
    min_rating: float = 0.0,
    download_if_missing: bool = True,
) -> dict[str, Any]:
    """MovieLens 100K in its ``ua`` split: ten ratings of each of 943 users are the test set.

    The archive ``ml-100k.zip`` is read without unpacking it. Its folder is ``data_home``, else the folder named by the
    environment variable ``LIGHTFM_FAST_DATA``, else ``lightfm_fast`` in the user's cache folder (``$XDG_CACHE_HOME`` or
    ``~/.cache``, ``~/Library/Caches``, ``%LOCALAPPDATA%``). If it is missing, it is downloaded from GroupLens, and kept
    only if it has the published archive's SHA-256. An existing file may also be a repacked copy: then the SHA-256 of
    each member read is checked.

    Parameters
    ----------
    data_home : path, optional
        Folder that holds, or shall hold, ``ml-100k.zip``. It may be read-only if the file is there.
    indicator_features : bool
        Give each item one feature: an identity matrix.
    genre_features : bool
        Describe items by 19 genres. With ``indicator_features`` the matrix has both, identity first.
    min_rating : float
        Leave out ratings below this (they run from 1 to 5).
    download_if_missing : bool
        Whether a missing archive is downloaded.

    Returns
    -------
    dict
        - ``train``, ``test`` : coo_matrix of int32, shape (943, 1682); the values are the ratings
        - ``item_features`` : csr_matrix of float32, shape (1682, n_features) with n_features 1682, 19 or 1701
        - ``item_feature_labels`` : array of str, shape (n_features,); titles, then ``genre:Action`` …; without genres
          the same array as ``item_labels``
        - ``item_labels`` : array of str, shape (1682,); the whole titles (LightFM 1.17 keeps one letter)

    Raises
    ------
    TypeError
        If ``min_rating`` is not a number.
    ValueError
        If both kinds of features are off, ``min_rating`` is not finite, or the archive is incomplete or altered.
    OSError
        If the archive is missing and downloads are not allowed or fail.

    References
    ----------
    F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
    GroupLens allows use under the terms in the archive's README, and no redistribution.
    """
    check_feature_choice(indicator_features=indicator_features, genre_features=genre_features)
    min_rating = check_finite_number(min_rating, "min_rating")
    members = _read_archive(_OF_MATRICES, data_home, download_if_missing)
    train_ratings, test_ratings = (_parse_ratings(members[name]) for name in ("ua.base", "ua.test"))
    n_users, n_items = np.concatenate([train_ratings, test_ratings])[:, :2].max(axis=0) + 1
    shape = (int(n_users), int(n_items))
    genre_labels = _parse_genres(members["u.genre"])
    titles, genres = _parse_items(members["u.item"])

    blocks, labels = [], []
    if indicator_features:
        blocks.append(sp.identity(shape[1], format="csr", dtype=np.float32))
        labels.append(titles)
    if genre_features:
        blocks.append(sp.csr_matrix(genres))
        labels.append(genre_labels)
    return {
        "train": _to_matrix(train_ratings, shape, min_rating),
        "test": _to_matrix(test_ratings, shape, min_rating),
        "item_features": sp.csr_matrix(sp.hstack(blocks, format="csr")),
        "item_feature_labels": labels[0] if len(labels) == 1 else np.concatenate(labels),
        "item_labels": titles,
    }


def read_tables(data_home: str | os.PathLike[str] | None, download_if_missing: bool) -> dict[str, dict[str, Any]]:
    """Return the tables of the archive; :func:`lightfm_fast.datasets.fetch_movielens_tables` describes them."""
    members = _read_archive(_OF_TABLES, data_home, download_if_missing)
    user, film, rating, seconds = np.array(members["u.data"].split(), dtype=np.int64).reshape(-1, 4).T
    people = [line.split("|") for line in members["u.user"].decode("ascii").split("\n") if line]
    genres = np.char.partition(_parse_genres(members["u.genre"]), ":")[:, 2]
    titles, flags = _parse_items(members["u.item"])
    return {
        "ratings": {"user": user, "film": film, "rating": rating.astype(np.float32), "timestamp": seconds},
        "users": {
            "user": np.array([row[0] for row in people], dtype=np.int64),
            "age": np.array([row[1] for row in people], dtype=np.int64),
            "gender": np.array([row[2] for row in people]),
            "occupation": np.array([row[3] for row in people]),
        },
        "films": {
            "film": np.arange(1, len(titles) + 1),
            "title": titles,
            "genres": np.array(["|".join(genres[row == 1]) for row in flags]),
        },
    }


def _read_archive(
    names: Sequence[str], data_home: str | os.PathLike[str] | None, download_if_missing: bool
) -> dict[str, bytes]:
    """Return members of the verified archive."""
    path = locate_archive(
        _NAME,
        _URL,
        largest=_LARGEST,
        verify_cached=functools.partial(_verify_archive_or_members, names=names),
        verify_download=_verify_archive,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    return _read_members(path, names)


def _verify_archive(path: Path) -> None:
    check_digest(path, _ARCHIVE_SHA256)


def _verify_archive_or_members(path: Path, names: Sequence[str]) -> None:
    try:
        _verify_archive(path)
    except ValueError:
        for name, content in _read_members(path, names).items():
            digest = hashlib.sha256(content).hexdigest()
            if digest not in _MEMBER_SHA256[name]:
                raise ValueError(f"its member {name} has the unknown SHA-256 {digest}") from None


def _read_members(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    try:
        with open_archive(path, _LARGEST_UNPACKED) as archive:
            return {name: archive.read(f"ml-100k/{name}") for name in names}
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error


def _parse_ratings(content: bytes) -> np.ndarray:
    """Return rows of (user, item, rating, seconds since 1970), users and items counted from 0."""
    ratings = np.array([int(number) for number in content.split()], dtype=np.int64).reshape(-1, 4)
    ratings[:, :2] -= 1
    return ratings


def _parse_genres(content: bytes) -> np.ndarray:
    return np.array([f"genre:{line.split('|')[0]}" for line in content.decode("latin-1").split("\n") if line])


def _parse_items(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return titles, and a dense matrix of genres of shape (n_items, 19). The file lists the items in order."""
    rows = [line.split("|") for line in content.decode("latin-1").split("\n") if line]
    return np.array([row[1] for row in rows]), np.array([row[5:] for row in rows]).astype(np.float32)


def _to_matrix(ratings: np.ndarray, shape: tuple[int, int], min_rating: float) -> sp.coo_matrix:
    # One contiguous array each, as the compiled core takes them.
    users, items, values = np.ascontiguousarray(ratings[ratings[:, 2] >= min_rating, :3].T, dtype=np.int32)
    return sp.coo_matrix((values, (users, items)), shape=shape)
