"""Amazon Reviews 2023: ratings of products, a file for each category, as the McAuley Lab publishes them."""

from __future__ import annotations

import csv
import functools
import gzip
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightfm_fast._arguments import check_choice, check_count
from lightfm_fast.datasets._archive import check_digest, locate_archive

_URL = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/benchmark/0core/rating_only/"
_LARGEST = 2_000_000_000  # bytes: the largest category has 1.4 billion
_SHA256 = {
    "All_Beauty": "54b894e68ad965aa73cdb80d8695c1ed37679c46f38b6f97b21ab0fb585aab24",
    "Amazon_Fashion": "7d08f3ad3ec331eb95cabf5a85c8e65f82f958429a17131e6d391f54532c0310",
    "Appliances": "0096701a2521a5fc71c5cfca11e953b0eb48a94a1b6ee4be65cb680c1fd56976",
    "Arts_Crafts_and_Sewing": "05ca786b3f99269ba659d71891b55d23e37bd74ab6cec0b53214ccb656308bb3",
    "Automotive": "9dda260d1d2cb91d0f967d0b4bfa0a09fda2904432023234569e45a6a30c48d3",
    "Baby_Products": "e2a8d0498afed767ee2615db7fac549559d82490b1a73c7241b84b5e9e8c279e",
    "Beauty_and_Personal_Care": "dd89a914e8c71d811c49a7e8fbdfc251c08bffb461b9544275e94018cb17f741",
    "Books": "752e144c1d3804619711a6b21bd68a5505825064723bfcd5008ac26067abe04b",
    "CDs_and_Vinyl": "1bade4e428efcffb549b6b7cb1f62a8cde9644e19a981a210b11a4c9c1561e75",
    "Cell_Phones_and_Accessories": "1f6df616b0ae463c039f68c7082daec52d2c713b33adb57b85db3430a8e2373a",
    "Clothing_Shoes_and_Jewelry": "ee93396e811c03d077290b78e323228c58814a034e3e98d0339e5314d7f7a9a7",
    "Digital_Music": "dbd5ddd5398d0eb9cfe224c9cc60470ccfd9c55e76fc82653dd3f44f6796c2a1",
    "Electronics": "2ac3508c5d0ee55ed9fdc833629f751e0f0120b9a8cb30867c8c14b87911c170",
    "Gift_Cards": "abfd9636afc5cdc1f46082ac1f9661b7c617cbd9c8a75652ad6a567173a14807",
    "Grocery_and_Gourmet_Food": "4cb2da7f57dfe210eecf348ee16514d11460022f0ce4ed141aa66e3eb5410135",
    "Handmade_Products": "b024e3e4cb1b1f4c9cfbb44a506ea42f8b8430ee8caf0dfa69fef52b69ece408",
    "Health_and_Household": "0a8982f9915bd18ea61caf4341db95c3fe1478abee907e6a61fec838374d2dca",
    "Health_and_Personal_Care": "5516d99b9747abff99003a7e1518833c2d64b10196201b6e6e90673bee15964d",
    "Home_and_Kitchen": "9be4e2dc8b3dc513c02521644b2ae55f722b2941767e539dcfe518f6bdd4f70b",
    "Industrial_and_Scientific": "97aea590deb258f634caea04b63f038dceb5990bbc92cac87ce2a985f0f91595",
    "Kindle_Store": "ff546c451edfb403d10099912b816b11600e689a599621167d4847331fdc0a0d",
    "Magazine_Subscriptions": "4892619d97f810331c2a278176b2be616de10403be59e48efbe65c5c1e7904d2",
    "Movies_and_TV": "aa927ae5a4fc5262bfa6152ce522349f828760035242fd7e02b1dc139e867156",
    "Musical_Instruments": "042648a89f479aaa2af4664dcb49966dbaf07bd5ebab6957799f5fb4c5efa2e0",
    "Office_Products": "f91b5cfb6ed5ff52afe3e2f3ecc7918cbd8745b3241a8fc61011c3a41f23920b",
    "Patio_Lawn_and_Garden": "a1ea496e71e488c6b12823d479ed6375384b82f6794b38e66d12a5dcd20c392d",
    "Pet_Supplies": "cfc55406a1fbb507e4adfa18472e60a5de52fab3dd76f97fea25d30da1288003",
    "Software": "11687bdbedc0bfd9bf86368465dcab40f2450d1ea8eabd3c830ba8b339edd9c0",
    "Sports_and_Outdoors": "110617511c7303ca34d157b7d62fd20a02e412c3639b4c6e307a951fadf0414c",
    "Subscription_Boxes": "fb867ee253db3987ab3ceaf371da506df794b08c98cf9a99e9718d9e4e818188",
    "Tools_and_Home_Improvement": "5845ac062a2c165d540badac13f00a8cb8cdaa30deb670a9b41db19d92c6bd1d",
    "Toys_and_Games": "170fc8a18797c6091cf1b07bb3d97c13c94bfa030cf76c430bb8cac0dfb47a9f",
    "Video_Games": "30692f9806e33a7b5d8b599b73d7ca33dbfefb0abdfc1578052a101f2e64b3cd",
}


def fetch_amazon_ratings(
    category: str = "All_Beauty",
    core: int = 1,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> dict[str, NDArray[Any]]:
    """Return the ratings of a category of Amazon Reviews 2023, as :class:`lightfm_fast.Recommender` takes them.

    The file ``amazon_2023_CATEGORY.csv.gz`` is found, downloaded and verified as by :func:`fetch_movielens`.

    Parameters
    ----------
    category : str
        Such as "All_Beauty" (700 thousand ratings, 22 MB), "Video_Games" or "Books"; the largest,
        "Home_and_Kitchen", has 67 million ratings and 1.4 GB.
    core : int
        Keep users and items with at least so many ratings, and repeat until all that is left has so many: 5 gives the
        5-core that many papers use. By default all ratings are kept.
    data_home : path, optional
        Folder that holds, or shall hold, the file.
    download_if_missing : bool
        Whether a missing file is downloaded.

    Returns
    -------
    dict of columns
        ``user`` and ``item`` (str, in object arrays; an item is a product with all its variants), ``rating`` (float32,
        from 1 to 5) and ``timestamp`` (int64, milliseconds since 1970)

    Raises
    ------
    ValueError
        If there is no such category, ``core`` is no whole number of at least 1, or the file is incomplete or altered.
    OSError
        If the file is missing and downloads are not allowed or fail.

    References
    ----------
    Y. Hou, J. Li, Z. He, A. Yan, X. Chen and J. McAuley, "Bridging Language and Items for Retrieval and
    Recommendation", 2024, https://amazon-reviews-2023.github.io.
    """
    check_choice(category, "category", tuple(_SHA256))
    check_count(core, "core")
    verify = functools.partial(check_digest, sha256=_SHA256[category])
    path = locate_archive(
        f"amazon_2023_{category}.csv.gz",
        f"{_URL}{category}.csv.gz",
        largest=_LARGEST,
        verify_cached=verify,
        verify_download=verify,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    numbers: tuple[list[int], list[int]] = ([], [])
    values: tuple[list[float], list[int]] = ([], [])
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        rows = csv.reader(file)
        next(rows)  # the names of the columns
        for user, item, rating, time in rows:
            numbers[0].append(users.setdefault(user, len(users)))
            numbers[1].append(items.setdefault(item, len(items)))
            values[0].append(float(rating))
            values[1].append(int(time))
    user_rows, item_rows = (np.array(rows) for rows in numbers)
    kept = _core(user_rows, item_rows, core)
    return {
        "user": np.array(list(users), dtype=object)[user_rows[kept]],
        "item": np.array(list(items), dtype=object)[item_rows[kept]],
        "rating": np.array(values[0], dtype=np.float32)[kept],
        "timestamp": np.array(values[1], dtype=np.int64)[kept],
    }


def _core(users: NDArray[Any], items: NDArray[Any], least: int) -> NDArray[np.intp]:
    """Return the rows whose users and items all have at least ``least`` of these rows."""
    kept = np.arange(len(users))
    while True:
        often = [np.bincount(side[kept])[side[kept]] >= least for side in (users, items)]
        left = kept[often[0] & often[1]]
        if len(left) == len(kept):
            return kept
        kept = left
