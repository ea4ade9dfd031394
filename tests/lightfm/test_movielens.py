"""Quality on MovieLens; and code written for LightFM runs with one import changed."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from lightfm_fast import LightFM
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.evaluation import auc_score, precision_at_k


@pytest.fixture(scope="module")
def movielens():
    folder = os.environ.get("LIGHTFM_FAST_DATA")
    if not folder or not Path(folder, "ml-100k.zip").is_file():
        pytest.skip("LIGHTFM_FAST_DATA names no folder with ml-100k.zip")
    return fetch_movielens(folder, min_rating=4.0, download_if_missing=False)


def quality(movielens, loss, seed, num_threads=1):
    model = LightFM(loss=loss, random_state=seed).fit(movielens["train"], epochs=10, num_threads=num_threads)
    test, train = movielens["test"], movielens["train"]
    return precision_at_k(model, test, train).mean(), auc_score(model, test, train).mean()


@pytest.mark.parametrize(
    ("loss", "precision", "auc"),
    [("logistic", 0.070, 0.875), ("bpr", 0.108, 0.850), ("warp", 0.120, 0.917), ("warp-kos", 0.110, 0.885)],
)
def test_quality_on_movielens(movielens, loss, precision, auc):
    found = np.mean([quality(movielens, loss, seed) for seed in range(3)], axis=0)
    assert found[0] > precision
    assert found[1] > auc


@pytest.mark.parametrize("loss", ["bpr", "warp"])
def test_two_threads_are_as_good_as_one_on_movielens(movielens, loss):
    one, two = (np.array([quality(movielens, loss, seed, n) for seed in range(5)]) for n in (1, 2))
    assert (np.abs(two.mean(axis=0) - one.mean(axis=0)) < np.ptp(one, axis=0)).all()


def test_the_history_of_movielens_falls(movielens):
    losses = [record["loss"] for record in LightFM(random_state=1).fit(movielens["train"], epochs=5).history_]
    assert losses == sorted(losses, reverse=True)


def test_one_import_changed(movielens, monkeypatch):
    """Code of LightFM's documentation runs unchanged with this package under LightFM's name."""
    names = ("", ".data", ".datasets", ".evaluation", ".cross_validation")
    for name in names:
        module = importlib.import_module(f"lightfm_fast{name}")
        monkeypatch.setitem(sys.modules, f"lightfm{name}", module)
    namespace = {}
    exec(
        """
from lightfm import LightFM
from lightfm.cross_validation import random_train_test_split
from lightfm.data import Dataset
from lightfm.datasets import fetch_movielens
from lightfm.evaluation import auc_score, precision_at_k, recall_at_k, reciprocal_rank

data = fetch_movielens(min_rating=5.0)
model = LightFM(loss="warp", random_state=1)
model.fit(data["train"], epochs=30, num_threads=2)
test_precision = precision_at_k(model, data["test"], k=5).mean()

n_users, n_items = data["train"].shape
known = data["item_labels"][data["train"].tocsr()[3].indices]
scores = model.predict(3, np.arange(n_items))
top = data["item_labels"][np.argsort(-scores)][:3]

train, test = random_train_test_split(data["train"], test_percentage=0.2, random_state=np.random.RandomState(1))
model = LightFM(no_components=30, loss="bpr", item_alpha=1e-6, random_state=1)
model.fit_partial(train, item_features=data["item_features"], epochs=10)
auc = auc_score(model, test, train_interactions=train, item_features=data["item_features"]).mean()
recall = recall_at_k(model, test, train, k=10, item_features=data["item_features"]).mean()
first = reciprocal_rank(model, test, train, item_features=data["item_features"]).mean()

dataset = Dataset()
dataset.fit((f"u{u}" for u in range(9)), (f"i{i}" for i in range(7)), item_features=["red", "blue"])
interactions, weights = dataset.build_interactions([("u1", "i2"), ("u3", "i4", 2.0)])
item_features = dataset.build_item_features([("i2", ["red"]), ("i4", {"blue": 0.5})])
model = LightFM(loss="bpr")
model.fit(interactions, item_features=item_features, sample_weight=weights)
user_biases, user_embeddings = model.get_user_representations()
""",
        {"np": np},
        namespace,
    )
    assert namespace["test_precision"] > 0.03
    assert len(namespace["top"]) == 3
    assert namespace["auc"] > 0.6
    assert namespace["recall"] > 0
    assert namespace["first"] > 0
    assert namespace["user_embeddings"].shape == (9, 10)
