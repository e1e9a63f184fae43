# make repro · make test · make tune · make ui · make check · make bench

PYTHON ?= python3
PORT ?= 5000
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export LC_ALL ?= C.UTF-8
READY := .venv/.ready
PEERS := .venv-bench/.ready

.DEFAULT_GOAL := help
.PHONY: help repro test tune grid cv rank ui sync check format bench peers clean scm

help:     ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(READY) scm    ## run the pipeline: what changed, and what depends on it
	@dvc repro
	@python -m cf.cli.show

test: $(READY)         ## run all tests
	@python -m pytest

tune: $(READY) scm     ## search better values for the section that params.yaml's tune names
	@dvc repro --quiet split
	@python -m cf.cli.tune

ui: $(READY)           ## compare all runs in MLflow, on http://127.0.0.1:5000
	@python -m cf.cli.ui $(PORT)

grid: $(READY) scm     ## n_factors × weight_decay of dotbias as queued experiments: a heat map
	@dvc exp run --queue --name grid -S 'train_dotbias.model.n_factors=10,25,50' \
		-S 'train_dotbias.optimizer.weight_decay=0.00005,0.0001,0.0002'
	@python -m cf.cli.experiments 2
	@python -m cf.cli.grid

cv: $(READY) scm       ## cross-validate all models: folds × seeds as queued experiments
	@python -m cf.cli.cv

rank: $(READY) scm     ## train on what is older, and judge lists of recommended items on the rest
	@dvc exp run --temp --set-param split.method=time rank

sync: $(READY)         ## bring MLflow up to date, after a pull or with the server back
	@python -m cf.cli.sync

check: $(READY)        ## lint, formatting, types
	@ruff check .
	@ruff format --check .
	@mypy

format: $(READY)       ## mend what `make check` can mend by itself
	@ruff check --fix .
	@ruff format .

bench: $(READY) scm    ## measure speed and memory on this machine
	@dvc repro --quiet split
	@python -m benchmarks.epoch
	@python -m benchmarks.sampler
	@python -m benchmarks.pipeline
	@python -m benchmarks.bootstrap
	@python -m benchmarks.ranking --users 1000

peers: $(READY) $(PEERS) scm   ## measure other libraries beside cf's models, on the same rows
	@dvc repro --quiet split
	@.venv-bench/bin/python -m benchmarks.peers --rounds 3

clean:                 ## remove the environments; data, models and runs stay
	rm -rf .venv .venv-bench

$(READY): requirements.txt
$(PEERS): requirements-bench.txt
$(READY) $(PEERS):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "cf needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(@D) \
		|| { echo "On Debian: apt install python3-venv, then again." >&2; exit 1; }
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# DVC wants to be told where there is no git, and that there is one after all.
scm:
	@git rev-parse --git-dir >/dev/null 2>&1 && none=false || none=true; \
		grep -qs "no_scm = $$none" .dvc/config.local \
		|| dvc config --quiet --local core.no_scm $$none
