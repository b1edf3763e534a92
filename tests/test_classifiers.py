"""One guest classifies photographs with one network, in every format that has it, and gives the same answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import classifiers
import models as real_models
import numpy as np
import pytest
from conftest import C_GUESTS, REPOSITORY, need

for _module, _extra in (("openvino", "openvino"), ("torch", "pytorch"), ("tensorflow", "tensorflow")):
    need(_module, f"'wasi-nn[{_extra}]'")

import wasi_nn  # noqa: E402
from wasi_nn import Graph, Host, Registry  # noqa: E402

EVERYWHERE = [
    ("onnx", "onnxruntime"),
    ("onnx", "openvino"),
    ("openvino", "openvino"),
    ("torchscript", "torch"),
    ("pt2", "torch"),
    ("saved_model", "tensorflow"),
    ("saved_model", "openvino"),
    ("graph_def", "tensorflow"),
    ("graph_def", "openvino"),
    ("tflite", "ai_edge_litert"),
    ("tflite", "openvino"),
]


Loaded = Callable[[str, str], Graph]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    """A function that loads the network from one format, on one runtime, once."""
    return cache(lambda kind, runtime: wasi_nn.load(classifiers.classifier(kind), runtime=runtime))


def what_the_guest_says(graph: Graph) -> str:
    """The output of the guest `classify` for three photographs."""
    labels = real_models.efficientnet().labels.relative_to(REPOSITORY)
    pictures = [str(path.relative_to(REPOSITORY)) for path in real_models.photographs().values()]
    arguments = ["--graph", "net", "--labels", str(labels), *pictures]
    host = Host(Registry({"net": graph}))
    result = host.run(C_GUESTS / "classify.wasm", arguments, dirs={".": REPOSITORY}, capture_output=True)
    assert (result.exit_code, result.stderr) == (0, b"")
    return result.stdout.decode()


@pytest.fixture(scope="module")
def expected(loaded: Loaded) -> str:
    """The guest's output with the ONNX model on ONNX Runtime."""
    output = what_the_guest_says(loaded("onnx", "onnxruntime"))
    for word in ("tiger cat", "espresso", "missile"):
        assert word in output, "the weights are real, and the network is right"
    return output


@pytest.mark.parametrize(("kind", "runtime"), EVERYWHERE)
def test_the_same_guest_gives_the_same_answers(kind: str, runtime: str, loaded: Loaded, expected: str) -> None:
    output = what_the_guest_says(loaded(kind, runtime))
    assert _labels(output) == _labels(expected)


def _labels(output: str) -> list[str]:
    """The lines without the percentages, whose last digits may differ between runtimes."""
    return [
        " ".join(word for word in line.split() if not word.rstrip("%").replace(".", "").isdigit())
        for line in output.splitlines()
    ]


@pytest.mark.parametrize(("kind", "runtime"), EVERYWHERE)
def test_the_same_numbers_within_what_f32_can_tell(kind: str, runtime: str, loaded: Loaded) -> None:
    image = np.random.default_rng(5).standard_normal((1, 3, 224, 224), np.float32)
    [reference] = loaded("onnx", "onnxruntime").compute({"0": image}).values()
    graph = loaded(kind, runtime)
    [logits] = graph.compute({"0": image}).values()
    np.testing.assert_allclose(logits, reference, atol=1e-4)
    assert graph.runtime == runtime
