# make demo, make test ...: each makes its own virtual environment first; nothing but Python >= 3.11 is needed.
# VENV=folder puts the environment elsewhere, PYTHON=python3.12 takes another interpreter.

PYTHON ?= python3
VENV ?= .venv
DATA ?= $(wildcard ../shared/data)
JOBS ?= 2

SHELL := /bin/sh
BIN := $(VENV)/bin
# Most of what comes with the packages is never imported: Python compiles the rest itself when it is.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --no-compile --constraint constraints.txt

# The real data are not part of the project: tests that need them are skipped where there are none.
ifneq ($(DATA),)
export XSOIL_TEST_DATA ?= $(abspath $(DATA))
endif

# Compiled code is cached between runs; tests start from an empty cache, because an edit in one file does not always
# renew what another file compiled from it.
FRESH_CACHE = cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && NUMBA_CACHE_DIR="$$cache"

# A process takes half of the files, and what the other has left at its end: kernels are compiled once, not by each.
SHARED = -n $(JOBS) --dist worksteal

.PHONY: help demo test test-long lint docs bench audit experiments clean

help:
	@echo "make demo         soil map to soil moisture on a synthetic continent, written to demo-output/"
	@echo "make test         the tests"
	@echo "make test-long    ... and the long ones: 1 to 3 hours; fuzzing with 5,000 examples a verb (XSOIL_FUZZ=200: 200)"
	@echo "make lint         ruff and mypy"
	@echo "make docs         the documentation, in docs/_build/html"
	@echo "make bench        the benchmarks of docs/benchmarks.md"
	@echo "make audit        known vulnerabilities of the dependencies (status 3 where its service cannot be reached)"
	@echo "make experiments  the studies and the examples on real data (DATA=folder): hours"

demo: $(VENV)/installed-plot
	$(BIN)/python examples/demo.py --out demo-output

test: $(VENV)/installed-dev
	@$(FRESH_CACHE) $(BIN)/python -m pytest -q $(SHARED) -m "not long"

# An hour on two cores, nearly three where they are shared, most of it fuzzing (docs/faults.md); XSOIL_FUZZ=200 draws
# 200 examples a verb in place of 5,000.
test-long: $(VENV)/installed-dev
	@$(FRESH_CACHE) $(BIN)/python -m pytest -q $(SHARED)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed-dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/installed-dev
	@$(FRESH_CACHE) XSOIL_BENCH=1 $(BIN)/python -m pytest -q tests/benchmarks

audit: $(VENV)/installed-dev
	@$(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet pip-audit || { echo "NOT AUDITED: pip-audit cannot be installed here"; exit 3; }
	@$(BIN)/python tests/audit.py

experiments: $(VENV)/installed-dev
	@test -n "$$XSOIL_TEST_DATA" || { echo "no data: make experiments DATA=folder"; exit 2; }
	$(BIN)/python examples/mosel.py --data "$$XSOIL_TEST_DATA" --out experiments-output/mosel
	$(BIN)/python examples/smap_conus.py --data "$$XSOIL_TEST_DATA" --out experiments-output/smap_conus
	$(BIN)/python examples/soilgrids_to_ease.py --data "$$XSOIL_TEST_DATA" --out experiments-output/soilgrids
	$(BIN)/python examples/mhm_mpr.py --data "$$XSOIL_TEST_DATA" --out experiments-output/mhm
	$(BIN)/python examples/li2024_scaling_uncertainty.py --data "$$XSOIL_TEST_DATA" --out experiments-output/li2024
	$(BIN)/python examples/li2024_synthetic.py --out experiments-output/li2024_synthetic
	$(BIN)/python examples/li2024_smap.py --data "$$XSOIL_TEST_DATA" --out experiments-output/li2024_smap
	$(BIN)/python examples/qi2026_sptf.py --data "$$XSOIL_TEST_DATA" --out experiments-output/qi2026
	$(BIN)/python examples/poehls2025_downscaling.py --out experiments-output/poehls2025
	$(BIN)/python examples/liu2023_multitask.py --data "$$XSOIL_TEST_DATA" --out experiments-output/liu2023
	$(BIN)/python examples/rabiei2024_convlstm.py --out experiments-output/rabiei2024
	$(BIN)/python examples/gap_filling.py --data "$$XSOIL_TEST_DATA" --out experiments-output/gap_filling
	for notebook in examples/*.ipynb; do $(BIN)/jupyter execute --inplace "$$notebook" || exit 1; done

clean:
	rm -rf demo-output experiments-output docs/_build docs/api docs/notebooks

# One stamp per set of dependencies: the second call of a target installs nothing.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "xsoil needs Python >= 3.11; found: $$($(PYTHON) --version). Try make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-plot: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable ".[plot]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable ".[dev]"
	@touch $@ $(VENV)/installed-plot
