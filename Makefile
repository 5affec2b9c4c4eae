# make demo: install and run the quickstart.  make test: install, with what tests need, and test.  All of it in .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= runs/quickstart

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install dev demo test test-slow check clean

install: $(VENV)/.installed

dev: $(VENV)/.dev

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: set PYTHON=path/to/python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	touch $@

$(VENV)/.ray: $(VENV)/.dev
	$(PIP) --editable '.[dev,ray]'
	touch $@

demo: install
	$(BIN)/nas run experiments/quickstart.yaml --out $(DEMO) --resume

test: dev
	$(BIN)/python -m pytest

test-slow: $(VENV)/.ray
	$(BIN)/python -m pytest -m "slow or not slow"

check: dev
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info
