# make lab    open the lab in the browser          make test   run every test (as root)
# make lint   linters and type checker             make bench  our speed beside dockerd's, buildah's, crun's and nbgrader's
#
# Everything Python goes into .venv. A stamp file says which extras are installed there, so a second call is quick.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: lab test lint bench clean packages ready

lab: $(VENV)/.lab
	@$(BIN)/labkernel lab

test:
	@$(MAKE) --no-print-directory -j2 ready  # each waits for a network of its own
	@$(BIN)/python -m compileall -q labkernel tests  # once, not in each of a thousand processes
	@$(BIN)/python -m pytest -n 3 --no-loadscope-reorder

lint: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: ready
	@$(BIN)/python -m tests.bench

ready: $(VENV)/.test packages

packages: $(BIN)/python
	@$(BIN)/python tests/support/system_packages.py

clean:
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.lab: pyproject.toml | $(BIN)/python
	@echo "labkernel: installing into $(VENV) (once; about a minute)"
	@$(PIP) -e '.[lab]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "labkernel: installing the tests' packages into $(VENV) (once; about a minute)"
	@$(PIP) -e '.[lab,test]'
	@touch $@ $(VENV)/.lab

# The first Python that is new enough: python3 as the user has it, else one named by its version.
$(BIN)/python:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -m venv $(VENV) && exit 0; \
	  rm -rf $(VENV); \
	  echo "labkernel: $$python cannot make a virtual environment." >&2; \
	  echo "hint: on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; \
	done; \
	echo "labkernel: needs Python 3.11 or newer; found: $$(python3 --version 2>&1 || echo no python3)" >&2; \
	echo "hint: install one (Debian 12, Ubuntu 24.04 and Fedora have it as python3), then run make again" >&2; \
	exit 1
