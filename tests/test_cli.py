"""The command, with real files: what it answers is what the library answers, and errors are one line."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import lightfm_fast
from lightfm_fast import LightFM, __version__
from lightfm_fast.cli import main
from lightfm_fast.cross_validation import random_train_test_split
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import Categorical, FeatureSpec, MultiCategorical, QuantileBins
from lightfm_fast.table_files import read_table, write_table

ROOT = Path(__file__).parents[1]
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tables, and a model that the command made of them."""
    folder = tmp_path_factory.mktemp("files")
    rows, users, items = make_tables()
    is_test = np.arange(len(rows["time"])) % 5 == 0
    tables = {"train": part(rows, ~is_test), "test": part(rows, is_test), "users": users, "items": items}
    for name, table in tables.items():
        for ending in (".csv", ".parquet"):
            write_table(folder / f"{name}{ending}", table)
    code = main(fit_arguments(folder, "model.safetensors"))
    assert code == 0
    return folder


def fit_arguments(folder, model, *more, ending=".csv"):
    paths = {name: str(folder / f"{name}{ending}") for name in ("train", "users", "items")}
    return [
        *("fit", paths["train"], "-o", str(folder / model), "--users", paths["users"], "--items", paths["items"]),
        *FEATURES,
        *("--value-column", "rating", "--threads", "1", "--seed", "3", "--epochs", "4", "--components", "8"),
        *more,
    ]


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """Run the command beside the files."""
    monkeypatch.chdir(folder)

    def run(*arguments, code=0):
        capsys.readouterr()
        try:
            found = main(list(map(str, arguments)))
        except SystemExit as error:  # argparse's
            found = error.code
        captured = capsys.readouterr()
        assert found == code, captured.err
        return SimpleNamespace(out=captured.out, err=captured.err)

    return run


@pytest.fixture
def model(folder):
    return LightFM.load(folder / "model.safetensors")


def read_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


# ------------------------------------------------------------------------------------------------------------- fit


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


def train_likewise(dataset, interactions, epochs=4):
    model = LightFM(8, loss="warp", random_state=3)
    return model.fit(interactions, epochs=epochs, **features_of(dataset))


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_fit_is_what_the_library_does(folder, run, ending):
    dataset = make_dataset(folder)
    expected = train_likewise(dataset, dataset.interactions)
    run(*fit_arguments(folder, f"again{ending}.safetensors", ending=ending))
    found = LightFM.load(folder / f"again{ending}.safetensors")
    assert_array_equal(found.item_embeddings, expected.item_embeddings)
    assert_array_equal(found.user_biases, expected.user_biases)
    assert found.dataset_.mapping() == dataset.mapping()
    assert list(found.dataset_.mapping()[0])[:2] == ["000", "001"]  # text, zeros and all
    assert_array_equal(found.dataset_.item_features.toarray(), dataset.item_features.toarray())
    assert list(found.encoders_) == ["user", "item"]


def test_fit_tells_what_it_did(folder, run):
    told = run(*fit_arguments(folder, "told.safetensors"))
    assert told.out.startswith(f"{folder / 'told.safetensors'}: ")
    assert "4 epochs" in told.out
    assert told.err == ""
    facts = json.loads(run(*fit_arguments(folder, "told.safetensors", "--json", "--no-optimizer-state")).out)
    dataset = make_dataset(folder)
    model = LightFM.load(folder / "told.safetensors")
    assert facts == {
        "model": str(folder / "told.safetensors"),
        "bytes": (folder / "told.safetensors").stat().st_size,
        "users": N_USERS,
        "items": N_ITEMS,
        "interactions": dataset.interactions.nnz,
        "trained_on": dataset.interactions.nnz,
        "skipped_rows": 0,
        "epochs": 4,
        "best_epoch": None,
        "loss": model.history_[-1]["loss"],
        "seconds": sum(epoch["seconds"] for epoch in model.history_),
        "held_out": None,
    }


@pytest.mark.parametrize("with_bar", [True, False])
def test_progress_is_apart_from_the_answer(folder, run, monkeypatch, with_bar):
    if not with_bar:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    arguments = [argument for argument in fit_arguments(folder, "bar.safetensors", "--json") if argument != "--quiet"]
    told = run(*arguments)
    assert json.loads(told.out)["epochs"] == 4
    assert "Epoch" in told.err
    assert f"interactions of {N_USERS} users with {N_ITEMS} items" in told.err


def test_held_out_at_random(folder, run):
    arguments = fit_arguments(folder, "held.safetensors", "--hold-out", "random", "--fraction", "0.3", "--json")
    facts = json.loads(run(*arguments, "--k", "5").out)
    dataset = make_dataset(folder)
    train, test = random_train_test_split(dataset.interactions, 0.3, 3)
    model = train_likewise(dataset, train)
    assert_array_equal(LightFM.load(folder / "held.safetensors").item_embeddings, model.item_embeddings)
    train, test = (sp.csr_matrix(matrix > 0, dtype=np.float32) for matrix in (train.tocsr(), test.tocsr()))
    expected = evaluate(model, test, train, ("precision", "recall", "ndcg", "mrr", "auc"), 5, **features_of(dataset))
    assert {name: found["mean"] for name, found in facts["held_out"].items()} == expected.mean
    assert {name: found["standard_error"] for name, found in facts["held_out"].items()} == expected.standard_error
    assert facts["trained_on"] < facts["interactions"]
    assert "held out" in run(*arguments[:-1]).out


@pytest.mark.parametrize("how", ["time", "user-time", "last", "cold-users", "cold-items"])
def test_every_way_to_hold_out(folder, run, how):
    arguments = fit_arguments(folder, "held.safetensors", "--hold-out", how, "--time-column", "time", "--json")
    facts = json.loads(run(*arguments, "--weight-column", "weight").out)
    assert 0 < facts["trained_on"] < facts["interactions"]
    assert 0 < facts["held_out"]["auc"]["mean"] <= 1


def test_patience_keeps_the_best_epoch(folder, run):
    common = fit_arguments(folder, "patient.safetensors", "--validation", "test.csv", "--json")
    facts = json.loads(run(*common, "--epochs", "60", "--patience", "2", "--metric", "recall").out)
    assert facts["best_epoch"] == facts["epochs"] - 2 < 58
    unstopped = [
        json.loads(run(*common, "--epochs", epochs).out)["held_out"]["recall@10"]["mean"]
        for epochs in range(1, facts["epochs"] + 1)
    ]
    assert int(np.argmax(unstopped)) + 1 == facts["best_epoch"]
    assert facts["held_out"]["recall@10"]["mean"] == max(unstopped)


def test_options_reach_the_model(folder, run):
    options = {
        "--loss": ("loss", "warp-kos"),
        "--schedule": ("learning_schedule", "adadelta"),
        "--learning-rate": ("learning_rate", 0.01),
        "--user-alpha": ("user_alpha", 0.1),
        "--item-alpha": ("item_alpha", 0.2),
        "--max-sampled": ("max_sampled", 3),
        "--kos-k": ("k", 2),
        "--kos-n": ("n", 4),
        "--components": ("no_components", 5),
        "--seed": ("random_state", 9),
    }
    given = [text for option, (_, value) in options.items() for text in (option, value)]
    run("fit", "train.csv", "-o", "options.safetensors", "--quiet", "--epochs", 1, *given)
    found = LightFM.load("options.safetensors").get_params()
    expected = dict(options.values())
    assert {name: found[name] for name in expected} == expected
    assert len(LightFM.load("options.safetensors").user_biases) == N_USERS


@pytest.mark.parametrize("kind", ["fast", "ranking"])
def test_a_preset_is_what_recommended_gives_but_for_options(folder, run, kind):
    facts = json.loads(run("fit", "train.csv", "-o", "preset.safetensors", "--preset", kind, "--json").out)
    found = LightFM.load("preset.safetensors").get_params()
    assert facts["epochs"] == 40
    assert found == LightFM.recommended(kind).get_params()
    run("fit", "train.csv", "-o", "preset.safetensors", "--preset", kind, "--components", 5, "--epochs", 1, "--quiet")
    model = LightFM.load("preset.safetensors")
    assert model.get_params() == LightFM.recommended(kind, no_components=5).get_params()
    assert len(model.history_) == 1


def test_features_without_identity_and_rows_to_leave_out(folder, run):
    write_table("few.csv", {"user_id": ["000", "001"], "town": ["Rome", "Oslo"]})
    common = ["fit", "train.csv", "-o", "few.safetensors", "--users", "few.csv", "--user-features", "town", "--json"]
    assert "unknown" in run(*common, code=2).err
    facts = json.loads(run(*common, "--unknown", "skip", "--no-user-identity").out)
    assert (facts["users"], facts["skipped_rows"] > 0) == (2, True)
    assert list(LightFM.load("few.safetensors").dataset_.mapping()[1]) == ["town:Oslo", "town:Rome"]


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_other_libraries_of_tables(folder, run, library, monkeypatch):
    monkeypatch.setattr("lightfm_fast.table_files._library", lambda ending: library)
    run(*fit_arguments(folder, "other.safetensors"))
    first, second = (Path(f"{name}.safetensors") for name in ("other", "model"))
    assert_array_equal(LightFM.load(first).item_embeddings, LightFM.load(second).item_embeddings)


# -------------------------------------------------------------------------------------------------------- evaluate


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_evaluate_agrees_with_the_library(folder, run, model, ending):
    common = ["evaluate", "model.safetensors", f"test{ending}", "--train", f"train{ending}", "--value-column", "rating"]
    told = run(*common, "--k", 3, 10, "--metrics", "ndcg", "auc", "coverage", "novelty", "--json")
    dataset = make_dataset(folder)
    test, train = (
        sp.csr_matrix(make_dataset(folder, name).interactions.tocsr() > 0, dtype=np.float32)
        for name in ("test", "train")
    )
    expected = evaluate(model, test, train, ["ndcg", "auc", "coverage", "novelty"], [3, 10], **features_of(dataset))
    found = json.loads(told.out)
    assert {name: metric["mean"] for name, metric in found["metrics"].items()} == expected.mean
    assert found["metrics"]["coverage@3"]["standard_error"] is None
    assert (found["users"], found["skipped_rows"], found["known_from_train"]) == (len(expected.users), 0, 0)
    assert run(*common).out == f"{evaluate(model, test, train, **features_of(dataset))}\n"


def test_evaluate_counts_what_it_leaves_out(run):
    write_table("odd.csv", {"user_id": ["000", "000", "nobody"], "item_id": ["film, 1", "film, 2", "film, 2"]})
    write_table("known.csv", {"user_id": ["000"], "item_id": ["film, 2"]})
    arguments = ["evaluate", "model.safetensors", "odd.csv", "--train", "known.csv"]
    found = json.loads(run(*arguments, "--json", "--quiet").out)
    assert (found["users"], found["skipped_rows"], found["known_from_train"]) == (1, 1, 1)
    notes = run(*arguments).err.splitlines()
    assert notes == [
        "odd.csv: 1 rows with ids unknown to the model left out",
        "odd.csv: 1 interactions known from --train left out",
    ]
    assert "nobody" in run(*arguments, "--unknown", "raise", code=2).err


# -------------------------------------------------------------------------------------------- recommend and similar


def names_of(model, side):
    return list(model.dataset_.mapping()[0 if side == "user" else 2])


def check_rows(rows, asked, names, ids, scores, score="score"):
    expected = [
        (name, names[item], str(rank + 1), value)
        for name, row, values in zip(asked, ids, scores, strict=True)
        for rank, (item, value) in enumerate(zip(row, values, strict=True))
        if item >= 0
    ]
    columns = list(rows[0])
    assert columns[2:] == ["rank", score]
    assert [tuple(row[column] for column in columns[:3]) for row in rows] == [row[:3] for row in expected]
    assert_allclose([float(row[score]) for row in rows], [row[3] for row in expected], atol=1e-6)


def test_recommend_to_some(folder, run, model):
    dataset = make_dataset(folder)
    told = run("recommend", "model.safetensors", "--users", "007", "003", "-n", 4, "--interactions", "train.parquet")
    ids, scores = model.recommend([7, 3], 4, dataset.interactions, **features_of(dataset))
    check_rows(read_rows(told.out), ["007", "003"], names_of(model, "item"), ids, scores)
    assert told.err == ""


def test_recommend_to_all_by_choice_in_groups(folder, run, model, monkeypatch):
    monkeypatch.setattr("lightfm_fast.cli.USERS_AT_ONCE", 7)
    dataset = make_dataset(folder)
    write_table("shop.csv", {"item_id": [f"film, {item}" for item in range(0, 30, 2)]})
    write_table("gone.parquet", {"item_id": ["film, 2", "film, 4"]})
    choice = ["--items", "shop.csv", "--exclude", "film, 6", "--exclude-from", "gone.parquet", "--keep-seen"]
    told = run("recommend", "model.safetensors", "--interactions", "train.csv", "-n", 20, *choice)
    ids, scores = model.recommend(range(N_USERS), 20, items=range(0, 30, 2), exclude=[2, 4, 6], **features_of(dataset))
    assert (ids[:, 12:] == -1).all()
    check_rows(read_rows(told.out), names_of(model, "user"), names_of(model, "item"), ids, scores)
    assert "Users" in told.err


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_recommend_to_a_file(run, model, ending):
    write_table("asked.csv", {"user_id": ["003", "001"]})
    common = ["recommend", "model.safetensors", "--users-from", "asked.csv", "-n", 3]
    told = run(*common, "-o", f"lists{ending}", "--user-column", "user_id", "--json")
    assert json.loads(told.out) == {"output": f"lists{ending}", "users": 2, "rows": 6}
    assert run(*common, "-o", f"lists{ending}").out == f"lists{ending}: 6 rows for 2 users\n"
    columns = ["user_id", "item_id", "rank", "score"]
    read = {name: column.to_pylist() for name, column in read_table(f"lists{ending}", columns, ["user_id"]).items()}
    written = read_rows(run(*common).out)
    assert [str(name) for name in read["user_id"]] == [row["user_id"] for row in written]
    assert read["item_id"] == [row["item_id"] for row in written]
    assert read["rank"] == [1, 2, 3] * 2
    assert_allclose(read["score"], [float(row["score"]) for row in written])


def test_recommend_as_json(run):
    common = ["recommend", "model.safetensors", "--users", "003", "-n", 2]
    rows = read_rows(run(*common).out)
    assert json.loads(run(*common, "--json").out) == [
        {"user": "003", "items": [{"item": row["item_id"], "score": float(row["score"])} for row in rows]}
    ]


def test_recommend_to_newcomers(folder, run, model):
    write_table("new.csv", {"user_id": ["zoe", "yan"], "town": ["Oslo", None], "age": [30, 70]})
    chosen = {"user_id": ["zoe", "003", "zoe"], "item_id": ["film, 1", "film, 1", "film, 9"]}
    write_table("chosen.csv", chosen)
    dataset = make_dataset(folder)
    for with_chosen in (True, False):
        more = ["--interactions", "chosen.csv"] if with_chosen else []
        told = run("recommend", "model.safetensors", "--newcomers", "new.csv", "-n", 5, *more, "--threads", 1)
        seen = sp.lil_matrix((2, N_ITEMS))
        if with_chosen:
            seen[0, [1, 9]] = 1
        described = model.dataset_.encode_new_users({"town": ["Oslo", None], "age": [30, 70]}, model.encoders_["user"])
        users = model.fold_in_users(seen.tocsr(), described, dataset.item_features)
        options = {"item_features": dataset.item_features, "user_representations": users}
        ids, scores = model.recommend([0, 1], 5, seen.tocsr(), **options)
        check_rows(read_rows(told.out), ["zoe", "yan"], names_of(model, "item"), ids, scores)


@pytest.mark.parametrize("side", ["item", "user"])
def test_similar(folder, run, model, side):
    dataset = make_dataset(folder)
    names = names_of(model, side)
    asked = [names[4], names[2]]
    more = ["--users"] if side == "user" else []
    told = run("similar", "model.safetensors", *asked, *more, "-n", 3)
    choose = model.similar_items if side == "item" else model.similar_users
    found = choose([4, 2], 3, features_of(dataset)[f"{side}_features"])
    check_rows(read_rows(told.out), asked, names, *found, score="cosine")
    assert list(read_rows(told.out)[0])[:2] == [f"{side}_id", f"similar_{side}_id"]
    document = json.loads(run("similar", "model.safetensors", *asked, *more, "-n", 3, "--json").out)
    assert [entry[side] for entry in document] == asked
    assert document[0][f"similar_{side}s"][0][f"similar_{side}"] == names[found.ids[0, 0]]


def test_ids_of_other_types_are_found(folder, run):
    rows = {"user_id": [1, 2, 3, 1], "item_id": ["10", "20", "10", "20"]}
    write_table("numbers.parquet", rows)
    write_table("numbers.csv", rows)
    run("fit", "numbers.parquet", "-o", "numbers.safetensors", "--quiet", "--epochs", 1)
    assert names_of(LightFM.load("numbers.safetensors"), "user") == [1, 2, 3]
    common = ["recommend", "numbers.safetensors", "--interactions"]
    found = json.loads(run(*common, "numbers.csv", "--users", "2", "--json").out)
    assert found[0]["user"] == 2
    assert [pair["item"] for pair in found[0]["items"]] == ["10"]
    write_table("text.csv", {"user_id": ["ann"], "item_id": ["10"]})
    told = run(*common, "text.csv", code=2)
    assert "column 'user_id' of text.csv holds text, and the model's ids are whole numbers" in told.err


# ---------------------------------------------------------------------------------------------- explain and inspect


def test_explain(folder, run, model):
    dataset = make_dataset(folder)
    _, user_names, _, item_names = dataset.mapping()
    expected = model.explain(7, 2, **features_of(dataset), user_feature_names=user_names, item_feature_names=item_names)
    found = json.loads(run("explain", "model.safetensors", "007", "film, 2", "--json").out)
    assert found == {"user": "007", "item": "film, 2", "score": expected.score, "contributions": expected.rows()}
    lines = run("explain", "model.safetensors", "007", "film, 2", "-n", 2).out.splitlines()
    n_rows = len(expected.rows())
    assert lines[0] == f"score {expected.score:.4f}, the sum of {n_rows} contributions"
    assert lines[1].split() == ["contribution", "user", "feature", "item", "feature"]
    assert [line.split()[0] for line in lines[2:4]] == [f"{row['contribution']:+.4f}" for row in expected.rows()[:2]]
    assert lines[4].endswith(f"{n_rows - 2} others")
    shown = sum(float(line.split()[0]) for line in lines[2:])
    assert_allclose(shown, expected.score, atol=2e-4)


def test_explain_with_bars(run, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    run("explain", "model.safetensors", "007", "film, 2", "--plot", "why.png", "--quiet")
    assert pyplot.imread("why.png").min() < 0.5  # something is drawn
    assert pyplot.get_fignums() == []
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    told = run("explain", "model.safetensors", "007", "film, 2", "--plot", "why.png", code=2)
    assert "pip install 'lightfm_fast[plot]'" in told.err


def test_inspect(run, model):
    found = json.loads(run("inspect", "model.safetensors", "--json").out)
    assert found["parameters"] == model.get_params()
    assert found["versions"]["lightfm_fast"] == __version__
    assert found["loss"] == [epoch["loss"] for epoch in model.history_]
    assert (found["epochs"], found["user_features"], found["item_features"]) == (
        4,
        len(model.user_biases),
        len(model.item_biases),
    )
    assert (found["dataset"]["users"], found["dataset"]["items"]) == (N_USERS, N_ITEMS)
    assert found["dataset"]["user_ids"] == ["000", "001", "002"]
    assert found["optimizer_state"] is True
    lines = run("inspect", "model.safetensors").out.splitlines()
    assert "epochs: 4" in lines
    assert "  users: 40" in lines
    model.dataset_ = None
    model.save("bare.safetensors", optimizer_state=False)
    found = json.loads(run("inspect", "bare.safetensors", "--json").out)
    assert (found["dataset"], found["optimizer_state"]) == (None, False)
    assert "dataset: none" in run("inspect", "bare.safetensors").out


# ---------------------------------------------------------------------------------------------------------- errors


FEATURES_OF_ITEMS = "fit train.csv -o x --items items.csv --item-features"
ERRORS = {
    "no command": ("", "the following arguments are required: COMMAND"),
    "an unknown command": ("train", "invalid choice: 'train'"),
    "no arguments": ("fit", "the following arguments are required: FILE, -o/--output"),
    "an unknown option": ("inspect model.safetensors --all", "unrecognized arguments: --all"),
    "no number": ("fit train.csv -o x --epochs many", "invalid whole number value: 'many'"),
    "a number too small": ("recommend model.safetensors -n 0", "0 is not a whole number of at least 1"),
    "no such table": ("fit nothing.csv -o x", "there is no file nothing.csv"),
    "no such model": ("inspect nothing", "No such file or directory: 'nothing'"),
    "no such folder": ("fit train.csv -o nowhere/x", "there is no folder"),
    "no model": ("inspect train.csv", "train.csv is no safetensors file"),
    "no table": ("fit model.safetensors -o x", "expected the name of a file to end in one of .csv"),
    "a damaged table": ("fit damaged.parquet -o x", "damaged.parquet cannot be read"),
    "no such column": ("fit train.csv -o x --user-column user", "train.csv has no column 'user'; it has 'user_id'"),
    "missing ids": ("fit holes.csv -o x --user-column person", "column 'person' of interactions has 1 missing ids"),
    "no rows": ("fit empty.csv -o x", "interactions has no rows"),
    "text for numbers": ("fit train.csv -o x --value-column item_id", "column 'item_id'"),
    "a bad parameter": ("fit train.csv -o x --learning-rate -1", "learning_rate"),
    "weights of k-OS": ("fit train.csv -o x --loss warp-kos --weight-column weight", "sample_weight has no meaning"),
    "features of nothing": ("fit train.csv -o x --item-features tags", "--items FILE, which is not given"),
    "an unknown kind": (
        f"{FEATURES_OF_ITEMS} tags:tag",
        "expected COLUMN or COLUMN:KIND",
    ),
    "an argument too many": (f"{FEATURES_OF_ITEMS} tags:text=3", "takes no argument"),
    "an argument too few": (
        f"{FEATURES_OF_ITEMS} tags:bins=",
        "takes something after =",
    ),
    "a bad argument": (f"{FEATURES_OF_ITEMS} tags:bins=x", "invalid literal"),
    "a column twice": (f"{FEATURES_OF_ITEMS} tags tags:text", "names a column twice"),
    "patience for nothing": ("fit train.csv -o x --patience 3", "give --hold-out or --validation"),
    "a metric for nothing": ("fit train.csv -o x --metric auc", "--metric is what --patience watches"),
    "no times": ("fit train.csv -o x --hold-out last", "--hold-out last needs --time-column"),
    "two held out": ("fit train.csv -o x --hold-out random --validation test.csv", "give one"),
    "nothing held out": ("fit train.csv -o x --hold-out random --fraction 0", "holds nothing out"),
    "a bad fraction": ("fit train.csv -o x --hold-out random --fraction 2", "test_percentage"),
    "an unknown user": ("recommend model.safetensors --users x", "knows no user 'x'; it knows 40, such as '000'"),
    "an unknown item": ("recommend model.safetensors --exclude x", "knows no item 'x'"),
    "unknown ids in a file": (
        "recommend model.safetensors --users-from strangers.csv",
        "1 users that the model does not",
    ),
    "a bad output": ("recommend model.safetensors -o lists.xlsx", "lists.xlsx: expected the name of a file to end"),
    "known newcomers": ("recommend model.safetensors --newcomers users.csv", "has '000', whom the model knows"),
    "no newcomers": ("recommend model.safetensors --newcomers nobody.csv", "nobody.csv has no rows"),
    "newcomers and others": ("recommend model.safetensors --newcomers users.csv --users 001", "--newcomers are"),
    "newcomers without features": ("recommend model.safetensors --newcomers strangers.csv", "no column 'town'"),
    "nothing to find": ("evaluate model.safetensors strangers.csv", "no user has a test positive"),
    "no dataset": ("recommend bare.safetensors", "was saved without its Dataset"),
    "nothing like it": ("similar model.safetensors x", "knows no item 'x'"),
    "nothing to explain": ("explain model.safetensors x x", "knows no user 'x'"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(run, model, case):
    write_table("holes.csv", {"person": ["a", None], "item_id": ["b", "c"]})
    write_table("empty.csv", {"user_id": [], "item_id": []})
    write_table("strangers.csv", {"user_id": ["000x"], "item_id": ["film, 1"]})
    write_table("nobody.csv", {"user_id": [], "town": [], "age": []})
    Path("damaged.parquet").write_bytes(b"PAR1 and no more")
    model.dataset_ = None
    model.save("bare.safetensors")
    command, message = ERRORS[case]
    told = run(*command.split(), code=2)
    assert told.out == ""
    assert message in told.err
    lines = [line for line in told.err.splitlines() if "interactions of" not in line]  # the note on what was read
    assert len(lines) == 1
    assert lines[0].startswith("lightfm-fast")
    assert ": error: " in lines[0]
    assert not Path("x").exists()


def test_a_library_that_is_missing(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = run("fit", "train.csv", "-o", "x", code=2)
    assert told.err.splitlines() == [
        "lightfm-fast fit: error: A .csv file needs pyarrow, which is not installed: pip install 'lightfm_fast[cli]'"
    ]


def test_interruption(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(LightFM, "fit", interrupt)
    assert "interrupted" in run("fit", "train.csv", "-o", "x", "--quiet", code=130).err


def test_a_bug_is_no_error_of_the_user(run, monkeypatch):
    monkeypatch.setattr(LightFM, "load", lambda *_, **__: {}["bug"])
    with pytest.raises(KeyError, match="bug"):
        run("recommend", "model.safetensors")


@pytest.mark.parametrize("command", ["", "fit", "evaluate", "recommend", "similar", "explain", "inspect"])
def test_help(run, command):
    told = run(*command.split(), "--help")
    assert told.out.startswith("usage: lightfm-fast")
    assert run("--version").out == f"lightfm-fast {__version__}\n"


# ------------------------------------------------------------------------------------------------- another process


def spawn(folder, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(lightfm_fast.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-m", "lightfm_fast", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_as_a_process(folder, run):
    process = spawn(folder, "similar", "model.safetensors", "film, 1", "--json")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out == run("similar", "model.safetensors", "film, 1", "--json").out
    process = spawn(folder, "similar", "model.safetensors", "nothing")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)


@pytest.mark.skipif(os.name != "posix", reason="closed pipes are told of otherwise")
def test_a_reader_that_has_seen_enough(folder):
    write_table(folder / "often.csv", {"user_id": ["000"] * 3000})
    process = spawn(folder, "recommend", "model.safetensors", "--users-from", "often.csv", "-n", "30")
    assert process.stdout.readline() == "user_id,item_id,rank,score\n"
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=120), err) == (141, "")


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the project's file is not beside the tests")
def test_the_command_is_installed_as_this_function():
    assert '[project.scripts]\nlightfm-fast = "lightfm_fast.cli:main"\n' in (ROOT / "pyproject.toml").read_text()
