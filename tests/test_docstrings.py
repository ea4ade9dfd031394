"""The examples in the docstrings of public modules run and print the documented results."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import lightfm_fast

MODULES = [
    found.name
    for found in pkgutil.walk_packages(lightfm_fast.__path__, "lightfm_fast.")
    if not any(part.startswith("_") for part in found.name.split("."))
]


def test_the_modules_of_packages_are_among_them():
    assert {"lightfm_fast.lightfm", "lightfm_fast.data.dataset", "lightfm_fast.features.spec"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for the files that an example writes
    module = importlib.import_module(name)
    failed, attempted = doctest.testmod(module)
    assert not failed
    assert attempted == len(re.findall(r"^ *>>> ", inspect.getsource(module), re.MULTILINE))
