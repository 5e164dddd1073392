PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup train evaluate test test-slow lint format profile notebooks docs docs-serve ui promote serve relocate data clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/installed  ## create .venv and install the pinned dependencies

train: $(VENV)/installed  ## train on the bundled sample; ARGS="model.max_depth=4" overrides
	@$(BIN)/python -m spotify_ml.train $(ARGS)

test: $(VENV)/installed-dev  ## run the default tests, under five minutes
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

test-slow: $(VENV)/installed-dev  ## run the tests that start whole commands or need minutes
	$(BIN)/python -m pytest -n 2 -m slow $(ARGS)

lint: $(VENV)/installed-dev  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev  ## mend style where that is automatic
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

evaluate: $(VENV)/installed  ## judge the model by all four splits beside its baselines; ARGS=data=full
	@$(BIN)/python -m spotify_ml.train -m split=random,recording,album,artist $(ARGS)

profile: $(VENV)/installed  ## look at the raw tracks before any model: outputs/profile.html; ARGS=data=full
	@$(BIN)/python -m spotify_ml.profile $(ARGS)

# Each kernel would warn that it is talked to over TCP, which is this machine's own loopback; and a page would ask other
# sites for scripts that it has no use for.
notebooks: $(VENV)/installed-notebooks  ## run the notebooks, which record two runs: outputs/notebooks/*.html
	$(BIN)/jupyter nbconvert --to html --execute --ExecutePreprocessor.extra_arguments=--log-level=ERROR \
		--HTMLExporter.mathjax_url= --HTMLExporter.mermaid_js_url= --HTMLExporter.require_js_url= \
		--output-dir outputs/notebooks notebooks/*.ipynb

docs: $(VENV)/installed-docs  ## build the documentation site: build/site/index.html
	@$(BIN)/python scripts/docs.py

docs-serve: $(VENV)/installed-docs  ## look at the documentation at http://127.0.0.1:8000 while you write it
	@$(BIN)/python scripts/docs.py --serve

ui: $(VENV)/installed  ## open the MLflow UI on the local store
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/mlruns/mlflow.db $(ARGS)

promote: $(VENV)/installed  ## let the challenger become champion if it is better; ARGS=dry_run=true only compares
	@$(BIN)/python -m spotify_ml.promote $(ARGS)

serve: $(VENV)/installed  ## serve the champion over HTTP; MODEL=models:/name/1 PORT=5001 choose
	@$(BIN)/python -m spotify_ml.serve $(if $(MODEL),model=$(MODEL)) $(if $(PORT),port=$(PORT)) $(ARGS)

relocate: $(VENV)/installed  ## let runs and models load again after the checkout was moved or copied
	@$(BIN)/python -m spotify_ml.relocate $(ARGS)

data: $(VENV)/installed  ## fetch the full dataset to data/raw/dataset.csv
	$(BIN)/python scripts/download_data.py

clean:  ## remove .venv and caches; runs and data stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis outputs/cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps come last: an interrupted installation is started again.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/installed-notebooks: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[notebooks]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	@touch $@
