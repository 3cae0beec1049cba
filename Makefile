.DEFAULT_GOAL := help
.PHONY: help env demo test lint

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

env: $(READY)  ## the environment alone, in .venv

demo: $(READY)  ## from nothing to a finished submission on drawn data
	$(BIN)/python tools/demo.py --overwrite

# A process a core, each with one thread; the tests of a file share their fixtures.
test: $(READY)  ## the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Rebuilt when requirements.txt changed, and not otherwise. The stamp is written last, so
# an installation that was cut off starts again.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || \
	  { echo 'error: $(PYTHON): not Python 3.10-3.12; name one: make PYTHON=python3.11' >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
