# make run    start everything on this machine          make test   install what tests need, run all checks
# make bench  measure it, print a table, write JSON      make help   say all of this
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?=
# cpu, cuda or auto (cuda where nvidia-smi finds a GPU); PYTORCH_CPU names another index for the CPU build
TORCH ?= auto
# 0 leaves the browser tests out
BROWSER ?= 1
# the least coverage of domain/, in percent
DOMAIN_COVERAGE ?= 95
export VENV PYTHON TORCH BROWSER

BIN := $(VENV)/bin
LOCKS := deploy/requirements

.PHONY: help run install torch migrate verify backup restore test lint types contracts pytest faults train-starter train-gan train-lora train-motion soak bench lock clean
.DEFAULT_GOAL := help

help:
	@echo "make run      start everything on this machine; PORT=8001 DATA_DIR=/srv/offshoot and every other setting"
	@echo "              of the README can stand before it"
	@echo "make install  make the virtual environment and install the site and a worker; TORCH, VENV, PYTHON and"
	@echo "              PYTORCH_CPU of the README choose how"
	@echo "make migrate  bring the database to the schema of this version"
	@echo "make verify   read every stored file again and compare it with its SHA-256; SAMPLE=100 reads 100 of them"
	@echo "make backup   copy the database and every file into FOLDER=…; the site may run"
	@echo "make restore  put the newest backup of FOLDER=… into an empty installation"
	@echo "make test     install what tests need, then run every check and test; ARGS=\"-k gallery\" runs some tests"
	@echo "              and asks for no coverage"
	@echo "make lint     ruff, mypy and the import contracts alone"
	@echo "make faults   kill, freeze and starve every part of a site of its own, and check that no run suffers"
	@echo "make soak     the same at random against a stream of runs: N=1000 runs, SEED=7 repeats a schedule"
	@echo "make train-starter   teach the starter model: PART=decoder, autoencoder or denoiser, FOLDER=…, ARGS=\"--minutes 60\";"
	@echo "              ARGS=\"--anew --compile --minutes 160\" begins a denoiser anew"
	@echo "make train-gan       train a generator on the pictures in FOLDER=…, into OUT=…; Ctrl-C stops, the same goes on;"
	@echo "              ARGS=\"--minutes 60\""
	@echo "make train-lora      teach MODEL=… a style or a subject from the pictures in FOLDER=…, into OUT=….safetensors"
	@echo "make train-motion    teach the starter to move: OUT=… is a folder for its motion; ARGS=\"--minutes 60 --clips …\""
	@echo "make bench    measure it, print a table and write JSON; ARGS=\"workers gradio\" measures some parts, and"
	@echo "              GRADIO=1 first installs what the part beside a Gradio app needs, for it alone"
	@echo "make lock     resolve the dependencies of pyproject.toml into deploy/requirements anew"
	@echo "make clean    remove the virtual environment and caches; data stays"

run: torch
	@exec $(BIN)/offshoot run

install: torch

# a build that was asked for by name must be the one that is there
torch: $(VENV)/.installed
	@$(if $(filter auto,$(TORCH)),:,bash deploy/install.sh torch)

migrate: $(VENV)/.installed
	@$(BIN)/offshoot migrate

verify: $(VENV)/.installed
	@$(BIN)/offshoot verify $(if $(SAMPLE),--sample $(SAMPLE)) $(ARGS)

backup restore: $(VENV)/.installed
	@test -n "$(FOLDER)" || { echo "Say where: make $@ FOLDER=…" >&2; exit 1; }
	@$(BIN)/offshoot $@ "$(FOLDER)" $(ARGS)

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
ifdef ARGS
	$(BIN)/python -m pytest $(if $(filter 0,$(BROWSER)),-m "not browser") $(ARGS)
else
	@PYTHON=$(BIN)/python bash tests/all.sh $(if $(filter 0,$(BROWSER)),-m "not browser")
	@$(BIN)/python -m tests.covered domain $(DOMAIN_COVERAGE)
endif

# two sites side by side: most of a fault is waiting
faults: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/faults $(ARGS)

train-starter: $(VENV)/.installed-dev
	@$(BIN)/python -m tasks.starter $(or $(PART),denoiser) $(or $(FOLDER),tasks/weights/starter) $(ARGS)

train-lora: $(VENV)/.installed-dev
	@test -n "$(MODEL)" -a -n "$(FOLDER)" -a -n "$(OUT)" || { echo "Say what to teach: make $@ MODEL=… FOLDER=… OUT=….safetensors" >&2; exit 1; }
	@$(BIN)/python -m tasks.lora train "$(MODEL)" "$(FOLDER)" "$(OUT)" $(ARGS)

train-motion: $(VENV)/.installed-dev
	@$(BIN)/python -m tasks.motion tasks/weights/starter $(or $(OUT),tasks/weights/starter/motion_adapter) $(ARGS)

train-gan: $(VENV)/.installed-dev
	@test -n "$(FOLDER)" -a -n "$(OUT)" || { echo "Say from where to where: make $@ FOLDER=… OUT=…" >&2; exit 1; }
	@$(BIN)/python -m tasks.gan train "$(FOLDER)" "$(OUT)" $(ARGS)

soak: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.faults.soak N=$(or $(N),1000) SEED=$(SEED)

bench: $(VENV)/.installed-dev $(if $(filter 1,$(GRADIO)),$(VENV)/gradio)
	@$(BIN)/python -m tests.bench $(ARGS)

# beside the environment, not in it: Gradio wants an older Pillow than the site
$(VENV)/gradio: tests/bench/gradio.txt | $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $@ -r $<
	@touch $@

lock: $(VENV)/.installed-dev
	@$(BIN)/python deploy/lock.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache coverage.json build dist *.egg-info
