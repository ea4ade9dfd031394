"""fit and recommend through shards do what the library does."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast.features import Categorical, FeatureSpec, MultiCategorical, QuantileBins
from lightfm_fast.sharded import ShardedDataset
from lightfm_fast.table_files import read_table

from .films import read_rows

MODEL = ("--loss", "warp", "--components", "8", "--seed", "3", "--epochs", "3")
FIT = ("--value-column", "rating", "--threads", "1", *MODEL, "--quiet")
FEATURES = ("--user-features", "town", "age:bins=3", "--item-features", "tags:tags")


def test_fit_and_recommend(folder, run):
    sides = ("--users", "users.parquet", "--items", "items.csv")
    told = run("fit", "tr*n.parquet", "-o", "s.safetensors", "--shards", "shards", *sides, *FEATURES, *FIT, "--json")
    facts = json.loads(told.out)
    expected = ShardedDataset.from_parquet(
        folder / "train.parquet",
        folder / "expected",
        value="rating",
        users=folder / "users.parquet",
        items=read_table(folder / "items.csv", ["item_id", "tags"]),
        user_features=FeatureSpec({"town": Categorical(), "age": QuantileBins(3)}),
        item_features=FeatureSpec({"tags": MultiCategorical("|", normalize="l2")}),
    )
    model = LightFM(8, loss="warp", random_state=3).fit(expected, item_features=expected.item_features, epochs=3)
    found = LightFM.load(folder / "s.safetensors")
    assert_array_equal(found.user_embeddings, model.user_embeddings)
    assert facts["interactions"] == expected.n_interactions
    assert facts["users"] == 40
    again = [option for option in FIT if option not in ("--threads", "1")]  # the default is one thread for so few rows
    told = run("fit", "tr*n.parquet", "-o", "s.safetensors", "--shards", "shards", *sides, *FEATURES, *again, "--json")
    assert json.loads(told.out)["loss"] == facts["loss"]
    told = run("recommend", "s.safetensors", "--shards", "shards", "-o", "all.parquet", "-n", 5, "--quiet")
    table = pq.read_table(folder / "all.parquet")
    expected.recommend_to(model, folder / "lists", n=5)
    assert table.to_pydict() == pq.read_table(folder / "lists").to_pydict()
    assert table.schema.names == ["user_id", "item_id", "rank", "score"]
    assert "40 users" in told.out
    assert not (folder / "all.parquet.parts").exists()
    run("recommend", "s.safetensors", "--shards", "shards", "-o", "folder", "-n", 5, "--quiet")
    assert np.unique(pq.read_table(folder / "folder")["user_id"]).size == 40


def test_a_model_of_shards_answers_in_ids(run):
    sides = ("--users", "users.parquet", "--items", "items.csv", "--title-column", "tags")
    fit = ("fit", "train.parquet", "-o", "ids.safetensors", "--shards", "of-ids", *sides, *FEATURES, *FIT)
    run(*fit)
    seen = set(zip(*read_table("train.parquet", ["user_id", "item_id"]).values(), strict=True))
    seen = {(str(user), str(item)) for user, item in seen}
    rows = read_rows(run("recommend", "ids.safetensors", "--users", "007", "-n", 5).out)
    assert len(rows) == 5
    assert all((row["user_id"], row["item_id"]) not in seen for row in rows)
    run("recommend", "ids.safetensors", "--shards", "of-ids", "-o", "of-ids.parquet", "-n", 5, "--quiet")
    of_shards = pq.read_table("of-ids.parquet").to_pylist()
    assert [row["item_id"] for row in rows] == [row["item_id"] for row in of_shards if row["user_id"] == "007"]
    assert {"tags", "cosine"} <= set(read_rows(run("similar", "ids.safetensors", "film, 3").out)[0])
    assert "town:" in run("explain", "ids.safetensors", "007", "film, 3").out
    told = run("evaluate", "ids.safetensors", "test.parquet", "--metrics", "auc", "--json")
    assert 0 < json.loads(told.out)["users"] <= 40
    run("update", "ids.safetensors", "test.parquet", "-o", "updated.safetensors", "--epochs", 1)
    told = run("fit", "train.parquet", "-o", "few.safetensors", "--shards", "few", "--no-interactions", *FIT[:-1])
    assert "saved without" not in told.err
    assert LightFM.load("few.safetensors").dataset_.interactions is None


def test_ids_that_do_not_fit_are_left_out(run, monkeypatch):
    fit = ("fit", "train.parquet", "--shards", "large", *FIT[:-1])
    monkeypatch.setattr("lightfm_fast.cli.sharding.BYTES_OF_AN_INTERACTION", 10**9)
    told = run(*fit, "-o", "seen.safetensors").err
    assert "the model is saved without what users have seen" in told
    assert LightFM.load("seen.safetensors").dataset_.interactions is None
    monkeypatch.setattr("lightfm_fast.cli.sharding.BYTES_OF_A_USER", 10**9)
    told = run(*fit, "-o", "bare.safetensors").err
    assert "the ids need about 40,000 MB, and --shard-memory is 1GB: the model is saved without ids" in told
    assert LightFM.load("bare.safetensors").dataset_ is None
    assert "Of a model of fit --shards whose ids" in run("similar", "bare.safetensors", "film, 3", code=2).err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "train.csv", "--shards", "x"), "train.csv: --shards reads Parquet"),
        (("fit", "train.parquet", "--shards", "x", "--hold-out", "random"), "--shards goes without --hold-out"),
        (("fit", "train.parquet", "--shards", "x", "--no-item-identity"), "without --no-item-identity"),
        (("fit", "train.parquet", "--shard-memory", "2GB"), "--shard-memory is for --shards"),
        (("fit", "none*.parquet", "--shards", "x"), "no Parquet file is at none*.parquet"),
        (("recommend", "model.safetensors", "--shards", "x", "--users", "1"), "--shards goes without --users"),
    ],
)
def test_what_shards_do_not_take(run, arguments, message):
    told = run(*arguments, "-o", "x.parquet", code=2)
    assert message in told.err
