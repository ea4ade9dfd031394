"""Models on disk: one safetensors file, written whole or not at all, that runs nothing when it is read.

The tensors are plain arrays that any safetensors reader shows. The file's metadata has one entry, ``lightfm_fast``: a
JSON document with the version of the format, the versions of the libraries, everything about the model that is no
array, and the SHA-256 of the whole file, taken with zeros in the digest's own place.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import mmap as memory_map
import os
import platform
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._tables import CategoricalColumns
from ._validation import check_features
from ._version import __version__
from .data import Dataset

__all__ = ["FORMAT_VERSION", "MALFORMED", "Contents", "read", "write"]

FORMAT_VERSION = 1
ENTRY = "lightfm_fast"
NO_DIGEST = "0" * 64
# What reading a file may come upon where it has a digest but is not what write makes.
MALFORMED = (KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)
VOCABULARIES = ("user_ids", "user_features", "item_ids", "item_features")

Tensors = dict[str, NDArray[Any]]


@dataclass
class Contents:
    """What a file holds: what ``write`` was given, and the ``versions`` that wrote it."""

    document: dict[str, Any]
    tensors: Tensors
    dataset: Dataset | None = None
    encoders: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def write(
    path: str | os.PathLike[str],
    document: Mapping[str, Any],
    tensors: Tensors,
    dataset: Dataset | None = None,
    encoders: Mapping[str, Any] | None = None,
) -> None:
    """Write a file beside ``path``, make sure that it is on disk, and put it in the place of ``path``.

    Parameters
    ----------
    path : path
        In a folder that exists.
    document : mapping
        Of what JSON has.
    tensors : dict of ndarray
    dataset : Dataset, optional
        Its ids and names are strings, integers, UUIDs, floats, booleans, bytes, None or tuples of these. NumPy's
        scalars come back as Python's, which are equal to them. Its matrices of features are saved with it, and what
        encodes its features, as ``encoders`` are.
    encoders : mapping of objects with ``to_state()``, optional
        Of classes in :mod:`lightfm_fast.features`.

    Raises
    ------
    ValueError
        If an id cannot be saved, or an encoder is of no class that can be loaded. No file is touched then.
    OSError
        If writing fails. What was at ``path`` before is there still.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    packed = dict(tensors)
    meta: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "sha256": NO_DIGEST,
        "versions": {ENTRY: __version__, "numpy": np.__version__, "python": platform.python_version()},
        "document": dict(document),
        "dataset": None if dataset is None else _pack_dataset(dataset, packed),
        "encoders": {name: _pack_encoder(name, encoder) for name, encoder in (encoders or {}).items()},
    }
    if dataset is not None:
        _pack_matrices(dataset, packed)
    text = json.dumps(meta, default=_plain)
    try:
        with replaced(path) as temporary:
            save_file({key: np.ascontiguousarray(array) for key, array in packed.items()}, temporary, {ENTRY: text})
            _sign(temporary)
    except SafetensorError as error:
        raise OSError(f"{os.path.abspath(path)} cannot be written: {error}") from error


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the name of a new file beside ``path`` that takes its place, on disk, once the block has written it.

    After an error what was at ``path`` before is there still, and the new file is not.
    """
    path = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield temporary
        os.chmod(temporary, mode)  # safetensors makes files that only their owner reads
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    if hasattr(os, "O_DIRECTORY"):  # the new name must last too; Windows has no call for it
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sign(path: str) -> None:
    with open(path, "r+b") as file:
        with memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_READ) as content:
            # The first such text is ours: what users named comes later in the document.
            place = content.find(NO_DIGEST.encode(), content.find(b"sha256"))
            digest = _digest(content, place)
        file.seek(place)
        file.write(digest.encode())


def _digest(content: Any, place: int) -> str:
    """Hash a file with zeros in the place of the digest."""
    with memoryview(content) as view:
        sha256 = hashlib.sha256(view[:place])
        sha256.update(NO_DIGEST.encode())
        sha256.update(view[place + len(NO_DIGEST) :])
    return sha256.hexdigest()


def read(path: str | os.PathLike[str], mmap: bool = True) -> Contents:
    """Read a file, whose every byte is checked first.

    The tensors are views of the mapped file. Changes to them are private to this process and never reach the file;
    pages that nobody writes to are shared by all processes that map the file. So are the dataset's matrices, unless
    ``mmap`` is false.

    Raises
    ------
    ValueError
        If the file is truncated, altered, of a newer format or no model of this library.
    OSError
        If it cannot be opened.
    """
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_COPY) if size else b""
    try:
        with safe_open(path, framework="np") as opened:
            metadata = opened.metadata() or {}
        contents = _contents(content, metadata)
        _unpack_matrices(contents.dataset, contents.tensors, mmap)
        return contents
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or is truncated or altered: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    except MALFORMED as error:
        raise ValueError(f"{path} cannot be loaded: it is not put together as a model is: {error!r}") from error


def _contents(content: Any, metadata: dict[str, str]) -> Contents:
    if ENTRY not in metadata:
        raise ValueError("it is a safetensors file but no model that lightfm_fast saved")
    meta = json.loads(metadata[ENTRY])
    version, digest = meta["format_version"], meta["sha256"]
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ValueError(
            f"it has format version {version}, and lightfm_fast {__version__} reads versions up to {FORMAT_VERSION}: "
            "upgrade lightfm_fast"
        )
    length = int.from_bytes(content[:8], "little")
    place = content.find(digest.encode(), 0, 8 + length)
    if len(digest) != len(NO_DIGEST) or place < 0 or _digest(content, place) != digest:
        raise ValueError("it has been altered since it was saved: its content does not have its SHA-256")
    tensors = dict(_tensors(content, json.loads(content[8 : 8 + length]), 8 + length))
    return Contents(
        document=dict(meta["document"]),
        tensors=tensors,
        dataset=None if meta["dataset"] is None else _unpack_dataset(meta["dataset"], tensors),
        encoders={name: _unpack_encoder(*packed) for name, packed in meta["encoders"].items()},
        versions=dict(meta["versions"]),
    )


DTYPES = {"F32": "<f4", "I64": "<i8", "U32": "<u4", "U8": "u1"}  # those that are written


def _tensors(content: Any, header: dict[str, Any], start: int) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, tensor in header.items():
        if name != "__metadata__":
            dtype = np.dtype(DTYPES[tensor["dtype"]])
            first, last = tensor["data_offsets"]
            array = np.frombuffer(content, dtype, (last - first) // dtype.itemsize, start + first)
            yield name, array.reshape(tensor["shape"])


def _plain(value: Any) -> Any:
    """Make JSON of what the json module does not know: NumPy's scalars and arrays."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise ValueError(f"{value!r} of type {type(value).__name__} cannot be saved")


# ------------------------------------------------------------------------------------------ datasets and encoders


def _pack_dataset(dataset: Dataset, tensors: Tensors) -> dict[str, Any]:
    state = dataset.to_state()
    kinds = {}
    for name in VOCABULARIES:
        kinds[name], arrays = pack_ids(state.pop(name))
        tensors.update({f"dataset.{name}.{part}": array for part, array in arrays.items()})
    encoders = {
        side: None if encoder is None else _pack_encoder(f"{side}_features", encoder)
        for side, encoder in state.pop("encoders").items()
    }
    return {"kinds": kinds, **state, "encoders": encoders}


def _unpack_dataset(packed: dict[str, Any], tensors: Tensors) -> Dataset:
    state = {key: value for key, value in packed.items() if key != "kinds"}
    for name in VOCABULARIES:
        prefix = f"dataset.{name}."
        parts = {key[len(prefix) :]: tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
        state[name] = unpack_ids(packed["kinds"][name], parts)
    if "encoders" in state:
        state["encoders"] = {
            side: None if encoder is None else _unpack_encoder(*encoder) for side, encoder in state["encoders"].items()
        }
    return Dataset.from_state(state)


def _encoder_class(name: str) -> Any:
    """Find a class by its name among the public ones of lightfm_fast.features, and nowhere else."""
    if name == CategoricalColumns.__name__:  # what Dataset makes of names of columns
        return CategoricalColumns
    features = importlib.import_module("lightfm_fast.features")
    if name not in features.__all__ or not hasattr(getattr(features, name), "from_state"):
        raise ValueError(f"{name!r} is no encoder of lightfm_fast.features")
    return getattr(features, name)


def _pack_encoder(name: str, encoder: Any) -> tuple[str, Any]:
    kind = type(encoder)
    if not hasattr(encoder, "to_state") or not kind.__module__.startswith("lightfm_fast."):
        raise ValueError(
            f"the encoder {name!r} is {encoder!r}, expected one of lightfm_fast.features: others cannot be loaded "
            "without running code that came with the file"
        )
    if kind is not _encoder_class(kind.__name__):
        raise ValueError(f"the encoder {name!r} is a {kind.__name__} that lightfm_fast.features does not have")
    return kind.__name__, encoder.to_state()


def _unpack_encoder(class_name: str, state: Any) -> Any:
    return _encoder_class(class_name).from_state(state)


def _pack_matrices(dataset: Dataset, tensors: Tensors) -> None:
    for side in ("user", "item"):
        features = getattr(dataset, f"{side}_features")
        if features is not None:
            matrix = sp.csr_matrix(features, dtype=np.float32)
            parts = {"shape": np.array(matrix.shape, np.int64), "values": matrix.data}
            for name in ("indices", "indptr"):  # int32, which is not among the types written, as its bits
                numbers = getattr(matrix, name)
                parts[name] = numbers.view(np.uint32) if numbers.dtype == np.int32 else numbers
            tensors.update({f"dataset.matrix.{side}.{name}": array for name, array in parts.items()})


def _unpack_matrices(dataset: Dataset | None, tensors: Tensors, mmap: bool) -> None:
    for side in ("user", "item"):
        prefix = f"dataset.matrix.{side}."
        parts = {key[len(prefix) :]: tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
        if dataset is None or not parts:
            continue
        indices, indptr = (
            part.view(np.int32) if part.dtype == np.uint32 else part for part in (parts["indices"], parts["indptr"])
        )
        shape = tuple(parts["shape"].tolist())
        matrix = sp.csr_matrix((parts["values"], indices, indptr), shape=shape, copy=not mmap)
        check_features(matrix, side, 0)  # a forged matrix must not lead the core outside its arrays
        n_known = getattr(dataset, f"{side}_features_shape")()
        if any(length > most for length, most in zip(shape, n_known, strict=True)):
            raise ValueError(f"{side}_features has shape {shape} but its dataset knows {n_known}")
        setattr(dataset, f"{side}_features", matrix)


# ------------------------------------------------------------------------------------------------- random states


def pack_generator(generator: np.random.RandomState) -> tuple[list[Any], NDArray[np.uint32]]:
    """Return a generator's state as what JSON has, and its key.

    Raises
    ------
    ValueError
        If the generator is no Mersenne Twister, which ``RandomState`` makes unless it is given another.
    """
    state = generator.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise ValueError(
            f"random_state draws from {state['bit_generator']}, which cannot be saved: use RandomState(seed)"
        )
    return [state["state"]["pos"], state["has_gauss"], state["gauss"]], state["state"]["key"]


def unpack_generator(state: list[Any], key: NDArray[np.uint32]) -> np.random.RandomState:
    """Undo :func:`pack_generator`; ValueError or TypeError if the state is none."""
    generator = np.random.RandomState(0)
    position, has_gauss, cached = state
    if not 0 <= position <= 624:  # NumPy trusts it
        raise ValueError(f"the random state stands at {position}, expected 0 to 624")
    generator.set_state(("MT19937", key, position, has_gauss, cached))
    return generator


# ------------------------------------------------------------------------------------------------------------ ids


def pack_ids(ids: Iterable[Any]) -> tuple[str, Tensors]:
    """Lay ids out in arrays: integers as int64, UUIDs as 16 bytes, strings end to end, what is left as JSON.

    Raises
    ------
    ValueError
        If an id is of a type that cannot be saved.
    """
    ids = [value.item() if isinstance(value, np.generic) else value for value in ids]
    types = set(map(type, ids))
    if types == {int} and min(ids) >= -(1 << 63) and max(ids) < 1 << 63:
        return "int", {"values": np.array(ids, dtype=np.int64)}
    if types == {UUID}:
        return "uuid", {"values": np.frombuffer(b"".join(i.bytes for i in ids), np.uint8).reshape(-1, 16)}
    if types == {str}:
        return "str", _pack_texts(ids)
    return "json", _pack_texts([json.dumps(_to_json(value)) for value in ids])


def unpack_ids(kind: str, parts: Tensors) -> list[Any]:
    """Undo :func:`pack_ids`.

    Raises
    ------
    ValueError
        If the arrays are not laid out so.
    """
    if kind == "int":
        return parts["values"].tolist()
    if kind == "uuid":
        content = parts["values"].tobytes()
        return [UUID(bytes=content[first : first + 16]) for first in range(0, len(content), 16)]
    if kind == "str":
        return _unpack_texts(parts)
    if kind == "json":
        return [_from_json(json.loads(text)) for text in _unpack_texts(parts)]
    raise ValueError(f"{kind!r} is no kind of ids")


def _pack_texts(texts: list[str]) -> Tensors:
    text = "".join(texts).encode("utf-8", "surrogatepass")
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return {"lengths": lengths, "text": np.frombuffer(text, np.uint8)}


def _unpack_texts(parts: Tensors) -> list[str]:
    text = parts["text"].tobytes().decode("utf-8", "surrogatepass")
    ends = np.cumsum(parts["lengths"])
    if (ends[-1] if len(ends) else 0) != len(text) or (parts["lengths"] < 0).any():
        raise ValueError("the lengths of the ids do not add up to their text")
    return [text[first:last] for first, last in zip([0, *ends.tolist()], ends.tolist(), strict=False)]


def _to_json(value: Any) -> Any:
    """JSON has no tuples, UUIDs and bytes: an object with one key, the type, stands for each."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (str, int, float, bool):
        return value
    if type(value) is tuple:
        return {"tuple": [_to_json(part) for part in value]}
    if type(value) is UUID:
        return {"uuid": value.hex}
    if type(value) is bytes:
        return {"bytes": value.hex()}
    raise ValueError(
        f"the id {value!r} is of type {type(value).__name__}, which cannot be saved: strings, integers, UUIDs, floats, "
        "booleans, bytes, None and tuples of these can"
    )


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(_from_json(part) for part in content)
    if kind == "uuid":
        return UUID(hex=content)
    if kind == "bytes":
        return bytes.fromhex(content)
    raise ValueError(f"{kind!r} is no type of id")
