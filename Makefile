# make run    start everything on this machine          make test   install what tests need, run all checks
# make bench  measure it, print a table, write JSON      make help   say all of this
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?=
# cpu, cuda or auto (cuda where nvidia-smi finds a GPU)
TORCH ?= auto
# 0 leaves the browser tests out
BROWSER ?= 1
# the least coverage of domain/, in percent
DOMAIN_COVERAGE ?= 95
export VENV PYTHON TORCH BROWSER

BIN := $(VENV)/bin
LOCKS := deploy/requirements

.PHONY: help run install migrate test lint types contracts pytest faults soak bench lock clean
.DEFAULT_GOAL := help

help:
	@echo "make run      start everything on this machine; PORT=8001 DATA_DIR=/srv/offshoot and every other setting"
	@echo "              of the README can stand before it"
	@echo "make install  make the virtual environment and install the site and a worker"
	@echo "make migrate  bring the database to the schema of this version"
	@echo "make test     install what tests need, then run every check and test"
	@echo "make lint     ruff, mypy and the import contracts alone"
	@echo "make faults   kill, freeze and starve every part of a site of its own, and check that no run suffers"
	@echo "make soak     the same at random against a stream of runs: N=1000 runs, SEED=7 repeats a schedule"
	@echo "make bench    measure it, print a table and write JSON"
	@echo "make lock     resolve the dependencies of pyproject.toml into deploy/requirements anew"
	@echo "make clean    remove the virtual environment and caches; data stays"

run: $(VENV)/.installed
	@exec $(BIN)/offshoot run

install: $(VENV)/.installed

migrate: $(VENV)/.installed
	@$(BIN)/offshoot migrate

$(VENV)/.installed: $(LOCKS)/site.txt $(LOCKS)/worker.txt pyproject.toml deploy/install.sh
	@bash deploy/install.sh site worker
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed $(LOCKS)/dev.txt
	@bash deploy/install.sh dev
	@touch $@

test: $(VENV)/.installed-dev
	@bash deploy/chromium.sh
	@$(MAKE) --no-print-directory lint pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --cov --cov-report=term $(if $(filter 0,$(BROWSER)),-m "not browser") $(ARGS)
	$(BIN)/coverage report --include='domain/*' --fail-under=$(DOMAIN_COVERAGE)

faults: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/faults $(ARGS)

soak: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.faults.soak N=$(or $(N),1000) SEED=$(SEED)

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.bench $(ARGS)

lock: $(VENV)/.installed-dev
	@$(BIN)/python deploy/lock.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov build dist *.egg-info
