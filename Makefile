# make demo   a real OCR application on the emulated NPU
# make test   all tests
# make help   the rest

PYTHON ?= python3
JOBS ?= $(shell nproc)
VENV := .venv
BIN := $(VENV)/bin
BUILD := build
DEMO := $(BUILD)/demo
BENCH := $(BUILD)/bench

# What the native library, and so the installation, is made of.
NATIVE := CMakeLists.txt $(wildcard tests/native/CMakeLists.txt) furiosa_ep/provider/native/exports.map \
  $(shell find kernels device_emulator furiosa_ep/provider furiosa_ep/include -name '*.cc' -o -name '*.h' -o -name '*.def')
CXX_SOURCES = $(shell find kernels device_emulator furiosa_ep/provider furiosa_ep/include tests \
  -name '*.cc' -o -name '*.h')

.DELETE_ON_ERROR:
.PHONY: demo test test-with-broken-plugins lint format sanitize sanitize-address sanitize-thread bench \
  wheel check-wheel check-plugin clean help

help:
	@echo 'make demo      run a real OCR application on the emulated NPU (pictures in $(DEMO))'
	@echo 'make test      run the tests (make test-with-broken-plugins: with all of examples/broken installed)'
	@echo 'make lint      check style, types and formatting'
	@echo 'make format    format the sources'
	@echo 'make sanitize  run the native tests under the address, undefined-behaviour and thread sanitizers'
	@echo 'make bench     race against ONNX Runtime and OpenVINO (results in $(BENCH); takes half an hour)'
	@echo 'make cross-aarch64  compile for AArch64 and run the native tests in an emulated CPU'
	@echo 'make wheel     build the wheel into dist/ (make check-wheel also installs and tries it,'
	@echo '               make check-plugin a plugin beside it)'
	@echo 'make clean     remove everything that make has made'

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'make: Python 3.11 or later is needed; name one with make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "make: $(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@command -v $(or $(CXX),c++) >/dev/null || \
	  { echo 'make: a C++20 compiler is needed; on Debian and Ubuntu: apt install g++' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# An editable installation: Python changes take effect at once, native ones when make runs again.
# The build tool is in the environment, so that a rebuild needs no network and compiles only what
# has changed.
$(VENV)/.installed: $(VENV)/.created pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet 'scikit-build-core>=1.1' 'cmake>=3.20' ninja
	PATH="$(CURDIR)/$(BIN):$$PATH" CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) \
	  $(BIN)/python -m pip install --quiet --no-build-isolation \
	  --config-settings=build-dir=$(BUILD)/editable --editable '.[test]'
	@touch $@

$(VENV)/.lint: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@

$(VENV)/.demo: $(VENV)/.installed examples/ocr/requirements.txt
	$(BIN)/python -m pip install --quiet --requirement examples/ocr/requirements.txt
	@# Its own requirements ask for the OpenCV that needs a display, and for Python below 3.13.
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python rapidocr-onnxruntime==1.4.4
	@touch $@

$(VENV)/.bench: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/ocr/demo.py --folder $(DEMO)

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses=$(JOBS) $(PYTEST_ARGS)

# The packages of examples/broken lie in a folder on PYTHONPATH, where every process finds them.
test-with-broken-plugins: $(VENV)/.installed
	rm -rf $(BUILD)/broken
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --target $(BUILD)/broken \
	  $(dir $(wildcard examples/broken/*/pyproject.toml))
	PYTHONPATH=$(CURDIR)/$(BUILD)/broken \
	  $(BIN)/python -m pytest --numprocesses=$(JOBS) $(PYTEST_ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES)

format: $(VENV)/.lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CXX_SOURCES)

# At -O1: instrumented kernels take a compiler minutes at -O2.
sanitize: $(addprefix sanitize-,address thread)
sanitize-address: SANITIZERS = address,undefined
sanitize-thread: SANITIZERS = thread
sanitize-address sanitize-thread: sanitize-%: $(VENV)/.installed
	$(BIN)/cmake -S . -B $(BUILD)/$* -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 \
	  -DFURIOSA_SANITIZE=$(SANITIZERS) -DFURIOSA_NATIVE_TESTS=ON
	$(BIN)/cmake --build $(BUILD)/$* --parallel $(JOBS)
	$(BIN)/ctest --test-dir $(BUILD)/$* --output-on-failure --no-tests=error

bench: $(VENV)/.bench $(BENCH)/native
	$(BIN)/python -m benchmarks --output $(BENCH) $(BENCH_ARGS)

.PHONY: $(BENCH)/native
$(BENCH)/native: $(VENV)/.installed
	$(BIN)/cmake -S . -B $(BENCH)/native -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DCMAKE_BUILD_TYPE=Release -DFURIOSA_NATIVE_BENCHMARKS=ON
	$(BIN)/cmake --build $(BENCH)/native --parallel $(JOBS) --target furiosa_peak

cross-aarch64: $(VENV)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/cross-aarch64 $(BUILD)/aarch64 $(JOBS)

wheel: $(VENV)/.created
	rm -f dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python .ci/check_wheel.py dist/*.whl

# The wheel as a stranger has it: in an environment of its own, outside of the source tree.
check-wheel: wheel
	rm -rf $(BUILD)/stranger
	$(PYTHON) -m venv $(BUILD)/stranger
	$(BUILD)/stranger/bin/python -m pip install --quiet dist/*.whl
	cd $(BUILD) && stranger/bin/furiosa doctor

# What `furiosa plugins new` writes, as its author builds it and a stranger installs it.
check-plugin: PLUGIN := $(BUILD)/plugin
check-plugin: check-wheel $(VENV)/.installed
	rm -rf $(PLUGIN) && mkdir -p $(PLUGIN)
	$(BUILD)/stranger/bin/furiosa plugins new stranger --folder $(PLUGIN)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip wheel --quiet --no-deps \
	  --no-build-isolation --wheel-dir $(PLUGIN) $(PLUGIN)/furiosa-ep-stranger
	$(BUILD)/stranger/bin/python -m pip install --quiet $(PLUGIN)/*.whl
	cd $(PLUGIN)/furiosa-ep-stranger/tests && $(CURDIR)/$(BUILD)/stranger/bin/python -c \
	  'import onnx, test_stranger; onnx.save(test_stranger.model(), "../../model.onnx")'
	cd $(PLUGIN) && ../stranger/bin/furiosa plugins check stranger
	cd $(PLUGIN) && ../stranger/bin/furiosa explain model.onnx --option claim=all >explained.txt && \
	  cat explained.txt && grep -q 'PeakNormalize .* by stranger' explained.txt

clean:
	rm -rf $(VENV) $(BUILD) dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
