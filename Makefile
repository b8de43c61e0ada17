# Everything a person or CI runs. `make serve` and `make test` need only Python 3.11, pip and make.
PYTHON ?= python3.11
# One switch for the torch wheels: `make install TORCH_INDEX=https://.../whl/cu130` takes CUDA wheels from there.
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
# Another index means another environment; without one, whatever is installed is right.
INDEX_NAME := $(subst :,_,$(subst /,_,$(TORCH_INDEX)))
INSTALLED := $(if $(TORCH_INDEX),$(VENV)/.installed-$(INDEX_NAME),$(or $(firstword $(wildcard $(VENV)/.installed*)),$(VENV)/.installed))
PIP_INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

INTEROP := .venv-interop

.PHONY: help install serve test interop-test crash-test mutation-test fuzz soak audit check format generate bench bench-peers bench-gpu image image-test quality demo clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## make .venv with everything pinned by constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@test -f $@ || rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_INDEX) -e '.[dev]'
	touch $@

serve: install ## serve the default model on http://127.0.0.1:8000
	$(BIN)/slimvec serve

test: install ## run the test suite
	$(BIN)/python -m pytest

interop-test: install $(INTEROP)/.installed ## drive the server by tritonclient, KServe's client and openai, unmodified
	$(INTEROP)/bin/python -m pytest -m interop tests/interop

# The clients lie over the project's own environment, whose packages they share.
$(INTEROP)/.installed: $(INSTALLED) tests/interop/constraints.txt
	rm -rf $(INTEROP)
	$(PYTHON) -m venv $(INTEROP)
	$(BIN)/python tests/interop/environment.py $(INTEROP)/bin/python
	$(INTEROP)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -c tests/interop/constraints.txt -e '.[interop]'
	touch $@

crash-test: install ## kill, fail, fill and cut the power of a server, in full; counts are printed
	CRASH_SCALE=full $(BIN)/python -m pytest --timeout 5400 -s -q tests/crash

mutation-test: install ## seed bugs in a copy, one at a time; the suite has to see each
	$(BIN)/python -m tests.mutation

fuzz: install .venv-fuzz/.installed ## made-up requests, spoilt bytes, broken HTTP; FUZZ_CASES, FUZZ_SECONDS
	$(BIN)/python -m tests.fuzz.openapi
	$(BIN)/python -m tests.fuzz .venv-fuzz/bin/python
	$(BIN)/python -m tests.fuzz.http

# It has atheris only: the rest is that of .venv, to which it is pointed when it runs.
.venv-fuzz/.installed: tests/fuzz/constraints.txt
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/pip install --quiet --disable-pip-version-check -c $< atheris
	touch $@

soak: install ## mixed load for SOAK_MINUTES (20), then on a server that leaks, which has to be seen
	$(BIN)/python -m tests.soak

audit: install .venv-audit/.installed ## bandit, known vulnerabilities, bill of materials
	$(BIN)/python -m tests.audit .venv-audit/bin

.venv-audit/.installed: tests/audit/constraints.txt
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check -c $< bandit pip-audit cyclonedx-bom
	touch $@

check: install ## lint, format check, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: install ## rewrite the generated parts of the docs
	$(BIN)/python docs/generate.py

bench: install ## measure against a plain FastAPI service and an echo server
	$(BIN)/python -m benchmarks

bench-peers: install ## measure against other servers of models, each in its own environment
	$(BIN)/python -m benchmarks.peers

bench-gpu: install ## the same layer on CPU and CUDA
	$(BIN)/python -m benchmarks.gpu

quality: install ## check the learning targets, write the tables: make quality DATA=path/to/embeddings (QUALITY=--only …)
	$(BIN)/python -m benchmarks.quality $(DATA) $(QUALITY)

demo: install ## retrain the demo model into build/demo: make demo DATA=path/to/embeddings
	$(BIN)/python -m examples.train_demo_model $(DATA) --out build/demo

image: ## build the container image (CUDA; CPU: make image VARIANT=cpu)
	sh tests/image/build.sh $(VARIANT)

image-test: install ## build the CPU image, run it by compose, drive it
	$(BIN)/python -m pytest -m image tests/image

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .venv-fuzz .venv-audit .venv-peers $(INTEROP) .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis
