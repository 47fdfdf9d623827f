.DEFAULT_GOAL := help
.PHONY: help install run test unit check format lock clean system-packages
PY ?= python3
BIN := .venv/bin
export UV_LINK_MODE := copy

help:                ## What can be made
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.* ## /\1\t/' | expand -t 12

install: $(BIN)/.installed  ## Make .venv with `saga` in .venv/bin

$(BIN)/.installed: requirements.lock pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which with: make PY=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PY) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

system-packages:
	@sh stack/install-rabbitmq.sh

run: install system-packages  ## Bring everything up, drive a few orders, stay until Ctrl-C
	@$(BIN)/saga up --tour

test: install system-packages  ## Run all tests, from nothing
	@$(BIN)/pytest

unit: install        ## Run the tests that need no servers
	@$(BIN)/pytest tests/unit

check: install       ## Format, lint, types, import contracts, dead code, generated documents
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/vulture

format: install      ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: install        ## Resolve requirements.lock anew (hashes, no index addresses)
	@$(BIN)/uv pip compile -q pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --custom-compile-command "make lock" -o requirements.lock

clean:               ## Delete what was made, the data of the stack included
	@rm -rf .venv .saga *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
