# Two commands are enough on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(VENV)/.run-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
DEV    := $(VENV)/.dev-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
CLIENTS := .clients/.made-$(shell cksum < tests/serving/clients.txt | cut -d' ' -f1)
# One thread a test process: two of them share two cores. Bytecode is kept, asserts rewritten by
# pytest included: else every process that a test starts compiles anew.
TEST   := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q

.PHONY: demo test lint unit nightly docs clean

demo: $(RUN)
	$(BIN)/polyrank demo

# Type checking takes one core, so the tests run beside it.
test: $(DEV)
	$(MAKE) --no-print-directory -j 2 lint unit

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(DEV) $(CLIENTS) system
	rm -f .coverage .coverage.*
	$(TEST) -n 2 --dist worksteal -m "not nightly" --cov --cov-branch --cov-report=term:skip-covered

nightly: $(DEV) $(CLIENTS) system
	$(TEST) -n 2 -m nightly --timeout 3600

docs: $(DEV)
	$(BIN)/python docs/reference.py

# strace injects kills and full disks at chosen system calls, chromium opens the pages, redis-server
# keeps features; the tests that need them skip without.
.PHONY: system
system:
	@for tool in strace chromium redis-server; do command -v $$tool >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && apt-get update -qq && apt-get install -y -qq $$tool >/dev/null; } \
	  || echo "$$tool is not here and cannot be installed: its tests will be skipped"; done

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN): | $(BIN)/python
	$(BIN)/pip install -q -c constraints.txt -e .
	@touch $@

$(DEV): | $(BIN)/python
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

# The inference clients that the server is tested with.
.PHONY: clients
clients: $(CLIENTS)

.clients/bin/python:
	$(PYTHON) -m venv .clients

$(CLIENTS): | .clients/bin/python
	.clients/bin/pip install -q --disable-pip-version-check --no-deps --no-compile -r tests/serving/clients.txt
	@touch $@

clean:
	rm -rf $(VENV) .clients demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
