# `make demo` trains a model and shows the result; `make test` checks everything. Both need Python 3.11 and make only.
.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Each candidate is run before it is believed: a version manager leaves names on the path that answer with an error.
PYTHON ?= $(shell for name in python3.11 python3 python3.12 python3.13; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$name; break; }; done)

JOBS ?= 2
DEMO ?= train --out runs/demo --overwrite
# doctests are found through the links seqkit/kernels, seqkit/datasets and seqkit/cli, so they run under their real names.
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile -q

# Waiting threads that spin take the cores from those that work; tests run one thread in each of $(JOBS) processes.
export OMP_WAIT_POLICY := passive
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help venv demo test lint types unit doctest examples docs docs-code test-slow bench format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

venv: $(STAMP) ## install the tested set into .venv

# The stamp is written last, so an install that failed or was stopped starts again on the next call.
$(STAMP): pyproject.toml constraints.txt
	@rm -f $@
	@test -n "$(PYTHON)" || { echo "seqkit needs Python 3.11 or newer; none was found. Set PYTHON=/path/to/python3.11."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Creating $(VENV) with $$($(PYTHON) --version)"; \
		$(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing the packages of constraints.txt into $(VENV); the first time downloads about 3 GB"
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt setuptools wheel
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt --no-build-isolation -e '.[all,dev]'
	@touch $@

demo: venv ## train on the default data set and show the result, in runs/demo
	$(BIN)/seqkit $(DEMO)

test: lint types unit doctest docs docs-code examples ## everything that must pass before a commit

lint: venv ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv ## mypy, strict
	$(BIN)/mypy

unit: venv ## the tests that are not marked slow
	$(PYTEST) -m "not slow" tests

doctest: venv ## the examples in the docstrings
	$(PYTEST) --doctest-modules seqkit

docs: venv ## build the site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs-code: venv ## run the Python blocks of README and docs, and try the commands that they print
	$(BIN)/python tests/docs/check.py --jobs $(JOBS)

examples: venv ## run the scripts of examples/, $(JOBS) at a time
	$(BIN)/python tests/docs/run_examples.py --jobs $(JOBS)

test-slow: venv ## the tests marked slow
	$(PYTEST) -m slow tests

bench: venv ## run each script of benchmarks/
	@set -e; for script in $(sort $(wildcard benchmarks/*.py)); do \
		echo "$(BIN)/python $$script"; $(BIN)/python $$script; done

format: venv ## sort imports, mend what ruff can mend, format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and build outputs; runs/ and .venv stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find seqkit kernels datasets cli tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
