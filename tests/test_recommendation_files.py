"""The lists of all users in blocks and in files are the answers of recommend; a file is whole or not there."""

import os
import sys
from uuid import UUID

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM, recommendation_files
from lightfm_fast.callbacks import Checkpoint
from lightfm_fast.data import Dataset
from lightfm_fast.recommendation_files import Written

from .models import drawn_model, make_cold_items, make_data

parquet = pytest.importorskip("pyarrow.parquet")

N_USERS, N_ITEMS = 23, 40


@pytest.fixture
def model():
    return drawn_model(N_USERS, N_ITEMS)


@pytest.fixture
def seen():
    return sp.csr_matrix(np.random.RandomState(0).rand(N_USERS, N_ITEMS) < 0.3, dtype=np.float32)


def read(path):
    """Return the columns of a file or folder, by name."""
    return {name: np.array(column) for name, column in parquet.read_table(path).to_pydict().items()}


def rows_of(users, best):
    """Return the columns that files of these answers have."""
    is_found = best.scores > -np.inf
    places = np.nonzero(is_found)
    return {
        "user_id": np.asarray(users)[places[0]],
        "item_id": best.ids[is_found],
        "rank": places[1] + 1,
        "score": best.scores[is_found],
    }


def check(columns, expected):
    assert list(columns) == list(expected)
    for name, column in expected.items():
        assert_array_equal(columns[name], column, err_msg=name)


def with_content():
    train, _, features = make_cold_items()
    model = LightFM.recommended(random_state=0, cold_start="content").fit(train, item_features=features, epochs=4)
    return model, {"item_features": features}, train


def with_features(**parameters):
    train, features = make_data()
    return LightFM(random_state=0, **parameters).fit(train, **features), features, train


@pytest.mark.parametrize(
    "make",
    [
        with_content,
        with_features,
        lambda: with_features(loss="softmax"),  # scores are cosines
        lambda: with_features(interactions="all"),
    ],
    ids=["content", "features", "cosines", "pairs"],
)
def test_the_answers_are_those_of_recommend(make, tmp_path):
    model, features, train = make()
    users = np.arange(train.shape[0])
    options = {"n": 7, "interactions": train, **features, "exclude": [1]}
    expected = rows_of(users, model.recommend(users, num_threads=1, **options))
    model.recommend_to(tmp_path / "lists.parquet", users_per_block=9, **options)
    check(read(tmp_path / "lists.parquet"), expected)
    blocks = list(model.recommend_in_blocks(users_per_block=4, num_threads=2, **options))
    assert max(len(block.users) for block in blocks) == 4
    found = rows_of(np.concatenate([block.users for block in blocks]), join(blocks))
    check(found, expected)


def join(blocks):
    return recommendation_files.Lists(*map(np.concatenate, zip(*blocks, strict=True)))


def test_some_users_in_their_order_and_the_choice_of_items(model, seen, tmp_path):
    users = [5, 3, 22, 5]
    for options in (
        {"interactions": seen, "items": range(0, N_ITEMS, 3)},
        {"interactions": seen.tocoo(), "filter_seen": False, "exclude": [4, 8]},
        {"interactions": seen.toarray(), "n": N_ITEMS + 5},
    ):
        path = tmp_path / "lists.pq"
        written = model.recommend_to(path, users, users_per_block=3, **options)
        expected = rows_of(users, model.recommend(users, **options))
        check(read(path), expected)
        assert written == Written(4, len(expected["rank"]), 0)


def test_types_of_columns(model, tmp_path):
    path = tmp_path / "lists.parquet"
    model.recommend_to(path, [1], user="who", item="what")
    schema = parquet.read_schema(path)
    assert list(zip(schema.names, map(str, schema.types), strict=True)) == [
        ("who", "int64"),
        ("what", "int64"),
        ("rank", "int32"),
        ("score", "float"),
    ]


def test_nobody_and_nothing(model, seen, tmp_path):
    everything = range(N_ITEMS)
    (block,) = model.recommend_in_blocks([])
    assert [len(part) for part in block] == [0, 0, 0]
    for users, options in (([], {}), (None, {"exclude": everything}), (None, {"items": []})):
        for path in (tmp_path / "lists.parquet", tmp_path / "parts"):
            n_users = N_USERS if users is None else 0
            assert model.recommend_to(path, users, interactions=seen, **options)[:2] == (n_users, 0)
            assert {name: len(column) for name, column in read(path).items()} == dict.fromkeys(
                ("user_id", "item_id", "rank", "score"), 0
            )


@pytest.mark.parametrize(
    "user_ids",
    [
        [f"user {row}" for row in range(N_USERS)],
        [10**12 + row for row in range(N_USERS)],
        [UUID(int=row) for row in range(N_USERS)],
        [row / 4 for row in range(N_USERS)],
        [bytes([row + 1]) for row in range(N_USERS)],
    ],
    ids=["text", "numbers", "uuids", "floats", "bytes"],
)
def test_ids_of_a_dataset(model, seen, tmp_path, user_ids):
    dataset = Dataset()
    dataset.fit(user_ids, [f"film {row}" for row in range(N_ITEMS)])
    options = {"interactions": seen, "dataset": dataset, "exclude": ["film 7"], "n": 4}
    best = model.recommend(user_ids, **options)
    shown = np.array([str(name) if isinstance(name, UUID) else name for name in user_ids], dtype=object)
    for path in (tmp_path / "lists.parquet", tmp_path / "parts"):
        model.recommend_to(path, **options, users_per_block=10)
        check(read(path), rows_of(shown, best))
    (block,) = model.recommend_in_blocks(user_ids[:2], **options)
    assert block.users.tolist() == user_ids[:2]
    assert_array_equal(block.ids, best.ids[:2])


def test_names_of_newcomers(model, seen, tmp_path):
    folded = model.fold_in_users(seen[:3])
    options = {"user_representations": folded, "interactions": seen[:3]}
    model.recommend_to(tmp_path / "lists.parquet", user_names=["x", "y", "z"], **options)
    check(read(tmp_path / "lists.parquet"), rows_of(["x", "y", "z"], model.recommend([0, 1, 2], **options)))
    model.recommend_to(tmp_path / "lists.parquet", [2, 0], user_names=np.array([12, 10]), **options)
    check(read(tmp_path / "lists.parquet"), rows_of([12, 10], model.recommend([2, 0], **options)))


class Stop(Exception):
    """Ends a call between two blocks."""


def stopped_after(n_blocks, monkeypatch):
    """Let the request fail after some blocks."""
    answer, done = recommendation_files.Request.answer, []

    def answered(self, question):
        if len(done) == n_blocks:
            raise Stop
        done.append(question)
        return answer(self, question)

    monkeypatch.setattr(recommendation_files.Request, "answer", answered)


def test_an_interrupted_file_leaves_the_old_one(model, tmp_path, monkeypatch):
    path = tmp_path / "lists.parquet"
    model.recommend_to(path, n=3)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        for target in (path, tmp_path / "new.parquet"):
            with pytest.raises(Stop):
                model.recommend_to(target, users_per_block=5)
            stopped_after(2, patch)
    assert os.listdir(tmp_path) == ["lists.parquet"]
    assert path.read_bytes() == before


def test_an_interrupted_folder_goes_on(model, seen, tmp_path, monkeypatch):
    options = {"interactions": seen, "users_per_block": 5, "n": 3}
    with monkeypatch.context() as patch:
        stopped_after(3, patch)
        with pytest.raises(Stop):
            model.recommend_to(tmp_path / "parts", **options)
    assert sorted(os.listdir(tmp_path / "parts")) == [f"part-0000{number}.parquet" for number in range(3)]
    assert model.recommend_to(tmp_path / "parts", **options).kept == 15
    assert "_SUCCESS" in os.listdir(tmp_path / "parts")
    check(read(tmp_path / "parts"), rows_of(range(N_USERS), model.recommend(range(N_USERS), 3, seen)))
    assert model.recommend_to(tmp_path / "parts", **options).kept == N_USERS


def test_parts_of_another_question_are_replaced(model, seen, tmp_path):
    folder = tmp_path / "parts"
    options = {"interactions": seen, "users_per_block": 8, "n": 3}
    model.recommend_to(folder, **options)
    dataset = Dataset()
    dataset.fit(range(N_USERS), range(100, 100 + N_ITEMS))
    for change in ({"n": 4}, {"exclude": [3]}, {"filter_seen": False}, {"dataset": dataset}, {"user": "u"}):
        model.recommend_to(folder, **options)
        assert model.recommend_to(folder, **{**options, **change}).kept == 0, change
    model.recommend_to(folder, **options)
    model.user_embeddings[21] += 1  # the last block's
    more = seen.copy()
    more.data[:1] = 0  # and the first block's interactions
    assert model.recommend_to(folder, **{**options, "interactions": more}).kept == 8
    expected = rows_of(range(N_USERS), model.recommend(range(N_USERS), 3, more))
    check(read(folder), expected)
    model.item_biases[0] += 1
    assert model.recommend_to(folder, users=range(3), **options).kept == 0
    assert sorted(os.listdir(folder)) == ["_SUCCESS", "part-00000.parquet"]


def test_a_folder_of_other_files_is_refused(model, tmp_path):
    parquet.write_table(
        parquet.read_table(written_by(model, tmp_path)).select(["score"]), tmp_path / "part-00000.parquet"
    )
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ValueError, match=r"holds lists\.parquet, which is no part of lists"):
        model.recommend_to(tmp_path)
    (tmp_path / "lists.parquet").unlink()
    with pytest.raises(ValueError, match=r"holds part-00000\.parquet, which is no part of lists"):
        model.recommend_to(tmp_path)
    assert [name for name in before if name != "lists.parquet"] == os.listdir(tmp_path)


def test_a_file_that_comes_while_parts_are_written_stays(model, tmp_path, monkeypatch):
    folder = tmp_path / "lists"
    model.recommend_to(folder, n=2, users_per_block=10)

    class Disturbed(recommendation_files.Request):
        def answer(self, question):
            (folder / "notes.txt").write_text("mine")
            return super().answer(question)

    monkeypatch.setattr("lightfm_fast.lightfm.Request", Disturbed)
    model.recommend_to(folder, np.arange(5), n=3)
    assert sorted(os.listdir(folder)) == ["_SUCCESS", "notes.txt", "part-00000.parquet"]


def written_by(model, folder):
    model.recommend_to(folder / "lists.parquet")
    return folder / "lists.parquet"


@pytest.mark.skipif(os.name != "posix", reason="limits of files are set otherwise")
@pytest.mark.parametrize("name", ["lists.parquet", "parts"])
def test_a_full_disk_leaves_no_half_file(model, tmp_path, name):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            model.recommend_to(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) in ([], ["parts"])
    assert not os.listdir(tmp_path / "parts") if name == "parts" else True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": [N_USERS]}, "users goes up to 23: 24 users are asked for"),
        ({"users": [-1]}, "users"),
        ({"n": 0}, "n is 0"),
        ({"interactions": np.ones((4, N_ITEMS))}, "interactions has only 4 users"),
        ({"interactions": np.full((N_USERS, N_ITEMS), np.nan)}, "NaN"),
        ({"items": [N_ITEMS]}, "items goes up to 40"),
        ({"num_threads": 0}, "num_threads"),
        ({"users_per_block": 0}, "users_per_block"),
        ({"user": "item_id"}, "four different"),
        ({"item": 3}, "four different"),
        ({"user_names": ["ann"]}, "user_names has 1 names for 23 users"),
        ({"user_names": [3, *["ann"] * (N_USERS - 1)]}, "of type int and str"),
        ({"user_names": [(1, 2)] * N_USERS}, "of type tuple"),
        ({"user_names": [1 << 70] * N_USERS}, "cannot be written"),
        ({"user_names": ["\ud800"] * N_USERS}, "cannot be written"),
        ({"path": "lists.csv"}, r"lists\.csv: expected a name that ends in \.parquet"),
    ],
)
def test_refused_before_a_file_is_made(model, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        model.recommend_to(**{"path": "lists.parquet", **arguments})
    if {"path", "user", "item", "user_names"}.isdisjoint(arguments):
        with pytest.raises(ValueError, match=message):
            model.recommend_in_blocks(**arguments)  # without asking for the first block
    assert not os.listdir()


def test_a_folder_that_is_missing(model, tmp_path):
    for name in ("lists.parquet", "parts"):
        with pytest.raises(OSError, match="nowhere"):
            model.recommend_to(tmp_path / "nowhere" / name)


def test_an_unfitted_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the model is not fitted, .*: fit the model first"):
        LightFM().recommend_to(tmp_path / "lists.parquet")


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_progress(model, tmp_path, capsys, monkeypatch, with_tqdm):
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    model.recommend_to(tmp_path / "lists.parquet", users_per_block=20, verbose=True)
    shown = capsys.readouterr()
    assert "23/23" in shown.err if with_tqdm else shown.out == "20 of 23 users\n23 of 23 users\n"


def test_progress_goes_to_the_log_of_the_application(model, tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    caplog.set_level("INFO", "lightfm_fast")
    model.recommend_to(tmp_path / "lists.parquet", users_per_block=20, verbose=True)
    assert caplog.messages == ["20 of 23 users", "23 of 23 users"]
    assert capsys.readouterr().out == ""


def test_a_path_of_bytes(model, tmp_path):
    assert model.recommend_to(os.fsencode(tmp_path / "lists.parquet"), [0, 1], 3) == Written(2, 6, 0)
    assert model.recommend_to(os.fsencode(tmp_path / "lists"), [0, 1], 3) == Written(2, 6, 0)
    model.fit_partial(np.eye(3), callbacks=[Checkpoint(os.fsencode(tmp_path / "model-{epoch}"))])
    assert sorted(os.listdir(tmp_path)) == ["lists", "lists.parquet", "model-1"]
