# The contract with developers and CI. `make` prints the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
PYTEST := $(BIN)/python -m pytest

.PHONY: help dev fmt lint types test test-fast docs demo check lock clean

help: ## print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

dev: $(STAMP) ## set up the environment in .venv, from the lock
$(STAMP): pyproject.toml requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: none was found"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "python3 -m venv failed: install your system's python3-venv package"; exit 1; }
	@echo "installing from requirements/dev.txt ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

fmt: dev ## format, and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: dev ## ruff, formatting, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: dev ## mypy, strict
	$(BIN)/mypy

test: dev ## all tests, the real OpenBao and other people's clients included
	$(PYTEST) --cov --cov-report=term

test-fast: dev ## the tests that start no server
	$(PYTEST) -m "not vault and not external and not slow"

docs: dev ## links, README's help texts, decisions, generated pages
	$(PYTEST) tests/docs -q

demo: dev ## the whole product on this machine in two minutes (MANUAL=1: you sign in yourself)
	@$(BIN)/python -m demo $(if $(MANUAL),--manual)

check: lint types test ## everything; what CI runs (the docs' checks are among the tests)

lock: dev ## resolve the dependencies anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q -o requirements/runtime.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q -o requirements/dev.txt

clean: ## remove what was made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build *.egg-info
