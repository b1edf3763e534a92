"""Arrays of every type in and out, a model from bytes, and the errors of mistakes.

    tour ENCODING FILE...

The host has the graph `types`, with an input [2] for each type but bf16, each of which is an output too; `bf16`, with
one of bf16; and the files of a model that gives max(x, 0) of its input x, f32 [4].
"""

import struct
import sys
from array import array
from collections.abc import Callable

from wasi_nn_guest import Encoding, Graph, NNError, Tensor, Type, command

ARRAYS = {
    "f16": Tensor([2], array("H", [0x3C00, 0xC000]), Type.F16),
    "f32": Tensor([2], array("f", [1, -2])),
    "f64": Tensor([2], array("d", [1, -2])),
    "u8": Tensor([2], bytes([1, 254])),
    "i32": Tensor([2], array("i", [1, -2])),
    "i64": Tensor([2], array("q", [1, -9007199254740993])),
}


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: tour ENCODING FILE...")
    unknown = failure(lambda: Graph.load_by_name("no such graph"))
    print(f"unknown name: {unknown.code}, with a message: {str(bool(unknown.message)).lower()}")
    graph = Graph.load_by_name("types")
    mistakes(graph)
    arrays(graph)
    print("bf16:", bf16())
    from_bytes(Encoding(sys.argv[1]), sys.argv[2:])
    with Graph.load_by_name("types") as again:  # of the same name, while the first one is there
        graph.close()
        print("after a drop:", code(again.context))


def mistakes(graph: Graph) -> None:
    with graph.context() as context:
        print("no inputs:", code(context.compute))
    print("wrong dims:", code(lambda: Tensor([3], array("f", [1, -2]))))
    with graph.context() as context:
        context.set_input_at(1, "f32", Tensor([2], bytes([1, 2])))  # bytes where f32 belongs
        print("wrong type:", code(context.compute))


def arrays(graph: Graph) -> None:
    with graph.context() as context:
        for index, (name, tensor) in enumerate(ARRAYS.items()):
            context.set_input_at(index, name, tensor)
        print("no output yet:", code(lambda: context.output(1)))
        for _ in range(2):
            context.compute()  # inputs stay set
        for index, name in enumerate(ARRAYS):
            print(f"{name}: {[int(number) for number in context.output(index, Type(name))]}")
        print("no such output:", code(lambda: context.output(6)))

        small = failure(lambda: context.output_into(5, array("q", [0])))
        print(f"small buffer: {small.code}, {small.needed} bytes needed")
        buffer = array("i", [0, 0, 0])
        count = context.output_into(4, buffer)
        print(f"large buffer: {count} of {buffer.tolist()}")


def bf16() -> list[int]:
    """A bf16 is the upper half of an f32."""
    with Graph.load_by_name("bf16") as graph, graph.context() as context:
        halves = memoryview(array("f", [1, -2])).cast("B").cast("H")[1::2]
        context.set_input_at(0, "x", Tensor([2], halves, Type.BF16))
        context.compute()
        bits = context.output(0, Type.BF16)
        return [int(struct.unpack("<f", struct.pack("<I", half << 16))[0]) for half in bits]


def from_bytes(encoding: Encoding, paths: list[str]) -> None:
    builders = []
    for path in paths:
        with open(path, "rb") as file:
            builders.append(file.read())
    with Graph.load(builders, encoding) as graph, graph.context() as context:
        context.set_input_at(0, "x", Tensor([4], array("f", [-1, 2, -3, 4])))
        context.compute()
        print("from bytes:", [int(number) for number in context.output(0, Type.F32)])
    print("bad model:", str(code(lambda: Graph.load([b"no model"], encoding)) != "success").lower())


def failure(action: Callable[[], object]) -> NNError:
    """The error of a call that fails."""
    try:
        action()
    except NNError as error:
        return error
    raise AssertionError("the call should have failed")


def code(action: Callable[[], object]) -> str:
    """The code of a call that may fail."""
    try:
        action()
    except NNError as error:
        return error.code
    return "success"


Run = command(main)
