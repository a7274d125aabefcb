# The two commands are `make demo` and `make test`. Each sets up everything it needs, and does it once.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
TESTS ?= tests
# Debian keeps named, haproxy and others where only root looks for programs.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: demo test crash-matrix simulate check unit packages lock clean help

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(VENV)/run.stamp ## The main job on real traffic, on this machine, without root (ends by itself)
	@$(BIN)/failover demo

test: $(VENV)/test.stamp packages check unit ## Every check and every test, real servers included

check: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

HISTORIES ?= 100000

simulate: $(VENV)/run.stamp ## 100,000 histories of core and runs under faults, from their seeds (minutes)
	@$(BIN)/python -m runbooks.simulate --histories $(HISTORIES) --jobs $$(getconf _NPROCESSORS_ONLN)

unit: $(VENV)/test.stamp
	$(BIN)/python -m pytest $(TESTS)

crash-matrix: $(VENV)/test.stamp packages ## Every step, every moment, everybody who may die; STORY=steer,call chooses
	CRASH_MATRIX=$(or $(STORY),all) $(BIN)/python -m pytest -n 0 tests/crashes -k whole
	$(if $(STORY),,CRASH_MATRIX=all $(BIN)/python -m pytest -n 0 tests/breakglass/test_kill.py)

packages: ## Debian packages that the tests use as real servers: BIND, HAProxy, PostgreSQL, Chromium
	@bash .ci/packages

lock: $(VENV)/test.stamp ## Resolve the dependencies anew into requirements/
	bash .ci/lock $(BIN)

$(VENV)/run.stamp: requirements/run.lock pyproject.toml .ci/venv
	@bash .ci/venv "$(PYTHON)" $(VENV) requirements/run.lock
	@touch $@

$(VENV)/test.stamp: requirements/test.lock pyproject.toml .ci/venv
	@bash .ci/venv "$(PYTHON)" $(VENV) requirements/test.lock
	@touch $@ $(VENV)/run.stamp

clean: ## Remove what was made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
