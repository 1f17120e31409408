# Two commands: `make demo` shows the platform at work, `make test` checks everything.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.installed

.PHONY: demo test clean

demo: $(READY)
	@$(VENV)/bin/unitsim demo

test: $(READY)
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" nox --no-venv

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gpuunit-sim needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "creating $(VENV) from requirements.lock (once, about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(VENV)/bin/python -m compileall -q framework sidecar simulator fixtures scenarios
	@touch $@

clean:
	rm -rf $(VENV) .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
