# Every target sets up its own .venv first; `make` alone lists the targets.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: help setup demo test slow lint format measure ci clean

help:
	@echo 'make demo     zero-shot against learned prompts on generated streets in snow, with a picture'
	@echo 'make test     the quick tests'
	@echo 'make slow     the slow tests'
	@echo 'make lint     style, format and types'
	@echo 'make format   put the code into shape'
	@echo 'make measure  sizes of files and functions, and how many run in a fit'
	@echo 'make ci       what runs before a change lands'
	@echo 'make clean    remove .venv, caches and runs'

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt requirements.lock
	@command -v $(PYTHON) >/dev/null || { \
		echo 'promptseg needs Python 3.11 or newer: $(PYTHON) was not found; try make PYTHON=python3.12'; exit 1; }
	@echo 'Setting up .venv (once; about a gigabyte, mostly PyTorch) ...'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) --require-hashes --no-deps -r requirements.lock
	@$(PIP) --no-build-isolation -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/promptseg demo

# One thread per process: beside other work, spinning threads cost more than they bring.
test slow measure: export OMP_NUM_THREADS = 1

# A file's tests stay in one process, in their order, so that every run is alike.
test: $(STAMP)
	$(BIN)/python -m pytest -q -m 'not slow' -n 2 --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

measure: $(STAMP)
	$(BIN)/python tools/measure_code.py

ci:
	bash .ci/run

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache runs
