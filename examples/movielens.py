"""Recommend films: train on MovieLens 100K, measure, recommend, explain, and place a new user and a new film.

Run it with ``make demo``, or ``python examples/movielens.py``. If MovieLens 100K is not cached and cannot be
downloaded, it uses an invented cinema.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np

from lightfm_fast import LightFM, Recommender
from lightfm_fast.baselines import Popularity
from lightfm_fast.datasets import fetch_movielens_tables, make_tables
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import MultiCategorical

Table = dict[str, Any]
METRICS = ["precision", "recall", "ndcg"]


def load() -> tuple[Table, Table, Table, list[str]]:
    """Return tables of ratings, users and films, and the columns that describe users."""
    try:
        tables = fetch_movielens_tables("100k")
    except (OSError, ValueError) as error:
        print(f"An invented cinema, since there is no MovieLens 100K: {error}\n")
        views, users, films = make_tables()
        return {**views, "rating": views["stars"]}, users, {**films, "genres": films["genre"]}, ["town"]
    return tables["ratings"], tables["users"], tables["films"], ["gender", "occupation"]


def show(title: str, answer: Table, starred: Collection[str] = ()) -> None:
    print(f"\n{title}\n{'-' * len(title)}")
    for name in answer["title"]:
        print(f"  {'*' if name in starred else ' '} {name}")


def main() -> None:
    ratings, users, films, user_features = load()
    is_test = np.random.default_rng(0).random(len(ratings["user"])) < 0.1
    train, test = ({name: np.asarray(cells)[part] for name, cells in ratings.items()} for part in (~is_test, is_test))

    start = time.perf_counter()
    recommender = Recommender.from_tables(
        train,
        users,
        films,
        user="user",
        item="film",
        value="rating",
        positive_from=4,
        title="title",
        user_features=user_features,
        item_features={"genres": MultiCategorical("|")},
        model=LightFM.recommended(random_state=0),
        num_threads=2,
        verbose=True,
    )
    dataset = recommender.dataset
    print(f"Trained in {time.perf_counter() - start:.1f} s: {dataset}")

    print("\nOn held-out ratings of four and five stars:")
    print(recommender.evaluate(test, metrics=METRICS))
    popular = Popularity().fit(dataset.interactions)
    held_out = dataset.build_interactions_from_table(test).interactions
    print("The most popular films for everybody:")
    print(evaluate(popular, held_out, dataset.interactions, metrics=METRICS))

    title_of = dict(zip(films["film"], films["title"], strict=True))
    user, _ = Counter(test["user"][test["rating"] >= 4].tolist()).most_common(1)[0]
    likes = {title_of[film] for film in test["film"][(test["user"] == user) & (test["rating"] >= 4)]}
    best = recommender.recommend(user, n=5)
    show(f"For user {user} (* are likes that training did not see)", best, likes)
    film, title = best["film"][0], best["title"][0]
    print(f"\n{recommender.explain(user, film)}")
    show(f"Like {title}", recommender.similar_items(film, n=5))

    newcomer = {name: str(users[name][0]) for name in user_features}
    show(f"For a new user: {', '.join(newcomer.values())}", recommender.recommend(newcomer, n=5))
    show(f"The same, who has seen {title}", recommender.recommend(newcomer, history=[film], n=5))

    genres = str(films["genres"][0])
    recommender.update(items={"film": ["new"], "title": ["The New One"], "genres": [genres]})
    show(f"Like a new film: {genres}", recommender.similar_items("new", n=5))


if __name__ == "__main__":
    main()
