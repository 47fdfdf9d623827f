.DEFAULT_GOAL := help
.PHONY: help install run test check format lock clean
PY ?= python3
BIN := .venv/bin
export UV_LINK_MODE := copy

help:                ## What can be made
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(BIN)/.installed  ## Make .venv with `saga` in .venv/bin

$(BIN)/.installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PY) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip sync -q --python $(BIN)/python requirements.lock --require-hashes
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

lock:                ## Resolve requirements.lock anew (hashes, no index addresses)
	@$(BIN)/uv pip compile -q pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --custom-compile-command "make lock" -o requirements.lock
