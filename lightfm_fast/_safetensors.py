"""Files of safetensors, signed: a JSON header with one entry of metadata, and arrays that any safetensors reader shows.

The metadata holds a SHA-256 of the whole file, taken with zeros in the digest's own place.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap as memory_map
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENTRY = "lightfm_fast"
NO_DIGEST = "0" * 64
LONGEST_HEADER = 100_000_000  # bytes; the format of safetensors has this limit
BLOCK = 1 << 22  # bytes written at once
ANEW = "copy it anew, or save the model again"
# The types that are written, by their names in the file.
DTYPES = {name: np.dtype(code) for name, code in {"F32": "<f4", "I64": "<i8", "U32": "<u4", "U8": "u1"}.items()}
KINDS = {dtype: name for name, dtype in DTYPES.items()}


def write_tensors(path: str, tensors: dict[str, NDArray[Any]], text: str) -> None:
    """Write and sign a file: the length of a JSON header, the header with ``text`` as its metadata, the arrays.

    The library safetensors is not used: it copies all arrays before it writes.
    """
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    # Types of larger values first, so that each array is aligned to its values.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": {ENTRY: text}}
    end = 0
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        header[name] = {"dtype": KINDS[array.dtype], "shape": array.shape, "data_offsets": (start, end)}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    if len(encoded) > LONGEST_HEADER:
        raise ValueError(
            f"the ids, names and encoders that are saved as text take {len(encoded):,} bytes, and the format allows "
            f"{LONGEST_HEADER:,}: save fewer encoders, or ones of fewer categories"
        )
    with open(path, "wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in names:
            array = np.atleast_1d(arrays[name])
            length = max(1, BLOCK // max(array[:1].nbytes, 1))
            for first in range(0, len(array), length):
                rows = array[first : first + length]
                file.write(np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).data)
    sign(path)


def sign(path: str) -> None:
    """Write the SHA-256 of a file, hashed with zeros in the digest's place, over these zeros."""
    with open(path, "r+b") as file:
        with memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_READ) as content:
            # The first match is the digest: ids and names of users come later in the document.
            place = content.find(NO_DIGEST.encode(), content.find(b"sha256"))
            digest = _hash(content, place)
        file.seek(place)
        file.write(digest.encode())


def _hash(content: Any, place: int) -> str:
    """Hash a file with zeros in the place of the digest."""
    with memoryview(content) as view:
        sha256 = hashlib.sha256(view[:place])
        sha256.update(NO_DIGEST.encode())
        sha256.update(view[place + len(NO_DIGEST) :])
    return sha256.hexdigest()


def read_header(content: Any) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file and where its arrays start."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        raise ValueError("its header is longer than the file")
    if length > LONGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes, and the format allows {LONGEST_HEADER:,}")
    header = json.loads(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    return header, 8 + length


def read_tensors(content: Any, header: dict[str, Any], start: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield views of the arrays, which must fill the file after the header one after the other, without gaps."""
    end = 0
    for name, tensor in sorted(header.items(), key=lambda entry: entry[1]["data_offsets"]):
        dtype, shape, (first, last) = DTYPES[tensor["dtype"]], tensor["shape"], tensor["data_offsets"]
        if any(type(number) is not int or number < 0 for number in (*shape, first, last)) or len(shape) > 2:
            raise ValueError(f"{name!r} has shape {shape!r} and offsets {[first, last]!r}, expected one or two lengths")
        if first != end or last - first != math.prod(shape) * dtype.itemsize or start + last > len(content):
            raise ValueError(
                f"it is truncated or altered, {name!r} of shape {shape} is not from byte {first:,} on: {ANEW}"
            )
        end = last
        yield name, np.frombuffer(content, dtype, math.prod(shape), start + first).reshape(shape)
    if start + end != len(content):
        raise ValueError(f"it is truncated or altered, it has {len(content):,} bytes, its header lists {end:,}: {ANEW}")


def is_signed(content: Any, digest: str, start: int, verify: bool) -> bool:
    """Return whether a file's header, which ends at ``start``, holds the digest, and if ``verify`` that it is right."""
    place = content.find(digest.encode(), 0, start)
    return len(digest) == len(NO_DIGEST) and place >= 0 and (not verify or _hash(content, place) == digest)
