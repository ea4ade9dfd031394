"""Too little memory, and signals, while the threads of a team work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("under_pressure.py")


def run(*arguments, timeout=300):
    # Blocks of 16 KiB and more are returned to the system at once, so that every run allocates them again.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 14)}
    command = [sys.executable, SCRIPT, *arguments]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=timeout)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space")
def test_a_lack_of_memory_raises_in_whichever_thread_it_comes():
    lines = run("memory", "10")
    assert len(lines) == 8
    assert sum("'MemoryError': 0" not in line for line in lines) > 4, lines


@pytest.mark.skipif(sys.platform == "win32", reason="there is no alarm")
def test_signals_end_what_would_take_minutes():
    lines = run("signals")
    assert len(lines) == 8
    assert all(line.endswith(" ended") for line in lines)
