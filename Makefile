# `make demo` and `make test` do all their set-up by themselves, in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Some tests wait for processes of their own, so there is one worker more than there are cores.
WORKERS := -n $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.PHONY: demo demo-mnist test test-slow test-all matrix lint docs bench reproduce wheel clean

demo: $(READY) ## trains VEEGAN on stacked digits, and prints how many of the 1000 modes it covers
	$(BIN)/python -m veegan_jax.main --config configs/stacked_digits.py

demo-mnist: $(READY) ## trains VEEGAN on stacked MNIST on two cores, in 54 minutes: needs MNIST, in VEEGAN_DATA_DIR or from TFDS
	$(BIN)/python -m veegan_jax.main --config stacked_mnist_small_best

test: $(READY) ## runs the fast tests: every claim that one process can show
	$(BIN)/python -m pytest $(WORKERS) -m "not slow" --durations=40

test-slow: $(READY) ## runs the tests that `make test` leaves out: more combinations, long training, killed groups of processes
	$(BIN)/python -m pytest $(WORKERS) -m slow --durations=40

test-all: test test-slow ## runs all tests

matrix: $(READY) ## runs a part of the fast tests on each Python, with the oldest and the newest packages: noxfile.py
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nox

lint: $(READY) ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY) ## builds the site of the documentation, and fails at a link or a name that leads nowhere: runs/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "runs/site/index.html"

bench: $(READY) ## times the training step beside its peers: runs/bench has a table, a plot and JSON
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python -m benchmarks.bench

reproduce: $(READY) ## computes what is not yet computed of the paper's tables 1 and 2: docs/reproduction.md
	$(BIN)/python -m veegan_jax.main --mode reproduce --table 1
	$(BIN)/python -m veegan_jax.main --mode reproduce --table 2

wheel: $(READY) ## builds the wheel, and checks it in an empty environment
	.ci/check-wheel

clean: ## removes the virtual environment, not the runs
	rm -rf .venv

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version); Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
