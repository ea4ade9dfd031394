"""Training in rounds: the same bits in this process and on a cluster, whatever happens to the workers."""

import errno
import importlib
import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import threading
import warnings

import distributed
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from lightfm_fast import LightFM
from lightfm_fast._regularization import POPULAR_ALPHA
from lightfm_fast.callbacks import Callback, EarlyStopping, StopTraining
from lightfm_fast.dask import DaskLightFM, tasks
from lightfm_fast.dask.executors import Cluster
from lightfm_fast.dask.run import Run, Source, forget
from lightfm_fast.dask.storage import Storage
from lightfm_fast.datasets import make_interactions
from lightfm_fast.evaluation import evaluate
from lightfm_fast.sharded import ShardedDataset, manifest

from . import trap as traps
from .trap import Trap

N_USERS, N_ITEMS, N_SHARDS = 300, 80, 4
MODEL = {"loss": "warp", "no_components": 8, "random_state": 3, "syncs_per_epoch": 2}
EPOCHS = 2
SECONDS = 60  # after which a fit that does not return fails its test


@pytest.fixture(scope="module")
def data():
    return make_interactions(N_USERS, N_ITEMS, 6000, random_state=2)


@pytest.fixture(scope="module")
def shards(data, tmp_path_factory):
    return write(data["train"], tmp_path_factory.mktemp("shards") / "s", N_SHARDS)


def write(matrix, folder, n_shards):
    entries = sp.coo_matrix(matrix)
    table = {"who": entries.row, "what": entries.col}
    items = {"what": np.arange(matrix.shape[1])}
    return ShardedDataset.from_tables([table], folder, user="who", item="what", items=items, n_shards=n_shards)


def users_of(shards):
    return np.array([user for shard in shards for user in shard.user_ids])


@pytest.fixture(scope="module")
def expected(shards):
    return state_of(DaskLightFM(**MODEL).fit(shards, epochs=EPOCHS))


def state_of(model):
    return model.to_local().get_state()


def assert_same_bits(model, expected):
    state = state_of(model)
    assert state.keys() == expected.keys()
    for name, array in expected.items():
        assert_array_equal(state[name], array, err_msg=name)


def fit(model, *arguments, **options):
    """Fit in another thread, so that a fit that hangs fails the test."""
    outcome = queue.SimpleQueue()

    def run():
        try:
            outcome.put(model.fit(*arguments, **options))
        except BaseException as error:
            outcome.put(error)

    threading.Thread(target=run, daemon=True).start()
    result = outcome.get(timeout=SECONDS)
    if isinstance(result, BaseException):
        raise result
    return result


@pytest.fixture(scope="module")
def cluster():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ports and of a busy machine
        with distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster:
            yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as client:
        client.upload_file(traps.__file__)
        yield client


@pytest.fixture
def three(cluster, client):
    cluster.scale(3)
    client.wait_for_workers(3, timeout=SECONDS)
    return client


class TestCluster:
    @pytest.mark.parametrize("n_workers", [1, 2, 3])
    def test_any_number_of_workers_gives_the_bits_of_this_process(self, cluster, client, shards, expected, n_workers):
        cluster.scale(n_workers)
        client.wait_for_workers(n_workers, timeout=SECONDS)
        model = fit(DaskLightFM(client, **MODEL), shards, epochs=EPOCHS)
        assert_same_bits(model, expected)
        assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0
        # A lambda, since workers cannot import this file.
        kept = client.run(lambda: len(importlib.import_module("lightfm_fast.dask.run")._KEPT))
        assert not any(kept.values())

    def test_users_with_features_have_the_bits_of_this_process(self, three, data, tmp_path):
        entries = sp.coo_matrix(data["train"])
        people = {"who": np.arange(N_USERS), "age": np.arange(N_USERS) % 5}
        columns = {"user": "who", "item": "what", "users": people, "user_features": ["age"], "n_shards": N_SHARDS}
        shards = ShardedDataset.from_tables([{"who": entries.row, "what": entries.col}], tmp_path / "s", **columns)
        options = {**MODEL, "feature_scaling": "balanced"}
        model = fit(DaskLightFM(three, **options), shards, epochs=EPOCHS)
        assert_same_bits(model, state_of(DaskLightFM(**options).fit(shards, epochs=EPOCHS)))

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
    @pytest.mark.parametrize(
        ("path", "mode"),
        [("deltas-0000001", "wb"), ("shared-0000002", "wb"), ("users-00002", "wb"), ("shared-0000001", "rb")],
        ids=["in a round", "in a merge", "in a checkpoint", "while reading"],
    )
    def test_a_killed_worker_changes_no_bit(self, three, shards, expected, tmp_path, path, mode):
        trap = Trap(tmp_path)
        trap.set(path, "kill", mode)
        assert_same_bits(fit(DaskLightFM(three, **MODEL, **trap.options), shards, epochs=EPOCHS), expected)
        assert trap.has_sprung

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
    def test_a_worker_killed_in_a_round_that_still_grows_changes_no_bit(self, three, shards, tmp_path):
        options = {**MODEL, "tasks_per_shard": 3}
        trap = Trap(tmp_path)
        trap.set("deltas-0000007", "kill")  # of the second epoch
        model = fit(DaskLightFM(three, **options, **trap.options), shards, epochs=EPOCHS)
        assert trap.has_sprung
        assert_same_bits(model, state_of(DaskLightFM(**options).fit(shards, epochs=EPOCHS)))

    def test_a_storage_that_fails_once_changes_no_bit(self, three, shards, expected, tmp_path):
        trap = Trap(tmp_path)
        trap.set("users-00001", "fail")
        assert_same_bits(fit(DaskLightFM(three, **MODEL, **trap.options), shards, epochs=EPOCHS), expected)
        assert trap.has_sprung

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a worker hangs by waiting for a pipe")
    def test_what_a_worker_does_not_return_runs_elsewhere(self, three, shards, expected, tmp_path):
        trap = Trap(tmp_path)
        trap.set("deltas-0000001", "hang")
        try:
            model = fit(DaskLightFM(three, timeout=5, **MODEL, **trap.options), shards, epochs=EPOCHS)
            assert trap.has_sprung
        finally:
            trap.free()
        assert_same_bits(model, expected)

    def test_what_a_model_answers_is_computed_by_the_workers(self, three, data, shards, tmp_path):
        model = fit(DaskLightFM(three, **MODEL), shards, epochs=EPOCHS)
        serial = DaskLightFM(**MODEL).fit(shards, epochs=EPOCHS)
        assert model.evaluate(shards, metrics="ndcg").mean == serial.evaluate(shards, metrics="ndcg").mean
        for one, other in zip(model.recommend([5, 290, 3]), serial.recommend([5, 290, 3]), strict=True):
            assert_array_equal(one, other)
        assert model.recommend([]).ids.shape == serial.recommend([]).ids.shape == (0, 10)
        new = sp.csr_matrix(data["test"])[:5]
        assert_array_equal(model.fold_in_users(new).embeddings, serial.fold_in_users(new).embeddings)


class StuckClient:
    """A client of one worker that never returns."""

    status = "running"

    def __init__(self):
        self.cancelled = []

    def nthreads(self):
        return {"tcp://only": 1}

    def processing(self):
        return {"tcp://only": ("task-0",)}

    def map(self, function, *columns, **options):
        return [StuckFuture()]

    def cancel(self, futures):
        self.cancelled += futures


class StuckFuture:
    key = "task-0"

    def add_done_callback(self, function):
        pass


def test_no_worker_that_returns_is_an_error():
    client = StuckClient()
    with pytest.raises(TimeoutError, match=r"for 0\.01 seconds, on 1 workers, and no other worker is left"):
        Cluster(client, 0.01).run(abs, [(1,)])
    assert len(client.cancelled) == 1


class TestClosedClients:
    @pytest.fixture
    def client(self):
        options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ports and of a busy machine
            with (
                distributed.LocalCluster(**options) as cluster,
                distributed.Client(cluster, set_as_default=False) as client,
            ):
                yield client

    def test_are_refused(self, shards, client):
        model = DaskLightFM(client, **MODEL)
        client.close()
        with pytest.raises(ValueError, match="the client is closed: connect another"):
            model.fit(shards)

    def test_hide_no_error_of_a_callback(self, shards, client):
        def fail(model):
            client.close()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            DaskLightFM(client, **MODEL).fit(shards, epochs=2, callbacks=[fail])


class TestRounds:
    @pytest.mark.parametrize("loss", ["logistic", "bpr", "warp", "warp-kos", "softmax"])
    def test_rounds_learn_as_one_machine_with_two_epochs_more(self, data, shards, loss):
        options = {**MODEL, "loss": loss, "no_components": 16}
        if loss == "softmax":  # LightFM's start is too slow for it
            options = {**LightFM.recommended("ranking").get_params(), **options}
        users = users_of(shards)
        train, held_out = (sp.csr_matrix(data[name])[users] for name in ("train", "test"))
        rounds = DaskLightFM(tasks_per_shard=2, **{**options, "syncs_per_epoch": 4}).fit(shards, epochs=14).to_local()
        options.pop("syncs_per_epoch")
        one = LightFM(**options).fit(train, epochs=12)
        scores = [evaluate(model, held_out, train, "ndcg")["ndcg@10"] for model in (rounds, one)]
        assert scores[0] > (0.8 if loss == "softmax" else 0.95) * scores[1]

    def test_many_tasks_learn_as_one_machine_from_the_first_epoch(self, tmp_path):
        data = make_interactions(1000, 4000, 100_000, random_state=2)
        shards = write(data["train"], tmp_path / "s", 32)
        preset = LightFM.recommended(no_components=16, random_state=3, linear_components=0).get_params()
        options = {**preset, "item_alpha": 0.05, "user_alpha": 0.05}
        train, held_out = (sp.csr_matrix(data[name])[users_of(shards)] for name in ("train", "test"))
        rounds = DaskLightFM(syncs_per_epoch=2, tasks_per_shard=4, **options).fit(shards).to_local()
        one = LightFM(**{**options, "cold_start": "features"}).fit(train)
        scores = [evaluate(model, held_out, train, "ndcg")["ndcg@10"] for model in (rounds, one)]
        assert scores[0] > 0.95 * scores[1]

    @pytest.mark.parametrize(
        ("n_shards", "pieces", "syncs"), [(1, 1, 1), (4, 1, 4), (5, 3, 7), (64, 1, 4), (256, 4, 2)]
    )
    def test_rounds_grow_to_their_full_size(self, n_shards, pieces, syncs):
        run = Run(Storage("", {}), Source(Storage("", {}), [[]] * n_shards), syncs, pieces)
        so_far, full = 0, n_shards * pieces
        for epoch in range(6):
            trained = []
            for tasks_of_round in run.rounds(epoch):
                left = syncs * full - len(trained)
                assert len(tasks_of_round) == min(left, full, max(4, so_far // 4))
                so_far += len(tasks_of_round)
                trained += [run.part_of(7, task, epoch) for task in tasks_of_round]
            assert sorted(trained) == [(shard, part) for shard in range(n_shards) for part in range(run.parts)]

    @pytest.mark.parametrize("path", ["plan.json", "users-00000", "deltas-0000001", "shared-0000002", "shared-0000004"])
    @pytest.mark.parametrize("mode", ["rb", "wb"])
    def test_a_storage_that_fails_once_changes_no_bit(self, shards, expected, tmp_path, path, mode):
        trap = Trap(tmp_path)
        trap.set(path, "fail", mode, spares_us=False)
        assert_same_bits(DaskLightFM(**MODEL, **trap.options).fit(shards, epochs=EPOCHS), expected)
        assert trap.has_sprung

    def test_a_file_that_cannot_be_written_leaves_nothing(self, tmp_path, monkeypatch):
        def fail(*_):
            raise OSError(errno.ENOSPC, "no room")

        storage = Storage(str(tmp_path), {})
        storage.write("a/b", b"before")
        monkeypatch.setattr("lightfm_fast.dask.storage.os.replace", fail)
        with pytest.raises(OSError, match="no room"):
            storage.write("a/b", b"after")
        assert os.listdir(tmp_path / "a") == ["b"]
        assert storage.read("a/b") == b"before"

    def test_another_process_finds_a_relative_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        storage = Storage("rounds", {}).within("run")
        storage.write("a", b"before")
        monkeypatch.chdir(tmp_path.parent)
        assert pickle.loads(pickle.dumps(storage)).within("").read("a") == storage.within("").read("a") == b"before"

    def test_arrays_are_read_without_parsing_python(self, tmp_path, monkeypatch):
        """Two threads that parse at once may end in SystemError: https://github.com/python/cpython/issues/106905."""

        def fail(*_):
            raise SystemError("AST constructor recursion depth mismatch (before=63, after=51)")

        monkeypatch.setattr("ast.literal_eval", fail)
        storage = Storage(str(tmp_path), {})
        rng = np.random.RandomState(0)
        for array in (rng.randn(5, 3).astype(np.float32), rng.randn(4, 6).T, np.zeros((0, 4)), np.arange(9)):
            storage.write_array("a.npy", array)
            assert_array_equal(storage.read_array("a.npy"), array)
            assert_array_equal(storage.read_array("a.npy", 0, len(array) // 2), array[: len(array) // 2])
        for altered in (b"", b"text", b"\x93NUMPY\x01\x00\x09\x00{'shape':"):
            storage.write("a.npy", altered)
            with pytest.raises(ValueError, match=r"a\.npy is no array .*: it was altered since"):
                storage.read_array("a.npy")

    def test_a_storage_that_is_no_folder_gives_the_same_bits(self, shards, expected):
        import fsspec

        model = DaskLightFM(storage="memory://rounds", **MODEL).fit(shards, epochs=EPOCHS)
        assert_same_bits(model, expected)
        filesystem = fsspec.filesystem("memory")
        before = filesystem.find("/rounds")
        assert model.evaluate(shards, metrics="auc")["auc"] > 0.5
        with pytest.raises(ValueError, match="share .* entries"):
            model.evaluate(shards, shards)
        assert filesystem.find("/rounds") == before  # no copies of the shards stay
        filesystem.rm("/rounds", recursive=True)

    def test_two_fits_at_once_share_a_storage(self, shards, expected, tmp_path):
        models = [DaskLightFM(storage=tmp_path, **MODEL) for _ in range(2)]
        threads = [threading.Thread(target=model.fit, args=(shards,), kwargs={"epochs": EPOCHS}) for model in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        for model in models:
            assert_same_bits(model, expected)
        assert len(os.listdir(tmp_path)) == 2

    def test_old_versions_are_deleted(self, shards, tmp_path):
        model = DaskLightFM(storage=tmp_path, **MODEL).fit(shards, epochs=3)
        (run,) = os.listdir(tmp_path)
        names = os.listdir(tmp_path / run)
        assert sorted(name for name in names if "-" in name) == ["shared-0000006", "users-00003"]
        model.fit(shards, epochs=1)
        assert len(os.listdir(tmp_path)) == 1
        assert run not in os.listdir(tmp_path)

    def test_the_default_storage_vanishes_with_the_object(self, shards):
        model = DaskLightFM(**MODEL).fit(shards)
        folder = model._temporary
        assert os.listdir(folder)
        del model
        assert not os.path.exists(folder)

    def test_popular_items_get_more_rounds(self, shards, tmp_path):
        popular = np.eye(390, 90, -300)  # two items have 301 interactions, and the others one
        popular[:300, :2] = 1
        for data, rounds in ((shards, 4), (write(popular, tmp_path / "s", 2), 5)):
            automatic = {**MODEL, "syncs_per_epoch": "auto"}
            model = DaskLightFM(**automatic).fit(data)
            given = DaskLightFM(**{**automatic, "syncs_per_epoch": rounds}).fit(data)
            assert_same_bits(model, state_of(given))

    def test_seeds_syncs_and_tasks_determine_the_result(self, shards, expected):
        for other in ({"random_state": 4}, {"syncs_per_epoch": 3}, {"tasks_per_shard": 2}):
            state = state_of(DaskLightFM(**{**MODEL, **other}).fit(shards, epochs=EPOCHS))
            assert (state["item_embeddings"] != expected["item_embeddings"]).any()

    def test_empty_shards_and_parts(self, tmp_path):
        whole = write(sp.csr_matrix(np.eye(12, 6) + np.eye(12, 6, -6)), tmp_path / "s", 4)
        few, many = whole.split(tmp_path / "few", tmp_path / "many", 0.8)
        assert min(shard.n_interactions for shard in few) == 0
        model = DaskLightFM(**{**MODEL, "syncs_per_epoch": 3}).fit(few, epochs=2)
        assert model.history_[-1]["samples"] == few.n_interactions
        assert model.to_local().user_embeddings.shape == (12, 8)
        assert np.isfinite(model.evaluate(many, few, metrics="ndcg")["ndcg@10"])
        assert model.recommend([11, 0], n=2).ids.shape == (2, 2)

    def test_the_preset_with_features_of_items(self, data, shards):
        preset = LightFM.recommended(no_components=8, random_state=1).get_params()
        model = DaskLightFM(syncs_per_epoch=4, **preset)
        model.fit(shards, item_features=data["item_features"], epochs=24)
        local = model.to_local()
        assert model.item_alpha_ == local.item_alpha_ in (0.008, 0.012, 0.02, 0.03, 0.05, 0.08)
        users = users_of(shards)
        train, test = (sp.csr_matrix(data[name])[users] for name in ("train", "test"))
        found = evaluate(local, test, train, "ndcg", item_features=data["item_features"])["ndcg@10"]
        popular = LightFM(loss="warp").fit(train, epochs=0)
        assert found > 1.5 * evaluate(popular, test, train, "ndcg")["ndcg@10"]
        ids, _ = model.recommend([7], n=3)
        assert_array_equal(
            ids,
            local.recommend([7], n=3, interactions=train, item_features=data["item_features"]).ids,
        )
        assert_array_equal(
            model.fold_in_users(test[:4]).embeddings,
            local.fold_in_users(test[:4], item_features=data["item_features"]).embeddings,
        )

    def test_users_and_items_without_positives_are_placed_as_in_memory(self, tmp_path):
        rng = np.random.RandomState(0)
        table = {"who": rng.randint(60, size=900), "what": (20 * rng.random_sample(900) ** 2).astype(int)}
        table["stars"] = np.where(table["who"] < 5, 1, 5)  # five users like nothing
        columns = {"user": "who", "item": "what", "value": "stars", "positive_from": 3}
        shards = ShardedDataset.from_tables(
            [table], tmp_path / "s", items={"what": np.arange(25)}, n_shards=3, **columns
        )
        model = DaskLightFM(**{**MODEL, "loss": "bpr"}).fit(shards, epochs=5)
        local = model.to_local()
        liked = [shard.interactions.max(axis=1).toarray().ravel() > 0 for shard in shards]
        cold = np.flatnonzero(~np.concatenate(liked))
        assert len(cold) == 5
        ids, _ = local.recommend(cold, n=5)
        popular = np.argsort(-shards.positives, kind="stable")[:6]
        assert np.isin(ids[:, :3], popular).all()
        assert_array_equal(model.recommend(cold, n=5, filter_seen=False).ids, ids)
        everything, _ = local.recommend([0], n=25)
        assert set(everything[0, -5:]) == set(np.flatnonzero(shards.positives == 0))

    def test_what_has_the_value_0_is_seen(self, data, tmp_path):
        entries = data["train"].tocoo()
        views = {"who": entries.row, "what": entries.col, "liked": np.arange(entries.nnz) % 2}
        options = {"user": "who", "item": "what", "value": "liked"}
        shards = ShardedDataset.from_tables([views], tmp_path / "s", **options)
        model = DaskLightFM(**MODEL).fit(shards)
        ids, _ = model.recommend([3], n=N_ITEMS)
        (shard,) = shards
        assert set(ids[0].tolist()) - {-1} == set(range(shards.shape[1])) - set(shard.interactions[3].indices.tolist())
        train, test = shards.split(tmp_path / "train", tmp_path / "test")
        found = model.evaluate(test, train, "auc").mean
        assert found == pytest.approx(test.evaluate(model.to_local(), train, "auc").mean)

    def test_a_dask_data_frame_is_written_to_shards(self, tmp_path):
        frames = pytest.importorskip("dask.dataframe")
        pandas = pytest.importorskip("pandas")
        rng = np.random.RandomState(0)
        table = pandas.DataFrame({"who": rng.randint(40, size=500), "what": rng.randint(15, size=500)})
        columns = {"user": "who", "item": "what", "n_shards": 2}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dask's own
            model = DaskLightFM(storage=tmp_path / "x", **MODEL).fit(
                frames.from_pandas(table, npartitions=3), columns=columns, epochs=EPOCHS
            )
        shards = ShardedDataset.from_tables([table], tmp_path / "s", **columns)
        assert_same_bits(model, state_of(DaskLightFM(**MODEL).fit(shards, epochs=EPOCHS)))


TOWNS = ("Rome", "Oslo", "Lima")
FEATURED = {**MODEL, "loss": "bpr", "feature_scaling": "balanced", "identity_dropout": 0.2}


@pytest.fixture(scope="module")
def townspeople(tmp_path_factory):
    """Return parts of views to train on and to find. A user's town decides which items are likely."""
    rng = np.random.RandomState(1)
    towns = rng.randint(3, size=N_USERS)
    who = rng.randint(N_USERS - 20, size=5000)  # the last users have no views
    what = (towns[who] * 20 + (60 * rng.random_sample(5000) ** 3).astype(int)) % 60
    people = {"who": np.arange(N_USERS), "town": [TOWNS[town] for town in towns]}
    folder = tmp_path_factory.mktemp("towns")
    views = ShardedDataset.from_tables(
        [{"who": who, "what": what}], folder / "all", user="who", item="what", users=people,
        user_features=["town"], items={"what": np.arange(N_ITEMS)}, n_shards=3,
    )  # fmt: skip
    return views.split(folder / "train", folder / "test", 0.2)


@pytest.fixture(scope="module")
def fitted(townspeople):
    return DaskLightFM(**FEATURED).fit(townspeople[0], epochs=8)


class TestUserFeatures:
    def test_learn_as_in_one_machine(self, townspeople, fitted):
        train, test = townspeople
        options = {name: value for name, value in FEATURED.items() if name != "syncs_per_epoch"}
        one = LightFM(**options, cold_start="features").fit(train, epochs=6)
        found = [fitted.evaluate(test, train, "ndcg")["ndcg@10"], test.evaluate(one, train, "ndcg")["ndcg@10"]]
        assert found[0] > 0.95 * found[1]
        scales, expected = (model.to_contents().tensors["user_feature_scales"] for model in (fitted.to_local(), one))
        assert_allclose(scales, expected, rtol=1e-6)

    def test_place_new_users_and_items_without_views(self, townspeople, fitted):
        train, _ = townspeople
        users = users_of(train)
        rows = np.flatnonzero(users >= N_USERS - 20)
        ids, _ = fitted.recommend(rows, n=N_ITEMS)
        popular = [set(np.arange(first, first + 20) % 60) for first in (0, 20, 40)]
        whose = [np.argmax([len(own.intersection(row[:10])) for own in popular]) for row in ids]
        towns = np.random.RandomState(1).randint(3, size=N_USERS)[users[rows]]
        assert_array_equal(whose, towns)
        unseen = np.flatnonzero(train.positives == 0)
        assert len(unseen) >= 20
        assert not np.isin(ids[:, :20], unseen).any()
        local = fitted.to_local()
        lengths = [
            np.linalg.norm(local.get_user_representations(shard.user_features)[1], axis=1).max() for shard in train
        ]
        biases, embeddings = local.item_biases, np.linalg.norm(local.item_embeddings[unseen], axis=1)
        least = biases[train.positives > 0].min()
        assert_allclose(biases[unseen], least - max(lengths) * embeddings.max(), rtol=1e-5)

    def test_a_local_model_answers_alike(self, townspeople, fitted, tmp_path):
        train, test = townspeople
        fitted.save(tmp_path / "m.safetensors")
        local = LightFM.load(tmp_path / "m.safetensors")
        assert fitted.evaluate(test, train, "ndcg").mean == test.evaluate(local, train, "ndcg").mean
        shard = list(train)[1]
        options = {"interactions": shard.interactions, "user_features": shard.user_features}
        for one, other in zip(
            fitted.recommend([shard.first + 2], n=5), local.recommend([2], n=5, **options), strict=True
        ):
            assert_allclose(one, other, rtol=1e-5)
        new = sp.csr_matrix(np.eye(2, N_ITEMS))
        assert_array_equal(fitted.fold_in_users(new).embeddings, local.fold_in_users(new).embeddings)

    @pytest.mark.parametrize("change", ["ranges", "storage", "resumed"])
    def test_have_the_same_bits(self, townspeople, tmp_path, monkeypatch, change):
        train, _ = townspeople
        options = {**FEATURED, "loss": "warp"}
        expected = state_of(DaskLightFM(**options).fit(train, epochs=EPOCHS))
        if change == "ranges":
            monkeypatch.setattr("lightfm_fast.dask.run.ROWS_IN_RANGE", 32)
        storage = tmp_path if change == "resumed" else "memory://towns"
        model = DaskLightFM(storage=storage, **options)
        if change == "resumed":

            def fail(model):
                if len(model.history_) == 2:
                    raise RuntimeError("why not")

            with pytest.raises(RuntimeError, match="why not"):
                model.fit(train, epochs=EPOCHS, callbacks=[fail], resume=True)
        model.fit(train, epochs=EPOCHS, resume=change == "resumed")
        assert_same_bits(model, expected)

    def test_unscaled_weights_and_the_race(self, townspeople):
        train, test = townspeople
        model = DaskLightFM(**{**MODEL, "loss": "bpr", "item_alpha": "auto", "user_alpha": "auto"})
        model.fit(train, epochs=20)
        assert "user_feature_scales" not in model.to_local().to_contents().tensors
        assert model.item_alpha_ == model.to_local().item_alpha_ > 0
        assert model.evaluate(test, train, "ndcg")["ndcg@10"] > 0.2


DRIVER = """
import os, sys
sys.path[:0] = {path!r}
import trap
from lightfm_fast.dask import DaskLightFM, tasks
from lightfm_fast.sharded import ShardedDataset
DaskLightFM(**{options!r}).fit(ShardedDataset({shards!r}), epochs={epochs})
"""


class TestMeans:
    @pytest.mark.parametrize("change", [{"learning_schedule": "adadelta"}, {"loss": "warp", "tasks_per_shard": 2}])
    def test_agree_with_the_formula_after_each_epoch(self, townspeople, change):
        found = {}
        for average in (False, True):
            states = found[average] = []
            model = DaskLightFM(**{**FEATURED, **change}, average=average)
            model.fit(townspeople[0], epochs=3, callbacks=[lambda model, states=states: states.append(state_of(model))])
        first, last = found[False][0], found[False][-1]
        for name in ("user_embeddings", "item_embeddings", "item_biases"):
            assert_array_equal(found[True][0][name], first[name])
            means = np.zeros(first[name].shape)
            for t, (state, averaged) in enumerate(zip(found[False], found[True], strict=True), 1):
                means += 4 / (t + 3) * (state[name].astype(np.float64) - means)
                assert_allclose(averaged[name], means, rtol=1e-4, atol=1e-6, err_msg=name)
            assert not np.allclose(found[True][-1][name], last[name], rtol=1e-3)
        for name in ("user_embedding_gradients", "item_bias_gradients"):
            assert_array_equal(found[True][-1][name], last[name])

    def test_place_items_without_views(self, townspeople):
        train, _ = townspeople
        local = DaskLightFM(**FEATURED, average=True).fit(train, epochs=4).to_local()
        seen = train.positives > 0
        embeddings = [local.get_user_representations(shard.user_features)[1] for shard in train]
        longest = np.linalg.norm(np.concatenate(embeddings), axis=1).max()
        expected = local.item_biases[seen].min() - longest * np.linalg.norm(local.item_embeddings[~seen], axis=1).max()
        assert_allclose(local.item_biases[~seen], expected, rtol=1e-5)

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
    @pytest.mark.parametrize("path", ["shared-0000004/00000.means", "users-00002/00001-000001.means"])
    def test_have_the_same_bits_if_a_worker_is_killed(self, three, shards, tmp_path, path):
        expected = state_of(DaskLightFM(**MODEL, average=True).fit(shards, epochs=EPOCHS))
        trap = Trap(tmp_path)
        trap.set(path, "kill")
        model = fit(DaskLightFM(three, **MODEL, **trap.options, average=True), shards, epochs=EPOCHS)
        assert trap.has_sprung
        assert_same_bits(model, expected)

    def test_are_kept_by_a_run_that_is_resumed(self, shards, tmp_path):
        options = {**MODEL, "average": True}
        expected = state_of(DaskLightFM(**options).fit(shards, epochs=4))
        for epoch in (2, 4):

            def fail(model, epoch=epoch):
                if len(model.history_) == epoch:
                    raise OSError("no space left")

            with pytest.raises(OSError, match="no space"):
                DaskLightFM(storage=tmp_path, **options).fit(shards, epochs=4, callbacks=[fail], resume=True)
        for _ in range(2):  # the second finds a run that is over
            model = DaskLightFM(storage=tmp_path, **options).fit(shards, epochs=4, resume=True)
            assert_same_bits(model, expected)


class TestLinearAutoencoder:
    OPTIONS = {**MODEL, "loss": "bpr", "linear_components": 5}
    OF_ONE = {name: value for name, value in OPTIONS.items() if name != "syncs_per_epoch"}

    @pytest.mark.parametrize("has_features", [False, True])
    @pytest.mark.parametrize("linear_components", [5, "auto"])
    def test_coordinates_are_those_of_one_machine(self, shards, townspeople, has_features, linear_components):
        dataset = townspeople[0] if has_features else shards
        change = {"linear_components": linear_components}
        rounds = DaskLightFM(**{**self.OPTIONS, **change}).fit(dataset, epochs=EPOCHS).to_local()
        one = LightFM(**{**self.OF_ONE, **change}, cold_start="features").fit(dataset, epochs=EPOCHS)
        assert rounds.linear_components_ == one.linear_components_ > 0
        users, items = (
            [_of_sides(model, dataset)[side][:, MODEL["no_components"] :] for model in (rounds, one)] for side in (0, 1)
        )
        assert_array_equal(*users)
        weights = [model._autoencoder.weight for model in (rounds, one)]
        assert min(weights) > 0
        assert_allclose(items[0] / weights[0], items[1] / weights[1], rtol=1e-5, atol=1e-6)

    def test_there_is_none_where_popularity_ranks_better(self, tmp_path):
        drawn = np.random.RandomState(0).gumbel(size=(300, 60)) - np.log(np.arange(1, 61))
        rows, columns = np.repeat(np.arange(300), 16), np.argsort(-drawn, axis=1)[:, :16].ravel()  # no taste at all
        shards = write(sp.coo_matrix((np.ones(4800), (rows, columns))), tmp_path, 2)
        model = DaskLightFM(**LightFM.recommended(no_components=8, random_state=0).get_params()).fit(shards, epochs=40)
        assert (model.to_local().item_alpha_, model.to_local().linear_components_) == (POPULAR_ALPHA, 0)

    def test_its_weight_is_that_beside_the_factors_after_each_epoch(self, shards):
        found = []

        def look(model):
            found.append(model.to_local()._autoencoder.weight)

        model = DaskLightFM(**self.OPTIONS).fit(shards, epochs=3, callbacks=[look])
        alone = [
            DaskLightFM(**self.OPTIONS).fit(shards, epochs=epochs).to_local()._autoencoder.weight
            for epochs in (1, 2, 3)
        ]
        assert found == alone
        assert len(set(found)) == 3
        assert model.to_local()._autoencoder.weight == found[-1]

    def test_all_that_a_model_answers_has_it(self, shards, data, tmp_path):
        model = DaskLightFM(**self.OPTIONS).fit(shards, epochs=EPOCHS)
        model.save(tmp_path / "m.safetensors")
        local = LightFM.load(tmp_path / "m.safetensors")
        train = sp.csr_matrix(data["train"])[users_of(shards)]
        for one, other in zip(model.recommend([3, 70], n=5), local.recommend([3, 70], 5, train), strict=True):
            assert_allclose(one, other, rtol=1e-5)
        assert_allclose(model.fold_in_users(train[:3]).embeddings, local.fold_in_users(train[:3]).embeddings, rtol=1e-5)
        found = model.evaluate(shards, metrics="ndcg")["ndcg@10"]
        assert found == pytest.approx(evaluate(local, train, metrics="ndcg")["ndcg@10"], rel=1e-6)

    def test_a_run_that_is_resumed_has_the_same_bits(self, shards, tmp_path):
        expected = _of_sides(DaskLightFM(**self.OPTIONS).fit(shards, epochs=3).to_local(), shards)

        def fail(model):
            if len(model.history_) == 2:
                raise OSError("no space left")

        with pytest.raises(OSError, match="no space"):
            DaskLightFM(storage=tmp_path, **self.OPTIONS).fit(shards, epochs=3, callbacks=[fail], resume=True)
        for _ in range(2):  # the second finds a run that is over
            model = DaskLightFM(storage=tmp_path, **self.OPTIONS).fit(shards, epochs=3, resume=True)
            for found, array in zip(_of_sides(model.to_local(), shards), expected, strict=True):
                assert_array_equal(found, array)


@pytest.mark.parametrize("name", ["features.npz", "scaled.npz", "beside.npz", "plan.json", "users-00002", "shared-*"])
def test_files_that_are_gone_are_named(shards, data, tmp_path, name):
    options = {**TestLinearAutoencoder.OPTIONS, "storage": tmp_path}
    model = DaskLightFM(**options).fit(shards, data["item_features"], epochs=EPOCHS)
    model.recommend(0)
    for path in tmp_path.glob(f"run-*/{name}"):
        (shutil.rmtree if path.is_dir() else os.remove)(path)
    forget()
    with pytest.raises(FileNotFoundError, match=r"is gone: it was removed or moved since it was written\. Put it"):
        model.recommend(0)


def _of_sides(model, shards):
    """Return the embeddings of users and items."""
    users = [shard.user_features for shard in shards] if shards.n_shared else None
    users = None if users is None else sp.vstack(users, format="csr")
    return model.get_user_representations(users)[1], model.get_item_representations()[1]


class TestResuming:
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
    @pytest.mark.parametrize(
        ("path", "epoch"),
        [("deltas-0000003", 1), ("shared-0000004", 1), ("users-00001", 0), ("shared-0000000", None)],
        ids=["in a round", "in a merge", "in the first epoch", "before the first epoch"],
    )
    def test_what_a_killed_process_began_is_finished_with_the_same_bits(self, shards, expected, tmp_path, path, epoch):
        trap = Trap(tmp_path)
        trap.set(path, "kill", spares_us=True)
        options = {**MODEL, **trap.options}
        where = [os.path.dirname(traps.__file__), *sys.path]
        code = DRIVER.format(path=where, options=options, shards=shards.path, epochs=EPOCHS)
        process = subprocess.run([sys.executable, "-c", code], check=False)
        assert (process.returncode, trap.has_sprung) == (-signal.SIGKILL, True)
        for run in os.listdir(tmp_path / "store"):
            os.makedirs(tmp_path / "store" / run / "shared-0000099")  # as if killed while it deleted
        trained = []
        model = DaskLightFM(**options).fit(
            shards, epochs=EPOCHS, callbacks=[lambda model: trained.append(len(model.history_))], resume=True
        )
        assert trained == list(range(1 + (epoch or 0), EPOCHS + 1))
        assert_same_bits(model, expected)
        runs = os.listdir(tmp_path / "store")
        assert len(runs) == (2 if epoch is None else 1)
        kept = os.listdir(tmp_path / "store" / model._run.storage.url.rpartition("/")[2])
        assert sorted(name for name in kept if "-" in name) == ["shared-0000004", "users-00002"]

    def test_callbacks_that_were_interrupted_are_called_again(self, shards, tmp_path):
        factors = []

        class Decay(Callback):
            def __call__(self, model):
                if self.fails and len(model.history_) == 2:
                    raise OSError("no space left")
                model.learning_rate_factor *= 0.5
                factors.append(model.learning_rate_factor)

        decay = Decay()
        decay.fails = True
        first = DaskLightFM(storage=tmp_path, **MODEL)
        with pytest.raises(OSError, match="no space"):
            first.fit(shards, epochs=3, callbacks=[decay], resume=True)
        with pytest.raises(ValueError, match="not fitted"):
            first.to_local()
        decay.fails = False
        model = DaskLightFM(storage=tmp_path, **MODEL).fit(shards, epochs=3, callbacks=[decay], resume=True)
        assert factors == [0.5, 0.25, 0.125]
        whole = DaskLightFM(**MODEL).fit(shards, epochs=3, callbacks=[decay])
        assert_same_bits(model, state_of(whole))

    def test_a_run_that_is_over_is_taken_as_it_is(self, shards, data, tmp_path):
        options = {**MODEL, "loss": "bpr", "storage": tmp_path}
        first = DaskLightFM(**options).fit(shards, epochs=EPOCHS)
        model = DaskLightFM(**options).fit(shards, epochs=EPOCHS, resume=True)
        assert model.history_ == first.history_  # with the seconds of the first fit
        assert_same_bits(model, state_of(first))
        model.fit(shards, epochs=EPOCHS, resume=True)  # of its own
        assert_same_bits(model, state_of(first))
        features = data["item_features"]
        wider = sp.hstack([features, sp.csr_matrix((features.shape[0], 1))])  # the same entries in another shape
        for other in ({"epochs": 3}, {"item_features": features}, {"item_features": wider}):
            DaskLightFM(**options).fit(shards, resume=True, **{"epochs": EPOCHS, **other})
        for name, value in {"syncs_per_epoch": 3, "random_state": 4, "no_components": 9}.items():
            DaskLightFM(**{**options, name: value}).fit(shards, epochs=EPOCHS, resume=True)
        assert len(os.listdir(tmp_path)) == 7

    def test_no_epoch_is_left_of_a_run_that_was_stopped(self, shards, tmp_path):
        class Stop(Callback):
            begun = None

            def begin(self, model, n_epochs):
                self.begun = n_epochs

            def __call__(self, model):
                raise StopTraining

        for expected in (4, 0):
            stop = Stop()
            model = DaskLightFM(storage=tmp_path, **MODEL).fit(shards, epochs=4, callbacks=[stop], resume=True)
            assert (stop.begun, len(model.history_)) == (expected, 1)

    def test_a_run_that_cannot_be_resumed_is_not_kept(self, shards, tmp_path, monkeypatch):
        def fail(*arguments):
            raise OSError("no space left")

        monkeypatch.setattr(tasks, "begin", fail)
        with pytest.raises(OSError, match="no space"):
            DaskLightFM(storage=tmp_path, **MODEL).fit(shards, epochs=2, resume=True)
        assert os.listdir(tmp_path) == []

    def test_what_the_disk_has_lost_is_no_run(self, shards, expected, tmp_path):
        for noted in (b"", b"\0" * 9, b"{}", b"[]"):
            (tmp_path / "run-lost").mkdir(exist_ok=True)
            (tmp_path / "run-lost" / "progress.json").write_bytes(noted)
            assert_same_bits(DaskLightFM(storage=tmp_path, **MODEL).fit(shards, epochs=EPOCHS, resume=True), expected)

    def test_an_object_goes_on_with_its_own_run(self, shards, tmp_path):
        def fails_at(epoch, error):
            def fail(model):
                if len(model.history_) == epoch:
                    raise error

            return [fail]

        model = DaskLightFM(storage=tmp_path, **MODEL)
        for epoch, error in ((2, KeyboardInterrupt), (3, RuntimeError)):
            with pytest.raises(error):
                model.fit(shards, epochs=4, callbacks=fails_at(epoch, error), resume=True)
            assert len(model.history_) == epoch
            assert_same_bits(model, state_of(DaskLightFM(**MODEL).fit(shards, epochs=epoch)))
        model.fit(shards, epochs=4, resume=True)
        assert_same_bits(model, state_of(DaskLightFM(**MODEL).fit(shards, epochs=4)))
        assert len(os.listdir(tmp_path)) == 1

    def test_a_storage_that_is_no_folder(self, shards, expected):
        import fsspec

        storage = {"storage": "memory://resumed"}

        def fail(model):
            if len(model.history_) == 2:
                raise RuntimeError("why not")

        with pytest.raises(RuntimeError, match="why not"):
            DaskLightFM(**storage, **MODEL).fit(shards, epochs=EPOCHS, callbacks=[fail], resume=True)
        assert_same_bits(DaskLightFM(**storage, **MODEL).fit(shards, epochs=EPOCHS, resume=True), expected)
        assert len(fsspec.filesystem("memory").ls("/resumed")) == 1
        fsspec.filesystem("memory").rm("/resumed", recursive=True)

    def test_a_data_frame_with_a_source(self, data, tmp_path, monkeypatch):
        frames = pytest.importorskip("dask.dataframe")
        entries = sp.coo_matrix(data["train"])
        pandas = importlib.import_module("pandas")
        frame = frames.from_pandas(pandas.DataFrame({"who": entries.row, "what": entries.col}), npartitions=2)
        columns = {"user": "who", "item": "what", "n_shards": 3, "source": "today"}
        expected = state_of(DaskLightFM(**MODEL).fit(frame, epochs=EPOCHS, columns=columns))
        write_array = manifest.write_array

        def fit(**changes):
            model = DaskLightFM(storage=tmp_path, **MODEL)
            return model.fit(frame, **{"epochs": EPOCHS, "columns": columns, "resume": True, **changes})

        def interrupt(path, array):
            if path.endswith("shard-00001/indptr.npy"):  # the same call meanwhile leaves the files to this one
                with pytest.raises(ValueError, match="is being written by another call"):
                    fit()
            if "shard-00002" in path:
                raise KeyboardInterrupt
            write_array(path, array)

        def stop(model):
            raise RuntimeError("why not")

        monkeypatch.setattr(manifest, "write_array", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit()
        monkeypatch.setattr(manifest, "write_array", write_array)
        monkeypatch.setattr("lightfm_fast.sharded.spread.Buckets.add", None)  # the rows are not read again
        with pytest.raises(RuntimeError, match="why not"):
            fit(callbacks=[stop])
        assert_same_bits(fit(), expected)
        assert len(os.listdir(tmp_path)) == 1
        monkeypatch.undo()
        with pytest.raises(ValueError, match="features"):
            fit(item_features=np.ones((3, 1)))
        assert len(os.listdir(tmp_path)) == 1
        with pytest.raises(ValueError, match="resume needs for a DataFrame columns="):
            fit(columns={"user": "who", "item": "what"})

    def test_a_run_that_diverges_is_not_kept(self, shards, tmp_path):
        with pytest.raises(ValueError, match="diverged in epoch 1"):
            DaskLightFM(storage=tmp_path, **{**MODEL, "learning_rate": 1e38}).fit(shards, resume=True)
        assert os.listdir(tmp_path) == []

    def test_without_a_storage_there_is_nothing_to_resume(self, shards):
        with pytest.raises(ValueError, match="resume needs a storage"):
            DaskLightFM(**MODEL).fit(shards, resume=True)


class TestManners:
    def test_a_saved_model_scores_as_the_model(self, shards, tmp_path):
        model = DaskLightFM(**MODEL).fit(shards, epochs=EPOCHS)
        model.save(tmp_path / "m.safetensors")
        loaded = LightFM.load(tmp_path / "m.safetensors")
        assert_array_equal(loaded.user_embeddings, model.to_local().user_embeddings)
        assert loaded.history_ == model.history_
        assert_allclose(shards.evaluate(loaded, None, "ndcg").mean["ndcg@10"], model.evaluate(shards)["ndcg@10"])
        loaded.fit_partial(shards, epochs=1)
        assert len(loaded.history_) == EPOCHS + 1

    def test_callbacks_see_each_epoch_and_may_stop(self, shards):
        seen = []

        class Watch(Callback):
            def begin(self, model, n_epochs):
                seen.append(n_epochs)

            def __call__(self, model):
                seen.append(model.evaluate(shards, metrics="auc")["auc"])
                if len(model.history_) == 2:
                    raise StopTraining

        model = DaskLightFM(**MODEL).fit(shards, epochs=5, callbacks=[Watch()])
        assert seen[0] == 5
        assert len(seen) == 3
        assert [record["epoch"] for record in model.history_] == [1, 2]

    def test_a_run_that_diverges_leaves_the_model_as_it_was(self, shards, tmp_path):
        model = DaskLightFM(storage=tmp_path, **MODEL).fit(shards, epochs=1)
        before = state_of(model), os.listdir(tmp_path), model.history_
        model.set_params(learning_rate=1e38)
        with pytest.raises(ValueError, match="diverged in epoch 1"):
            model.fit(shards, epochs=1)
        assert_same_bits(model, before[0])
        assert (os.listdir(tmp_path), model.history_) == before[1:]

    def test_an_interrupted_run_keeps_its_whole_epochs(self, shards, tmp_path, monkeypatch):
        def interrupt(model):
            if len(model.history_) == 2:
                raise KeyboardInterrupt

        def interrupted(*arguments):
            raise KeyboardInterrupt

        model = DaskLightFM(storage=tmp_path, **MODEL).fit(shards, epochs=1)
        before = state_of(model)
        with monkeypatch.context() as patched:
            patched.setattr("lightfm_fast.dask.tasks.train_round", interrupted)
            with pytest.raises(KeyboardInterrupt):
                model.fit(shards, epochs=5)
        assert_same_bits(model, before)
        with pytest.raises(KeyboardInterrupt):
            model.fit(shards, epochs=5, callbacks=[interrupt])
        assert len(model.history_) == 2
        assert len(os.listdir(tmp_path)) == 1
        assert_same_bits(model, state_of(DaskLightFM(**MODEL).fit(shards, epochs=2)))

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"syncs_per_epoch": 0}, ValueError, "syncs_per_epoch is 0"),
            ({"syncs_per_epoch": "some"}, ValueError, "syncs_per_epoch is 'some', expected a whole number"),
            ({"tasks_per_shard": 0.5}, ValueError, "tasks_per_shard is 0.5"),
            ({"loss": "none"}, ValueError, "loss is 'none'"),
            ({"components": 3}, TypeError, "components"),
            ({"client": "tcp://here"}, TypeError, "client is 'tcp://here'"),
            ({"timeout": 3}, ValueError, "timeout is given without a client"),
            ({"storage": ""}, TypeError, "^storage is ''"),
            ({"storage": b"here"}, TypeError, "^storage is b'here', expected the path or URL"),
            ({"storage_options": 1}, TypeError, "^storage_options is 1, expected a dict"),
        ],
    )
    def test_wrong_parameters_are_refused(self, options, error, message):
        with pytest.raises(error, match=message):
            DaskLightFM(**options)

    def test_parameters_are_shown_and_set(self):
        model = DaskLightFM(loss="warp", syncs_per_epoch=2)
        assert model.get_params()["loss"] == "warp"
        assert model.set_params(syncs_per_epoch=3, no_components=4).get_params()["no_components"] == 4
        assert "syncs_per_epoch=3" in repr(model)
        with pytest.raises(ValueError, match="'rate' is no parameter"):
            model.set_params(rate=1)
        with pytest.raises(ValueError, match="learning_rate is -1"):
            model.set_params(learning_rate=-1)
        assert model.learning_rate == 0.05

    def test_a_callback_cannot_fit_the_object_that_calls_it(self, shards):
        model = DaskLightFM(**MODEL).fit(shards, epochs=1)
        before = state_of(model)
        with pytest.raises(RuntimeError, match="being trained already"):
            model.fit(shards, epochs=2, callbacks=[lambda model: model.fit(shards)])
        assert_same_bits(model, before)
        assert model.recommend(3, 2).ids.tolist() == model.recommend([3], 2).ids.tolist()  # a single user, too

    def test_arguments_that_training_does_not_take(self, shards, data):
        model = DaskLightFM(**MODEL)
        with pytest.raises(TypeError, match="expected a ShardedDataset or a dask DataFrame"):
            model.fit(data["train"])
        with pytest.raises(ValueError, match="EarlyStopping keeps parameters in memory"):
            model.fit(shards, callbacks=[EarlyStopping(len, data["test"])])
        with pytest.raises(ValueError, match="columns are given with shards"):
            model.fit(shards, columns={"user": "who"})
        with pytest.raises(ValueError, match="item_features has"):
            model.fit(shards, item_features=np.eye(3))
        with pytest.raises(ValueError, match="resume is 'no', expected True or False"):
            model.fit(shards, resume="no")
        with pytest.raises(ValueError, match="cold_start is 'content'"):
            DaskLightFM(loss="bpr", cold_start="content").fit(shards)
        with pytest.raises(ValueError, match="item_features lack an identity column"):
            DaskLightFM(loss="bpr", linear_components=5).fit(shards, item_features=np.ones((N_ITEMS, 3)))
        for ask in (model.to_local, lambda: model.recommend([0]), lambda: model.evaluate(shards)):
            with pytest.raises(ValueError, match="not fitted"):
                ask()
        model.fit(shards)
        with pytest.raises(ValueError, match="coverage looks at the lists of all users"):
            model.evaluate(shards, metrics=["ndcg", "coverage"])
        with pytest.raises(ValueError, match="user"):
            model.recommend([N_USERS])
        with pytest.raises(ValueError, match="interactions has 3 items"):
            model.fold_in_users(np.eye(3))


def test_importing_the_module_imports_no_optional_library():
    code = "import lightfm_fast.dask, sys; print({'dask', 'distributed', 'fsspec', 'pyarrow'} & set(sys.modules))"
    process = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.strip() == "set()"
