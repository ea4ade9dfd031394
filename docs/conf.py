"""The site: the repository's pages as they stand, the notebooks, executed, and the reference from the docstrings.

The source folder is the repository, so that a link between two pages works here as it does on a code host.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lightfm_fast import __version__

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

DOCS = Path(__file__).parent
# The modules of the reference, a page each, in the order in which a reader needs them.
MODULES = (
    "lightfm_fast",
    "lightfm_fast.factorization_machine",
    "lightfm_fast.data",
    "lightfm_fast.sharded",
    "lightfm_fast.dask",
    "lightfm_fast.features",
    "lightfm_fast.cross_validation",
    "lightfm_fast.evaluation",
    "lightfm_fast.tuning",
    "lightfm_fast.baselines",
    "lightfm_fast.callbacks",
    "lightfm_fast.recommendation",
    "lightfm_fast.recommendation_files",
    "lightfm_fast.fold_in",
    "lightfm_fast.explanation",
    "lightfm_fast.index",
    "lightfm_fast.vectors",
    "lightfm_fast.serve",
    "lightfm_fast.mlflow",
    "lightfm_fast.hub",
    "lightfm_fast.plotting",
    "lightfm_fast.design",
    "lightfm_fast.datasets",
)
# Methods whose docstrings are scikit-learn's, and link to its pages.
SCIKIT_LEARN_METHODS = (
    "get_metadata_routing",
    "set_fit_request",
    "set_partial_fit_request",
    "set_predict_request",
    "set_score_request",
)
# Methods that other modules of this library call. They may change, so the reference leaves them out.
INTERNAL_METHODS = (
    "arrays",
    "checked",
    "core_blocks",
    "counts",
    "epoch",
    "feature_arrays",
    "file",
    "fit_arguments",
    "from_contents",
    "has_positives",
    "judged",
    "n_unlisted",
    "numbered",
    "occurring",
    "own_features",
    "read_whole",
    "replaced",
    "to_contents",
    "unpacked",
    "versions",
)
CONTENTS = """

```{toctree}
:hidden:
:caption: Step by step

docs/notebooks/your_csv
docs/notebooks/which_loss
docs/notebooks/newcomers
docs/notebooks/star_ratings
docs/notebooks/tuning
docs/notebooks/deploying
docs/notebooks/from_lightfm
docs/notebooks/from_implicit
docs/notebooks/factorization_machines
```

```{toctree}
:hidden:
:caption: Guide

docs/recommender
docs/tables
docs/features
docs/cold_start
docs/training
docs/recommend
docs/quality
docs/tuning
docs/performance
docs/sharded
docs/cluster
docs/factorization_machine
docs/plotting
docs/command_line
docs/serving
docs/registries
docs/algorithm
```

```{toctree}
:hidden:
:caption: Reference

docs/api/index
```

```{toctree}
:hidden:
:caption: The project

CHANGELOG
CONTRIBUTING
CODE_OF_CONDUCT
SECURITY
benchmarks/README
benchmarks/NOTES
```
"""
LINK = re.compile(r"\[([^\]]*)\]\(([^):#]+)\)")

project = "lightfm_fast"
author = "lightfm_fast developers"
project_copyright = author
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc", "sphinx.ext.mathjax", "sphinx_copybutton"]
root_doc = "README"
include_patterns = ["*.md", "benchmarks/*.md", "docs/**"]
exclude_patterns = [".*", "build", "docs/images"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # a block whose language Pygments reads in part stays readable

html_theme = "furo"
html_title = "lightfm_fast"
html_show_sphinx = False
html_copy_source = False

# The address that the pages are published under, which a sitemap.xml needs.
html_baseurl = os.environ.get("DOCS_ADDRESS", "")
if html_baseurl:
    extensions.append("sphinx_sitemap")
    sitemap_url_scheme = "{link}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_in_temp = True
nb_merge_streams = True

# Methods are shown with the class that people use, unless a class of Python or of scikit-learn has them.
autodoc_default_options = {
    "exclude-members": ", ".join((*SCIKIT_LEARN_METHODS, *INTERNAL_METHODS)),
    "inherited-members": "object, tuple, BaseException, BaseEstimator, ClassifierMixin, RegressorMixin",
}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections say the types
numpydoc_show_class_members = False


def write_reference(app: Sphinx) -> None:
    """Write a page for each module, of the docstrings of the names in its ``__all__``."""
    folder = DOCS / "api"
    folder.mkdir(exist_ok=True)
    for name in MODULES:
        module = importlib.import_module(name)
        values = {member: getattr(module, member) for member in module.__all__ if not member.startswith("__")}
        constants = [member for member, value in values.items() if not callable(value)]
        page = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :members:\n"
        page += "".join(f"\n.. autodata:: {name}.{constant}\n" for constant in constants)
        (folder / f"{name}.rst").write_text(page, encoding="utf-8")
    entries = "\n".join(f"   {name}" for name in MODULES)
    abouts = "\n".join(f":doc:`{name}`\n   {_about(name)}\n" for name in MODULES)
    contents = f"Reference\n=========\n\nEvery public name, by module.\n\n{abouts}\n.. toctree::\n   :hidden:\n\n"
    (folder / "index.rst").write_text(f"{contents}{entries}\n", encoding="utf-8")


def _about(module: str) -> str:
    """Return the first line of a module's docstring."""
    return (importlib.import_module(module).__doc__ or "").strip().partition("\n")[0]


def adapt_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn links to folders into text, since a site has no page for a folder, and give the README the contents."""
    folder = Path(app.srcdir, docname).parent
    source[0] = LINK.sub(lambda link: link[1] if (folder / link[2]).is_dir() else link[0], source[0])
    if docname == root_doc:
        source[0] += CONTENTS


def link_bare_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """Link a name without its module, such as ``LightFM.fit``, from the page of another module."""
    if node["refdomain"] != "py":
        return None
    node["refspecific"] = True  # search every module; a name that several have is a warning
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], node["reftarget"], node, text
    )


def add_index(app: Sphinx, error: Exception | None) -> None:
    """Make the README the page that a web server shows first."""
    if not error and app.builder.name == "html":
        shutil.copyfile(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app: Sphinx) -> None:
    """Connect the steps above."""
    app.connect("builder-inited", write_reference)
    app.connect("source-read", adapt_page)
    app.connect("missing-reference", link_bare_name)
    app.connect("build-finished", add_index)
