# `make demo` and `make test` set up everything they need from a bare Python 3.11 with pip.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Hundreds of processes start here and import the same sources: they are compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all lint format docs clean help

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(BIN)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "traindx needs Python 3.11 or newer; set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[recipes,dev]'
	@touch $@

demo: $(BIN)/.ready  ## diagnose, prove and cure a broken X-ray-to-CT model on a real CT
	$(BIN)/traindx demo

lint: $(BIN)/.ready  ## ruff, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(BIN)/.ready  ## the test suite, without what takes more than a few seconds each; each rule's tests are counted
	$(BIN)/pytest -n 2 --dist worksteal -q -m "not slow"

test-all: $(BIN)/.ready  ## every test, the whole corpus of scripts among them
	$(BIN)/pytest -n 2 --dist worksteal -q

format: $(BIN)/.ready  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(BIN)/.ready  ## the rule catalogue, from the rules' docstrings
	$(BIN)/python scripts/make_docs.py
	$(BIN)/python scripts/make_transparency.py

clean:  ## remove the environment and everything generated
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
