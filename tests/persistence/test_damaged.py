"""Damaged and foreign files are refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from lightfm_fast import LightFM, _safetensors, persistence

from ..models import N_ITEMS, N_USERS
from .files import nan_in, rewrite, saved


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
    "a penalty as text": ("item_alpha_", lambda meta: meta["document"].update(item_alpha_="auto")),
    "a penalty below 0": ("user_alpha_", lambda meta: meta["document"].update(user_alpha_=-0.1)),
    "a history of one number": ("history", lambda meta: meta["document"].update(history=3)),
    "a history without a loss": ("'loss'", lambda meta: meta["document"]["history"][0].pop("loss")),
    "a loss as text": ("'loss'", lambda meta: meta["document"]["history"][0].update(loss="low")),
    "an infinite loss": ("'loss'", lambda meta: meta["document"]["history"][0].update(loss=float("inf"))),
    "seconds that are none": ("'seconds'", lambda meta: meta["document"]["history"][0].update(seconds=None)),
    "needs that are no flag": (
        "need features",
        lambda meta: meta["document"].update(needs_features={"user": 2, "item": 0}),
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
