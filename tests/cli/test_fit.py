"""fit trains as the library does, whatever is held out."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.cross_validation import random_train_test_split
from lightfm_fast.evaluation import evaluate
from lightfm_fast.table_files import write_table

from .films import N_ITEMS, N_USERS, features_of, fit_arguments, make_dataset, read_rows


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
    assert list(found.dataset_.mapping()[0])[:2] == ["000", "001"]  # text with its zeros
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


def test_fit_trains_as_a_recommender_does_by_default(folder, run):
    run("fit", "train.csv", "-o", "default.safetensors", "--quiet")
    model = LightFM.load("default.safetensors")
    assert model.get_params() == LightFM.recommended().get_params()
    assert len(model.history_) == 40
    run("fit", "train.csv", "-o", "default.safetensors", "--quiet", "--components", 5, "--epochs", 1)
    assert LightFM.load("default.safetensors").get_params() == LightFM.recommended(no_components=5).get_params()


def test_columns_whose_values_differ_are_told_of(folder, run):
    write_table("prices.csv", {"item_id": [f"film, {item}" for item in range(N_ITEMS)], "price": range(N_ITEMS)})
    fit = ["fit", "train.csv", "-o", "prices.safetensors", "--items", "prices.csv", "--loss", "warp", "--epochs", 1]
    told = run(*fit, "--item-features", "price").err
    assert "prices.csv: column 'price' has 30 values for 30 items, so as categories" in told
    assert "Write price:curve for numbers and dates" in told
    assert "as categories" not in run(*fit, "--item-features", "price:curve").err


def test_a_loss_without_a_preset_starts_from_lightfm(folder, run):
    run("fit", "train.csv", "-o", "loss.safetensors", "--quiet", "--loss", "logistic")
    model = LightFM.load("loss.safetensors")
    assert model.get_params() == LightFM(32, loss="logistic").get_params()
    assert len(model.history_) == 20


def test_penalties_are_found_or_given(folder, run):
    run(
        "fit",
        "train.csv",
        "-o",
        "found.safetensors",
        "--loss",
        "bpr",
        "--item-alpha",
        "auto",
        "--user-alpha",
        0.3,
        "--quiet",
    )
    model = LightFM.load("found.safetensors")
    assert (model.item_alpha, model.item_alpha_, model.user_alpha_) == ("auto", 0.05, 0.3)


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


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_features_may_be_dates(run, tmp_path, ending):
    days = np.arange("2020-01-01", "2020-02-10", dtype="datetime64[D]")
    users = [f"{number:03}" for number in range(40)]
    cells = [None, *(map(str, days[1:]) if ending == ".csv" else days[1:].tolist())]
    write_table(tmp_path / f"dated{ending}", {"user_id": users, "since": cells})
    encoders = ("since:curve=3", "--epochs", 2, "--quiet")
    run("fit", "train.csv", "-o", tmp_path / "m", "--users", tmp_path / f"dated{ending}", "--user-features", *encoders)
    encoder = LightFM.load(tmp_path / "m").dataset_.encoders["user"]
    assert sum(name.startswith("since:2020.") for name in encoder.get_feature_names_out()) >= 2
    newcomers = {"user_id": ["y", "z"], "since": ["2020-01-20T12:00:00+03:00", "2020-02-01T00:00:00Z"]}
    write_table(tmp_path / "new.csv", newcomers)
    told = run("recommend", tmp_path / "m", "--newcomers", tmp_path / "new.csv", "-n", 1)
    assert [row["user_id"] for row in read_rows(told.out)] == ["y", "z"]
    write_table(tmp_path / "wrong.csv", {"user_id": ["y"], "since": ["20 January"]})
    told = run("recommend", tmp_path / "m", "--newcomers", tmp_path / "wrong.csv", code=2)
    assert "has '20 January' in data row 1, expected a number or a date" in told.err
