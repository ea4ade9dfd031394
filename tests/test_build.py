"""Promises of the build: the right level is picked, the import is fast, and the sdist is complete."""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

import lightfm_fast
from lightfm_fast import _core

ROOT = Path(__file__).parents[1]
CPU_INFO = Path("/proc/cpuinfo")
CONFIG = lightfm_fast.show_config(mode="dicts")
USABLE_LEVELS = [level for level in CONFIG["levels_built"] if level in CONFIG["levels_supported"]]


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=Path(lightfm_fast.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )


def test_config_tells_the_build():
    assert CONFIG.keys() == {
        "version",
        "level",
        "levels_built",
        "levels_supported",
        "openmp",
        "max_threads",
        "compiler",
    }
    assert CONFIG["version"] == lightfm_fast.__version__
    assert CONFIG["levels_built"][0] == CONFIG["levels_supported"][0] == "baseline"
    assert CONFIG["max_threads"] >= 1
    assert CONFIG["openmp"] or CONFIG["max_threads"] == 1
    assert CONFIG["compiler"] != "unknown"


def test_config_is_printed(capsys):
    assert lightfm_fast.show_config() is None
    printed = capsys.readouterr().out
    assert f"version: {lightfm_fast.__version__}\n" in printed
    assert f"levels_built: {', '.join(CONFIG['levels_built'])}\n" in printed


def test_config_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="mode is 'json'; expected 'stdout' or 'dicts'"):
        lightfm_fast.show_config(mode="json")


def test_compiled_modules_come_from_the_level_in_use():
    for module in (_core.engine, _core.ranking):
        assert Path(module.__file__).parent.name == CONFIG["level"]


@pytest.mark.skipif(not CPU_INFO.is_file(), reason="only Linux lists the CPU's features in a file")
@pytest.mark.parametrize(
    ("level", "features"),
    [
        ("x86_64_v3", "avx2 fma bmi1 bmi2 f16c abm movbe"),
        ("x86_64_v4", "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl"),
    ],
)
def test_levels_supported_agree_with_the_operating_system(level, features):
    flags = next((line for line in CPU_INFO.read_text().splitlines() if line.startswith("flags")), "")
    assert (level in CONFIG["levels_supported"]) == (set(features.split()) <= set(flags.split()))


@pytest.mark.parametrize("level", USABLE_LEVELS)
def test_environment_picks_the_level(level):
    code = "import lightfm_fast; print(lightfm_fast.show_config(mode='dicts')['level'])"
    process = run_python(code, LIGHTFM_FAST_LEVEL=level)
    assert process.stdout.strip() == level, process.stderr


def test_highest_usable_level_is_the_default():
    process = run_python("from lightfm_fast import _core; print(_core.level)", LIGHTFM_FAST_LEVEL="")
    assert process.stdout.strip() == USABLE_LEVELS[-1], process.stderr


def test_unknown_level_fails_the_import():
    process = run_python("import lightfm_fast", LIGHTFM_FAST_LEVEL="sse9")
    assert process.returncode != 0
    assert "LIGHTFM_FAST_LEVEL asks for 'sse9', but this build does not have it" in process.stderr
    assert "or unset it" in process.stderr


def test_level_that_the_cpu_lacks_is_neither_picked_nor_accepted():
    built, supported = ("baseline", "x86_64_v3", "x86_64_v4"), ("baseline", "x86_64_v3")
    assert _core._choose_level(None, built, supported) == "x86_64_v3"
    with pytest.raises(ImportError, match="this CPU cannot run it"):
        _core._choose_level("x86_64_v4", built, supported)


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded Python")
def test_a_free_threaded_python_enables_the_lock():
    # Python code guards a model's state by reading and writing attributes one at a time, as the lock ensures.
    process = run_python("import lightfm_fast, sys; print(sys._is_gil_enabled())")
    assert process.stdout.strip() == "True", process.stderr
    assert "GIL" in process.stderr


def test_import_loads_hard_dependencies_only():
    code = "import sys, json, lightfm_fast; print(json.dumps(sorted(sys.modules)))"
    process = run_python(code)
    assert process.returncode == 0, process.stderr
    optional = {
        "sklearn",
        "pandas",
        "tqdm",
        "matplotlib",
        "scipy.optimize",
        "scipy.special",
        "scipy.stats",
        "urllib.request",
        "dask",
        "distributed",
        "fsspec",
        "pyarrow",
        "safetensors",
    }
    assert not optional & set(json.loads(process.stdout))


def test_submodules_are_imported_at_first_use():
    code = (
        "import lightfm_fast, sys\n"
        "loaded = {name for name in lightfm_fast._SUBMODULES if f'lightfm_fast.{name}' in sys.modules}\n"
        "assert {'tuning', 'plotting', 'datasets'}.isdisjoint(loaded), loaded\n"
        "assert set(lightfm_fast._SUBMODULES) <= set(dir(lightfm_fast))\n"
        "assert lightfm_fast.tuning is sys.modules['lightfm_fast.tuning']\n"
        "for name in lightfm_fast._SUBMODULES:\n"
        "    getattr(lightfm_fast, name)\n"
    )
    process = run_python(code)
    assert process.returncode == 0, process.stderr
    with pytest.raises(AttributeError, match="no attribute 'tunning'"):
        lightfm_fast.tunning  # noqa: B018


@pytest.mark.skipif(os.name == "nt", reason="names of modules on Windows do not tell the ABI")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the stable ABI has buffers since Python 3.11")
@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="a Python without the GIL has no stable ABI"
)
def test_modules_are_built_once_for_all_later_versions_of_python():
    loaded = Path(_core._cpu.__file__)
    assert loaded.name.endswith(".abi3.so")
    assert not list(loaded.parent.rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))


def test_only_the_documented_names_are_public():
    assert set(lightfm_fast.__all__) == {"LightFM", "Recommender", "load", "__version__", "show_config"}


@pytest.mark.skipif(not (ROOT / "lightfm_fast").is_dir(), reason="needs the source tree beside the tests")
def test_sdist_holds_all_sources(tmp_path):
    pytest.importorskip("setuptools", minversion="77", reason="building an sdist needs setuptools 77")
    # In a copy, since setuptools writes beside the sources while other tests read there.
    checkout = tmp_path / "checkout"
    left_out = shutil.ignore_patterns(".git", ".venv*", "build", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, checkout, ignore=left_out)
    code = "from setuptools import build_meta; build_meta.build_sdist('..')"
    process = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"setup.py", "pyproject.toml", "LICENSE", "README.md", "Makefile", "lightfm_fast/py.typed"}
    for folder, pattern in [
        ("src", "*.px[dy]"),
        ("src", "*.hpp"),
        ("src", "*.cpp"),
        ("lightfm_fast", "*.py"),
        ("tests", "*.py"),
        ("tests", "*.cpp"),
    ]:
        wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob(pattern)}
    assert wanted <= names
    assert not {name for name in names - wanted if name.endswith((".so", ".pyd", ".cpp", ".pyc"))}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({}, ["-g0"]), ({"CFLAGS": "-O1 -g1"}, []), ({"CXXFLAGS": "-g"}, []), ({"CFLAGS": "-O1"}, ["-g0"])],
)
def test_debug_information_is_built_where_it_is_asked_for(monkeypatch, flags, expected):
    if not (ROOT / "setup.py").is_file():
        pytest.skip("the tests run without the source tree")
    functions = [
        node
        for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    (wanted,) = [function for function in functions if function.name == "debug_flags"]
    namespace = {"os": os}
    exec(compile(ast.Module([wanted], []), "setup.py", "exec"), namespace)
    for name in ("CFLAGS", "CXXFLAGS"):
        monkeypatch.setenv(name, flags.get(name, ""))
    assert namespace["debug_flags"]("unix") == expected
    assert namespace["debug_flags"]("msvc") == []
