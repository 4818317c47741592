# make demo   forecast the last 24 bars of made-up daily bars with the built-in model, and measure it over 20 windows
# make test   lint, types and tests (installs what these need, the first time)
# Both create the virtual environment (.venv) themselves; only Python 3.10+ and make are needed.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# a process for each core; a file's tests share one
PYTEST := $(BIN)/python -m pytest -q --numprocesses auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-cpus lint test-hub test-slow test-frameworks test-oldest test-newest wheel docs docs-serve bench \
	calendars clean

help:
	@sed -n 's/^# //p' Makefile

setup: $(VENV)/.ready-dev

$(VENV)/.ready: pyproject.toml constraints.txt tools/bootstrap.py
	$(PYTHON) tools/bootstrap.py $(VENV) plot
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(PYTHON) tools/bootstrap.py $(VENV) dev
	@touch $@

demo: $(VENV)/.ready
	@mkdir -p demo
	$(BIN)/kronos forecast --sample synthetic --holdout --horizon 24 --windows 20 --out demo/forecast.csv --plot demo/forecast.png

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

test: lint
	$(PYTEST)

# make test-cpus   networks, engine and training again with the instructions of older processors (AVX2; SSE4.1)
CPU_TESTS := $(addprefix tests/, \
	generation/test_engine.py generation/test_fused.py nn/test_networks.py nn/test_golden_networks.py \
	test_golden_forecasts.py generation/test_paths.py test_predictor.py hub/test_nano.py training/test_training.py \
	training/test_pretrain.py)
test-cpus: setup
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) $(CPU_TESTS)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(PYTEST) $(CPU_TESTS)

# make test-hub    also the published checkpoints, where the Hugging Face Hub can be reached
test-hub: setup
	$(BIN)/python -m pytest -q -m hub -rs

# make test-slow   full-size runs
test-slow: setup
	$(BIN)/python -m pytest -q -m slow

# make test-frameworks   inside sktime and GluonTS, which need an older pandas: an environment of their own
test-frameworks: $(VENV)-frameworks/.ready
	$(VENV)-frameworks/bin/python -m pytest -q tests/adapters/test_adapters.py

$(VENV)-frameworks/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-frameworks
	$(VENV)-frameworks/bin/python -m pip install --quiet -e . pandas==2.3.3 sktime==1.2.0 gluonts==0.17.0 scikit-learn pytest pytest-timeout
	@touch $@

# Tests of what the base installation does.
BASE_TESTS := $(addprefix tests/, \
	klines/test_samples.py io/test_extras.py cli/test_cli.py calendars/test_calendars.py klines/test_features.py \
	forecast/test_forecast.py forecast/test_anchoring.py plotting/test_picture.py klines/test_reader.py \
	klines/test_validation.py klines/test_window.py klines/test_catalog.py klines/test_normalize.py \
	klines/test_reader_cases.py forecast/test_long_table.py nn/test_networks.py nn/test_golden_networks.py \
	test_golden_forecasts.py generation/test_paths.py generation/test_engine.py generation/test_fused.py \
	test_prices.py test_predictor.py hub/test_nano.py io/test_run_folder.py)
BASE_EXTRAS := plot,excel

# make test-oldest   the base installation with the oldest releases that pyproject.toml allows (PYTHON=python3.10)
test-oldest: $(VENV)-oldest/.ready
	$(VENV)-oldest/bin/python -m pytest -q $(BASE_TESTS)

$(VENV)-oldest/.ready: pyproject.toml tools/oldest.py tools/bootstrap.py
	$(PYTHON) tools/bootstrap.py $(VENV)-oldest $(BASE_EXTRAS) --oldest
	@touch $@

# make test-newest   the base installation with the newest releases
test-newest: $(VENV)-newest/.ready
	$(VENV)-newest/bin/python -m pytest -q $(BASE_TESTS)

$(VENV)-newest/.ready: pyproject.toml tools/bootstrap.py
	$(PYTHON) tools/bootstrap.py $(VENV)-newest $(BASE_EXTRAS) --newest
	@touch $@

# make wheel      wheel and sdist, checked, and tried in an empty environment: forecast, service, page, assistant
wheel: $(VENV)/.ready
	$(PYTHON) tools/bootstrap.py $(VENV) release
	rm -rf build dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python tools/try_wheel.py dist/*.whl

# make docs       the documentation site, in site/; a warning or a broken link is an error
docs: $(VENV)/.ready-docs
	$(BIN)/mkdocs build --strict

docs-serve: $(VENV)/.ready-docs
	$(BIN)/mkdocs serve

$(VENV)/.ready-docs: $(VENV)/.ready
	$(PYTHON) tools/bootstrap.py $(VENV) docs
	@touch $@

# make bench      the engine against the reference loop
bench: setup
	$(BIN)/python benchmarks/generate.py

# make calendars   how often derived timestamps are right, on the data in ../shared
calendars: setup
	$(BIN)/python benchmarks/calendars.py

clean:
	rm -rf $(VENV) $(VENV)-frameworks $(VENV)-oldest $(VENV)-newest site demo build dist .pytest_cache .mypy_cache .ruff_cache .schemathesis .hypothesis
