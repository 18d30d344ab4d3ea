VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
# A user with another torch (CUDA, XPU) sets CONSTRAINTS= to let pip choose.
CONSTRAINTS ?= constraints.txt

.PHONY: setup demo test lint bench docs clean

$(VENV)/.done: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev]'
	@touch $@

setup: $(VENV)/.done  ## install into .venv; leaves .venv/bin/synthcxr

demo: setup  ## the whole road in minutes; leaves demo/report/index.html
	$(BIN)/synthcxr demo --out demo

test: setup  ## all tests, with coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --cov --cov-report=term

lint: setup  ## formatting, lints, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup  ## side by side with plain diffusers
	$(BIN)/python benchmarks/generation.py

docs: setup  ## the pictures of the README, drawn anew
	$(BIN)/python docs/make_pictures.py

clean:
	rm -rf $(VENV) demo build dist
