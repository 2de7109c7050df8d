# Each target does its own set-up in .venv; Python 3.11, pip, gcc and git are all it needs.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
DATA ?= ../shared/data
# Further options of gb12's pretrain and evaluate.
PRETRAIN ?=
EVALUATE ?=

.DEFAULT_GOAL := help
.PHONY: help demo gb12 test test-slow check bench clean

help:
	@echo "make demo    the main job on the built-in domain: prepare, pretrain, evaluate, embed"
	@echo "make gb12    the same on observed British data below DATA ($(DATA))"
	@echo "make test    the tests"
	@echo "make check   lint, format, types, import contracts, dependencies, documentation"
	@echo "make bench   speed, as ratios measured in one run"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	@touch $@

demo: $(READY)
	@rm -rf demo && mkdir demo
	cd demo && ../$(BIN)/watercli prepare
	cd demo && ../$(BIN)/watercli pretrain
	cd demo && ../$(BIN)/watercli evaluate
	cd demo && ../$(BIN)/watercli embed --out emb.zarr
	@echo
	@echo "Made in demo/:"
	@echo "  store.zarr                        the data: rain, soil moisture, temperature, evaporation, river flow"
	@echo "  runs/demo                         the pretrained model, its checkpoints and metrics"
	@echo "  runs/demo/evaluation/report.html  how good it is: open this in a browser"
	@echo "  emb.zarr                          embeddings: xarray.open_zarr('demo/emb.zarr')"

gb12: $(READY)
	@rm -rf gb12 && mkdir gb12
	cd gb12 && ../$(BIN)/watercli prepare --config gb12 --data $(abspath $(DATA)) --out gb12.zarr
	cd gb12 && ../$(BIN)/watercli pretrain --store gb12.zarr $(PRETRAIN)
	cd gb12 && ../$(BIN)/watercli evaluate --run runs/gb12 $(EVALUATE)
	cd gb12 && ../$(BIN)/watercli embed --run runs/gb12 --out gb12-emb.zarr

# One process for each core, each with one thread: most tests are too small for two.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

test-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -n 2 --dist worksteal

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pip check
	$(BIN)/pytest --quiet tests/unit/test_dependencies.py
	$(BIN)/mkdocs build --strict --quiet --site-dir .venv/site

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.bench

clean:
	rm -rf .venv demo gb12
