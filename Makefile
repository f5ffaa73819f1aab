# Every target does all set-up by itself; .ci/setup returns at once when there is nothing to do.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# One server runs for each worker. Most tests wait for processes and deadlines, so there are more workers than cores.
WORKERS := --numprocesses=4 --dist=worksteal
FILE ?=
ROUNDS ?= 5
PASSES ?= 20
TABLES ?=

.PHONY: try test matrix again e2e interop bench soak passes pictures tour lint format clean set-up

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
	@rm -f build/interop.json
	@JET_INTEROP_REPORT=build/interop.json $(PYTEST) --numprocesses=4 --dist=loadfile -m interop tests/interop; \
	code=$$?; [ ! -f build/interop.json ] || $(BIN)/python tests/interop/page.py build/interop.json INTEROP.md; exit $$code

bench: set-up  ## measure speed and memory, into BENCHMARKS.md: make bench TABLES="data memory" ROUNDS=5
	$(BIN)/python tests/bench --write --rounds $(ROUNDS) $(TABLES)

soak: set-up passes  ## long matrices and kill series, and the matrix with other clients 20 times in a row
	$(PYTEST) $(WORKERS) -m soak

passes: set-up  ## the matrix with other clients again and again, into docs/interop-runs.md: make passes PASSES=20
	@if [ -d "$${PEERS:-../shared/peers}" ]; then .ci/peers && $(BIN)/python tests/interop/passes.py $(PASSES) \
	docs/interop-runs.md; else echo "no scripts that drive other clients: not run"; fi

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
