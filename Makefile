# The words of this project. Each sets up what it needs; nothing has to be installed before but git, make and python3.
#
#   make run         the main job: ingle run examples/01_hello.py
#   make test        every test            (ARGS="tests/unit -k name" for some)
#   make simulate    the scheduler against a world that fails, from many seeds (SEED=123 replays one)
#   make lint        ruff      make types   mypy      make docs-check   pages and programs say the same
#   make chaos       10 000 calls while server, node and containers are killed, three times over
#   make bench       the promises of SPECIFICATION.md, measured
#   make clean       stop the platform of this machine and remove what the words above made here

.DEFAULT_GOAL := run
.PHONY: run test simulate chaos lint types bench docs-check clean
.DELETE_ON_ERROR:

BIN := .venv/bin
# Root is needed for system packages and for containers.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
ENOUGH := import sys; sys.exit(sys.version_info < (3, 10))
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install

run: .setup-done
	$(if $(SUDO),@$(SUDO) $(BIN)/ingle up --detach)
	@$(BIN)/ingle run examples/01_hello.py

test: .setup-done .venv/.test
	$(BIN)/python -m pytest $(ARGS)

simulate: .venv/.test
	$(BIN)/python -m pytest tests/simulation $(ARGS)

chaos: .setup-done .venv/.test
	INGLE_CHAOS_CALLS=10000 INGLE_CHAOS_ROUNDS=3 $(BIN)/python -m pytest tests/chaos -s $(ARGS)

lint: .venv/.test
	$(BIN)/ruff check src tests bench examples

types: .venv/.test
	$(BIN)/mypy src/ingle

bench: .setup-done .venv/.test
	$(BIN)/python bench/run.py $(ARGS)

docs-check: .venv/.test
	$(BIN)/python -m pytest tests/tidy/test_docs.py

clean:
	-[ ! -x $(BIN)/ingle ] || $(SUDO) $(BIN)/ingle down
	rm -rf .venv .setup-done .pytest_cache .mypy_cache .ruff_cache

# ---- how they set up

# The virtual environment. Debian ships Python without the part that makes one: it is installed where it is missing.
.venv/bin/python:
	@python=; for try in $$PYTHON python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	    if command -v $$try >/dev/null && $$try -c '$(ENOUGH)'; then python=$$try; break; fi; \
	done; \
	[ -n "$$python" ] || { echo "make: no Python 3.10 or later is here; install one, or say PYTHON=/path/to/it" >&2; exit 1; }; \
	echo "Making .venv with $$($$python --version)"; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "Installing python$$version-venv: Python needs it to make a virtual environment"; \
	    install="$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q python$$version-venv"; \
	    { $$install 2>/dev/null || { $(SUDO) apt-get update -q && $$install; }; } >/dev/null || \
	        { echo "make: install the venv package of $$python, then run make again" >&2; exit 1; }; \
	fi; \
	rm -rf .venv && $$python -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	@echo "Installing Ingle and its libraries into .venv"
	@$(PIP) -e .
	@touch $@

.venv/.test: .venv/.installed
	@command -v ip >/dev/null || { echo "Installing iproute2: the tests cut and join networks with it"; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q iproute2 >/dev/null; }
	@echo "Installing what the tests need into .venv"
	@$(PIP) -e '.[test]'
	@touch $@

# The system's packages; asked again when the list of them changes.
.setup-done: .venv/.installed src/ingle/node/setup.py
	@$(SUDO) $(BIN)/ingle setup --yes
	@touch $@
