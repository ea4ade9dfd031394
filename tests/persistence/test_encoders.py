"""Loaded encoders encode as before; foreign classes and slow patterns are refused."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from lightfm_fast import LightFM, features
from lightfm_fast.data import Dataset
from lightfm_fast.features import FeatureSpec, Text
from lightfm_fast.features.spec import ENCODERS

from ..models import make_data
from .files import encoders_of_all_kinds, rewrite


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def to_state(self):
        return {"factor": self.factor}

    @classmethod
    def from_state(cls, state):
        return cls(state["factor"])


@pytest.fixture
def own_encoder(monkeypatch):
    """Add an encoder to the library's list."""
    monkeypatch.setattr(Scale, "__module__", features.__name__)
    monkeypatch.setitem(ENCODERS, "Scale", Scale)


def test_every_public_encoder_can_be_saved():
    public = {name for name in features.__all__ if hasattr(getattr(features, name), "to_state")}
    assert public == {*ENCODERS, "FeatureSpec"}


@pytest.mark.usefixtures("own_encoder")
def test_encoders_come_back(path):
    LightFM().fit(make_data()[0]).save(path, encoders={"price": Scale(np.float32(2.5))})
    loaded = LightFM.load(path)
    assert loaded.encoders_["price"].factor == 2.5
    loaded.save(path)
    assert type(LightFM.load(path).encoders_["price"]) is Scale


@pytest.mark.usefixtures("own_encoder")
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
    for name in ("gather_tags", "__builtins__", "os.system", ""):
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


def test_all_encoders_come_back_and_encode_as_before(path):
    encoders = encoders_of_all_kinds()
    LightFM().fit(make_data()[0]).save(path, encoders=encoders)
    loaded = LightFM.load(path).encoders_
    for kind, encoder in encoders.items():
        assert loaded[kind].get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()
