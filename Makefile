# Every target builds the virtual environment it needs; nothing has to be activated.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CASES  ?= 1
RUNS   ?= 20000
PLUGINS := $(wildcard plugins/*/pyproject.toml)
STAMP  := $(VENV)/.installed

.PHONY: drill test conformance matrix fuzz real bench lint table clean

$(STAMP): pyproject.toml $(PLUGINS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ddsdk needs Python 3.11 or later; this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' $(patsubst %/pyproject.toml,-e ./%,$(PLUGINS))
	touch $@

drill: $(STAMP)         ## a crash, a dump through a driver, a vmcore verified page by page
	$(BIN)/ddsdk drill

test: $(STAMP) lint     ## lint, types and the fast suite
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

conformance: $(STAMP)   ## every driver in plugins/ judged on its own model
	$(BIN)/ddsdk conformance $(patsubst %/pyproject.toml,%,$(PLUGINS))

matrix: $(STAMP)        ## the proof that the checks bite: every saboteur is caught, every required check is needed
	$(BIN)/python -m ddsdk.conformance.saboteurs.matrix --enough --cases $(CASES)

fuzz: $(STAMP)          ## RUNS inputs, coverage-guided, for everything that reads dump files and partitions
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(RUNS)

real: $(STAMP)          ## real kernels, QEMU, crash, makedumpfile (tests/real/install-tools installs them)
	$(BIN)/python -m pytest tests/real

bench: $(STAMP)         ## ratios against dd and cp, measured in one run
	$(BIN)/python -m bench

table: $(STAMP)         ## the README's table of drivers, from what is in plugins/
	$(BIN)/python -m tests.driver_table

clean:
	rm -rf $(VENV)
