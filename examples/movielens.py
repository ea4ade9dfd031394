"""Recommend films: train a hybrid model, measure it, recommend, and rank a film without interactions.

Run it with ``make demo``, or ``python examples/movielens.py``. It uses MovieLens 100K where that is cached
or can be downloaded, and generated data otherwise.
"""

from __future__ import annotations

import textwrap
import time
from typing import Any

import numpy as np
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast.datasets import fetch_movielens, make_interactions
from lightfm_fast.evaluation import auc_score, precision_at_k, recall_at_k

WIDTH = 80
THREADS = 2


class Popularity:
    """A baseline: recommend the items with most likes, without the items that the user knows."""

    def __init__(self, train: sp.coo_matrix) -> None:
        self.popularity = np.bincount(train.col, minlength=train.shape[1])

    def predict_rank(self, test: sp.spmatrix, train_interactions: sp.spmatrix, **_: Any) -> sp.csr_matrix:
        ranks, known = sp.csr_matrix(test, dtype=np.float32, copy=True), sp.csr_matrix(train_interactions)
        for user in range(ranks.shape[0]):
            row = slice(*ranks.indptr[user : user + 2])
            candidates = self.popularity.astype(float)
            candidates[known.indices[slice(*known.indptr[user : user + 2])]] = -1
            at_least = np.searchsorted(np.sort(candidates), candidates[ranks.indices[row]])
            # Ties count against the item, and the item itself does not count.
            ranks.data[row] = len(candidates) - at_least - 1
        return ranks


def load() -> tuple[str, dict[str, Any]]:
    try:
        data = fetch_movielens(genre_features=True, min_rating=4.0)
        return "MovieLens 100K (ratings of 4 and 5 as likes)", data
    except (OSError, ValueError) as error:
        print(textwrap.fill(f"No MovieLens 100K: {error}", WIDTH), end="\n\n")
        return "generated data (make_interactions)", make_interactions()


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def describe(item: int, data: dict[str, Any]) -> str:
    """Return the title of an item, and the names of the features that it shares with others."""
    n_items = len(data["item_labels"])
    shared = [column for column in data["item_features"][item].indices if column >= n_items]
    names = ", ".join(label.removeprefix("genre:") for label in data["item_feature_labels"][shared])
    line = f"{data['item_labels'][item]} | {names}"
    return line if len(line) <= WIDTH - 6 else f"{line[: WIDTH - 8]} …"


def show_metrics(models: dict[str, Any], data: dict[str, Any]) -> None:
    heading("On held-out likes, mean over users")
    print(f"{'':<24}{'precision@10':>14}{'recall@10':>14}{'AUC':>14}")
    for name, (model, features) in models.items():
        given = {"train_interactions": data["train"], "item_features": features, "num_threads": THREADS}
        precision = precision_at_k(model, data["test"], k=10, **given).mean()
        recall = recall_at_k(model, data["test"], k=10, **given).mean()
        auc = auc_score(model, data["test"], **given).mean()
        print(f"{name:<24}{precision:>14.3f}{recall:>14.3f}{auc:>14.3f}")


def show_recommendations(model: LightFM, data: dict[str, Any], users: list[int]) -> None:
    likes, held_out = sp.csr_matrix(data["train"]), sp.csr_matrix(data["test"])
    items = np.arange(likes.shape[1], dtype=np.int32)
    for user in users:
        heading(f"User {user} liked")
        for item in likes[user].indices[:3]:
            print(f"      {describe(item, data)}")
        scores = model.predict(user, items, item_features=data["item_features"], num_threads=THREADS)
        scores[likes[user].indices] = -np.inf
        print("   and is recommended (* was liked, but held out)")
        for item in np.argsort(-scores)[:5]:
            mark = "*" if item in held_out[user].indices else " "
            print(f"    {mark} {describe(item, data)}")


def show_new_item(model: LightFM, data: dict[str, Any]) -> None:
    labels, n_items = list(data["item_feature_labels"]), len(data["item_labels"])
    wanted = [name for name in ("genre:Animation", "genre:Children's", "genre:Musical") if name in labels]
    columns = [labels.index(name) for name in wanted] or [n_items, n_items + 1, n_items + 2]
    names = ", ".join(labels[column].removeprefix("genre:") for column in columns)
    new_item = sp.csr_matrix(
        (np.ones(3, dtype=np.float32), ([0, 0, 0], columns)), shape=(1, data["item_features"].shape[1])
    )

    heading(f"A new item, known only by: {names}")
    _, new_vector = model.get_item_representations(new_item)
    _, vectors = model.get_item_representations(data["item_features"])
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(new_vector)
    similarity = vectors @ new_vector[0] / np.maximum(lengths, 1e-12)
    print("   is most like (cosine)")
    for item in np.argsort(-similarity)[:5]:
        print(f" {similarity[item]:.2f} {describe(item, data)}")

    # The share of the other items that the new item beats, for each user.
    users = np.arange(data["train"].shape[0], dtype=np.int32)
    new_scores = model.predict(users, np.zeros_like(users), item_features=new_item, num_threads=THREADS)
    user_biases, user_vectors = model.get_user_representations()
    item_biases, _ = model.get_item_representations(data["item_features"])
    scores = user_vectors @ vectors.T + item_biases + user_biases[:, np.newaxis]
    beaten = (new_scores[:, np.newaxis] > scores).mean(axis=1)
    likes = sp.csr_matrix(data["train"])
    print("   and should be shown first to")
    for user in np.argsort(-beaten)[:3]:
        shared = sp.csr_matrix(data["item_features"])[likes[user].indices][:, columns].max(axis=1).sum()
        print(
            f"      user {user:<4} it beats {beaten[user]:.0%} of the other items; "
            f"{shared:.0f} of {likes[user].nnz} likes share a feature"
        )


def main() -> None:
    name, data = load()
    train, test, features = data["train"], data["test"], data["item_features"]
    print(f"Data: {name}")
    print("{:,} users, {:,} items, ".format(*train.shape), end="")
    print(f"{train.nnz:,} likes to learn from, {test.nnz:,} held out")

    model = LightFM(no_components=32, loss="warp", random_state=0)
    start = time.perf_counter()
    model.fit(train, item_features=features, epochs=20, num_threads=THREADS, verbose=True)
    print(f"Trained a hybrid WARP model in {time.perf_counter() - start:.1f} s")

    models = {"hybrid WARP model": (model, features), "popularity baseline": (Popularity(train), None)}
    show_metrics(models, data)
    liked = np.bincount(train.row, minlength=train.shape[0])
    show_recommendations(model, data, [int(user) for user in np.flatnonzero((liked > 15) & (liked < 60))[:3]])
    show_new_item(model, data)


if __name__ == "__main__":
    main()
