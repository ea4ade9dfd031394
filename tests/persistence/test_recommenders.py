"""Files of recommenders: forged interactions and titles are refused, and files of earlier versions load."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from lightfm_fast import LightFM, Recommender

from .files import rewrite

GOLDEN = Path(__file__).parents[1] / "golden"
RATINGS = {"user_id": ["a", "a", "b"], "item_id": [1, 2, 3], "stars": [5, 1, 4], "w": [1, 2, 3], "at": [7, 8, 9]}
FILMS = {"item_id": [1, 2, 3], "name": ["One", None, "Three"]}


@pytest.fixture
def path(tmp_path):
    recommender = Recommender.from_tables(
        RATINGS,
        items=FILMS,
        title="name",
        value="stars",
        positive_from=4,
        weight="w",
        time="at",
        model=LightFM(2, random_state=0),
        epochs=1,
    )
    recommender.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def put(name, array):
    return {"change_tensors": lambda tensors: tensors.__setitem__(name, array)}


FORGED = {
    "an item beyond the last": (
        put("dataset.interactions.items", np.array([0, 1, 3], np.uint32)),
        "interactions of its dataset are malformed",
    ),
    "more interactions than items": (put("dataset.interactions.counts", np.array([2, 2], np.uint32)), "malformed"),
    "counts that overflow": (put("dataset.interactions.counts", np.array([2**32 - 1, 4], np.uint32)), "malformed"),
    "counts of too few users": (put("dataset.interactions.counts", np.array([3], np.uint32)), "malformed"),
    "signed items": (put("dataset.interactions.items", np.array([0, 1, 2], np.int64)), "malformed"),
    "values that are not finite": (put("dataset.interactions.values", np.full(3, np.nan, np.float32)), "malformed"),
    "weights of another length": (put("dataset.interactions.weights", np.ones(2, np.float32)), "malformed"),
    "interactions without items": (
        {"change_tensors": lambda tensors: tensors.pop("dataset.interactions.items")},
        "malformed",
    ),
    "times of another length": (put("dataset.interactions.times.int64", np.ones(2, np.int64)), "timestamps has shape"),
    "times of bytes": (put("dataset.interactions.times.int64", np.ones(3, np.uint8)), "times .* are uint8"),
    "times of objects": (put("dataset.interactions.times.object", np.ones(3, np.int64)), "times .* for 'object'"),
    "missing times": (
        put("dataset.interactions.times.datetime64[s]", np.full(3, np.iinfo(np.int64).min)),
        "timestamps has 3 missing",
    ),
    "too few titles": (
        put("titles.lengths", np.array([5, 4], np.int64)),
        "holds no recommender",
    ),
    "a library that is no name": (
        {"change_meta": lambda meta: meta["document"]["recommender"].update(library=["os"])},
        "library is \\['os'\\], expected one of",
    ),
    "a module that is no library of frames": (
        {"change_meta": lambda meta: meta["document"]["recommender"].update(library="os")},
        "library is 'os', expected one of",
    ),
    "a recommender that is no object": (
        {"change_meta": lambda meta: meta["document"].update(recommender=3)},
        "holds no recommender",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_recommenders_are_refused(path, case):
    change, message = FORGED[case]
    rewrite(path)
    Recommender.load(path)
    rewrite(path, **change)
    with pytest.raises(ValueError, match=message):
        Recommender.load(path)


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_a_model_of_the_first_format_answers(schedule):
    path = GOLDEN / f"format-1-{schedule}.safetensors"
    with pytest.raises(ValueError, match="fitted with user_features of 2 columns and needs them"):
        Recommender.load(path)  # its dataset was saved without the features
    model = LightFM.load(path)
    dataset = model.dataset_
    n_users, n_items = dataset.interactions_shape()
    dataset.user_features = sp.csr_matrix(np.ones((n_users, 2), np.float32))
    dataset.item_features = sp.csr_matrix(np.eye(n_items, 8, dtype=np.float32))
    recommender = Recommender(model, dataset)
    users = dataset.mapping()[0]
    answer = recommender.recommend(list(users)[:2], 2, filter_seen=False)
    assert set(answer["user_id"]) == set(list(users)[:2])
    assert recommender.recommend(history=answer["item_id"][:1], n=1)["item_id"]
    with pytest.raises(ValueError, match="does not know what users have seen"):
        recommender.recommend(list(users))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "times",
    [
        np.array([2**62 + 1, 3, 2**62, 1]),
        np.array([7, 3, 9, 1], np.uint64) + np.uint64(2**63),
        np.array([7, 3, 9, 1], np.int16),
        np.array([0.25, -1e300, 2, 3]),
        np.array(["2020-01-01", "1969-12-31", "2021-05-05", "0001-01-01"], "datetime64[D]"),
        np.array(["2020-01-01T00:00:00.000000001", "2020-01-01", "2021-05-05", "1980-01-01"], "datetime64[ns]"),
    ],
    ids=lambda times: times.dtype.name,
)
def test_files_keep_times(tmp_path, times, mmap):
    visits = {"user_id": ["b", "a", "a", "b"], "item_id": [1, 2, 3, 3], "stars": [5, 5, 1, 5], "at": times}
    columns = {"value": "stars", "positive_from": 4, "time": "at"}
    trained = Recommender.from_tables(visits, model=LightFM(2, random_state=0), epochs=1, **columns)
    trained.save(tmp_path / "model.safetensors")
    loaded = Recommender.load(tmp_path / "model.safetensors", mmap=mmap)
    for recommender in (trained, loaded):
        matrix, found = recommender.dataset.interactions, recommender.dataset.timestamps
        users, items = ([*numbers] for numbers in recommender.dataset.mapping()[::2])
        known = {(users[u], items[i]): time for u, i, time in zip(matrix.row, matrix.col, found, strict=True)}
        assert known == dict(zip(zip(visits["user_id"], visits["item_id"], strict=True), times, strict=True))
        # An earlier dislike that comes late does not replace a like.
        late = {"user_id": ["b"], "item_id": [1], "stars": [1], "at": times[:1] - 1}
        recommender.update(late, epochs=0, duplicates="last")
        assert recommender.dataset.interactions.data.sum() == 2


def test_a_loaded_recommender_is_tuned_by_time(tmp_path):
    pytest.importorskip("optuna")
    rng = np.random.default_rng(0)
    visits = {"user_id": rng.integers(20, size=400), "item_id": rng.integers(30, size=400), "at": np.arange(400)}
    recommender = Recommender.from_tables(visits, time="at", model=LightFM(2, random_state=0), epochs=1)
    recommender.save(tmp_path / "model.safetensors")
    options = {"task": "next in time", "budget": "1trials", "space": {"no_components": 2}, "max_epochs": 1}
    Recommender.load(tmp_path / "model.safetensors").tune(random_state=0, **options)
