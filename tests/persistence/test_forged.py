"""Files with the right digest but wrong contents are refused before they take memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from lightfm_fast import LightFM
from lightfm_fast.data import Dataset
from lightfm_fast.features import (
    Categorical,
    FeatureSpec,
    Standardized,
)

from ..models import make_cold_items, make_data
from .files import encoders_of_all_kinds, rewrite


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
        vars(encoder)["encoders_"], encoder._identity = {kind: encoders[kind]}, None
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
    "a flag that is none": ("identity", lambda state: state.update(user_identity_features=2)),
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


@pytest.mark.parametrize("number", [-1, 1 << 20, 1 << 32, (1 << 40) + 3])
@pytest.mark.parametrize("name", ["indices", "indptr"])
@pytest.mark.parametrize("verify", ["all", "structure"])
def test_content_that_points_outside_of_its_arrays_is_refused(path, name, number, verify):
    """Also by numbers that 32 bits would turn into sound ones: SciPy would read and write outside of its memory."""
    train, _, features = make_cold_items()
    LightFM(loss="bpr", cold_start="content", random_state=1).fit(train, item_features=features).save(path)
    rewrite(path, change_tensors=lambda tensors: tensors[f"content_words_{name}"].__setitem__(5, np.int64(number)))
    with pytest.raises(ValueError, match="index arrays point outside of it"):
        LightFM.load(path, verify=verify)
