# Two commands: `make demo` shows what gatelab does, `make test` proves that it works. Both set up .venv first.
PYTHON ?= python3
BIN = .venv/bin
NOTEBOOKS = $(wildcard notebooks/*.ipynb)

.PHONY: demo test notebooks lint types contracts check wheel smoke results clean

.venv/ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gatelab needs Python 3.11 or newer; try: make PYTHON=python3.12 " + "demo")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch .venv/ready

demo: .venv/ready
	$(BIN)/gatelab compare forecasting co2_weekly --budget quick --out runs/demo

test: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

notebooks: .venv/ready
	$(if $(NOTEBOOKS),GATELAB_BUDGET=quick OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --nbmake --nbmake-timeout=600 -o timeout=900 $(NOTEBOOKS))

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/ready
	$(BIN)/pyrefly check --summary=none

contracts: .venv/ready
	$(BIN)/lint-imports

check: test notebooks lint types contracts

wheel: .venv/ready
	$(BIN)/python -m build --wheel --no-isolation

smoke: .venv/ready
	bash .ci/wheel-smoke

results: .venv/ready
	$(BIN)/python results/make.py run

clean:
	rm -rf .venv build dist runs
