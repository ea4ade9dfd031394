"""Open compressed files."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import sys
from typing import IO

from .._arguments import import_optional


def open_decompressed(path: str) -> IO[bytes]:
    """Open a file, and decompress it if its ending names a compression."""
    name = path.lower()
    if name.endswith(".zst"):
        if sys.version_info >= (3, 14):
            return importlib.import_module("compression.zstd").open(path, "rb")
        return import_optional("pyarrow", "cli", "A .zst file").input_stream(path, compression="zstd")
    for ending, module in ((".gz", gzip), (".bz2", bz2), (".xz", lzma)):
        if name.endswith(ending):
            return module.open(path, "rb")
    return open(path, "rb")
