# A fresh machine needs Python >= 3.11 only: every target makes .venv if it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help chaos chaos-sweeps fuzz precision soak demo sweep-toy test-fast test test-all lint types bench runtimes \
	gpu-check clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml .ci/constraints.txt .ci/requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "error: Python >= 3.11 is needed, $(PYTHON) is " + sys.version.split()[0] + "; say make PYTHON=python3.11")'
	@echo "installing into $(VENV) (a few minutes; about 2 GB)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -c .ci/constraints.txt torch torchvision
	@$(PIP) --no-deps --require-hashes -r .ci/requirements.lock
	@$(PIP) --no-deps -e .
	@touch $@

demo: $(VENV)/.installed ## remove three objects, train for five minutes, report on both (runs/demo/report.html)
	@echo "demo: lama-small removes three objects; then a small LaMa is trained from nothing, and lama-small is fine-tuned,"
	@echo "      for about 5 minutes together on 2 cores; all are compared with classical methods."
	@echo "      result: runs/demo/report.html, a page to open in a browser"
	@$(BIN)/python bin/report.py removals=runs/removals
	@$(BIN)/python bin/train.py -cn demo overwrite=true
	@$(BIN)/python bin/train.py -cn demo-finetune overwrite=true
	@$(BIN)/python bin/report.py run=runs/demo others=[runs/demo-finetune] removals=runs/removals

sweep-toy: $(VENV)/.installed ## rehearse the paper's tables 2 to 4, small, on this machine (runs/toy/tables/tables.html)
	@echo "sweep-toy: ten small trainings one after the other, their evaluations, the tables: under 25 minutes on 2 cores."
	@echo "           result: runs/toy/tables/tables.html; if it is stopped, the same command continues"
	@$(BIN)/python bin/sweep.py toy runs/toy/material
	@$(BIN)/python bin/train.py -m sweep=toy
	@$(BIN)/python bin/sweep.py collect runs/toy

test-fast: $(VENV)/.installed ## models, losses, masks, configurations, house rules: under 30 seconds
	@$(BIN)/python -m pytest -q -n 2 -k "not step_at_reduced_width" $(addprefix tests/test_, $(addsuffix .py, \
		models losses masks conventions config architecture))

test: $(VENV)/.installed ## all tests but the slow ones, offline, in minutes
	@$(BIN)/python -m pytest -q -n 2

test-all: $(VENV)/.installed ## all tests, the slow ones too
	@$(BIN)/python -m pytest -q -n 2 -m "slow or not slow"

fuzz: $(VENV)/.installed ## 10 000 damaged files of each kind (images, masks, checkpoints, lists, requests): an hour
	@LAMA_FUZZ=10000 $(BIN)/python -m pytest -q tests/fuzz

chaos: $(VENV)/.installed ## 1000 faults to trainings: kills, disks, memory, clocks, files: an hour (runs/chaos/report.html)
	@$(BIN)/python tests/chaos/chaos.py

chaos-sweeps: $(VENV)/.installed ## disturb 100 jobs of a sweep on a SLURM of this machine (runs/chaos-sweeps/report.html)
	@$(BIN)/python tests/chaos/sweeps.py

soak: $(VENV)/.installed ## 5 000 requests to the page, 16 at a time, some of them hostile: minutes (runs/soak/soak.png)
	@$(BIN)/python tests/soak/soak.py

precision: $(VENV)/.installed ## the error of every published number beside the allowed one (docs/precision.md): minutes
	@$(BIN)/python tests/precision.py

lint: $(VENV)/.installed ## ruff: style and likely errors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/.installed ## mypy on the package
	@$(BIN)/mypy lama

bench: $(VENV)/.installed ## measure speed, as ratios of alternated runs
	@$(BIN)/python bin/bench.py train --variants official "equal semantics" "modern fp32" "modern bf16"
	@$(BIN)/python bin/bench.py masks
	@$(BIN)/python bin/bench.py predict --sizes 512

runtimes: $(VENV)/.installed ## lama-small in each runtime for ONNX: minutes (runs/runtimes/runtimes.csv)
	@echo "runtimes: fetches openvino, tract and playwright from PyPI, onnxruntime-node and -web from npm (400 MB);"
	@echo "          without npm, or Chromium, their rows say how to install them."
	@$(PIP) -c .ci/constraints.txt openvino tract playwright
	@npm install --silent --ignore-scripts --prefix runs/runtimes/node onnxruntime-node onnxruntime-web || echo "no npm"
	@$(BIN)/python bin/bench.py runtimes --rounds 2 --node runs/runtimes/node --out runs/runtimes

gpu-check: $(VENV)/.installed ## check a GPU: right, fast, enough memory; minutes (gpu_check/report.html)
	@$(BIN)/python bin/gpu_check.py

clean: ## remove the virtual environment and caches, never runs/
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
