"""A new loss is one struct and one line of the kernels: everything else follows from its entry in kLosses."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import lightfm_fast

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"

STRUCT = """
// exp(-m): a pairwise loss that the library does not have.
struct Exponential {
    static Charge at(float m) { return {exponential(-m), -exponential(-m)}; }
    static bool is_met(float) { return false; }
};
"""
LINE = """
    Listed<PairwiseLoss<OneByPopularity, Exponential>>{"toy"},"""

TRAIN = """
import numpy as np
from lightfm_fast import LightFM, _core
from lightfm_fast.datasets import make_interactions
from lightfm_fast.evaluation import auc_score

assert _core.level == "baseline" and "toy" in [entry["name"] for entry in _core.engine.LOSSES]
value, slope = _core.engine.loss_at("toy", 0.5)
assert np.allclose([value, slope], [np.exp(-0.5), -np.exp(-0.5)], rtol=1e-6)
data = make_interactions(n_users=200, n_items=60, n_interactions=4000, random_state=0)
model = LightFM(loss="toy", random_state=0).fit(data["train"], epochs=10)
losses = [record["loss"] for record in model.history_]
assert losses[-1] < 0.8 * losses[0], losses
assert auc_score(model, data["train"]).mean() > 0.75
"""


def write_with(path, changes):
    text = path.read_text(encoding="utf-8")
    for place, addition in changes:
        assert text.count(place) == 1, f"{path.name} has {place!r} {text.count(place)} times"
        text = text.replace(place, place + addition)
    path.write_text(text, encoding="utf-8")


def compile_engine(folder, target):
    from Cython.Build import cythonize
    from setuptools import Extension

    directives = {"boundscheck": False, "wraparound": False, "cdivision": True, "initializedcheck": False}
    engine = Extension("lightfm_fast._core.engine", [str(folder / "src" / "engine.pyx")], language="c++")
    (translated,) = cythonize(
        [engine],
        build_dir=str(folder / "cython"),
        include_path=[str(folder / "src")],
        compiler_directives={"language_level": 3, **directives},
        quiet=True,
    )
    command = [shutil.which("g++"), "-shared", "-fPIC", "-O0", "-std=c++17", "-fvisibility=hidden", "-fopenmp"]
    command += [f"-I{folder / 'src'}", f"-I{sysconfig.get_paths()['include']}", *translated.sources]
    command.append(str(folder / "src" / "instances.cpp"))
    subprocess.run([*command, "-o", str(target)], check=True)


@pytest.fixture(scope="module", autouse=True)
def level():
    """Run once, not for each built level: this test compiles its own engine, for the baseline."""
    return "baseline"


@pytest.mark.skipif(not SOURCES.is_dir(), reason="the kernels' sources are not beside the tests")
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
@pytest.mark.skipif(importlib.util.find_spec("Cython") is None, reason="there is no Cython")
@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="there is no setuptools")
def test_a_loss_is_one_struct_and_one_line(tmp_path):
    shutil.copytree(SOURCES, tmp_path / "src")
    kernels = tmp_path / "src" / "kernels"
    write_with(kernels / "losses.hpp", [("struct Charge {\n    float value;\n    float slope;\n};\n", STRUCT)])
    write_with(kernels / "dispatch.hpp", [("inline constexpr std::tuple kListed{", LINE)])

    package = tmp_path / "lightfm_fast"
    ignored = shutil.ignore_patterns("x86_64_*", "engine.*.so", "__pycache__")
    shutil.copytree(Path(lightfm_fast.__file__).parent, package, ignore=ignored)
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    compile_engine(tmp_path, package / "_core" / "baseline" / f"engine{suffix}")

    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "LIGHTFM_FAST_LEVEL": "baseline"}
    trained = subprocess.run(
        [sys.executable, "-c", TRAIN], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert trained.returncode == 0, trained.stderr
