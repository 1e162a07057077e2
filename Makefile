# The contract with developers and CI. `make` prints the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made
# The first that runs, is new enough and can make an environment; a pyenv shim may stand there and not run.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTEST := $(BIN)/python -m pytest
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q

# Which server tests, demo and bench run on: openbao, or vault (HashiCorp's).
SERVER ?= openbao
export SERVER
ON_VAULT := tests/vault tests/contracts tests/service tests/cli

.PHONY: help dev fmt lint types test test-fast mutants vault-binary docs demo bench trial check lock clean

help: ## print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

dev: $(STAMP) ## set up the environment in .venv, from the lock
# --no-deps: the lock is complete, and older pips read a pinned package asked for with an extra as not pinned.
$(STAMP): pyproject.toml requirements/dev.txt
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer with its venv module is needed and wasn't found: install python3 and python3-venv,"; \
		echo "or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) -m venv failed: is its venv package installed?"; exit 1; }
	@echo "installing from requirements/dev.txt ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check --disable-pip-version-check >/dev/null || { $(BIN)/python -m pip check; exit 1; }
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

# Side by side, then those that need the machine.
test: dev $(if $(filter vault,$(SERVER)),vault-binary) ## all tests on a real OpenBao (SERVER=vault: those that need a server, and the demo, on a HashiCorp Vault)
ifeq ($(SERVER),vault)
	$(PYTEST) -n 3 --dist worksteal -m "not alone" $(ON_VAULT)
	$(PYTEST) -m alone $(ON_VAULT)
	@$(BIN)/python -m demo
else
	$(PYTEST) -n 3 --dist worksteal -m "not alone" --cov --cov-report=
	$(PYTEST) -m alone --cov --cov-append --cov-report=term
endif

test-fast: dev ## the tests that start no server
	$(PYTEST) -n 2 -m "not vault and not external and not slow"

mutants: dev ## take each rule of a table out of a copy, and fail if no test notices (RULE=word: those whose sentence holds it)
	@$(BIN)/python -m tests.mutants $(RULE)

vault-binary: dev ## find a HashiCorp Vault for the tests, or build it by Go; print its path last
	@SERVER=vault $(BIN)/python -m tests.servers.binary

docs: dev ## links, README's help texts, decisions, generated pages
	$(PYTEST) tests/docs -q

demo: dev ## the whole product on this machine in two minutes (MANUAL=1: you sign in yourself; SERVER=vault)
	@$(BIN)/python -m demo $(if $(MANUAL),--manual)

bench: dev ## what it costs beside a floor of the same run, and how fresh tokens stay: 12 minutes (QUICK=1: roughly, in 2)
	@$(BIN)/python -m bench $(if $(QUICK),--quick)
	@$(BIN)/python -m bench.freshness $(if $(QUICK),--quick)

trial: dev ## promises that take minutes or an hour, measured: VB365 away, refusing everybody, restarted; the cluster
	@$(BIN)/python -m tests.trials.outage
	@$(BIN)/python -m tests.trials.rejecting
	@$(BIN)/python -m tests.trials.restart
	@$(BIN)/python -m tests.cluster

check: lint types test mutants ## everything; what CI runs (the docs' checks are among the tests)

lock: ## resolve the dependencies anew
	@$(PYTHON) -m venv --clear .cache/lock
	@.cache/lock/bin/python -m pip install -qq --disable-pip-version-check uv
	.cache/lock/bin/$(COMPILE) -o requirements/runtime.txt
	.cache/lock/bin/$(COMPILE) --extra dev -o requirements/dev.txt

clean: ## remove what was made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build *.egg-info
