"""A folder that all machines of a cluster read and write: on a shared disk, or in any filesystem that fsspec knows."""

from __future__ import annotations

import contextlib
import io
import json
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._arguments import import_optional
from ..sharded.manifest import header_of

__all__: list[str] = []

Result = TypeVar("Result")
ATTEMPTS = 3  # of whatever meets an error of the storage


def attempt(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function that may be called again, until it meets no OSError, at most ATTEMPTS times."""
    for _ in range(ATTEMPTS - 1):
        try:
            return function(*arguments)
        except OSError:
            continue
    return function(*arguments)


class Storage:
    """A folder of files that are written whole or not at all.

    Parameters
    ----------
    url : str
        A path, or a URL of fsspec.
    options : mapping
        The filesystem's options.

    Attributes
    ----------
    url : str
        As given, but a path is absolute.
    is_local : bool
        Whether its files are files of this machine.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url, self.options = url, dict(options)
        fsspec = import_optional("fsspec", "dask", "Training in rounds")
        self._filesystem, self._root = fsspec.core.url_to_fs(url, **self.options)
        self.is_local = isinstance(self._filesystem, fsspec.get_filesystem_class("file"))
        if self.is_local and "://" not in url:  # relative to the folder of this process, or to its user's home
            self.url = self.path

    @property
    def path(self) -> str:
        """The folder's path in its filesystem."""
        return str(self._root)

    def __reduce__(self) -> Any:
        return Storage, (self.url, self.options)

    def within(self, name: str) -> Storage:
        """Return a folder in this folder."""
        return Storage(f"{self.url.rstrip('/')}/{name}", self.options)

    def write(self, name: str, *parts: Any) -> int:
        """Write a file of the bytes of some buffers, replace any earlier file, and return how many bytes it has."""
        path, content = f"{self._root}/{name}", b"".join(parts)
        if not self.is_local:  # object stores show an object when it is complete
            self._filesystem.pipe_file(path, content)
            return len(content)
        self._filesystem.makedirs(os.path.dirname(path), exist_ok=True)
        unfinished = f"{path}.{uuid.uuid4().hex}"
        try:
            with self._filesystem.open(unfinished, "wb") as file:
                file.write(content)
            os.replace(unfinished, path)
        except BaseException:
            with contextlib.suppress(OSError):  # on a full disk, further attempts need its room
                os.remove(unfinished)
            raise
        return len(content)

    def read(self, name: str, first: int = 0, size: int = -1) -> bytes:
        """Return the bytes of a file from ``first`` on, by default all."""
        with self._opened(name) as file:
            file.seek(first)
            content: bytes = file.read(size)
        if size >= 0 and len(content) != size:
            raise OSError(f"{self.url}/{name} ends after {first + len(content):,} bytes, expected {first + size:,}")
        return content

    def _opened(self, name: str) -> Any:
        """Open a file for reading; FileNotFoundError that says what to do if it is gone."""
        try:
            return self._filesystem.open(f"{self._root}/{name}", "rb")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.url}/{name} is gone: it was removed or moved since it was written. Put it back, or write "
                "the shards again if it is part of shards, or fit again without resume=True"
            ) from error

    def write_array(self, name: str, array: NDArray[Any]) -> int:
        content = io.BytesIO()
        np.save(content, np.ascontiguousarray(array), allow_pickle=False)
        return self.write(name, content.getbuffer())

    def read_array(self, name: str, first: int = 0, last: int | None = None) -> NDArray[Any]:
        """Read the elements ``first`` to ``last`` - 1 of an array's first axis, by default all."""
        with self._opened(name) as file:
            try:
                shape, dtype = header_of(file)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{self.url}/{name} is no array ({error}): it was altered since") from error
            last = shape[0] if last is None else last
            shape = (last - first, *shape[1:])
            one = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
            file.seek(first * one, os.SEEK_CUR)
            content = file.read(shape[0] * one)
        if len(content) != shape[0] * one:
            raise OSError(f"{self.url}/{name} is cut short")
        return np.frombuffer(content, dtype).reshape(shape)

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, json.dumps(value, default=_plain).encode())

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def names(self) -> list[str]:
        """Return the names of what this folder holds; of a folder that does not exist, none."""
        self._filesystem.invalidate_cache()
        if not self._filesystem.exists(self._root):
            return []
        return [path.rstrip("/").rpartition("/")[2] for path in self._filesystem.ls(self._root, detail=False)]

    def delete(self, name: str = "") -> None:
        """Delete a file or a folder with all it holds, or this folder. It need not exist."""
        path = f"{self._root}/{name}".rstrip("/")
        if self._filesystem.exists(path):
            self._filesystem.rm(path, recursive=True)


def _plain(value: Any) -> Any:
    """Return the Python number of a NumPy scalar, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON")
