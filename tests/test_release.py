"""The files around a release agree: one version, one ruff, and actions that nobody can change under us."""

import re
from pathlib import Path

import pytest

import lightfm_fast

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no parser of TOML")

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION = re.compile(r"uses: +([^@\s]+)@(\S+)(?: +# (v\S+))?")

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="the sdist does not hold the workflows")


@pytest.mark.parametrize(
    ("name", "form"), [("CITATION.cff", r"^version: (\S+)$"), ("conda/recipe.yaml", r'^  version: "(\S+)"$')]
)
def test_every_file_names_the_same_version(name: str, form: str) -> None:
    assert re.findall(form, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE) == [lightfm_fast.__version__]


def test_the_conda_recipe_asks_for_the_same_libraries() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, of_build = document["project"], document["build-system"]["requires"]
    recipe = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    for needed in (f"python{project['requires-python']}", *project["dependencies"], *of_build):
        library, _, platform = needed.lower().partition(";")
        assert f"{'then:' if platform else '-'} {library.replace('>=', ' >=')}\n" in recipe


def test_pre_commit_runs_the_ruff_of_the_lint_group() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    (pinned,) = [entry for entry in groups["lint"] if entry.startswith("ruff==")]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert f"rev: v{pinned.removeprefix('ruff==')} " in hooks


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    actions = ACTION.findall(path.read_text(encoding="utf-8"))
    assert actions
    assert not [(name, commit) for name, commit, tag in actions if not re.fullmatch("[0-9a-f]{40}", commit) or not tag]


def test_an_action_has_one_commit_everywhere() -> None:
    pins = {found[:2] for path in WORKFLOWS for found in ACTION.findall(path.read_text(encoding="utf-8"))}
    assert len(pins) == len({name for name, _ in pins})
