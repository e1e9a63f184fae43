# make repro · make test · make demo · make tune · make ui · make check · make bench

PYTHON ?= python3
PORT ?= 5000
MINUTES ?= 10
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export LC_ALL ?= C.UTF-8
READY := .venv/.ready
PACKAGES := .venv/.packages
RAY := .venv/.ray
PEERS := .venv-bench/.packages
RANGES := .venv-lowest/.ready .venv-newest/.ready

.DEFAULT_GOAL := help
.PHONY: help repro test test-lowest test-newest coverage mutate ray test-ray fuzz tour tune grid cv rank verify torture demo ui sync check format bench bench-large bench-gpu bench-ray peers ladder lock licenses clean scm

help:     ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(READY) scm    ## run the pipeline: what changed, and what depends on it
	@dvc repro
	@cf show

test: $(READY)         ## run all tests
	@python -m pytest -n 2

test-lowest: .venv-lowest/.ready  ## run all tests with the lowest versions that pyproject.toml allows
test-newest: .venv-newest/.ready  ## run all tests with the newest versions there are
test-lowest test-newest: test-%:
	@PATH="$(CURDIR)/.venv-$*/bin:$$PATH" python -m pytest -n 2

coverage: $(READY)     ## run all tests, and see which lines and branches of cf/ none executes
	@coverage erase
	@coverage run -m pytest -n 2
	@coverage combine --quiet
	@coverage report

mutate: $(READY)       ## change the code of cf/ in small ways, and see which changes no test notices: hours
	@mutmut run --max-children 2
	@mutmut results

ray: $(RAY)            ## install what `launcher: ray` of params.yaml needs

test-ray: $(RAY)       ## train on Ray with two workers, and lose one: 4 minutes
	@python -m pytest -n 2 tests/distributed

fuzz: $(READY)         ## damage files for MINUTES=10, and see that each is refused or read right
	@python -m tests.fuzz $(MINUTES)

tour: $(READY) scm     ## execute notebooks/tour.ipynb, on the data and with the parameters here
	@dvc repro --quiet split
	@jupyter-execute --timeout=600 notebooks/tour.ipynb

tune: $(READY) scm     ## search better values for the section that params.yaml's tune names
	@dvc repro --quiet split
	@cf tune

grid: $(READY) scm     ## n_factors × weight_decay of dotbias, as experiments: a heat map
	@dvc repro --quiet split
	@cf grid

cv: $(READY) scm       ## cross-validate all models: folds × seeds, as experiments
	@cf cv

rank: $(READY) scm     ## train on the older ratings, evaluate items recommended for the latest
	@cf rank

verify: $(READY) scm   ## run the last commit anew in a clean folder, and compare the results
	@cf verify

torture: $(READY)      ## let every write of every command fail once, or kill it: hours
	@python -m tests.torture

demo: $(READY)         ## try the best model on a page, on http://127.0.0.1:8000
	@cf demo

ui: $(READY)           ## compare all runs in MLflow, on http://127.0.0.1:5000
	@cf ui --port $(PORT)

sync: $(READY)         ## bring MLflow up to date, after a pull or when the server is back
	@cf sync

check: $(READY)        ## lint, formatting, types
	@ruff check .
	@ruff format --check .
	@mypy

format: $(READY)       ## fix what `make check` can fix by itself
	@ruff check --fix .
	@ruff format .

bench: $(READY) scm    ## measure speed and memory on this machine
	@dvc repro --quiet split
	@python -m benchmarks.epoch
	@python -m benchmarks.adagrad
	@python -m benchmarks.sampler
	@python -m benchmarks.pipeline
	@python -m benchmarks.bootstrap
	@python -m benchmarks.ranking --users 1000

bench-large: $(READY)  ## measure each stage on made-up ratings of ml-32m's shape: six minutes
	@python -m benchmarks.large --json benchmarks/large.json

bench-gpu: $(READY)    ## measure an epoch and a sweep on the CPU and on a GPU: five minutes
	@python -m benchmarks.gpu --json benchmarks/gpu.json

bench-ray: $(RAY)      ## measure a step and a sweep on one and on two workers: five minutes
	@python -m benchmarks.distributed --json benchmarks/distributed.json
	@python -m benchmarks.ray_sampler

peers: $(READY) $(PEERS) scm   ## measure other libraries beside cf's models: 20 minutes
	@dvc repro --quiet split
	@.venv-bench/bin/python -m benchmarks.peers --rounds 3 --json benchmarks/peers.json
	@.venv-bench/bin/python -m benchmarks.floor --rounds 3 --json benchmarks/floor.json
	@.venv-bench/bin/python -m benchmarks.frontier

ladder: $(READY) $(PEERS)      ## bayesmf as params.yaml has it, on rows that others publish on
	@.venv-bench/bin/python -m benchmarks.ladder

lock: $(READY)         ## pin what pyproject.toml asks for, with hashes; UPGRADE=--upgrade: the newest
	@python requirements/lock.py $(UPGRADE)

licenses: $(READY)     ## write docs/licenses.md, from what the packages here say of themselves
	@python requirements/licenses.py

clean:                 ## remove the environments; data, models and runs stay
	rm -rf .venv .venv-bench .venv-lowest .venv-newest

INSTALL = $(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
	--require-hashes --no-deps --no-build-isolation
CPU_TORCH = $(INSTALL) -r requirements/cpu.txt 2> $(@D)/cpu.log \
	|| grep -q "No matching distribution" $(@D)/cpu.log || { cat $(@D)/cpu.log >&2; exit 1; }

# cf itself goes in without its dependencies, which are there already, and without the network.
$(READY): $(PACKAGES) pyproject.toml
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@

$(RAY): requirements/ray.txt $(READY)
	@$(INSTALL) -r $<
	@touch $@

$(PACKAGES): requirements/runtime.txt requirements/dev.txt
$(PEERS): requirements/bench.txt
$(PACKAGES) $(PEERS):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "cf needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(@D) \
		|| { echo "On Debian: apt install python3-venv, then again." >&2; exit 1; }
	@echo "Installing the packages of $^: some minutes, once ..."
	@$(INSTALL) -r requirements/build.txt
	@$(CPU_TORCH)
	@$(INSTALL) $(^:%=-r %)
	@! $(@D)/bin/python -m pip show torch 2>/dev/null | grep -q '^Requires:.*nvidia' \
		|| $(INSTALL) -r requirements/cuda.txt
	@$(@D)/bin/python -m pip check --quiet
	@touch $@

# Not locked, so without hashes; but where there is a torch for CPUs, it is that of make test.
.venv-lowest/.ready: RESOLUTION := lowest-direct
.venv-newest/.ready: RESOLUTION := highest
$(RANGES): pyproject.toml $(READY)
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@echo "Installing packages for $(@D), $(RESOLUTION): some minutes, once ..."
	@$(CPU_TORCH)
	@uv pip install --quiet --python $(@D)/bin/python --resolution $(RESOLUTION) \
		--editable ".[fast]" --group dev
	@touch $@

# DVC's setting for a folder that is, or is not, a git repository.
scm:
	@! grep -qs '^<<<<<<< ' dvc.lock || { echo "dvc.lock: two branches trained different models." \
		"Type: git merge --abort && git merge -X ours BRANCH && dvc pull --allow-missing && dvc repro" >&2; exit 1; }
	@git rev-parse --git-dir >/dev/null 2>&1 && none=false || none=true; \
		grep -qs "no_scm = $$none" .dvc/config.local \
		|| dvc config --quiet --local core.no_scm $$none
