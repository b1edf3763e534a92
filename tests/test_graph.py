"""Graphs and execution contexts, independent of any backend: tested with graphs in Python, as a backend's author
writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from checks import refused
from onnx_models import f32

import wasi_nn
from wasi_nn import ABSENT, ErrorCode, Graph, Outputs, TensorInfo, TensorType
from wasi_nn.graph.runner import RunFunction
from wasi_nn.limits.limits import Limits
from wasi_nn.limits.usage import Usage
from wasi_nn.session.handles import HandleTable


class Doubler(Graph):
    """doubled = 2 * x + bias. Counts its runs, and fails on 13."""

    def __init__(self) -> None:
        f32 = np.dtype(np.float32)
        super().__init__(
            [TensorInfo("x", f32, ("n", 2)), TensorInfo("bias", f32, ())], [TensorInfo("doubled", f32, ("n", 2))]
        )
        self.runs = 0

    def runner(self) -> RunFunction:
        def run(inputs: Sequence[Any], _: Sequence[Any] | None) -> Sequence[Any]:
            self.runs += 1
            if (inputs[0] == 13).any():
                raise ArithmeticError("thirteen\nis out")
            return [2 * inputs[0] + inputs[1]]

        return run


X = f32([[1, 2], [3, 4]])
BIAS = np.array(1, np.float32)


@pytest.fixture
def context() -> wasi_nn.ExecutionContext:
    return Doubler().init_execution_context()


def test_inputs_by_index_by_name_and_by_decimal_name(context: wasi_nn.ExecutionContext) -> None:
    for x, bias in ((0, 1), ("x", "bias"), ("0", "1")):
        context.set_input(x, X)
        context.set_input(bias, BIAS)
        context.compute()
        assert context.get_output("doubled").tolist() == context.get_output("0").tolist() == [[3, 5], [7, 9]]


@pytest.mark.parametrize("key", [2, -1, "y", "2", "-1", "", "x ", "٣", "9" * 5000])
def test_inputs_that_do_not_exist(context: wasi_nn.ExecutionContext, key: int | str) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "^no input", context.set_input, key, X)


def test_a_name_comes_before_an_index() -> None:
    graph = Doubler()
    graph.inputs = (TensorInfo("1", graph.inputs[0].dtype, (1,)), TensorInfo("0", graph.inputs[0].dtype, (2,)))
    context = graph.init_execution_context()
    context.set_input("0", f32([1, 2]))
    refused(ErrorCode.INVALID_ARGUMENT, "has dims \\[1\\]", context.set_input, "1", f32([1, 2]))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros((2, 2)), "is f32, got f64"),
        (np.zeros((2, 2), np.int8), "is f32, got int8"),
        (np.zeros((2, 3), np.float32), r"has dims \[n, 2\], got \[2, 3\]"),
        (np.zeros(2, np.float32), r"got \[2\]"),
        (np.zeros((1, 2, 2), np.float32), r"got \[1, 2, 2\]"),
    ],
)
def test_tensors_that_do_not_fit(context: wasi_nn.ExecutionContext, tensor: Any, message: str) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, message, context.set_input, "x", tensor)
    refused(ErrorCode.INVALID_ARGUMENT, message, context.graph.compute, {"x": tensor, "bias": BIAS})


@pytest.mark.parametrize("bias", [np.array(1, np.float32), f32([1]), np.array(1, ">f4")])
def test_scalars(context: wasi_nn.ExecutionContext, bias: Any) -> None:
    context.set_input(0, X)
    context.set_input(1, bias)
    context.compute()
    assert context.get_output(0).tolist() == [[3, 5], [7, 9]]
    assert context.graph.compute({"x": X, "bias": bias})["doubled"].tolist() == [[3, 5], [7, 9]]


def test_arrays_need_not_be_contiguous(context: wasi_nn.ExecutionContext) -> None:
    context.set_input(0, X.T)
    context.set_input(1, BIAS)
    context.compute()
    assert context.get_output(0).tolist() == [[3, 7], [5, 9]]


def test_inputs_are_copied_and_outputs_are_copies(context: wasi_nn.ExecutionContext) -> None:
    x = X.copy()
    context.set_input(0, x)
    context.set_input(1, BIAS)
    x[:] = 0
    context.compute()
    output = context.get_output(0)
    output[:] = 0
    assert context.get_output(0).tolist() == [[3, 5], [7, 9]]


def test_there_is_no_output_before_a_compute_or_after_a_failed_one(context: wasi_nn.ExecutionContext) -> None:
    refused(ErrorCode.RUNTIME_ERROR, "no compute has succeeded", context.get_output, 0)
    refused(ErrorCode.INVALID_ARGUMENT, "call set_input for 'x', 'bias'", context.compute)
    context.set_input(0, X)
    context.set_input(1, BIAS)
    context.compute()
    context.set_input(0, f32([[13, 0]]))
    assert context.get_output(0).tolist() == [[3, 5], [7, 9]], "set_input leaves the outputs"
    refused(ErrorCode.RUNTIME_ERROR, "the runtime failed: thirteen is out", context.compute)
    refused(ErrorCode.RUNTIME_ERROR, "the last one failed", context.get_output, 0)
    refused(ErrorCode.RUNTIME_ERROR, "the last one failed", context.output_bytes, 0)


def test_named_inputs_each_once(context: wasi_nn.ExecutionContext) -> None:
    named = context.compute_named
    assert [(name, output.tolist()) for name, output in named([("bias", BIAS), ("x", X)])] == [
        ("doubled", [[3, 5], [7, 9]])
    ]
    refused(ErrorCode.INVALID_ARGUMENT, "no value is given for the input 'bias'", named, [("x", X)])
    refused(ErrorCode.INVALID_ARGUMENT, "'x' is given twice", named, [("x", X), ("0", X), ("bias", BIAS)])
    refused(ErrorCode.INVALID_ARGUMENT, "no input is named 'y'", named, [("y", X), ("bias", BIAS)])
    refused(ErrorCode.RUNTIME_ERROR, "no compute has succeeded", context.get_output, 0)


def test_outputs_that_are_not_contiguous_are_never_stale() -> None:
    class Transposing(Doubler):
        def runner(self) -> RunFunction:
            held = [np.zeros((2, 2), np.float32)]
            outputs = [held[0].T]

            def run(inputs: Sequence[Any], _: Sequence[Any] | None) -> Sequence[Any]:
                held[0][:] = inputs[0]
                return outputs

            return run

    context = Transposing().init_execution_context()
    context.set_input(1, BIAS)
    for x in (X, 2 * X):
        context.set_input(0, x)
        context.compute()
        assert bytes(context.output_bytes(0)) == x.T.tobytes()


def test_tensor_types_and_dtypes() -> None:
    assert [kind.dtype.itemsize for kind in TensorType] == [2, 2, 4, 8, 1, 4, 8]
    assert [TensorType.of(kind.dtype) for kind in TensorType] == list(TensorType)
    assert TensorType.of(np.dtype(np.int8)) is TensorType.of(np.dtype(object)) is None


def test_handles_are_never_given_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    table, graph = HandleTable(Usage(Limits())), Doubler()
    first = table.add(graph)
    assert table.remove(first, Graph) is graph
    second = table.add(graph)
    assert second != first
    refused(ErrorCode.INVALID_ARGUMENT, "was released", table.get, first, Graph)
    refused(ErrorCode.INVALID_ARGUMENT, "was released", table.remove, first, Graph)
    refused(ErrorCode.INVALID_ARGUMENT, "it is a graph", table.get, second, wasi_nn.ExecutionContext)
    monkeypatch.setattr("wasi_nn.session.handles._LAST_HANDLE", second)
    refused(ErrorCode.TOO_LARGE, "no handles are left", table.add, graph)
    assert len(table) == 1


def test_a_graph_lives_as_long_as_a_context_needs_it() -> None:
    with wasi_nn.Session({"doubler": Doubler()}) as session:
        graph = session.load_by_name("doubler")
        context = session.context(session.init_execution_context(graph))
        session.unload(graph)
    context.set_input(0, X)
    context.set_input(1, BIAS)
    context.compute()
    assert context.get_output(0).tolist() == [[3, 5], [7, 9]]


# Inputs that are bytes, optional, or of no declared type; outputs that aren't declared


class Echo(Graph):
    """The outputs are the inputs that are set, each under its name, in reverse order."""

    encoding = wasi_nn.GraphEncoding.GGML
    outputs_vary = True

    def __init__(self) -> None:
        super().__init__(
            [
                TensorInfo.of_bytes("prompt"),
                TensorInfo.of_bytes("options", optional=True),
                TensorInfo("x", None, None, optional=True),
            ],
            [],
        )

    def runner(self) -> RunFunction:
        def run(inputs: Sequence[Any], _: Sequence[Any] | None) -> Sequence[Any]:
            present = [
                (info.name, array) for info, array in zip(self.inputs, inputs, strict=True) if array is not ABSENT
            ]
            return Outputs.named((name, array.copy()) for name, array in reversed(present))

        return run


def test_bytes_are_taken_whatever_type_and_dims_they_are_said_to_have() -> None:
    context = Echo().init_execution_context()
    for dtype, dims, data in (
        ("u1", (1,), b"hello"),
        ("f4", (7, 7), b""),
        ("u1", (1,), b"hello again"),
        ("i8", (), b"\0"),
    ):
        context.write_input(0, np.dtype(dtype), dims, memoryview(data))
        context.compute()
        assert bytes(context.output_bytes(0)) == data
    for tensor in ("caf\u00e9", "caf\u00e9".encode(), np.frombuffer("caf\u00e9".encode(), np.uint8)):
        context.set_input("prompt", tensor)
        context.compute()
        assert context.get_output("prompt").tobytes().decode() == "caf\u00e9"
        assert Echo().compute({"prompt": tensor})["prompt"].tobytes().decode() == "caf\u00e9"


def test_optional_inputs_may_be_left_out() -> None:
    context = Echo().init_execution_context()
    refused(ErrorCode.INVALID_ARGUMENT, "call set_input for 'prompt'", context.compute)
    context.set_input(1, b"{}")
    refused(ErrorCode.INVALID_ARGUMENT, "call set_input for 'prompt'", context.compute)
    context.set_input(0, b"")
    context.compute()
    assert context.get_output(0).tobytes() == b"{}"
    assert [name for name, _ in context.compute_named([("0", b"p")])] == ["prompt"]
    assert list(Echo().compute({"prompt": b"p", "options": b"o"})) == ["options", "prompt"]
    refused(ErrorCode.INVALID_ARGUMENT, "no value is given for the input 'prompt'", Echo().compute, {"options": b"o"})


@pytest.mark.parametrize("kind", TensorType)
def test_an_input_of_no_declared_type_takes_every_type(kind: TensorType) -> None:
    context = Echo().init_execution_context()
    context.set_input(0, b"p")
    for value in (np.arange(6).reshape(2, 3).astype(kind.dtype), np.ones((), kind.dtype)):
        context.set_input(2, value)
        context.compute()
        output = context.get_output("x")
        assert (output.dtype, output.shape, output.tobytes()) == (value.dtype, value.shape, value.tobytes())
        assert len(context.output_bytes(0)) == value.nbytes
    refused(
        ErrorCode.INVALID_ARGUMENT,
        r"\[2\] is .* bytes, got 3",
        context.write_input,
        2,
        kind.dtype,
        (2,),
        memoryview(b"abc"),
    )


def test_a_graph_that_is_closed_begins_nothing_more() -> None:
    with Doubler() as graph:
        context = graph.init_execution_context()
    graph.close()
    refused(ErrorCode.RUNTIME_ERROR, "the graph is closed", graph.init_execution_context)
    refused(ErrorCode.RUNTIME_ERROR, "the graph is closed", graph.compute, {})
    assert context.graph is graph


def test_what_a_user_prints_says_what_it_is() -> None:
    graph = Doubler()
    assert repr(graph).startswith("<Doubler of autodetect on ? (cpu): ")
    assert all(repr(str(info))[1:-1] in repr(graph) for info in (*graph.inputs, *graph.outputs))
    context = graph.init_execution_context()
    assert repr(context) == f"<ExecutionContext of {graph!r}, inputs to be set: x, bias>"
    registry = wasi_nn.Registry({"doubler": graph})
    assert repr(registry) == "<Registry: doubler (loaded)>"
    with wasi_nn.Session(registry) as session:
        session.load_by_name("doubler")
        assert repr(session) == "<Session: 1 handles, 1 graphs, 0 contexts>"
    assert repr(wasi_nn.Host(registry, cache=False)).startswith("<Host with <Registry: doubler (loaded)>, Limits(")


def test_outputs_that_are_known_only_when_a_graph_has_run() -> None:
    context = Echo().init_execution_context()
    assert context.graph.outputs == ()
    for key in (0, 1, "prompt"):
        refused(ErrorCode.RUNTIME_ERROR, f"output {key!r} isn't available", context.get_output, key)
    context.set_input(0, b"p")
    context.compute()
    refused(ErrorCode.INVALID_ARGUMENT, "no output has index 1: the graph has 1", context.get_output, 1)
    refused(
        ErrorCode.INVALID_ARGUMENT, "no output is named 'x'; the graph's outputs: 'prompt'", context.get_output, "x"
    )
    context.set_input(1, b"o")
    context.compute()
    assert [bytes(context.output_bytes(index)) for index in (0, 1)] == [b"o", b"p"]


def test_an_input_is_written_into_the_runtimes_own_memory_where_it_has_some() -> None:
    class Buffered(Doubler):
        def runner(self) -> RunFunction:
            return BufferedRunner(super().runner())

    class BufferedRunner:
        def __init__(self, run: RunFunction) -> None:
            self.run, self.own = run, np.zeros((2, 2), np.float32)

        def __call__(self, inputs: Sequence[Any], reuse: Sequence[Any] | None) -> Sequence[Any]:
            assert (inputs[0] is self.own) == (inputs[0].shape == self.own.shape)
            return self.run(inputs, reuse)

        def input_buffer(self, index: int, dims: tuple[int, ...]) -> Any:
            return self.own if index == 0 and dims == self.own.shape else None

    context = Buffered().init_execution_context()
    context.set_input(1, BIAS)
    for x in (X, X + 1, f32([[1, 2]]), X):
        context.set_input(0, x)
        context.compute()
        assert context.get_output(0).tolist() == (2 * x + 1).tolist()


def test_the_many_keys_of_an_input_are_not_in_its_text() -> None:
    info = TensorInfo.of_bytes("options", keys=("n-predict", "temp"))
    assert "n-predict" not in repr(info)
    assert info.keys == ("n-predict", "temp")


def test_earlier_names_work_and_say_what_to_use() -> None:
    array = np.zeros(2, np.float32)
    with pytest.warns(
        DeprecationWarning, match=r"NamedOutputs is deprecated: use wasi_nn\.Outputs\.named\(pairs\)"
    ) as seen:
        named = wasi_nn.NamedOutputs([("y", array)])
    assert seen[0].filename == __file__
    assert (list(named), [info.name for info in named.infos or ()]) == ([array], ["y"])
    with pytest.warns(
        DeprecationWarning, match="EndedEarly is deprecated: use wasi_nn.Outputs.arrays, context_full=True"
    ):
        assert wasi_nn.EndedEarly([array]).context_full
