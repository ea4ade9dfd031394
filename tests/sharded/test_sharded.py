"""Interactions in shards on disk: what is written, and that training, measuring and recommending are as in memory."""

import errno
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM, load
from lightfm_fast.callbacks import Checkpoint, EarlyStopping
from lightfm_fast.data import Dataset
from lightfm_fast.datasets import make_interactions
from lightfm_fast.evaluation import evaluate
from lightfm_fast.sharded import ShardedDataset, manifest, writing

COLUMNS = {"user": "who", "item": "what"}


def rows(n_users=300, n_items=60, n=5000, seed=0, as_text=True):
    """Interactions with a value, a weight and a day; some pairs occur twice."""
    rng = np.random.RandomState(seed)
    users, items = rng.randint(n_users, size=n), (n_items * rng.random_sample(n) ** 2).astype(int)
    return {
        "who": [f"u{user}" for user in users] if as_text else users,
        "what": [f"i{item}" for item in items] if as_text else items,
        "stars": rng.randint(1, 6, size=n),
        "times": rng.randint(1, 4, size=n).astype(float),
        "day": np.datetime64("2026-01-01") + rng.randint(100, size=n),
    }


def by_ids(sharded):
    """Return all entries of a sharded dataset as a dict from ids to (value, weight, time)."""
    found = {}
    item_ids = sharded.item_ids
    for shard in sharded:
        entries, users = shard.interactions.tocoo(), shard.user_ids
        weights = shard.weights if shard.weights is not None else np.ones(entries.nnz)
        times = shard.times if shard.times is not None else np.zeros(entries.nnz)
        for row, column, *details in zip(entries.row, entries.col, entries.data, weights, times, strict=True):
            found[users[row], item_ids[column]] = tuple(details)
    return found


class TestWriting:
    @pytest.mark.parametrize("as_text", [True, False])
    @pytest.mark.parametrize("duplicates", ["sum", "max", "last"])
    def test_entries_are_those_of_a_dataset_in_memory(self, tmp_path, as_text, duplicates):
        table = rows(as_text=as_text)
        options = {**COLUMNS, "value": "stars", "positive_from": 4, "weight": "times", "time": "day"}
        parts = [
            {name: values[first : first + 1500] for name, values in table.items()} for first in range(0, 5000, 1500)
        ]
        sharded = ShardedDataset.from_tables(parts, tmp_path / "s", **options, duplicates=duplicates, n_shards=7)
        whole = Dataset.from_tables(table, **options, duplicates=duplicates)
        users, _, items, _ = whole.mapping()
        user_ids, item_ids = list(users), list(items)
        entries = whole.interactions
        expected = {
            (user_ids[row], item_ids[column]): details
            for row, column, *details in zip(
                entries.row, entries.col, entries.data, whole.weights.data, whole.timestamps, strict=True
            )
        }
        found = by_ids(sharded)
        assert found.keys() == expected.keys()
        for pair, details in expected.items():
            assert found[pair] == tuple(details)
        assert len(sharded) == 7
        assert sharded.shape == entries.shape
        assert sharded.n_interactions == entries.nnz == sum(shard.n_interactions for shard in sharded)
        assert len({user for shard in sharded for user in shard.user_ids}) == sharded.shape[0]

    def test_parquet_files_are_read_by_patterns_and_in_any_number(self, tmp_path):
        table = pa.table(rows())
        for number in range(3):
            part = table.slice(number * 1700, 1700)
            pq.write_table(part, tmp_path / f"part-{number}.parquet", row_group_size=500)
        whole = ShardedDataset.from_tables([table], tmp_path / "a", **COLUMNS, n_shards=3)
        of_files = ShardedDataset.from_parquet(str(tmp_path / "part-*.parquet"), tmp_path / "b", **COLUMNS, n_shards=3)
        assert by_ids(of_files) == by_ids(whole)

    def test_files_may_have_types_of_their_own(self, tmp_path):
        kinds = [
            (pa.int32(), pa.float64(), pa.int16()), (pa.uint8(), pa.decimal128(20, 1), pa.int64()),
            (pa.int64(), pa.bool_(), pa.uint32()),
        ]  # fmt: skip
        for number, kind in enumerate(kinds):
            columns = [pa.array([value]).cast(of_column) for value, of_column in zip((number, 1, 7), kind, strict=True)]
            table = pa.table({"who": columns[0], "what": ["i1"], "stars": columns[1], "day": columns[2]})
            pq.write_table(table, tmp_path / f"{number}.parquet")
        nobody = pa.table({"who": pa.nulls(0), "what": pa.nulls(0), "stars": pa.nulls(0), "day": pa.nulls(0)})
        pq.write_table(nobody, tmp_path / "-empty.parquet")
        options = {**COLUMNS, "value": "stars", "time": "day"}
        made = ShardedDataset.from_parquet(str(tmp_path / "*.parquet"), tmp_path / "s", **options)
        assert by_ids(made) == {(number, "i1"): (1, 1, 7) for number in range(3)}
        pq.write_table(pa.table({"who": ["u"], "what": ["i1"]}), tmp_path / "text.parquet")
        with pytest.raises(TypeError, match=r"of .*text\.parquet holds string, and int64 before"):
            ShardedDataset.from_parquet(str(tmp_path / "*.parquet"), tmp_path / "t", **COLUMNS)
        with pytest.raises(ValueError, match=r"text\.parquet has no column 'stars'; it has who, what"):
            ShardedDataset.from_parquet(str(tmp_path / "*.parquet"), tmp_path / "t", **options)

    @pytest.mark.parametrize(
        ("change", "exception", "message"),
        [
            ({"tables": 3}, TypeError, "tables is 3, expected several tables"),
            ({"tables": "views.parquet"}, TypeError, "tables is 'views.parquet', expected several tables"),
            ({"tables": np.ones((2, 2))}, TypeError, "tables is array"),
            ({"user": None}, TypeError, "user is None, expected the name of the column"),
            ({"item": None}, TypeError, "item is None, expected the name of the column"),
            ({"n_shards": np.ones(2)}, ValueError, "n_shards is array"),
            ({"n_shards": "many"}, ValueError, "n_shards is 'many'"),
        ],
    )
    def test_arguments_of_other_kinds_are_named(self, tmp_path, change, exception, message):
        given = {"tables": [{"user_id": [1], "item_id": [2]}], "path": tmp_path / "s", **change}
        with pytest.raises(exception, match=message):
            ShardedDataset.from_tables(**given)
        assert not (tmp_path / "s").exists()

    def test_metrics_of_shards_are_names(self, tmp_path):
        made = ShardedDataset.from_tables([{"user_id": [1, 2], "item_id": [2, 3]}], tmp_path / "s")
        for wrong in (None, np.ones((2, 2)), 3):
            with pytest.raises((TypeError, ValueError), match="^metrics? is"):
                made.evaluate(LightFM().fit(made), metrics=wrong)
        with pytest.raises(TypeError, match="user_representations is 3, expected what fold_in_users returned"):
            made.evaluate(LightFM().fit(made), user_representations=3)

    def test_little_memory_makes_more_shards_and_too_little_is_refused(self, tmp_path):
        table = rows(n=60_000, n_users=3000)
        small = ShardedDataset.from_tables([table], tmp_path / "a", **COLUMNS, memory="1MB")
        assert len(small) > 5
        assert len(ShardedDataset.from_tables([table], tmp_path / "b", **COLUMNS)) == 1
        with pytest.raises(ValueError, match="more memory, or ask for more shards"):
            ShardedDataset.from_tables([table], tmp_path / "c", **COLUMNS, memory="1MB", n_shards=2)
        assert sorted(os.listdir(tmp_path)) == ["a", "b"]

    @pytest.mark.parametrize("memory", [np.int64(10**7), "9" * 400, "0.5GB"])
    def test_memory_is_any_whole_number_or_text(self, tmp_path, memory):
        assert len(ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS, memory=memory)) == 1

    def test_long_ids_make_more_shards(self, tmp_path):
        tables = [{"who": [f"{n % 3000:0{length}}" for n in range(20_000)], "what": [1] * 20_000} for length in (9, 99)]
        short, long = (
            ShardedDataset.from_tables([table], tmp_path / str(number), **COLUMNS, memory="1MB")
            for number, table in enumerate(tables)
        )
        assert len(long) > 2 * len(short)

    def test_items_without_interactions_have_features(self, tmp_path):
        items = {"what": [f"i{n}" for n in range(70)], "kind": ["odd" if n % 2 else "even" for n in range(70)]}
        sharded = ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS, items=items, item_features=["kind"])
        assert sharded.shape[1] == 70
        assert sharded.item_ids == items["what"]
        assert sharded.item_features.shape == (70, 72)
        assert sharded.encode_new_items({"kind": ["odd"]}).nnz == 1

    @pytest.mark.parametrize(
        ("changed", "options", "message"),
        [
            ({"who": None}, {}, "no single column 'who'"),
            ({"who": ["u1", None]}, {}, r"column 'who' of tables\[0\] has 1 missing"),
            ({"who": [1.5, 2.5]}, {}, "text or whole numbers"),
            ({"stars": [1.0, np.nan]}, {"value": "stars"}, r"'stars' of tables\[0\] has 1 missing value: leave"),
            ({"stars": [1.0, 1e300]}, {"weight": "stars"}, "not finite in single precision"),
            ({"stars": [1, -1]}, {"weight": "stars"}, r"'stars' of tables\[0\] holds 1 weight below 0, -1 first"),
            ({"day": ["x", "y"]}, {"time": "day"}, "expected times or numbers"),
            ({"who": [], "what": [], "stars": [], "day": []}, {}, "no interactions"),
            ({}, {"value": "who"}, "are not different"),
            ({}, {"positive_from": 3}, "name the column of values by value="),
            ({}, {"n_shards": 0}, "n_shards"),
            ({}, {"memory": "much"}, "memory is 'much'"),
            ({}, {"items": {"what": ["i1"]}}, "1 item that the table of items does not list"),
            ({}, {"items": {"what": [1, 2]}}, "2 items that the table of items does not list, 'i1' first; it lists 1"),
            ({}, {"items": {"what": []}}, "items has no rows with an id"),
            ({}, {"item_features": ["kind"]}, "item_features needs items"),
            ({"who": np.array([1, 2**63], np.uint64)}, {}, "holds uint64, some too large for int64"),
            ({"who": [1, 2**70]}, {}, r"column 'who' of tables\[0\] holds values that Arrow does not take"),
            ({"who": ["u1", 2]}, {}, r"column 'who' of tables\[0\] .* make them all text, all times, or all numbers"),
            ({"who": ["u1", np.nan]}, {}, r"column 'who' of tables\[0\] has 1 missing id, .* by missing_ids='skip'"),
            (
                {"who": {"u1", "u2"}},
                {},
                r"column 'who' of tables\[0\] is .* \(set\), expected a list, an array or a column",
            ),
            ({"day": [1]}, {}, r"tables\[0\] holds columns .* expected length 2 but got length 1"),
            ({"who": ["u"] * 2, "what": ["i"] * 2, "stars": [3e38] * 2}, {"value": "stars"}, "sums of values"),
        ],
    )
    def test_bad_input_leaves_nothing_behind(self, tmp_path, changed, options, message):
        table = {"who": ["u1", "u2"], "what": ["i1", "i2"], "stars": [1, 2], "day": [1, 2], **changed}
        table = {name: values for name, values in table.items() if values is not None}
        with pytest.raises((TypeError, ValueError), match=message):
            ShardedDataset.from_tables([table], tmp_path / "s", **COLUMNS, **options)
        assert os.listdir(tmp_path) == []

    def test_a_wrong_place_is_told_of_before_rows_are_read(self, tmp_path):
        never = (pytest.fail("a table was read") for _ in range(1))
        with pytest.raises(FileNotFoundError, match="scratch: there is no folder"):
            ShardedDataset.from_tables(never, tmp_path / "s", **COLUMNS, scratch=tmp_path / "none")
        with pytest.raises(FileNotFoundError, match="there is no folder .*none for s"):
            ShardedDataset.from_tables(never, tmp_path / "none" / "s", **COLUMNS)
        assert os.listdir(tmp_path) == []

    def test_progress_is_told(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(writing, "SECONDS_BETWEEN_LINES", 0)
        ShardedDataset.from_tables([rows(), rows()], tmp_path / "s", **COLUMNS, n_shards=2, verbose=True)
        assert capsys.readouterr().out.splitlines() == [
            "5,000 rows read, the last of tables[0]", "10,000 rows read, the last of tables[1]", "all 10,000 rows read",
            "1 of 2 shards written", "2 of 2 shards written",
        ]  # fmt: skip

    def test_ids_of_each_kind_of_text_and_whole_numbers(self, tmp_path):
        texts, numbers = ["u1", "u2"], [2**63 - 1, 5]
        kinds = [(texts, kind()) for kind in (pa.string, pa.large_string, pa.string_view)]
        kinds += [(numbers, kind()) for kind in (pa.int64, pa.uint64)]
        for ids, kind in kinds:
            table = pa.table({"who": pa.array(ids, kind), "what": pa.array(ids, kind)})
            made = ShardedDataset.from_tables([table], tmp_path / str(kind), **COLUMNS, n_shards=1)
            assert next(iter(made)).user_ids == made.item_ids == ids

    @pytest.mark.parametrize("users", [None, {"who": ["u1", "u2", "u3"]}])
    def test_a_shard_may_have_more_text_than_an_array_of_strings_holds(self, tmp_path, users):
        """Of 2 GiB, which is too much for a test: offsets of 64 bits tell."""
        table = {"who": ["u1", "u2", "u1"], "what": [1, 2, 3]}
        made = ShardedDataset.from_tables([table], tmp_path / "s", **COLUMNS, users=users)
        with pa.ipc.open_file(made.file(0, "users.arrow")) as file:
            assert file.schema.field("user").type == pa.large_string()
        assert sorted(next(iter(made)).user_ids) == ["u1", "u2", *(["u3"] if users else [])]

    def test_times_are_cut_to_microseconds(self, tmp_path):
        days = np.array(["2026-01-01T00:00:00.000001999"], "datetime64[ns]")
        table = {"who": ["u1"], "what": ["i1"], "day": days}
        (shard,) = ShardedDataset.from_tables([table], tmp_path / "s", **COLUMNS, time="day", n_shards=1)
        assert_array_equal(shard.times, days.astype("datetime64[us]"))

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks of folders")
    def test_two_calls_do_not_write_one_path_at_once(self, tmp_path):
        def tables():
            yield rows()
            with pytest.raises(ValueError, match="being written by another call"):
                ShardedDataset.from_tables([rows(seed=1)], tmp_path / "s", **COLUMNS)
            yield rows()

        made = ShardedDataset.from_tables(tables(), tmp_path / "s", **COLUMNS, duplicates="last")
        alone = ShardedDataset.from_tables([rows()], tmp_path / "alone", **COLUMNS, duplicates="last")
        assert by_ids(made) == by_ids(alone)
        assert sorted(os.listdir(tmp_path)) == ["alone", "s"]

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows lets few make links")
    def test_links_to_folders(self, tmp_path):
        made = ShardedDataset.from_tables([rows()], tmp_path / "alone", **COLUMNS)
        (tmp_path / "disk").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "disk")
        assert by_ids(ShardedDataset.from_tables([rows()], tmp_path / "link", **COLUMNS)) == by_ids(made)
        assert (tmp_path / "link").is_symlink()
        (tmp_path / ".lightfm_fast-shards-linked").symlink_to(tmp_path / "alone")
        with pytest.raises(FileExistsError, match="it is a link"):
            ShardedDataset.from_tables([rows()], tmp_path / "linked", **COLUMNS)
        assert by_ids(ShardedDataset(tmp_path / "alone")) == by_ids(made)

    def test_a_folder_with_files_is_not_touched(self, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").write_text("dear")
        with pytest.raises(ValueError, match="no empty folder"):
            ShardedDataset.from_tables([rows()], tmp_path / "mine", **COLUMNS)
        with pytest.raises(FileNotFoundError, match="no Parquet file"):
            ShardedDataset.from_parquet(tmp_path / "none.parquet", tmp_path / "s")
        with pytest.raises(FileNotFoundError, match="source is empty"):
            ShardedDataset.from_parquet([], tmp_path / "s")
        assert os.listdir(tmp_path / "mine") == ["letter.txt"]

    def test_what_a_killed_process_left_is_removed(self, tmp_path):
        script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from lightfm_fast.sharded import ShardedDataset
def tables():
    yield {{"who": ["a"] * 9, "what": ["b"] * 9}}
    os._exit(9)
ShardedDataset.from_tables(tables(), {str(tmp_path / "s")!r}, user="who", item="what")
"""
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
        assert len(os.listdir(tmp_path)) == 1
        ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS)
        assert os.listdir(tmp_path) == ["s"]


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path):
        ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS, n_shards=2)
        return tmp_path / "s"

    @pytest.mark.parametrize("name", ["shard-00000/indices.npy", "shard-00001/users.arrow", "visits.npy"])
    def test_missing_and_short_files_are_noticed_at_opening(self, folder, name):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-4])
        with pytest.raises(ValueError, match=f"{os.path.basename(name)} has .* bytes, expected"):
            ShardedDataset(folder)
        (folder / name).unlink()
        with pytest.raises(ValueError, match="is missing"):
            ShardedDataset(folder)

    def test_altered_bytes_are_found_by_verify(self, folder):
        sharded = ShardedDataset(folder)
        sharded.verify()
        content = bytearray((folder / "shard-00000" / "indices.npy").read_bytes())
        content[-1] ^= 1
        (folder / "shard-00000" / "indices.npy").write_bytes(content)
        with pytest.raises(ValueError, match="altered"):
            ShardedDataset(folder).verify()
        with pytest.raises(ValueError, match=r"shard 0 of .* is damaged: .*verify\(\) names a file that has changed"):
            LightFM().fit(sharded)

    @pytest.mark.parametrize("name", ["indptr", "indices"])
    @pytest.mark.parametrize("use", ["fit", "interactions", "evaluate", "split"])
    def test_altered_numbers_of_a_shard_are_told_of(self, folder, name, use):
        sharded = ShardedDataset(folder)
        model = LightFM(random_state=1).fit(sharded)
        path = folder / "shard-00000" / f"{name}.npy"
        content = bytearray(path.read_bytes())
        content[-12 if name == "indptr" else -1] ^= 0x80
        path.write_bytes(content)
        uses = {
            "fit": lambda: LightFM().fit(ShardedDataset(folder)),
            "interactions": lambda: [shard.interactions for shard in sharded],
            "evaluate": lambda: sharded.evaluate(model),
            "split": lambda: sharded.split(folder / "train", folder / "test"),
        }
        with pytest.raises(ValueError, match=r"shard 0 of .* is damaged: .*verify\(\) names a file that has changed"):
            uses[use]()

    @pytest.mark.parametrize("name", ["visits.npy", "positives.npy"])
    def test_altered_counts_of_items_are_told_of(self, folder, name):
        content = (folder / name).read_bytes()
        for altered in (b"\xff" * 8, b"\xff" * 7 + b"\x7f"):
            (folder / name).write_bytes(content[:-8] + altered)
            with pytest.raises(ValueError, match="its counts of items do not fit its manifest"):
                ShardedDataset(folder)

    def test_an_altered_header_of_an_array_is_told_of(self, folder):
        path = folder / "visits.npy"
        content = path.read_bytes()
        refused = []
        for place in range(10, 100):
            path.write_bytes(content[:place] + b"(" + content[place + 1 :])
            try:
                ShardedDataset(folder)
            except ValueError as error:
                refused.append(str(error))
        assert len(refused) > 50
        assert all("visits.npy is no array" in text or "do not fit its manifest" in text for text in refused)

    def test_altered_ids_of_users_are_told_of(self, folder):
        made = ShardedDataset(folder)
        name = folder / "shard-00000" / "users.arrow"
        content = name.read_bytes()
        lengths = [len(user) for user in next(iter(made)).user_ids]
        ends = content.index(np.cumsum([0, *lengths], dtype=np.int64).tobytes())
        outside = np.array([1 << 30, (1 << 30) + 9], np.int64).tobytes()  # which led Arrow out of the file
        footer = content[:-60] + b"?" * 40 + content[-20:]
        for altered in (b"?" * len(content), footer, content[: ends + 8] + outside + content[ends + 24 :]):
            name.write_bytes(altered)
            with pytest.raises(ValueError, match="users.arrow is damaged .*: write the shards again"):
                _ = next(iter(made)).user_ids

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder whose files are mapped")
    def test_shards_that_are_gone_are_told_of(self, folder):
        made = ShardedDataset(folder)
        model = LightFM(random_state=1).fit(made)
        before = model.item_embeddings.copy()
        shutil.rmtree(folder)
        with pytest.raises(FileNotFoundError, match="is gone: the shards were moved or removed"):
            model.fit_partial(made)
        assert_array_equal(model.item_embeddings, before)
        with pytest.raises(FileNotFoundError, match="users.arrow is gone"):
            _ = next(iter(made)).user_ids

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "other"},
            {"version": 99},
            {"shards": 3},
            {"n_items": 7},
            {"n_items": 2**70},
            {"n_user_features": None},
            {"columns": {"user": "user"}},
            {"columns": "user"},
            {"shards": [{"n_users": 1.5, "n_interactions": 1, "arrays": ["indptr", "indices"]}]},
            {"shards": [{"n_users": 1, "n_interactions": True, "arrays": ["indptr", "indices"]}]},
            {"shards": [{"n_users": 1, "n_interactions": 1, "arrays": 3}]},
            {"shards": [{"n_users": 1, "n_interactions": 1, "arrays": []}]},
            {"shards": [{"n_users": 1, "n_interactions": 1, "arrays": ["indices"]}]},
            {"shards": [{"n_users": 1, "n_interactions": 1, "arrays": ["indptr", "indices", "../indices"]}]},
            {"shards": [{"n_users": 300, "n_interactions": 1, "arrays": ["indptr", "indices"]}]},
            {"n_user_features": 7},
            {"files": {"visits.npy": 3}},
            {"files": {"visits.npy": {"bytes": "many"}}},
            {"files": 3},
        ],
    )
    def test_a_wrong_manifest_is_refused(self, folder, change):
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(ValueError, match="sharded dataset|version 99"):
            ShardedDataset(folder)
        (folder / "manifest.json").write_text('{"format": "lightfm_fast.shards", "version": 99}')
        with pytest.raises(ValueError, match="has version 99, and this library reads up to 1: upgrade"):
            ShardedDataset(folder)
        for text in ("{", "[" * 100_000):
            (folder / "manifest.json").write_text(text)
            with pytest.raises(ValueError, match="malformed"):
                ShardedDataset(folder)
        with pytest.raises(ValueError, match="has no manifest.json"):
            ShardedDataset(folder.parent)


@pytest.fixture(scope="module")
def data():
    return make_interactions(n_users=600, n_items=120, n_interactions=15_000, random_state=2)


@pytest.fixture(scope="module")
def sharded(data, tmp_path_factory):
    """The generated interactions in shards, with the row of each user in memory."""

    def write(n_shards):
        entries = data["train"].tocoo()
        table = {"who": entries.row, "what": entries.col}
        items = {"what": np.arange(120)}
        folder = tmp_path_factory.mktemp("shards") / "s"
        made = ShardedDataset.from_tables([table], folder, **COLUMNS, items=items, n_shards=n_shards)
        return made, np.array([user for shard in made for user in shard.user_ids])

    return {n: write(n) for n in (1, 4)}


class TestTraining:
    @pytest.mark.parametrize("loss", ["logistic", "bpr", "warp", "warp-kos", "softmax"])
    def test_one_shard_trains_to_the_bits_of_memory(self, data, sharded, loss):
        made, users = sharded[1]
        train = sp.csr_matrix(data["train"])[users]
        in_memory = LightFM(loss=loss, random_state=3).fit(train, epochs=3)
        on_disk = LightFM(loss=loss, random_state=3).fit(made, epochs=3)
        for name in ("user_embeddings", "user_biases", "item_embeddings", "item_biases"):
            assert_array_equal(getattr(on_disk, name), getattr(in_memory, name), err_msg=name)
        assert [record["loss"] for record in on_disk.history_] == [record["loss"] for record in in_memory.history_]

    def test_one_shard_trains_the_preset_and_features_to_the_bits_of_memory(self, data, sharded):
        made, users = sharded[1]
        train = sp.csr_matrix(data["train"])[users]
        options = {"epochs": 16, "item_features": data["item_features"]}
        in_memory, on_disk = (
            LightFM.recommended(random_state=3, cold_start="features", no_components=8).fit(given, **options)
            for given in (train, made)
        )
        assert on_disk.item_alpha_ == in_memory.item_alpha_
        assert_array_equal(on_disk.item_embeddings, in_memory.item_embeddings)
        assert_array_equal(on_disk.user_embeddings, in_memory.user_embeddings)

    @pytest.mark.parametrize("num_threads", [1, 2])
    def test_several_shards_learn_as_well_as_memory(self, data, sharded, num_threads):
        made, users = sharded[4]
        train, test = (sp.csr_matrix(data[name])[users] for name in ("train", "test"))
        in_memory, on_disk = (
            LightFM(loss="warp", random_state=3).fit(given, epochs=8, num_threads=num_threads)
            for given in (train, made)
        )
        scores = [evaluate(model, test, train, "ndcg")["ndcg@10"] for model in (in_memory, on_disk)]
        popular = LightFM(loss="warp", random_state=3).fit(train, epochs=0)
        assert scores[1] > 0.95 * scores[0] > 1.5 * evaluate(popular, test, train, "ndcg")["ndcg@10"]

    def test_the_same_seed_gives_the_same_bits_and_another_order_of_shards_each_epoch(self, sharded):
        made, _ = sharded[4]
        one, other = (LightFM(loss="bpr", random_state=5).fit(made, epochs=3) for _ in range(2))
        assert_array_equal(one.item_embeddings, other.item_embeddings)
        assert_array_equal(one.user_embeddings, other.user_embeddings)
        orders = {tuple(part.first for _, part in made.epoch(7, epoch, 1)) for epoch in range(6)}
        assert len(orders) > 2

    def test_weights_and_dislikes_in_shards_are_trained_as_in_memory(self, tmp_path):
        table = rows(n=3000)
        options = {**COLUMNS, "value": "stars", "positive_from": 3, "weight": "times"}
        made = ShardedDataset.from_tables([table], tmp_path / "s", **options)
        entries = Dataset.from_tables(table, **options)
        names = list(entries.mapping()[0])
        (shard,) = made
        order = [names.index(user) for user in shard.user_ids]
        assert made.item_ids == list(entries.mapping()[2])
        train, weights = (sp.csr_matrix(matrix)[order].tocoo() for matrix in (entries.interactions, entries.weights))
        in_memory = LightFM(loss="logistic", random_state=1).fit(train, sample_weight=weights, epochs=3)
        on_disk = LightFM(loss="logistic", random_state=1).fit(made, epochs=3)
        assert_array_equal(on_disk.item_embeddings, in_memory.item_embeddings)
        for given in ({"interactions": made}, {"interactions": train, "sample_weight": weights}):
            with pytest.raises(NotImplementedError, match="sample_weight has no meaning for loss='warp-kos'"):
                LightFM(loss="warp-kos").fit(**given)

    @pytest.mark.parametrize("kind", ["fast", "ranking"])
    @pytest.mark.parametrize("weight", [None, "times"])
    def test_users_of_a_shard_may_have_no_interactions(self, tmp_path, kind, weight):
        table = {"who": ["u0"] * 3, "what": ["a", "b", "c"], "times": [1.0, 2.0, 3.0]}
        options = {**COLUMNS, "weight": weight, "users": {"who": [f"u{n}" for n in range(4)]}, "n_shards": 4}
        shards = ShardedDataset.from_tables([table], tmp_path / "s", **options)
        assert 0 in [shard.n_interactions for shard in shards]
        model = LightFM.recommended(kind, no_components=4, random_state=1).fit(shards, epochs=3)
        assert model.history_[-1]["samples"] >= 3
        assert shards.recommend_to(model, tmp_path / "lists", n=3).rows == 9

    def test_fit_partial_goes_on_and_callbacks_see_each_epoch(self, sharded):
        made, _ = sharded[4]
        seen = []
        model = LightFM(loss="bpr", random_state=5).fit(made, epochs=2)
        model.fit_partial(made, epochs=2, callbacks=[lambda model: seen.append(len(model.history_))])
        assert seen == [3, 4]
        assert_array_equal(
            model.item_embeddings, LightFM(loss="bpr", random_state=5).fit(made, epochs=4).item_embeddings
        )

    def test_callbacks_stop_keep_and_interrupt_as_in_memory(self, sharded, tmp_path):
        made, _ = sharded[4]
        scores = iter([1, 3, 2, 1])

        def stop(model):
            if len(model.history_) == 2:
                raise KeyboardInterrupt

        model = LightFM(loss="bpr", random_state=5)
        model.fit(
            made,
            epochs=9,
            callbacks=[
                EarlyStopping(lambda model: next(scores), patience=2),
                Checkpoint(tmp_path / "{epoch}.safetensors"),
            ],
        )
        assert len(model.history_) == 4
        interrupted = LightFM(loss="bpr", random_state=5)
        with pytest.raises(KeyboardInterrupt):
            interrupted.fit(made, epochs=9, callbacks=[stop])
        saved = load(tmp_path / "2.safetensors")
        for name in ("user_embeddings", "item_embeddings", "user_biases"):
            for other in (interrupted, saved):
                assert_array_equal(getattr(model, name), getattr(other, name))

    def test_a_diverging_run_leaves_the_model_as_it_was(self, sharded):
        made, _ = sharded[4]
        model = LightFM(loss="warp", random_state=5).fit(made, epochs=1)
        before = model.user_embeddings.copy(), model.item_embeddings.copy()
        model.set_params(learning_rate=1e30, item_alpha=1e30)
        with pytest.raises(ValueError, match="diverged"):
            model.fit_partial(made, epochs=1)
        assert_array_equal(model.user_embeddings, before[0])
        assert_array_equal(model.item_embeddings, before[1])

    def test_arguments_that_shards_do_not_take(self, sharded, data):
        made, _ = sharded[4]
        with pytest.raises(ValueError, match="user_features is given in addition to shards"):
            LightFM().fit(made, user_features=data["user_features"])
        with pytest.raises(ValueError, match="sample_weight is given in addition to shards"):
            LightFM().fit(made, sample_weight=data["train"])

    def test_users_rows_are_in_a_file_that_vanishes(self, sharded, tmp_path):
        made, _ = sharded[4]
        made = ShardedDataset(made.path, scratch=tmp_path)
        model = LightFM(loss="bpr", random_state=5).fit(made, epochs=1)
        assert os.listdir(tmp_path) == []
        if os.path.exists("/proc/self/maps"):
            with open("/proc/self/maps") as maps:
                assert str(tmp_path) in maps.read()
        model.save(tmp_path / "m.safetensors")
        assert_array_equal(load(tmp_path / "m.safetensors").user_embeddings, model.user_embeddings)
        with pytest.raises(FileNotFoundError, match="scratch: there is no folder .*gone: make it"):
            ShardedDataset(made.path, scratch=tmp_path / "gone")
        (tmp_path / "brief").mkdir()
        made = ShardedDataset(made.path, scratch=tmp_path / "brief")
        (tmp_path / "brief").rmdir()
        with pytest.raises(FileNotFoundError, match="brief, for the parameters of the users, is gone: make it again"):
            LightFM().fit(made)

    def test_a_folder_that_may_not_be_written_to_is_named(self, sharded, monkeypatch):
        def refuse(dir):
            raise PermissionError(errno.EACCES, "Permission denied", os.path.join(dir, "tmp1"))

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
        with pytest.raises(PermissionError, match=r"Permission denied in .* open the shards with a scratch folder"):
            LightFM().fit(sharded[4][0])

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder whose files are mapped")
    @pytest.mark.parametrize("n_users", [300, 400], ids=["same", "more"])
    def test_training_goes_on_when_the_folder_of_earlier_shards_is_gone(self, tmp_path, n_users):
        days = [
            ShardedDataset.from_tables([rows(n, seed=n)], tmp_path / f"{day}", **COLUMNS, n_shards=2)
            for day, n in enumerate((300, n_users))
        ]
        expected = LightFM(random_state=1).fit(days[0], epochs=1).fit_partial(days[1], epochs=1)
        model = LightFM(random_state=1).fit(days[0], epochs=1)
        shutil.rmtree(days[0].path)
        model.fit_partial(days[1], epochs=1)
        assert_array_equal(model.user_embeddings, expected.user_embeddings)


class TestQuestions:
    def test_a_split_keeps_users_and_loses_nothing(self, tmp_path):
        options = {**COLUMNS, "value": "stars", "positive_from": 3, "weight": "times", "time": "day"}
        whole = ShardedDataset.from_tables([rows()], tmp_path / "s", **options, n_shards=3)
        train, test = whole.split(tmp_path / "train", tmp_path / "test", 0.3, random_state=1)
        assert train.n_interactions + test.n_interactions == whole.n_interactions
        assert 0.25 < test.n_interactions / whole.n_interactions < 0.35
        assert by_ids(train) | by_ids(test) == by_ids(whole)
        assert_array_equal(train.starts, whole.starts)
        assert_array_equal(train.visits + test.visits, whole.visits)
        assert_array_equal(train.positives + test.positives, whole.positives)
        with pytest.raises(ValueError, match="test_share"):
            whole.split(tmp_path / "x", tmp_path / "y", 1.5)
        for seed in (-1, 1 << 32, "now"):
            with pytest.raises(ValueError, match=f"random_state is {seed!r}, expected a whole number from 0"):
                whole.split(tmp_path / "x", tmp_path / "y", random_state=seed)

    def test_two_parts_in_one_folder_are_refused(self, tmp_path):
        made = ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS)
        with pytest.raises(ValueError, match="train and test are both .*: name two folders"):
            made.split(tmp_path / "a", str(tmp_path / "b" / ".." / "a"))
        assert os.listdir(tmp_path) == ["s"]

    def test_the_same_split_is_not_written_again(self, tmp_path, monkeypatch):
        made = ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS, n_shards=2)
        folders = tmp_path / "train", tmp_path / "test"
        train, test = map(by_ids, made.split(*folders, random_state=np.int64(3)))
        shutil.rmtree(folders[1])  # as if killed between the two
        with pytest.raises(ValueError, match="train exists and is no empty folder"):
            made.split(*folders, random_state=4)
        for part, other in zip(made.split(*folders, random_state=3), (train, test), strict=True):
            assert by_ids(part) == other
        monkeypatch.setattr(manifest, "write_array", None)
        made.split(*folders, random_state=3)

    def test_evaluation_is_that_of_memory(self, tmp_path):
        whole = ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS, n_shards=3)
        train, test = whole.split(tmp_path / "train", tmp_path / "test")
        model = LightFM(loss="warp", random_state=1).fit(train, epochs=5)
        found = test.evaluate(model, train, ["ndcg", "auc"], k=[5, 10])
        matrices = (sp.vstack([shard.interactions for shard in part]) for part in (test, train))
        expected = evaluate(model, *matrices, ["ndcg", "auc"], k=[5, 10])
        assert found.mean == pytest.approx(expected.mean)
        assert found.standard_error == pytest.approx(expected.standard_error)
        assert_array_equal(found.users, expected.users)
        with pytest.raises(ValueError, match="coverage looks at the lists of all users"):
            test.evaluate(model, train, "coverage")
        other = ShardedDataset.from_tables([rows(seed=1)], tmp_path / "o", **COLUMNS)
        with pytest.raises(ValueError, match="split"):
            test.evaluate(model, other)

    def test_lists_of_all_users_are_those_of_memory(self, tmp_path):
        made = ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS, n_shards=3)
        model = LightFM(loss="warp", random_state=1).fit(made, epochs=5)
        written = made.recommend_to(model, tmp_path / "lists", n=4)
        table = pq.read_table(tmp_path / "lists").to_pydict()
        users = [user for shard in made for user in shard.user_ids]
        seen = sp.vstack([shard.interactions for shard in made])
        ids, _ = model.recommend(np.arange(len(users)), n=4, interactions=seen)
        items = made.item_ids
        expected = {(users[row], items[item]) for row in range(len(users)) for item in ids[row] if item >= 0}
        assert set(zip(table["who"], table["what"], strict=True)) == expected
        assert written.users == len(users)
        again = made.recommend_to(model, tmp_path / "lists", n=4)
        assert again == (written.users, written.rows, written.users)
        with pytest.raises(ValueError, match="the model was trained for 3 users"):
            made.recommend_to(LightFM().fit(np.eye(3)), tmp_path / "other")
        with pytest.raises(ValueError, match="the model was trained for 99 items"):
            made.recommend_to(LightFM().fit(np.eye(len(users), 99)), tmp_path / "other")

    def test_what_has_the_value_0_is_seen(self, tmp_path):
        views = {**rows(), "liked": np.arange(5000) % 2}
        made = ShardedDataset.from_tables([views], tmp_path / "s", **COLUMNS, value="liked", duplicates="max")
        model = LightFM(loss="warp", random_state=1).fit(made)
        made.recommend_to(model, tmp_path / "lists", n=60)
        table = pq.read_table(tmp_path / "lists").to_pydict()
        listed, seen = (set(zip(of["who"], of["what"], strict=True)) for of in (table, views))
        assert not listed & seen
        train, test = made.split(tmp_path / "train", tmp_path / "test")
        found = test.evaluate(model, train, "auc").mean
        matrices = (sp.vstack([shard.interactions for shard in part]) for part in (test, train))
        wanted, known = matrices
        known.data[known.data == 0] = -1
        assert found == pytest.approx(evaluate(model, wanted, known, "auc").mean)

    def test_lists_of_earlier_shards_do_not_stay(self, tmp_path):
        lists = {}
        for n_shards in (4, 2):
            made = ShardedDataset.from_tables([rows()], tmp_path / f"{n_shards}", **COLUMNS, n_shards=n_shards)
            model = LightFM(random_state=n_shards).fit(made)
            made.recommend_to(model, tmp_path / "lists", n=3)
            made.recommend_to(model, tmp_path / "alone.parquet", n=3)
            lists[n_shards] = pq.read_table(tmp_path / "lists").to_pandas()
            assert lists[n_shards].equals(pq.read_table(tmp_path / "alone.parquet").to_pandas())
        assert sorted(os.listdir(tmp_path / "lists")) == ["shard-00000", "shard-00001"]
        assert len(lists[2]) == len(lists[4]) == 3 * made.shape[0]

    @pytest.mark.parametrize("name", ["part-00000.parquet", "shard-00007/notes.txt"])
    def test_what_is_no_list_stays_and_is_named(self, tmp_path, name):
        made = ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS, n_shards=2)
        (tmp_path / "lists" / name).parent.mkdir(parents=True)
        (tmp_path / "lists" / name).write_text("mine")
        with pytest.raises(ValueError, match=f"holds {os.path.basename(name)}, which is no part of .*a new folder"):
            made.recommend_to(LightFM().fit(made), tmp_path / "lists")
        assert (tmp_path / "lists" / name).read_text() == "mine"
        assert len(os.listdir(tmp_path / "lists")) == 1

    def test_one_file_of_lists_leaves_what_others_put_beside_its_parts(self, tmp_path):
        made = ShardedDataset.from_tables([rows()], tmp_path / "s", **COLUMNS, n_shards=3)
        model = LightFM(random_state=1).fit(made)
        others = tmp_path / "lists.parquet.parts" / "of others.txt"
        made.recommend_to(model, tmp_path / "lists.parquet", n=4)
        assert not others.parent.exists()
        others.parent.mkdir()
        others.write_text("mine")
        made.recommend_to(model, tmp_path / "lists.parquet", n=4)
        assert os.listdir(others.parent) == [others.name]


def test_reading_shards_takes_no_more_memory_than_is_allowed(tmp_path):
    """A process with little memory writes and trains on interactions that it could not hold at once."""
    resource = pytest.importorskip("resource")
    script = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lightfm_fast import LightFM
from lightfm_fast.sharded import ShardedDataset
def tables():
    for seed in range(30):
        rng = np.random.RandomState(seed)
        yield {{"who": rng.randint(400_000, size=200_000), "what": rng.randint(500, size=200_000)}}
users = pa.table({{"who": np.arange(400_000), "town": np.arange(400_000) % 50}})
pq.write_table(users, {str(tmp_path / "users.parquet")!r})
def held():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) * 1024
next(iter(tables()))
LightFM().fit(np.eye(3))
resource.setrlimit(resource.RLIMIT_DATA, (held() + 150 * 10**6,) * 2)
made = ShardedDataset.from_tables(
    tables(), {str(tmp_path / "s")!r}, user="who", item="what", memory="40MB",
    users={str(tmp_path / "users.parquet")!r}, user_features=["town"],
)
model = LightFM(loss="bpr", no_components=64).fit(made, epochs=1)
print(made.n_interactions, len(made), model.user_embeddings.nbytes)
"""
    if not os.path.exists("/proc/self/status") or not hasattr(resource, "RLIMIT_DATA"):
        pytest.skip("the limit of data is Linux's")
    result = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    n, n_shards, n_bytes = map(int, result.stdout.split())
    assert n > 5_900_000
    assert n_shards > 10
    assert n_bytes > 90 * 10**6
    shutil.rmtree(tmp_path / "s")
