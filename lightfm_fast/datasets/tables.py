"""Public data sets as tables, read out of the archives that GroupLens publishes."""

from __future__ import annotations

import csv
import functools
import io
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightfm_fast._arguments import check_choice
from lightfm_fast.datasets import movielens
from lightfm_fast.datasets._archive import check_digest, locate_archive, open_archive

Table = dict[str, NDArray[Any]]


class _Archive(NamedTuple):
    url: str
    sha256: str
    largest: int  # bytes of the archive
    largest_unpacked: int


_FILES = "https://files.grouplens.org/datasets/"
_MOVIELENS = {
    "1m": _Archive(
        _FILES + "movielens/ml-1m.zip",
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        8_000_000,
        32_000_000,
    ),
    "20m": _Archive(
        _FILES + "movielens/ml-20m.zip",
        "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        256_000_000,
        1_500_000_000,
    ),
    "32m": _Archive(
        _FILES + "movielens/ml-32m.zip",
        "e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee",
        256_000_000,
        1_500_000_000,
    ),
}
_LASTFM = _Archive(
    _FILES + "hetrec2011/hetrec2011-lastfm-2k.zip",
    "6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
    8_000_000,
    32_000_000,
)


def fetch_movielens_tables(
    size: str = "1m", data_home: str | os.PathLike[str] | None = None, download_if_missing: bool = True
) -> dict[str, Table]:
    """Return the tables of MovieLens 100K, 1M, 20M or 32M, as :class:`lightfm_fast.Recommender` takes them.

    The archive is found, downloaded and verified as by :func:`fetch_movielens`.

    Parameters
    ----------
    size : {"100k", "1m", "20m", "32m"}
        Number of ratings. Reading the largest two takes about 4 GB of memory.
    data_home : path, optional
        Folder that holds, or shall hold, the archive.
    download_if_missing : bool
        Whether a missing archive is downloaded.

    Returns
    -------
    dict
        - ``ratings`` : dict of columns ``user``, ``film`` and ``timestamp`` (int64, seconds since 1970), and ``rating``
          (float32, from 0.5 to 5)
        - ``films`` : dict of columns ``film`` (int64), ``title`` and ``genres`` (str, divided by ``|``)
        - ``users``, of 100K only : dict of columns ``user`` and ``age`` (int64), ``gender`` and ``occupation`` (str)

    Raises
    ------
    ValueError
        If ``size`` is another, or the archive is incomplete or altered.
    OSError
        If the archive is missing and downloads are not allowed or fail.

    References
    ----------
    F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
    GroupLens allows use under the terms in the archive's README, and no redistribution.
    """
    check_choice(size, "size", ("100k", *_MOVIELENS))
    if size == "100k":
        return movielens.read_tables(data_home, download_if_missing)
    is_csv = size != "1m"
    names = ("ratings.csv", "movies.csv") if is_csv else ("ratings.dat", "movies.dat")
    folder = f"ml-{size}/"
    ratings, films = _read(_MOVIELENS[size], [folder + name for name in names], data_home, download_if_missing)
    if is_csv:
        lines = list(csv.reader(io.StringIO(films.decode("utf-8"), newline="")))[1:]
    else:
        lines = [line.split("::") for line in films.decode("latin-1").splitlines()]
    film, title, genres = zip(*lines, strict=True)
    columns = _numbers(ratings.replace(b"::", b","), n_columns=4, has_header=is_csv)
    return {
        "ratings": {
            "user": columns[0].astype(np.int64),
            "film": columns[1].astype(np.int64),
            "rating": columns[2].astype(np.float32),
            "timestamp": columns[3].astype(np.int64),
        },
        "films": {"film": np.array(film, dtype=np.int64), "title": np.array(title), "genres": np.array(genres)},
    }


def fetch_lastfm(data_home: str | os.PathLike[str] | None = None, download_if_missing: bool = True) -> dict[str, Table]:
    """Return the plays, artists and tags of Last.fm 2K (HetRec 2011): 1,892 listeners and 17,632 artists.

    The archive is found, downloaded and verified as by :func:`fetch_movielens`.

    Parameters
    ----------
    data_home : path, optional
        Folder that holds, or shall hold, ``hetrec2011-lastfm-2k.zip``.
    download_if_missing : bool
        Whether a missing archive is downloaded.

    Returns
    -------
    dict
        - ``plays`` : dict of columns ``user``, ``artist`` and ``plays`` (int64), a row for each listener and artist
        - ``artists`` : dict of columns ``artist`` (int64) and ``name`` (str)
        - ``tags`` : dict of columns ``artist`` (int64) and ``tag`` (str), a row for each tag that a listener gave;
          :func:`lightfm_fast.features.gather_tags` makes features of them

    Raises
    ------
    ValueError
        If the archive is incomplete or altered.
    OSError
        If the archive is missing and downloads are not allowed or fail.

    References
    ----------
    I. Cantador, P. Brusilovsky and T. Kuflik, "2nd Workshop on Information Heterogeneity and Fusion in Recommender
    Systems (HetRec 2011)", RecSys 2011. The data are for non-commercial use.
    """
    names = ["user_artists.dat", "artists.dat", "tags.dat", "user_taggedartists.dat"]
    plays, artists, tags, given = _read(_LASTFM, names, data_home, download_if_missing)
    user, artist, count = _numbers(plays.replace(b"\t", b","), n_columns=3, has_header=True)
    known = [line.split("\t")[:2] for line in artists.decode("utf-8").split("\n")[1:] if line]
    text = dict(line.split("\t") for line in tags.decode("latin-1").replace("\r", "").split("\n")[1:] if line)
    tagged = _numbers(given.replace(b"\t", b","), n_columns=6, has_header=True)
    return {
        "plays": {
            "user": user.astype(np.int64),
            "artist": artist.astype(np.int64),
            "plays": count.astype(np.int64),
        },
        "artists": {
            "artist": np.array([number for number, _ in known], dtype=np.int64),
            "name": np.array([name for _, name in known]),
        },
        "tags": {
            "artist": tagged[1].astype(np.int64),
            "tag": np.array([text[str(int(number))] for number in tagged[2]]),
        },
    }


def _read(
    archive: _Archive, names: list[str], data_home: str | os.PathLike[str] | None, download_if_missing: bool
) -> list[bytes]:
    """Return members of the verified archive."""
    verify = functools.partial(check_digest, sha256=archive.sha256)
    path = locate_archive(
        archive.url.rpartition("/")[2],
        archive.url,
        largest=archive.largest,
        verify_cached=verify,
        verify_download=verify,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    with open_archive(path, archive.largest_unpacked) as opened:
        return [opened.read(name) for name in names]


def _numbers(content: bytes, n_columns: int, has_header: bool) -> NDArray[np.float64]:
    """Return columns of numbers, divided by commas, as rows of an array."""
    if has_header:
        content = content.partition(b"\n")[2]
    values = np.fromstring(content.replace(b"\r", b"").replace(b"\n", b",").rstrip(b",").decode("ascii"), sep=",")
    return values.reshape(-1, n_columns).T
