# `make` lists what there is to make.
PYTHON ?= python3
# Processes that run tests at once.
WORKERS ?= 2
VENV := .venv
TOOLS := .venv-tools
# One thread each: those of several processes would wait for each other.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n $(WORKERS) --dist loadgroup
# DVC starts the stages with the first python on PATH.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help demo lint unit check test coverage ui repro verify lock audit licences clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

# The packages alone, not this project: DVC's experiments run the code of their own folder.
$(VENV)/.installed: $(wildcard requirements*.txt)
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -r requirements.txt -r requirements-dev.txt
	touch $@

demo: $(VENV)/.installed  ## the whole pipeline on our own data, offline, as the DVC experiment `demo`
	dvc exp run --temp --force --name demo -S offline=true
	@python -m splade_sts runs demo
	@echo "These are the results of the experiment demo. Take them into your workspace with .venv/bin/dvc exp apply demo; then open reports/comparison.html"

lint: $(VENV)/.installed  ## format, lint, types and imports
	ruff format --check
	ruff check
	mypy
	lint-imports

unit: $(VENV)/.installed  ## the unit tests
	$(PYTEST) -q tests/unit

check: $(VENV)/.installed  ## both at once: before every commit
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint unit

test: $(VENV)/.installed  ## all tests, offline, with the slowest ten
	$(PYTEST) --durations=10

coverage: $(VENV)/.installed  ## all tests, and which lines they run: takes half as long again
	$(PYTEST) --cov --cov-report=term

ui: $(VENV)/.installed  ## the MLflow UI on http://127.0.0.1:5000
	python -m splade_sts ui

repro: $(VENV)/.installed  ## the pipeline of params.yaml (data and model from the Hugging Face Hub)
	dvc repro

verify: $(VENV)/.installed  ## re-run the pipeline in a clean clone: is the committed dvc.lock reproduced?
	python -m splade_sts verify

$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install -q uv pip-audit pip-licenses
	touch $@

lock: $(VENV)/.installed $(TOOLS)/.installed  ## requirements.lock: the versions in .venv, each with its hashes
	$(VENV)/bin/python -m pip freeze --exclude torch > $(TOOLS)/installed.txt
	$(TOOLS)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" -c $(TOOLS)/installed.txt requirements.txt requirements-dev.txt -o requirements.lock

audit: $(TOOLS)/.installed  ## known vulnerabilities of the locked packages (asks the PyPI advisory service)
	$(TOOLS)/bin/pip-audit --strict --disable-pip --no-deps -r requirements.lock

licences: $(VENV)/.installed $(TOOLS)/.installed  ## docs/licences.md: the licences of the installed packages
	{ sed '/^| Name/,$$d' docs/licences.md; $(TOOLS)/bin/pip-licenses --python $(VENV)/bin/python --format markdown --order name; } \
	  > docs/licences.md.new && mv docs/licences.md.new docs/licences.md

clean:  ## remove the virtual environments and what the checks keep
	rm -rf $(VENV) $(TOOLS) .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .coverage*
