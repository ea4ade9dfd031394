"""Models on disk: everything comes back, nothing is run, and what is damaged is refused."""

from __future__ import annotations

import copy
import functools
import json
import os
import pickle
import re
import stat
import struct
import subprocess
import sys
import tracemalloc
import types
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import lightfm_fast
from lightfm_fast import LightFM, _safetensors, persistence
from lightfm_fast.data import Dataset
from lightfm_fast.features import (
    Categorical,
    Dense,
    FeatureSpec,
    MultiCategorical,
    Periodic,
    PiecewiseLinear,
    QuantileBins,
    Standardized,
    Text,
)

from .models import N_ITEMS, N_USERS, SCHEDULES, STATE, assert_same_state, make_data

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ------------------------------------------------------------------------------------------------------- a model


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
def test_without_the_optimisers_state_it_starts_anew(path, mmap, schedule):
    interactions, _ = make_data()
    model = LightFM(learning_schedule=schedule, no_components=16, random_state=1).fit(interactions, epochs=2)
    model.save(path)
    size = path.stat().st_size
    model.save(path, optimizer_state=False)
    assert path.stat().st_size < 0.7 * size
    loaded = lightfm_fast.load(path, mmap=mmap)
    start = LightFM(learning_schedule=schedule, no_components=16).fit(interactions, epochs=0)
    for name in STATE:
        same = model if name.endswith(("embeddings", "biases")) else start
        assert_array_equal(getattr(loaded, name), getattr(same, name), err_msg=name)
    loaded.fit_partial(interactions)
    assert not np.array_equal(loaded.item_embeddings, model.item_embeddings)


@pytest.mark.parametrize("random_state", [None, 3, np.int64(3), [1, 2], np.array([1, 2]), np.random.RandomState(3)])
def test_random_states_come_back(path, random_state):
    interactions, _ = make_data()
    model = LightFM(loss="warp", random_state=random_state).fit(interactions)
    model.save(path)
    loaded = LightFM.load(path)
    if isinstance(random_state, np.random.RandomState):
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


# -------------------------------------------------------------------------------------------------- memory-mapped


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


# ----------------------------------------------------------------------------------------- what a load looks at


@pytest.mark.parametrize("mmap", [False, True])
def test_a_load_of_the_structure_reads_no_parameter(path, mmap):
    interactions, _ = make_data()
    model = LightFM(random_state=1).fit(interactions)
    model.save(path)
    loaded = LightFM.load(path, mmap, verify="structure")
    assert_same_state(loaded, model)
    assert_same_state(loaded.fit_partial(interactions), model.fit_partial(interactions))
    rewrite(path, change_tensors=nan_in("item_embeddings"))
    with path.open("r+b") as file:  # what the digest alone would show
        file.seek(-1, os.SEEK_END)
        file.write(b"\x00")
    with pytest.raises(ValueError, match="SHA-256"):
        LightFM.load(path, mmap)
    if not mmap:  # a copy is looked at in any case
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


# ------------------------------------------------------------------------------------------------------ datasets


IDS = {
    "strings": ["ann", "", "čeněk", "日本", "a\nb", "\ud800"],
    "integers": [5, 0, -(2**63), 2**63 - 1],
    "large integers": [2**63, 1],
    "UUIDs": [uuid4() for _ in range(5)],
    "a mixture": ["1", 1, 2.5, UUID(int=1), ("a", 1, ("b", b"\x00")), b"\xff", None, float("inf"), (), -(2**70)],
    "booleans": [True, False],
}


def model_of(dataset):
    """Fit a model to a dataset in which everybody has everything."""
    interactions = sp.coo_matrix(np.ones(dataset.interactions_shape(), np.float32))
    return LightFM(no_components=3, random_state=1).fit(interactions)


@pytest.mark.parametrize("kind", IDS)
def test_ids_come_back_with_their_types(path, kind):
    dataset = Dataset(item_identity_features=False)
    dataset.fit(IDS[kind], IDS[kind], item_features=["x", *IDS[kind]])
    model_of(dataset).save(path, dataset=dataset)
    for mmap in (False, True):
        loaded = LightFM.load(path, mmap).dataset_
        assert loaded.mapping() == dataset.mapping()
        for ours, theirs in zip(loaded.mapping(), dataset.mapping(), strict=True):
            assert list(map(type, ours)) == list(map(type, theirs))
        loaded.fit_partial(["new"], ["new"])
        assert "new" in loaded.mapping()[1]
        assert "new" not in loaded.mapping()[3]


ids = st.recursive(
    st.text() | st.integers() | st.floats(allow_nan=False) | st.uuids() | st.binary() | st.none() | st.booleans(),
    lambda parts: st.lists(parts, max_size=3).map(tuple),
    max_leaves=5,
)


@given(st.one_of(st.lists(ids), st.lists(st.text()), st.lists(st.integers()), st.lists(st.uuids())))
def test_any_list_of_ids_comes_back(values):
    kind, arrays = persistence.pack_ids(values)
    found = persistence.unpack_ids(kind, arrays)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_scalars_of_numpy_come_back_as_equals(path):
    dataset = Dataset()
    dataset.fit(
        np.array([3, 1], dtype=np.int32), np.array(["b", "a"]), item_features=[(np.float32(0.5), np.bool_(True))]
    )
    model_of(dataset).save(path, dataset=dataset)
    assert LightFM.load(path).dataset_.mapping() == dataset.mapping()


UNSAVABLE = {
    "an object": object(),
    "a set": frozenset([1]),
    "a complex number": 1j,
    "a tuple that holds one": ("a", object()),
    "a time": datetime(2026, 1, 1),
    "a day": np.datetime64("2026-01-01"),
    "a span": np.timedelta64(1, "D"),
    "a timestamp": pd.Timestamp("2026-01-01"),
    "a period": pd.Period("2026-01"),
    "a decimal": Decimal("1.5"),
    "NaN": float("nan"),
    "a tuple with NaN": ("a", np.float32("nan")),
    "5,000 digits": 10**5000,
    "tuples in tuples": functools.reduce(lambda inner, _: (inner,), range(65), 1),
}


@pytest.mark.parametrize("bad", UNSAVABLE)
def test_an_id_that_cannot_be_saved_is_refused_before_training(path, bad):
    value = UNSAVABLE[bad]
    for place in range(4):
        arguments = [["a"], ["b"], ["c"], ["d"]]
        dataset = Dataset()
        dataset.fit(*arguments)
        arguments[place].append(value)
        for method in (dataset.fit, dataset.fit_partial):
            with pytest.raises(ValueError, match="cannot be saved"):
                method(*arguments)
        assert [list(names) for names in dataset.mapping()] == [["a"], ["a", "c"], ["b"], ["b", "d"]]
    with pytest.raises(ValueError, match="cannot be saved"):
        persistence.pack_ids([value])


@pytest.mark.parametrize(
    "ids", [pd.date_range("2026-01-01", periods=2), [Decimal(1), Decimal("2.5")], pd.period_range("2026-01", periods=2)]
)
def test_columns_of_ids_that_cannot_be_saved_are_refused_before_training(ids):
    for column in ("user_id", "item_id"):
        table = pd.DataFrame({"user_id": ["a", "b"], "item_id": [1, 2]}).assign(**{column: ids})
        with pytest.raises((ValueError, TypeError), match=f"column '{column}' of interactions.*(saved|cannot be ids)"):
            Dataset.from_tables(table)


def test_the_dataset_stays_with_a_loaded_model(path):
    dataset = Dataset()
    dataset.fit(["a"], ["b"])
    model = model_of(dataset)
    assert model.dataset_ is None
    model.save(path, dataset=dataset)
    loaded = LightFM.load(path)
    loaded.fit_partial([[1.0]]).save(path)
    assert LightFM.load(path).dataset_.mapping() == dataset.mapping()


@pytest.mark.parametrize(("n_users", "n_items"), [(2, 1), (2, 4), (2, 6), (1, 5), (3, 5)])
def test_a_dataset_of_other_ids_than_the_models_is_refused(path, n_users, n_items):
    datasets = [Dataset(), Dataset()]
    for dataset, users, items in zip(datasets, (2, n_users), (5, n_items), strict=True):
        dataset.fit(range(users), range(items))
    model = model_of(datasets[0])
    message = f"knows {n_items} items but the model was fitted for 5" if n_users == 2 else "users but .* fitted for 2"
    with pytest.raises(ValueError, match=message):
        model.save(path, dataset=datasets[1])
    assert not path.exists()
    model.save(path, dataset=datasets[0])

    def change(tensors):
        for side, n_ids in (("user", n_users), ("item", n_items)):
            tensors.update({f"dataset.{side}_{part}.values": np.arange(n_ids) for part in ("ids", "features")})

    rewrite(path, change_tensors=change)
    with pytest.raises(ValueError, match=message):
        LightFM.load(path)


def test_a_dataset_of_other_features_than_the_models_is_refused(path):
    _, dataset = with_features(path)
    model = LightFM().fit(dataset.interactions, user_features=np.ones((2, 7)))
    with pytest.raises(ValueError, match="has 4 user features but the model was fitted for 7"):
        model.save(path, dataset=dataset)
    dataset.user_features = None  # the model's features are from elsewhere
    model.save(path, dataset=dataset)
    LightFM.load(path)


def test_what_is_no_dataset_and_no_encoder_is_refused(path):
    model = LightFM().fit(make_data()[0])
    with pytest.raises(TypeError, match="dataset is 5, expected a Dataset"):
        model.save(path, dataset=5)
    for encoders in ([Text()], {1: Text()}, 5):
        with pytest.raises(TypeError, match="expected a mapping from names to encoders"):
            model.save(path, encoders=encoders)
    assert not path.exists()


def test_a_dataset_that_has_grown_is_saved_after_training_on_it(path):
    dataset = Dataset()
    dataset.fit(["a"], ["b"])
    model_of(dataset).save(path, dataset=dataset)
    loaded = LightFM.load(path)
    loaded.dataset_.fit_partial(["c"])
    with pytest.raises(ValueError, match="knows 2 users but the model was fitted for 1: .* after training"):
        loaded.save(path)
    loaded.fit_partial([[1.0], [1.0]]).save(path)
    assert list(LightFM.load(path).dataset_.mapping()[0]) == ["a", "c"]


def with_features(path):
    users = {"user_id": ["a", "b"], "town": ["Rome", "Oslo"]}
    table = {"user_id": ["a", "b", "b"], "item_id": [7, 7, 9]}
    dataset = Dataset.from_tables(table, users, user_features=["town"])
    model = LightFM(random_state=0).fit(dataset.interactions, user_features=dataset.user_features)
    model.save(path, dataset=dataset)
    return model, dataset


@pytest.mark.parametrize("mmap", [False, True])
def test_matrices_of_features_are_saved_with_the_dataset(path, mmap):
    model, dataset = with_features(path)
    loaded = LightFM.load(path, mmap)
    found = loaded.dataset_.user_features
    assert found.dtype == np.float32
    assert found.indices.dtype == np.int32
    assert_array_equal(found.toarray(), dataset.user_features.toarray())
    assert loaded.dataset_.item_features is None
    owner = found.data
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert (owner is not None) == mmap  # the mapped file's memory, or an array's own
    expected = model.recommend([0, 1], 2, user_features=dataset.user_features)
    for ours, theirs in zip(loaded.recommend([0, 1], 2, user_features=found), expected, strict=True):
        assert_array_equal(ours, theirs)
    loaded.save(path)
    assert_array_equal(LightFM.load(path).dataset_.user_features.toarray(), dataset.user_features.toarray())


FORGED_MATRICES = {
    "a column that there is not": ("user_features", lambda parts: parts["indices"].fill(9)),
    "a negative column": ("user_features", lambda parts: parts["indices"].fill(2**32 - 1)),
    "rows that overlap": ("user_features", lambda parts: parts["indptr"].__setitem__(1, 2**31 - 1)),
    "NaN": ("NaN", lambda parts: parts["values"].fill(np.nan)),
    "more users than ids": ("knows", lambda parts: parts.update(indptr=np.append(parts["indptr"], np.uint32(4)))),
    "more features than names": ("knows", lambda parts: parts["shape"].__setitem__(1, 5)),
    "no values": ("values", lambda parts: parts.pop("values")),
}


@pytest.mark.parametrize("case", FORGED_MATRICES)
def test_forged_matrices_are_refused(path, case):
    message, change = FORGED_MATRICES[case]
    with_features(path)
    prefix = "dataset.matrix.user."

    def change_tensors(tensors):
        parts = {key[len(prefix) :]: tensors.pop(key).copy() for key in list(tensors) if key.startswith(prefix)}
        change(parts)
        parts["shape"][0] = len(parts["indptr"]) - 1
        tensors.update({prefix + name: array for name, array in parts.items()})

    rewrite(path, change_tensors=change_tensors)
    with pytest.raises(ValueError, match=message):
        LightFM.load(path)


# ------------------------------------------------------------------------------------------------------ encoders


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def to_state(self):
        return {"factor": self.factor}

    @classmethod
    def from_state(cls, state):
        return cls(state["factor"])


@pytest.fixture
def features_module(monkeypatch):
    """Stand in for lightfm_fast.features with one encoder and a class that it imports for itself."""
    module = types.ModuleType("lightfm_fast.features")
    monkeypatch.setattr(Scale, "__module__", module.__name__)
    module.Scale, module.Popen, module.__all__ = Scale, subprocess.Popen, ["Scale"]
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("features_module")
def test_encoders_come_back(path):
    LightFM().fit(make_data()[0]).save(path, encoders={"price": Scale(np.float32(2.5))})
    loaded = LightFM.load(path)
    assert loaded.encoders_["price"].factor == 2.5
    loaded.save(path)
    assert type(LightFM.load(path).encoders_["price"]) is Scale


@pytest.mark.usefixtures("features_module")
def test_only_encoders_of_the_library_are_saved_and_loaded(path):
    class Scale:
        def to_state(self):
            return {}

    model = LightFM().fit(make_data()[0])
    for foreign in (Scale(), subprocess, 3):
        with pytest.raises(ValueError, match="lightfm_fast.features"):
            model.save(path, encoders={"price": foreign})
    assert not path.exists()
    model.save(path)
    for name in ("Popen", "__builtins__", "os.system", ""):
        rewrite(path, lambda meta, name=name: meta["encoders"].update(price=[name, {}]))
        with pytest.raises(ValueError, match="no encoder"):
            LightFM.load(path)


@pytest.mark.parametrize("where", ["alone", "in a spec", "in the dataset"])
@pytest.mark.parametrize(
    ("pattern", "is_taken"),
    [
        (r"(?u)\b\w\w+\b", True),
        (r"\b[a-z'-]{2,}\b", True),
        (r"\S+", True),
        (r"(\w+\w+)+\W", False),
        (r"\w*\w*\w*x", False),
        (r"[z-a]+", False),
        ("a" * 300, False),
        (7, False),
    ],
)
def test_slow_patterns_of_text_are_taken_only_from_people_who_are_trusted(path, where, pattern, is_taken):
    interactions = {"user_id": ["a", "b"], "item_id": [1, 2]}
    items = {"item_id": [1, 2], "plot": ["spice planet", "apes"]}
    spec = FeatureSpec({"plot": Text()}).fit(items)
    dataset = Dataset.from_tables(interactions, items=items, item_features=spec)
    model = LightFM().fit(dataset.interactions, item_features=dataset.item_features)
    encoders = {"alone": {"item": spec.encoders_["plot"]}, "in a spec": {"item": spec}}
    model.save(path, dataset=dataset, encoders=encoders.get(where))

    def change(meta):
        name, state = meta["dataset"]["encoders"]["item"] if where == "in the dataset" else meta["encoders"]["item"]
        for part in (state,) if name == "Text" else (state["encoders"][0][2], state["fitted"][0][2]):
            part["parameters"]["token_pattern"] = pattern

    rewrite(path, change)
    if is_taken:
        LightFM.load(path)
    else:
        with pytest.raises(ValueError, match="token_pattern"):
            LightFM.load(path)
    if isinstance(pattern, str):
        LightFM.load(path, trusted=True)


# ------------------------------------------------------------------------------------------------- damaged files


def saved(path, **options):
    dataset = Dataset()
    dataset.fit(map("user {}".format, range(N_USERS)), [1, *map("item {}".format, range(1, N_ITEMS))])
    LightFM(no_components=3, random_state=1).fit(make_data()[0], **options).save(path, dataset=dataset)
    return path.read_bytes()


def test_every_bit_of_the_file_counts(path):
    content = bytearray(saved(path))
    places = np.random.RandomState(0).permutation(len(content))[:400].tolist()
    for place in [*range(16), *places, len(content) - 1]:
        damaged = content.copy()
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        for mmap in (False, True):
            with pytest.raises(ValueError, match="model.safetensors"):
                LightFM.load(path, mmap)
    path.write_bytes(content)
    LightFM.load(path)


def test_truncated_and_lengthened_files_are_refused(path):
    content = saved(path)
    for length in [0, 1, 7, 8, 9, 100, *range(200, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="model.safetensors"):
            LightFM.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="model.safetensors"):
        LightFM.load(path)


def test_foreign_files_are_refused(path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(path) + ".ran",)

    for content in (pickle.dumps(Harmful()), b"{}", b"\xff" * 100, struct.pack("<Q", 2) + b"{}", b"PK\x03\x04" * 10):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="model.safetensors"):
            LightFM.load(path)
    assert os.listdir(path.parent) == [path.name]
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(ValueError, match="no model"):
        LightFM.load(path)
    with pytest.raises(FileNotFoundError):
        LightFM.load(path.parent / "nothing")


def rewrite(path, change_meta=lambda meta: None, change_tensors=lambda tensors: None):
    """Write the file as someone might who knows the format, with a right digest."""
    tensors = load_file(path)
    with safe_open(path, "np") as file:
        meta = json.loads(file.metadata()["lightfm_fast"])
    meta["sha256"] = persistence.NO_DIGEST
    change_meta(meta)
    change_tensors(tensors)
    save_file(tensors, path, {"lightfm_fast": json.dumps(meta)})
    _safetensors.sign(path)


FORGED_META = {
    "a newer format": ("upgrade", lambda meta: meta.update(format_version=2)),
    "no document": ("document", lambda meta: meta.pop("document")),
    "another estimator": ("FM", lambda meta: meta["document"].update(estimator="FM")),
    "no estimator": ("estimator", lambda meta: meta["document"].pop("estimator")),
    "an unknown parameter": ("model.safetensors", lambda meta: meta["document"]["parameters"].update(x=1)),
    "a parameter out of range": ("loss", lambda meta: meta["document"]["parameters"].update(loss="x")),
    "another length": ("embeddings", lambda meta: meta["document"]["parameters"].update(no_components=20)),
    "a history of numbers": ("model.safetensors", lambda meta: meta["document"].update(history=[1])),
    "a short generator": ("model.safetensors", lambda meta: meta["document"].update(generator=[1])),
    "a generator out of place": ("random state", lambda meta: meta["document"].update(generator=[10**6, 0, 0.0])),
    "a key of few numbers": ("random state", lambda meta: meta["document"].update(generator=[True, 0, 0.0])),
    "a kept value that is none": ("random state", lambda meta: meta["document"].update(generator=[1, 1, None])),
    "more kept values": ("random state", lambda meta: meta["document"].update(generator=[1, 7, 0.0])),
    "a negative seed": ("seed", lambda meta: meta["document"].update(seed=-1)),
    "a huge seed": ("seed", lambda meta: meta["document"].update(seed=2**32)),
    "half a seed": ("seed", lambda meta: meta["document"].update(seed=0.5)),
    "negative epochs": ("epochs", lambda meta: meta["document"].update(n_epochs=-1)),
    "huge epochs": ("epochs", lambda meta: meta["document"].update(n_epochs=2**64)),
    "epochs as text": ("epochs", lambda meta: meta["document"].update(n_epochs="3")),
    "a history of one number": ("history", lambda meta: meta["document"].update(history=3)),
    "a history without a loss": ("'loss'", lambda meta: meta["document"]["history"][0].pop("loss")),
    "a loss as text": ("'loss'", lambda meta: meta["document"]["history"][0].update(loss="low")),
    "an infinite loss": ("'loss'", lambda meta: meta["document"]["history"][0].update(loss=float("inf"))),
    "seconds that are none": ("'seconds'", lambda meta: meta["document"]["history"][0].update(seconds=None)),
    "needs that are no flag": (
        "need features",
        lambda meta: meta["document"].update(needs_features={"user": 1, "item": 0}),
    ),
    "a flag that is none": ("generator_is", lambda meta: meta["document"].update(generator_is_parameter="no")),
    "a negative format": ("format version", lambda meta: meta.update(format_version=-1)),
    "a format as text": ("format version", lambda meta: meta.update(format_version="1")),
    "a seed as text": ("model.safetensors", lambda meta: meta["document"].update(seed="x")),
    "a list as document": ("model.safetensors", lambda meta: meta.update(document=[1])),
    "a number as dataset": ("model.safetensors", lambda meta: meta.update(dataset=3)),
    "a kind of ids": ("kind", lambda meta: meta["dataset"]["kinds"].update(user_ids="pickle")),
    "a number as encoder": ("model.safetensors", lambda meta: meta.update(encoders={"price": 3})),
}


@pytest.mark.parametrize("case", FORGED_META)
def test_forged_documents_are_refused(path, case):
    message, change = FORGED_META[case]
    saved(path)
    rewrite(path)
    LightFM.load(path)
    rewrite(path, change)
    with pytest.raises(ValueError, match=message):
        LightFM.load(path)


def nan_in(name):
    return lambda tensors: tensors[name].__setitem__(0, np.nan)


FORGED_TENSORS = {
    "a missing array": ("biases", lambda tensors: tensors.pop("item_biases")),
    "fewer rows": ("item", lambda tensors: tensors.update(item_biases=tensors["item_biases"][1:])),
    "no rows": ("item", lambda tensors: tensors.update(item_biases=np.zeros(0, np.float32))),
    "another type": ("item_biases", lambda tensors: tensors.update(item_biases=np.arange(N_ITEMS))),
    "a type that is not written": ("model", lambda tensors: tensors.update(user_biases=np.zeros(N_USERS, np.float64))),
    "NaN": ("NaN", nan_in("user_embeddings")),
    "NaN in an accumulator": ("NaN", nan_in("user_bias_gradients")),
    "accumulators of zero": ("user_bias_gradients", lambda tensors: tensors["user_bias_gradients"].fill(0)),
    "padding": ("padding", lambda tensors: tensors["item_embeddings"].fill(1)),
    "a generator of zeros": ("other than zero", lambda tensors: tensors["random_state"].fill(0)),
    "a short key": ("model", lambda tensors: tensors.update(random_state=np.zeros(3, np.uint32))),
    "lengths of ids that overflow": (
        "lengths",
        lambda tensors: tensors["dataset.user_ids.lengths"].__setitem__(slice(0, 4), 1 << 62),
    ),
    "ids of another type": (
        "float32",
        lambda tensors: tensors.update({"dataset.user_ids.lengths": np.ones(N_USERS, np.float32)}),
    ),
    "lengths of ids": ("lengths", lambda tensors: tensors["dataset.user_ids.lengths"].fill(-1)),
    "ids given twice": ("more than once", lambda tensors: tensors["dataset.user_ids.text"].fill(97)),
    "text that is not UTF-8": ("utf-8", lambda tensors: tensors["dataset.user_ids.text"].fill(255)),
    "ids that are no JSON": ("model", lambda tensors: tensors["dataset.item_ids.text"].fill(97)),
}


@pytest.mark.parametrize("case", FORGED_TENSORS)
@pytest.mark.parametrize("mmap", [False, True])
def test_forged_arrays_are_refused(path, case, mmap):
    message, change = FORGED_TENSORS[case]
    saved(path)
    rewrite(path, change_tensors=change)
    with pytest.raises(ValueError, match=message):
        LightFM.load(path, mmap)


# ------------------------------------------------------------------------------------------------------- writing


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


# -------------------------------------------------------------------------------------------------- golden files


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


# ------------------------------------------------------------------------- files that declare more than they hold


def encoders_of_all_kinds():
    numbers, texts = [1.0, 2.0, 5.0, None], ["spice planet", "apes", "", None]
    return {
        "categorical": Categorical(min_count=2).fit(["a", "a", "b", None]),
        "several": MultiCategorical("|").fit(["a|b", "a", "", None]),
        "standardized": Standardized().fit(numbers),
        "bins": QuantileBins(2).fit(numbers),
        "linear": PiecewiseLinear(2).fit(numbers),
        "periodic": Periodic(24, 4).fit(numbers),
        "words": Text().fit(texts),
        "counts": Text(use_idf=False).fit(texts),
        "hashed": Text("hashing", n_features=8).fit(texts),
        "dense": Dense().fit([[1.0, 2.0], None]),
    }


def set_parameter(**values):
    return lambda state: state["parameters"].update(values)


def set_fitted(**values):
    return lambda state: state["fitted"].update(values)


FORGED_ENCODERS = {
    "a billion points of a circle": ("periodic", set_parameter(n_bins=10**9)),
    "a period of nothing": ("periodic", set_parameter(period=1e-320)),
    "a billion bins": ("bins", set_parameter(n_bins=10**12)),
    "a billion ranges": ("linear", set_parameter(n_bins=10**12)),
    "a billion dimensions": ("dense", set_fitted(n_dimensions_=10**9)),
    "negative dimensions": ("dense", set_fitted(n_dimensions_=-1)),
    "dimensions that are a flag": ("dense", set_fitted(n_dimensions_=True)),
    "a billion hashes": ("hashed", set_parameter(n_features=2**31 - 1)),
    "words of hashes": ("hashed", set_fitted(terms_=["a"])),
    "n-grams of all lengths": ("words", set_parameter(ngram_range=[1, 10**9])),
    "n-grams of no length": ("words", set_parameter(ngram_range=[2, 1])),
    "a function": ("words", set_parameter(tokenizer="os.system")),
    "a function that prepares": ("words", set_parameter(preprocessor="os.system")),
    "an option of other vectorisers": ("hashed", set_parameter(use_idf=True)),
    "an option of none": ("words", set_parameter(vocabulary=["a"])),
    "stop words that are none": ("words", set_parameter(stop_words="french")),
    "words twice": ("words", set_fitted(terms_=["a", "a", "b"])),
    "words that are numbers": ("words", set_fitted(terms_=[1, 2, 3])),
    "one text as words": ("words", set_fitted(terms_="abc")),
    "no words": ("words", set_fitted(terms_=None)),
    "weights of fewer words": ("words", set_fitted(idf_=[1.0])),
    "weights that are none": ("words", set_fitted(idf_=["a", "b", "c"])),
    "NaN as weights": ("words", set_fitted(idf_=[float("nan")] * 3)),
    "no weights": ("words", set_fitted(idf_=None)),
    "weights where none are used": ("counts", set_fitted(idf_=[1.0] * 3)),
    "one text as categories": ("categorical", set_fitted(categories_="ab")),
    "categories twice": ("categorical", set_fitted(categories_=["a", "a"])),
    "lists as categories": ("several", set_fitted(categories_=[["a"]])),
    "rare ones without a column": ("categorical", set_fitted(has_other_=False)),
    "a flag that is none": ("categorical", set_fitted(has_other_=2)),
    "the rare among the frequent": ("categorical", set_fitted(pooled_=["a"])),
    "a deviation of 0": ("standardized", set_fitted(scale_=0.0)),
    "an infinite mean": ("standardized", set_fitted(mean_=float("inf"))),
    "a mean as text": ("standardized", set_fitted(mean_="1")),
    "edges that fall": ("bins", set_fitted(edges_=[2.0, 1.0])),
    "edges that are equal": ("linear", set_fitted(edges_=[1.0, 1.0])),
    "edges beyond single precision": ("linear", set_fitted(edges_=[-1e308, 1e308])),
    "edges as text": ("bins", set_fitted(edges_="12")),
    "half of what is learned": ("standardized", lambda state: state["fitted"].pop("mean_")),
    "more than is learned": ("dense", set_fitted(fit=1)),
    "a list as what is learned": ("dense", lambda state: state.update(fitted=["n_dimensions_"])),
}


@pytest.mark.parametrize("place", ["alone", "in a spec"])
@pytest.mark.parametrize("case", FORGED_ENCODERS)
def test_forged_encoders_are_refused_before_they_take_memory(path, case, place):
    kind, change = FORGED_ENCODERS[case]
    encoders = encoders_of_all_kinds()
    encoder = encoders[kind]
    if place == "in a spec":
        encoder = FeatureSpec({kind: encoders[kind]})
        encoder.encoders_, encoder._identity = {kind: encoders[kind]}, None
    LightFM().fit(make_data()[0]).save(path, encoders={"x": encoder})
    LightFM.load(path)

    def change_state(meta):
        state = meta["encoders"]["x"][1]
        change(state["fitted"][0][2] if place == "in a spec" else state)

    rewrite(path, change_state)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            LightFM.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_all_encoders_come_back_and_encode_as_before(path):
    encoders = encoders_of_all_kinds()
    LightFM().fit(make_data()[0]).save(path, encoders=encoders)
    loaded = LightFM.load(path).encoders_
    for kind, encoder in encoders.items():
        assert loaded[kind].get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()


PERIODIC = {"parameters": {"period": 1, "n_bins": 2}, "fitted": {}}
FORGED_SPECS = {
    "another encoder": (
        "others than",
        lambda state: state["fitted"][0].__setitem__(slice(1, 3), ["Periodic", PERIODIC]),
    ),
    "what another encoder learns": ("learns", lambda state: state["fitted"][0].__setitem__(1, "QuantileBins")),
    "another column": ("others than", lambda state: state["fitted"][0].__setitem__(0, "z")),
    "a column twice": ("two encoders", lambda state: state["encoders"].append(state["encoders"][0])),
    "identity without ids": ("others than", lambda state: state.update(ids=None)),
    "an encoder that is not fitted": ("not", lambda state: state["fitted"][1][2].update(fitted={})),
    "another class": ("no encoder", lambda state: state["encoders"][0].__setitem__(1, "FeatureSpec")),
    "millions of columns": (
        "columns, expected at most",
        lambda state: [
            state[part].extend(
                [
                    [
                        f"hashed {number}",
                        "Text",
                        {"parameters": {"vectorizer": "hashing", "n_features": 1 << 20}, "fitted": fitted},
                    ]
                    for number in range(5)
                ]
            )
            for part, fitted in (("encoders", {}), ("fitted", {"terms_": None, "idf_": None}))
        ],
    ),
}


@pytest.mark.parametrize("case", FORGED_SPECS)
def test_forged_specs_are_refused(path, case):
    message, change = FORGED_SPECS[case]
    spec = FeatureSpec({"age": Standardized(), "town": Categorical()}, identity="keep")
    spec.fit({"age": [1, 2], "town": ["a", "b"]}, ids=[1, 2])
    LightFM().fit(make_data()[0]).save(path, encoders={"user": spec})
    rewrite(path)
    assert (
        LightFM.load(path).encoders_["user"].get_feature_names_out().tolist() == spec.get_feature_names_out().tolist()
    )
    rewrite(path, lambda meta: change(meta["encoders"]["user"][1]))
    with pytest.raises(ValueError, match=message):
        LightFM.load(path)


FORGED_DATASETS = {
    "a column that is an object": ("column of", lambda state: state["columns"].update(user={"a": 1})),
    "a flag that is none": ("identity", lambda state: state.update(user_identity_features=1)),
    "to normalize or not": ("normalize", lambda state: state["normalize"].update(user="yes")),
    "identity that is not among the features": ("unknown", lambda state: state.update(item_identity_features=True)),
    "features that the dataset has not": (
        "unknown",
        lambda state: state["encoders"]["user"][1].update(names=["town:Rome", "town:Bern"]),
    ),
    "features twice": (
        "more than once",
        lambda state: state["encoders"]["user"][1].update(names=["town:Rome", "town:Rome"]),
    ),
    "features of one text": ("lists", lambda state: state["encoders"]["user"][1].update(names="ab")),
    "more columns than features": (
        "makes 60,000 features",
        lambda state: state["encoders"].update(
            user=["Periodic", {**PERIODIC, "parameters": {"period": 1, "n_bins": 60_000}}]
        ),
    ),
}


@pytest.mark.parametrize("case", FORGED_DATASETS)
def test_forged_datasets_are_refused(path, case):
    message, change = FORGED_DATASETS[case]
    users = {"user_id": ["a", "b"], "town": ["Rome", "Oslo"]}
    table = {"user_id": ["a", "b", "b"], "item_id": [7, 7, 9]}
    items = {"item_id": [7, 9], "year": [1, 2]}
    dataset = Dataset.from_tables(
        table, users, items, user_features=["town"], item_features=["year"], item_identity_features=False
    )
    model = LightFM().fit(dataset.interactions, dataset.user_features, dataset.item_features)
    model.save(path, dataset=dataset)
    rewrite(path)
    LightFM.load(path)
    rewrite(path, lambda meta: change(meta["dataset"]))
    with pytest.raises(ValueError, match=message):
        LightFM.load(path)


HEADERS = {
    "a length of 2**63": struct.pack("<Q", 1 << 63),
    "a length beyond the file": struct.pack("<Q", 100) + b"{}",
    "a list": struct.pack("<Q", 8) + b"[]      ",
    "a deep list": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "a deep object": struct.pack("<Q", 600_000) + b'{"a":' * 120_000,
    "a number of a million digits": struct.pack("<Q", 1_000_010) + b'{"a":' + b"9" * 1_000_004 + b"}",
    "text that is not UTF-8": struct.pack("<Q", 4) + b'"\xff"}',
}


@pytest.mark.parametrize("case", HEADERS)
@pytest.mark.parametrize("verify", persistence.VERIFY)
def test_forged_headers_are_refused(path, case, verify):
    path.write_bytes(HEADERS[case])
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file"):
        LightFM.load(path, mmap=True, verify=verify)


FORGED_PLACES = {
    "a huge shape": lambda tensor: tensor.update(shape=[1 << 62, 1 << 62]),
    "a shape that overflows": lambda tensor: tensor.update(shape=[1 << 32, 1 << 32]),
    "a negative shape": lambda tensor: tensor.update(shape=[-1, -20]),
    "a shape of fractions": lambda tensor: tensor.update(shape=[20.0]),
    "a shape of many lengths": lambda tensor: tensor.update(shape=[1] * 500 + [20]),
    "a place before the file": lambda tensor: tensor.update(data_offsets=[-80, 0]),
    "a place after the file": lambda tensor: tensor.update(data_offsets=[1 << 60, (1 << 60) + 80]),
    "another's place": lambda tensor: tensor.update(data_offsets=[0, 80]),
    "another type": lambda tensor: tensor.update(dtype="I64"),
    "a type that is none": lambda tensor: tensor.update(dtype=["F32"]),
    "no place": lambda tensor: tensor.pop("data_offsets"),
}


@pytest.mark.parametrize("case", FORGED_PLACES)
@pytest.mark.parametrize("verify", persistence.VERIFY)
def test_arrays_that_are_not_where_they_are_said_to_be_are_refused(path, case, verify):
    content = saved(path)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    FORGED_PLACES[case](header["item_biases"])
    header["__metadata__"]["lightfm_fast"] = re.sub(
        r'"sha256": "\w+"', f'"sha256": "{persistence.NO_DIGEST}"', header["__metadata__"]["lightfm_fast"]
    )
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    _safetensors.sign(path)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        LightFM.load(path, mmap=True, verify=verify)
