"""Outputs of isolated graphs in shared memory: where runtimes write them, and how the host reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import tensorflow_models
import tflite_models
from confined_backend import SteppingBackend
from onnx import TensorProto, helper, numpy_helper

import wasi_nn
from wasi_nn import EndOfSequence, ExecutionTarget, LoadRules, NNError, TensorInfo, TensorType
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.runner import Runner
from wasi_nn.isolation import Isolation, isolated_graph
from wasi_nn.isolation.shared_memory import SharedMemory, WorkerMemory
from wasi_nn.isolation.wire.descriptions import InvalidWorkerMessage
from wasi_nn.isolation.wire.outputs import SAME, OutputReader, OutputWriter, copies, declared_outputs

X = np.array([-1, 2, -3, 4], np.float32)
ISOLATED = LoadRules(isolate=True)


class Room:
    """Memory for the outputs of one writer; counts how often the writer asked for it."""

    def __init__(self, graph: Graph) -> None:
        self.requests: list[int] = []
        self.reader = OutputReader(declared_outputs(graph), WorkerMemory(2**30))
        self.writer = OutputWriter(graph, self._give)

    def _give(self, size: int) -> memoryview:
        self.requests.append(size)
        return self.reader.give_room(size).bytes

    def through(self, outputs: Any) -> list[Any]:
        """Write outputs as a worker does; returns them as the host reads them."""
        return self.reader.read(self.writer.told(outputs))


def _openvino(tmp_path: Path) -> Graph:
    (tmp_path / "model.onnx").write_bytes(onnx_models.relu())
    return wasi_nn.load(tmp_path / "model.onnx", "openvino")


@pytest.mark.parametrize(
    "make",
    [
        lambda _: wasi_nn.load(onnx_models.identity()),
        lambda _: wasi_nn.load(onnx_models.add_and_mul()),
        lambda _: wasi_nn.load(onnx_models.identity(TensorType.BF16)),
        lambda _: wasi_nn.load(onnx_models.relu(())),
        _openvino,
        lambda path: wasi_nn.load(tensorflow_models.affine(path / "model"), "tensorflow"),
    ],
    ids=["onnx", "onnx of any dims", "onnx bf16", "onnx scalar", "openvino", "tensorflow"],
)
def test_runtimes_write_where_the_host_reads(make: Callable[[Path], Graph], tmp_path: Path) -> None:
    graph = make(tmp_path)
    runner: Any = graph.runner()
    room = Room(graph)
    rng = np.random.default_rng(1)
    inputs = []
    for info in graph.inputs:
        assert info.dtype is not None
        dims = [dim if isinstance(dim, int) else 3 for dim in info.dims or ()]
        inputs.append(rng.integers(0, 9, dims).astype(info.dtype))
    first = room.through(runner(inputs, room.writer.reuse))
    for number in range(3):
        for array in inputs:
            array[...] = number
        places = room.writer.reuse
        written = runner(inputs, places)
        assert all(array is place for array, place in zip(written, places, strict=True))
        assert room.through(written) is first
        expected = graph.runner()([array.copy() for array in inputs], None)
        assert [array.tolist() for array in first] == [array.tolist() for array in expected]
    assert len(room.requests) == 1


def test_what_a_runtime_keeps_is_copied_each_time() -> None:
    context = wasi_nn.load(tflite_models.relu(), rules=ISOLATED).init_execution_context()
    for number in range(4):
        context.set_input(0, X * number)
        context.compute()
        assert context.get_output(0).tolist() == [0, 2 * number, 0, 4 * number]


def test_a_run_on_other_inputs_leaves_the_outputs_that_are_there() -> None:
    for rules in (ISOLATED, None):
        context = wasi_nn.load(onnx_models.relu(), rules=rules).init_execution_context()
        context.set_input(0, X)
        for _ in range(3):
            context.compute()
            context.compute_named([("x", -X)])
            assert context.get_output(0).tolist() == [0, 2, 0, 4]


def test_a_sequence_of_pieces_that_are_all_alike() -> None:
    context = isolated_graph.load(
        SteppingBackend(), [memoryview(b"")], Isolation(), ExecutionTarget.CPU, {}
    ).init_execution_context()
    context.set_input(0, X)
    for _ in range(2):
        for piece in ([-1, 2], [2, -3]):
            context.compute_single()
            assert np.frombuffer(context.single_output_bytes(0), np.float32).tolist() == piece
        with pytest.raises(EndOfSequence):
            context.compute_single()
        assert context.get_output(0).tolist() == [-3, 4]
        context.fini_single()


def _model_with_constant_outputs() -> bytes:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Identity", ["y"], ["again"]),
        helper.make_node("Identity", ["w"], ["constant"]),
    ]
    outputs = {
        "y": (TensorProto.FLOAT, (4,)),
        "again": (TensorProto.FLOAT, (4,)),
        "constant": (TensorProto.FLOAT, (4,)),
    }
    return onnx_models.build(
        nodes, {"x": (TensorProto.FLOAT, (4,))}, outputs, [numpy_helper.from_array(onnx_models.f32([5, 6, 7, 8]), "w")]
    )


@pytest.mark.parametrize("rules", [None, ISOLATED])
def test_outputs_that_are_alike_or_constant_keep_apart(rules: LoadRules | None) -> None:
    context = wasi_nn.load(_model_with_constant_outputs(), rules=rules).init_execution_context()
    for number in range(4):
        context.set_input(0, X * number)
        context.compute()
        y, again, constant = (context.get_output(index).tolist() for index in range(3))
        assert (y, again, constant) == ([0, 2 * number, 0, 4 * number], y, [5, 6, 7, 8])


class AnyOutputs(Graph):
    """A graph that declares no element types for its two outputs."""

    def __init__(self) -> None:
        super().__init__([], [TensorInfo(name, None, None) for name in "ab"])

    def runner(self) -> Runner:
        raise NotImplementedError


class TestWhatIsTold:
    graph = AnyOutputs()

    def room(self) -> Room:
        return Room(self.graph)

    def test_where_outputs_lie_is_told_once(self) -> None:
        room = self.room()
        assert room.writer.told([X, X]) == {"outputs": [["float32", [4], 0], ["float32", [4], 64]]}
        assert room.writer.told([X, X]) is SAME

    def test_they_move_when_they_change(self) -> None:
        room = self.room()
        for outputs in ([X, X], [X[:2], X], [X.astype(np.int8), X], [np.zeros((70, 70)), X], [np.float32(3), X]):
            arrays = list(map(np.asarray, outputs))
            for _ in range(2):
                read = room.through(arrays)
                assert [(array.dtype, array.tolist()) for array in read] == [(it.dtype, it.tolist()) for it in arrays]

    def test_arrays_without_elements_or_in_another_order(self) -> None:
        room = self.room()
        turned = np.arange(6.0).reshape(2, 3).T
        empty = np.empty((0, 3), np.int64)
        empty.flags.writeable = False
        for _ in range(3):
            first, second = room.through([empty, turned])
            assert (first.shape, first.dtype, second.tolist()) == ((0, 3), np.int64, turned.tolist())

    def test_strings_and_early_ends_are_told_each_time(self) -> None:
        room = self.room()
        texts = np.array(["a", b"\xff"], object)
        for _ in range(2):
            assert [array.tolist() for array in room.through([texts, X])] == [texts.tolist(), X.tolist()]
            assert room.through(Outputs([X, X], context_full=True)).context_full  # type: ignore[attr-defined]
            assert room.writer.told([X, X]) is not SAME

    def test_copies_keep_what_a_list_of_outputs_says(self) -> None:
        named = Outputs.named([("a", X)])
        assert copies(named).infos == named.infos  # type: ignore[attr-defined]
        assert copies(Outputs([X], context_full=True)).context_full  # type: ignore[attr-defined]
        plain = [X, X]
        assert copies(plain) is not plain
        assert copies(plain)[0] is not X

    def test_outputs_like_the_last_ones_are_as_many_as_there_should_be(self) -> None:
        room = self.room()
        room.reader.read(room.writer.told([X]), 1)
        with pytest.raises(InvalidWorkerMessage, match="1 outputs"):
            room.reader.read(SAME)
        with pytest.raises(InvalidWorkerMessage, match="there are no last ones"):
            room.reader.read(SAME)

    def test_memory_that_is_replaced_has_no_last_outputs(self) -> None:
        room = self.room()
        room.through([X, X])
        room.reader.give_room(8192)
        with pytest.raises(InvalidWorkerMessage, match="there are no last ones"):
            room.reader.read(SAME)

    def test_outputs_have_the_declared_types(self) -> None:
        room = Room(wasi_nn.load(onnx_models.add_and_mul()))
        assert len(room.through([X, X])) == 2
        for other in (X.astype(np.float64), X.astype(np.int32), X.astype(str).astype(object)):
            with pytest.raises(
                InvalidWorkerMessage, match=f"an output of {other.dtype}, although it is declared as float32"
            ):
                room.through([X, other])
        with pytest.raises(InvalidWorkerMessage, match="an output of int32"):
            room.reader.read(room.writer.told([X.astype(np.int32)]), 1)

    @pytest.mark.parametrize("strings", [["a", b"\xff\0", "", "\ud800", "\u00e4" * 1000], [], [b""]])
    def test_strings_are_what_they_were(self, strings: list[str | bytes]) -> None:
        texts = np.array([None, *strings], object)[1:]
        first, second = self.room().through([texts, X])
        assert (first.tolist(), second.tolist()) == (strings, X.tolist())

    @pytest.mark.parametrize(
        "described",
        [
            ["object", [2**20], 0, 16],
            ["object", [1], 0, 4],
            ["object", [2], 0, 16],
            ["object", [1], 0, 2**40],
            ["object", [1], 2**40, 8],
            ["object", [1], -8, 8],
            ["object", [1], 0, None],
            ["object", [-1], 0, 8],
            ["object", [True], 0, 8],
        ],
    )
    def test_strings_that_cant_be_are_misleading(self, described: list[Any]) -> None:
        room = self.room()
        room.through([np.array(["text", "", ""], object), X])
        with pytest.raises(InvalidWorkerMessage):
            room.reader.read({"outputs": [described, ["float32", [0], 0]]})

    @pytest.mark.parametrize("described", [["float32", [16], 0], ["object", [1], 0, 64], ["uint8", [1], 63]])
    def test_outputs_that_lie_in_each_other_are_misleading(self, described: list[Any]) -> None:
        room = self.room()
        room.through([np.zeros(16, np.float32), np.array(["x" * 56], object)])
        assert len(room.reader.read({"outputs": [["float32", [16], 0], ["object", [1], 64, 64]]})) == 2
        for outputs in ([["float32", [16], 0], described], [["object", [1], 64, 64], described]):
            with pytest.raises(InvalidWorkerMessage, match="outside of its part of the memory"):
                room.reader.read({"outputs": outputs})

    def test_strings_are_limited_over_all_outputs(self) -> None:
        room = self.room()
        texts = np.array(["x" * (2**25)], object)
        with pytest.raises(NNError, match="at most 67108864 in an input"):
            room.through([texts, texts])
        room.reader.give_room(3 * 2**25).bytes[:8] = (2**26 - 16).to_bytes(8, "little")
        with pytest.raises(InvalidWorkerMessage, match="67108865 bytes of strings"):
            room.reader.read({"outputs": [["object", [1], 0, 2**25], ["object", [1], 2**25, 2**25 + 1]]})

        many = np.full(2**19 + 1, "", object)
        with pytest.raises(NNError, match="1048578 strings: an isolated graph may have at most 1048576"):
            room.through([many, many])
        with pytest.raises(InvalidWorkerMessage, match="1048577 strings"):
            room.reader.read({"outputs": [["object", [2**20 + 1], 0, 2**23 + 8], ["object", [0], 2**24, 0]]})

    def test_more_strings_than_there_may_be_are_too_large(self) -> None:
        with pytest.raises(NNError, match="at most 67108864 in an input"):
            self.room().through([np.array(["x" * 2**26], object), X])

    @pytest.mark.parametrize("size", [0, -1, 2.5, "x", None, True])
    def test_sizes_that_are_none_are_refused(self, size: Any) -> None:
        if size is True:  # one byte
            assert isinstance(self.room().reader.give_room(size), SharedMemory)
            return
        with pytest.raises(InvalidWorkerMessage):
            self.room().reader.give_room(size)

    def test_more_than_there_may_be_is_too_large(self) -> None:
        with pytest.raises(
            NNError,
            match=r"need 1342177280 bytes, and may have 1073741824 \(Isolation.memory, --worker-memory\)",
        ):
            self.room().reader.give_room(2**30 + 1)
