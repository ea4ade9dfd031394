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
    """Run in turn what needs one cached reference, which takes longest, so that one process trains it.

    These are the levels of a test, and the tests of whole epochs of one case.
    """
    turns = {}
    names = {"loss", "schedule", "sides", "n_components"}

    def turn(item):
        given = item.callspec.params if hasattr(item, "callspec") else {}
        case = item.nodeid.replace(f"[{given.get('level')}", "[", 1)
        if names <= given.keys():
            options = (given.get("interactions", "cross"), given.get("identity_dropout", 0))
            case = (*(given[name] for name in sorted(names)), *options)
        return turns.setdefault(case, len(turns))

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
