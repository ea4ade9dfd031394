# Each target works on a fresh clone: it makes an environment with PYTHON, installs this project
# there, and does so again only when pyproject.toml or the sources of the compiled core change.

PYTHON ?= python3
SOURCES := setup.py pyproject.toml $(wildcard src/*.* src/kernels/*.* src/kernels/*/*.*)
SHELL := bash
VENV := .venv
RECTOOLS := .venv-rectools
SANITIZE := .venv-sanitize
RACES := .venv-sanitize-threads
SANITIZE_LEVELS ?= baseline
SANITIZE_FLAGS := -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1
SANITIZE_TESTS := tests/core tests/input tests/fuzz/test_malformed.py
RECTOOLS_TESTS := tests/promises/test_rectools.py tests/lightfm tests/core \
	--deselect tests/core/test_new_loss.py --deselect tests/core/test_simd.py \
	-k 'not (epochs_agree_with_reference or dropout_agree_with_reference or copies_agrees_with_reference) or -10] or -10-'

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-rectools fuzz lint bench bench-check first-hour docs docs-links sanitize sanitize-threads clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(VENV)/.built $(VENV)/.group-demo
	$(VENV)/bin/python examples/movielens.py

# Each of pytest's processes has threads. Threads that wait for others should not take processor time from them.
# OpenBLAS's threads always spin while they wait, so it gets one.
test test-rectools: export OMP_WAIT_POLICY := passive
test test-rectools: export OPENBLAS_NUM_THREADS := 1

test: $(VENV)/.built $(VENV)/.group-test
	$(VENV)/bin/python -m pytest -n auto tests
	$(MAKE) test-rectools

# RecTools wraps LightFM, and needs an older numpy. It uses the core that $(VENV) built in this tree, which is
# compiled without numpy, for the same Python. So numpy can change the Python code and the arrays that the core is lent, but
# not the kernels: their tests run for the level that people get, with one width (10) of each loss, schedule and kind of
# features, and without the two files that compile kernels. RecTools' libraries warn, so warnings are no errors here.
test-rectools: $(VENV)/.built $(RECTOOLS)/.group-rectools
	LIGHTFM_FAST_LEVEL="$$($(RECTOOLS)/bin/python -c 'from lightfm_fast import _core; print(_core.level)')" \
	$(RECTOOLS)/bin/python -m pytest -n auto -rs -W default $(RECTOOLS_TESTS)

# 5,000 scenarios, in minutes; the tests include a short run.
fuzz: $(VENV)/.built $(VENV)/.group-test
	$(VENV)/bin/python -m tests.fuzz

lint: $(VENV)/.built $(VENV)/.group-lint
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint src  # it starts pycodestyle, found on the PATH
	$(VENV)/bin/sp-repo-review .
	$(VENV)/bin/clang-format --dry-run --Werror src/*.hpp src/*.cpp src/kernels/*.hpp src/kernels/*/*.hpp

bench: $(VENV)/.built $(VENV)/.group-bench
	$(VENV)/bin/python -m benchmarks.train

# Fails if training has lost more of its lead over LightFM than chance explains, and names the cases.
bench-check: $(VENV)/.built $(VENV)/.group-bench
	$(VENV)/bin/python -m benchmarks.check

# Installs a wheel of this tree in a bare environment, does a new user's first hour there, and times each step.
first-hour: $(VENV)/.built
	rm -rf build/wheel
	$(VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(VENV)/bin/python -m benchmarks.first_hour build/wheel/*.whl

# The site, in build/docs. Notebooks are executed; a warning, such as a link that leads nowhere, is an error.
docs: $(VENV)/.built $(VENV)/.group-docs
	$(VENV)/bin/python -m sphinx -W --keep-going -c docs . build/docs

# Asks the network for every page that the pages link to.
docs-links: $(VENV)/.built $(VENV)/.group-docs
	$(VENV)/bin/python -m sphinx -b linkcheck -c docs . build/docs-links

# Runs the kernels' tests and malformed matrices in a library built with sanitizers of memory and arithmetic. Python is
# not built with them, so they are loaded before it, with libstdc++, whose exceptions they must see. Leaks are not
# checked, since Python keeps memory until the process ends. pytest, not python -m pytest, which would import
# this tree's build.
sanitize: $(SANITIZE)/.built $(SANITIZE)/.group-test
	LD_PRELOAD="$$(for name in asan ubsan stdc++; do $(CXX) -print-file-name=lib$$name.so; done | paste -s -d ' ')" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	$(SANITIZE)/bin/pytest -n auto -p no:cacheprovider $(SANITIZE_TESTS)

# Looks for races between training and scoring, except on parameters. libgomp and Python are not built with the sanitizer, so
# each call has one thread. The longest history keeps the stacks that suppressions look for.
sanitize-threads: $(RACES)/.built
	LD_PRELOAD="$$($(CXX) -print-file-name=libtsan.so)" \
	TSAN_OPTIONS='history_size=7:suppressions=$(CURDIR)/tests/fuzz/races.supp' \
	$(RACES)/bin/python tests/fuzz/races.py

clean:
	rm -rf build dist $(VENV) $(RECTOOLS) $(SANITIZE) $(RACES) *.egg-info lightfm_fast/_core/*.so lightfm_fast/_core/*/*.so
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find lightfm_fast tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +

# Dependency groups need pip 25.1.
%/.python:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.built: $(SOURCES) | $(VENV)/.python
	@echo "Installing lightfm_fast in $(VENV): compiling takes some two minutes of two processors"
	@mkdir -p build
	@set -o pipefail; $(VENV)/bin/python -m pip install --verbose --editable . 2>&1 | tee build/install.log \
		| sed -un 's/^ *lightfm_fast: /  /p' || { tail -n 50 build/install.log; exit 1; }
	touch $@

$(VENV)/.group-%: pyproject.toml | $(VENV)/.built
	@echo "Installing the libraries of the group $* in $(VENV)"
	$(VENV)/bin/python -m pip install --quiet --group $*
	touch $@

# Installed, not editable, and compiled in a separate folder, so that this tree's build does not change.
$(SANITIZE)/.built: SANITIZERS := address,undefined
$(RACES)/.built: SANITIZERS := thread
$(SANITIZE)/.built $(RACES)/.built: %/.built: $(SOURCES) $(wildcard lightfm_fast/*.py lightfm_fast/*/*.py) | %/.python
	printf '[build]\nbuild_base = %s\n' '$(CURDIR)/$*/build' > $*/build.cfg
	DIST_EXTRA_CONFIG='$(CURDIR)/$*/build.cfg' LIGHTFM_FAST_LEVELS='$(SANITIZE_LEVELS)' \
	CFLAGS='-fsanitize=$(SANITIZERS) $(SANITIZE_FLAGS)' CXXFLAGS='-fsanitize=$(SANITIZERS) $(SANITIZE_FLAGS)' \
	LDFLAGS='-fsanitize=$(SANITIZERS)' $*/bin/python -m pip install --quiet '.[sklearn]'
	touch $@

$(SANITIZE)/.group-test: pyproject.toml | $(SANITIZE)/.built
	$(SANITIZE)/bin/python -m pip install --quiet --group test
	touch $@

$(RECTOOLS)/.group-rectools: pyproject.toml | $(RECTOOLS)/.python
	$(RECTOOLS)/bin/python -m pip install --quiet --group rectools
	touch $@
