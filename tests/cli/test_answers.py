"""recommend, similar, explain and inspect give the library's answers."""

import json
import sys
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from lightfm_fast import LightFM, Recommender, __version__
from lightfm_fast.data import Dataset
from lightfm_fast.table_files import read_table, write_table

from .films import N_ITEMS, N_USERS, features_of, fit_arguments, make_dataset, make_tables, names_of, read_rows


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


def test_what_users_had_in_training_is_left_out(folder, run, model, tmp_path):
    from_file = run("recommend", "model.safetensors", "--users", "007", "-n", 4, "--interactions", "train.csv").out
    assert run("recommend", "model.safetensors", "--users", "007", "-n", 4).out == from_file
    seen_too = run("recommend", "model.safetensors", "--users", "007", "-n", 4, "--keep-seen").out
    assert seen_too != from_file
    other = tmp_path / "other.safetensors"
    run(*fit_arguments(folder, other, "--no-interactions"))
    assert run("recommend", other, "--users", "007", "-n", 4).out == seen_too
    assert Recommender.load("model.safetensors").recommend("007", 4)["item_id"] == [
        row["item_id"] for row in read_rows(from_file)
    ]


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
    assert_allclose(read["score"], [float(row["score"]) for row in written], atol=1e-6)


def test_recommend_to_a_folder_goes_on(run, model):
    common = ["recommend", "model.safetensors", "--interactions", "train.csv", "-n", 3, "-o", "parts", "--quiet"]
    assert run(*common).out == f"parts: {N_USERS * 3} rows for {N_USERS} users\n"
    read = read_table("parts/part-00000.parquet", ["user_id", "item_id", "rank", "score"])
    assert read["user_id"].to_pylist()[::3] == names_of(model, "user")
    told = run(*common[:-1])
    assert told.out == f"parts: {N_USERS * 3} rows for {N_USERS} users\n"
    assert f"parts: the lists of {N_USERS} users were there already" in told.err


def test_newcomers_in_a_file_have_their_ids(run):
    write_table("new.csv", {"user_id": ["zoe", "yan"], "town": ["Oslo", None], "age": [30, 70]})
    common = ["recommend", "model.safetensors", "--newcomers", "new.csv", "-n", 2, "--threads", 1]
    rows = read_rows(run(*common).out)
    run(*common, "-o", "lists.parquet", "--quiet")
    read = read_table("lists.parquet", ["user_id", "item_id"])
    assert read["user_id"].to_pylist() == [row["user_id"] for row in rows] == ["zoe", "zoe", "yan", "yan"]
    assert read["item_id"].to_pylist() == [row["item_id"] for row in rows]


def test_nobody_to_recommend_to(run):
    write_table("asked.csv", {"user_id": []})
    common = ["recommend", "model.safetensors", "--users-from", "asked.csv"]
    assert run(*common).out == "user_id,item_id,rank,score\n"
    assert run(*common, "--json").out == "[]\n"
    for ending in ("csv", "parquet"):
        assert run(*common, "-o", f"nobody.{ending}").out == f"nobody.{ending}: 0 rows for 0 users\n"
        assert not len(read_table(f"nobody.{ending}", ["user_id"])["user_id"])


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
        more = ["--interactions", "chosen.csv", "--value-column", ""] if with_chosen else []
        told = run("recommend", "model.safetensors", "--newcomers", "new.csv", "-n", 5, *more, "--threads", 1)
        seen = sp.lil_matrix((2, N_ITEMS))
        if with_chosen:
            seen[0, [1, 9]] = 1
        described = model.dataset_.encode_new_users({"town": ["Oslo", None], "age": [30, 70]}, model.encoders_["user"])
        users = model.fold_in_users(seen.tocsr(), described, dataset.item_features)
        options = {"item_features": dataset.item_features, "user_representations": users}
        ids, scores = model.recommend([0, 1], 5, seen.tocsr(), **options)
        check_rows(read_rows(told.out), ["zoe", "yan"], names_of(model, "item"), ids, scores)


def test_what_newcomers_have_with_the_value_0_is_left_out(run):
    write_table("new.csv", {"user_id": ["zoe"], "town": ["Oslo"], "age": [30]})
    write_table("chosen.csv", {"user_id": ["zoe"] * 2, "item_id": ["film, 1", "film, 9"], "rating": [1, 0]})
    common = ["recommend", "model.safetensors", "--newcomers", "new.csv", "--interactions", "chosen.csv", "-n", N_ITEMS]
    listed = {row["item_id"] for row in read_rows(run(*common, "--threads", 1).out)}
    assert len(listed) == N_ITEMS - 2
    assert not listed & {"film, 1", "film, 9"}


def test_recommend_to_newcomers_of_a_dataset_of_plain_columns(run, folder):
    rows, users, _ = make_tables()
    dataset = Dataset.from_tables(rows, users, user_features=["town"])
    model = LightFM(loss="warp", random_state=0)
    model.fit(dataset.interactions, user_features=dataset.user_features).save(folder / "plain.st", dataset=dataset)
    write_table("new.csv", {"user_id": ["zoe"], "town": ["Oslo"]})
    told = run("recommend", "plain.st", "--newcomers", "new.csv", "-n", 3, "--threads", 1)
    best = Recommender(model, dataset).recommend([{"town": "Oslo"}], n=3)
    assert [row["item_id"] for row in read_rows(told.out)] == best["item_id"]


def test_what_newcomers_have_that_training_had_not_is_one_line(run):
    write_table("new.csv", {"user_id": ["zoe", "yan"], "town": ["Oslo", "Bern"], "age": [30, 70]})
    # Show warnings as the command does; the tests' settings would raise them.
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        (line,) = run("recommend", "model.safetensors", "--newcomers", "new.csv").err.splitlines()
    assert line.startswith("warning: column 'town': 1 of 2 values was not seen in fitting: 'Bern' in data row 2. ")
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
    told = run("explain", "model.safetensors", "007", "film, 2", "--plot", "why.xyz", code=2)
    assert "error: why.xyz: Format 'xyz' is not supported" in told.err
    assert pyplot.get_fignums() == before
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    told = run("explain", "model.safetensors", "007", "film, 2", "--plot", "why.png", code=2)
    assert "pip install 'lightfm_fast[plot]'" in told.err


def test_export_vectors(folder, run, model):
    features = features_of(make_dataset(folder))
    for side, more in (("item", ()), ("user", ("--users",))):
        told = run("export-vectors", "model.safetensors", "-o", "vectors.parquet", *more)
        names = names_of(model, side)
        assert told.out == f"vectors.parquet: {len(names)} {side}s in 9 dimensions\n"
        read = read_table("vectors.parquet", [f"{side}_id", "vector", "bias"])
        assert read[f"{side}_id"].to_pylist() == names
        biases, embeddings = getattr(model, f"get_{side}_representations")(features[f"{side}_features"])
        last = biases if side == "item" else [1] * len(names)
        assert_allclose(read["vector"].to_pylist(), [[*row, end] for row, end in zip(embeddings, last, strict=True)])
    found = json.loads(run("export-vectors", "model.safetensors", "-o", "vectors.parquet", "--no-bias", "--json").out)
    assert found == {"output": "vectors.parquet", "items": N_ITEMS, "dimensions": 8}


def test_inspect(run, model):
    found = json.loads(run("inspect", "model.safetensors", "--json").out)
    assert found["parameters"] == model.get_params()
    assert found["found_by_auto"] == {}
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
    assert "found_by_auto: none" in lines
    model.dataset_ = None
    model.save("bare.safetensors", optimizer_state=False)
    found = json.loads(run("inspect", "bare.safetensors", "--json").out)
    assert (found["dataset"], found["optimizer_state"]) == (None, False)
    assert "dataset: none" in run("inspect", "bare.safetensors").out
    LightFM(loss="bpr", item_alpha="auto", user_alpha="auto").fit(np.eye(20)).save("auto.safetensors")
    found = json.loads(run("inspect", "auto.safetensors", "--json").out)["found_by_auto"]
    assert list(found) == ["item_alpha", "user_alpha"]
    assert found["item_alpha"] == LightFM.load("auto.safetensors").item_alpha_


def test_newcomers_without_features_and_interactions_are_told_to_be_alike(run):
    write_table("plain.csv", {"user_id": ["ann", "ann", "bob"], "item_id": ["x", "y", "y"]})
    run("fit", "plain.csv", "-o", "plain.safetensors", "--loss", "warp", "--quiet")
    write_table("new.csv", {"user_id": ["zoe", "max"], "town": ["Oslo", "Rome"]})
    told = run("recommend", "plain.safetensors", "--newcomers", "new.csv")
    assert told.err == (
        "new.csv: the model has no user features, and --interactions names no file, so all newcomers get the same "
        "items: the most popular ones\n"
    )
    write_table("chosen.csv", {"user_id": ["zoe"], "item_id": ["x"]})
    assert run("recommend", "plain.safetensors", "--newcomers", "new.csv", "--interactions", "chosen.csv").err == ""


def test_an_index_of_the_items(run, model, folder):
    answer = json.loads(run("index", "model.safetensors", "-o", "items.index", "--compared", 7, "--json").out)
    index = model.load_index(folder / "items.index")
    assert (index.n_compared, answer["items"]) == (7, len(index))
    assert 0 < answer["recall@10"] <= 1
    assert "of the 10 best items of" in run("index", "model.safetensors", "-o", "items.index").out
    assert "would be written over" in run("index", "model.safetensors", "-o", "model.safetensors", code=2).err


def test_titles(folder, run):
    titles = {f"film, {item}": f"Title {item}" for item in range(N_ITEMS) if item != 3}
    items = make_tables()[2]
    write_table(folder / "titled.csv", {**items, "title": [titles.get(name) for name in items["item_id"]]})
    arguments = fit_arguments(folder, "titled.safetensors", "--title-column", "title")
    arguments[arguments.index("--items") + 1] = "titled.csv"
    run(*arguments)
    for command, column in ((("recommend", "--keep-seen"), "item_id"), (("similar", "film, 1"), "similar_item_id")):
        rows = read_rows(run(command[0], "titled.safetensors", *command[1:], "-n", N_ITEMS).out)
        assert list(rows[0])[1:4] == [column, "title", "rank"]
        assert all(row["title"] == titles.get(row[column], "") for row in rows)
    told = run("similar", "titled.safetensors", "Title 5", code=2).err
    assert "it is the title of 'film, 5', so ask by this id" in told
    (answer,) = json.loads(run("recommend", "titled.safetensors", "--users", "007", "-n", 30, "--json").out)
    assert all(item["title"] == titles.get(item["item"]) for item in answer["items"])
    told = run("recommend", "titled.safetensors", "--item-column", "title", code=2)
    assert "the model's titles are in column 'title' too" in told.err
    assert "title" not in read_rows(run("similar", "titled.safetensors", "007", "--users").out)[0]
    assert "Title 2" in run("explain", "titled.safetensors", "007", "film, 2").out
    assert "film, 3" in run("explain", "titled.safetensors", "007", "film, 3").out
    told = run("fit", "train.csv", "-o", "x.safetensors", "--title-column", "title", code=2)
    assert "--title-column names a column of --items FILE" in told.err
    told = run(*fit_arguments(folder, "x.safetensors", "--title-column", "name"), code=2)
    assert "no column 'name'" in told.err
    told = run(*fit_arguments(folder, "x.safetensors", "--title-column", "item_id"), code=2)
    assert "two columns 'item_id'" in told.err
