"""Models of every format: the format is recognised by content alone, and `inspect` shows the model."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ggml_models
import models as real_models
import numpy as np
import onnx_models
import pytest
import tflite_models
from conftest import need

for _module, _extra in (("openvino", "openvino"), ("torch", "pytorch"), ("tensorflow", "tensorflow")):
    need(_module, f"'wasi-nn[{_extra}]'")

import pytorch_models  # noqa: E402
import tensorflow_models  # noqa: E402
import torch  # noqa: E402
import types_table  # noqa: E402

import wasi_nn  # noqa: E402
from wasi_nn import backends, cli  # noqa: E402


class _Relu(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)


def _saved_model(folder: Path) -> Path:
    return tensorflow_models.of_function(folder / "saved", lambda x: {"y": tensorflow_models.tf.nn.relu(x)})


FORMATS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "onnx": ("onnx", lambda _: onnx_models.relu()),
    "tflite": ("tensorflowlite", lambda _: tflite_models.relu()),
    "openvino": ("openvino", lambda _: types_table.BACKENDS["OpenVINO IR, openvino"][2]("f32", "f32")[0]),
    "torchscript": ("pytorch", lambda _: pytorch_models.script(_Relu(), torch.zeros(4))),
    "pt2": ("pytorch", lambda _: pytorch_models.export(_Relu(), torch.zeros(4))),
    "graph_def": ("tensorflow", lambda _: tensorflow_models.relu()),
    "zipped SavedModel": ("tensorflow", lambda folder: tensorflow_models.zipped(_saved_model(folder))),
    "tarred SavedModel": ("tensorflow", lambda folder: tensorflow_models.tarred(_saved_model(folder))),
    "gguf": ("ggml", lambda _: ggml_models.tiny()),
}


@pytest.fixture(params=FORMATS)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, bytes]:
    """The encoding and the bytes of a model in each format. (OpenVINO's model has no weights, so it has no `.bin`.)"""
    encoding, make = FORMATS[request.param]
    return encoding, make(tmp_path)


def test_each_is_told_from_its_bytes(sample: tuple[str, bytes]) -> None:
    encoding, model = sample
    like = {backend.encoding.value for backend in backends.available() if backend.sniff(memoryview(model))}
    assert like == {encoding}
    assert wasi_nn.load(model).encoding.value == encoding


@pytest.mark.parametrize("name", ["model", "model.onnx", "model.txt", "model.tflite", "model.zip"])
def test_the_name_of_a_file_says_nothing(sample: tuple[str, bytes], name: str, tmp_path: Path) -> None:
    encoding, model = sample
    path = tmp_path / "models" / name
    path.parent.mkdir()
    path.write_bytes(model)
    assert wasi_nn.load(path).encoding.value == encoding
    if name != "model.zip":
        assert wasi_nn.load(path.parent).encoding.value == encoding


def test_a_directory_of_a_savedmodel_is_one(tmp_path: Path) -> None:
    folder = _saved_model(tmp_path)
    for source in (folder, folder / "saved_model.pb"):
        graph = wasi_nn.load(source)
        assert (graph.encoding.value, graph.runtime) == ("tensorflow", "tensorflow")


def test_what_is_no_model_is_none() -> None:
    noise = random.Random(6)
    images = [path.read_bytes()[:100_000] for path in real_models.photographs().values()]
    texts = [b"<?xml version='1.0'?><html/>", b"{}", b"GGU", b"PK\x05\x06" + bytes(18), b"\x08\x08", b"\x0a\x00"]
    for content in [b"", b"\0", bytes(4096), *texts, *images, *(noise.randbytes(n) for n in range(1, 400))]:
        like = [backend.runtime for backend in backends.available() if backend.sniff(memoryview(content))]
        assert not like, (content[:40], like)


def test_a_broken_beginning_of_a_model_raises_nothing(sample: tuple[str, bytes]) -> None:
    noise = random.Random(7)
    _, model = sample
    for _ in range(150):
        damaged = bytearray(model[: noise.randrange(len(model))] if noise.random() < 0.5 else model)
        for _ in range(noise.randint(0, 4) if damaged else 0):
            damaged[noise.randrange(min(len(damaged), 400))] = noise.randrange(256)
        for backend in backends.available():
            backend.sniff(memoryview(bytes(damaged)))


def test_inspect_shows_each(sample: tuple[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoding, model = sample
    path = tmp_path / "model.xml"
    path.write_bytes(model)
    assert cli.main(["inspect", "--json", str(path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["encoding"], shown["device"]) == (encoding, "cpu")
    assert shown["runtime"]
    graph = wasi_nn.load(model)
    assert [tensor["name"] for tensor in shown["inputs"]] == [info.name for info in graph.inputs]
    assert [tensor["dims"] for tensor in shown["outputs"]] == [info.dims and list(info.dims) for info in graph.outputs]
    assert cli.main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    assert all(info.name in text and info.type_name in text for info in (*graph.inputs, *graph.outputs))


def test_inspect_takes_all_builders_of_a_model(
    tmp_path: Path, write: Callable[[str, bytes], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    parts: Any = types_table.BACKENDS["OpenVINO IR, openvino"][2]("f32", "f16")
    paths = [str(write(f"part{place}", part)) for place, part in enumerate(parts)]
    assert cli.main(["inspect", *paths]) == 0
    assert "y  f16  [2]" in capsys.readouterr().out


def test_inspect_shows_dynamic_dims_quantisation_and_signatures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    element = tflite_models.ELEMENTS[wasi_nn.TensorType.U8]
    tensors = [tflite_models.tensor(name, element, (-1, 4), 0.5, 3) for name in ("x", "y")]
    signatures = {"serving_default": ({"in": 0}, {"out": 1}), "other": ({"in": 0}, {"out": 1})}
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_models.build(tensors, [(tflite_models.RELU, [0], [1])], [0], [1], signatures))
    assert cli.main(["inspect", str(path)]) == 0
    text = capsys.readouterr().out
    for line in (
        r"  0  in   u8  \[\?, 4\]",
        r"  quantization of in +scale 0.5, zero point 3",
        r"  signatures +serving_default, other",
    ):
        assert re.search(f"^{line}$", text, re.MULTILINE)
    assert cli.main(["inspect", "--option", "signature=other", str(path)]) == 0


def test_one_guests_input_runs_in_every_format(sample: tuple[str, bytes]) -> None:
    encoding, model = sample
    if encoding == "ggml":
        return
    context = wasi_nn.load(model).init_execution_context()
    values = np.array([1, 2, 0, 4], np.float32)[: 2 if encoding == "openvino" else 4]
    context.write_input(0, values.dtype, values.shape, memoryview(values.tobytes()))
    context.compute()
    assert np.frombuffer(context.output_bytes(0), np.float32).tolist() == values.tolist()
