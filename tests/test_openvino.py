"""The OpenVINO backend: the same answers as ONNX Runtime for the same networks, and the checks that OpenVINO lacks."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import models as real_models
import numpy as np
import onnx_models as models
import pytest
import tflite_models
import wasmtime
from checks import refused
from conftest import need
from core_guest import SUCCESS, CoreGuest

import wasi_nn
from wasi_nn import ErrorCode, ExecutionTarget, LoadRules, TargetUnavailable, TensorType

need("openvino", "'wasi-nn[openvino]'")

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

from wasi_nn.backends import choose_device  # noqa: E402
from wasi_nn.backends.openvino.backend import as_devices, compile_properties  # noqa: E402
from wasi_nn.graph.runner import as_runner  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def ir(model: bytes, folder: Path) -> list[bytes]:
    """The IR of an ONNX model, as two builders; also written into the folder, as `model.xml` and `model.bin`."""
    return saved(ov.Core().read_model(model), folder)


def saved(model: Any, folder: Path) -> list[bytes]:
    """A model as two builders; also written into the folder, as `model.xml` and `model.bin`."""
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return [(folder / "model.xml").read_bytes(), (folder / "model.bin").read_bytes()]


# Loading


def test_a_model_from_two_builders_from_a_file_and_from_a_directory(folder: Path) -> None:
    builders = ir(models.relu(), folder)
    for source in (builders, folder, folder / "model.xml", str(folder)):
        graph = wasi_nn.load(source)
        assert (graph.encoding.value, graph.device) == ("openvino", "cpu")
        assert graph.compute({"x": models.f32([1, -1, 2, -2])})["y"].tolist() == [1, 0, 2, 0]


def test_one_builder_suffices_for_onnx_and_for_a_model_without_weights(folder: Path) -> None:
    for source in (models.relu(), ir(models.relu(), folder)[0]):
        graph = wasi_nn.load(source, "openvino")
        assert graph.compute({"x": models.f32([1, -1, 2, -2])})["y"].tolist() == [1, 0, 2, 0]


def test_names_are_the_tensors_own(folder: Path) -> None:
    graph = wasi_nn.load(ir(models.add_and_mul(), folder))
    assert [str(info) for info in graph.inputs] == ["a: f32[?]", "b: f32[?]"]
    assert [str(info) for info in graph.outputs] == ["product: f32[?]", "sum: f32[?]"]


@pytest.mark.parametrize(("dims", "shown"), [((), ()), ((4,), (4,)), (("n", 4), ("?", 4))])
def test_dims_of_every_kind(dims: models.Dims, shown: models.Dims, folder: Path) -> None:
    assert wasi_nn.load(ir(models.relu(dims), folder)).inputs[0].dims == shown


def test_an_unknown_rank_is_more_than_openvinos_cpu_can_do(folder: Path) -> None:
    refused(ErrorCode.RUNTIME_ERROR, "dynamic rank", wasi_nn.load, ir(models.relu(None), folder))


@pytest.mark.parametrize(
    ("builders", "code"),
    [
        ([b"", b""], ErrorCode.RUNTIME_ERROR),
        ([b"<?xml version='1.0'?><net/>", b""], ErrorCode.RUNTIME_ERROR),
        ([b"no model"], ErrorCode.RUNTIME_ERROR),
        ([b"a", b"b", b"c"], ErrorCode.INVALID_ARGUMENT),
        ([], ErrorCode.INVALID_ARGUMENT),
    ],
)
def test_what_is_no_model(builders: list[bytes], code: ErrorCode) -> None:
    refused(code, ".", wasi_nn.load, builders, "openvino")


def test_onnx_with_external_data_is_refused_here_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    refused(ErrorCode.SECURITY, "external data", wasi_nn.load, models.with_external_data(folder), "openvino")


def test_weights_that_are_cut_short(folder: Path) -> None:
    xml, weights = ir(models.convolution(32), folder)
    for cut in (0, 1, len(weights) // 2):
        refused(ErrorCode.RUNTIME_ERROR, "can't load", wasi_nn.load, [xml, weights[:cut]], "openvino")


def test_guests_load_none_from_bytes_unless_they_may(folder: Path) -> None:
    builders = [memoryview(builder) for builder in ir(models.relu(), folder)]
    encoding, cpu = wasi_nn.GraphEncoding.OPENVINO, ExecutionTarget.CPU
    for allow_load in (True, False, ["onnx"], []):
        with wasi_nn.Session(allow_load=allow_load, rules=wasi_nn.LoadRules(isolate=False)) as session:
            refused(ErrorCode.SECURITY, "by name only", session.load, builders, encoding, cpu)
            refused(ErrorCode.SECURITY, "by name only", session.load, builders, wasi_nn.GraphEncoding.AUTODETECT, cpu)
    with wasi_nn.Session({"relu": builders}, allow_load=["openvino"]) as session:
        assert session.load(builders, encoding, cpu)
        assert session.load_by_name("relu")
        onnx = [memoryview(models.relu())]
        refused(ErrorCode.SECURITY, "loads onnx by name only", session.load, onnx, wasi_nn.GraphEncoding.ONNX, cpu)
    refused(ErrorCode.INVALID_ARGUMENT, "no encoding is named", wasi_nn.Session, allow_load=["onyx"])


# Running


@pytest.mark.parametrize("kind", TensorType)
@pytest.mark.parametrize("dims", [(4,), ("n",)])
def test_every_type_in_and_out(kind: TensorType, dims: models.Dims, folder: Path) -> None:
    graph = wasi_nn.load(ir(models.identity(kind, dims), folder))
    values = np.array([0, 1, 2, 100], kind.dtype)
    assert graph.inputs[0].type is graph.outputs[0].type is kind
    context = graph.init_execution_context()
    for shift in range(4):
        context.set_input(0, np.roll(values, shift))
        context.compute()
        context.set_input(0, np.zeros(4, kind.dtype))
        assert context.get_output(0).tolist() == np.roll(values, shift).tolist()
    values.flags.writeable = False
    assert graph.compute({"x": values})["y"].tolist() == [0, 1, 2, 100]


def test_results_are_the_runtimes_bit_for_bit_and_in_full_precision(folder: Path) -> None:
    model = models.convolution()
    image = np.random.default_rng(2).standard_normal((1, 3, 224, 224), np.float32)
    graph = wasi_nn.load(ir(model, folder))
    compiled = ov.Core().compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = compiled(image)[0]
    assert graph.compute({"image": image})["scores"].tobytes() == expected.tobytes()
    context = graph.init_execution_context()
    for _ in range(3):
        context.set_input(0, image)
        context.compute()
        assert bytes(context.output_bytes(0)) == expected.tobytes()
    by_onnx_runtime = wasi_nn.load(model).compute({"image": image})["scores"]
    np.testing.assert_allclose(expected, by_onnx_runtime, atol=1e-5)


def test_real_weights_give_the_same_answers_as_onnx_runtime(folder: Path) -> None:
    magika = real_models.magika()
    features = np.full((3, 2048), 256, np.int32)
    for row, text in enumerate((b"import os\n" * 60, b"<html><body>" * 60, b"#include <stdio.h>\n" * 40)):
        features[row, : len(text)] = list(text[:1024])
        features[row, 2048 - min(1024, len(text)) :] = list(text[-1024:])
    expected = wasi_nn.load(magika.model).compute({"bytes": features})
    scores = wasi_nn.load(magika.model, "openvino").compute({"bytes": features})
    [(name, array)] = scores.items()
    np.testing.assert_allclose(array, expected[name], atol=1e-4)


def test_dynamic_dims_may_change_and_outputs_stay(folder: Path) -> None:
    context = wasi_nn.load(ir(models.relu(["n"]), folder)).init_execution_context()
    kept = []
    for count in (3, 100_000, 0, 5):
        values = np.arange(count, dtype=np.float32)
        context.set_input(0, values)
        context.compute()
        kept.append((context.output(0)[1], values))
    assert all(np.array_equal(output, values) for output, values in kept), "former outputs stay as they were"


def test_outputs_of_fixed_dims_stay_in_place(folder: Path) -> None:
    context = wasi_nn.load(models.relu(), runtime="openvino").init_execution_context()
    views = []
    for values in ([1, -2, 3, -4], [-1, 2, -3, 4], [5, 6, -7, 8]):
        context.set_input(0, models.f32(values))
        context.compute()
        views.append(context.output_bytes(0))
        assert views[-1].cast("f").tolist() == [max(value, 0) for value in values]
    assert views[0] is views[1] is views[2], "not made anew for each compute"


def test_short_computes_on_one_thread_leave_the_thread_as_it_was(folder: Path) -> None:
    context = wasi_nn.load(models.relu(), runtime="openvino", options={"threads": 1}).init_execution_context()
    processors = os.sched_getaffinity(0)

    def computes() -> set[int]:
        os.sched_setaffinity(0, {max(processors)})  # of this thread only
        for number in range(20):
            context.set_input(0, models.f32([number, -1, 2, -2]))
            context.compute()
            assert context.get_output(0).tolist() == [number, 0, 2, 0]
        return os.sched_getaffinity(0)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(computes).result() == {max(processors)}


def test_short_computes_on_one_thread_may_be_interrupted_at_any_time(folder: Path) -> None:
    context = wasi_nn.load(models.relu(), runtime="openvino", options={"threads": 1}).init_execution_context()
    context.set_input(0, models.f32([1, -1, 2, -2]))
    done = threading.Event()

    def interrupt() -> None:
        while not done.is_set():
            context.interrupt()

    with ThreadPoolExecutor(1) as pool:
        interrupting = pool.submit(interrupt)
        for _ in range(300):
            try:
                context.compute()
            except wasi_nn.NNError as error:
                assert error.code is ErrorCode.RUNTIME_ERROR
            else:
                assert context.get_output(0).tolist() == [1, 0, 2, 0]
        done.set()
        interrupting.result()
    context.compute()
    assert context.get_output(0).tolist() == [1, 0, 2, 0]


def test_short_computes_on_one_thread_from_several_threads() -> None:
    graph = wasi_nn.load(models.relu(("n",)), "onnx", runtime="openvino", options={"threads": 1})
    fixed = wasi_nn.load(models.relu((50,)), "onnx", runtime="openvino", options={"threads": 1})

    def computes(number: int) -> bool:
        contexts = [graph.init_execution_context(), fixed.init_execution_context()]
        right = True
        for step in range(200):
            x = np.full(50, 1000 * number + step, np.float32)
            for context in contexts:
                context.set_input(0, x)
                context.compute()
            right = right and all((context.output(0)[1] == x).all() for context in contexts)
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(computes, range(4)))


def test_other_arrays_for_outputs_and_inputs_that_cant_be_written_to(folder: Path) -> None:
    graph = wasi_nn.load(models.relu(), runtime="openvino", options={"threads": 1})
    run = as_runner(graph.runner())
    x = models.f32([1, -1, 2, -2])
    read_only = x.copy()
    read_only.flags.writeable = False
    for _ in range(3):
        places = [np.zeros(4, np.float32)]
        assert run([x], places) is places
        assert run([x], places) is places
        assert places[0].tolist() == [1, 0, 2, 0]
        outputs = run([read_only], places)
        assert outputs is places
        x[0] += 1
        read_only = x.copy()
        read_only.flags.writeable = False
        assert run([read_only], places) is places
        assert places[0].tolist() == [x[0], 0, 2, 0], "not of the former read-only array"
        x[0] -= 1
        unsuitable = [np.zeros(4, np.float64)]
        assert run([x], unsuitable)[0].tolist() == [1, 0, 2, 0]
        assert run([x], None)[0].tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("size", [4, 100_000])
@pytest.mark.parametrize("kind", [TensorType.F32, TensorType.BF16])
def test_named_computes_give_arrays_of_their_own(size: int, kind: TensorType) -> None:
    graph = wasi_nn.load(models.negated(kind, (size,)), "onnx", runtime="openvino", options={"threads": 1})
    context = graph.init_execution_context()

    def full(number: int) -> Any:
        return np.full(size, number, kind.dtype)

    kept = []
    for number in range(1, 4):
        context.set_input(0, full(10 * number))
        context.compute()
        for named in (number, number + 3):
            [(_, array)] = context.compute_named([("x", full(named))])
            kept.append((array, -named))
        assert (context.output(0)[1] == -10 * number).all()
        array[:] = 77
        kept[-1] = (array, 77)
    assert all((array == value).all() for array, value in kept)


def test_a_guest_brings_two_builders(folder: Path) -> None:
    with wasi_nn.Session(allow_load=["openvino"]) as session:
        guest = CoreGuest(session)
        assert guest.load(*ir(models.relu(), folder), encoding=0) == SUCCESS
        guest.check_relu(guest.u32())


def test_inputs_that_openvino_would_take_silently_are_refused(folder: Path) -> None:
    context = wasi_nn.load(ir(models.relu(), folder)).init_execution_context()
    refused(ErrorCode.INVALID_ARGUMENT, "call set_input for 'x'", context.compute)
    refused(ErrorCode.INVALID_ARGUMENT, "is f32, got i64", context.set_input, 0, np.zeros(4, np.int64))


@pytest.mark.parametrize("dims", [(4,), ("n",)])
def test_inputs_that_are_outputs_and_outputs_that_are_the_same(dims: models.Dims, folder: Path) -> None:
    x = ops.parameter(ov.PartialShape([4 if dims == (4,) else -1]), ov.Type.f32, "x")
    x.output(0).set_names({"x"})
    doubled, same = ops.add(x, x), ops.reshape(x, ops.constant([-1]), False)
    graph = wasi_nn.load(saved(ov.Model([x, doubled, doubled, ops.relu(x), same], [x], "net"), folder))
    context = graph.init_execution_context()
    for values in ([1, -1, 2, -2], [3, 4, -5, 6], [0, -1, 1, 0]):
        fed = models.f32(values)
        context.set_input(0, fed)
        context.compute()
        context.set_input(0, np.zeros(4, np.float32))
        outputs = [context.get_output(index).tolist() for index in range(5)]
        expected = [fed, 2 * fed, 2 * fed, np.maximum(fed, 0), fed]
        assert outputs == [array.tolist() for array in expected]
        assert graph.compute({"x": fed})[graph.outputs[0].name].tolist() == fed.tolist()


def test_a_thread_keeps_its_signal_stack_so_that_guests_may_trap(folder: Path) -> None:
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, '(module (func (export "trap") unreachable))')
    trap = wasmtime.Instance(store, module, []).exports(store)["trap"]
    assert isinstance(trap, wasmtime.Func)
    before = signal_stack()
    for _ in range(3):
        graph = wasi_nn.load(ir(models.relu(), folder))
        graph.compute({"x": models.f32([1, 2, 3, 4])})
        assert signal_stack() == before
        with pytest.raises(wasmtime.Trap, match="unreachable"):
            trap(store)
        del graph
        assert signal_stack() == before


def signal_stack() -> tuple[int, ...]:
    """This thread's stack for signal handlers: address, flags and size."""
    state = (ctypes.c_size_t * 3)()
    ctypes.CDLL(None).sigaltstack(None, state)
    return tuple(state)


# Models of other encodings


def test_onnx_and_tflite_where_the_operator_prefers_it(folder: Path) -> None:
    rules = LoadRules(runtimes={"onnx": "openvino", "tensorflowlite": "openvino"})
    for model, other, encoding in (
        (models.relu(), "onnxruntime", "onnx"),
        (tflite_models.relu(), "ai_edge_litert", "tensorflowlite"),
    ):
        path = folder / "model.bin"
        path.write_bytes(model)
        for source in (model, path):
            graph = wasi_nn.load(source, rules=rules)
            assert (graph.encoding.value, graph.runtime) == (encoding, "openvino")
            assert graph.compute({"0": models.f32([1, -1, 2, -2])})["y"].tolist() == [1, 0, 2, 0]
            assert wasi_nn.load(source, runtime="openvino").runtime == "openvino"
            assert wasi_nn.load(source).runtime == wasi_nn.load(source, runtime=other).runtime == other


def test_tensorflow_models_have_the_names_and_the_order_that_tensorflow_gives_them(tmp_path: Path) -> None:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    import tensorflow_models
    from tensorflow_models import tf

    vector = [tf.TensorSpec([None, 2], tf.float32, name=name) for name in ("zz", "a")]
    module = tf.Module()
    module.weight = tf.Variable([[1.0, 2.0], [3.0, 4.0]])
    function = tf.function(lambda zz, a: {"sum": zz @ module.weight + a, "before": zz - a}, input_signature=vector)
    saved_model = tensorflow_models.saved(tmp_path / "model", module, {"serving_default": function})
    frozen = tensorflow_models.frozen(lambda: tf.nn.relu(tf.compat.v1.placeholder(tf.float32, [2, 2], "x"), "y"))
    for source in (saved_model, tensorflow_models.zipped(saved_model), frozen):
        theirs, ours = (wasi_nn.load(source, runtime=runtime) for runtime in ("tensorflow", "openvino"))
        assert [info.name for info in ours.inputs] == [info.name for info in theirs.inputs]
        assert [info.name for info in ours.outputs] == [info.name for info in theirs.outputs]
        tensors = {info.name: models.f32([[place, -2], [3, 4]]) for place, info in enumerate(ours.inputs)}
        expected = theirs.compute(tensors)
        assert {name: array.tolist() for name, array in ours.compute(tensors).items()} == {
            name: array.tolist() for name, array in expected.items()
        }


def _changing(body: str, folder: Path) -> Path:
    """A SavedModel whose function changes its variable `state`, in the way that `body` names."""
    import tensorflow_models as models
    from tensorflow_models import tf

    module = tf.Module()
    module.state = tf.Variable(tf.zeros([4]))

    def assigned(x: Any) -> Any:
        module.state.assign(x)
        return module.state + x

    def scattered(x: Any) -> Any:
        module.state.scatter_nd_add([[0]], [1.0])
        return module.state + x

    bodies: dict[str, Callable[[Any], Any]] = {
        "added": lambda x: module.state.assign_add(x),
        "assigned": assigned,
        "scattered": scattered,
        "in a branch": lambda x: tf.cond(x[0] > 0, lambda: module.state.assign_add(x), lambda: x),
        "in a loop": lambda x: tf.while_loop(
            lambda i, _: i < 3, lambda i, _: (i + 1, module.state.assign_add(x)), (0, x)
        )[1],
        "only read": lambda x: tf.cond(x[0] > 0, lambda: module.state + x, lambda: x),
    }
    module.run = models.function(lambda x: {"y": bodies[body](x)})
    return models.saved(folder, module, {"serving_default": module.run})


@pytest.mark.parametrize("body", ["added", "assigned", "scattered", "in a branch", "in a loop"])
def test_tensorflow_models_that_change_their_variables_are_refused(body: str, tmp_path: Path) -> None:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    import tensorflow_models

    folder = _changing(body, tmp_path / "model")
    sources = (folder, folder / "saved_model.pb", tensorflow_models.zipped(folder))
    for source in sources:
        refused(
            ErrorCode.UNSUPPORTED_OPERATION,
            "changes its own state .* run it by tensorflow",
            wasi_nn.load,
            source,
            runtime="openvino",
        )
    assert wasi_nn.load(folder, runtime="tensorflow").metadata["state"]


def test_tensorflow_graphs_that_assign_are_refused(tmp_path: Path) -> None:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    import tensorflow_models
    from tensorflow_models import tf, v1

    def build() -> None:
        variable = v1.get_variable("w", [4], use_resource=True)
        with tf.control_dependencies([variable.initializer]):
            tf.add(variable.read_value(), v1.placeholder(tf.float32, [4], "x"), name="y")

    model = tensorflow_models.frozen(build)
    (tmp_path / "model.pb").write_bytes(model)
    for source in (model, tmp_path / "model.pb"):
        refused(ErrorCode.UNSUPPORTED_OPERATION, "AssignVariableOp", wasi_nn.load, source, runtime="openvino")


def test_variables_that_are_only_read_are_not(tmp_path: Path) -> None:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    x = models.f32([1, 2, 3, 4])
    graph = wasi_nn.load(_changing("only read", tmp_path / "model"), runtime="openvino")
    assert graph.compute({"x": x})["y"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("body", ["added", "in a branch", "in a loop"])
def test_tensorflow_graphs_are_read_as_tensorflow_reads_them(body: str, tmp_path: Path) -> None:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from wasi_nn.backends.tensorflow.changes import GraphDef
    from wasi_nn.backends.tensorflow.operations import reach

    content = (_changing(body, tmp_path / "model") / "saved_model.pb").read_bytes()
    theirs = SavedModel.FromString(content).meta_graphs[0].graph_def
    ours = GraphDef(memoryview(theirs.SerializeToString()))
    for node in theirs.node:
        assert reach(ours, [node.name]) == reach(theirs, [node.name])


# Options and targets


def test_options_reach_the_runtime(folder: Path) -> None:
    options = {"threads": 1, "streams": 1, "hint": "throughput", "precision": "f32", "device": "CPU"}
    graph: Any = wasi_nn.load(ir(models.relu(), folder), options=options)
    properties = {
        name: graph.compiled.get_property(name) for name in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT")
    }
    assert properties == {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "THROUGHPUT"}
    assert compile_properties({}) == {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    assert compile_properties({"threads": 1})["ENABLE_CPU_PINNING"] is False
    assert "INFERENCE_PRECISION_HINT" not in compile_properties({"precision": "runtime"})


@pytest.mark.parametrize(
    "options",
    [{"thread": 1}, {"threads": -1}, {"threads": True}, {"precision": "f8"}, {"hint": []}, {"device": ""}],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "option", compile_properties, options)


@pytest.mark.parametrize(
    ("target", "available", "device"),
    [
        ("cpu", ["CPU", "GPU"], "CPU"),
        ("gpu", ["CPU", "GPU"], "GPU"),
        ("gpu", ["CPU", "GPU.0", "GPU.1"], "GPU.0"),
        ("tpu", ["CPU", "NPU"], "NPU"),
        ("gpu", ["CPU", "NPU"], None),
        ("tpu", ["CPU", "GPU"], None),
    ],
)
def test_devices_are_those_that_openvino_lists(target: str, available: list[str], device: str | None) -> None:
    if device is None:
        with pytest.raises(TargetUnavailable, match=f"no device for {target}"):
            choose_device(as_devices(available), ExecutionTarget(target), "openvino")
    else:
        assert choose_device(as_devices(available), ExecutionTarget(target), "openvino").name == device


def test_devices_that_are_not_there_are_refused(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    builders = ir(models.relu(), folder)
    if any(device.startswith("NPU") for device in ov.Core().available_devices):
        pytest.skip("there is an NPU here")
    refused(ErrorCode.UNSUPPORTED_OPERATION, "no device for tpu", wasi_nn.load, builders, target="tpu")
    refused(ErrorCode.UNSUPPORTED_OPERATION, "no device NPU", wasi_nn.load, builders, options={"device": "NPU"})
    assert wasi_nn.load(builders, target="tpu", rules=LoadRules(target_fallback="cpu")).device == "cpu"
    assert "cpu is used instead" in caplog.text


@pytest.mark.parametrize("in_worker", [False, True])
def test_only_a_worker_goes_without_the_tools_that_make_models(in_worker: bool) -> None:
    script = f"""
import sys
from wasi_nn.backends.openvino.backend import OpenVinoBackend

backend = OpenVinoBackend()
backend.in_worker = {in_worker}
print([device.name for device in backend.list_devices() if device.name == "CPU"])
import openvino
print(hasattr(openvino, "convert_model"), "openvino.tools.ovc.convert" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == ["['CPU']", f"{not in_worker} {not in_worker}"]
