"""Backends that other packages bring: found by their entry points, asked when no built-in one fits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from struct import pack, unpack

import onnx_models as models
import pytest
from checks import refused
from core_guest import AUTODETECT, F32, OUT, SUCCESS, CoreGuest

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, GraphEncoding, backends

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
    distribution = "numpy"
    model_files = ("scale.json",)
    withstands_hostile_bytes = True

    def sniff(self, model):
        return bytes(model[:9]) == b'{"scale":'

    def load(self, builders, target, options):
        return Scale(json.loads(bytes(builders[0]))["scale"])

    def load_path(self, path, target, options):
        return self.load([(path / "scale.json" if path.is_dir() else path).read_bytes()], target, options)

    def devices(self):
        return {ExecutionTarget.CPU: "cpu"}


class Broken:
    def __init__(self):
        raise RuntimeError("broken")
'''


@pytest.fixture
def scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs that module as a distribution with two backends, one of them broken."""
    (tmp_path / "scale_backend.py").write_text(MODULE)
    info = tmp_path / "scale_backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scale-backend\nVersion: 1.0\n")
    entries = "[wasi_nn.backends]\nscale = scale_backend:ScaleBackend\nbroken = scale_backend:Broken\n"
    (info / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(tmp_path)
    backends.added.cache_clear()
    yield
    backends.added.cache_clear()
    sys.modules.pop("scale_backend", None)


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
        wasi_nn.load(b"not json", "tensorflow")
    assert caught.value.code is wasi_nn.ErrorCode.RUNTIME_ERROR


def test_without_it_there_is_none() -> None:
    with pytest.raises(wasi_nn.NNError, match="no backend for tensorflow here, only for onnx, "):
        wasi_nn.load(b'{"scale": 3}', "tensorflow")
