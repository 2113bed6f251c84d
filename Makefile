# Everything here needs only make, Python 3.11 or newer with its venv module, and the Python package index.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

# In the order in which they depend on each other.
MEMBERS := protos shared services/referral services/prescriber services/therapy_provider deploy/ops
MEMBER_FILES := $(MEMBERS:%=%/pyproject.toml)

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## Make .venv with everything pinned; does nothing when it stands

$(STAMP): constraints.txt $(MEMBER_FILES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Tandem needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12"; exit 1; }
	@echo "setup: $$($(PYTHON) -V) -> $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "python3 -m venv failed: on Debian and Ubuntu it is in the package python3-venv"; rm -rf $(VENV); exit 1; }
	@echo "setup: installing $$(grep -c '==' constraints.txt) pinned packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r constraints.txt
	@echo "setup: installing Tandem's own $(words $(MEMBERS)) distributions"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(MEMBERS:%=-e ./%)
	@$(BIN)/python -m pip check
	@touch $@

.PHONY: demo
demo: setup ## Play one patient's course on a whole network of real processes, and narrate it
	@$(BIN)/tandem demo

.PHONY: test
test: setup ## Everything: lint, types, architecture, the whole suite on every stack that this machine can give
	@VENV=$(VENV) .ci/suite

.PHONY: quick
quick: setup ## The tests without sockets or processes: seconds
	@$(BIN)/python -m pytest --stack=embedded -q tests/unit tests/contract

.PHONY: lint
lint: setup ## Style, import rules, contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python protos/generate.py --lint

.PHONY: types
types: setup ## mypy, strict
	@$(BIN)/mypy

.PHONY: format
format: setup ## Put Python and contracts in order
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .
	@$(BIN)/buf format --write protos

.PHONY: protos
protos: setup ## Check the contracts and generate their Python into protos/gen
	@$(BIN)/buf format --write protos
	@$(BIN)/python protos/generate.py --lint
	@$(BIN)/python protos/generate.py

.PHONY: protos-accept
protos-accept: setup ## Make today's contracts the ones that later changes may not break
	@$(BIN)/buf build protos --exclude-source-info --output protos/baseline.binpb
	@echo "protos/baseline.binpb now holds today's contracts"

.PHONY: constraints
constraints: setup ## Resolve the dependencies again into constraints.txt (needs the package index)
	@.ci/constraints $(BIN)/uv

.PHONY: mutants
mutants: setup ## Break each promise on purpose and see the tests notice
	@$(BIN)/python tests/mutants/run.py

.PHONY: faults
faults: setup ## The long fault suite: crashes, partitions, restores
	@TANDEM_LONG=1 $(BIN)/python -m pytest --stack=embedded -q -s -p no:randomly tests/faults

.PHONY: fuzz
fuzz: setup ## Decoders under fuzzing guided by coverage, a minute each (FUZZ="--seconds 10 keyring": shorter, or some of them)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: atheris==3.0.0
	@PYTHONPATH=tests $(BIN)/python -m fuzz.guided $(FUZZ)

.PHONY: bench
bench: setup ## Speed against the bare floor, as ratios, on both stacks (BENCH=--quick: a look at it running)
	@$(BIN)/python -m pytest -q -p no:randomly tests/load
	@PYTHONPATH=tests $(BIN)/python -m load.bench $(BENCH)

.PHONY: compose-check
compose-check: setup ## Build the images, start docker-compose.yml, play the demo's course on it (needs a Docker engine)
	@VENV=$(VENV) deploy/docker/check

.PHONY: clean
clean: ## Remove what was installed and generated here, except protos/gen
	rm -rf $(VENV) .tandem .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
