"""Rows without the id of a user or an item are refused, or left out on demand, wherever tables are read."""

import logging

import numpy as np
import pytest

from lightfm_fast import LightFM, Recommender
from lightfm_fast.data import Dataset
from lightfm_fast.features import MultiCategorical, gather_tags
from lightfm_fast.sharded import ShardedDataset

NAN = float("nan")
ROWS = {
    "user_id": ["ann", "bob", None, "cid", "ann"],
    "item_id": ["dune", None, "emma", "ulys", "ulys"],
    "stars": [1.0, NAN, NAN, 2.0, 3.0],
    "at": [1.0, 2.0, NAN, 4.0, 5.0],
}
ITEMS = {"item_id": ["dune", None, "ulys", "iris"], "kind": ["a", "only", "b", "a"], "title": ["D", "lost", "U", "I"]}
KEPT = {name: [cells[row] for row in (0, 3, 4)] for name, cells in ROWS.items()}
KEPT_ITEMS = {name: [cells[row] for row in (0, 2, 3)] for name, cells in ITEMS.items()}
SKIP = {"missing_ids": "skip"}


def frame(library, columns):
    if library == "dict":
        return columns
    if library == "arrays":
        return {name: np.array(cells, dtype=object) for name, cells in columns.items()}
    if library == "pyarrow":
        return pytest.importorskip("pyarrow").table(columns)
    return pytest.importorskip(library).DataFrame(columns)


def assert_same(dataset, expected):
    assert dataset.mapping() == expected.mapping()
    for name in ("interactions", "weights", "item_features"):
        ours, theirs = getattr(dataset, name), getattr(expected, name)
        assert (ours is None) == (theirs is None)
        assert ours is None or ours.toarray().tolist() == theirs.toarray().tolist()
    assert np.array_equal(dataset.timestamps, expected.timestamps)


@pytest.mark.parametrize("library", ["dict", "arrays", "pandas", "polars", "pyarrow"])
def test_a_dataset_is_that_of_the_other_rows(library, caplog):
    caplog.set_level(logging.INFO, logger="lightfm_fast")
    columns = {"weight": "stars", "time": "at"}
    rows, items = frame(library, ROWS), frame(library, ITEMS)
    dataset = Dataset.from_tables(rows, **columns, **SKIP)
    assert_same(dataset, Dataset.from_tables(KEPT, **columns))
    assert (dataset.n_missing, dataset.n_skipped) == (2, 0)
    assert "2 incomplete rows" in repr(dataset)
    assert caplog.messages == ["2 rows of interactions without an id left out, the first in row 1"]
    dataset = Dataset.from_tables(rows, items=items, item_features=["kind"], **columns, **SKIP)
    expected = Dataset.from_tables(KEPT, items=KEPT_ITEMS, item_features=["kind"], **columns)
    assert_same(dataset, expected)
    assert "1 row of items without an id left out, the first in row 1" in caplog.messages
    later = dataset.build_interactions_from_table(rows, unknown="skip", **SKIP)
    assert (later.n_missing, later.interactions.nnz) == (2, 3)
    assert dataset.build_item_features_from_table(items, **SKIP).shape == (3, 5)
    grown = dataset.extended(rows, items=items, **SKIP)
    assert_same(grown, expected.extended(KEPT, items=KEPT_ITEMS))
    assert grown.n_missing == 2
    assert grown.extended(users={"user_id": ["dan"]}).n_missing == 0


@pytest.mark.parametrize("library", ["dict", "pandas", "polars"])
def test_they_are_refused_by_default(library):
    rows, items = frame(library, ROWS), frame(library, ITEMS)
    dataset = Dataset.from_tables(KEPT, items=KEPT_ITEMS, item_features=["kind"])
    told = r"column 'user_id' of interactions has 1 missing id, the first in row 2: leave those rows out by missing_ids"
    for call in (Dataset.from_tables, dataset.build_interactions_from_table, dataset.extended):
        with pytest.raises(ValueError, match=told):
            call(rows)
        with pytest.raises(ValueError, match="missing_ids is 'drop', expected one of 'raise', 'skip'"):
            call(rows, missing_ids="drop")
    told = r"column 'item_id' of items has 1 missing id, the first in row 1: leave those rows out by missing_ids='skip'"
    for call in (
        lambda: Dataset.from_tables(KEPT, items=items),
        lambda: dataset.extended(items=items),
        lambda: dataset.build_item_features_from_table(items),
    ):
        with pytest.raises(ValueError, match=told):
            call()
    assert dataset.interactions_shape() == (2, 3)


def test_rows_are_counted_as_in_the_frame():
    rows = {**ROWS, "stars": [1.0, NAN, NAN, NAN, 3.0]}
    with pytest.raises(ValueError, match=r"column 'stars' holds 1 value missing .* in row 3 first"):
        Dataset.from_tables(rows, weight="stars", **SKIP)
    with pytest.raises(ValueError, match=r"column 'at' has 1 missing .* in row 4"):
        Dataset.from_tables({**ROWS, "at": [1, NAN, NAN, 2, NAN]}, time="at", **SKIP)
    dataset = Dataset.from_tables(ROWS, users={"user_id": ["ann"]}, unknown="skip", **SKIP)
    assert (dataset.n_skipped, dataset.first_skipped) == (1, (3, "user", "cid"))


def test_a_user_whose_rows_all_lack_an_item_is_nobody():
    dataset = Dataset.from_tables(ROWS, **SKIP)
    assert list(dataset.mapping()[0]) == ["ann", "cid"]
    assert list(dataset.mapping()[2]) == ["dune", "ulys"]


def test_whole_numbers_stay_whole():
    pandas = pytest.importorskip("pandas")
    rows = pandas.DataFrame({"user_id": [7, 8, None], "item_id": [1, None, 3]})
    users, _, items, _ = Dataset.from_tables(rows, **SKIP).mapping()
    assert [*users, *items] == [7, 1]
    assert {*map(type, users), *map(type, items)} == {int}
    users = pandas.DataFrame({"user_id": [7, None, 8]})
    assert list(map(type, Dataset.from_tables(rows, users, **SKIP).mapping()[0])) == [int, int]


def test_floats_that_may_have_been_other_numbers_are_refused(tmp_path):
    pandas = pytest.importorskip("pandas")
    column = pandas.Series([(1 << 60) + 1, 1 << 60, None])
    rows = pandas.DataFrame({"user_id": column.astype(float), "item_id": [1, 2, 3]})
    told = "column 'user_id' of .* holds floats such as 1152921504606846976, too large .* pandas' Int64"
    with pytest.raises(ValueError, match=told):
        Dataset.from_tables(rows, **SKIP)
    exact = pandas.DataFrame({"user_id": pandas.array([(1 << 60) + 1, 1 << 60, None], "Int64"), "item_id": [1, 2, 3]})
    assert list(Dataset.from_tables(exact, **SKIP).mapping()[0]) == [(1 << 60) + 1, 1 << 60]
    with pytest.raises(ValueError, match="column 'user_id' of the table of tags holds floats"):
        gather_tags(rows, [1 << 60], id="user_id", tag="item_id", **SKIP)
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=told):
        ShardedDataset.from_tables([rows], tmp_path / "floats", **SKIP)
    assert ShardedDataset.from_tables([exact], tmp_path / "exact", **SKIP).shape == (2, 2)


def test_no_row_is_left():
    with pytest.raises(ValueError, match="2 rows of interactions without an id left out, the first in row 0: none is"):
        Dataset.from_tables({"user_id": ["ann", None], "item_id": [None, "dune"]}, **SKIP)
    assert Dataset.from_tables(KEPT, users={"user_id": ["ann", "cid"]}, **SKIP).n_missing == 0


def test_a_recommender_leaves_them_out():
    options = {"item_features": {"kind": MultiCategorical("|")}, "title": "title", "epochs": 2}
    with pytest.raises(ValueError, match="missing_ids='skip'"):
        Recommender.from_tables(ROWS, items=ITEMS, model=LightFM(random_state=1), **options)
    recommender = Recommender.from_tables(ROWS, items=ITEMS, model=LightFM(random_state=1), **options, **SKIP)
    expected = Recommender.from_tables(KEPT, items=KEPT_ITEMS, model=LightFM(random_state=1), **options)
    assert recommender.titles == expected.titles == ("D", "U", "I")
    assert recommender.recommend("ann", filter_seen=False) == expected.recommend("ann", filter_seen=False)
    test = {"user_id": ["cid", None], "item_id": ["dune", "dune"]}
    with pytest.raises(ValueError, match="missing_ids='skip'"):
        recommender.evaluate(test)
    assert recommender.evaluate(test, metrics="auc", **SKIP).mean
    new = {"item_id": ["nana", None], "kind": ["a", "a"], "title": ["N", "lost"]}
    for table in ({"interactions": test}, {"items": new}):
        with pytest.raises(ValueError, match="missing_ids='skip'"):
            recommender.update(**table)
    assert recommender.update(test, items=new, **SKIP).titles == ("D", "U", "I", "N")


@pytest.mark.parametrize("library", ["dict", "pandas", "polars", "pyarrow"])
def test_a_recommender_leaves_newcomers_out(library, caplog):
    caplog.set_level(logging.INFO, logger="lightfm_fast")
    users = {"user_id": ["ann", "cid"], "town": ["Oslo", "Rome"]}
    recommender = Recommender.from_tables(KEPT, users, model=LightFM(random_state=1), user_features=["town"], epochs=1)
    history = frame(library, {"user_id": ["zoe", None, "yan"], "item_id": ["dune", "dune", None]})
    newcomers = {"user_id": ["zoe", None, "yan"], "town": ["Oslo", "Atlantis", "Rome"]}
    if library == "dict":
        newcomers = [{"user_id": "zoe", "town": "Oslo"}, {"town": "Atlantis"}, {"user_id": "yan", "town": "Rome"}]
    else:
        newcomers = frame(library, newcomers)
    known = frame("pandas" if library == "dict" else library, {"user_id": ["ann", None]})
    for tables, name in (
        ({"history": history}, "interactions"),
        ({"users": newcomers}, "users"),
        ({"users": known}, "users"),
    ):
        told = f"column 'user_id' of {name} has 1 missing id, the first in row 1: .* by missing_ids='skip'"
        with pytest.raises(ValueError, match=told):
            recommender.recommend(**tables)
    with pytest.raises(ValueError, match="missing_ids is 'drop', expected one of 'raise', 'skip'"):
        recommender.recommend("ann", missing_ids="drop")
    asked = [
        {str(name) for name in recommender.recommend(**tables, n=1, filter_seen=False, **SKIP)["user_id"]}
        for tables in (
            {"history": history},
            {"users": newcomers},
            {"users": newcomers, "history": history},
            {"users": known},
        )
    ]
    assert asked == [{"zoe"}, {"zoe", "yan"}, {"zoe", "yan"}, {"ann"}]
    assert "1 row of users without an id left out, the first in row 1" in caplog.messages


def test_tags_leave_them_out():
    tags = {"item_id": ["dune", None, "ulys"], "tag": ["sand", "x", "sea"], "votes": [2.0, NAN, 1.0]}
    with pytest.raises(ValueError, match=r"column 'item_id' of the table of tags .* missing_ids='skip'"):
        gather_tags(tags, ["dune", "ulys"], id="item_id")
    assert gather_tags(tags, ["dune", "ulys"], id="item_id", weight="votes", **SKIP) == [{"sand": 2.0}, {"sea": 1.0}]


@pytest.mark.parametrize("library", ["dict", "pandas", "polars"])
def test_shards_leave_them_out(library, tmp_path):
    pytest.importorskip("pyarrow")
    rows = frame(library, {"user_id": [1, 2, None, 3, 1], "item_id": [7, None, 9, 8, 8]})
    users = frame(library, {"user_id": [1, None, 3, 4], "age": [30.0, 1000.0, 20.0, 40.0]})
    items = frame(library, {"item_id": [7, 8, None], "kind": ["a", "b", "only"]})
    options = {"users": users, "items": items, "item_features": ["kind"]}
    with pytest.raises(ValueError, match=r"column 'user_id' of tables\[0\] has 1 missing id, .* by missing_ids='skip'"):
        ShardedDataset.from_tables([rows], tmp_path / "refused")
    shards = ShardedDataset.from_tables([rows, rows], tmp_path / "shards", **options, **SKIP)
    assert (shards.shape, shards.n_interactions, shards.n_missing) == ((3, 2), 3, 4)
    assert sorted(name for shard in shards for name in shard.user_ids) == [1, 3, 4]
    assert shards.item_features.shape == (2, 4)
    assert ShardedDataset(tmp_path / "shards").n_missing == 4
    nothing = {"user_id": [None], "item_id": [1]}
    with pytest.raises(ValueError, match="no rows but 1 row without an id of a user or an item left out"):
        ShardedDataset.from_tables([nothing], tmp_path / "nothing", **SKIP)
    with pytest.raises(TypeError, match="expected ids that are text or whole numbers"):
        ShardedDataset.from_tables([{"user_id": [1.5, NAN], "item_id": [1, 1]}], tmp_path / "halves", **SKIP)


def test_an_encoder_of_users_of_shards_is_fitted_to_the_others(tmp_path):
    pytest.importorskip("pyarrow")
    users = {"user_id": ["ann", None, "bob"], "town": ["Oslo", "Atlantis", "Rome"]}
    rows = {"user_id": ["ann"], "item_id": ["dune"]}
    shards = ShardedDataset.from_tables([rows], tmp_path / "s", users=users, user_features=["town"], **SKIP)
    assert list(shards.dataset.user_side.features) == ["town:Oslo", "town:Rome"]


def test_blocks_of_users_of_shards_without_ids(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("lightfm_fast.sharded.users.ROWS_AT_ONCE", 1)
    rows, users = {"user_id": ["ann"], "item_id": ["dune"]}, {"user_id": [None, "ann"], "town": ["Atlantis", "Oslo"]}
    options = {"user_features": ["town"], **SKIP}
    assert ShardedDataset.from_tables([rows], tmp_path / "s", users=users, **options).shape == (1, 1)
    users["user_id"][1] = None
    for features in (["town"], None):
        with pytest.raises(ValueError, match="users has no rows with an id, expected one for each user"):
            ShardedDataset.from_tables([rows], tmp_path / "n", users=users, **options | {"user_features": features})


def test_another_choice_is_another_call(tmp_path):
    pytest.importorskip("pyarrow")
    rows = {"user_id": ["ann"], "item_id": ["dune"]}
    for _ in range(2):
        ShardedDataset.from_tables([rows], tmp_path / "s", source="day", **SKIP)
    with pytest.raises(ValueError, match="nor what this call has written"):
        ShardedDataset.from_tables([rows], tmp_path / "s", source="day")


def test_a_frame_of_dask_leaves_them_out(tmp_path):
    dataframe, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    dask = pytest.importorskip("lightfm_fast.dask")
    frame = dataframe.from_pandas(
        pandas.DataFrame({name: ROWS[name] for name in ("user_id", "item_id")}), npartitions=2
    )
    with pytest.raises(ValueError, match="missing_ids='skip'"):
        dask.DaskLightFM().fit(frame)
    model = dask.DaskLightFM(random_state=1).fit(frame, columns=SKIP)
    assert len(model.to_local().user_biases) == 2
