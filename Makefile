# MoodLens. `make repro` and `make test` do all set-up themselves; run them again and only what changed is redone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
# Telemetry of every tool off; one thread per process (two fighting threads were 11-24x slower than one).
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Stages call `python`: the environment's comes first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help repro test check lint docs publish calibrate bench ui interop bench-sae organism audiocraft clean preflight

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

repro: $(STAMP) ## run the pipeline on the embedded organism, print the verdict and where the report is
	@test -e .git || { echo "error: DVC versions data with git and this folder is no git clone. Clone the repository, or run: git init && git add -A && git commit -m import"; exit 2; }
	@echo "== dvc repro: $$(grep -c 'cmd: python -m moodlens.stages' dvc.yaml) stages, from prompts to report (minutes the first time)"
	@$(BIN)/dvc repro
	@$(BIN)/python -m moodlens.cli verdict

test: $(DEV) ## the whole test suite with branch coverage
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

check: lint ## fast path: lint, types, import contract, unit tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not pipeline"

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

docs: $(STAMP) ## write the figures that the docs quote from tracked files, and check the names in them
	$(BIN)/python -m moodlens.docs

publish: $(STAMP) ## copy this run's numbers to docs/published, which the docs quote, and fill the docs from them
	$(BIN)/python -m moodlens.cli publish
	$(BIN)/python -m moodlens.docs

calibrate: $(STAMP) ## error rates, power and the twins' verdicts: is the instrument right? (own pipeline, minutes)
	cd calibration && ../$(BIN)/dvc repro

bench: $(DEV) ## run every benchmark, write benchmarks/RESULTS.md
	@$(BIN)/pip install -q -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks

ui: $(STAMP) ## print which page of MLflow answers which question, and serve them (two processes, port 5000)
	@$(BIN)/python -m moodlens.cli ui

interop: ## our SAEs in the real SAELens and its SAEs here, in an environment of its own (.venv-interop)
	@test -x .venv-interop/bin/python || $(PYTHON) -m venv .venv-interop
	@.venv-interop/bin/pip install -q -r tests/interop/requirements.txt
	PYTHONPATH=src:. .venv-interop/bin/python -m pytest tests/interop --noconftest -W ignore -o addopts=-q

bench-sae: interop ## SAE training beside SAELens, dictionary_learning, sparsify, Overcomplete
	@.venv-interop/bin/pip install -q -r benchmarks/sae_requirements.txt
	@.venv-interop/bin/pip install -q --no-deps Overcomplete==0.3.0
	@.venv-interop/bin/pip uninstall -q -y torchvision
	PYTHONPATH=src:. .venv-interop/bin/python -m benchmarks.sae

organism: $(STAMP) ## train the embedded family anew, on the codec that it ships with (hours)
	@test -d models/organism/codec || { echo "== the codec, from the shipped weights (models/organism/dvc.yaml says why)"; \
	  $(BIN)/python -c "from pathlib import Path; from moodlens.organism import architecture as a; \
	  home = Path('models/organism'); a.codec_of(a.load_model(home)).save_pretrained(home / a.CODEC)"; }
	cd models/organism && ../../$(BIN)/dvc repro

audiocraft: $(STAMP) ## install the reference implementation (extra)
	@echo "== audiocraft, without the pins it does not need"
	@$(BIN)/pip install -q -c constraints.txt -e ".[audiocraft]"
	@$(BIN)/pip install -q -c constraints.txt --no-deps audiocraft==1.3.0

clean: ## remove data, metrics, reports and the MLflow database of this workspace; keeps .venv
	git clean -qfdX data metrics reports
	rm -rf models/sae mlruns .cache mlflow.db mlflow.db.lock mlartifacts .coverage .coverage.* htmlcov

preflight:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) must be installed; it is not on PATH. Install Python 3.11 or newer, or run: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"error: Python must be 3.11 or newer; got {v.major}.{v.minor} ({sys.executable}). Run: make PYTHON=/path/to/python3.11")'
	@command -v git >/dev/null || { echo "error: git must be installed; it is not on PATH. Install git"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: Python must have the venv module; it is missing. On Debian: apt-get install python3-venv"; exit 2; }

$(STAMP): constraints.txt pyproject.toml | preflight
	@test -x $(BIN)/python || { echo "== creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "== installing torch, then the pinned set (a few minutes the first time, about 2.5 GB)"
	@$(BIN)/pip install -q -c constraints.txt torch==2.13.0
	@$(BIN)/pip install -q -c constraints.txt -e .
	@$(BIN)/python -m moodlens.plots.dvc_page
	@touch $@

$(DEV): $(STAMP)
	@echo "== installing the tools of the test suite, and audiocraft, the reference it compares with"
	@$(BIN)/pip install -q -c constraints.txt -e ".[dev,audiocraft]"
	@$(BIN)/pip install -q -c constraints.txt --no-deps audiocraft==1.3.0
	@touch $@
