# `make help` lists what there is. VENV=<path> uses or makes another environment; PYTHON=<path> makes it with another Python.
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

app: $(VENV)/.installed ## the web page with the trained models, on this machine alone; ARGS="--port 8502" and the like
	python -m actionrec serve $(ARGS)

test: lint ## check style and types, then run all tests
	pytest --numprocesses logical --maxprocesses 4 --dist loadfile  # what took minutes to make, the tests of a file share

lint: $(VENV)/.installed-dev
	ruff check .
	ruff format --check .
	mypy

requirements: $(VENV)/.installed-dev ## compile requirements*.txt from the direct dependencies in pyproject.toml
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --custom-compile-command "make requirements" \
	  --group run --output-file requirements.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --custom-compile-command "make requirements" \
	  --group ray --constraint requirements.txt --output-file requirements-ray.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --custom-compile-command "make requirements" \
	  --group dev --constraint requirements-ray.txt --output-file requirements-dev.txt

clean-work: ## free what killed or earlier runs left in .work; the next run may have to redo it
	rm -rf .work

# pip asks no index for versions that are there already, so an environment that somebody else filled costs a second, once.
$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	python -m pip install --quiet --requirement requirements.txt
	@touch $@ || true  # an environment of somebody else's may be read-only

$(VENV)/.installed-dev: requirements-dev.txt | $(VENV)/bin/python
	python -m pip install --quiet --requirement requirements-dev.txt
	@touch $@ || true  # an environment of somebody else's may be read-only

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is missing or older than Python 3.11; install one, or name one: make PYTHON=/path/to/python3.12"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' || \
	  { echo "error: $(PYTHON) cannot make environments; on Debian: apt install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)

notebook: $(VENV)/.installed-dev ## run docs/walkthrough.ipynb anew, on what `dvc repro` made, and keep its outputs
	@python -c 'import nbformat; from nbclient import NotebookClient; file = "docs/walkthrough.ipynb"; \
	  book = nbformat.read(file, 4); client = NotebookClient(book, record_timing=False, resources={"metadata": {"path": "docs"}}); \
	  client.execute(); book.metadata.language_info = {"name": "python"}; nbformat.write(book, file)'
