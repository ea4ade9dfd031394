"""Fixtures: the command's files, and runs of the command."""

from types import SimpleNamespace

import numpy as np
import pytest

from lightfm_fast import LightFM
from lightfm_fast.cli import main
from lightfm_fast.table_files import write_table

from .films import fit_arguments, make_tables, part


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of frames, and a model that the command fitted to them."""
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("files")
    rows, users, items = make_tables()
    is_test = np.arange(len(rows["time"])) % 5 == 0
    tables = {"train": part(rows, ~is_test), "test": part(rows, is_test), "users": users, "items": items}
    for name, table in tables.items():
        for ending in (".csv", ".parquet"):
            write_table(folder / f"{name}{ending}", table)
    code = main(fit_arguments(folder, "model.safetensors"))
    assert code == 0
    return folder


@pytest.fixture
def run(folder, capsys, monkeypatch):
    """Run the command in the folder of the files."""
    monkeypatch.chdir(folder)

    def run(*arguments, code=0):
        capsys.readouterr()
        try:
            found = main(list(map(str, arguments)))
        except SystemExit as error:  # argparse's
            found = error.code
        captured = capsys.readouterr()
        assert found == code, captured.err
        return SimpleNamespace(out=captured.out, err=captured.err)

    return run


@pytest.fixture
def model(folder):
    return LightFM.load(folder / "model.safetensors")
