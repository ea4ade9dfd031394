"""Frames of films and their ratings, and the models that the library fits to them."""

import csv
import io

import numpy as np

from lightfm_fast.data import Dataset
from lightfm_fast.features import Categorical, FeatureSpec, MultiCategorical, QuantileBins
from lightfm_fast.table_files import read_table

N_USERS, N_ITEMS = 40, 30
FEATURES = ("--user-features", "town", "age:bins=3", "--item-features", "tags:tags", "--quiet")


def make_tables():
    """Users 000 to 039, who like the films of one half of the catalogue, each with a rating and a time."""
    rng = np.random.RandomState(0)
    users = {
        "user_id": [f"{user:03}" for user in range(N_USERS)],
        "town": [None if user == 5 else ["Rome", "Oslo"][user % 2] for user in range(N_USERS)],
        "age": (rng.randint(18, 80, N_USERS)).tolist(),
    }
    items = {
        "item_id": [f"film, {item}" for item in range(N_ITEMS)],
        "tags": [f"{'dark' if item < 15 else 'merry'}|{'long' if item % 3 else 'short'}" for item in range(N_ITEMS)],
    }
    pairs = [
        (user, item)
        for user in range(N_USERS)
        for item in rng.permutation(N_ITEMS)[:12].tolist()
        if (item < 15) == (user % 2) or rng.rand() < 0.2
    ]
    rows = {
        "user_id": [users["user_id"][user] for user, _ in pairs],
        "item_id": [items["item_id"][item] for _, item in pairs],
        "rating": rng.choice([-1, 1, 1, 1], len(pairs)).tolist(),
        "time": rng.permutation(len(pairs)).tolist(),
        "weight": rng.rand(len(pairs)).tolist(),
    }
    return rows, users, items


def part(rows, chosen):
    return {name: np.array(column)[chosen].tolist() for name, column in rows.items()}


def fit_arguments(folder, model, *more, ending=".csv"):
    paths = {name: str(folder / f"{name}{ending}") for name in ("train", "users", "items")}
    return [
        *("fit", paths["train"], "-o", str(folder / model), "--users", paths["users"], "--items", paths["items"]),
        *FEATURES,
        *("--value-column", "rating", "--threads", "1", "--seed", "3", "--epochs", "4", "--components", "8"),
        *("--loss", "warp"),  # trains in less time than a preset
        *more,
    ]


def read_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def make_dataset(folder, name="train"):
    read = {
        "train": read_table(folder / f"{name}.csv", ["user_id", "item_id", "rating", "time"], ["user_id"]),
        "users": read_table(folder / "users.csv", ["user_id", "town", "age"], ["user_id"]),
        "items": read_table(folder / "items.csv", ["item_id", "tags"]),
    }
    return Dataset.from_tables(
        read["train"],
        read["users"],
        read["items"],
        value="rating",
        time="time",
        user_features=FeatureSpec({"town": Categorical(), "age": QuantileBins(3)}),
        item_features=FeatureSpec({"tags": MultiCategorical("|", normalize="l2")}),
        normalize=False,
    )


def features_of(dataset):
    return {"user_features": dataset.user_features, "item_features": dataset.item_features}


def names_of(model, side):
    return list(model.dataset_.mapping()[0 if side == "user" else 2])
