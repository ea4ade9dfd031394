"""Output is replaced atomically, harmless to spreadsheets and terminals, and never overwrites an input."""

import os
from pathlib import Path

import pytest

from lightfm_fast.table_files import write_table

from .films import read_rows


def test_an_output_is_no_input(run, tmp_path):
    content = Path("train.csv").read_bytes()
    Path("link.csv").symlink_to("train.csv")
    os.link("train.csv", "hard.csv")
    for output in ("train.csv", "./train.csv", "link.csv", "hard.csv"):
        told = run("fit", "train.csv", "-o", output, code=2)
        assert f"{output} would be written over train.csv, which is read" in told.err
    for command in (
        "recommend model.safetensors --users-from train.csv -o train.csv",
        "recommend model.safetensors --interactions train.csv -o train.csv",
        "fit test.csv -o train.csv --item-tags train.csv rating",
        "fit test.csv -o train.csv --validation train.csv",
        "fit test.csv -o train.csv --users train.csv",
        "explain model.safetensors 000 x --plot model.safetensors",
    ):
        assert "would be written over" in run(*command.split(), code=2).err
    assert Path("train.csv").read_bytes() == content


def test_lists_are_written_whole_or_not_at_all(run, monkeypatch):
    Path("lists.csv").write_text("as it was\n")
    before = set(os.listdir())

    def full(file, *_, **__):
        file.write("user_id,")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lightfm_fast.table_files.writer.write_csv", full)
    assert "No space left" in run("recommend", "model.safetensors", "-o", "lists.csv", code=2).err
    assert Path("lists.csv").read_text() == "as it was\n"
    assert set(os.listdir()) == before
    assert "there is no folder" in run("recommend", "model.safetensors", "-o", "nowhere/lists.csv", code=2).err


ODD = "=cmd()\x1b[31m"


@pytest.fixture
def odd(run):
    write_table("odd.csv", {"user_id": ["+u", "\x1b[2Jv"], "item_id": [ODD, "@y"]})
    run("fit", "odd.csv", "-o", "odd.safetensors", "--epochs", 1, "--quiet")


def test_text_that_a_spreadsheet_runs_is_escaped_on_request(odd, run):
    common = ["recommend", "odd.safetensors", "--users", "+u", "--keep-seen"]
    assert {row["item_id"] for row in read_rows(run(*common).out)} == {ODD, "@y"}
    found = read_rows(run(*common, "--escape-formulas").out)
    assert {row["item_id"] for row in found} == {f"'{ODD}", "'@y"}
    assert {row["user_id"] for row in found} == {"'+u"}
    run(*common, "--escape-formulas", "-o", "escaped.csv")
    assert read_rows(Path("escaped.csv").read_text()) == found
    assert "--escape-formulas" in run(*common, "--escape-formulas", "--json", code=2).err
    assert "--escape-formulas" in run(*common, "--escape-formulas", "-o", "x.parquet", code=2).err
    run("similar", "odd.safetensors", "@y", "--escape-formulas")


def test_terminals_get_no_control_characters(odd, run, monkeypatch):
    commands = [
        ["recommend", "odd.safetensors"],
        ["similar", "odd.safetensors", "@y"],
        ["explain", "odd.safetensors", "\x1b[2Jv", ODD],
        ["inspect", "odd.safetensors"],
    ]
    assert any("\x1b" in run(*command).out for command in commands)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for command in commands:
        told = run(*command)
        assert "\x1b" not in told.out + told.err
        assert "\\x1b" in told.out
    for command in (["explain", "odd.safetensors", "\x1b[0m", "\x1b"], ["\x1b"], ["fit", "\x1b\x9b.csv", "-o", "x"]):
        told = run(*command, code=2)
        assert len(told.err.splitlines()) == 1
        assert "\x1b" not in told.err
