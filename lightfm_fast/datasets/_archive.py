"""Find the file of a data set on this machine, or download it whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.request import urlopen

from lightfm_fast._arguments import check_flag
from lightfm_fast._files import check_path, replaced

_TIMEOUT_SECONDS = 30  # between two bytes
_DEADLINE_SECONDS = 2 * 60 * 60
_PIECE = 1 << 16


def data_folder(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of data files: ``data_home``, else $LIGHTFM_FAST_DATA, else the user's cache folder."""
    given = data_home is not None and not (isinstance(data_home, str) and not data_home)
    chosen = check_path(data_home, "data_home") if given else os.environ.get("LIGHTFM_FAST_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "lightfm_fast"


def locate_archive(
    name: str,
    url: str,
    *,
    largest: int,
    verify_cached: Callable[[Path], None],
    verify_download: Callable[[Path], None],
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
) -> Path:
    """Return the path of the verified file ``name``, downloaded from ``url`` if it is missing and that is allowed.

    A file of more than ``largest`` bytes is neither read nor downloaded.

    Raises
    ------
    OSError
        If the file is missing and downloads are not allowed or fail.
    ValueError
        If the file or the download fails verification. A rejected download is removed, an existing file is kept.
    """
    download_if_missing = check_flag(download_if_missing, "download_if_missing")
    path = data_folder(data_home) / name
    if path.is_file():
        try:
            _check_size(path, largest)
            verify_cached(path)
        except ValueError as error:
            raise ValueError(f"{path} is incomplete or altered ({error}): delete it and fetch again") from error
    elif download_if_missing:
        _download(url, path, largest, verify_download)
    else:
        raise OSError(f"{path} is missing: call again with download_if_missing=True, or save {url} there yourself")
    return path


def check_digest(path: Path, sha256: str) -> None:
    """Raise ValueError if a file has another SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    if digest.hexdigest() != sha256:
        raise ValueError(f"SHA-256 {digest.hexdigest()}, not {sha256}")


@contextlib.contextmanager
def open_archive(path: Path, largest: int) -> Iterator[zipfile.ZipFile]:
    """Open a ZIP archive whose members, by their declared sizes, unpack to at most ``largest`` bytes.

    Raises
    ------
    ValueError
        If they are larger, or if the block reads a damaged member.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > largest:
                raise ValueError(f"it unpacks to {size:,} bytes, expected at most {largest:,}")
            for member in members:
                # These archives use no other methods, whose memory the declared sizes do not bound.
                if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"its member {member.filename} is encrypted or compressed in another way")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(str(error) or "it breaks off") from error


def _check_size(path: Path, largest: int) -> None:
    size = path.stat().st_size
    if size > largest:
        raise ValueError(f"it has {size:,} bytes, expected at most {largest:,}")


def _download(url: str, path: Path, largest: int, verify: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        try:
            with urlopen(url, timeout=_TIMEOUT_SECONDS) as response, open(partial, "wb") as file:
                announced = response.headers.get("Content-Length")
                received = _receive(response, file, largest, announced)
        except (OSError, HTTPException) as error:
            raise OSError(
                f"{url} could not be downloaded ({error}): try again, or save it as {path} yourself"
            ) from error
        # Reading in pieces raises no error when the server closes the connection early.
        if announced is not None and received != int(announced):
            raise OSError(f"{url} broke off after {received} of {announced} bytes: try again")
        try:
            verify(Path(partial))
        except ValueError as error:
            raise ValueError(f"the download of {url} is incomplete or altered ({error}): try again") from error


def _receive(response: Any, file: BinaryIO, largest: int, announced: str | None) -> int:
    """Write a response to a file and return its length; OSError if it is too long or takes too long."""
    if announced is not None and not (announced.isdecimal() and len(announced) < 20 and int(announced) <= largest):
        raise OSError(f"it announces {announced[:20]} bytes, expected at most {largest:,}")
    received, end = 0, time.monotonic() + _DEADLINE_SECONDS
    # read1 returns what has arrived, so that the deadline also holds for a slow server.
    while piece := response.read1(_PIECE):
        received += file.write(piece)
        if received > largest:
            raise OSError(f"more than the expected {largest:,} bytes arrive")
        if time.monotonic() > end:
            raise OSError(f"only {received:,} bytes came in {_DEADLINE_SECONDS:,} seconds")
    return received
