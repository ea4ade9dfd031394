"""Finding a data set's file on this machine, or downloading it whole."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

_TIMEOUT_SECONDS = 30


def data_folder(data_home: str | os.PathLike[str] | None = None) -> Path:
    """Folder of the data files: ``data_home``, else $LIGHTFM_FAST_DATA, else the user's cache folder."""
    chosen = data_home or os.environ.get("LIGHTFM_FAST_DATA")
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
    verify_cached: Callable[[Path], None],
    verify_download: Callable[[Path], None],
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
) -> Path:
    """Path of the verified file ``name``, downloaded from ``url`` if it is missing and that is allowed.

    Raises
    ------
    OSError
        If the file is missing and is not to be, or cannot be, downloaded.
    ValueError
        If the file or the download is not what it should be. A rejected download is removed, a file that was
        there before is left for its owner to judge.
    """
    path = data_folder(data_home) / name
    if path.is_file():
        try:
            verify_cached(path)
        except ValueError as error:
            raise ValueError(f"{path} is incomplete or altered ({error}): delete it and fetch again") from error
    elif download_if_missing:
        _download(url, path, verify_download)
    else:
        raise OSError(f"{path} is missing: call again with download_if_missing=True, or save {url} there yourself")
    return path


def _download(url: str, path: Path, verify: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its destination, so that the last step is an atomic rename within one file system.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        partial = Path(scratch) / path.name
        try:
            with urlopen(url, timeout=_TIMEOUT_SECONDS) as response, open(partial, "wb") as file:
                shutil.copyfileobj(response, file)
                expected_bytes = response.headers.get("Content-Length")
        except (OSError, HTTPException) as error:
            raise OSError(
                f"{url} could not be downloaded ({error}): try again, or save it as {path} yourself"
            ) from error
        # Reading in pieces ends without an error when the server hangs up early.
        received_bytes = partial.stat().st_size
        if expected_bytes is not None and received_bytes != int(expected_bytes):
            raise OSError(f"{url} broke off after {received_bytes} of {expected_bytes} bytes: try again")
        try:
            verify(partial)
        except ValueError as error:
            raise ValueError(f"the download of {url} is incomplete or altered ({error}): try again") from error
        os.replace(partial, path)
