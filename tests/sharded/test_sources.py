"""Shards of what people have: Parquet files, a Dataset in memory, and a Dask DataFrame."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM
from lightfm_fast.cross_validation import random_train_test_split
from lightfm_fast.data import Dataset
from lightfm_fast.evaluation import evaluate
from lightfm_fast.sharded import ShardedDataset

from .test_user_features import COLUMNS, N_ITEMS, people, views


def test_a_folder_that_is_named_as_a_file_is_read_once(tmp_path):
    (tmp_path / "days" / "monday.parquet").mkdir(parents=True)
    pq.write_table(pa.table(views()), tmp_path / "days" / "monday.parquet" / "part-0.parquet")
    for number, source in enumerate(("days", "days/*.parquet", "days/monday.parquet")):
        made = ShardedDataset.from_parquet(tmp_path / source, tmp_path / f"s{number}", **COLUMNS, weight="stars")
        assert sum(shard.weights.sum() for shard in made) == views()["stars"].sum()


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (None, TypeError, "source is None, expected a path or a list of paths of Parquet files"),
        ([3], TypeError, r"source is \[3\], expected a path"),
        (pd.DataFrame({"who": [1], "what": [1]}), TypeError, "from_tables takes frames in memory"),
        ("", ValueError, "source is '', which no file can be named"),
        ([], FileNotFoundError, "source is empty"),
        ("nothing/*.parquet", FileNotFoundError, r"no Parquet file is at nothing/\*\.parquet"),
    ],
)
def test_what_is_no_parquet_file(tmp_path, source, error, message):
    with pytest.raises(error, match=message):
        ShardedDataset.from_parquet(source, tmp_path / "s", **COLUMNS)


def test_functions_of_matrices_name_what_shards_do_themselves(tmp_path):
    made = ShardedDataset.from_tables([views()], tmp_path / "s", **COLUMNS)
    model = LightFM().fit(made)
    for ask in (
        lambda: evaluate(model, made),
        lambda: random_train_test_split(made),
        lambda: model.fold_in_users(made),
    ):
        with pytest.raises(ValueError, match=r"is a ShardedDataset, .* give the matrix in memory, to_dataset\(\)"):
            ask()
    for ask in (lambda: made.evaluate(LightFM()), lambda: made.recommend_to(LightFM(), tmp_path / "lists")):
        with pytest.raises(ValueError, match="the model is not fitted: call fit"):
            ask()


def test_damaged_files_are_named(tmp_path):
    pq.write_table(pa.table(views()), tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[100:160] = b"\xff" * 60
    for number, damaged in enumerate((b"", b"who,what", bytes(content), bytes(content[: len(content) // 2]))):
        (tmp_path / "b.parquet").write_bytes(damaged)
        files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
        with pytest.raises(ValueError, match=r"b\.parquet cannot be read as Parquet, write it again"):
            ShardedDataset.from_parquet(files, tmp_path / f"s{number}", **COLUMNS)
        assert not (tmp_path / f"s{number}").exists()
    same = pa.table([pa.array([1]), pa.array([1]), pa.array([1])], names=["who", "what", "what"])
    pq.write_table(same, tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read"):
        ShardedDataset.from_parquet(tmp_path / "b.parquet", tmp_path / "s", **COLUMNS)


@pytest.mark.parametrize("has_features", [True, False])
def test_a_dataset_in_memory(tmp_path, has_features):
    features = {"users": people(), "user_features": ["town"]} if has_features else {}
    items = {"what": np.arange(N_ITEMS), "kind": np.arange(N_ITEMS) // 9}
    options = {**COLUMNS, "items": items, "item_features": ["kind"], "weight": "stars", **features}
    dataset = Dataset.from_tables(views(), **options)
    made = ShardedDataset.from_dataset(dataset, tmp_path / "a", n_shards=3)
    expected = ShardedDataset.from_tables([views()], tmp_path / "b", **options, n_shards=3)
    assert made.item_ids == expected.item_ids
    assert made.shape == expected.shape
    assert (made.item_features != expected.item_features).nnz == 0
    for one, other in zip(made, expected, strict=True):
        order = [one.user_ids.index(user) for user in other.user_ids]
        assert abs(one.interactions[order] - other.interactions).max() == 0
        assert abs(one.user_features[order][:, made.shape[0] :] - other.user_features[:, made.shape[0] :]).nnz == 0
        assert np.isclose(one.weights.sum(), other.weights.sum())
    if has_features:
        assert (made.encode_new_users({"town": ["Oslo"]}) != expected.encode_new_users({"town": ["Oslo"]})).nnz == 0
    assert dataset.interactions is not None
    assert len(dataset.mapping()[0]) == made.shape[0]


def test_datasets_that_shards_do_not_take(tmp_path):
    with pytest.raises(TypeError, match="expected a Dataset that from_tables has made"):
        ShardedDataset.from_dataset(sp.eye(3), tmp_path / "s")
    for wrong in ("\udcff", 2**70, ("a", 1)):
        mixed = Dataset.from_tables({"who": [wrong], "what": [1]}, **COLUMNS)
        with pytest.raises(TypeError, match="text or .*whole numbers"):
            ShardedDataset.from_dataset(mixed, tmp_path / "s")
    options = {**COLUMNS, "users": people(), "user_features": ["town"], "user_identity_features": False}
    with pytest.raises(ValueError, match="user_identity_features=True"):
        ShardedDataset.from_dataset(Dataset.from_tables(views(), **options), tmp_path / "s")
    for ids in (["a", 1], [2**70, 1], [("a", 1), ("b", 2)]):
        with pytest.raises(TypeError, match="ids of users are not all text or all whole numbers of 64 bits"):
            ShardedDataset.from_dataset(Dataset.from_tables({"who": ids, "what": [1, 2]}, **COLUMNS), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_may_call_its_ids_as_it_likes(tmp_path):
    dataset = Dataset.from_tables({"value": ["a", "b"], "time": ["x", "y"]}, user="value", item="time")
    assert ShardedDataset.from_dataset(dataset, tmp_path / "s").item_ids == ["x", "y"]


def test_two_columns_of_one_name_are_refused(tmp_path):
    twice = pd.DataFrame([["u", 1, 2]], columns=["who", "what", "what"])
    with pytest.raises(ValueError, match=r"tables\[0\] cannot be read: .*what"):
        ShardedDataset.from_tables([twice], tmp_path / "s", **COLUMNS)


def test_a_dask_data_frame_is_read_a_partition_at_a_time(tmp_path):
    frame = pd.DataFrame(views())

    class Partitions:
        """What a Dask DataFrame is asked for."""

        npartitions, columns = 3, frame.columns
        computed: list[int] = []

        def get_partition(self, number):
            self.number = number
            return self

        def compute(self):
            self.computed.append(self.number)
            return frame.iloc[self.number * 1000 : (self.number + 1) * 1000]

    made = ShardedDataset.from_tables(Partitions(), tmp_path / "a", **COLUMNS, n_shards=2)
    expected = ShardedDataset.from_tables([frame], tmp_path / "b", **COLUMNS, n_shards=2)
    assert Partitions.computed == [0, 1, 2]
    for one, other in zip(made, expected, strict=True):
        assert (one.interactions != other.interactions).nnz == 0
        assert one.user_ids == other.user_ids


def test_dask_itself(tmp_path):
    frames = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(views())
    made = ShardedDataset.from_tables(frames.from_pandas(frame, npartitions=3), tmp_path / "a", **COLUMNS)
    assert made.n_interactions == len(frame.drop_duplicates(["who", "what"]))
