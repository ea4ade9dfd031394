"""The command runs in its own process."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lightfm_fast
from lightfm_fast.table_files import write_table

from .films import N_USERS, read_rows

ROOT = Path(__file__).parents[2]


def spawn(folder, *arguments, environment=None, **options):
    environment = {**os.environ, "PYTHONPATH": str(Path(lightfm_fast.__file__).parents[1]), **(environment or {})}
    return subprocess.Popen(
        [sys.executable, "-m", "lightfm_fast", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_as_a_process(folder, run):
    process = spawn(folder, "similar", "model.safetensors", "film, 1", "--json")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out == run("similar", "model.safetensors", "film, 1", "--json").out
    process = spawn(folder, "similar", "model.safetensors", "nothing")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)


def test_a_library_that_does_not_import_is_one_line_and_another_reads(folder, tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise AttributeError('_ARRAY_API not found')\n")
    environment = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(lightfm_fast.__file__).parents[1])])}
    process = spawn(folder, "recommend", "model.safetensors", "--users-from", "users.csv", environment=environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(read_rows(out)) == N_USERS * 10
    assert err.splitlines() == [
        "warning: pyarrow is installed but does not import (_ARRAY_API not found): lightfm_fast does without it; "
        "reinstall it"
    ]


@pytest.mark.skipif(os.name != "posix", reason="closed pipes are told of otherwise")
def test_a_reader_that_has_seen_enough(folder):
    write_table(folder / "often.csv", {"user_id": ["000"] * 3000})
    process = spawn(folder, "recommend", "model.safetensors", "--users-from", "often.csv", "-n", "30")
    assert process.stdout.readline() == "user_id,item_id,rank,score\n"
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=120), err) == (141, "")


@pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_discard_what_goes_to_them(folder, run, closed):
    command = f"{shlex.quote(sys.executable)} -m lightfm_fast fit train.csv -o closed.safetensors --epochs 2 --json"
    environment = {**os.environ, "PYTHONPATH": str(Path(lightfm_fast.__file__).parents[1])}
    found = subprocess.run(
        f"{command} {closed}", shell=True, cwd=folder, env=environment, capture_output=True, timeout=120, text=True
    )
    assert found.returncode == 0, found
    assert (">&-" in closed.split()) or json.loads(found.stdout)["model"] == "closed.safetensors"
    run("inspect", "closed.safetensors")


def test_output_in_an_encoding_without_a_letter_is_one_line_of_advice(folder):
    write_table(folder / "letters.csv", {"user_id": ["a", "b"], "item_id": ["\u0416", "y"]})
    process = spawn(folder, "fit", "letters.csv", "-o", "letters.safetensors", "--epochs", "1", "--quiet")
    process.communicate(timeout=120)
    process = spawn(folder, "recommend", "letters.safetensors", environment={"PYTHONIOENCODING": "cp1252"})
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert r"error: cp1252, the encoding of standard output, lacks '\u0416': set PYTHONIOENCODING=utf-8" in err


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the project's file is not beside the tests")
def test_the_command_is_installed_as_this_function():
    assert '[project.scripts]\nlightfm-fast = "lightfm_fast.cli:main"\n' in (ROOT / "pyproject.toml").read_text()
