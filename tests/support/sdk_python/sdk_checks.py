"""What the three examples of the SDK for Python don't show: every kind of buffer, freeing, and what is refused.

The host has the graphs `types` and `bf16` of the examples. The program prints nothing: an assertion fails, or none.
"""

import gc
import pickle
import sys
from array import array
from collections.abc import Callable

from wasi_nn_guest import Code, Encoding, Graph, NNError, Target, Tensor, Type


def main() -> None:
    buffers()
    types_of_buffers()
    dims()
    outputs()
    closed()
    freed()
    without_extensions()
    mistakes_of_python()


def refused(code: Code, action: Callable[[], object]) -> NNError:
    try:
        action()
    except NNError as error:
        assert error.code is code, error
        assert str(error) == f"{code}: {error.message}", "the message has the code's word"
        assert pickle.loads(pickle.dumps(error)).__dict__ == error.__dict__
        return error
    raise AssertionError(f"no error {code}")


def buffers() -> None:
    """Elements of any buffer, which may change afterwards."""
    numbers = array("f", [1, 2, 3, 4])
    raw = numbers.tobytes()
    wanted = Tensor([4], numbers)
    for buffer in (raw, bytearray(raw), memoryview(raw), memoryview(numbers).cast("B")):
        assert Tensor([4], buffer, Type.F32) == wanted
    rows = memoryview(raw).cast("f", [2, 2])
    assert Tensor([2, 2], rows).data == raw
    assert Tensor([2], memoryview(numbers)[::2]).array().tolist() == [1, 3], "every second element"
    changing = bytearray(b"abc")
    tensor = Tensor([3], changing)
    changing[:] = b"xyz"
    changing.clear()  # no view is left on it
    assert (tensor.data, tensor.dims, tensor.type, len({tensor, Tensor([3], b"abc")})) == (b"abc", (3,), Type.U8, 1)
    assert repr(tensor) == "<Tensor u8 [3]>"


def types_of_buffers() -> None:
    for code, found in {
        "f": Type.F32,
        "d": Type.F64,
        "B": Type.U8,
        "i": Type.I32,
        "l": Type.I32,
        "q": Type.I64,
    }.items():
        assert Tensor([2], array(code, [1, 2])).type is found
    halves = memoryview(b"\0\x3c").cast("e")
    assert (Tensor([1], halves).type, Tensor([1], halves).array().tolist()) == (Type.F16, [0x3C00])
    for code in ("b", "h", "H", "I", "Q"):
        refused(Code.INVALID_ARGUMENT, lambda code=code: Tensor([1], array(code, [1])))
    for wrong, named in (
        ("d", Type.F32),
        ("i", Type.F32),
        ("f", Type.F16),
        ("H", Type.I32),
        ("I", Type.I32),
        ("b", Type.U8),
    ):
        refused(Code.INVALID_ARGUMENT, lambda wrong=wrong, named=named: Tensor([1], array(wrong, [1]), named))


def dims() -> None:
    assert Tensor([], array("d", [5])).dims == ()
    assert Tensor([0, 7], b"").data == b""
    for wrong in ([2], [], [-1], [-1, -3], [1 << 32], [3, 1 << 40, 0, 1], [0]):
        refused(Code.INVALID_ARGUMENT, lambda wrong=wrong: Tensor(wrong, b"abc"))
    refused(Code.INVALID_ARGUMENT, lambda: Tensor([1 << 32, 0], b""))
    refused(Code.INVALID_ARGUMENT, lambda: Tensor([1], b"abc", Type.F32))


def outputs() -> None:
    numbers = array("f", [1.5, -2])
    with Graph.load_by_name("types") as graph, graph.context() as context:
        given = context.compute_named(
            {
                "f16": Tensor([2], bytes(4), Type.F16),
                "f32": Tensor([2], numbers),
                "f64": Tensor([2], array("d", [1, 2])),
                "u8": Tensor([2], b"ab"),
                "i32": Tensor([2], array("i", [1, 2])),
                "i64": Tensor([2], array("q", [1, 2])),
            }
        )
        assert list(given) == [f"{it}-out" for it in ("f16", "f32", "f64", "u8", "i32", "i64")]
        assert given["f32-out"].array(Type.U8).tobytes() == numbers.tobytes()
        refused(Code.RUNTIME_ERROR, lambda: context.output(0))  # of those inputs alone
    with Graph.load_by_name("bf16") as graph, graph.context() as context:
        context.set_input(0, Tensor([2], b"abcd", Type.BF16))  # by its index
        context.compute()
        assert context.output(0, Type.U8).tobytes() == b"abcd"
        assert context.output(0) == array("H", b"abcd") == context.output(0, Type.BF16)
        room = bytearray(6)
        assert (context.output_into(0, room), room) == (4, b"abcd\0\0")
        assert context.output_into(0, array("H", [0, 0])) == 2
        assert refused(Code.TOO_LARGE, lambda: context.output_into(0, bytearray(3))).needed == 4
        for index in (-1, 1):
            refused(Code.INVALID_ARGUMENT, lambda index=index: context.output(index))
        refused(Code.INVALID_ARGUMENT, lambda: context.output(0, Type.F16))
        refused(Code.INVALID_ARGUMENT, lambda: context.output_into(0, array("f", [0])))
        context.set_input(0, Tensor([3], bytes(6), Type.BF16))
        refused(Code.INVALID_ARGUMENT, context.compute)
        refused(Code.RUNTIME_ERROR, lambda: context.output(0))  # a compute that fails leaves no outputs


def closed() -> None:
    graph = Graph.load_by_name("bf16")
    context = graph.context()
    graph.close()
    graph.close()
    refused(Code.INVALID_ARGUMENT, graph.context)
    context.set_input_named("x", Tensor([2], b"abcd", Type.BF16))
    context.compute()  # it keeps its graph
    context.close()
    context.close()
    for action in (context.compute, lambda: context.output(0), lambda: context.compute_named({})):
        refused(Code.INVALID_ARGUMENT, action)


def freed() -> None:
    """What is neither closed nor named any more is given back: the host allows 64 graphs at a time."""
    for _ in range(200):
        context = Graph.load_by_name("bf16").context()
        context.set_input_at(0, "x", Tensor([2], b"abcd", Type.BF16))
        context.compute()
        refused(Code.NOT_FOUND, lambda: Graph.load_by_name("none"))
    del context
    gc.collect()


def without_extensions() -> None:
    with Graph.load_by_name("bf16") as graph, graph.context() as context:
        for action in (
            graph.describe,
            graph.state,
            lambda: graph.set_state(b""),
            lambda: graph.use_signature("x"),
            context.begin_sequence,
            lambda: context.set_strings(0, [1], [b"x"]),
            lambda: context.strings(0),
        ):
            assert "guest-ext" in refused(Code.UNSUPPORTED_OPERATION, action).message
        refused(Code.INVALID_ARGUMENT, context.next_of_sequence)
        context.end_sequence()


def mistakes_of_python() -> None:
    """A Python program's own mistakes are Python's exceptions."""
    for action in (
        lambda: Tensor([1], [1.0]),
        lambda: Tensor([1.0], b"a"),
        lambda: Tensor([1], "text"),
        lambda: Graph.load(b"not in a list", Encoding.ONNX),
        lambda: Graph.load([1], Encoding.ONNX),
    ):
        try:
            action()
        except TypeError:
            continue
        raise AssertionError("a TypeError is missing")
    try:
        Graph.load([b"x"], Encoding("none"))
    except ValueError:
        pass
    else:
        raise AssertionError("a ValueError is missing")
    refused(Code.INVALID_ARGUMENT, lambda: Graph.load([], Encoding.ONNX, Target.CPU))
    if sys.argv[1:] == ["trap"]:
        raise KeyError("told with its place")
