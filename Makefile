# Every target does all set-up by itself; .ci/setup returns at once when there is nothing to do.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# One server runs for each worker. Most tests wait for processes and deadlines, so there are more workers than cores.
WORKERS := --numprocesses=4 --dist=worksteal
FILE ?=
ROUNDS ?= 5
TABLES ?=

.PHONY: try test matrix again e2e interop bench soak pictures tour lint format clean set-up

try: set-up  ## send a file end-to-end encrypted, on this machine alone: make try FILE=film.mkv
	@$(BIN)/jet try $(FILE)

test: set-up  ## all tests but the long ones
	$(PYTEST) $(WORKERS) -m 'not matrix and not soak and not bench and not interop'

matrix: set-up  ## the tests with a real server that make whole matrices
	$(PYTEST) $(WORKERS) -m 'matrix and not soak'

again: set-up  ## repeat once what failed last
	$(PYTEST) $(WORKERS) --last-failed -m 'not soak and not bench and not interop'

e2e: set-up  ## only the tests with a real server and real processes
	$(PYTEST) $(WORKERS) -m 'e2e and not soak and not bench and not interop'

interop: set-up  ## send to and receive from Dino and Libervia; PEERS names the scripts that drive them
	@.ci/peers
	@mkdir -p build
	JET_INTEROP_REPORT=build/interop.json $(PYTEST) -m interop tests/interop
	$(BIN)/python tests/interop/page.py build/interop.json INTEROP.md

bench: set-up  ## measure speed and memory, into BENCHMARKS.md: make bench TABLES="data memory" ROUNDS=5
	$(BIN)/python tests/bench --write --rounds $(ROUNDS) $(TABLES)

soak: set-up  ## long matrices and kill series
	$(PYTEST) $(WORKERS) -m soak

pictures: set-up  ## draw the pictures of README.md anew, from a real run
	$(BIN)/python docs/pictures.py

tour: set-up  ## run every example of README.md
	docs/tour.sh

lint: set-up  ## style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: set-up  ## bring the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove all that set-up, tests and tools have made here
	rm -rf .venv .bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

set-up:
	@.ci/setup
