"""Model files that are damaged, or forged by somebody who knows the format and makes the digest fit."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

import lightfm_fast
from lightfm_fast import LightFM
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

from ..inputs import chance, draw
from ..oracle import Oracle, Refused

ENTRY = "lightfm_fast"
NO_DIGEST = "0" * 64
N_ROWS = 12
TABLE = {
    "item_id": [f"item {number}" for number in range(N_ROWS)],
    "genre": ["novel", "essay", "poem"] * 4,
    "tags": [["a", "b"], ["c"], []] * 4,
    "year": np.linspace(1900, 2000, N_ROWS),
    "text": ["the sea", "a mountain and a sea", "the night"] * 4,
    "vector": [[1.0, 2.0]] * N_ROWS,
}
SPEC = {
    "genre": Categorical(),
    "tags": MultiCategorical(),
    "year": PiecewiseLinear(3),
    "text": Text(),
    "vector": Dense(),
}
BESIDE: tuple[dict[str, Any], ...] = (
    {},
    {"loss": "bpr", "linear_components": 2},
    {"loss": "bpr", "linear_components": 2, "cold_start": "content", "feature_scaling": "balanced"},
    {"loss": "bpr", "linear_components": 2, "average": True},
)
ENCODERS = {
    "bins": QuantileBins(3).fit([1.0, 2.0, 5.0]),
    "scaled": Standardized().fit([1.0, 2.0]),
    "week": Periodic(7, 4).fit([1.0]),
    "hashed": Text("hashing").fit(["a word"]),
    "spec": FeatureSpec(SPEC, identity="keep", id_column="item_id").fit(TABLE),
}
BOMB = r"(a+)+$"
VALUES: tuple[Any, ...] = (
    -1, 0, 1, 7, 2**31, 2**32, 2**63, 10**300, 10**400, -(2**70), 1e308, -1e308, 0.5, 1e-320,
    float("nan"), float("inf"), True, False, None, "", "x" * 3000, "LightFM", "../../x", "\x00", "\ud800", BOMB,
    [], {}, [[]], [None], [1] * 5000, {"": 0}, ["a", "b"],
)  # fmt: skip
NUMBERS_IN_TENSORS = (-1, 10**9, 2**31 - 1, 2**63 - 1, -(2**63))


def run(rng: np.random.RandomState, oracle: Oracle) -> None:
    content = model_file(int(rng.randint(7)))
    damage = draw(rng, (flip, cut, forge_document, forge_document, forge_document, forge_header, forge_tensor))
    content = damage(rng, oracle, content)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        with open(path, "wb") as file:
            file.write(content)
        mmap = chance(rng, 0.5)
        model = oracle.call(LightFM.load if chance(rng, 0.7) else lightfm_fast.load, path, mmap=mmap)
        if not isinstance(model, Refused):
            oracle.say("loaded")
            use(rng, oracle, model)


@functools.cache
def model_file(variant: int) -> bytes:
    """Return a file: with or without features, by either schedule; the last three have what helps newcomers beside."""
    ids = TABLE["item_id"]
    dataset = Dataset.from_tables(
        {"user_id": [number % 5 for number in range(N_ROWS)], "item_id": ids},
        items=TABLE,
        item_features=FeatureSpec(SPEC) if variant % 2 else None,
    )
    settings = BESIDE[max(0, variant - 3)]
    model = LightFM(
        no_components=3, learning_schedule=("adagrad", "adadelta")[variant // 2 % 2], random_state=variant, **settings
    )
    model.fit(dataset.interactions, item_features=dataset.item_features, epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        model.save(path, dataset=dataset, encoders=ENCODERS)
        with open(path, "rb") as file:
            return file.read()


def use(rng: np.random.RandomState, oracle: Oracle, model: Any) -> None:
    """Use a loaded model, its dataset and its encoders."""
    dataset = model.dataset_
    oracle.check_finite(model)
    features = None if dataset is None else dataset.item_features
    oracle.call(model.predict, [0, 1], [0, 1], item_features=features, num_threads=2)
    oracle.call(model.recommend, [0], 3, item_features=features)
    oracle.call(model.fold_in_users, np.eye(2, N_ROWS), item_features=features)
    oracle.call(model.explain, 0, 1, item_features=features)
    if dataset is not None:
        users = list(dataset.mapping()[0])[:2]
        named = oracle.call(model.recommend, users, 3, item_features=features, dataset=dataset)
        if not isinstance(named, Refused) and any(item is None for item in np.ravel(named.ids)[:1]):
            oracle.fail("wrong", "the best item has no id")
        known = oracle.call(dataset.build_interactions, [(users[0], item) for item in list(dataset.mapping()[2])[:2]])
        if not isinstance(known, Refused):
            oracle.call(model.fit_partial, known[0], item_features=features)
        oracle.call(dataset.build_item_features_from_table, TABLE)
    for name, values in (("bins", [3.0]), ("scaled", [1.0]), ("week", [2.0]), ("hashed", ["a" * 30 + "!"])):
        if name in model.encoders_:
            oracle.call(model.encoders_[name].transform, values)
    if "spec" in model.encoders_:
        table = {**TABLE, "text": ["a" * 40 + "!"] * N_ROWS}
        oracle.call(model.encoders_["spec"].transform, table)
    with tempfile.TemporaryDirectory() as folder:
        oracle.call(model.save, os.path.join(folder, "again.safetensors"))
    oracle.call(repr, model)
    if not isinstance(oracle.call(model.fit_partial, np.eye(5, N_ROWS), item_features=features), Refused):
        oracle.check_finite(model)


# -------------------------------------------------------------------------------------------------------- damage


def flip(rng: np.random.RandomState, oracle: Oracle, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(int(draw(rng, (1, 1, 5)))):
        place = rng.randint(200) if chance(rng, 0.3) else rng.randint(len(damaged))
        damaged[place] ^= 1 << rng.randint(8)
    return bytes(damaged)


def cut(rng: np.random.RandomState, oracle: Oracle, content: bytes) -> bytes:
    place = int(rng.randint(len(content)))
    return draw(rng, (content[:place], content[:9], b"", content + b"\x00" * 99, content[place:], content * 2))


def forge_document(rng: np.random.RandomState, oracle: Oracle, content: bytes) -> bytes:
    """Replace, remove or add values of the JSON document."""
    header, meta, body = taken_apart(content)
    for _ in range(int(draw(rng, (1, 1, 1, 3)))):
        place, key = draw(rng, list(places(meta)))
        before = place[key]
        act = draw(rng, ("replace", "replace", "replace", "scale", "remove", "repeat"))
        if act == "scale" and isinstance(before, (int, float)):
            place[key] = before * draw(rng, (-1, 1000, 10**9))
        elif act == "remove":
            del place[key]
        elif act == "repeat" and isinstance(before, (list, str)):
            place[key] = before * int(draw(rng, (2, 1000)))
        else:
            place[key] = copy.deepcopy(draw(rng, VALUES))
        oracle.say(f"{act} {key!r}: {str(before)[:80]} -> {str(place[key])[:80] if act != 'remove' else ''}")
    deep = chance(rng, 0.03)
    return put_together(header, meta, body, nested=deep)


def forge_header(rng: np.random.RandomState, oracle: Oracle, content: bytes) -> bytes:
    """Change the header's entry of a tensor: its type, its shape or its place."""
    header, meta, body = taken_apart(content)
    name = draw(rng, sorted(header))
    tensor = header[name]
    act = draw(rng, ("dtype", "shape", "data_offsets", "remove", "exchange", "rename"))
    if act == "remove":
        del header[name]
    elif act == "exchange":
        other = draw(rng, sorted(header))
        header[name], header[other] = header[other], tensor
    elif act == "rename":
        header[draw(rng, ("x", "item_embeddings", "dataset.item_ids.text"))] = header.pop(name)
    elif act == "dtype":
        tensor["dtype"] = draw(rng, ("F32", "F64", "I64", "U32", "U8", "BOOL", "BF16", "F8_E4M3", "X", 3))
    elif act == "shape":
        size = int(np.prod(tensor["shape"]))
        tensor["shape"] = draw(rng, ([size], [1, size], [size, 1], [-1], [2**62, 4], [], [0], [size + 1], "3"))
    else:
        tensor["data_offsets"] = draw(rng, ([0, len(body)], [-8, 0], [0, 2**63], [8, 0], [0], "ab"))
    oracle.say(f"{act} of {name}: {header.get(name)}")
    return put_together(header, meta, body)


def forge_tensor(rng: np.random.RandomState, oracle: Oracle, content: bytes) -> bytes:
    """Change numbers in a tensor, or replace it by a shorter or longer one."""
    header, meta, body = taken_apart(content)
    arrays = {name: read(tensor, body) for name, tensor in header.items()}
    for _ in range(int(draw(rng, (1, 1, 3)))):
        name = draw(rng, sorted(arrays))
        array = arrays[name] = arrays[name].copy()
        act = draw(rng, ("value", "value", "value", "shorter", "longer", "empty", "wide"))
        if act == "value" and array.size:
            values = (np.nan, np.inf, -1.0, 1e38) if array.dtype.kind == "f" else NUMBERS_IN_TENSORS
            value = draw(rng, values)
            array.flat[rng.randint(array.size)] = np.array(value).astype(array.dtype)
            oracle.say(f"{name}: {value}")
            continue
        oracle.say(f"{name} of shape {array.shape} becomes {act}")
        arrays[name] = {
            "shorter": array[:-1],
            "longer": np.concatenate([array, array]),
            "empty": array[:0],
            "wide": array.reshape(1, -1),
        }.get(act, array)
    packed, written, place = {}, [], 0
    for name, array in arrays.items():
        part = array.tobytes()
        packed[name] = {
            "dtype": header[name]["dtype"],
            "shape": array.shape,
            "data_offsets": [place, place + len(part)],
        }
        written.append(part)
        place += len(part)
    return put_together(packed, meta, b"".join(written))


# -------------------------------------------------------------------------------------------------------- format

DTYPES = {"F32": "<f4", "I64": "<i8", "U32": "<u4", "U8": "u1"}


def taken_apart(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return the header of the tensors, the document and the bytes of the tensors."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    meta = json.loads(header.pop("__metadata__")[ENTRY])
    return header, meta, content[8 + length :]


def put_together(header: dict[str, Any], meta: dict[str, Any], body: bytes, nested: bool = False) -> bytes:
    """Make a file with the right digest of its contents."""
    meta["sha256"] = NO_DIGEST
    text = json.dumps(meta)
    if nested:
        text = text[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"
    header_text = json.dumps({"__metadata__": {ENTRY: text}, **header}).encode()
    header_text += b" " * (-len(header_text) % 8)
    content = struct.pack("<Q", len(header_text)) + header_text + body
    digest = hashlib.sha256(content).hexdigest().encode()
    place = content.find(NO_DIGEST.encode(), content.find(b"sha256"))
    return content[:place] + digest + content[place + len(digest) :]


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a JSON document with each of its keys."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from places(node[key])


def read(tensor: dict[str, Any], body: bytes) -> np.ndarray:
    first, last = tensor["data_offsets"]
    return np.frombuffer(body[first:last], DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
