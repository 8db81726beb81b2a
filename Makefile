# make demo: score examples/photos with the embedded model. make test: the whole suite. make lint: ruff and mypy.
# make stub: write the types of the compiled module, after a change of its functions.
PYTHON ?= python3
PACKAGE := pyproject.toml CMakeLists.txt $(shell find declip_rt -type f -not -path '*/__pycache__/*')

.PHONY: demo test lint stub gpu-check clean

demo: .venv/installed
	mkdir -p demo
	.venv/bin/declip-rt score examples/photos --html demo/report.html

test: .venv-dev/installed
	.venv-dev/bin/python -m pytest
	.venv-dev/bin/python -m pytest tests/simulated tests/gpu

# On a machine with an NVIDIA GPU, in the Python that has what is to be checked: declip-rt[tensorrt,export,dev] and more.
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
	rm -rf .venv .venv-dev demo

.venv/installed: $(PACKAGE)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet ".[cpu]"
	touch $@

# Editable, so that the tests see the working tree; only a change of its dependencies or its C++ installs it again.
.venv-dev/installed: pyproject.toml CMakeLists.txt $(wildcard declip_rt/native/*.c* declip_rt/native/*.h)
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install --quiet --editable ".[dev]"
	touch $@
