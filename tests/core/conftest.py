"""Every test here runs for each instruction-set level that is built and that this CPU can run."""

import importlib

import pytest

import lightfm_fast
from lightfm_fast import _core

CONFIG = lightfm_fast.show_config(mode="dicts")


@pytest.fixture(
    scope="module",
    autouse=True,
    params=[level for level in CONFIG["levels_built"] if level in CONFIG["levels_supported"]],
)
def level(request):
    with pytest.MonkeyPatch.context() as patch:
        for module in ("engine", "machine", "ranking"):
            patch.setattr(_core, module, importlib.import_module(f"lightfm_fast._core.{request.param}.{module}"))
        yield request.param


@pytest.fixture(scope="module")
def hooks(level):
    return importlib.import_module(f"lightfm_fast._core.{level}.hooks")
