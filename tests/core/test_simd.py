"""The vectors' operations against plain loops, compiled for every instruction set that this machine supports."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lightfm_fast._core import levels_supported

SOURCES = Path(__file__).parents[2] / "src"
LEVELS = {
    "baseline": [],
    "x86_64_v3": ["-mavx2", "-mfma"],
    "x86_64_v4": ["-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
}
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


@pytest.mark.skipif(not COMPILER or not SOURCES.is_dir(), reason="needs a C++ compiler and the sources")
@pytest.mark.parametrize("level", LEVELS)
def test_agrees_with_plain_loops(level, tmp_path):
    if level not in levels_supported:
        pytest.skip(f"this processor does not run {level}")
    program = tmp_path / "simd"
    flags = ["-std=c++17", "-O1", *LEVELS[level], f"-I{SOURCES}"]
    subprocess.run([*COMPILER.split(), *flags, str(Path(__file__).with_name("simd.cpp")), "-o", program], check=True)
    result = subprocess.run([program], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
