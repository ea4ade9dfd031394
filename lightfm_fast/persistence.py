"""Models on disk: one safetensors file, written whole or not at all. Reading it runs no code from the file.

The tensors are the model's arrays. The file's metadata has one entry, ``lightfm_fast``: a JSON document with the
version of the format, the versions of the libraries, everything about the model that is no array, and the file's
SHA-256.
"""

from __future__ import annotations

import json
import mmap as memory_map
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ._arguments import check_choice, check_flag, check_timestamps, shorten
from ._files import check_path, open_regular, replaced
from ._hyperparameters import LARGEST_SINGLE
from ._matrices import check_features
from ._met import Met
from ._safetensors import ANEW, ENTRY, NO_DIGEST, is_signed, read_header, read_tensors, write_tensors
from ._version import __version__
from .data import Dataset
from .data.categories import CategoricalColumns
from .data.ids import Tensors, pack_ids, unpack_ids

__all__ = ["FORMAT_VERSION", "MALFORMED", "VERIFY", "Contents", "read", "write"]

FORMAT_VERSION = 1
# Errors of reading a file that has its digest but was not made by write.
MALFORMED = (KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError)
# Token patterns that match in linear time: a sequence of characters and classes, where only the last may repeat.
CLASS = r"(?:\\[wdsSWD]|[^\W_]|[_'-]|\[\^?(?:[\w '.,@#&+/-]|\\[wdsSWD'.-])+\])"
FAST = re.compile(rf"(?:\(\?u\))?(\\b)?{CLASS}{{1,8}}(?:\+|\{{\d{{1,2}},\d{{0,3}}\}})?(?(1)(?:\\b)?)")
VERIFY = ("all", "structure")
TIMES = re.compile(r"u?int64|float64|datetime64\[\d{0,9}(?:[YMWDhms]|[munpfa]s)\]")
MOST_COUNTED = 2**32 - 1  # positives of an item, as saved in 32 bits
VOCABULARIES = ("user_ids", "user_features", "item_ids", "item_features")


@dataclass
class Contents:
    """The content of a file: the arguments of ``write``, and the ``versions`` that wrote it."""

    document: dict[str, Any]
    tensors: Tensors
    dataset: Dataset | None = None
    encoders: Mapping[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def write(
    path: str | os.PathLike[str],
    document: Mapping[str, Any],
    tensors: Tensors,
    dataset: Dataset | None = None,
    encoders: Mapping[str, Any] | None = None,
    with_interactions: bool = False,
) -> None:
    """Write a file beside ``path``, flush it to disk, and move it to ``path``.

    Parameters
    ----------
    path : path
        In a folder that exists.
    document : mapping
        JSON values.
    tensors : dict of ndarray
    dataset : Dataset, optional
        Its ids and names are strings, integers, UUIDs, floats, booleans, bytes, None or tuples of these. NumPy's
        scalars come back as equal Python objects. Its feature matrices and its encoders are saved with it.
    encoders : mapping of objects with ``to_state()``, optional
        Of classes in :mod:`lightfm_fast.features`.
    with_interactions : bool
        Save the dataset's interactions too, with their weights and times.

    Raises
    ------
    TypeError
        If ``encoders`` is no mapping from names.
    ValueError
        If an id cannot be saved, or an encoder is of a class that cannot be loaded. No file is changed.
    OSError
        If writing fails. A file that was at ``path`` is unchanged.
    """
    encoders = {} if encoders is None else encoders
    if not isinstance(encoders, Mapping) or not all(isinstance(name, str) for name in encoders):
        raise TypeError(f"encoders is {shorten(encoders)}, expected a mapping from names to encoders")
    packed = dict(tensors)
    meta: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "sha256": NO_DIGEST,
        "versions": {ENTRY: __version__, "numpy": np.__version__, "python": platform.python_version()},
        "document": dict(document),
        "dataset": None if dataset is None else _pack_dataset(dataset, packed),
        "encoders": {name: pack_encoder(name, encoder) for name, encoder in encoders.items()},
    }
    if dataset is not None:
        _pack_matrices(dataset, packed)
        if with_interactions and dataset.interactions is not None:
            _pack_interactions(dataset, packed)
    text = json.dumps(meta, default=_plain)
    with replaced(path) as temporary:
        write_tensors(temporary, packed, text)


def read(path: str | os.PathLike[str], mmap: bool = True, verify: str = "all", trusted: bool = False) -> Contents:
    """Read a file, which is opened once.

    The tensors are views of the mapped file. Changes to them are private to this process and never reach the file.
    Processes that map the file share all unchanged pages. The dataset's matrices are views too, unless ``mmap`` is
    False.

    Parameters
    ----------
    path : path
    mmap : bool
    verify : {"all", "structure"}
        "all" reads every byte, to compare the file with its SHA-256. "structure" reads the header, the document, the
        ids and the dataset's matrices, but no other tensor.
    trusted : bool
        Accept any ``token_pattern`` of :class:`lightfm_fast.features.Text`, also one that may run for very long.

    Raises
    ------
    ValueError
        If the file is truncated, altered, of a newer format, not a regular file, or not a model of this library.
    OSError
        If it cannot be opened.
    """
    check_choice(verify, "verify", VERIFY)
    check_flag(mmap, "mmap")
    check_flag(trusted, "trusted")
    path = check_path(path)
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_COPY) if size else b""
    try:
        header, start = read_header(content)
    except (ValueError, *MALFORMED) as error:
        raise ValueError(
            f"{path} is no safetensors file, or is truncated or altered ({error}): expected a file that this library "
            "has written"
        ) from error
    try:
        contents = _contents(content, header, start, verify, trusted)
        _unpack_matrices(contents.dataset, contents.tensors, mmap)
        _unpack_interactions(contents.dataset, contents.tensors, mmap)
        return contents
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    except MALFORMED as error:
        raise ValueError(f"{path} cannot be loaded: it holds a malformed model: {error!r}") from error


def _contents(content: Any, header: dict[str, Any], start: int, verify: str, trusted: bool) -> Contents:
    metadata = header.pop("__metadata__", {})
    tensors = dict(read_tensors(content, header, start))
    if ENTRY not in metadata:
        raise ValueError("it is a safetensors file but no model that lightfm_fast saved")
    meta = json.loads(metadata[ENTRY])
    version, digest = meta["format_version"], meta["sha256"]
    if type(version) is not int or version < 1:
        raise ValueError(f"it has format version {version!r}, expected a whole number from 1")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"it has format version {version}, and lightfm_fast {__version__} reads versions up to {FORMAT_VERSION}: "
            "upgrade lightfm_fast"
        )
    if not is_signed(content, digest, start, verify == "all"):
        raise ValueError(f"it has been altered since it was saved, its content does not have its SHA-256: {ANEW}")
    dataset = None if meta["dataset"] is None else _unpack_dataset(meta["dataset"], tensors, trusted)
    of_dataset = {} if dataset is None else dataset.encoders
    return Contents(
        document=dict(meta["document"]),
        tensors=tensors,
        dataset=dataset,
        encoders={
            **{side: encoder for side, encoder in of_dataset.items() if encoder is not None},
            **{name: _unpack_encoder(packed, trusted) for name, packed in meta["encoders"].items()},
        },
        versions={name: str(version) for name, version in meta["versions"].items()},
    )


def _plain(value: Any) -> Any:
    """Convert NumPy's scalars and arrays, which the json module does not know."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise ValueError(f"{shorten(value)} of type {type(value).__name__} cannot be saved")


# ------------------------------------------------------------------------------------------ datasets and encoders


def _pack_dataset(dataset: Dataset, tensors: Tensors) -> dict[str, Any]:
    state = dataset.to_state()
    kinds = {}
    for name in VOCABULARIES:
        kinds[name], arrays = pack_ids(state.pop(name))
        tensors.update({f"dataset.{name}.{part}": array for part, array in arrays.items()})
    encoders = {
        side: None if encoder is None else pack_encoder(f"{side}_features", encoder)
        for side, encoder in state.pop("encoders").items()
    }
    return {"kinds": kinds, **state, "encoders": encoders}


def _unpack_dataset(packed: dict[str, Any], tensors: Tensors, trusted: bool) -> Dataset:
    state = {key: value for key, value in packed.items() if key != "kinds"}
    for name in VOCABULARIES:
        state[name] = unpack_ids(packed["kinds"][name], _taken(tensors, f"dataset.{name}."))
    state["encoders"] = {
        side: None if encoder is None else _unpack_encoder(encoder, trusted)
        for side, encoder in state["encoders"].items()
    }
    return Dataset.from_state(state)


def _taken(tensors: Tensors, prefix: str) -> Tensors:
    """Take the arrays out whose names begin with ``prefix``, and return them by the rest of their names."""
    return {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}


def _encoder_class(name: str) -> Any:
    """Find a class by its name among those that a file may hold."""
    from .features.spec import ENCODERS, FeatureSpec  # slow to import, and only here

    # Dataset makes CategoricalColumns if features are given as names of columns.
    kinds = {**ENCODERS, **{kind.__name__: kind for kind in (FeatureSpec, CategoricalColumns)}}
    if name not in kinds:
        raise ValueError(f"{name!r} is no encoder of lightfm_fast.features")
    return kinds[name]


def pack_encoder(name: str, encoder: Any) -> tuple[str, Any]:
    """Return the class and the state of an encoder as JSON values; ValueError if it cannot be loaded again."""
    kind = type(encoder)
    if not hasattr(encoder, "to_state") or not kind.__module__.startswith("lightfm_fast."):
        raise ValueError(
            f"the encoder {name!r} is {encoder!r}, expected one of lightfm_fast.features: others cannot be loaded "
            "without running code that came with the file"
        )
    if kind is not _encoder_class(kind.__name__):
        raise ValueError(f"the encoder {name!r} is a {kind.__name__} that lightfm_fast.features does not have")
    return kind.__name__, encoder.to_state()


def _unpack_encoder(packed: Any, trusted: bool) -> Any:
    class_name, state = packed
    encoder = _encoder_class(class_name).from_state(state)
    if not trusted:
        specs = (getattr(encoder, name, {}) for name in ("encoders", "encoders_"))  # of a FeatureSpec
        for part in (encoder, *(part for encoders in specs for part in encoders.values())):
            _check_pattern(getattr(part, "options", {}).get("token_pattern"))
    return encoder


def _check_pattern(pattern: Any) -> None:
    """Raise ValueError unless a pattern is known to search a text in linear time."""
    if pattern is not None and not (isinstance(pattern, str) and len(pattern) <= 200 and FAST.fullmatch(pattern)):
        raise ValueError(
            f"its text encoder has the token_pattern {str(pattern)[:200]!r}, which may run for very long: say "
            "trusted=True if you know who wrote the file"
        )
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"its text encoder has the token_pattern {pattern!r}, which is none: {error}") from error


def _pack_matrices(dataset: Dataset, tensors: Tensors) -> None:
    for side in ("user", "item"):
        features = getattr(dataset, f"{side}_features")
        if features is not None:
            matrix = check_features(features, side, 0)
            parts = {"shape": np.array(matrix.shape, np.int64), "values": matrix.data}
            for name in ("indices", "indptr"):  # int32 is not among the types written: its bits are saved as uint32
                numbers = getattr(matrix, name)
                parts[name] = numbers.view(np.uint32) if numbers.dtype == np.int32 else numbers
            tensors.update({f"dataset.matrix.{side}.{name}": array for name, array in parts.items()})


def _unpack_matrices(dataset: Dataset | None, tensors: Tensors, mmap: bool) -> None:
    for side in ("user", "item"):
        parts = _taken(tensors, f"dataset.matrix.{side}.")
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


def _pack_interactions(dataset: Dataset, tensors: Tensors) -> None:
    matrix: Any = dataset.interactions
    order = np.lexsort((matrix.col, matrix.row))
    counts = np.bincount(matrix.row, minlength=matrix.shape[0])
    tensors.update({"dataset.interactions.counts": counts.astype(np.uint32)})
    tensors.update({"dataset.interactions.items": matrix.col[order].astype(np.uint32)})
    for name, data in (("values", matrix.data), ("weights", None if dataset.weights is None else dataset.weights.data)):
        if data is not None and (data != 1).any():  # ones, as of most data, are left out
            tensors.update({f"dataset.interactions.{name}": data[order].astype(np.float32)})
    if dataset.timestamps is not None:
        times = check_timestamps(dataset.timestamps, "the dataset's timestamps", matrix.nnz)[order]
        if times.dtype.kind != "M":
            times = times.astype({"i": np.int64, "u": np.uint64, "f": np.float64}[times.dtype.kind])
        tensors.update({f"dataset.interactions.times.{times.dtype.name}": times.view(np.int64)})


def _unpack_interactions(dataset: Dataset | None, tensors: Tensors, mmap: bool) -> None:
    parts = _taken(tensors, "dataset.interactions.")
    if dataset is None or not parts:
        return
    counts, items = parts["counts"], parts["items"]
    n_users, n_items = shape = dataset.interactions_shape()
    is_sound = (
        counts.dtype == items.dtype == np.uint32
        and counts.shape == (n_users,)
        and int(counts.sum(dtype=np.uint64)) == len(items)
        and (not len(items) or items.max() < n_items)
    )
    data = {name: parts.get(name, np.ones(len(items), np.float32)) for name in ("values", "weights")}
    for array in data.values():
        is_sound = is_sound and array.shape == items.shape and array.dtype == np.float32 and np.isfinite(array).all()
    if not is_sound:
        raise ValueError("the interactions of its dataset are malformed")
    entries = np.repeat(np.arange(n_users, dtype=np.int32), counts), items.view(np.int32)
    dataset.interactions = sp.coo_matrix((data["values"], entries), shape=shape, copy=True)
    dataset.weights = sp.coo_matrix((data["weights"], entries), shape=shape, copy=True)
    for name in parts:
        kind, _, dtype = name.partition(".")
        if kind == "times":
            dataset.timestamps = _unpack_times(parts[name], dtype, len(items), mmap)


def _unpack_times(bits: NDArray[Any], dtype: str, length: int, mmap: bool) -> NDArray[Any]:
    """Return times whose bits are saved as int64."""
    if bits.dtype != np.int64 or not TIMES.fullmatch(dtype):
        raise ValueError(f"the times of its dataset's interactions are {bits.dtype} for {dtype[:80]!r}")
    times = check_timestamps(bits.view(dtype), "the dataset's timestamps", length)
    return times if mmap else times.copy()


# ------------------------------------------------------------------------------------- parts of any model


def check_dataset(dataset: Dataset, n_rows: Mapping[str, int], needs_features: Mapping[str, bool]) -> None:
    """Check by their sizes that a dataset belongs to a model.

    Parameters
    ----------
    dataset : Dataset
    n_rows : mapping from "user" and "item" to int
        Rows of the model's tables: one for each feature where ``needs_features`` is True, else for each user (item).
    needs_features : mapping from "user" and "item" to bool

    Raises
    ------
    TypeError
        If it is no Dataset.
    ValueError
        If the numbers of rows and of ids, or of the columns of the dataset's feature matrix, differ.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset is {shorten(dataset)}, expected a Dataset")
    for side, n_ids in zip(("user", "item"), dataset.interactions_shape(), strict=True):
        features = getattr(dataset, f"{side}_features")
        found = None
        if not needs_features[side] and n_ids != n_rows[side]:
            found = f"knows {n_ids:,} {side}s"
        elif needs_features[side] and features is not None and features.shape[1] != n_rows[side]:
            found = f"has {features.shape[1]:,} {side} features"
        if found is not None:
            raise ValueError(
                f"the dataset {found} but the model was fitted for {n_rows[side]:,}: save a model with the dataset "
                "that its matrices were built with, after training on every row added to the dataset"
            )


def unpack_whole(value: Any, name: str, largest: int) -> int:
    """Return a number read from a file. Raise ValueError if it is no whole number from 0 to ``largest``."""
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError(f"{name} is {shorten(value)}, expected a whole number from 0 to {largest:,}")
    return value


def arrays_after(tensors: Tensors, prefix: str, mmap: bool) -> Tensors:
    """Return the arrays whose names begin with ``prefix``, by the rest of their names; copies unless ``mmap``."""
    return {
        name.removeprefix(prefix): array if mmap else array.copy()
        for name, array in tensors.items()
        if name.startswith(prefix)
    }


def pack_met(met: Met) -> Tensors:
    tensors: Tensors = {
        "met.users": met.users.astype(np.uint8),
        "met.items": np.minimum(met.items, MOST_COUNTED).astype(np.uint32),
    }
    if met.placed is not None:
        tensors["met.placed"] = met.placed
    if met.low is not None:
        tensors["met.low"] = np.array([met.low], dtype=np.float32)
    return tensors


def unpack_met(tensors: Tensors, no_components: int) -> Met:
    """Return the record of met users and items from a file's tensors.

    Raises
    ------
    ValueError
        If the tensors are malformed.
    """
    users, items = tensors["met.users"], tensors["met.items"]
    placed, low = tensors.get("met.placed"), tensors.get("met.low")
    is_sound = (
        users.dtype == np.uint8
        and items.dtype == np.uint32
        and users.ndim == items.ndim == 1
        and not (users > 1).any()
        and (placed is None or (placed.dtype == np.float32 and placed.shape == (no_components,)))
        and (low is None or (low.dtype == np.float32 and low.shape == (1,)))
    )
    if not is_sound:
        raise ValueError("what it says of the users and items that training met is malformed")
    return Met(
        users.astype(bool),
        items.astype(np.int64),
        None if placed is None else placed.copy(),
        None if low is None else float(low[0]),
    )


def unpack_alpha(value: Any, name: str) -> float | None:
    """Return the L2 strength of training read from a file, None before training.

    Raises
    ------
    ValueError
        If it is no number that the argument takes.
    """
    if value is not None and (type(value) not in (int, float) or not 0 <= value <= LARGEST_SINGLE):
        raise ValueError(f"{name} is {shorten(value)}, expected a number from 0 to 3.4e38")
    return value


def unpack_history(records: Any) -> list[dict[str, Any]]:
    """Return the records of epochs read from a file.

    Raises
    ------
    ValueError
        If the epoch, the loss, the seconds or the samples of a record are missing or no finite number.
    """
    if not isinstance(records, list):
        raise ValueError(f"the history is {shorten(records)}, expected a list")
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"record {number:,} of the history is {shorten(record)}, expected an object")
        for name in ("epoch", "loss", "seconds", "samples"):
            _check_number(record.get(name), f"{name!r} in record {number:,} of the history")
    return records


def _check_number(value: Any, name: str) -> None:
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name} is {shorten(value)}, expected a finite number")


# ------------------------------------------------------------------------------------------------- random states


def pack_generator(generator: np.random.RandomState) -> tuple[list[Any], NDArray[np.uint32]]:
    """Return a generator's state as JSON values, and its key.

    Raises
    ------
    ValueError
        If the generator is not a Mersenne Twister, the default of ``RandomState``.
    """
    state = generator.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise ValueError(
            f"random_state draws from {state['bit_generator']}, which cannot be saved: use RandomState(seed)"
        )
    return [state["state"]["pos"], state["has_gauss"], state["gauss"]], state["state"]["key"]


def unpack_generator(state: list[Any], key: NDArray[np.uint32]) -> np.random.RandomState:
    """Undo :func:`pack_generator`; ValueError or TypeError if the state is malformed."""
    generator = np.random.RandomState(0)
    position, has_gauss, cached = state
    unpack_whole(position, "the position of the random state", 624)  # NumPy does not check it
    unpack_whole(has_gauss, "the random state's number of kept values", 1)
    _check_number(cached, "the value kept in the random state")
    if key.dtype != np.uint32 or key.shape != (624,) or not (key[0] >> np.uint32(31) or key[1:].any()):
        # A key of zeros yields only zeros, and some of NumPy's loops would never end.
        raise ValueError("the key of the random state is not 624 numbers of 32 bits, some of them other than zero")
    generator.set_state(("MT19937", key, position, has_gauss, cached))
    return generator
