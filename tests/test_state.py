"""Models with state: each context has its own state, in every runtime, isolated or not.

No context sees the computes of another, and a compute without a context starts with the model's initial state. Every
model here gives the count of its runs, plus x. ONNX operators have no state, and sequences of llama.cpp start with
their prompts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import need

for _module, _extra in (("ai_edge_litert", "tflite"), ("openvino", "openvino")):
    need(_module, f"'wasi-nn[{_extra}]'")
for _module, _extra in (("torch", "pytorch"), ("tensorflow", "tensorflow")):
    need(_module, f"'wasi-nn[{_extra}]'")

import openvino as ov  # noqa: E402
import openvino.opset13 as ops  # noqa: E402
import pytorch_models  # noqa: E402
import tensorflow_models  # noqa: E402
import tflite_models  # noqa: E402
import torch  # noqa: E402

import wasi_nn  # noqa: E402
from wasi_nn import ErrorCode, ExecutionContext, Graph, LoadRules, NNError, isolation  # noqa: E402

tf = tensorflow_models.tf
X = np.zeros(4, np.float32)
BY_TENSORFLOW = {"tensorflow": "tensorflow"}


def _counting(folder: Path) -> Path:
    module = tf.Module()
    module.count = tf.Variable(tf.zeros([4]))
    module.run = tensorflow_models.function(lambda x: {"y": module.count.assign_add(tf.ones([4])) + x})
    return tensorflow_models.saved(folder, module, {"serving_default": module.run})


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def _tflite(folder: Path) -> Path:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(_counting(folder / "model")))
    converter.experimental_enable_resource_variables = True
    return _written(folder / "model.tflite", converter.convert())


def _openvino(folder: Path) -> Path:
    x = ops.parameter([4], np.float32, name="x")
    before = ops.read_value(ops.constant(np.zeros(4, np.float32)), "count", ov.Type.f32, ov.PartialShape([4]))
    count = ops.add(before, ops.constant(np.float32(1)))
    model = ov.Model([ops.result(ops.add(count, x), name="y")], [ops.assign(count, "count")], [x], "counting")
    ov.serialize(model, folder / "model.xml")
    return folder / "model.xml"


def _torchscript(folder: Path) -> Path:
    return _written(folder / "model.pt", pytorch_models.script(pytorch_models.Counter()))


def _exported(folder: Path) -> Path:
    return _written(folder / "model.pt2", pytorch_models.export(pytorch_models.Counter(), torch.zeros(4)))


COUNTING: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "torchscript": ("pytorch", _torchscript),
    "torch.export": ("pytorch", _exported),
    "tensorflow": ("tensorflow", lambda folder: _counting(folder / "model")),
    "tensorflow zip": (
        "tensorflow",
        lambda folder: _written(folder / "model.zip", tensorflow_models.zipped(_counting(folder / "model"))),
    ),
    "tflite": ("tensorflowlite", _tflite),
    "openvino": ("openvino", _openvino),
}


@pytest.fixture(scope="module", params=COUNTING)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    encoding, build = COUNTING[request.param]
    return encoding, build(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=[False, True], ids=["in-process", "isolated"])
def graph(request: pytest.FixtureRequest, model: tuple[str, Path]) -> Graph:
    if request.param and isolation.unavailable():
        pytest.skip(isolation.unavailable())
    encoding, path = model
    return wasi_nn.load(path, encoding, rules=LoadRules(isolate=request.param))


def counted(context: ExecutionContext) -> float:
    context.set_input(0, X)
    context.compute()
    return float(context.get_output(0).reshape(-1)[0])


def counted_apart(context: ExecutionContext) -> float:
    return float(context.compute_named([(context.graph.inputs[0].name, X)])[0][1].reshape(-1)[0])


def test_each_context_counts_for_itself(graph: Graph) -> None:
    one, other = graph.init_execution_context(), graph.init_execution_context()
    assert [counted(context) for context in (one, one, other, one, other)] == [1, 2, 1, 3, 2]
    late = graph.init_execution_context()
    assert [counted(context) for context in (late, one)] == [1, 4]
    del one, other, late
    assert counted(graph.init_execution_context()) == 1


def test_a_graph_says_that_it_keeps_state(graph: Graph) -> None:
    assert graph.keeps_state
    assert not wasi_nn.load(tflite_models.relu()).keeps_state


@pytest.mark.parametrize("graph", [True], ids=["isolated"], indirect=True)
def test_state_that_is_lost_with_a_worker_is_told_of_once(graph: Any) -> None:
    one, other = graph.init_execution_context(), graph.init_execution_context()
    assert [counted(one), counted(one)] == [1, 2]
    for _ in range(2):
        os.kill(graph.worker_process, 9)
        errors = []
        while True:
            try:
                first = counted(one)
                break
            except NNError as error:
                errors.append(str(error))
        assert first == 1
        assert ["this execution context has lost its state" in text for text in errors].count(True) == 1
    assert counted(other) == 1, "this context had no state that could be lost"


def test_what_is_computed_apart_is_the_contexts_too(graph: Graph) -> None:
    one, other = graph.init_execution_context(), graph.init_execution_context()
    assert [counted_apart(context) for context in (one, other, one)] == [1, 1, 2]
    assert counted(one) == 3


def test_a_compute_without_a_context_begins_anew(graph: Graph) -> None:
    context = graph.init_execution_context()
    for expected in (1, 2, 3):
        (first,) = graph.compute({graph.inputs[0].name: X}).values()
        assert first.tolist() == [1] * 4
        assert counted(context) == expected


def test_guests_of_a_named_graph_count_for_themselves(model: tuple[str, Path]) -> None:
    encoding, path = model
    registry = wasi_nn.Registry({"m": wasi_nn.load(path, encoding)})
    for _ in range(2):
        with wasi_nn.Session(registry) as session:
            context = session.context(session.init_execution_context(session.load_by_name("m")))
            assert [counted(context) for _ in range(3)] == [1, 2, 3]


def test_the_operator_loads_a_saved_model_again_whose_files_changed(tmp_path: Path) -> None:
    folder = _counting(tmp_path / "model")
    file = tmp_path / "graphs.toml"
    file.write_text("[graphs.m]\npath = 'model'\nruntime = 'tensorflow'\n")
    of_file, by_hand = wasi_nn.Registry(file), wasi_nn.Registry({"m": folder}, rules=LoadRules(runtimes=BY_TENSORFLOW))
    how = (
        (of_file, r"Registry\.reload\(\)", of_file.reload),
        (by_hand, r"Registry\.add\(\.\.\., overwrite=True\)", lambda: by_hand.add("m", folder, overwrite=True)),
    )
    for registry, message, load_again in how:
        graph = registry.get("m")
        assert counted(graph.init_execution_context()) == 1
        for touched in (folder / "variables").iterdir():
            touched.touch()
        with pytest.raises(NNError, match=message):
            graph.init_execution_context()
        load_again()
        assert counted(registry.get("m").init_execution_context()) == 1


def test_a_saved_model_whose_files_changed_gives_no_more_contexts(tmp_path: Path) -> None:
    folder = _counting(tmp_path / "model")
    graph = wasi_nn.load(folder, "tensorflow", runtime="tensorflow")
    context = graph.init_execution_context()
    assert counted(graph.init_execution_context()) == 1
    weights = next((folder / "variables").glob("*.data-*"))
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(NNError, match="have changed since it was loaded") as raised:
        graph.init_execution_context()
    assert raised.value.code is ErrorCode.RUNTIME_ERROR
    assert [counted(context) for _ in range(2)] == [1, 2], "contexts that exist go on"


def test_an_unpacked_folder_is_gone_with_its_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tensorflow_models.zipped(_counting(tmp_path / "model"))
    other = tensorflow_models.zipped(tensorflow_models.affine(tmp_path / "affine"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    graph = wasi_nn.load(archive, "tensorflow", runtime="tensorflow")
    assert len(list(temporary.iterdir())) == 1
    context = graph.init_execution_context()
    del graph
    assert counted(context) == 1
    del context
    assert list(temporary.iterdir()) == []
    stateless = wasi_nn.load(other, "tensorflow", runtime="tensorflow")
    assert list(temporary.iterdir()) == []
    assert "state" not in stateless.metadata
