"""Every Python block of the README and of docs/ runs, and every lightfm-fast command there, in the order of a page.

A block of text right below a block is what it prints.
Models of pages learn, and are measured on data that was not trained on (a LeakWarning is an error) nor used to stop.
"""

import functools
import importlib
import inspect
import pkgutil
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.sparse as sp

import lightfm_fast
from lightfm_fast import evaluation
from lightfm_fast.baselines import Popularity
from lightfm_fast.callbacks import EarlyStopping
from lightfm_fast.cli import main
from lightfm_fast.cli.updating import KEPT_OLD

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A block of a page, or a cell of a notebook, and the block of text right below it, which is its output.
BLOCK = r"^```(?:\{code-cell\} )?(python|sh)\n(?::[^\n]*\n)*(.*?)^```(?:\n\n```text\n(.*?)^```)?"
DECIMAL = r"-?\d+\.\d*"
SITE = runpy.run_path(str(ROOT / "docs" / "conf.py"))
# Public modules that are no part of the reference: people reach them through LightFM and the command.
WITHOUT_REFERENCE = {"lightfm_fast.persistence", "lightfm_fast.table_files", "lightfm_fast.cli"}

METRICS = ("evaluate", "precision_at_k", "recall_at_k", "auc_score", "reciprocal_rank")
auc_score = evaluation.auc_score


class Watch:
    """Records the calls by which a page measures and stops early."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.aucs: list[float] = []
        self.stopped_by: list[Any] = []
        self.is_stopping = False
        for name in METRICS:
            monkeypatch.setattr(evaluation, name, self.watched(getattr(evaluation, name)))
        call = EarlyStopping.__call__

        def stop_early(stopping: EarlyStopping, model: Any) -> None:
            if stopping.interactions is not None:
                self.stopped_by.append(sp.csr_matrix(stopping.interactions))
            self.is_stopping = True
            try:
                call(stopping, model)
            finally:
                self.is_stopping = False

        monkeypatch.setattr(EarlyStopping, "__call__", stop_early)

    def watched(self, metric: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(metric)
        def watched(*arguments: Any, **options: Any) -> Any:
            if not self.is_stopping:
                given = inspect.signature(metric).bind(*arguments, **options).arguments
                features = {name: given.get(name) for name in ("user_features", "item_features")}
                model, test, train, *_ = (*given.values(), None)
                if isinstance(model, Popularity):  # what others are compared with
                    return metric(*arguments, **options)
                likes = sp.csr_matrix(test)
                likes = likes.multiply(likes > 0)
                self.aucs.append(auc_score(model, likes, train, **features, check_intersections=False).mean())
                for chosen_by in self.stopped_by:
                    assert not sp.csr_matrix(test).multiply(chosen_by).nnz, "a page stops by what it measures on"
            return metric(*arguments, **options)

        return watched


def assert_alike(shown: str, printed: str) -> None:
    """Compare outputs: decimals, which depend on the processor, within a tenth or 0.05, and the rest without spaces."""
    rests = ["".join(re.sub(DECIMAL, "0.0", text).split()) for text in (shown, printed)]
    assert rests[0] == rests[1], printed
    decimals = [[float(number) for number in re.findall(DECIMAL, text)] for text in (shown, printed)]
    assert decimals[0] == pytest.approx(decimals[1], rel=0.1, abs=0.05), printed


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


WRITTEN = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md"))]
WRITTEN += sorted((ROOT / "benchmarks").glob("*.md"))


def links_within(page: Path) -> list[str]:
    """Return the links of a page that lead to files of the repository."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("http:", "https:"))]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for link in links_within(page):
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_rows_of_a_table_have_as_many_cells(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE):
        rows = table.splitlines()
        bars = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
        assert [row for row, n in zip(rows, bars, strict=True) if n != bars[0]] == []


def test_links_are_found() -> None:
    assert {"docs/quality.md", "CONTRIBUTING.md"} <= {
        link.partition("#")[0] for link in links_within(ROOT / "README.md")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    watch = Watch(monkeypatch)
    blocks = re.findall(BLOCK, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    for language, block, shown in blocks:
        if language == "python":
            exec(compile(block, str(page), "exec"), names)
        for line in block.replace("\\\n", " ").splitlines() if language == "sh" else ():
            command, *arguments = shlex.split(line, comments=True) or [""]
            if command == "lightfm-fast":
                # The gate of update may refuse a model of random views.
                assert main(arguments) in ((0, KEPT_OLD) if "--gate" in arguments else (0,)), line
        printed = capsys.readouterr().out
        if shown:
            assert_alike(shown, printed)
    assert "python" in {language for language, *_ in blocks}
    assert all(auc > 0.7 for auc in watch.aucs), f"AUC {watch.aucs}: a page trains on noise"
    assert len(watch.aucs) >= {"README.md": 3, "tables.md": 1, "training.md": 1}.get(page.name, 0)


def test_outputs_may_differ_in_decimals_only() -> None:
    shown = "248 users\nndcg@10 0.49 ± 0.02\n"
    assert_alike(shown, "248 users\nndcg@10  0.4871 ± 0.0221\n")
    for changed in ("248", "247"), ("0.49", "0.39"), ("0.49", "-0.49"), ("ndcg", "recall"):
        with pytest.raises(AssertionError):
            assert_alike(shown, shown.replace(*changed))


def test_links_between_docstrings_lead_somewhere() -> None:
    modules = {name: importlib.import_module(name) for name in SITE["MODULES"]}
    public = {
        f"{name}.{member}": getattr(modules[name], member) for name in modules for member in modules[name].__all__
    }
    members = {f"{name}.{member}" for name, value in public.items() if isinstance(value, type) for member in dir(value)}
    known = {*modules, *public, *members}
    for name, value in public.items():
        parts = [value, *vars(value).values()] if isinstance(value, type) else [value]
        texts = [part.__doc__ for part in parts if isinstance(getattr(part, "__doc__", None), str)]
        for target in re.findall(r":(?:class|meth|func|data|attr|mod|exc):`~?([\w.]+)`", "\n".join(texts)):
            # The site finds a name by its end.
            assert any(each == target or each.endswith(f".{target}") for each in known), f"{name} links to {target}"


def test_every_page_is_in_the_contents_of_the_site() -> None:
    listed = set(SITE["CONTENTS"].split())
    assert {page.relative_to(ROOT).with_suffix("").as_posix() for page in PAGES} <= listed | {SITE["root_doc"]}


def test_every_module_of_the_reference_is_imported_at_first_use() -> None:
    assert {f"lightfm_fast.{name}" for name in lightfm_fast._SUBMODULES} == set(SITE["MODULES"]) - {"lightfm_fast"}


def test_every_public_name_is_in_the_reference() -> None:
    shown = {
        id(getattr(module, name)) for module in map(importlib.import_module, SITE["MODULES"]) for name in module.__all__
    }
    public = [
        module.name
        for module in pkgutil.iter_modules(lightfm_fast.__path__, "lightfm_fast.")
        if "._" not in module.name and module.name not in WITHOUT_REFERENCE
    ]
    assert "lightfm_fast.evaluation" in public
    missing = [
        f"{module.__name__}.{name}"
        for module in map(importlib.import_module, public)
        for name in getattr(module, "__all__", ())
        if id(getattr(module, name)) not in shown
    ]
    assert not missing
