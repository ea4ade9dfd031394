"""Shards whose writing is interrupted: the same call goes on to the same bits, and nothing else is taken for it."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightfm_fast.features import Categorical, FeatureSpec
from lightfm_fast.sharded import ShardedDataset, manifest, spread, writing

from .test_user_features import COLUMNS, N_ITEMS, people, views

N_SHARDS = 4
HIDDEN = ".lightfm_fast-shards-made"


def contents(folder):
    """Return the bytes of all files of a folder, by their names."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path):
    """A folder of two files of views and one of users."""
    folder = tmp_path / "source"
    folder.mkdir()
    table = pa.table(views())
    for part in range(2):
        pq.write_table(table.slice(part * 1500, 1500), folder / f"views-{part}.parquet")
    pq.write_table(pa.table(people()), folder / "users.parquet")
    return folder


def call(source, path, **changes):
    kinds = [f"kind-{n % 3}" for n in range(N_ITEMS)]
    options = {
        **COLUMNS,
        "value": "stars",
        "users": source / "users.parquet",
        "user_features": FeatureSpec({"town": Categorical()}),
        "items": {"what": np.arange(N_ITEMS), "kind": kinds},
        "item_features": ["kind"],
        "n_shards": N_SHARDS,
        **changes,
    }
    return ShardedDataset.from_parquet(str(source / "views-*.parquet"), path, **options)


def interrupt(monkeypatch, place, error):
    """Raise an error where the next call writes an array whose path ends in ``place``, after a part of it."""
    write_array = manifest.write_array

    def fail(path, array):
        if path.endswith(place):
            monkeypatch.setattr(manifest, "write_array", write_array)
            with open(path, "wb") as file:
                file.write(b"\x93NUMPY")
            raise error
        write_array(path, array)

    monkeypatch.setattr(manifest, "write_array", fail)


def forbid_reading(monkeypatch):
    def add(buckets, table, place):
        raise AssertionError("the rows were read again")

    monkeypatch.setattr(spread.Buckets, "add", add)


@pytest.fixture
def interrupted(source, tmp_path, monkeypatch):
    """The folder that a call interrupted in its third shard has left."""
    interrupt(monkeypatch, "shard-00002/indices.npy", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        call(source, tmp_path / "made")
    return tmp_path / HIDDEN


@pytest.mark.parametrize("place", ["shard-00000/indptr.npy", "shard-00002/indices.npy", "positives.npy"])
def test_the_same_call_goes_on_to_the_same_bits(source, tmp_path, monkeypatch, place):
    interrupt(monkeypatch, place, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        call(source, tmp_path / "made")
    assert sorted(os.listdir(tmp_path)) == [HIDDEN, "source"]
    with pytest.raises(ValueError, match=r"has no manifest\.json"):
        ShardedDataset(tmp_path / HIDDEN)
    forbid_reading(monkeypatch)
    call(source, tmp_path / "made").verify()
    monkeypatch.undo()
    call(source, tmp_path / "alone")
    assert contents(tmp_path / "made") == contents(tmp_path / "alone")
    assert not (tmp_path / HIDDEN).exists()


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from lightfm_fast.sharded import ShardedDataset, manifest
write_array = manifest.write_array
def kill(path, array):
    if {place!r} in path:
        os.kill(os.getpid(), signal.SIGKILL)
    write_array(path, array)
manifest.write_array = kill
ShardedDataset.from_parquet({source!r}, {made!r}, user="who", item="what", n_shards=4)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_process(source, tmp_path, monkeypatch):
    options = {
        "path": sys.path,
        "place": "shard-00003",
        "source": str(source / "views-*"),
        "made": str(tmp_path / "made"),
    }
    process = subprocess.run([sys.executable, "-c", KILLED.format(**options)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "made").exists()
    forbid_reading(monkeypatch)
    made = ShardedDataset.from_parquet(options["source"], options["made"], **COLUMNS, n_shards=4)
    assert made.n_interactions == len(pd.DataFrame(views()).drop_duplicates(["who", "what"]))


@pytest.mark.parametrize("change", [
    {"positive_from": 4}, {"items": {"what": np.arange(N_ITEMS), "kind": ["one"] * N_ITEMS}},
    {"user_features": FeatureSpec({"town": Categorical(min_count=2)})}, "time of a file",
], ids=["values", "items", "features", "time of a file"])  # fmt: skip
def test_another_call_begins_anew(source, tmp_path, interrupted, change):
    options = {} if isinstance(change, str) else change
    if not options:
        os.utime(source / "users.parquet", ns=(1, 1))
    call(source, tmp_path / "made", **options)
    call(source, tmp_path / "alone", **options)
    assert contents(tmp_path / "made") == contents(tmp_path / "alone")


def test_another_call_that_fails_leaves_nothing(source, tmp_path, interrupted):
    for change, message in (({"value": "start"}, "has no column 'start'"), ({"n_shards": 0}, "n_shards")):
        with pytest.raises(ValueError, match=message):
            call(source, tmp_path / "made", **change)
        assert interrupted.exists()  # since these were refused before anything changed
    with pytest.raises(ValueError, match="the table of users does not list"):
        call(source, tmp_path / "made", users=people(150))
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize("change", [{"n_shards": 2}, {"duplicates": "max"}, {"memory": "2GB"}], ids=str)
def test_other_shards_are_made_of_the_same_rows(source, tmp_path, monkeypatch, interrupted, change):
    forbid_reading(monkeypatch)
    call(source, tmp_path / "made", **change)
    monkeypatch.undo()
    call(source, tmp_path / "alone", **change)
    assert contents(tmp_path / "made") == contents(tmp_path / "alone")


def test_too_little_memory_costs_no_second_reading(source, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "BYTES_OF_A_ROW", 1000)
    for memory in ("1MB", "2MB"):
        with pytest.raises(ValueError, match="allow more memory, or ask for more shards"):
            call(source, tmp_path / "made", memory=memory, n_shards=1)
        forbid_reading(monkeypatch)
    assert len(call(source, tmp_path / "made", memory="4MB", n_shards=1)) == 1


@pytest.mark.parametrize("damage", ["a shard", "rows", "progress"])
def test_what_the_system_has_lost_is_written_again(source, tmp_path, monkeypatch, interrupted, damage):
    if damage == "a shard":
        path = interrupted / "shard-00001" / "indices.npy"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        forbid_reading(monkeypatch)
    elif damage == "progress":
        (interrupted / "progress.json").write_bytes(b"\0" * 100)
    else:
        rows = sorted((interrupted / "spread").iterdir())
        rows[-1].write_bytes(rows[-1].read_bytes()[:-8])
    call(source, tmp_path / "made")
    monkeypatch.undo()
    call(source, tmp_path / "alone")
    assert contents(tmp_path / "made") == contents(tmp_path / "alone")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full disk to write to")
def test_a_full_disk_says_where_the_files_are(source, tmp_path, monkeypatch):
    write_array = manifest.write_array

    def write_to_full(path, array):
        write_array("/dev/full" if path.endswith("shard-00001/indices.npy") else path, array)

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write_array", write_to_full)
        with pytest.raises(OSError, match=f"No space left on device: the same call goes on .*{HIDDEN}") as caught:
            call(source, tmp_path / "made")
    assert caught.value.errno == errno.ENOSPC
    forbid_reading(monkeypatch)
    call(source, tmp_path / "made")


@pytest.fixture
def few_files():
    """The module that limits files, while this process may open few at first."""
    resource = pytest.importorskip("resource")  # Windows has no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    yield resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_files_are_opened_than_a_shell_allows(source, tmp_path, few_files):
    assert len(call(source, tmp_path / "made"))


def test_too_few_files(source, tmp_path, few_files, monkeypatch):
    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(few_files, "setrlimit", refuse)
    with pytest.raises(OSError, match="ulimit -n 1024"):
        call(source, tmp_path / "made")
    assert os.listdir(tmp_path) == ["source"]
    monkeypatch.undo()


def test_errors_of_the_input_leave_nothing(source, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="of user and item more than once"):
        call(source, tmp_path / "made", duplicates="error")
    add = spread.Buckets.add

    def change(buckets, table, place):
        os.utime(source / "views-0.parquet", ns=(1, 1))
        add(buckets, table, place)

    monkeypatch.setattr(spread.Buckets, "add", change)
    with pytest.raises(ValueError, match=r"views-0\.parquet changed while it was read"):
        call(source, tmp_path / "made")
    assert os.listdir(tmp_path) == ["source"]


def test_a_folder_that_is_complete_is_taken_by_the_same_call_only(source, tmp_path, monkeypatch):
    made = call(source, tmp_path / "made")
    before = contents(tmp_path / "made")
    with monkeypatch.context() as patch:
        forbid_reading(patch)
        assert call(source, tmp_path / "made").n_interactions == made.n_interactions
        for change in ({"n_shards": 2}, {"duplicates": "max"}, {"value": None}):
            with pytest.raises(ValueError, match="no empty folder"):
                call(source, tmp_path / "made", **change)
        made.split(tmp_path / "train", tmp_path / "test")
        with pytest.raises(ValueError, match="no empty folder"):
            call(source, tmp_path / "train")
    assert contents(tmp_path / "made") == before


class TestTables:
    def interrupted(self, tables, path, monkeypatch, **options):
        interrupt(monkeypatch, "shard-00001/indices.npy", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            ShardedDataset.from_tables(tables, path, **COLUMNS, n_shards=2, **options)

    def test_of_the_same_source_are_not_read_again(self, tmp_path, monkeypatch):
        def never():
            raise AssertionError("the tables were read again")
            yield

        self.interrupted([views()], tmp_path / "made", monkeypatch)
        assert os.listdir(tmp_path) == []
        for name in ("made", "other"):
            self.interrupted([views()], tmp_path / name, monkeypatch, source="today")
        for _ in range(2):
            ShardedDataset.from_tables(never(), tmp_path / "made", **COLUMNS, n_shards=2, source="today")
        ShardedDataset.from_tables([views()], tmp_path / "alone", **COLUMNS, n_shards=2, source="today")
        assert contents(tmp_path / "made") == contents(tmp_path / "alone")
        with pytest.raises(AssertionError, match="were read again"):
            ShardedDataset.from_tables(never(), tmp_path / "other", **COLUMNS, n_shards=2, source="tomorrow")
        with pytest.raises(TypeError, match="source is True, expected text"):
            ShardedDataset.from_tables(never(), tmp_path / "other", **COLUMNS, source=True)
