"""A loaded model equals the saved one, also memory-mapped; and files are replaced atomically."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from safetensors import safe_open
from safetensors.numpy import load_file

import lightfm_fast
from lightfm_fast import LightFM, persistence

from ..models import N_ITEMS, N_USERS, SCHEDULES, STATE, assert_same_state, make_data
from .files import nan_in, rewrite, saved

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("no_components", [1, 10, 16, 33])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("with_features", [False, True])
def test_a_loaded_model_is_the_saved_one(path, mmap, no_components, schedule, with_features):
    interactions, features = make_data()
    features = features if with_features else {}
    parameters = {"no_components": no_components, "learning_schedule": schedule, "loss": "warp", "item_alpha": 1e-5}
    model = LightFM(**parameters, random_state=4).fit(interactions, epochs=2, **features)
    model.save(path)
    loaded = LightFM.load(path, mmap=mmap)
    assert type(loaded) is LightFM
    assert loaded.get_params() == model.get_params()
    assert loaded.history_ == model.history_
    assert_same_state(loaded, model)
    pairs = [grid.ravel() for grid in np.indices((N_USERS, N_ITEMS))]
    assert_array_equal(loaded.predict(*pairs, **features), model.predict(*pairs, **features))
    assert_array_equal(
        loaded.predict_rank(interactions, **features).data, model.predict_rank(interactions, **features).data
    )
    for ours, theirs in zip(loaded.get_item_representations(), model.get_item_representations(), strict=True):
        assert_array_equal(ours, theirs)
    if with_features:
        with pytest.raises(ValueError, match="user_features"):
            loaded.predict(0, [0])
    assert_same_state(loaded.fit_partial(interactions, **features), model.fit_partial(interactions, **features))
    assert_same_state(loaded.fit(interactions, **features), model.fit(interactions, **features))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_the_optimizers_state_training_starts_from_fresh_accumulators(path, mmap, schedule):
    interactions, _ = make_data()
    model = LightFM(learning_schedule=schedule, no_components=32, random_state=1).fit(interactions, epochs=2)
    model.save(path)
    size = path.stat().st_size
    model.save(path, optimizer_state=False)
    assert path.stat().st_size < 0.7 * size
    loaded = lightfm_fast.load(path, mmap=mmap)
    start = LightFM(learning_schedule=schedule, no_components=32).fit(interactions, epochs=0)
    for name in STATE:
        same = model if name.endswith(("embeddings", "biases")) else start
        assert_array_equal(getattr(loaded, name), getattr(same, name), err_msg=name)
    loaded.fit_partial(interactions)
    assert not np.array_equal(loaded.item_embeddings, model.item_embeddings)


@pytest.mark.parametrize(
    "random_state", [None, 3, np.int64(3), [1, 2], np.array([1, 2]), np.random.RandomState(3), np.random.default_rng(3)]
)
def test_random_states_come_back(path, random_state):
    interactions, _ = make_data()
    model = LightFM(loss="warp", random_state=random_state).fit(interactions)
    model.save(path)
    loaded = LightFM.load(path)
    if isinstance(random_state, np.random.RandomState | np.random.Generator):
        assert loaded.initial_random_state is loaded.random_state
    else:
        assert_array_equal(loaded.initial_random_state, random_state)
    assert_same_state(loaded.fit_partial(interactions), model.fit_partial(interactions))
    assert_array_equal(loaded.random_state.random_sample(5), model.random_state.random_sample(5))


def test_a_generator_of_another_kind_is_refused(path):
    random_state = np.random.RandomState(np.random.PCG64(1))
    model = LightFM(random_state=random_state).fit(make_data()[0])
    with pytest.raises(ValueError, match="PCG64"):
        model.save(path)
    assert not path.exists()


def test_a_subclass_loads_as_itself(path):
    class Own(LightFM):
        pass

    LightFM().fit(make_data()[0]).save(path)
    assert type(Own.load(path)) is Own


@pytest.mark.parametrize("name", ["mmap", "trusted"])
def test_text_is_no_flag_of_reading(path, name):
    """What is not False is not taken for true: trusted="no" would turn off the check of patterns."""
    LightFM().fit(np.eye(3)).save(path)
    for load in (LightFM.load, lightfm_fast.load):
        with pytest.raises(ValueError, match=f"^{name} is 'no', expected True or False"):
            load(path, **{name: "no"})


def test_text_is_no_flag_of_writing(path):
    model = LightFM().fit(np.eye(3))
    with pytest.raises(ValueError, match="^optimizer_state is 'no', expected True or False"):
        model.save(path, optimizer_state="no")
    assert not path.exists()


def test_a_model_that_is_not_fitted_is_not_saved(path):
    with pytest.raises(ValueError, match="fit the model"):
        LightFM().save(path)
    assert not path.exists()


def test_any_reader_of_safetensors_shows_the_arrays(path):
    model = LightFM(no_components=5, random_state=1).fit(make_data()[0])
    model.save(path)
    tensors = load_file(path)
    assert_array_equal(tensors["item_embeddings"][:, :5], model.item_embeddings)
    assert not tensors["item_embeddings"][:, 5:].any()
    assert_array_equal(tensors["user_biases"], model.user_biases)
    with safe_open(path, "np") as file:
        meta = json.loads(file.metadata()["lightfm_fast"])
    assert meta["format_version"] == persistence.FORMAT_VERSION
    assert meta["versions"]["lightfm_fast"] == lightfm_fast.__version__


def test_a_mapped_model_is_read_only_until_it_is_trained(path):
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.save(path)
    content = path.read_bytes()
    loaded = LightFM.load(path, mmap=True)
    for name in STATE:
        with pytest.raises(ValueError, match="read-only"):
            getattr(loaded, name)[0] = 1
    for copied in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert_same_state(copied, model)
        copied.item_embeddings[0] = 1
    assert_same_state(loaded, model)
    loaded.fit_partial(interactions)
    loaded.item_embeddings[0] = 1
    assert_array_equal(loaded.item_embeddings[0], np.ones(10))
    assigned = LightFM.load(path, mmap=True)
    assigned.item_biases = np.ones(N_ITEMS)
    assert_array_equal(assigned.item_biases, np.ones(N_ITEMS))
    assert_array_equal(assigned.item_embeddings, model.item_embeddings)
    assert path.read_bytes() == content


def test_a_mapped_model_outlives_its_file(path):
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.save(path)
    loaded = LightFM.load(path, mmap=True)
    LightFM(random_state=2).fit(interactions).save(path)
    assert_same_state(loaded, model)
    path.unlink()
    assert_same_state(loaded, model)


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="only Linux tells which pages are shared")
def test_predicting_with_a_mapped_model_copies_none_of_its_pages(path):
    interactions, features = make_data()
    wide = {name: sp.hstack([matrix, sp.csr_matrix((matrix.shape[0], 5000))]) for name, matrix in features.items()}
    LightFM(random_state=1).fit(interactions, **wide).save(path)
    model = LightFM.load(path, mmap=True)
    model.predict(0, np.arange(N_ITEMS), **wide)
    model.predict_rank(interactions, **wide)

    def copied_pages():
        mappings = Path("/proc/self/smaps").read_text().split(str(path))
        assert len(mappings) > 1
        sizes = [line.split()[1] for line in mappings[1].splitlines()[:25] if line.startswith("Anonymous:")]
        return int(sizes[0])

    assert copied_pages() == 0


@pytest.mark.parametrize("mmap", [False, True])
def test_a_load_of_the_structure_reads_no_parameter(path, mmap):
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.save(path)
    loaded = LightFM.load(path, mmap, verify="structure")
    assert_same_state(loaded, model)
    assert_same_state(loaded.fit_partial(interactions), model.fit_partial(interactions))
    rewrite(path, change_tensors=nan_in("item_embeddings"))
    with path.open("r+b") as file:  # only the digest would show this change
        file.seek(-1, os.SEEK_END)
        file.write(b"\x00")
    with pytest.raises(ValueError, match="SHA-256"):
        LightFM.load(path, mmap)
    if not mmap:  # without mmap, values are always checked
        with pytest.raises(ValueError, match="NaN"):
            LightFM.load(path, mmap, verify="structure")
        return
    damaged = LightFM.load(path, mmap, verify="structure")
    assert np.isnan(damaged.predict(0, [0])).all()
    with pytest.raises(ValueError, match="item parameters hold NaN"):
        damaged.fit_partial(interactions)
    with pytest.raises(ValueError, match="item parameters hold NaN"):
        copy.deepcopy(damaged)


def test_a_load_of_the_structure_still_checks_it(path):
    content = saved(path)
    with pytest.raises(ValueError, match="verify is 'some', expected one of 'all', 'structure'"):
        LightFM.load(path, verify="some")
    for damaged in (content[:-1], content + b"\0", content[:200], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            LightFM.load(path, mmap=True, verify="structure")


def test_a_file_that_is_replaced_while_it_is_read_loads(path, monkeypatch):
    interactions, _ = make_data()
    old, new = (LightFM(random_state=seed).fit(interactions) for seed in (1, 2))
    old.save(path)
    opened = persistence.open_regular

    def open_and_replace(name):
        file = opened(name)
        new.save(path)
        return file

    monkeypatch.setattr(persistence, "open_regular", open_and_replace)
    assert_same_state(LightFM.load(path, mmap=True), old)
    monkeypatch.undo()
    assert_same_state(LightFM.load(path), new)


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
def test_what_is_no_file_is_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(ValueError, match="is a pipe, expected a file"):
        LightFM.load(path)
    with pytest.raises(IsADirectoryError):
        LightFM.load(path.parent)


def test_a_file_is_replaced_whole_or_not_at_all(path, monkeypatch):
    content = saved(path)
    model = LightFM(random_state=2).fit(make_data()[0])
    for step in ("fsync", "replace"):

        def fail(*_, step=step):
            raise OSError(f"no {step}")

        monkeypatch.setattr(os, step, fail)
        with pytest.raises(OSError, match=f"no {step}"):
            model.save(path)
        monkeypatch.undo()
        assert path.read_bytes() == content
        assert os.listdir(path.parent) == [path.name]
    model.save(path)
    assert path.read_bytes() != content
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_others_may_read_a_file_as_any_other(path):
    saved(path)
    other = path.with_suffix(".txt")
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("version", range(1, persistence.FORMAT_VERSION + 1))
@pytest.mark.parametrize("mmap", [False, True])
def test_files_of_every_format_version_load(schedule, version, mmap):
    expected = json.loads((GOLDEN / f"format-{version}.json").read_text())[schedule]
    model = lightfm_fast.load(GOLDEN / f"format-{version}-{schedule}.safetensors", mmap=mmap)
    dataset = model.dataset_
    users, items = (list(dataset.mapping()[i]) for i in (0, 2))
    assert users == ["ann", "bob", "čeněk"]
    assert items == [7, 2**40, -3, UUID(int=5), ("by", "woolf", 1.5), b"\x00\xff", None]
    features = {
        "user_features": dataset.build_user_features(
            [("ann", ["young"]), ("bob", ["old"]), ("čeněk", ["young", "old"])]
        ),
        "item_features": dataset.build_item_features([(7, ["novel"]), (None, ["novel"])]),
    }
    pairs = [grid.ravel() for grid in np.indices((3, 7))]
    assert_allclose(model.predict(*pairs, **features), expected["scores"], rtol=1e-5, atol=1e-7)
    assert_allclose(model.item_embedding_gradients, expected["item_embedding_gradients"], rtol=1e-6)
    assert [record["loss"] for record in model.history_] == expected["losses"]
    assert model.get_params()["random_state"] == 1
    interactions, _ = dataset.build_interactions([("ann", 7)])
    assert len(model.fit_partial(interactions, **features).history_) == 4
