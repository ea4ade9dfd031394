"""Ratings of Amazon Reviews 2023, read out of small files in its format."""

import gzip
import hashlib

import numpy as np
import pytest

from lightfm_fast import LightFM, Recommender
from lightfm_fast.datasets import amazon, fetch_amazon_ratings

# Ann and Bob have rated both products; Cid one of these, and another that nobody else has.
ROWS = [
    ("ann", "B01", 5.0, 1588687728923),
    ("bob", "B01", 1.0, 1588615855070),
    ("ann", "B02", 4.0, 1589665266052),
    ("bob", "B02", 2.0, 1643393630220),
    ("cid", "B02", 5.0, 1589665266053),
    ("cid", "B03", 3.0, 1589665266054),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    lines = ["user_id,parent_asin,rating,timestamp", *(",".join(map(str, row)) for row in ROWS)]
    content = gzip.compress(("\n".join(lines) + "\n").encode())
    (tmp_path / "amazon_2023_Gift_Cards.csv.gz").write_bytes(content)
    monkeypatch.setitem(amazon._SHA256, "Gift_Cards", hashlib.sha256(content).hexdigest())
    return tmp_path


def test_columns(folder):
    data = fetch_amazon_ratings("Gift_Cards", data_home=folder, download_if_missing=False)
    assert list(zip(*(column.tolist() for column in data.values()), strict=True)) == ROWS
    assert list(data) == ["user", "item", "rating", "timestamp"]
    assert (data["rating"].dtype, data["timestamp"].dtype) == (np.float32, np.int64)
    trained = Recommender.from_tables(
        data, user="user", item="item", value="rating", positive_from=4, model=LightFM(random_state=1), epochs=1
    )
    assert trained.recommend("bob")["item"] == ["B03"]


def test_the_core_is_what_is_left_when_all_have_enough(folder):
    # Without B03 Cid has one rating.
    data = fetch_amazon_ratings("Gift_Cards", core=2, data_home=folder)
    assert list(zip(data["user"], data["item"], strict=True)) == [row[:2] for row in ROWS[:4]]
    assert all(not len(column) for column in fetch_amazon_ratings("Gift_Cards", 3, folder).values())


def test_what_is_not_the_file_is_refused(folder):
    with pytest.raises(ValueError, match="category is 'Cats', expected one of 'All_Beauty'"):
        fetch_amazon_ratings("Cats")
    with pytest.raises(ValueError, match="core is 0"):
        fetch_amazon_ratings("Gift_Cards", core=0)
    (folder / "amazon_2023_Books.csv.gz").write_bytes(b"")
    with pytest.raises(ValueError, match="altered"):
        fetch_amazon_ratings("Books", data_home=folder)
    with pytest.raises(OSError, match=r"0core/rating_only/Software\.csv\.gz there yourself"):
        fetch_amazon_ratings("Software", data_home=folder, download_if_missing=False)
