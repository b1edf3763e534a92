"""Tensors of element types that wasi-nn lacks: refused by default, converted without loss with `convert_types`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from struct import pack, unpack
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from checks import refused
from core_guest import I32, I64, INVALID_ARGUMENT, SUCCESS, U8, UNSUPPORTED_OPERATION, CoreGuest
from onnx import TensorProto, helper

import wasi_nn
from wasi_nn import (
    EndOfSequence,
    ErrorCode,
    Graph,
    GraphEncoding,
    LoadRules,
    NamedGraph,
    Registry,
    TensorInfo,
    isolation,
)
from wasi_nn.graph.conversion import converted
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.runner import RunFunction, Runner

CONVERT = LoadRules(convert_types=True)

CASES = [
    ("int8", TensorProto.INT8, "i32", [-128, 0, 5, 127], [128, -129]),
    ("int16", TensorProto.INT16, "i32", [-32768, 0, 5, 32767], [32768, -(2**31)]),
    ("uint16", TensorProto.UINT16, "i32", [0, 1, 5, 65535], [-1, 65536]),
    ("uint32", TensorProto.UINT32, "i64", [0, 1, 5, 2**32 - 1], [-1, 2**32]),
    ("uint64", TensorProto.UINT64, "i64", [0, 1, 5, 2**63 - 1], [-1]),
    ("bool", TensorProto.BOOL, "u8", [0, 1, 1, 0], [2, 255]),
]


def identity(element: int) -> bytes:
    return models.build([helper.make_node("Identity", ["x"], ["y"])], {"x": (element, (4,))}, {"y": (element, (4,))})


@pytest.mark.parametrize(("name", "element", "kind", "values", "beyond"), CASES)
def test_each_type_there_and_back(name: str, element: int, kind: str, values: list[int], beyond: list[int]) -> None:
    graph = wasi_nn.load(identity(element), rules=CONVERT)
    assert [str(info) for info in (*graph.inputs, *graph.outputs)] == [f"x: {kind}[4]", f"y: {kind}[4]"]
    tensor = np.array(values, graph.inputs[0].dtype)
    context = graph.init_execution_context()
    for shift in range(3):
        context.set_input(0, np.roll(tensor, shift))
        context.compute()
        output = context.get_output(0)
        assert output.dtype == tensor.dtype
        assert output.tolist() == np.roll(tensor, shift).tolist()
    for value in beyond:
        context.set_input(0, np.array([0, 0, 0, value], tensor.dtype))
        refused(ErrorCode.INVALID_ARGUMENT, f"has the value {value} .* which {name} can't hold", context.compute)
        refused(ErrorCode.RUNTIME_ERROR, "isn't available", context.get_output, 0)


@pytest.mark.parametrize(("name", "element"), [(case[0], case[1]) for case in CASES])
def test_off_by_default_with_a_word_on_how_to_turn_it_on(name: str, element: int) -> None:
    context = wasi_nn.load(identity(element)).init_execution_context()
    match = f"input 'x' is {name}, got f32; .*--convert-types"
    refused(ErrorCode.UNSUPPORTED_OPERATION, match, context.set_input, 0, models.f32([0, 0, 0, 0]))


def test_an_output_that_is_too_large_for_the_type_it_is_given_as() -> None:
    ones = models.build(
        [helper.make_node("BitwiseNot", ["x"], ["y"])],
        {"x": (TensorProto.UINT64, (1,))},
        {"y": (TensorProto.UINT64, (1,))},
        opset=18,
    )
    context = wasi_nn.load(ones, rules=CONVERT).init_execution_context()
    context.set_input(0, np.zeros(1, np.int64))
    refused(
        ErrorCode.INVALID_ARGUMENT,
        r"'y' has the value 18446744073709551615 \(uint64\), which i64 can't hold",
        context.compute,
    )


def texts(*items: bytes) -> Any:
    width = max(map(len, items), default=0)
    return np.array([list(item.ljust(width, b"\0")) for item in items], np.uint8).reshape(len(items), width)


@pytest.mark.parametrize(
    "items", [(b"one",), (b"a", b"", "\u00e9t\u00e9".encode()), (b"in\0side", b"x"), (b"", b""), ()]
)
def test_strings_are_rows_of_bytes(items: tuple[bytes, ...]) -> None:
    graph = wasi_nn.load(models.strings(), rules=CONVERT)
    assert str(graph.inputs[0]) == "x: u8[n, ?]"
    assert graph.compute({"x": texts(*items)})["y"].tolist() == texts(*items).tolist()


def test_strings_that_can_not_be() -> None:
    graph = wasi_nn.load(models.strings(), rules=CONVERT)
    refused(ErrorCode.INVALID_ARGUMENT, "'x': .*can't decode", graph.compute, {"x": texts(b"\xff")})
    refused(
        ErrorCode.INVALID_ARGUMENT, r"'x' has dims \[n, \?\], got \[3\]", graph.compute, {"x": np.zeros(3, np.uint8)}
    )


def chosen_strings(strings: list[bytes], outputs: int) -> bytes:
    """A model whose outputs are each the strings at the indexes i."""
    names = [f"y{number}" for number in range(outputs)]
    return models.build(
        [helper.make_node("Gather", ["strings", "i"], [name]) for name in names],
        {"i": (TensorProto.INT64, ("n",))},
        dict.fromkeys(names, (TensorProto.STRING, ("n",))),
        initializers=[
            TensorProto(name="strings", dims=[len(strings)], data_type=TensorProto.STRING, string_data=strings)
        ],
    )


@pytest.mark.parametrize("letter", ["x", "\u00e9"])
@pytest.mark.parametrize("outputs", [1, 4])
def test_rows_far_larger_than_their_strings_are_refused_before_they_are_made(letter: str, outputs: int) -> None:
    graph = wasi_nn.load(chosen_strings([b"", (letter * 2**19).encode()], outputs), rules=CONVERT)
    assert graph.compute({"i": np.array([1, 0])})["y0"].shape == (2, 2**19 * len(letter.encode()))
    many = np.zeros(200 // outputs, np.int64)
    many[5] = 1
    message = rf"'y\d' has {200 // outputs} strings, of \d+ bytes each with .* of the 67108864 bytes"
    refused(ErrorCode.TOO_LARGE, message, graph.compute, {"i": many})


def test_strings_that_are_few_bytes_and_many_are_refused_before_they_are_made() -> None:
    graph = wasi_nn.load(models.strings(), rules=CONVERT)
    match = r"the inputs have \d+ strings: at most 1048576"
    refused(ErrorCode.TOO_LARGE, match, graph.compute, {"x": np.zeros((2**40, 0), np.uint8)})
    refused(ErrorCode.TOO_LARGE, match, graph.compute, {"x": np.zeros((2**20 + 1, 1), np.uint8)})


def test_what_is_neither_a_number_nor_a_string_stays_refused() -> None:
    context = wasi_nn.load(models.sequence(), rules=CONVERT).init_execution_context()
    context.set_input(0, models.f32([1, 2]))
    context.compute()
    assert context.get_output("y").tolist() == [1, 2]
    refused(ErrorCode.UNSUPPORTED_OPERATION, "output 's' is seq", context.output_bytes, 0)


def test_a_graph_of_the_specifications_types_is_not_touched() -> None:
    assert type(wasi_nn.load(models.relu(), rules=CONVERT)) is type(wasi_nn.load(models.relu()))


def test_a_guest_is_served_converted_tensors_by_name_and_by_bytes() -> None:
    model = models.cast(TensorProto.INT8, TensorProto.UINT32)
    with wasi_nn.Session({"net": model}, rules=CONVERT) as session:
        guest = CoreGuest(session)
        context = guest.context("net")
        assert guest.set_input(context, 0, [4], U8, bytes(4)) == INVALID_ARGUMENT
        assert guest.set_input(context, 0, [4], I32, pack("<4i", 1, 2, 3, 127)) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert unpack("<4q", guest.get_output(context)) == (1, 2, 3, 127)
        assert guest.load(model) == SUCCESS
    with wasi_nn.Session({"net": model}) as session:
        guest = CoreGuest(session)
        assert guest.set_input(guest.context("net"), 0, [4], I64, bytes(32)) == UNSUPPORTED_OPERATION


def test_a_named_graph_may_differ_from_its_registry() -> None:
    model = identity(TensorProto.INT8)
    registry = Registry({"on": NamedGraph(model, convert_types=True), "off": model})
    assert str(registry.get("on").inputs[0]) == "x: i32[4]"
    assert str(registry.get("off").inputs[0]) == "x: int8[4]"
    assert Registry({"off": NamedGraph(model, convert_types=False)}, rules=CONVERT).get("off").inputs[0].type is None


class Everything(Graph):
    """A graph of int8 whose runner has every optional method."""

    encoding = GraphEncoding.AUTODETECT
    runtime = "everything"

    def __init__(self) -> None:
        infos = [TensorInfo("x", np.dtype(np.int8), ("n",)), TensorInfo.of_bytes("prompt", optional=True)]
        super().__init__(infos, [TensorInfo("y", np.dtype(np.int8), ("n",))])
        self.calls: list[Any] = []

    def configured(self, config: memoryview) -> Graph:
        return Everything()

    def runner(self) -> RunFunction:
        return EverythingRunner(self.calls)


class EverythingRunner:
    def __init__(self, calls: list[Any]) -> None:
        self.text_sink: Any = None
        self.calls = calls

    def __call__(self, inputs: Sequence[Any], reuse: object) -> list[Any]:
        self.text_sink(b"shown")
        return Outputs([inputs[0]], context_full=len(inputs[0]) > 4)

    def steps(self, inputs: Sequence[Any]) -> Generator[list[Any], None, list[Any]]:
        assert inputs[0].dtype == np.int8
        try:
            for value in inputs[0]:
                yield [np.array([value])]
            return self(inputs, None)
        finally:
            self.calls.append("closed")

    def check_input(self, index: int, data: memoryview) -> None:
        self.calls.append(("checked", index, bytes(data)))

    def output_before_compute(self, index: int, inputs: Sequence[Any]) -> Any:
        return None if inputs[0] is None else inputs[0][:1]

    def interrupt(self) -> None:
        self.calls.append("interrupted")


def test_a_runner_keeps_what_runners_may_have() -> None:
    inner = Everything()
    context = converted(inner).init_execution_context()
    shown: list[bytes] = []
    context.show_to(shown.append)
    context.set_input("prompt", b"hello")
    context.set_input("x", np.array([1, -2, 3], np.int32))
    assert inner.calls == [("checked", 1, b"hello")], "an input that is converted has other bytes"
    assert context.get_output(0).tolist() == [1], "known before the compute"
    pieces = []
    for _ in range(3):
        context.compute_single()
        pieces += np.frombuffer(context.single_output_bytes(0), np.int32).tolist()
    assert pieces == [1, -2, 3]
    with pytest.raises(EndOfSequence):
        context.compute_single()
    assert context.get_output(0).tolist() == [1, -2, 3]
    assert shown == [b"shown"]
    context.compute_single()
    context.fini_single()
    assert inner.calls[1:] == ["closed", "closed"]
    context.set_input("x", np.arange(5, dtype=np.int32))
    context.compute()
    assert context.context_full
    context.interrupt()
    assert inner.calls[-1] == "interrupted"


def test_a_runner_has_nothing_that_the_graphs_own_lacks() -> None:
    runner = converted(wasi_nn.load(identity(TensorProto.INT8))).runner()
    assert isinstance(runner, Runner)
    assert not runner.features & {"steps", "check_input", "output_before_compute"}


def test_the_runtime_is_known_of_what_is_converted_and_configured() -> None:
    graph = converted(Everything())
    assert (graph.runtime, graph.configured(memoryview(b"{}")).runtime) == ("everything", "everything")
    for rules in (LoadRules(convert_types=True), LoadRules(convert_types=True, isolate=True)):
        if not (rules.isolate and isolation.unavailable()):
            assert wasi_nn.load(identity(TensorProto.INT8), rules=rules).runtime == "onnxruntime"
