# One line per task; every target sets itself up. `make demo` and `make test` need only Python 3.11+ and pip.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready-$(shell cksum pyproject.toml requirements.lock 2>/dev/null | cksum | cut -d' ' -f1)

.PHONY: help setup demo test test-all lint types contract peers bench vllm clean
help:           ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
$(READY):
	$(PYTHON) scripts/setup.py --venv .venv
	@rm -f .venv/.ready-*; touch $(READY)
setup: $(READY) ## make .venv and install the project with everything the demo and the tests need
demo: setup     ## train the tiny hybrid on four real environments, with a live view and a report
	@$(BIN)/palaestra train --recipe demo $(ARGS)
test: setup     ## the test suite (a few minutes on two cores)
	@$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)
test-all: setup ## every test, the long ones too
	@$(BIN)/python -m pytest $(ARGS)
lint: setup     ## ruff, formatting and rules
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
types: setup    ## mypy over every package
	@$(BIN)/mypy
contract: setup ## who may import whom
	@$(BIN)/lint-imports
peers:          ## foreign packages (NeMo Gym, verifiers, TRL), each in an environment of its own; a few GB
	@$(PYTHON) scripts/peers.py
bench: setup    ## the quick form of every benchmark
	@for b in bench/*.py; do $(BIN)/python $$b --quick || exit 1; done
vllm:           ## vLLM for this CPU in an environment of its own (DEVICE=cuda for a GPU)
	$(PYTHON) scripts/install_vllm.py --device $(or $(DEVICE),cpu)
clean:          ## remove the virtual environment and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
