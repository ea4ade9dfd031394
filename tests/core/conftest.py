"""Every test here runs for each instruction-set level that is built and that this CPU can run.

With the environment variable ``LIGHTFM_FAST_LEVEL``, it runs for that level alone.
"""

import importlib
import os

import pytest

import lightfm_fast
from lightfm_fast import _core

CONFIG = lightfm_fast.show_config(mode="dicts")
RUNNABLE = [level for level in CONFIG["levels_built"] if level in CONFIG["levels_supported"]]
LEVELS = [_core.level] if os.environ.get("LIGHTFM_FAST_LEVEL") else RUNNABLE


@pytest.hookimpl(trylast=True)  # after pytest has put the tests of a level together
def pytest_collection_modifyitems(items):
    """Run the levels of a test in turn, so that one process needs its cached reference, which takes longest."""
    turns = {}

    def turn(item):
        level = item.callspec.params.get("level") if hasattr(item, "callspec") else None
        return turns.setdefault(item.nodeid.replace(f"[{level}", "[", 1), len(turns))

    items.sort(key=turn)


@pytest.fixture(
    scope="module",
    autouse=True,
    params=LEVELS,
)
def level(request):
    with pytest.MonkeyPatch.context() as patch:
        for module in ("engine", "machine", "ranking"):
            patch.setattr(_core, module, importlib.import_module(f"lightfm_fast._core.{request.param}.{module}"))
        yield request.param


@pytest.fixture(scope="module")
def hooks(level):
    return importlib.import_module(f"lightfm_fast._core.{level}.hooks")
