# Longwatch: two commands matter, `make demo` and `make test`. `make help` names the others.
SHELL := bash
VENV := .venv
PY := $(VENV)/bin/python
# Debian keeps mosquitto where ordinary users do not look.
export PATH := $(PATH):/usr/sbin

# The first Python of 3.11 or newer that really runs; override with `make demo PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)

# One known torch. Its matching torchvision exists for some platforms only and breaks transformers on the others, so
# there is none here at all: docs/decisions/0002-no-torchvision.md.
TORCH := torch==2.13.0

# pip's whole story goes to .venv/install.log, its headlines to the terminal; on failure, the end of the story follows.
define pip_install
	set -o pipefail; $(PY) -m pip install --disable-pip-version-check --progress-bar off $(1) 2>&1 \
	| tee -a $(VENV)/install.log \
	| awk '/^ *Downloading .*(MB|GB)\)/ || /^ERROR/ {print "  " substr($$0, 1, 110); fflush()}' \
	|| { tail -n 20 $(VENV)/install.log; echo "Installation failed; all of it is in $(VENV)/install.log."; exit 1; }
endef

.PHONY: help demo serve test check format bench clean

help:
	@echo "make demo    a simulated camera, the bundled model and the page; asks a first question by itself"
	@echo "make test    every test (brings mosquitto and a headless Chromium if they are missing)"
	@echo "make check   format, lint, types and the laws of the house"
	@echo "make bench   the measurements: make bench NAME=steps"
	@echo "make serve   the service: make serve CONFIG=configs/cameras.yaml"
	@echo "make clean   remove everything that was built"

demo: $(VENV)/.core
	@$(PY) run_stream.py demo $(ARGS)

CONFIG ?= configs/cameras.yaml
serve: $(VENV)/.core
	@$(PY) run_stream.py serve --config $(CONFIG) $(ARGS)

test: $(VENV)/.test
	@tests/parts.sh
	@$(PY) -m pytest $(ARGS)

check: $(VENV)/.test
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest tests/test_house.py

format: $(VENV)/.test
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

NAME ?= steps
bench: $(VENV)/.core
	@$(PY) run_stream.py bench $(NAME) $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info runs artefacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: each step runs once, and again only when pyproject.toml changes what it installs.
$(VENV)/.made:
	@if [ -z "$(PYTHON)" ]; then echo "Longwatch needs Python 3.11 or newer; none was found. Install one, or say where: make demo PYTHON=/path/to/python"; exit 1; fi
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo "This Python cannot make environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.core: $(VENV)/.made pyproject.toml
	@echo "Installing PyTorch (once; the largest download)"
	@$(call pip_install,"$(TORCH)" "setuptools>=77")
	@echo "Installing Longwatch and what it stands on"
	@$(call pip_install,--no-build-isolation "$(TORCH)" -e .)
	@touch $@

$(VENV)/.test: $(VENV)/.core pyproject.toml
	@echo "Installing what the tests need"
	@$(call pip_install,--no-build-isolation "$(TORCH)" -e ".[test]")
	@touch $@
