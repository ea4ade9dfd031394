"""A short run of the fuzz with fixed seeds, and of the check for leaks. ``python -m tests.fuzz`` runs more."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from .oracle import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers fork, and read /proc")


def run(*command: str) -> str:
    """Run a module of the fuzz with this tree's library; return what it printed."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_nothing_crashes_hangs_or_leaks_an_exception():
    assert "440 scenarios" in run("tests.fuzz", "--scenarios", "440", "--seed", "0")


def test_memory_stays_as_it_is():
    printed = run("tests.fuzz.memory", "60", "260")
    first, second = map(float, re.findall(r": ([0-9.]+) MB", printed))
    assert second < first + 4, printed
