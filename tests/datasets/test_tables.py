"""Tables of MovieLens and Last.fm, read out of small archives in their formats."""

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lightfm_fast.datasets import fetch_lastfm, fetch_movielens_tables, tables

DAT = {
    "ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
    "movies.dat": "661::James & the Giant Peach (1996)::Animation|Musical\n1193::Misérables, Les (1995)::Drama\n",
}
CSV = {
    "ratings.csv": "userId,movieId,rating,timestamp\r\n1,1193,5.0,978300760\r\n2,661,3.5,978302109\r\n",
    "movies.csv": 'movieId,title,genres\r\n661,"James & the ""Giant"" Peach, The",Animation|Musical\r\n'
    "1193,Misérables,(no genres listed)\r\n",
}
LASTFM = {
    "user_artists.dat": "userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n",
    "artists.dat": "id\tname\turl\tpictureURL\n51\tDuran Duran\thttp://a\thttp://b\n52\tSigur Rós\thttp://c\t\n",
    "tags.dat": "tagID\ttagValue\r\n13\tchillout\r\n15\tdowntempo\r\n",
    "user_taggedartists.dat": "userID\tartistID\ttagID\tday\tmonth\tyear\r\n2\t52\t15\t1\t4\t2009\r\n",
}


def write(path, members, encoding, folder=""):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(folder + name, text.encode(encoding))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("size", "members"), [("1m", DAT), ("20m", CSV), ("32m", CSV)])
def test_movielens(tmp_path, monkeypatch, size, members):
    digest = write(tmp_path / f"ml-{size}.zip", members, "latin-1" if size == "1m" else "utf-8", f"ml-{size}/")
    monkeypatch.setitem(tables._MOVIELENS, size, tables._MOVIELENS[size]._replace(sha256=digest))
    data = fetch_movielens_tables(size, tmp_path, download_if_missing=False)
    ratings, films = data["ratings"], data["films"]
    assert [ratings[name].tolist() for name in ("user", "film", "timestamp")] == [
        [1, 2],
        [1193, 661],
        [978300760, 978302109],
    ]
    assert ratings["rating"].tolist() == [5, 3 if size == "1m" else 3.5]
    assert ratings["rating"].dtype == np.float32
    assert films["film"].tolist() == [661, 1193]
    assert films["title"][1].startswith("Misérables")
    assert films["genres"][0] == "Animation|Musical"
    assert size == "1m" or films["title"][0] == 'James & the "Giant" Peach, The'


def test_movielens_100k():
    if not Path(os.environ.get("LIGHTFM_FAST_DATA", "none"), "ml-100k.zip").is_file():
        pytest.skip("LIGHTFM_FAST_DATA names no folder with ml-100k.zip")
    data = fetch_movielens_tables("100k", download_if_missing=False)
    sizes = {name: {len(column) for column in table.values()} for name, table in data.items()}
    assert sizes == {"ratings": {100_000}, "users": {943}, "films": {1682}}
    assert {name: column[0].item() for name, column in data["ratings"].items()} == {
        "user": 196,
        "film": 242,
        "rating": 3,
        "timestamp": 881250949,
    }
    assert [column[0] for column in data["users"].values()] == [1, 24, "M", "technician"]
    assert [column[0] for column in data["films"].values()] == [1, "Toy Story (1995)", "Animation|Children's|Comedy"]


def test_lastfm(tmp_path, monkeypatch):
    digest = write(tmp_path / "hetrec2011-lastfm-2k.zip", LASTFM, "utf-8")
    monkeypatch.setattr(tables, "_LASTFM", tables._LASTFM._replace(sha256=digest))
    data = fetch_lastfm(tmp_path, download_if_missing=False)
    found = {name: {column: values.tolist() for column, values in table.items()} for name, table in data.items()}
    assert found == {
        "plays": {"user": [2, 2], "artist": [51, 52], "plays": [13883, 11690]},
        "artists": {"artist": [51, 52], "name": ["Duran Duran", "Sigur Rós"]},
        "tags": {"artist": [52], "tag": ["downtempo"]},
    }


def test_another_archive_is_refused(tmp_path):
    write(tmp_path / "ml-1m.zip", DAT, "latin-1", "ml-1m/")
    with pytest.raises(ValueError, match="altered"):
        fetch_movielens_tables("1m", tmp_path)
    with pytest.raises(ValueError, match="size is '2m'"):
        fetch_movielens_tables("2m", tmp_path)
    with pytest.raises(OSError, match="missing"):
        fetch_lastfm(tmp_path, download_if_missing=False)
