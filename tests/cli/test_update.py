"""update trains on later rows, grows, and keeps the old model where the gate finds the new one worse."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM, Recommender
from lightfm_fast.cli import updating
from lightfm_fast.table_files import write_table

from .films import features_of, fit_arguments, make_dataset, names_of

COMMON = ("--threads", "1", "--quiet")


@pytest.fixture
def later(folder, run):
    """Rows of known and of new users and films, and the tables that describe the new ones."""
    rows = {
        "user_id": ["000", "zoe", "zoe", "001", "yan"],
        "item_id": ["film, 3", "film, new", "film, 4", "film, new", "film, 4"],
        "rating": [1, 1, 1, -1, 1],
    }
    write_table("later.csv", rows)
    write_table("more_users.csv", {"user_id": ["zoe"], "town": ["Oslo"], "age": [44]})
    write_table("more_items.csv", {"item_id": ["film, new"], "tags": ["dark|short"]})
    return rows


def test_the_model_grows_as_the_library_grows_it(folder, run, later):
    described = ["--users", "more_users.csv", "--items", "more_items.csv"]
    told = run("update", "model.safetensors", "later.csv", "-o", "new.safetensors", *described, *COMMON, "--epochs", 3)
    assert "2 new users, 1 new item, 3 epochs" in told.out
    expected = Recommender.load("model.safetensors").update(
        later,
        {"user_id": ["zoe"], "town": ["Oslo"], "age": [44]},
        {"item_id": ["film, new"], "tags": ["dark|short"]},
        epochs=3,
    )
    model = LightFM.load("new.safetensors")
    assert names_of(model, "user")[-2:] == ["zoe", "yan"]
    assert names_of(model, "item")[-1] == "film, new"
    assert_array_equal(model.item_embeddings, expected.model.item_embeddings)
    assert_array_equal(model.user_biases, expected.model.user_biases)
    assert_array_equal(model.dataset_.item_features.toarray(), expected.dataset.item_features.toarray())
    assert_array_equal(model.dataset_.interactions.toarray(), expected.dataset.interactions.toarray())
    run("update", "model.safetensors", "-o", "other.safetensors", "--epochs", 3, *described, *COMMON, "later.csv")
    assert_array_equal(LightFM.load("other.safetensors").item_embeddings, expected.model.item_embeddings)
    assert json.loads(run("recommend", "new.safetensors", "--users", "zoe", "-n", 1, "--json").out)[0]["user"] == "zoe"


def test_new_items_need_no_interactions(run, later):
    told = run("update", "model.safetensors", "-o", "new.safetensors", "--items", "more_items.csv")
    assert told.out.endswith("MB, 0 new users, 1 new item, not trained\n")
    expected = Recommender.load("model.safetensors").update(
        items={"item_id": ["film, new"], "tags": ["dark|short"]},
    )
    found = Recommender.load("new.safetensors")
    assert_array_equal(found.model.item_embeddings, expected.model.item_embeddings)
    assert found.explain("007", "film, new").score == expected.explain("007", "film, new").score
    write_table("tags.csv", {"item_id": ["film, newer", "film, newer"], "tags": ["dark", "short"]})
    tagged = ["--item-tags", "tags.csv", "tags"]
    assert json.loads(run("update", "model.safetensors", "-o", "x", *tagged, "--json").out)["epochs"] == 0
    assert "nothing to update with" in run("update", "model.safetensors", "-o", "x", code=2).err
    gate = ["--items", "more_items.csv", "--gate", "ndcg", "--validation", "test.csv"]
    assert "--gate compares models" in run("update", "model.safetensors", "-o", "x", *gate, code=2).err


def test_update_in_place_and_as_json(run, later):
    run(*fit_arguments(Path(), "daily.safetensors", "--quiet", "--no-interactions"))
    arguments = ["update", "daily.safetensors", "later.csv", "-o", "daily.safetensors", *COMMON, "--json"]
    found = json.loads(run(*arguments, "--unknown", "skip").out)
    assert (found["model"], found["new_users"], found["new_items"], found["skipped_rows"]) == (
        "daily.safetensors",
        0,
        0,
        4,
    )
    assert found["gate"] is None
    assert json.loads(run(*arguments).out)["users"] == 42
    assert LightFM.load("daily.safetensors").dataset_.interactions is None  # the file never had the earlier ones
    assert (
        "would be written over later.csv"
        in run("update", "daily.safetensors", "later.csv", "-o", "later.csv", code=2).err
    )


def test_files_of_recommenders_keep_their_interactions_and_titles(run):
    views = {"user_id": ["ann", "bob", "cid"], "item_id": [1, 2, 3]}
    items = {"item_id": [1, 2, 3], "kind": ["a", "b", "a"], "title": ["One", "Two", "Three"]}
    model = LightFM(no_components=4, random_state=0)
    Recommender.from_tables(views, items=items, item_features=["kind"], title="title", model=model, epochs=1).save(
        "views.safetensors"
    )
    write_table("more.parquet", {"user_id": ["ann"], "item_id": [4]})
    write_table("four.parquet", {"item_id": [4], "kind": ["b"], "title": ["Four"]})
    run("update", "views.safetensors", "more.parquet", "--items", "four.parquet", "-o", "grown.safetensors", *COMMON)
    grown = Recommender.load("grown.safetensors")
    assert grown.titles == ("One", "Two", "Three", "Four")
    assert grown.dataset.interactions.nnz == 4


def test_the_gate_measures_as_the_library_does(folder, run, later):
    arguments = ["update", "model.safetensors", "train.csv", "later.csv", "-o", "gated.safetensors", *COMMON]
    held_out = ["--gate", "recall@3", "--validation", "test.csv", "--json"]
    found = json.loads(run(*arguments, *held_out).out)["gate"]
    new, old = LightFM.load("gated.safetensors"), LightFM.load("model.safetensors")
    test, known = (make_dataset(folder, name).interactions.tocsr() for name in ("test", "train"))
    known = known.tolil()
    known[0, 3] = known[1, 29] = 1  # of later.csv, and an item that none of the models may rank
    known[1, 29] = make_dataset(folder).interactions.tocsr()[1, 29]
    values = []
    for model in (old, new):
        features = features_of(model.dataset_)
        per_user = {}
        scores = [
            model.predict(user, range(30), features["item_features"], features["user_features"]) for user in range(40)
        ]
        for user, score in enumerate(scores):
            liked = set(np.flatnonzero(test[user].toarray().ravel() > 0)) - set(
                np.flatnonzero(known[user].toarray() > 0)
            )
            if liked:
                score = np.where(known[user].toarray().ravel() > 0, -np.inf, score)
                per_user[user] = len(liked.intersection(np.argsort(-score, kind="stable")[:3].tolist())) / len(liked)
        values.append(np.array(list(per_user.values())))
    assert found["metric"] == "recall@3"
    assert found["users"] == len(values[0])
    assert found["old"] == pytest.approx(values[0].mean())
    assert found["new"] == pytest.approx(values[1].mean())
    difference = values[1] - values[0]
    assert found["difference"] == pytest.approx(difference.mean())
    assert found["standard_error"] == pytest.approx(difference.std(ddof=1) / np.sqrt(len(difference)))
    assert found["keeps_old"] is False


@pytest.fixture
def halves(run):
    """A model of users who like the films of one half, their held-out films, and rows of the other half's films."""
    rng = np.random.RandomState(0)
    rows = {name: {"user_id": [], "item_id": []} for name in ("views", "hidden", "spoiled")}
    for user in range(60):
        own, other = rng.permutation(30) + 30 * (user % 2), rng.permutation(30) + 30 * (1 - user % 2)
        for name, chosen in (("views", own[:12]), ("hidden", own[12:18]), ("spoiled", other[:20])):
            rows[name]["user_id"] += [user] * len(chosen)
            rows[name]["item_id"] += chosen.tolist()
    for name, table in rows.items():
        write_table(f"{name}.parquet", table)
    run("fit", "views.parquet", "-o", "halves.safetensors", "--seed", 0, *COMMON)


def test_a_worse_model_is_not_written(halves, run):
    before = sorted(os.listdir())
    arguments = ["update", "halves.safetensors", "spoiled.parquet", "-o", "halves.safetensors", *COMMON]
    gate = ["--gate", "ndcg@5", "--validation", "hidden.parquet", "--train", "views.parquet"]
    old = Path("halves.safetensors").read_bytes()
    told = run(*arguments, *gate, code=updating.KEPT_OLD)
    first, second = told.out.splitlines()
    assert first.startswith("ndcg@5 of 60 users: ")
    assert first.endswith("is worse by more than 2 standard errors")
    assert second == "halves.safetensors stays as it was"
    found = json.loads(run(*arguments, *gate, "--json", code=3).out)
    assert (found["model"], found["gate"]["keeps_old"]) == (None, True)
    assert found["gate"]["difference"] < -2 * found["gate"]["standard_error"]
    assert Path("halves.safetensors").read_bytes() == old
    assert sorted(os.listdir()) == before
    run(*arguments)  # without a gate
    assert Path("halves.safetensors").read_bytes() != old


@pytest.mark.parametrize("how", ["random", "time"])
def test_rows_are_held_out(folder, run, monkeypatch, how):
    run(*fit_arguments(folder, "timed.safetensors", "--time-column", "time", "--quiet"))
    read = []
    update, positives = Recommender.update, updating._positives
    monkeypatch.setattr(Recommender, "update", lambda *given, **more: read.append(given[1]) or update(*given, **more))
    monkeypatch.setattr(updating, "_positives", lambda *given: read.append(given[2]) or positives(*given))
    monkeypatch.setattr(updating, "ERRORS", np.inf)  # any model passes
    arguments = ["update", "timed.safetensors", "test.csv", "-o", "x", "--gate", "ndcg", "--hold-out", how, *COMMON]
    run(*arguments, "--fraction", "0.25")
    held_out, kept = read
    n_rows = len(kept["time"]) + len(held_out["time"])
    assert len(held_out["time"]) == round(n_rows / 4)
    assert len({*kept["time"].tolist(), *held_out["time"].tolist()}) == n_rows  # each row has a time of its own
    assert (min(held_out["time"]) > max(kept["time"])) == (how == "time")


ERRORS = {
    "a gate for nothing": ("--gate ndcg@10", "--gate compares on held-out interactions"),
    "two held out": ("--gate ndcg --hold-out random --validation test.csv", "give one"),
    "held out for nothing": ("--hold-out random", "--train need --gate"),
    "known for nothing": ("--train train.csv", "--train need --gate"),
    "a gate of no metric": ("--gate coverage@10", "coverage@10 is no metric at a length, such as ndcg@10"),
    "a gate of no length": ("--gate ndcg@0", "0 is not a whole number of at least 1"),
    "a bad fraction": ("--gate ndcg --hold-out random --fraction 1.5", "--fraction"),
    "no times": ("--gate ndcg --hold-out time", "--hold-out time needs a model that was fitted with --time-column"),
    "too few rows": ("--gate ndcg --hold-out random --fraction 0.01", "holds 0 of 5 rows out"),
    "nothing new to find": (
        "--gate ndcg --validation train.csv --train train.csv",
        "needs at least 2, got 0: give later rows",
    ),
    "strangers": ("--gate ndcg --validation strangers.csv", "what the old model knows"),
    "unknown ids": ("--unknown raise", "unknown to the dataset"),
    "no features": ("--items test.csv", "has no column 'tags'"),
    "no such model": ("", "No such file"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_leave_no_file(run, later, case):
    write_table("strangers.csv", {"user_id": ["x", "y"], "item_id": ["film, 1", "film, 2"], "rating": [1, 1]})
    options, message = ERRORS[case]
    name = "nothing.safetensors" if case == "no such model" else "model.safetensors"
    told = run("update", name, "later.csv", "-o", "never.safetensors", *options.split(), *COMMON, code=2)
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    assert not Path("never.safetensors").exists()


def test_rows_of_another_process_are_not_lost(folder, run, later, monkeypatch):
    shutil.copy(folder / "model.safetensors", "shared.safetensors")
    arguments = ["update", "shared.safetensors", "later.csv", "-o", "./shared.safetensors", *COMMON]
    update, others = Recommender.update, []

    def update_while_another_writes(*given, **more):
        updated = update(*given, **more)
        if not others:
            updated.save("shared.safetensors")
            others.append(Path("shared.safetensors").read_bytes())
        return updated

    monkeypatch.setattr(Recommender, "update", update_while_another_writes)
    told = run(*arguments, code=2)
    assert "shared.safetensors was replaced by another process meanwhile, and stays" in told.err
    assert Path("shared.safetensors").read_bytes() == others[0]
    run(*arguments)
    assert Path("shared.safetensors").read_bytes() != others[0]


def test_a_model_that_is_removed_meanwhile_does_not_cost_the_update(folder, run, later, monkeypatch):
    shutil.copy(folder / "model.safetensors", "old.safetensors")
    Path("new.safetensors").write_bytes(b"of yesterday")
    update = Recommender.update

    def update_while_another_removes(*given, **more):
        Path("old.safetensors").unlink()
        return update(*given, **more)

    monkeypatch.setattr(Recommender, "update", update_while_another_removes)
    run("update", "old.safetensors", "later.csv", "-o", "new.safetensors", *COMMON)
    assert Recommender.load("new.safetensors").dataset.interactions.nnz > 0
