"""The files of a sharded dataset: their names, sizes and checksums."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import check_finite_number
from .._files import open_regular

__all__: list[str] = []

FORMAT, VERSION = "lightfm_fast.shards", 1
MANIFEST, ITEMS, USERS = "manifest.json", "items.safetensors", "users.arrow"
ARRAYS = {"indptr": np.int64, "indices": np.int32, "values": np.float32, "weights": np.float32}
_NEEDED, _TIMES = ("indptr", "indices"), ("times",)  # arrays of each shard, and those whose type is the user's
FEATURES = {"feature_indptr": np.int64, "feature_columns": np.int32, "feature_weights": np.float32}
FOLDER = re.compile(r"shard-\d{5}")  # see folder_of
_BYTES_AT_ONCE = 1 << 24
_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufM][0-9a-z\[\]]+)', 'fortran_order': False, 'shape': \((\d+(?:, \d+)*),?\), \} *\n"
)


def folder_of(number: int) -> str:
    return f"shard-{number:05}"


def write_array(path: str, array: NDArray[Any]) -> None:
    """Write a flat array; OSError if the disk is full, which np.save does not name."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(np.ascontiguousarray(array).view(np.uint8).data)


def present(path: str) -> str:
    """Return the path of a file of shards; FileNotFoundError if it is gone."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{path} is gone: the shards were moved or removed since they were opened. Open them where they are now, "
            "or write them again"
        )
    return path


def map_array(path: str) -> NDArray[Any]:
    """Map an array read-only; ValueError if the file is no array or too short, FileNotFoundError if it is gone."""
    if os.path.getsize(present(path)) == 0:
        raise ValueError(f"{path} is empty, expected an array: the shards were not written whole")
    try:
        with open(path, "rb") as file:
            shape, dtype = header_of(file)
            return np.memmap(file, dtype, "r", file.tell(), shape)
    except (ValueError, TypeError, OverflowError) as error:  # of a header that was altered
        raise ValueError(f"{path} is no array, or is cut short: {error}") from error


def header_of(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of an array of numbers or times, and leave the file at its first element.

    NumPy's own reader parses Python, which fails at times in threads of CPython 3.11 (its issue 106905).

    Raises
    ------
    TypeError, ValueError
        If there is no such header.
    """
    start = file.read(10)
    text = file.read(int.from_bytes(start[8:], "little"))
    header = _HEADER.fullmatch(text) if start[:8] == b"\x93NUMPY\x01\x00" else None
    if header is None:
        raise ValueError("its header is not that of an array of numbers")
    return tuple(map(int, header[2].split(b","))), np.dtype(header[1].decode())


def seal(path: str, facts: Mapping[str, Any], of_shards: Mapping[str, Any]) -> None:
    """Write the manifest of a complete folder; ``of_shards`` describes the files of its shards."""
    files = {name: _describe(os.path.join(path, name)) for name in (ITEMS, "visits.npy", "positives.npy")}
    manifest = {"format": FORMAT, "version": VERSION, **facts, "files": {**files, **of_shards}}
    with open(os.path.join(path, MANIFEST), "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)


def question_of(path: str) -> Any:
    """Return the question of the call that wrote a folder; None if it has none, or is no sharded dataset."""
    try:
        return read(path).get("question")
    except (OSError, ValueError):
        return None


def read(path: str) -> dict[str, Any]:
    """Read the manifest of a folder, and compare the files' sizes with it.

    Raises
    ------
    ValueError
        If the folder is no sharded dataset, of a newer version, or lacks files or has shorter ones.
    OSError
        If the manifest cannot be opened.
    """
    try:
        with open_regular(os.path.join(path, MANIFEST)) as file:
            manifest = json.loads(file.readall())
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r}")
        version = manifest["version"]
        is_known = type(version) is int and 1 <= version <= VERSION
        if is_known:
            _check_facts(manifest)
    except FileNotFoundError as error:
        raise ValueError(f"{path} has no {MANIFEST}: it is no folder that ShardedDataset wrote") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no sharded dataset: its {MANIFEST} is malformed ({error!r})") from error
    if not is_known:
        raise ValueError(
            f"{path} has version {version!r}, and this library reads up to {VERSION}: upgrade lightfm_fast"
        )
    for name, described in manifest["files"].items():
        full = os.path.join(path, name)
        size = os.path.getsize(full) if os.path.isfile(full) else None
        if size != described["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise ValueError(f"{full} {found}, expected {described['bytes']:,} bytes: write the shards again")
    return dict(manifest)


def _check_facts(manifest: dict[str, Any]) -> None:
    for name, described in manifest["files"].items():
        check_count_of(described["bytes"], f"the bytes of {name}")
    for facts in manifest["shards"]:
        check_count_of(facts["n_users"], "n_users")
        check_count_of(facts["n_interactions"], "n_interactions")
        if not {*_NEEDED} <= set(facts["arrays"]) <= {*ARRAYS, *_TIMES}:
            raise ValueError(f"arrays {facts['arrays']!r}")
    for side in ("user", "item"):
        if not isinstance(manifest["columns"][side], str):
            raise ValueError(f"column {manifest['columns'][side]!r}")
    for name in ("n_items", "n_user_features", "n_missing"):
        check_count_of(manifest[name], name)
    if (least := manifest["positive_from"]) is not None:
        check_finite_number(least, "positive_from")


def check_count_of(number: Any, what: str) -> None:
    """Raise ValueError if a number of a manifest counts nothing."""
    if type(number) is not int or not 0 <= number < 1 << 62:
        raise ValueError(f"{what} is {number!r}, expected a whole number from 0")


def check_sums(path: str, files: Mapping[str, Any]) -> None:
    """Raise ValueError if a file's content has changed since it was written."""
    for name, described in files.items():
        if _describe(os.path.join(path, name)) != described:
            raise ValueError(
                f"{os.path.join(path, name)} has been altered since it was written: write the shards again"
            )


def describe_folder(path: str, name: str) -> dict[str, Any]:
    """Return the sizes and checksums of the files of a folder of ``path``, which need not exist."""
    folder = os.path.join(path, name)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {f"{name}/{file}": _describe(os.path.join(folder, file)) for file in names}


def _describe(path: str) -> dict[str, int]:
    size = checksum = 0
    with open(path, "rb") as file:
        while part := file.read(_BYTES_AT_ONCE):
            size, checksum = size + len(part), zlib.crc32(part, checksum)
    return {"bytes": size, "crc32": checksum}
