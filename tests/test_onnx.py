"""The ONNX backend without WebAssembly: element types, dims, results equal to the runtime's bit for bit, and no access
to files for models from bytes."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as models
import onnxruntime
import pytest
from checks import on_threads
from onnx import TensorProto, helper

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, NNError, TargetUnavailable, TensorType
from wasi_nn.backends.onnx.model import require_self_contained
from wasi_nn.backends.onnx.providers import choose_providers

VALUES = [0, 1, 2, 100]


def direct(model: bytes, **inputs: Any) -> list[Any]:
    """The outputs of the runtime, called without this package."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, inputs)
    return outputs


def code_of(call: Any, *arguments: Any, **keywords: Any) -> ErrorCode:
    """The error code of a call that must fail."""
    with pytest.raises(NNError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in caught.value.message
    return caught.value.code


# Loading


def test_a_model_from_bytes_from_a_path_and_from_a_directory(tmp_path: Path) -> None:
    model = models.relu()
    (tmp_path / "model.onnx").write_bytes(model)
    sources: list[Any] = [model, bytearray(model), memoryview(model), [model]]
    sources += [tmp_path / "model.onnx", str(tmp_path / "model.onnx"), tmp_path]
    for source in sources:
        graph = wasi_nn.load(source)
        assert graph.compute({"x": models.f32([1, -1, 2, -2])})["y"].tolist() == [1, 0, 2, 0]
        assert (graph.encoding.value, graph.device) == ("onnx", "cpu")


def test_named_computes_on_outputs_of_any_size_give_arrays_of_their_own() -> None:
    context = wasi_nn.load(models.negated(dims=("n",))).init_execution_context()
    context.set_input(0, models.f32([1, 2]))
    context.compute()
    kept = []
    for size in (3, 4, 0, 100_000, 100_001, 5, 6):
        for _ in range(2):
            [(_, array)] = context.compute_named([("x", np.full(size, size, np.float32))])
            assert array.shape == (size,)
            kept.append(array)
    assert all((array == -array.size).all() for array in kept)
    kept[0][:] = 1
    assert context.compute_named([("x", models.f32([3]))])[0][1].tolist() == [-3]
    assert context.get_output(0).tolist() == [-1, -2]


@pytest.mark.parametrize("kind", list(TensorType))
@pytest.mark.parametrize("dims", [(), (1,), (2, 0)])
def test_named_computes_again_and_again_give_each_type_and_rank(kind: TensorType, dims: tuple[int, ...]) -> None:
    context = wasi_nn.load(models.identity(kind, dims)).init_execution_context()
    for number in range(3):
        [(_, array)] = context.compute_named([("x", np.full(dims, number, kind.dtype))])
        assert (array.shape, array.dtype) == (dims, kind.dtype)
        assert (array == number).all()


def test_what_a_graph_says_of_its_tensors() -> None:
    graph = wasi_nn.load(models.add_and_mul())
    assert [str(info) for info in graph.inputs] == ["a: f32[n]", "b: f32[n]"]
    assert [info.name for info in graph.outputs] == ["product", "sum"]


@pytest.mark.parametrize("dims", [None, (), (4,), ("batch", 4), (0,)])
def test_unknown_rank_scalars_and_dims_are_told_apart(dims: models.Dims, tmp_path: Path) -> None:
    model = models.identity(dims=dims)
    (tmp_path / "model").write_bytes(model)
    for graph in (wasi_nn.load(model), wasi_nn.load(tmp_path / "model")):
        assert graph.inputs[0].dims == graph.outputs[0].dims == dims


def test_what_a_model_says_cannot_play_tricks_on_a_terminal() -> None:
    name = "x\x1b[2Jy\n"
    graph = wasi_nn.load(
        models.build([helper.make_node("Relu", [name], ["y"])], {name: (1, ["n\x1b"])}, {"y": (1, ["n\x1b"])})
    )
    assert str(graph.inputs[0]) == r"x\x1b[2Jy\n: f32[n\x1b]"
    with pytest.raises(NNError) as caught:
        graph.compute({name: models.f32([[1]])})
    assert str(caught.value).isprintable()


def test_metadata_is_the_models_own() -> None:
    model = onnx.load_from_string(models.relu())
    model.producer_name = "the tests"
    helper.set_model_props(model, {"labels": "a,b"})
    metadata = wasi_nn.load(model.SerializeToString()).metadata
    assert metadata == {"producer": "the tests", "graph": "test", "labels": "a,b"}


@pytest.mark.parametrize("model", [b"no model", b"", b"\x08\x08\x3a\x00", models.relu()[:-30]])
def test_what_is_no_model(model: bytes, tmp_path: Path) -> None:
    assert code_of(wasi_nn.load, model, "onnx") is ErrorCode.RUNTIME_ERROR
    (tmp_path / "model.onnx").write_bytes(model)
    assert code_of(wasi_nn.load, tmp_path / "model.onnx", "onnx") is ErrorCode.RUNTIME_ERROR


def test_autodetect_says_what_it_tried(tmp_path: Path) -> None:
    with pytest.raises(
        NNError, match=r"isn't in a format known here \(tried: onnx, .*begins with b'no model'"
    ) as caught:
        wasi_nn.load(b"no model")
    assert caught.value.code is ErrorCode.INVALID_ENCODING
    with pytest.raises(NNError, match=r"has none of model\.onnx, "):
        wasi_nn.load(tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    assert code_of(wasi_nn.load, tmp_path / "nothing.onnx") is ErrorCode.NOT_FOUND
    assert code_of(wasi_nn.load, []) is ErrorCode.INVALID_ARGUMENT
    assert code_of(wasi_nn.load, [models.relu()] * 2, "onnx") is ErrorCode.INVALID_ARGUMENT
    assert code_of(wasi_nn.load, models.relu(), "onyx") is ErrorCode.INVALID_ARGUMENT
    assert code_of(wasi_nn.load, models.relu(), target="npu") is ErrorCode.INVALID_ARGUMENT


# Types


@pytest.mark.parametrize("kind", TensorType)
@pytest.mark.parametrize("dims", [(4,), ("n",)])
def test_every_type_in_and_out(kind: TensorType, dims: models.Dims) -> None:
    graph = wasi_nn.load(models.identity(kind, dims))
    values = np.array(VALUES, kind.dtype)
    assert graph.inputs[0].type is graph.outputs[0].type is kind
    output = graph.compute({"x": values})["y"]
    assert output.dtype == kind.dtype
    assert output.tolist() == VALUES
    context = graph.init_execution_context()
    for shift in range(3):
        context.set_input("x", np.roll(values, shift))
        context.compute()
        assert context.get_output("y").tolist() == np.roll(values, shift).tolist()


@pytest.mark.parametrize("element", ["INT8", "INT16", "UINT16", "UINT32", "UINT64", "BOOL"])
def test_types_that_wasi_nn_lacks_are_pythons_all_the_same(element: str) -> None:
    graph = wasi_nn.load(models.cast(getattr(TensorProto, element), getattr(TensorProto, element)))
    assert graph.inputs[0].type is None
    values = np.array([0, 1, 1, 0], graph.inputs[0].dtype)
    assert graph.compute({"x": values})["y"].tolist() == values.tolist()


def test_strings() -> None:
    graph = wasi_nn.load(models.strings())
    assert graph.inputs[0].type_name == "string"
    assert graph.compute({"x": np.array(["a", "bcd"])})["y"].tolist() == ["a", "bcd"]
    context = graph.init_execution_context()
    context.set_input("x", np.array(["a"]))
    context.compute()
    assert context.get_output("y").tolist() == ["a"]
    assert code_of(context.output_bytes, 0) is ErrorCode.UNSUPPORTED_OPERATION


def test_outputs_that_are_no_tensors_do_not_hide_those_that_are() -> None:
    graph = wasi_nn.load(models.sequence())
    context = graph.init_execution_context()
    context.set_input("x", models.f32([1, 2]))
    context.compute()
    assert context.get_output("y").tolist() == [1, 2]
    assert [list(part) for part in context.get_output("s")[0]] == [[1, 2], [1, 2]]
    assert code_of(context.output_bytes, 0) is ErrorCode.UNSUPPORTED_OPERATION


# Running


def test_results_are_the_runtimes_bit_for_bit() -> None:
    model = models.convolution()
    image = np.random.default_rng(2).standard_normal((1, 3, 224, 224), np.float32)
    graph = wasi_nn.load(model)
    expected = direct(model, image=image)[0]
    assert graph.compute({"image": image})["scores"].tobytes() == expected.tobytes()
    context = graph.init_execution_context()
    for _ in range(3):
        context.set_input(0, image)
        context.compute()
        assert bytes(context.output_bytes(0)) == expected.tobytes()


def test_outputs_of_compute_stay_as_they_are() -> None:
    graph = wasi_nn.load(models.relu())
    first = graph.compute({"x": models.f32([1, 2, 3, 4])})["y"]
    graph.compute({"x": models.f32([5, 6, 7, 8])})
    assert first.tolist() == [1, 2, 3, 4]
    context = graph.init_execution_context()
    [(name, named)] = context.compute_named([("x", models.f32([1, 2, 3, 4]))])
    context.compute_named([("x", models.f32([5, 6, 7, 8]))])
    context.set_input(0, models.f32([9, 9, 9, 9]))
    context.compute()
    context.compute()
    assert (name, named.tolist()) == ("y", [1, 2, 3, 4])


def test_a_stateless_compute_keeps_hold_of_nothing() -> None:
    graph = wasi_nn.load(models.relu())
    context = graph.init_execution_context()
    x = np.ones(4, np.float32)
    outputs = [graph.compute({"x": x})["y"], context.compute_named([("x", x)])[0][1]]
    held = [weakref.ref(array) for array in (x, *outputs)]
    del x, outputs
    gc.collect()
    assert [reference() for reference in held] == [None] * 3


def test_a_stateful_compute_uses_its_buffers_again() -> None:
    context = wasi_nn.load(models.relu()).init_execution_context()
    addresses = set()
    for number in range(6):
        context.set_input(0, np.full(4, number, np.float32))
        context.compute()
        addresses.add(np.frombuffer(context.output_bytes(0), np.uint8).ctypes.data)
        assert context.get_output(0).tolist() == [number] * 4
    assert len(addresses) <= 2


def test_a_stateful_and_a_stateless_compute_do_not_disturb_each_other() -> None:
    context = wasi_nn.load(models.relu()).init_execution_context()
    for number in (1, 2, 3):
        context.set_input(0, np.full(4, number, np.float32))
        context.compute()
        context.compute_named([("x", np.full(4, 10 * number, np.float32))])
        assert context.get_output(0).tolist() == [number] * 4


def test_models_that_lie_about_their_outputs_dims() -> None:
    # The model declares 4 elements for y, but has as many only for some inputs.
    model = models.build([helper.make_node("Identity", ["x"], ["y"])], {"x": (1, ["n"])}, {"y": (1, [4])})
    context = wasi_nn.load(model).init_execution_context()
    for count in (4, 4, 2, 2, 4, 5):
        values = np.arange(count, dtype=np.float32)
        context.set_input(0, values)
        context.compute()
        assert context.get_output(0).tolist() == values.tolist()


@pytest.mark.parametrize("dims", [(4,), ("n",)])
def test_an_input_that_is_an_output_too_is_given_as_it_was(dims: models.Dims) -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    graph = wasi_nn.load(models.build([relu], {"x": (1, dims)}, {"x": (1, dims), "y": (1, dims)}))
    context = graph.init_execution_context()
    for number in range(4):
        context.set_input(0, np.full(4, number, np.float32))
        context.compute()
        context.set_input(0, np.full(4, 9, np.float32))
        assert context.get_output("x").tolist() == context.get_output("y").tolist() == [number] * 4
    x = np.ones(4, np.float32)
    outputs = [graph.compute({"x": x}), dict(context.compute_named([("x", x)]))]
    x[:] = 0
    assert [output["x"].tolist() for output in outputs] == [[1, 1, 1, 1]] * 2


def test_a_failure_of_the_runtime_is_one_line() -> None:
    graph = wasi_nn.load(models.failing())
    assert code_of(graph.compute, {"x": models.f32([1, 2, 3])}) is ErrorCode.RUNTIME_ERROR
    assert graph.compute({"x": models.f32([1, 2, 3, 4])})["y"].shape == (2, 2)


def test_one_graph_on_many_threads() -> None:
    model = models.convolution(64)
    graph = wasi_nn.load(model)
    images = [np.full((1, 3, 64, 64), n, np.float32) for n in range(8)]
    expected = [direct(model, image=image)[0] for image in images]
    wrong: list[int] = []

    def work(n: int) -> None:
        context = graph.init_execution_context()
        for _ in range(20):
            context.set_input(0, images[n])
            context.compute()
            if not np.array_equal(context.get_output(0), expected[n]):
                wrong.append(n)
            if not np.array_equal(graph.compute({"image": images[n]})["scores"], expected[n]):
                wrong.append(n)

    on_threads(work, 8)
    assert not wrong


def test_the_runtime_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    graph = wasi_nn.load(models.failing())
    code_of(graph.compute, {"x": models.f32([1, 2, 3])})
    code_of(wasi_nn.load, b"no model", "onnx")
    assert capfd.readouterr() == ("", "")


# Options and targets


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 1},
        {"threads": 2, "spinning": False},
        {"inter_op_threads": 2},
        {"optimization": "none"},
        {"optimization": "all", "spinning": True},
        {"providers": ["CPUExecutionProvider"]},
    ],
)
def test_options(options: dict[str, Any]) -> None:
    graph = wasi_nn.load(models.relu(), options=options)
    assert graph.compute({"x": models.f32([1, -1, 2, -2])})["y"].tolist() == [1, 0, 2, 0]


def test_thread_options_reach_the_runtime() -> None:
    graph = wasi_nn.load(models.relu(), options={"threads": 3, "optimization": "basic"})
    options = graph.session.get_session_options()  # type: ignore[attr-defined]
    assert options.intra_op_num_threads == 3
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC


@pytest.mark.parametrize(
    "options",
    [
        {"thread": 1},
        {"threads": "many"},
        {"threads": -1},
        {"threads": True},
        {"threads": 10**6},
        {"spinning": "yes"},
        {"optimization": "most"},
        {"providers": "CPUExecutionProvider"},
        {"providers": []},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    assert code_of(wasi_nn.load, models.relu(), options=options) is ErrorCode.INVALID_ARGUMENT


def test_providers_that_are_not_there_are_refused() -> None:
    with pytest.raises(TargetUnavailable, match="NoExecutionProvider"):
        wasi_nn.load(models.relu(), options={"providers": ["NoExecutionProvider"]})


@pytest.mark.parametrize(
    ("target", "available", "chosen"),
    [
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        ("cpu", ["AzureExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (
            "gpu",
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
        ("gpu", ["DmlExecutionProvider", "CPUExecutionProvider"], ["DmlExecutionProvider", "CPUExecutionProvider"]),
        ("gpu", ["AzureExecutionProvider", "CPUExecutionProvider"], None),
        ("tpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], None),
    ],
)
def test_providers_are_chosen_honestly(target: str, available: list[str], chosen: list[str] | None) -> None:
    if chosen is None:
        with pytest.raises(TargetUnavailable, match=f"no execution provider for {target}"):
            choose_providers(ExecutionTarget(target), available)
    else:
        assert choose_providers(ExecutionTarget(target), available) == chosen


def test_a_provider_that_does_not_start_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    # The runtime lists CUDA but runs on the CPU, as it does where the driver is missing.
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(TargetUnavailable, match="CUDA"):
        wasi_nn.load(models.relu(), target="gpu")


# External data


@pytest.mark.parametrize(
    "location",
    ["weights.bin", "../{folder}/weights.bin", "{path}/weights.bin", "/etc/hostname", "*/_ORT_MEM_ADDR_/*", ""],
)
def test_no_file_and_no_memory_is_reached_from_bytes(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    location = location.format(folder=tmp_path.name, path=tmp_path)
    model = models.with_external_data(tmp_path, location)
    assert code_of(wasi_nn.load, model) is ErrorCode.SECURITY
    assert code_of(wasi_nn.load, model, "onnx") is ErrorCode.SECURITY


def test_external_data_however_deep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    models.with_external_data(tmp_path)
    tensor, node, value = models.external("weights.bin"), helper.make_node, helper.make_tensor_value_info
    constant = node("Constant", [], ["w"], value=tensor)
    branch = helper.make_graph([node("Identity", ["w"], ["r"])], "branch", [], [value("r", 1, [16])], [tensor])
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    choice = node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    sparse = helper.make_sparse_tensor(tensor, helper.make_tensor("i", TensorProto.INT64, [16], range(16)), [16])
    function = helper.make_function(
        "f", "F", ["x"], ["y"], [constant, node("Add", ["x", "w"], ["y"])], [helper.make_opsetid("", 17)]
    )
    with_function = helper.make_model(
        helper.make_graph([node("F", ["x"], ["y"], domain="f")], "g", [value("x", 1, [16])], [value("y", 1, [16])]),
        functions=[function],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("f", 1)],
        ir_version=8,
    )
    for model in (
        models.build([constant], {}, {"w": (1, [16])}),
        models.build([choice], {}, {"y": (1, [16])}, [condition]),
        models.build([node("Identity", ["w"], ["y"])], {}, {"y": (1, [16])}, sparse_initializer=[sparse]),
        with_function.SerializeToString(),
    ):
        assert code_of(wasi_nn.load, model) is ErrorCode.SECURITY


def test_the_word_location_alone_is_no_external_data() -> None:
    model = models.build([helper.make_node("Relu", ["location"], ["y"])], {"location": (1, [1])}, {"y": (1, [1])})
    assert wasi_nn.load(model).inputs[0].name == "location"
    with pytest.raises(NNError, match="not valid ONNX"):
        require_self_contained(b"\x3a\xff\xff\xff\xff location")


def test_a_model_given_by_path_may_have_data_beside_it_and_nowhere_else(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "model.onnx").write_bytes(models.with_external_data(inside))
    graph = wasi_nn.load(inside / "model.onnx")
    assert graph.compute({"x": np.zeros(16, np.float32)})["y"][0] == 1000
    for location in ("../outside/weights.bin", str(outside / "weights.bin")):
        (inside / "evil.onnx").write_bytes(models.with_external_data(outside, location))
        assert code_of(wasi_nn.load, inside / "evil.onnx") is ErrorCode.RUNTIME_ERROR
    (inside / "model.onnx").write_bytes(models.with_external_data(outside, "link.bin"))
    (inside / "link.bin").symlink_to(outside / "weights.bin")
    assert code_of(wasi_nn.load, inside / "model.onnx") is ErrorCode.RUNTIME_ERROR
