"""The command, with real files: what it answers is what the library answers, and errors are one line."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import warnings
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

import lightfm_fast
from lightfm_fast import LightFM, __version__
from lightfm_fast.cli import commands, main
from lightfm_fast.cross_validation import random_train_test_split
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import Categorical, FeatureSpec, MultiCategorical, QuantileBins
from lightfm_fast.table_files import read_table, write_table

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

ROOT = Path(__file__).parents[2]
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
    monkeypatch.setattr("lightfm_fast.table_files.kinds.library_for", lambda ending: library)
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
    assert notes[:2] == [
        "odd.csv: 1 row with ids unknown to the model left out, user 'nobody' in data row 3 first",
        "odd.csv: 1 interaction known from --train left out",
    ]
    assert "nobody" in run(*arguments, "--unknown", "raise", code=2).err


def test_evaluate_says_what_the_model_was_trained_on(folder, run):
    arguments = fit_arguments(folder, "split.safetensors", "--hold-out", "random")
    run(*arguments)
    common = ["evaluate", "split.safetensors", "--value-column", "rating"]
    note = "warning: the model was trained on "
    found = run(*common, "train.csv").err
    assert found.startswith(note)
    assert len(found.splitlines()) == 1
    assert "hold interactions out, by fit --hold-out" in found
    assert "lightfm_fast." not in found
    assert run(*common, "train.csv", "--quiet").err == ""
    assert run(*common, "test.csv").err == ""


def test_what_chooses_the_epoch_is_not_what_is_reported(folder, run, monkeypatch):
    measured = []
    measure = commands.measure
    monkeypatch.setattr(
        commands, "measure", lambda model, test, *rest: measured.append(test) or measure(model, test, *rest)
    )
    for how in ("random", "time", "user-time", "last", "cold-users", "cold-items"):
        measured.clear()
        arguments = fit_arguments(folder, "three.safetensors", "--hold-out", how, "--time-column", "time")
        told = run(*arguments, "--patience", "2", "--weight-column", "weight")
        watched, reported = measured[0], measured[-1]
        assert watched.nnz
        assert reported.nnz
        assert all(test is watched for test in measured[:-1])
        assert watched.multiply(reported).nnz == 0
        assert f"by {watched.nnz} interactions\n{reported.nnz} interactions held out: " in told.out


def test_every_step_names_what_it_leaves_out_and_fails_where_nothing_is_left(run):
    write_table(
        "some.csv", {"user_id": ["000", "x", "001"], "item_id": ["film, 1", "film, 1", "film, 9"], "town": ["Rome"] * 3}
    )
    write_table("none.csv", {"user_id": ["x", "y"], "item_id": ["film, 1", "film, 2"]})
    write_table("new.csv", {"user_id": ["zoe"], "town": ["Oslo"], "age": [30]})
    note = "some.csv: 1 row with ids unknown to the model left out, user 'x' in data row 2 first"
    fit = ["fit", "train.csv", "-o", "skips.safetensors", "--epochs", 1, "--threads", 1]
    steps = {
        "recommend": (["recommend", "model.safetensors", "--users", "000", "--interactions"], note),
        "evaluate": (["evaluate", "model.safetensors"], note),
        "train": (["evaluate", "model.safetensors", "test.csv", "--train"], note),
        "validation": ([*fit, "--validation"], note),
    }
    for arguments, expected in steps.values():
        assert expected in run(*arguments, "some.csv").err
        told = run(*arguments, "none.csv", code=2)
        assert (
            "none.csv: all 2 rows of interactions have ids unknown to the dataset, user 'x' first; it knows 40, such as"
            in told.err
        )
    newcomers = ["recommend", "model.safetensors", "--newcomers", "new.csv", "--interactions"]
    assert "all 2 rows" in run(*newcomers, "none.csv", code=2).err
    for option in ("--users-from", "--exclude-from", "--items"):
        write_table("odd.csv", {"user_id": ["000", "x"], "item_id": ["film, 1", "y"]})
        told = run("recommend", "model.safetensors", option, "odd.csv", code=2)
        assert "odd.csv has 1 " in told.err
        assert "in data row 2 first" in told.err
    few = ["--users", "some.csv", "--user-features", "town", "--unknown", "skip"]
    assert "left out, user '0" in run(*fit, *few).err
    told = run(*fit, "--users", "none.csv", code=2).err
    assert "--unknown skip leaves such rows out, --unknown add trains on them" in told
    assert "unknown=" not in told
    assert "all " in run(*fit, "--users", "new.csv", "--unknown", "skip", code=2).err


# -------------------------------------------------------------------------------------------------- likes and ids


def test_stars_are_likes_from_a_threshold_on(run):
    rows = {"user_id": ["a", "a", "b", "b"], "item_id": ["x", "y", "x", "y"], "stars": [1, 5, 4, 3]}
    write_table("stars.csv", rows)
    common = ["fit", "stars.csv", "-o", "stars.safetensors", "--epochs", 1, "--value-column", "stars"]
    told = run(*common)
    assert (
        "column 'stars' has no value at or below 0, so every row is a positive: of ratings, say with --positive-from"
        in told.err
    )
    assert "--positive-from" not in run(*common, "--positive-from", 4).err
    model = LightFM.load("stars.safetensors")
    assert model.dataset_.build_interactions_from_table(rows).interactions.toarray().tolist() == [[-1, 1], [1, -1]]
    write_table("later.csv", {"user_id": ["a"], "item_id": ["x"], "stars": [3]})
    evaluated = ["evaluate", "stars.safetensors", "later.csv", "--value-column", "stars"]
    assert "no user has a test positive" in run(*evaluated, "--positive-from", 4, code=2).err
    assert json.loads(run(*evaluated, "--positive-from", 3, "--json").out)["users"] == 1
    assert "give that too" in run("fit", "stars.csv", "-o", "y", "--positive-from", 4, code=2).err
    write_table("both.csv", {**rows, "stars": [1, -1, 1, -1]})
    assert "positive" not in run("fit", "both.csv", "-o", "stars.safetensors", "--value-column", "stars").err


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl", ".arrow"])
def test_ids_of_two_types_meet_on_the_command_line(run, ending):
    """A table of text ids and one of numbers: MovieLens' ratings as CSV and its films as Parquet."""
    ids = ["10", "20", "20", "30"] if ending == ".csv" else ["010", "020", "020", "030"]
    rows = {"user_id": ["1", "2", "1", "2"], "item_id": ids}
    items = {"item_id": [10, 20, 30], "kind": ["k", "l", "k"]}
    write_table("ids.csv", rows)
    if ending == ".jsonl":
        table = [dict(zip(items, row, strict=True)) for row in zip(*items.values(), strict=True)]
        Path("ids_items.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in table))
    elif ending == ".arrow":
        feather.write_feather(pa.table(items), "ids_items.arrow")
    else:
        write_table(f"ids_items{ending}", items)
    run(
        "fit",
        "ids.csv",
        "-o",
        "ids.safetensors",
        "--items",
        f"ids_items{ending}",
        "--item-features",
        "kind",
        "--epochs",
        1,
    )
    write_table("seen.parquet", {"user_id": [1], "item_id": [10]})
    found = json.loads(
        run("recommend", "ids.safetensors", "--interactions", "seen.parquet", "--users", "1", "--json").out
    )
    assert sorted(int(pair["item"]) for pair in found[0]["items"]) == [20, 30]
    assert json.loads(run("evaluate", "ids.safetensors", "seen.parquet", "--json").out)["skipped_rows"] == 0


# -------------------------------------------------------------------------------------------------- tables of all kinds


def embeddings(path):
    return LightFM.load(path).item_embeddings


def test_formats_and_several_files(folder, run):
    """The same rows in every form make the same model."""
    rows, items = make_tables()[0], make_tables()[2]
    rows["day"] = [f"2024-01-01 00:{time // 60:02}:{time % 60:02}" for time in rows["time"]]
    write_table("all.csv", rows)
    common = [
        "--threads",
        1,
        "--seed",
        1,
        "--epochs",
        2,
        "--quiet",
        "--time-column",
        "day",
        "--hold-out",
        "time",
        "--value-column",
        "rating",
    ]
    run("fit", "all.csv", "-o", "all.safetensors", *common)
    expected = embeddings("all.safetensors")
    half = len(rows["time"]) // 2
    write_table("first.csv", {name: column[:half] for name, column in rows.items()})
    write_table(
        "second.parquet",
        {name: column[half:] for name, column in rows.items()}
        | {"day": pa.array(rows["day"][half:]).cast(pa.timestamp("us"))},
    )
    text = Path("all.csv").read_text()
    Path("german.txt.csv").write_bytes(
        text.replace(",", ";").replace(".", ",").replace("film; ", "film, ").replace('"', "").encode("utf-16")
    )
    Path("all.jsonl.gz").write_bytes(
        gzip.compress(
            "".join(
                json.dumps(dict(zip(rows, row, strict=True))) + "\n" for row in zip(*rows.values(), strict=True)
            ).encode()
        )
    )
    for files in (
        ["first.csv", "second.parquet"],
        ["german.txt.csv", "--delimiter", ";", "--encoding", "utf-16", "--decimal", ","],
        ["all.jsonl.gz"],
    ):
        run("fit", *files, "-o", "again.safetensors", *common)
        assert_array_equal(embeddings("again.safetensors"), expected)
    write_table("numbers.parquet", {**rows, "item_id": list(range(len(rows["time"])))})
    told = run("fit", "all.csv", "numbers.parquet", "-o", "again.safetensors", *common, code=2)
    assert "column 'item_id' holds text or others in all.csv but numbers in numbers.parquet" in told.err
    tabs = text.replace(",", "\t").replace("film\t ", "film, ").replace('"', "")
    Path("tabs.csv").write_text(tabs)
    run("fit", "tabs.csv", "--delimiter", "tab", "-o", "again.safetensors", *common)
    assert_array_equal(embeddings("again.safetensors"), expected)
    assert len(items["item_id"]) == len(expected)


def test_missing_cells_have_a_spelling(run):
    write_table("na.csv", {"user_id": ["a", "b"], "item_id": ["x", "y"], "age": ["30", "n/a"], "stars": ["5", "NA"]})
    common = ["fit", "na.csv", "-o", "na.safetensors", "--epochs", 1]
    told = run(*common, "--value-column", "stars", code=2)
    assert "column 'stars' of na.csv has 'NA' in data row 2, expected a number: if it stands for" in told.err
    told = run(*common, "--value-column", "stars", "--missing", "NA", code=2)
    assert "na.csv: column 'stars' of interactions has 1 missing values, the first in data row 2" in told.err
    features = ["--users", "na.csv", "--user-features", "age:number"]
    assert "--missing n/a" in run(*common, *features, code=2).err
    run(*common, *features, "--missing", "n/a", "--missing", "NA")


def test_decimals_of_parquet_are_numbers(run):
    rows = {"user_id": ["a", "b"], "item_id": ["x", "y"], "stars": pa.array([Decimal("4.5"), Decimal("-1.0")])}
    parquet.write_table(pa.table(rows), "decimals.parquet")
    for option in ("--value-column", "--time-column"):
        run("fit", "decimals.parquet", "-o", "decimals.safetensors", "--epochs", 1, option, "stars")
    more = ["--users", "decimals.parquet", "--user-features", "stars:number"]
    run("fit", "decimals.parquet", "-o", "decimals.safetensors", "--epochs", 1, *more)


def item_features(path):
    dataset = LightFM.load(path).dataset_
    names = list(dataset.mapping()[3])
    return {
        item: {names[column] for column in dataset.item_features[row].indices} - {item}
        for item, row in dataset.mapping()[2].items()
    }


def test_tags_as_lists_and_as_rows(run):
    expected = {"x": {"tags:a", "tags:b"}, "y": {"tags:b"}, "z": set()}
    write_table("rows.csv", {"user_id": ["u", "v", "u"], "item_id": ["x", "y", "z"]})
    common = ["fit", "rows.csv", "-o", "tags.safetensors", "--epochs", 1, "--quiet"]
    as_text = {
        "separators": ["a|b", "b", None],
        "json": ['["a", "b"]', '["b"]', "[]"],
        "python": ["['b', 'a']", "['b']", None],
    }
    for column in as_text.values():
        write_table("tags.csv", {"item_id": ["x", "y", "z"], "tags": column})
        run(*common, "--items", "tags.csv", "--item-features", "tags:tags")
        assert item_features("tags.safetensors") == expected
    write_table("tags.csv", {"item_id": ["x", "y", "z"], "tags": ['["a"]', None, "[b|c"]})
    told = run(*common, "--items", "tags.csv", "--item-features", "tags:tags", code=2)
    assert "column 'tags' of tags.csv has '[b|c' in data row 3, expected a list" in told.err
    write_table("tags.parquet", {"item_id": ["x", "y", "z"], "tags": [["a", "b"], ["b"], None]})
    run(*common, "--items", "tags.parquet", "--item-features", "tags:tags")
    assert item_features("tags.safetensors") == expected
    write_table("long.csv", {"item_id": ["x", "y", "x", "y"], "tags": ["a", "b", "b", "b"]})
    run(*common, "--item-tags", "long.csv", "tags")
    assert item_features("tags.safetensors") == expected
    run(*common, "--item-tags", "long.csv", "tags", "--items", "tags.parquet")
    assert item_features("tags.safetensors") == expected
    write_table("none.csv", {"item_id": ["w"], "tags": ["a"]})
    told = run(*common, "--item-tags", "none.csv", "tags", "--items", "tags.parquet", code=2)
    assert "none.csv: 1 row of items that --items does not list, 'w' in data row 1 first" in told.err
    told = run(*common, "--item-tags", "long.csv", "tags", "--items", "tags.parquet", "--item-features", "tags", code=2)
    assert "names a column twice" in told.err


def test_vectors(run):
    write_table("rows.csv", {"user_id": ["u", "v"], "item_id": ["x", "y"]})
    common = [
        "fit",
        "rows.csv",
        "-o",
        "vectors.safetensors",
        "--epochs",
        1,
        "--quiet",
        "--item-features",
        "v:vector",
        "--items",
    ]
    write_table("vectors.csv", {"item_id": ["x", "y"], "v": ["[0.5, 2]", "[1, -1]"]})
    write_table("vectors.parquet", {"item_id": ["x", "y"], "v": [[0.5, 2.0], [1.0, -1.0]]})
    for file in ("vectors.csv", "vectors.parquet"):
        run(*common, file)
        assert LightFM.load("vectors.safetensors").dataset_.item_features.toarray()[:, 2:].tolist() == [
            [0.5, 2],
            [1, -1],
        ]
    write_table("vectors.csv", {"item_id": ["x", "y"], "v": ["[0.5, 2]", "much"]})
    assert (
        "column 'v' of vectors.csv has 'much' in data row 2, expected a list" in run(*common, "vectors.csv", code=2).err
    )


# ------------------------------------------------------------------------------------------------- what is written


def test_an_output_is_no_input(run, tmp_path):
    content = Path("train.csv").read_bytes()
    Path("link.csv").symlink_to("train.csv")
    os.link("train.csv", "hard.csv")
    for output in ("train.csv", "./train.csv", "link.csv", "hard.csv"):
        told = run("fit", "train.csv", "-o", output, code=2)
        assert f"{output} would be written over train.csv, which is read" in told.err
    for command in (
        "recommend model.safetensors --users-from train.csv -o train.csv",
        "recommend model.safetensors --interactions train.csv -o train.csv",
        "fit test.csv -o train.csv --item-tags train.csv rating",
        "fit test.csv -o train.csv --validation train.csv",
        "fit test.csv -o train.csv --users train.csv",
        "explain model.safetensors 000 x --plot model.safetensors",
    ):
        assert "would be written over" in run(*command.split(), code=2).err
    assert Path("train.csv").read_bytes() == content


def test_lists_are_written_whole_or_not_at_all(run, monkeypatch):
    Path("lists.csv").write_text("as it was\n")
    before = set(os.listdir())

    def full(file, *_, **__):
        file.write("user_id,")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightfm_fast.table_files.writer.write_csv", full)
    assert "No space left" in run("recommend", "model.safetensors", "-o", "lists.csv", code=2).err
    assert Path("lists.csv").read_text() == "as it was\n"
    assert set(os.listdir()) == before
    assert "there is no folder" in run("recommend", "model.safetensors", "-o", "nowhere/lists.csv", code=2).err


ODD = "=cmd()\x1b[31m"


@pytest.fixture
def odd(run):
    write_table("odd.csv", {"user_id": ["+u", "\x1b[2Jv"], "item_id": [ODD, "@y"]})
    run("fit", "odd.csv", "-o", "odd.safetensors", "--epochs", 1, "--quiet")


def test_text_that_a_spreadsheet_runs_is_escaped_on_request(odd, run):
    common = ["recommend", "odd.safetensors", "--users", "+u"]
    assert {row["item_id"] for row in read_rows(run(*common).out)} == {ODD, "@y"}
    found = read_rows(run(*common, "--escape-formulas").out)
    assert {row["item_id"] for row in found} == {f"'{ODD}", "'@y"}
    assert {row["user_id"] for row in found} == {"'+u"}
    run(*common, "--escape-formulas", "-o", "escaped.csv")
    assert read_rows(Path("escaped.csv").read_text()) == found
    assert "--escape-formulas" in run(*common, "--escape-formulas", "--json", code=2).err
    assert "--escape-formulas" in run(*common, "--escape-formulas", "-o", "x.parquet", code=2).err
    run("similar", "odd.safetensors", "@y", "--escape-formulas")


def test_terminals_get_no_control_characters(odd, run, monkeypatch):
    commands = [
        ["recommend", "odd.safetensors"],
        ["similar", "odd.safetensors", "@y"],
        ["explain", "odd.safetensors", "\x1b[2Jv", ODD],
        ["inspect", "odd.safetensors"],
    ]
    assert any("\x1b" in run(*command).out for command in commands)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for command in commands:
        told = run(*command)
        assert "\x1b" not in told.out + told.err
        assert "\\x1b" in told.out
    for command in (["explain", "odd.safetensors", "\x1b[0m", "\x1b"], ["\x1b"], ["fit", "\x1b\x9b.csv", "-o", "x"]):
        told = run(*command, code=2)
        assert len(told.err.splitlines()) == 1
        assert "\x1b" not in told.err


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
    monkeypatch.setattr("lightfm_fast.cli.commands.USERS_AT_ONCE", 7)
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


def test_what_newcomers_have_that_training_had_not_is_one_line(run):
    write_table("new.csv", {"user_id": ["zoe", "yan"], "town": ["Oslo", "Bern"], "age": [30, 70]})
    # As the command shows warnings: the tests' own settings would raise them.
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        (line,) = run("recommend", "model.safetensors", "--newcomers", "new.csv").err.splitlines()
    assert line.startswith("warning: column 'town': 1 of 2 values")
    assert "'Bern' in data row 2 first" in line
    assert "unseen=" not in line


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

    before = pyplot.get_fignums()
    run("explain", "model.safetensors", "007", "film, 2", "--plot", "why.png", "--quiet")
    assert pyplot.imread("why.png").min() < 0.5  # something is drawn
    assert pyplot.get_fignums() == before
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
    "a list too long": ("recommend model.safetensors -n 1000000000", "argument -n: 1000000000 is more than 1,000,000"),
    "ranks too many": ("evaluate model.safetensors test.csv --k 1000000000", "argument --k: 1000000000 is more than"),
    "a list of an endless length": (f"similar model.safetensors x -n {'9' * 5000}", "argument -n: "),
    "a model too large": ("fit train.csv -o x --components 1000000000000", "error: "),
    "a threshold of nothing": ("fit train.csv -o x --value-column rating --positive-from nan", "--positive-from: pos"),
    "a bad seed": ("fit train.csv -o x --seed -1", "--seed: "),
    "a user twice": ("fit train.csv -o x --users train.csv", "train.csv: data row 2 is of user '000' again"),
    "duplicates": ("fit twice.csv -o x --duplicates error", "say with --duplicates what"),
    "a column of two": ("fit same.csv -o x", "same.csv has 2 columns 'user_id': name them apart"),
    "an unclosed quote": ("fit open.csv -o x", "open.csv cannot be read: line 2 opens a quote that is never closed"),
    "an odd number": (
        "fit odd.csv -o x --value-column rating",
        "column 'rating' of odd.csv has 'many' in data row 3, expected a number",
    ),
    "an unknown encoding": ("fit train.csv -o x --encoding klingon", "unknown encoding: klingon"),
    "a long delimiter": ("fit train.csv -o x --delimiter ::", "the delimiter '::' is not one character"),
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
    Path("same.csv").write_text("user_id,item_id,user_id\n1,2,3\n")
    Path("open.csv").write_text('user_id,item_id\n"1,2\n3,4\n')
    write_table("twice.csv", {"user_id": [1, 1], "item_id": [2, 2]})
    write_table("odd.csv", {"user_id": [1, 2, 3], "item_id": [1, 2, 3], "rating": [1, 2, "many"]})
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


def spawn(folder, *arguments, environment=None, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(lightfm_fast.__file__).parents[1]), **(environment or {})}
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


def test_a_library_that_does_not_import_is_one_line_and_another_reads(folder, tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise AttributeError('_ARRAY_API not found')\n")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(lightfm_fast.__file__).parents[1])])}
    process = spawn(folder, "recommend", "model.safetensors", "--users-from", "users.csv", environment=environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(read_rows(out)) == N_USERS * 10
    assert err.splitlines() == [
        "warning: pyarrow is installed but does not import (_ARRAY_API not found): lightfm_fast does without it; "
        "reinstall it"
    ]


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
