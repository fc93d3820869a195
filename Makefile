# All that is needed is make, git and Python 3.11 or newer; the rest is installed into .venv.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup programs test demo lint format types imports check clean

help:
	@echo 'make setup    install everything into .venv (once)'
	@echo 'make programs Chromium and bubblewrap, which some tests need (root, Debian)'
	@echo 'make demo     run the whole loop on a real Kafka, with a report'
	@echo 'make test     run every test, those on a real Kafka included'
	@echo 'make check    test, lint, types and import rules'
	@echo 'make clean    remove .venv, caches and reports'

# LOCKED=1 installs exactly the versions and hashes of requirements/lock.txt.
# The stamp holds pyproject.toml's hash, so that a checkout's new time stamps install nothing.
setup:
	@command -v $(PYTHON) >/dev/null || { echo 'imece needs Python 3.11 or newer, and there is no $(PYTHON)' >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "imece needs Python 3.11 or newer, this is $$($(PYTHON) --version); try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'Python cannot make virtual environments here; on Debian: apt-get install python3-venv' >&2; exit 2; }
	@want=$$($(PYTHON) -c 'import hashlib, pathlib; print(hashlib.sha256(pathlib.Path("pyproject.toml").read_bytes()).hexdigest())'); \
	if [ "$$(cat .venv/installed 2>/dev/null)" != "$$want" ]; then \
	  set -e; \
	  echo 'Installing into .venv: some minutes the first time, PyTorch is large'; \
	  [ -x $(BIN)/python ] || $(PYTHON) -m venv .venv; \
	  $(if $(LOCKED),$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/lock.txt;) \
	  $(BIN)/python -m pip install --quiet --editable $(if $(LOCKED),--no-deps .,'.[dev]'); \
	  echo "$$want" > .venv/installed; \
	fi

# Without them the tests of the page that people answer on, and of the sandbox, are skipped, which
# is counted; the page's fail where CI=true.
programs:
	@missing=; \
	for pair in chromium:chromium chromedriver:chromium-driver bwrap:bubblewrap; do \
	  command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair#*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "Not installed here, install these packages:$$missing" >&2; exit 0; \
	fi; \
	apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	  || echo "Could not be installed, see above:$$missing" >&2

test: setup
	@$(BIN)/python -m pytest

demo: setup
	@$(BIN)/python -m tests.demo

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup
	@$(BIN)/mypy shared/imece services

imports: setup
	@$(BIN)/lint-imports

check: test lint types imports

clean:
	rm -rf .venv build dist demo-report.html demo-report.json
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
