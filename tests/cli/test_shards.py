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

FIT = ("--value-column", "rating", "--threads", "1", "--seed", "3", "--epochs", "3", "--components", "8", "--quiet")
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "train.csv", "--shards", "x"), "train.csv: --shards reads Parquet"),
        (("fit", "train.parquet", "--shards", "x", "--hold-out", "random"), "--shards goes without --hold-out"),
        (("fit", "train.parquet", "--shards", "x", "--no-interactions"), "--shards goes without --no-interactions"),
        (("fit", "train.parquet", "--shards", "x", "--no-item-identity"), "without --no-item-identity"),
        (("fit", "train.parquet", "--shard-memory", "2GB"), "--shard-memory is for --shards"),
        (("fit", "none*.parquet", "--shards", "x"), "no Parquet file is at none*.parquet"),
        (("recommend", "model.safetensors", "--shards", "x", "--users", "1"), "--shards goes without --users"),
    ],
)
def test_what_shards_do_not_take(run, arguments, message):
    told = run(*arguments, "-o", "x.parquet", code=2)
    assert message in told.err
