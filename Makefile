# make run: a virtual cluster on this machine.  make test: everything that can be tested here.
# make conformance: the official suite and more, from outside; an hour and more, writes the table in README.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DATA   ?= .vapi
SERVE  := --data-dir $(DATA)

.PHONY: run test lint bench conformance clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("vapi needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@

run: $(STAMP)
	@$(BIN)/vapi serve $(SERVE) $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/python -m tests.bench $(ARGS)

conformance: $(STAMP)
	@.ci/conformance all

clean:
	rm -rf $(VENV) $(DATA) build dist *.egg-info
