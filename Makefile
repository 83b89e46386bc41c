# `make help` lists the targets. VENV=<path> uses or creates another environment; PYTHON=<path> creates it with another Python.
VENV ?= .venv
PYTHON ?= python3
export PATH := $(abspath $(VENV))/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help repro app test lint requirements clean-work notebook

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 24

repro: $(VENV)/.installed ## run what changed of the pipeline: dvc repro
	dvc repro

app: $(VENV)/.installed ## serve the web page with the trained models to this machine only; ARGS="--port 8502" and the like
	python -m actionrec serve $(ARGS)

test: lint ## check style and types, then run all tests
	pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15  # tests of one file share fixtures

lint: $(VENV)/.installed-dev
	ruff check .
	ruff format --check .
	mypy

requirements: $(VENV)/.installed-dev ## compile requirements*.txt from the direct dependencies in pyproject.toml
	$(COMPILE) --extra web --extra export --output-file requirements.txt
	$(COMPILE) --extra web --extra export --extra ray --constraint requirements.txt --output-file requirements-ray.txt
	$(COMPILE) --all-extras --group dev --constraint requirements-ray.txt --output-file requirements-dev.txt

COMPILE = uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --no-annotate \
  --custom-compile-command "make requirements"

clean-work: ## delete .work: checkpoints and temporary files; the next run may have to redo work
	rm -rf .work

# If the packages are installed already, pip does not use the network.
# A read-only environment cannot keep the stamp: pip then checks it again on each run.
$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	python -m pip install --requirement requirements.txt
	$(INSTALL_PROJECT)
	@touch $@ || true

$(VENV)/.installed-dev: requirements-dev.txt | $(VENV)/bin/python
	python -m pip install --requirement requirements-dev.txt
	$(INSTALL_PROJECT)
	@touch $@ || true

# Puts the command `actionrec` on PATH. An environment outside the project's folder (VENV=<path>, or a symlink) may serve several copies
# of the project, so nothing is installed there: use `python -m actionrec`, which runs the code of the current folder.
INSTALL_PROJECT = @case "$$(cd "$(VENV)" && pwd -P)" in "$$(pwd -P)"/*) \
  python -m pip install --no-deps --no-build-isolation --editable . || \
  echo "warning: the command actionrec was not installed (see above); use python -m actionrec" ;; esac

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is missing or is not Python 3.11 to 3.13; install one, or name one: make PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' || \
	  { echo "error: $(PYTHON) cannot create environments; on Debian: apt install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)

notebook: $(VENV)/.installed-dev ## rerun docs/walkthrough.ipynb on the results of `dvc repro`, and save its outputs
	@python -c 'import nbformat; from nbclient import NotebookClient; file = "docs/walkthrough.ipynb"; \
	  book = nbformat.read(file, 4); client = NotebookClient(book, record_timing=False, coalesce_streams=True, resources={"metadata": {"path": "docs"}}); \
	  client.execute(); book.metadata.language_info = {"name": "python"}; nbformat.write(book, file)'
