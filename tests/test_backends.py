"""Backends of other packages: their entry points are found, and they are asked when no built-in backend fits. And the
choice of a backend for a model."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import pack, unpack

import numpy as np
import onnx_models as models
import pytest
import tflite_models
from checks import refused
from conftest import REPOSITORY, need
from core_guest import AUTODETECT, F32, INVALID_ARGUMENT, OUT, SUCCESS, CoreGuest
from hostile_models import GOOD

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, GraphEncoding, LoadRules, ModelNotFound, backends, isolation

EXAMPLE = REPOSITORY / "examples" / "sklearn_backend"

MODULE = '''
import json
import numpy as np
from wasi_nn import ExecutionTarget, Graph, GraphEncoding, TensorInfo


class Scale(Graph):
    """y = factor * x"""

    encoding = GraphEncoding.TENSORFLOW

    def __init__(self, factor):
        tensor = np.dtype(np.float32), ("n",)
        super().__init__([TensorInfo("x", *tensor)], [TensorInfo("y", *tensor)])
        self.factor = np.float32(factor)

    def runner(self):
        return lambda inputs, reuse: [self.factor * inputs[0]]


class ScaleBackend:
    encoding = GraphEncoding.TENSORFLOW
    extra = "scale"
    runtime = "numpy"
    model_files = ("scale.json",)
    withstands_hostile_bytes = True

    def sniff(self, model):
        return bytes(model[:9]) == b'{"scale":'

    def load(self, builders, target, options):
        return Scale(json.loads(bytes(builders[0]))["scale"])

    def load_path(self, path, target, options):
        return self.load([path.read_bytes()], target, options)

    def devices(self):
        return {ExecutionTarget.CPU: "cpu"}


class Broken:
    def __init__(self):
        raise RuntimeError("broken")
'''


@pytest.fixture
def scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module with two backends, of which one is broken, installed as a distribution."""
    entries = "scale = scale_backend:ScaleBackend\nbroken = scale_backend:Broken\n"
    with installed("scale_backend", MODULE, entries, tmp_path, monkeypatch):
        yield


@contextmanager
def installed(module: str, content: str, entries: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module installed as a distribution with entry points of backends."""
    (folder / f"{module}.py").write_text(content)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[wasi_nn.backends]\n{entries}")
    monkeypatch.syspath_prepend(folder)
    backends.added.cache_clear()
    yield
    backends.added.cache_clear()
    sys.modules.pop(module, None)


@pytest.mark.usefixtures("scale")
def test_a_backend_of_another_package_serves_guests(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "scale.json").write_text('{"scale": 3}')
    with wasi_nn.Session({"scale": tmp_path / "model", "relu": models.relu()}) as session:
        guest = CoreGuest(session)
        assert guest.load(b'{"scale": 3}', encoding=AUTODETECT) == SUCCESS
        graphs = [guest.u32()]
        assert guest.load_by_name("scale") == SUCCESS
        graphs.append(guest.u32())
        for graph in graphs:
            assert guest.call("init_execution_context", graph, OUT) == SUCCESS
            context = guest.u32()
            assert guest.set_input(context, 0, [2], F32, pack("<2f", 1, 2)) == SUCCESS
            assert guest.call("compute", context) == SUCCESS
            assert unpack("<2f", guest.get_output(context)) == (3, 6)
        assert guest.load_by_name("relu") == SUCCESS
    assert "the backend broken (scale_backend:Broken) can't be loaded" in caplog.text


@pytest.mark.usefixtures("scale")
def test_guests_load_only_what_the_host_lets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scale, relu = [memoryview(b'{"scale": 3}')], [memoryview(models.relu())]
    tensorflow, onnx, any_encoding = GraphEncoding.TENSORFLOW, GraphEncoding.ONNX, GraphEncoding.AUTODETECT
    [backend] = backends.added()
    monkeypatch.setattr(type(backend), "withstands_hostile_bytes", False)
    for allow_load in (True, False, ["onnx"], []):
        with wasi_nn.Session({"scale": scale}, allow_load=allow_load) as session:
            for encoding in (tensorflow, any_encoding):
                refused(ErrorCode.SECURITY, "by name only", session.load, scale, encoding, ExecutionTarget.CPU)
            assert session.load_by_name("scale")
    with wasi_nn.Session(allow_load=["tensorflow"]) as session:
        assert session.load(scale, any_encoding, ExecutionTarget.CPU)
        refused(ErrorCode.SECURITY, "loads onnx by name only", session.load, relu, onnx, ExecutionTarget.CPU)
    refused(ErrorCode.INVALID_ARGUMENT, "no encoding is named", wasi_nn.Session, allow_load=["onyx"])


@pytest.mark.usefixtures("scale")
def test_a_failure_of_such_a_backend_is_an_error_of_ours() -> None:
    with pytest.raises(wasi_nn.NNError, match="numpy can't load the model: ") as caught:
        wasi_nn.load(b"not json", "tensorflow", runtime="numpy")
    assert caught.value.code is wasi_nn.ErrorCode.RUNTIME_ERROR


def test_without_it_its_models_are_unknown() -> None:
    refused(ErrorCode.INVALID_ENCODING, "isn't in a format known here", wasi_nn.load, b'{"scale": 3}')


# The example


@pytest.fixture
def sklearn_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The example's backend, installed as its `pyproject.toml` has it, and a classifier of irises."""
    need("sklearn", "scikit-learn")
    from joblib import dump
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    entries = project["entry-points"]["wasi_nn.backends"].items()
    dump(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), tmp_path / "iris.joblib")
    text = "".join(f"{name} = {value}\n" for name, value in entries)
    code = (EXAMPLE / "wasi_nn_sklearn.py").read_text()
    with installed("wasi_nn_sklearn", code, text, tmp_path, monkeypatch):
        yield tmp_path / "iris.joblib"


def test_the_examples_backend_serves_a_guest(sklearn_example: Path) -> None:
    from sklearn.datasets import load_iris

    features, classes = load_iris(return_X_y=True)
    rows = [0, 60, 120]
    data = features[rows].astype(np.float32)
    with wasi_nn.Session({"iris": sklearn_example}) as session:
        guest = CoreGuest(session)
        context = guest.context("iris")
        assert guest.set_input(context, 0, [3, 4], F32, data.tobytes()) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert list(unpack("<3q", guest.get_output(context, 0))) == classes[rows].tolist()
        probabilities = np.frombuffer(guest.get_output(context, 1), np.float32).reshape(3, 3)
        np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
        assert guest.set_input(context, 0, [3, 5], F32, bytes(60)) == INVALID_ARGUMENT
    graph = wasi_nn.load(sklearn_example)
    assert (graph.runtime, graph.metadata["classes"]) == ("sklearn", "0,1,2")


def test_the_examples_backend_takes_no_bytes(sklearn_example: Path) -> None:
    model = memoryview(sklearn_example.read_bytes())
    with wasi_nn.Session() as session:
        arguments = [model], GraphEncoding.AUTODETECT, ExecutionTarget.CPU
        refused(ErrorCode.SECURITY, "by name only", session.load, *arguments)
    refused(ErrorCode.SECURITY, "can run any code", wasi_nn.load, model)


# The choice of a backend


def test_the_operator_chooses_among_runtimes() -> None:
    for runtimes, chosen in (
        ({}, "onnxruntime"),
        ({"onnx": "openvino"}, "openvino"),
        ({"ggml": "xllamacpp"}, "onnxruntime"),
    ):
        rules = LoadRules(runtimes=runtimes)
        assert wasi_nn.load(models.relu(), rules=rules).runtime == chosen
        with wasi_nn.Session(rules=rules, allow_load=["onnx"]) as session:
            handle = session.load([memoryview(models.relu())], GraphEncoding.ONNX, ExecutionTarget.CPU)
            assert session.graph(handle).runtime == chosen
    rules = LoadRules(runtimes={"onnx": "openvino"})
    assert wasi_nn.load(models.relu(), runtime="onnxruntime", rules=rules).runtime == "onnxruntime"
    named = wasi_nn.NamedGraph(models.relu(), runtime="openvino")
    assert wasi_nn.Registry({"net": named}).get("net").runtime == "openvino"


@pytest.mark.parametrize(
    ("encoding", "runtime", "match"),
    [
        ("onnx", "torch", "no runtime for onnx is named 'torch'; there are onnxruntime, openvino"),
        ("onyx", "onnxruntime", "no encoding is named 'onyx'"),
        ("ggml", "", "no runtime for ggml is named ''"),
    ],
)
def test_runtimes_that_are_not_there(encoding: str, runtime: str, match: str) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, match, LoadRules, runtimes={encoding: runtime})
    refused(ErrorCode.INVALID_ARGUMENT, match, wasi_nn.load, models.relu(), encoding, runtime=runtime)


def test_a_host_without_free_files_says_so_when_it_looks_for_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    refused(ErrorCode.RUNTIME_ERROR, "can't look for onnxruntime: .*Too many open files", wasi_nn.load, models.relu())


def test_the_first_runtime_that_is_installed_runs_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert wasi_nn.load(models.relu()).runtime == "openvino"
    refused(ErrorCode.INVALID_ENCODING, "pip install 'wasi-nn", wasi_nn.load, models.relu(), runtime="onnxruntime")
    monkeypatch.setitem(sys.modules, "openvino", None)
    refused(ErrorCode.INVALID_ENCODING, r"onnx needs .*wasi-nn\[onnx\]", wasi_nn.load, models.relu())


def test_guests_load_no_bytes_by_a_runtime_that_does_not_withstand_hostile_ones() -> None:
    onnx = [memoryview(models.relu())], GraphEncoding.ONNX, ExecutionTarget.CPU
    with wasi_nn.Session(rules=LoadRules(runtimes={"onnx": "openvino"}, isolate=False)) as session:
        refused(ErrorCode.SECURITY, "loads onnx by name only", session.load, *onnx)


def test_a_model_that_looks_like_another_encoding_than_it_is_said_to_be() -> None:
    refused(
        ErrorCode.RUNTIME_ERROR,
        "is an ONNX model, given as tensorflowlite",
        wasi_nn.load,
        models.relu(),
        "tensorflowlite",
    )
    refused(ErrorCode.RUNTIME_ERROR, "can't load the model: [^()]*$", wasi_nn.load, b"unknown\xff", "tensorflowlite")


# Directories


def test_a_directory_is_told_by_what_is_in_it(write: Callable[[str, bytes], Path]) -> None:
    folder = write("model/any.name", models.relu()).parent
    write("model/README.md", b"not a model")
    assert wasi_nn.load(folder).encoding is GraphEncoding.ONNX
    folder = write("other/model.onnx", tflite_models.relu()).parent
    assert wasi_nn.load(folder).encoding is GraphEncoding.TENSORFLOWLITE


def test_a_directory_with_several_models(write: Callable[[str, bytes], Path]) -> None:
    folder = write("model/model.onnx", models.relu()).parent
    write("model/model.tflite", tflite_models.relu())
    match = r"several models \(model.onnx, model.tflite\): give the path of one"
    refused(ErrorCode.INVALID_ARGUMENT, match, wasi_nn.load, folder)
    assert wasi_nn.load(folder, "onnx").encoding is GraphEncoding.ONNX
    assert wasi_nn.load(folder / "model.tflite").encoding is GraphEncoding.TENSORFLOWLITE


def test_a_directory_without_a_model(write: Callable[[str, bytes], Path]) -> None:
    folder = write("model/README.md", b"not a model").parent
    write("model/empty", b"")
    refused(ErrorCode.INVALID_ENCODING, "has none of model.onnx, model.tflite, model.xml, ", wasi_nn.load, folder)


@pytest.mark.parametrize(
    "name", ["gone.onnx", "gone.gguf", "gone.xml", "gone.tflite", "gone.pt", "gone.pb", "gone", "a/b/c"]
)
@pytest.mark.parametrize("encoding", GraphEncoding)
def test_a_model_that_isnt_there_is_not_found(name: str, encoding: GraphEncoding, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no model at .*: no such file") as raised:
        wasi_nn.load(tmp_path / name, encoding)
    assert raised.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(ModelNotFound, match="graph 'm': no such file") as raised:
        wasi_nn.Registry({"m": wasi_nn.NamedGraph(tmp_path / name, encoding)})
    assert raised.value.code is ErrorCode.NOT_FOUND


def test_a_named_model_that_goes_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(models.relu())
    session = wasi_nn.Session({"m": tmp_path / "m.onnx"})
    (tmp_path / "m.onnx").unlink()
    with pytest.raises(ModelNotFound):
        session.load_by_name("m")


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("encoding", GOOD)
def test_a_graph_knows_its_runtime(encoding: str, isolate: bool) -> None:
    if isolate and isolation.unavailable():
        pytest.skip(isolation.unavailable())
    runtimes = {backend.encoding.value: backend.runtime for backend in reversed(list(backends.built_in()))}
    graph = wasi_nn.load(GOOD[encoding](), encoding, rules=wasi_nn.LoadRules(isolate=isolate))
    assert graph.runtime == runtimes[encoding]
    if encoding == "ggml":
        assert graph.configured(memoryview(b'{"n-predict": 1}')).runtime == runtimes[encoding]
