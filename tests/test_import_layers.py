"""Modules import downwards only, and the kernels know neither Python nor OpenMP."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lightfm_fast

ROOT = Path(__file__).parents[1]
PACKAGE = Path(lightfm_fast.__file__).parent
KERNELS = ROOT / "src" / "kernels"

# From top to bottom. A package's name covers all its modules; __init__ is the package lightfm_fast.
LAYERS = [
    {"__init__", "__main__"},
    {"cli", "plotting"},
    {"dask", "mlflow", "serve"},
    {"recommender", "sharded"},
    {"hub", "tuning"},
    {"lightfm", "factorization_machine"},
    {"evaluation", "cross_validation"},
    {"baselines", "export", "index", "recommendation_files", "vectors"},
    {"callbacks", "explanation", "fold_in", "persistence", "recommendation"},  # above modules that saved models need
    {"features", "_regularization"},
    {"data", "datasets", "table_files"},
    {"_rounds"},
    {"_quick", "_training", "_turns", "design"},
    {"_training_data"},
    {"_beside", "_cold_start"},
    {"_choices"},
    {"_scoring"},
    {"_averaging", "_shards", "_sides", "_start", "_training_input"},
    {"_autoencoder", "_content", "_mapping", "_met", "_shrinkage"},
    {"_penalty", "_svd", "_words"},
    {"_feature_rows", "_feature_scaling", "_parameters"},
    {"_files", "_fingerprint", "_safetensors", "_matrices"},
    {"_axes", "_hyperparameters", "_interactive"},
    {"_arguments"},
    {"_learned"},
    {"_cells", "_gains", "_html", "_lazy", "_losses"},
    {"_core"},
    {"_version"},
]
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_in_layers(path: Path) -> str:
    """Return the module or subpackage of lightfm_fast that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(path: Path) -> Iterator[tuple[str, ...]]:
    """Return the dotted paths below lightfm_fast that a file imports, also within functions."""
    package = ("lightfm_fast", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            module = (*start, *(node.module.split(".") if node.module else ()))
            targets = [(*module, alias.name) for alias in node.names]
        else:
            continue
        yield from (target[1:] for target in targets if target[0] == "lightfm_fast")


def imported_names(path: Path) -> set[str]:
    """Return the names in the layers that a file imports; other names of lightfm_fast count as its __init__."""
    names = set()
    for target in imported_modules(path):
        first = target[0] if target else "__init__"
        is_module = (PACKAGE / f"{first}.py").is_file() or (PACKAGE / first).is_dir()
        names.add(first if is_module else "__init__")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_module_imports_downwards(path):
    importer = name_in_layers(path)
    assert importer in DEPTH, (
        f"lightfm_fast/{path.relative_to(PACKAGE)} is in no layer: give it one in LAYERS, in this file"
    )
    upwards = {name for name in imported_names(path) if name != importer and DEPTH.get(name, -1) <= DEPTH[importer]}
    assert not upwards, f"{importer} may import lower layers only, not {sorted(upwards)}"


def test_an_import_is_seen_however_it_is_written():
    assert {"_arguments", "data", "_cells"} <= imported_names(PACKAGE / "features" / "spec.py")  # from ..
    assert {"_matrices", "persistence", "recommendation"} <= imported_names(PACKAGE / "lightfm.py")
    assert "features" in imported_names(PACKAGE / "persistence.py")  # within a function


@pytest.mark.skipif(not KERNELS.is_dir(), reason="the kernels' sources are not beside the tests")
def test_kernels_include_neither_python_nor_openmp():
    headers = sorted(KERNELS.rglob("*.hpp"))
    assert headers
    forbidden = re.compile(r"^\s*#\s*(include\s*[<\"](Python|omp)\.h|pragma\s+omp\b)", re.MULTILINE)
    offenders = [header.name for header in headers if forbidden.search(header.read_text(encoding="utf-8"))]
    assert not offenders
