# Everything runs in .venv, made from requirements.lock on first use and reused until the lock changes.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help

.PHONY: help
help:  ## List the targets
	@awk -F':.*## ' '/^[a-zA-Z0-9_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 is needed; set PYTHON=/path/to/python3.11" if sys.version_info[:2] != (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

.PHONY: venv
venv: $(STAMP)  ## Create .venv from requirements.lock

.PHONY: lock
lock: $(STAMP)  ## Resolve setup.py again into requirements.lock
	$(PY) -m pip install --quiet uv
	$(PY) -m uv pip compile --quiet --upgrade --no-header --python-version 3.11 setup.py --all-extras -o requirements.lock
