"""The TensorFlow Lite backend: element types, dims that change, signatures, and the same answers as other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models as real_models
import numpy as np
import pytest
from checks import gives_each_thread_its_own, refused, survives_damage
from conftest import REPOSITORY, need
from core_guest import SUCCESS, CoreGuest
from onnx_models import f32

import wasi_nn
from wasi_nn import ErrorCode, TensorType

need("ai_edge_litert", "'wasi-nn[tflite]'")

import tflite_models as models  # noqa: E402
from ai_edge_litert.interpreter import Interpreter  # noqa: E402

U8, I8, F32_ELEMENT = models.ELEMENTS[TensorType.U8], models.INT8, models.ELEMENTS[TensorType.F32]


def test_a_model_from_bytes_from_a_file_and_from_a_directory(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(models.relu())
    for source in (models.relu(), tmp_path / "model.tflite", tmp_path):
        graph = wasi_nn.load(source)
        assert (graph.encoding.value, graph.device) == ("tensorflowlite", "cpu")
        assert graph.compute({"x": f32([1, -1, 2, -2])})["y"].tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("kind", TensorType)
@pytest.mark.parametrize("signature", [False, True])
def test_every_type_in_and_out_and_dims_that_change(kind: TensorType, signature: bool) -> None:
    graph = wasi_nn.load(models.identity(kind, (-1,), signature))
    assert graph.inputs[0].type is graph.outputs[0].type is kind
    assert graph.inputs[0].dims == ("?",)
    assert graph.inputs[0].native != "string"
    assert (graph.inputs[0].name, graph.outputs[0].name) == (("in", "out") if signature else ("x", "y"))
    context = graph.init_execution_context()
    kept = []
    for count in (4, 4, 2, 5, 0, 5):
        values = np.arange(count).astype(kind.dtype)
        context.set_input(0, values)
        context.compute()
        context.set_input(0, np.zeros(count, kind.dtype))
        kept.append((context.output(0)[1], values))
    assert all(output.tolist() == values.tolist() for output, values in kept), "no output is written over"


@pytest.mark.parametrize("dims", [(), (1,), (4,), (2, 3)])
def test_fixed_dims_and_scalars(dims: tuple[int, ...]) -> None:
    graph = wasi_nn.load(models.relu(dims))
    assert graph.inputs[0].dims == dims
    values = np.ones(dims or (1,), np.float32)
    assert graph.compute({"x": values})["y"].tolist() == np.ones(dims).tolist()
    context = graph.init_execution_context()
    for factor in (2, 3):
        context.set_input(0, factor * values)
        context.compute()
        assert context.get_output(0).tolist() == (factor * np.ones(dims)).tolist()


def test_a_model_may_have_no_inputs() -> None:
    context = wasi_nn.load(
        REPOSITORY / "conformance" / "models" / "tensorflowlite" / "constant"
    ).init_execution_context()
    for _ in range(2):
        context.compute()
        assert context.get_output(0).tolist() == [5, 7]


def test_tensors_have_the_models_order_whatever_their_names() -> None:
    tensors = [models.tensor(name, F32_ELEMENT, (1,)) for name in ("z", "a", "sum")]
    signatures = {"serving_default": ({"zz": 0, "aa": 1}, {"out": 2})}
    graph = wasi_nn.load(models.build(tensors, [(models.RELU, [0], [2])], [0, 1], [2], signatures))
    assert [info.name for info in graph.inputs] == ["zz", "aa"]


@pytest.mark.parametrize("name", ["same", ""])
def test_tensors_whose_names_are_equal_are_told_by_their_indexes(name: str) -> None:
    tensors = [models.tensor(name, F32_ELEMENT, (2,)) for _ in range(3)]
    graph = wasi_nn.load(models.build(tensors, [(models.ADD, [0, 1], [2])], [0, 1], [2]))
    assert [info.name for info in (*graph.inputs, *graph.outputs)] == [name] * 3
    context = graph.init_execution_context()
    context.set_input(0, f32([1, 2]))
    context.set_input(1, f32([10, 20]))
    context.compute()
    assert context.get_output(0).tolist() == [11, 22]


def test_a_tensor_that_is_an_input_twice_is_set_once() -> None:
    tensors = [models.tensor(name, F32_ELEMENT, (2,)) for name in "xy"]
    graph = wasi_nn.load(models.build(tensors, [(models.ADD, [0, 0], [1])], [0, 0], [1, 1]))
    assert graph.compute({"x": f32([1, 2])})["y"].tolist() == [2, 4]


def test_a_signature_without_a_name_is_none() -> None:
    tensors = [models.tensor(name, F32_ELEMENT, (2,)) for name in "xy"]
    model = models.build(tensors, [(models.RELU, [0], [1])], [0], [1], {"": ({"in": 0}, {"out": 1})})
    assert wasi_nn.load(model).compute({"x": f32([1, -2])})["y"].tolist() == [1, 0]


def test_one_of_several_signatures_is_chosen() -> None:
    tensors = [models.tensor(name, F32_ELEMENT, (4,)) for name in ("x", "y")]
    signatures = {"one": ({"p": 0}, {"q": 1}), "other": ({"r": 0}, {"s": 1})}
    model = models.build(tensors, [(models.RELU, [0], [1])], [0], [1], signatures)
    graph = wasi_nn.load(model, options={"signature": "other"})
    assert graph.compute({"r": f32([1, -1, 2, -2])})["s"].tolist() == [1, 0, 2, 0]
    assert graph.metadata["signatures"] == "one, other"
    first = wasi_nn.load(model)
    assert (first.inputs[0].name, first.signature, first.signatures) == ("p", "one", ("one", "other"))
    refused(
        ErrorCode.INVALID_ARGUMENT,
        "no signature 'third'; it has one, other",
        wasi_nn.load,
        model,
        options={"signature": "third"},
    )


def test_quantised_tensors_are_raw_and_described() -> None:
    tensors = [models.tensor("x", U8, (4,), 0.5, 3), models.tensor("y", U8, (4,), 0.5, 3)]
    graph = wasi_nn.load(models.build(tensors, [(models.RELU, [0], [1])], [0], [1]))
    assert graph.metadata["quantization of x"] == "scale 0.5, zero point 3"
    assert graph.compute({"x": np.array([0, 2, 3, 255], np.uint8)})["y"].tolist() == [3, 3, 3, 255]


def test_types_that_wasi_nn_lacks() -> None:
    int8 = wasi_nn.load(models.build([models.tensor(n, I8, (4,)) for n in "xy"], [(models.CAST, [0], [1])], [0], [1]))
    assert int8.compute({"x": np.array([1, -2, 3, -4], np.int8)})["y"].tolist() == [1, -2, 3, -4]
    context = int8.init_execution_context()
    refused(ErrorCode.UNSUPPORTED_OPERATION, "is int8", context.set_input, 0, np.zeros(4, np.uint8))
    text = models.build([models.tensor("x", models.STRING, (2,))], [], [0], [0])
    context = wasi_nn.load(text).init_execution_context()
    refused(ErrorCode.UNSUPPORTED_OPERATION, "'x' is string", context.set_input, 0, np.zeros(2, np.uint8))
    context.set_input(0, ["caf\u00e9", ""])
    for _ in range(3):
        context.compute()
        refused(ErrorCode.UNSUPPORTED_OPERATION, "'x' is string", context.output_bytes, 0)
        assert context.get_output(0).tolist() == ["caf\u00e9".encode(), b""]
    converted = wasi_nn.load(text, rules=wasi_nn.LoadRules(convert_types=True))
    assert converted.compute({"x": np.array([[97, 98], [99, 0]], np.uint8)})["x"].tolist() == [[97, 98], [99, 0]]


def test_tensors_are_the_interpreters_own_where_dims_are_fixed() -> None:
    context = wasi_nn.load(models.relu()).init_execution_context()
    context.set_input(0, f32([1, -2, 3, -4]))
    results, views = [], []
    for _ in range(3):
        context.compute()
        results.append(context.output(0)[1])
        views.append(context.output_bytes(0))
    assert results[0] is results[1] is results[2], "read in place"
    assert views[0] is views[1] is views[2], "not made anew for each compute"
    assert bytes(context.output_bytes(0)) == results[1].tobytes() == f32([1, 0, 3, 0]).tobytes()
    context.set_input(0, f32([-1, 2, -3, 4]))
    assert context.get_output(0).tolist() == [1, 0, 3, 0], "until it runs again"
    context.compute()
    assert context.get_output(0).tolist() == [0, 2, 0, 4]


def test_a_run_on_other_inputs_leaves_those_that_are_set() -> None:
    for dims in ((4,), (-1,)):
        context = wasi_nn.load(models.relu(dims)).init_execution_context()
        context.set_input(0, f32([1, 2, 3, 4]))
        context.compute()
        [(_, other)] = context.compute_named([("x", f32([5, 6, 7, 8]))])
        context.compute()
        assert (other.tolist(), context.get_output(0).tolist()) == ([5, 6, 7, 8], [1, 2, 3, 4])


def test_a_run_on_other_inputs_leaves_the_outputs_of_the_last_compute() -> None:
    graph = wasi_nn.load(models.relu())
    context = graph.init_execution_context()
    for numbers in ([1, -1, 2, -2], [3, -3, 4, -4]):
        context.set_input(0, f32(numbers))
        context.compute()
        view = context.output_bytes(0)
        assert dict(context.compute_named({"x": f32([5, 6, 7, 8])}))["y"].tolist() == [5, 6, 7, 8]
        expected = [max(number, 0) for number in numbers]
        assert context.get_output(0).tolist() == np.frombuffer(view, np.float32).tolist() == expected


def test_an_input_that_is_an_output_too() -> None:
    element = models.ELEMENTS[TensorType.F32]
    model = models.build([models.tensor(n, element, (2,)) for n in "xy"], [(models.RELU, [0], [1])], [0], [0, 1])
    context = wasi_nn.load(model).init_execution_context()
    for x in ([1, -1], [-2, 2], [3, -3]):
        context.set_input(0, f32(x))
        context.compute()
        context.set_input(0, f32([9, 9]))
        assert context.get_output(0).tolist() == x
        assert context.get_output(1).tolist() == [max(v, 0) for v in x]


def test_inputs_stay_set_over_runs_that_could_use_their_memory() -> None:
    element = models.ELEMENTS[TensorType.F32]
    tensors = [models.tensor(n, element, (256,)) for n in "xabcy"]
    steps = [(models.RELU, [place], [place + 1]) for place in range(4)]
    context = wasi_nn.load(models.build(tensors, steps, [0], [4])).init_execution_context()
    x = np.random.default_rng(1).standard_normal(256, np.float32)
    context.set_input(0, x)
    for _ in range(3):
        context.compute()
        assert context.get_output(0).tolist() == np.maximum(x, 0).tolist()


def test_real_weights_give_the_same_answers_as_onnx_runtime() -> None:
    onnx, tflite = real_models.basic_pitch()
    audio = np.sin(2 * np.pi * 440 * np.arange(43844) / 22050).astype(np.float32).reshape(1, -1, 1)
    expected, actual = (wasi_nn.load(path) for path in (onnx, tflite))
    by_onnx = sorted(expected.compute({expected.inputs[0].name: audio}).values(), key=lambda a: (a.shape, a.sum()))
    by_tflite = sorted(actual.compute({actual.inputs[0].name: audio}).values(), key=lambda a: (a.shape, a.sum()))
    for one, other in zip(by_onnx, by_tflite, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert max(array.max() for array in by_tflite) > 0.5, "the note is found"


def test_results_are_the_runtimes_bit_for_bit() -> None:
    model = real_models.basic_pitch()[1].read_bytes()
    audio = np.random.default_rng(1).uniform(-1, 1, (1, 43844, 1)).astype(np.float32)
    direct = Interpreter(model_content=model, num_threads=1).get_signature_runner("serving_default")
    graph = wasi_nn.load(model)
    expected = direct(**{graph.inputs[0].name: audio})
    actual = graph.compute({graph.inputs[0].name: audio})
    assert {name: array.tobytes() for name, array in actual.items()} == {n: a.tobytes() for n, a in expected.items()}


def test_one_graph_on_several_threads() -> None:
    gives_each_thread_its_own(wasi_nn.load(models.relu((64,))), 64, times=200)


def test_a_guest_brings_its_model() -> None:
    with wasi_nn.Session() as session:
        guest = CoreGuest(session)
        assert guest.load(models.relu(), encoding=4) == SUCCESS
        guest.check_relu(guest.u32())


@pytest.mark.parametrize("model", [b"", b"no model", b"\x1c\0\0\0TFL3", models.relu()[:60], models.relu()[:-8]])
def test_what_is_no_model(model: bytes) -> None:
    refused(ErrorCode.RUNTIME_ERROR, "can't load the model|is empty|cut short", wasi_nn.load, model, "tensorflowlite")


def test_models_that_are_damaged_anywhere_harm_nobody() -> None:
    def load_and_compute(damaged: bytes) -> None:
        graph = wasi_nn.load(damaged, "tensorflowlite")
        graph.compute({info.name: np.ones(4, info.dtype) for info in graph.inputs})

    survives_damage(models.relu(), 8, load_and_compute)


@pytest.mark.parametrize("options", [{"thread": 1}, {"threads": -1}, {"threads": True}, {"signature": 1}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "option", wasi_nn.load, models.relu(), options=options)


@pytest.mark.parametrize("target", ["gpu", "tpu"])
def test_only_the_cpu_is_there(target: str) -> None:
    refused(ErrorCode.UNSUPPORTED_OPERATION, f"no device for {target}", wasi_nn.load, models.relu(), target=target)
    assert wasi_nn.load(models.relu(), target=target, rules=wasi_nn.LoadRules(target_fallback="cpu")).device == "cpu"


def test_builders_too_many() -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "one builder", wasi_nn.load, [models.relu()] * 2, "tensorflowlite")
