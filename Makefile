# The four doors: demo, run, test, bench. Each makes .venv first, from a lock file with hashes.
# Needs Python 3.11 or newer and make. ARGS is handed on: make demo ARGS=--exit, make run ARGS="--port 9000".

.DEFAULT_GOAL := help
.PHONY: help demo run test test-faults bench check lock
.DELETE_ON_ERROR:

PY := .venv/bin/python
SOURCES := aigateway audit changes clients connections mcpservers metrics outbound providers vault
PIP_INSTALL := $(PY) -m pip install --disable-pip-version-check --require-hashes --progress-bar on
LOCKS := requirements/*.lock tests/real_clients/package-lock.json
UV_COMPILE := $(shell command -v uv 2>/dev/null || echo .venv/bin/uv) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

help:
	@echo "make demo    watch the whole job against a real authorization server and MCP server (ARGS=--exit ends after it)"
	@echo "make run     run the gateway                    make test    run every test this machine can run"
	@echo "make bench   run the benchmarks                 make check   lint, types, migrations, lock files"
	@echo "make test-faults   make every fault for real, again and again, and print what each cost (docs/faults.md)"

run: .venv/installed-run
	@$(PY) manage.py serve $(ARGS)

demo: .venv/installed-demo
	@$(PY) manage.py demo $(ARGS)

# Tests are dealt out, those of long files first, to one process more than there are cores, four at most.
PYTEST := $(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder --durations 40

# First on the embedded SQLite; then, where both services are named, what uses a database on PostgreSQL and Redis.
test: .venv/installed-test
	@echo "== tests on the embedded database"
	@env -u TEST_DATABASE_URL -u TEST_REDIS_URL $(PYTEST) -m "not service" $(ARGS)
	@if [ -n "$$TEST_DATABASE_URL" ] && [ -n "$$TEST_REDIS_URL" ]; then \
		echo "== tests on PostgreSQL and Redis"; \
		$(PYTEST) -m "database or service" $(ARGS); \
	else \
		echo "== not run: the tests on PostgreSQL and Redis; set TEST_DATABASE_URL and TEST_REDIS_URL"; \
	fi

# The long form: several rounds, and the time limits that the product has by default.
test-faults: .venv/installed-test
	@AIGW_FAULT_ROUNDS=$${AIGW_FAULT_ROUNDS:-3} $(PY) -m pytest tests/faults $(ARGS)

bench: .venv/installed-test
	@set -e; for script in bench/[a-z]*.py; do \
		[ -e "$$script" ] || { echo "there are no benchmarks yet"; break; }; \
		echo "== $$script"; PYTHONPATH=. $(PY) "$$script" $(ARGS); \
	done

check: export AIGW_DATA_DIR := $(CURDIR)/.venv/check-data
check: .venv/installed-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict $(SOURCES) manage.py
	$(PY) manage.py makemigrations --check --dry-run
	@if grep -nE '(https?|file|git|ssh)://|^ *--?(index-url|extra-index-url|find-links|trusted-host|i |f )' $(LOCKS); then \
		echo "lock files must not name a host or a folder to download from"; exit 1; \
	else echo "lock files name no registry"; fi

# For maintainers; needs uv and npm.
lock:
	$(UV_COMPILE) pyproject.toml -o requirements/run.lock
	$(UV_COMPILE) pyproject.toml --extra demo -c requirements/run.lock -o requirements/demo.lock
	$(UV_COMPILE) pyproject.toml --extra test -c requirements/demo.lock -o requirements/test.lock
	cd tests/real_clients && npm install --package-lock-only --ignore-scripts --no-audit --no-fund && node without_funding.mjs

# A stamp per lock file: the second `make` finds it and is instant, a changed lock file installs again.
# What is installed for a larger set serves the smaller ones, which it contains.
.venv/installed-run: requirements/run.lock | .venv/bin/pip
	$(call install,run)
	@touch $@
.venv/installed-demo: requirements/demo.lock | .venv/bin/pip
	$(call install,demo)
	@touch .venv/installed-run $@
.venv/installed-test: requirements/test.lock | .venv/bin/pip
	$(call install,test)
	@touch .venv/installed-run .venv/installed-demo $@

define install
@echo "Installing up to $$(grep -c "==" requirements/$(1).lock) packages from requirements/$(1).lock into .venv (once) ..."
@$(PIP_INSTALL) -r requirements/$(1).lock
endef

.venv/bin/pip:
	@python=$$(command -v python3.11 || command -v python3) || { \
		echo "Python 3.11 or newer is needed, and neither python3.11 nor python3 is on the PATH."; exit 1; }; \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; $$python is $$($$python -V 2>&1)."; exit 1; }; \
	echo "Making .venv with $$($$python -V) ..."; \
	$$python -m venv --clear .venv || { \
		echo "$$python could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; \
		rm -rf .venv; exit 1; }
