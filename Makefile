# Each target is one command on a fresh clone: it makes its own environment with PYTHON, installs this project
# there, and does so again only when pyproject.toml or the sources of the compiled core change.

PYTHON ?= python3
SOURCES := setup.py pyproject.toml $(wildcard src/*.* src/kernels/*.*)
VENV := .venv
RECTOOLS := .venv-rectools
RECTOOLS_TESTS := tests/test_rectools.py tests/test_lightfm.py tests/core

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-rectools lint bench clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(VENV)/.built $(VENV)/.group-demo
	$(VENV)/bin/python examples/movielens.py

test: $(VENV)/.built $(VENV)/.group-test
	$(VENV)/bin/python -m pytest -n auto tests
	$(MAKE) test-rectools

# RecTools wraps LightFM, and needs an older numpy. The core that $(VENV) built in this tree is used here too: it is
# compiled without numpy, for the same Python. RecTools' own libraries warn, so warnings are no errors here.
test-rectools: $(VENV)/.built $(RECTOOLS)/.group-rectools
	$(RECTOOLS)/bin/python -m pytest -n auto -rs -W default $(RECTOOLS_TESTS)

lint: $(VENV)/.built $(VENV)/.group-lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint src  # it starts pycodestyle, found on the PATH
	$(VENV)/bin/clang-format --dry-run --Werror src/*.hpp src/kernels/*.hpp

bench: $(VENV)/.built $(VENV)/.group-bench
	$(VENV)/bin/python -m benchmarks.train

clean:
	rm -rf build dist $(VENV) $(RECTOOLS) *.egg-info lightfm_fast/_core/*.so lightfm_fast/_core/*/*.so
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find lightfm_fast tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

# Dependency groups need pip 25.1.
%/.python:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.built: $(SOURCES) | $(VENV)/.python
	$(VENV)/bin/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.group-%: pyproject.toml | $(VENV)/.built
	$(VENV)/bin/python -m pip install --quiet --group $*
	touch $@

$(RECTOOLS)/.group-rectools: pyproject.toml | $(RECTOOLS)/.python
	$(RECTOOLS)/bin/python -m pip install --quiet --group rectools
	touch $@
