"""A model is loaded with its dataset and feature matrices; a dataset of another model is refused."""

from __future__ import annotations

import functools
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from lightfm_fast import LightFM, persistence
from lightfm_fast.data import Dataset
from lightfm_fast.features import (
    Text,
)

from ..models import make_data
from .files import rewrite

IDS = {
    "strings": ["ann", "", "čeněk", "日本", "a\nb", "\ud800"],
    "integers": [5, 0, -(2**63), 2**63 - 1],
    "large integers": [2**63, 1],
    "UUIDs": [uuid4() for _ in range(5)],
    "a mixture": ["1", 1, 2.5, UUID(int=1), ("a", 1, ("b", b"\x00")), b"\xff", None, float("inf"), (), -(2**70)],
    "booleans": [True, False],
}


def model_of(dataset):
    """Fit a model to a dataset in which every user has every item."""
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
