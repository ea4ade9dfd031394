"""Draw the README's picture: films of MovieLens 100K as a model places them, and why it recommends one of them.

    python examples/picture.py docs/images/films.png

Needs ``pip install 'lightfm_fast[plot]'`` and MovieLens 100K, which is downloaded where it is not cached.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np

from lightfm_fast import LightFM, Recommender, plotting
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.features import MultiCategorical

MOST_POPULAR = 250
SHOWN_GENRES = ("Children's", "Sci-Fi", "Romance", "Thriller", "Comedy", "War", "Action", "Drama")  # the first counts


def main(path: str) -> None:
    data = fetch_movielens(indicator_features=False, genre_features=True, min_rating=4.0)
    titles, likes = data["item_labels"], data["train"]
    names = [label.removeprefix("genre:") for label in data["item_feature_labels"]]
    genres = [[names[column] for column in row.indices] for row in data["item_features"]]
    recommender = Recommender.from_tables(
        {"user": likes.row, "film": likes.col},
        items={"film": range(len(titles)), "title": titles.tolist(), "genres": genres},
        user="user",
        item="film",
        title="title",
        item_features={"genres": MultiCategorical()},
        model=LightFM.recommended(random_state=1),
    )
    popular = np.argsort(-np.bincount(likes.col, minlength=len(titles)), kind="stable")[:MOST_POPULAR]
    _, embeddings = recommender.model.get_item_representations(recommender.dataset.item_features)
    groups = [next((genre for genre in SHOWN_GENRES if genre in genres[film]), None) for film in popular]
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.4), layout="constrained", width_ratios=(1.25, 1))
    user = int(likes.row[0])
    best = max(recommender.recommend(user, n=10)["film"], key=lambda film: len(genres[film]))
    recommender.explain(user, best).plot(right, n=9)
    # Last, since names are written where there is room in the finished layout.
    plotting.embedding_map(embeddings[popular], titles[popular], groups, left, n_names=22)
    left.set_title("films that the same people like are close together", loc="left")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main(sys.argv[1])
