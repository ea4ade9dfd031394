"""The command reads files of any format, ids of any type, tags, vectors and missing cells."""

import gzip
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM, Recommender
from lightfm_fast.sharded import ShardedDataset
from lightfm_fast.table_files import write_table

from .films import make_tables

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")


def test_stars_are_likes_from_a_threshold_on(run):
    rows = {"user_id": ["a", "a", "b", "b"], "item_id": ["x", "y", "x", "y"], "stars": [1, 5, 4, 3]}
    write_table("stars.csv", rows)
    common = ["fit", "stars.csv", "-o", "stars.safetensors", "--epochs", 1, "--value-column", "stars"]
    told = run(*common)
    assert (
        "column 'stars' has no value at or below 0, so every row is a positive. "
        "For ratings, give the smallest one that is a positive by --positive-from" in told.err
    )
    assert "--positive-from" not in run(*common, "--positive-from", 4).err
    model = LightFM.load("stars.safetensors")
    assert model.dataset_.build_interactions_from_table(rows).interactions.toarray().tolist() == [[-1, 1], [1, -1]]
    write_table("later.csv", {"user_id": ["a"], "item_id": ["x"], "stars": [3]})
    evaluated = ["evaluate", "stars.safetensors", "later.csv", "--value-column", "stars"]
    assert "no user has a test positive" in run(*evaluated, "--positive-from", 4, code=2).err
    assert json.loads(run(*evaluated, "--positive-from", 3, "--json").out)["users"] == 1
    assert (
        "name the column of values by --value-column"
        in run("fit", "stars.csv", "-o", "y", "--positive-from", 4, code=2).err
    )
    write_table("both.csv", {**rows, "stars": [1, -1, 1, -1]})
    assert "--positive-from" not in run("fit", "both.csv", "-o", "stars.safetensors", "--value-column", "stars").err


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


def embeddings(path):
    return LightFM.load(path).item_embeddings


def test_formats_and_several_files(folder, run):
    """The same rows in every file format give the same model."""
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
    assert "column 'item_id' holds text in all.csv but numbers in numbers.parquet" in told.err
    tabs = text.replace(",", "\t").replace("film\t ", "film, ").replace('"', "")
    Path("tabs.csv").write_text(tabs)
    run("fit", "tabs.csv", "--delimiter", "tab", "-o", "again.safetensors", *common)
    assert_array_equal(embeddings("again.safetensors"), expected)
    assert len(items["item_id"]) == len(expected)


def test_a_folder_and_a_pattern_name_files(run):
    """A log of a file a day; messages name the first file and the number of the others."""
    rows, _, _ = make_tables()
    Path("days").mkdir()
    for day in range(5):
        write_table(f"days/{day}.parquet", {name: column[day::5] for name, column in rows.items()})
    common = ["-o", "days.safetensors", "--threads", 1, "--seed", 1, "--epochs", 1, "--value-column", "rating"]
    expected = None
    for files in ([f"days/{day}.parquet" for day in range(5)], ["days"], ["days/*.parquet"]):
        told = run("fit", *files, *common).err
        assert told.startswith("days/0.parquet and 4 more files: ")
        assert "days/1.parquet" not in told
        if expected is None:
            expected = embeddings("days.safetensors")
        assert_array_equal(embeddings("days.safetensors"), expected)
    told = run("evaluate", "days.safetensors", "days/0.parquet", "--train", "days/[1-4].parquet", "--json")
    assert json.loads(told.out)["known_from_train"] == 0
    assert "there is no file days/*.csv" in run("fit", "days/*.csv", *common, code=2).err
    assert "over days/0.parquet, which is read" in run("fit", "days/*", "-o", "days/0.parquet", code=2).err
    Path("empty").mkdir()
    assert "no Parquet file is at empty" in run("fit", "empty", *common, code=2).err


def test_missing_cells_have_a_spelling(run):
    write_table("na.csv", {"user_id": ["a", "b"], "item_id": ["x", "y"], "age": ["30", "n/a"], "stars": ["5", "NA"]})
    common = ["fit", "na.csv", "-o", "na.safetensors", "--epochs", 1]
    told = run(*common, "--value-column", "stars", code=2)
    assert "column 'stars' of na.csv has 'NA' in data row 2, expected a number: if it stands for" in told.err
    told = run(*common, "--value-column", "stars", "--missing", "NA", code=2)
    assert "na.csv: column 'stars' of interactions has 1 missing value, the first in data row 2" in told.err
    features = ["--users", "na.csv", "--user-features", "age:number"]
    assert "--missing n/a" in run(*common, *features, code=2).err
    run(*common, *features, "--missing", "n/a", "--missing", "NA")


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_rows_without_ids_are_left_out_on_demand(run, ending):
    table = {"user_id": [1, 2, None, 2, 3], "item_id": [7, None, 8, 8, 9], "stars": [1, None, None, 2, 3]}
    frames = {"holes": table, "whole": {name: [cells[row] for row in (0, 3, 4)] for name, cells in table.items()}}
    frames["people"] = {"user_id": [1, 2, None, 3], "town": ["Oslo", "Rome", "Atlantis", "Rome"]}
    frames["known"] = {name: [cells[row] for row in (0, 1, 3)] for name, cells in frames["people"].items()}
    for name, columns in frames.items():
        write_table(f"{name}{ending}", columns)

    def fit(rows, users, *more, code=0):
        options = ("--users", f"{users}{ending}", "--user-features", "town", "--weight-column", "stars")
        training = ("--threads", 1, "--seed", 1, "--epochs", 2, "-o", f"{rows}.safetensors")
        return run("fit", f"{rows}{ending}", *options, *training, *more, code=code)

    told = fit("holes", "people", code=2).err
    assert f"holes{ending}: column 'user_id' of interactions has 1 missing id, the first in data row 3" in told
    assert "leave those rows out by --missing-ids skip" in told
    skip = ("--missing-ids", "skip")
    told = fit("holes", "people", *skip).err
    assert f"holes{ending}: 2 rows of interactions without an id left out, the first in data row 2;" in told
    assert f"people{ending}: 1 row of the table without an id left out, the first in data row 3;" in told
    fit("whole", "known")
    for name in ("user_embeddings", "item_embeddings"):
        found, expected = (getattr(LightFM.load(f"{part}.safetensors"), name) for part in ("holes", "whole"))
        assert_array_equal(found, expected)
    ids = LightFM.load("holes.safetensors").dataset_.mapping()
    assert ids == LightFM.load("whole.safetensors").dataset_.mapping()
    for command in (
        ("evaluate", "holes.safetensors", f"holes{ending}", "--metrics", "auc"),
        ("update", "holes.safetensors", f"holes{ending}", "-o", "new.safetensors", "--epochs", 1),
        ("recommend", "holes.safetensors", "--interactions", f"holes{ending}", "-n", 1),
    ):
        assert "--missing-ids skip" in run(*command, code=2).err
        assert "2 rows of interactions without an id left out" in run(*command, *skip).err
    told = run("fit", f"holes{ending}", f"whole{ending}", *skip, "-o", "both.safetensors", "--epochs", 1).err
    assert "read in" in told
    if ending == ".parquet":
        assert list(ids[0]) == [1, 2, 3]
        command = ("fit", "holes.parquet", "--shards", "shards", "-o", "s.safetensors", "--epochs", 1)
        assert "--missing-ids skip" in run(*command, code=2).err
        assert "2 rows without an id of a user or an item left out" in run(*command, *skip).err
        assert ShardedDataset("shards").n_missing == 2


def test_a_file_may_have_no_row_with_ids(run):
    write_table("named.csv", {"user_id": ["ann", "bob"], "item_id": ["x", "y"], "at": [1, 2]})
    write_table("unnamed.csv", {"user_id": [None, None], "item_id": ["x", "y"], "at": [None, 3]})
    options = ("--missing-ids", "skip", "--time-column", "at", "--epochs", 1, "-o", "m.safetensors")
    told = run("fit", "unnamed.csv", "named.csv", *options).err
    assert "unnamed.csv: 2 rows of interactions without an id left out, the first in data row 1;" in told
    assert list(LightFM.load("m.safetensors").dataset_.mapping()[0]) == ["ann", "bob"]
    for files, n_rows in ((["unnamed.csv"], 2), (["unnamed.csv", "unnamed.csv"], 4)):
        told = run("fit", *files, *options, code=2).err
        assert f"{', '.join(files)}: {n_rows} rows of interactions without an id left out" in told
        assert "none is left" in told


def test_whole_numbers_beside_missing_ids_stay_whole(run):
    write_table("monday.csv", {"user_id": ["7", "8"], "item_id": ["1", "2"]})
    write_table("tuesday.csv", {"user_id": ["7.0", None, "-8.0"], "item_id": ["1.0", "2.0", "x"]})  # as pandas writes
    run("fit", "monday.csv", "tuesday.csv", "--missing-ids", "skip", "--epochs", 1, "-o", "m.safetensors")
    users, _, items, _ = LightFM.load("m.safetensors").dataset_.mapping()
    assert (list(users), list(items)) == (["7", "8", "-8"], ["1", "2", "1.0", "x"])


def test_files_of_text_ids_and_of_numbers_meet(run):
    write_table("text.csv", {"user_id": ["007", "8", "ann"], "item_id": ["1", "2", "2"]})
    write_table("numbers.parquet", {"user_id": [7, 8, 9], "item_id": [2.0, 3.0, 1.0]})
    for files in (("text.csv", "numbers.parquet"), ("numbers.parquet", "text.csv")):
        run("fit", *files, "--epochs", 1, "-o", "m.safetensors")
        users, _, items, _ = LightFM.load("m.safetensors").dataset_.mapping()
        assert ({*users}, {*items}) == ({"007", "8", "ann", "9"}, {"1", "2", "3"})
    run("update", "m.safetensors", "numbers.parquet", "text.csv", "--epochs", 1, "-o", "later.safetensors")
    assert len(LightFM.load("later.safetensors").dataset_.mapping()[0]) == 4
    write_table("dates.parquet", {"user_id": [date(2020, 1, 31)], "item_id": [1]})
    told = run("fit", "text.csv", "dates.parquet", "-o", "m.safetensors", code=2).err
    assert "holds text in text.csv but dates in dates.parquet: bring the files to one type" in told


def test_whole_numbers_of_two_kinds_stay_apart(run):
    for name, kind in (("signed", "int64"), ("unsigned", "uint64")):
        ids = pa.array([(1 << 60) + 1, 1 << 60], kind)
        parquet.write_table(pa.table({"user_id": ids, "item_id": [1, 2]}), f"{name}.parquet")
    run("fit", "signed.parquet", "unsigned.parquet", "--epochs", 1, "-o", "m.safetensors")
    assert list(LightFM.load("m.safetensors").dataset_.mapping()[0]) == [(1 << 60) + 1, 1 << 60]
    parquet.write_table(pa.table({"user_id": [None, 7.0], "item_id": [1, 2]}), "holes.parquet")
    parquet.write_table(pa.table({"user_id": [8.0, 9.0], "item_id": [1, 2]}), "floats.parquet")
    files = ("signed.parquet", "holes.parquet", "floats.parquet")
    run("fit", *files, "--missing-ids", "skip", "--epochs", 1, "-o", "m.safetensors")
    users = list(LightFM.load("m.safetensors").dataset_.mapping()[0])
    assert (users, {*map(type, users)}) == ([(1 << 60) + 1, 1 << 60, 7, 8, 9], {int})
    parquet.write_table(pa.table({"user_id": [None, float(1 << 60)], "item_id": [1, 2]}), "holes.parquet")
    told = run("fit", *files, "--missing-ids", "skip", "-o", "m.safetensors", code=2).err
    assert "holes.parquet: column 'user_id' of interactions holds floats such as" in told


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


def test_files_of_distant_dates_and_of_nanoseconds_meet(run):
    """NumPy would join both in nanoseconds, where the year 9999 overflows."""
    ids = {"user_id": [1], "item_id": [1]}
    write_table("far.parquet", {**ids, "at": [date(9999, 12, 31)]})
    write_table("near.parquet", {**ids, "user_id": [2], "at": np.array(["2024-01-01"], dtype="datetime64[ns]")})
    fit = ("fit", "far.parquet", "near.parquet", "--time-column", "at", "-o", "m.safetensors", "--quiet")
    run(*fit, "--epochs", 1)
    assert Recommender.load("m.safetensors").dataset.timestamps.astype("datetime64[D]").tolist() == [
        date(9999, 12, 31),
        date(2024, 1, 1),
    ]
