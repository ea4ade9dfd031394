"""Private names stay in their modules, signatures stay short, and only simd/ has #if for processors."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lightfm_fast"
CORE = ROOT / "src"
MOST_PARAMETERS = 9  # of a private function; with more it takes a settings object
MOST_PARAMETERS_OF_CORE = 13
NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}  # a documented interface, whose underscore avoids field names
PROCESSOR = re.compile(
    r"^\s*#\s*(?:el)?if.*(?:__AVX|__SSE|__ARM|__aarch64__|__x86_64__|_M_X64|_M_ARM|LIGHTFM_FAST_X86)"
)

needs_core = pytest.mark.skipif(not CORE.is_dir(), reason="the core's sources are not beside the tests")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def neighbours(path: Path) -> list[Path]:
    """Return the files that may use a file's private names: those of its package, or at the top only the file."""
    return [path] if path.parent == PACKAGE else sorted(path.parent.glob("*.py"))


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache  # for every neighbour
def names_of(path: Path) -> set[str]:
    return set(defined_names(tree_of(path)))


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Return functions, classes, class attributes, and attributes of self."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            yield node.attr


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def private_reaches(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Return private attributes of objects other than self that no neighbour of the file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_self(node.value):
            if node.attr not in own | NAMED_TUPLE:
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "setattr"):
            name = node.args[1]
            is_own = is_self(node.args[0])
            if not is_own and isinstance(name, ast.Constant) and is_private(name.value) and name.value not in own:
                yield ast.unparse(node)


def signatures(tree: ast.Module) -> Iterator[tuple[str, bool, int]]:
    """Name, privacy and number of parameters of every function, without self."""

    def walk(node: ast.AST, within_private: bool, is_method: bool) -> Iterator[tuple[str, bool, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                given = child.args
                n_parameters = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
                has_self = is_method and bool(given.posonlyargs + given.args)
                yield child.name, within_private or is_private(child.name), n_parameters - has_self
                yield from walk(child, True, False)
            else:
                yield from walk(child, within_private, isinstance(child, ast.ClassDef))

    return walk(tree, False, False)


def core_signatures(source: str) -> Iterator[tuple[str, int]]:
    """Name and number of parameters of every Cython function, without self."""
    code = re.sub(r"#.*|\[.*?\]", "", source)
    for name, parameters in re.findall(r"^ *(?:cpdef|cdef|def)\b[^\n(=]*?(\w+)\(([^()]*)\)", code, re.MULTILINE):
        listed = [
            parameter for parameter in re.split(r"\s*,\s*", parameters.strip()) if parameter not in ("", "*", "self")
        ]
        yield name, len(listed)


def processor_branches(source: str) -> list[str]:
    return [line for line in source.splitlines() if PROCESSOR.match(line)]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_private_names_stay_in_their_module(path):
    own = set().union(*map(names_of, neighbours(path)))
    assert not list(private_reaches(tree_of(path), own))


def test_a_private_reach_is_seen():
    source = (
        "def f(model):\n    self._mine = model._table\n    model._mine\n    row._replace(a=1)\n    getattr(model, '_n')"
    )
    tree = ast.parse(source)
    assert list(private_reaches(tree, set(defined_names(tree)))) == ["model._table", "getattr(model, '_n')"]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_private_functions_take_few_parameters(path):
    is_private_module = is_private(path.stem)
    found = signatures(tree_of(path))
    assert not [(name, n) for name, private, n in found if (private or is_private_module) and n > MOST_PARAMETERS]


def test_a_long_signature_is_seen():
    tree = ast.parse("class A:\n    def _f(self, a, /, b, *, c): pass\n    def g(self, a): pass\ndef h(self): pass")
    assert list(signatures(tree)) == [("_f", True, 3), ("g", False, 1), ("h", False, 1)]


@needs_core
def test_functions_of_the_core_take_few_parameters():
    found = [
        (path.name, name, n)
        for path in sorted(CORE.glob("*.pyx"))
        for name, n in core_signatures(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 20
    assert not [signature for signature in found if signature[2] > MOST_PARAMETERS_OF_CORE]


def test_a_long_signature_of_the_core_is_seen():
    source = "cdef class A:\n    def f(self, const float[:, ::1] a,  # rows\n      int b=0, *, c):\n        g(a)"
    assert list(core_signatures(source)) == [("f", 3)]


@needs_core
def test_only_simd_asks_for_the_processor():
    headers = [path for path in sorted((CORE / "kernels").rglob("*.hpp")) if "simd" not in path.parts]
    assert headers
    offenders = [path.name for path in headers if processor_branches(path.read_text(encoding="utf-8"))]
    assert not offenders


def test_a_branch_on_the_processor_is_seen():
    lines = ["#if defined(__AVX512F__)", "#  elif defined(__GNUC__) && defined(__ARM_NEON)", "#if defined(_MSC_VER)"]
    assert processor_branches("\n".join(lines)) == lines[:2]
