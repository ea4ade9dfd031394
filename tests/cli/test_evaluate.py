"""evaluate agrees with the library, and reports the rows that it leaves out."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast.cli import commands
from lightfm_fast.evaluation import evaluate
from lightfm_fast.table_files import write_table

from .films import features_of, fit_arguments, make_dataset


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


def test_columns_and_the_threshold_are_those_of_fit(run):
    rng = np.random.default_rng(0)
    rows = {"person": rng.integers(30, size=500), "film": rng.integers(20, size=500), "stars": rng.integers(1, 6, 500)}
    for name, chosen in (("seen", slice(400)), ("unseen", slice(400, None))):
        write_table(f"{name}.csv", {column: values[chosen] for column, values in rows.items()})
    columns = ["--user-column", "person", "--item-column", "film", "--value-column", "stars"]
    stars = [*columns, "--positive-from", 4]
    run("fit", "seen.csv", "-o", "stars.safetensors", "--epochs", 2, "--threads", 1, *stars)
    evaluate = ["evaluate", "stars.safetensors", "unseen.csv", "--train", "seen.csv"]
    assert run(*evaluate).out == run(*evaluate, *columns).out == run(*evaluate, *stars).out
    assert run(*evaluate).out != run(*evaluate, "--value-column", "").out
    assert run("recommend", "stars.safetensors", "-n", 1).out.startswith("person,film,rank")
    seen_by_ids = ["recommend", "stars.safetensors", "--users", 7, "--interactions", "ids.csv"]
    write_table("ids.csv", {"person": [7], "film": [3]})
    assert "\n7,3," not in run(*seen_by_ids, "-n", 20).out
    assert run("similar", "stars.safetensors", 3, "-n", 1).out.startswith("film,similar_film")


def test_evaluate_counts_what_it_leaves_out(run):
    write_table("odd.csv", {"user_id": ["000", "000", "nobody"], "item_id": ["film, 1", "film, 2", "film, 2"]})
    write_table("known.csv", {"user_id": ["000"], "item_id": ["film, 2"]})
    arguments = ["evaluate", "model.safetensors", "odd.csv", "--train", "known.csv", "--value-column", ""]
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
        "evaluate": (["evaluate", "model.safetensors", "--value-column", ""], note),
        "train": (["evaluate", "model.safetensors", "test.csv", "--value-column", "", "--train"], note),
        "validation": ([*fit, "--validation"], note),
    }
    for arguments, expected in steps.values():
        assert expected in run(*arguments, "some.csv").err
        told = run(*arguments, "none.csv", code=2)
        assert (
            "none.csv: all 2 rows of interactions have ids unknown to the dataset, user 'x' first; it knows 40, such as"
            in told.err
        )
    newcomers = ["recommend", "model.safetensors", "--newcomers", "new.csv", "--value-column", "", "--interactions"]
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
