# `make run` and `make test` are all a newcomer needs; `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PEERS  := .venv-peers
DEPLOYMENTS := tests/containers tests/workflows tests/installation

# Where nothing compiled may be kept, as in many containers, each start and each of pytest's workers compiles all anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-long lint check format security fuzz lock package bench bench-peers deployments faults faults-long mutants install clean screenshots

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.runtime  ## Run the main job once and show what it got (without a key: on made-up data, in demo-data/)
	@$(BIN)/python -m openaq_pipeline first-run

test: $(VENV)/.dev  ## Run the tests
	$(BIN)/python -m pytest -n 4 --dist worksteal tests

test-long: $(VENV)/.dev  ## The same with every example and every fault
	$(BIN)/python -m pytest -n 4 --dist worksteal --long tests

faults: $(VENV)/.dev  ## Produce faults on purpose, a few of each, and count what is lost (under a minute)
	$(BIN)/python -m pytest -n 4 --dist worksteal tests/faults

faults-long: $(VENV)/.dev  ## The same thousands of times: prints the table of docs/RELIABILITY.md
	$(BIN)/python -m pytest -n 4 --dist worksteal --long tests/faults

deployments: $(VENV)/.dev  ## Deploy it for real in each way: images on Docker, systemd, cloud-init, the workflow, the wheel
	$(BIN)/python -m pytest -n 3 --dist loadfile --deployments $(DEPLOYMENTS)

mutants: $(VENV)/.dev  ## Break the program by hand, a mistake at a time, and see each found by its test
	$(BIN)/python -m tests.faults.mutants

lint: $(VENV)/.dev  ## Format, lint, types and import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## Lint and tests; CI runs security and deployments as well

format: $(VENV)/.dev  ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

security: $(VENV)/.dev  ## What bandit has against the code, and pip-audit against the locked packages
	$(BIN)/python .ci/security.py

fuzz: $(VENV)/.dev  ## Feed nonsense to all that reads, 20 s each: SECONDS=600 make fuzz
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),20)

lock: requirements.lock deploy/container/loader.lock  ## Lock each package to the version tested here, by its hashes

.PHONY: requirements.lock deploy/container/loader.lock
requirements.lock: requirements.txt $(VENV)/.dev
deploy/container/loader.lock: deploy/container/loader.txt $(VENV)/.dev
requirements.lock deploy/container/loader.lock:
	@$(BIN)/python -m pip freeze --quiet --exclude-editable > $(VENV)/tested.txt
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras \
		--no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--constraint $(VENV)/tested.txt --output-file $@ $<

package: $(VENV)/.dev  ## Build wheel and sdist into dist/, and try them in an empty environment of each Python
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m pytest -n 2 --dist worksteal --long tests/installation

bench: $(VENV)/.dev  ## Print the benchmark tables (benchmarks/README.md)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.history

bench-peers: $(VENV)/.dev $(PEERS)/.made  ## Compare with other ways to keep a copy (benchmarks/README.md)
	$(BIN)/python -m benchmarks.peers

screenshots: $(VENV)/.dev  ## Draw the pictures of the pages in docs/images anew (wants Chromium and faketime)
	$(BIN)/python -m tests.web.screenshots

install: $(VENV)/.dev  ## Make .venv with everything a developer needs

clean:  ## Remove the environments, caches and demo-data/
	rm -rf $(VENV) $(PEERS) demo-data .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python requirements.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(PEERS)/.made: benchmarks/peers/requirements.txt requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@
