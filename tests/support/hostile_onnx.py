"""Hostile ONNX models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostile import HARMLESS, INVALID, LARGE, RUNTIME, SECURITY, corpus, fails, made, refused
from onnx import ModelProto, TensorProto, helper
from onnx_models import build, external, relu

node, tensor, value = helper.make_node, helper.make_tensor, helper.make_tensor_value_info
F32, I64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
HUGE = 1 << 40


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message: bytes, or another message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    head = b""
    while number > 127:
        head, number = head + bytes([number & 127 | 128]), number >> 7
    return head + bytes([number])


def reads(location: str, **keys: str) -> bytes:
    """y = w, where the data of w is in a file."""
    return build([node("Identity", ["w"], ["y"])], {}, {"y": (F32, [16])}, [external(location, **keys)])


def with_weights(*dims: int) -> bytes:
    """y = w, where w declares these dims but has no data."""
    weights = TensorProto(name="w", data_type=F32, dims=dims)
    return build([node("Identity", ["w"], ["y"])], {}, {"y": (F32, None)}, [weights])


def filled(*dims: int) -> bytes:
    """y = zeros of these dims."""
    shape = tensor("shape", I64, [len(dims)], dims)
    return build([node("ConstantOfShape", ["shape"], ["y"])], {}, {"y": (F32, None)}, [shape])


def filled_when_run(*dims: int) -> bytes:
    """y = zeros of these dims times x, so that no optimizer can compute it beforehand."""
    factor = tensor("dims", I64, [len(dims)], dims)
    nodes = [node("Mul", ["x", "dims"], ["shape"]), node("ConstantOfShape", ["shape"], ["y"])]
    return build(nodes, {"x": (I64, [len(dims)])}, {"y": (F32, None)}, [factor])


def takes(*dims: int) -> bytes:
    """y = x, which declares these dims."""
    return build([node("Relu", ["x"], ["y"])], {"x": (F32, dims)}, {"y": (F32, dims)})


def cyclic() -> bytes:
    """a is computed from b, and b from a."""
    return build([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])], {"x": (F32, [4])}, {"b": (F32, [4])})


def with_functions(calls: dict[str, str]) -> bytes:
    """A call of the first of these functions; each function calls another one."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = [
        helper.make_function("f", name, ["x"], ["y"], [node(callee, ["x"], ["y"], domain="f")], imports)
        for name, callee in calls.items()
    ]
    graph = helper.make_graph(
        [node(next(iter(calls)), ["x"], ["y"], domain="f")], "g", [value("x", F32, [4])], [value("y", F32, [4])]
    )
    model = helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=8)
    return bytes(model.SerializeToString())


def doubling_functions(count: int) -> bytes:
    """A function that calls the next one twice, which does so too: 2 to the power of `count` calls in all."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = []
    for place in range(count):
        domain, name = ("f", f"F{place + 1}") if place + 1 < count else ("", "Relu")
        calls = [node(name, ["x"], ["t"], domain=domain), node(name, ["t"], ["y"], domain=domain)]
        functions.append(helper.make_function("f", f"F{place}", ["x"], ["y"], calls, imports))
    graph = helper.make_graph(
        [node("F0", ["x"], ["y"], domain="f")], "g", [value("x", F32, [4])], [value("y", F32, [4])]
    )
    model = helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=8)
    return bytes(model.SerializeToString())


def chained_functions(count: int) -> bytes:
    """Like `doubling_functions`, written as bytes: no library takes so many functions."""
    # FunctionProto has 1 name, 4 input, 5 output, 7 node, 9 opset_import, 10 domain; NodeProto 1 input, 2 output,
    # 4 op_type, 7 domain.
    call = field(1, b"x") + field(2, b"x") + field(7, b"f")
    functions = (
        field(25, field(1, b"F%d" % place) + field(7, call + field(4, b"F%d" % (place + 1))) * 2 + field(10, b"f"))
        for place in range(count)
    )
    graph = field(7, field(1, call + field(4, b"F0")) + field(11, value("x", F32, [4]).SerializeToString()))
    return b"\x08\x08" + field(8, b"\x10\x11") + graph + b"".join(functions)


def in_parts(count: int, part: bytes) -> bytes:
    """y = max(x, 0) over an input whose description repeats a part so often; readers merge the parts."""
    model = ModelProto.FromString(relu())
    described = model.graph.input[0].SerializeToString() + part * count
    del model.graph.input[:]
    graph = model.graph.SerializeToString() + field(11, described)
    model.ClearField("graph")
    return bytes(model.SerializeToString()) + field(7, graph)


def nested(depth: int) -> bytes:
    """An If in the branch of an If, and so on, written as bytes: no library nests so deep."""
    # NodeProto has 1 input, 2 output, 4 op_type, 5 attribute; AttributeProto 1 name, 6 g, 20 type (5 is a graph);
    # GraphProto 1 node, 2 name, 11 input, 12 output.
    innermost = field(1, field(1, b"c") + field(2, b"r") + field(4, b"Identity"))
    ports = field(2, b"b") + field(12, value("r", BOOL, []).SerializeToString())
    tail = b"\xa0\x01\x05"
    heads: list[bytes] = []
    size = len(innermost)
    for _ in range(depth):
        to_graph = field(1, b"then_branch") + varint(6 << 3 | 2) + varint(len(ports) + size) + ports
        attribute_size = len(to_graph) + size + len(tail)
        to_attribute = field(1, b"c") + field(2, b"r") + field(4, b"If") + varint(5 << 3 | 2) + varint(attribute_size)
        heads.append(varint(1 << 3 | 2) + varint(len(to_attribute) + attribute_size) + to_attribute + to_graph)
        size += len(heads[-1]) + len(tail)
    content = b"".join(reversed(heads)) + innermost + tail * depth
    graph = content + ports + field(11, value("c", BOOL, []).SerializeToString())
    return b"\x08\x08" + field(8, b"\x10\x11") + field(7, graph)


def looping(times: int) -> bytes:
    """A Loop that adds 1 to x so often."""
    body = helper.make_graph(
        [node("Add", ["a", "one"], ["b"]), node("Identity", ["go"], ["still"])],
        "body",
        [value("i", I64, []), value("go", BOOL, []), value("a", F32, [4])],
        [value("still", BOOL, []), value("b", F32, [4])],
    )
    return build(
        [node("Loop", ["times", "true", "x"], ["y"], body=body)],
        {"x": (F32, [4])},
        {"y": (F32, [4])},
        [tensor("times", I64, [], [times]), tensor("true", BOOL, [], [True]), tensor("one", F32, [], [1.0])],
    )


def hoarding(times: int) -> bytes:
    """A Loop that keeps x of each round, and so needs as many times the memory of x."""
    body = helper.make_graph(
        [node("Identity", ["go"], ["still"]), node("Expand", ["a", "shape"], ["each"]), node("Identity", ["a"], ["b"])],
        "body",
        [value("i", I64, []), value("go", BOOL, []), value("a", F32, [4])],
        [value("still", BOOL, []), value("b", F32, [4]), value("each", F32, [1 << 20, 4])],
    )
    return build(
        [node("Loop", ["times", "true", "x"], ["y", "all"], body=body)],
        {"x": (F32, [4])},
        {"all": (F32, None)},
        [
            tensor("times", I64, [], [times]),
            tensor("true", BOOL, [], [True]),
            tensor("shape", I64, [2], [1 << 20, 4]),
        ],
    )


def doubling_text(times: int) -> bytes:
    """A string that is concatenated with itself, so many times."""
    nodes = [node("StringConcat", [f"s{place}", f"s{place}"], [f"s{place + 1}"]) for place in range(times)]
    return build(nodes, {"s0": (STRING, [1])}, {f"s{times}": (STRING, [1])}, opset=20)


def doubling_constant_text(times: int) -> bytes:
    """Like `doubling_text` for a constant string, which a runtime that folds constants doubles during the load."""
    nodes = [node("StringConcat", [f"s{place}", f"s{place}"], [f"s{place + 1}"]) for place in range(times)]
    last = node("StringConcat", ["x", f"s{times}"], ["y"])
    text = TensorProto(name="s0", data_type=STRING, dims=[1], string_data=[b"ab"])
    return build([*nodes, last], {"x": (STRING, [1])}, {"y": (STRING, [1])}, [text], opset=20)


def multiplying_constants(times: int, size: int) -> bytes:
    """A constant matrix that is multiplied by itself so many times; y = x times the sum of the result."""
    nodes = [node("ConstantOfShape", ["shape"], ["m0"], value=tensor("v", F32, [1], [1 / size]))]
    nodes += [node("MatMul", [f"m{place}", f"m{place}"], [f"m{place + 1}"]) for place in range(times)]
    nodes += [node("ReduceSum", [f"m{times}"], ["sum"]), node("Mul", ["x", "sum"], ["y"])]
    return build(nodes, {"x": (F32, [4])}, {"y": (F32, None)}, [tensor("shape", I64, [2], [size, size])])


def doubling_numbers(times: int) -> bytes:
    """A tensor that is concatenated with itself, so many times."""
    nodes = [node("Concat", [f"t{place}", f"t{place}"], [f"t{place + 1}"], axis=0) for place in range(times)]
    return build(nodes, {"t0": (F32, [1])}, {f"t{times}": (F32, None)})


def changed(change: Callable[[Any], object]) -> bytes:
    """The model y = max(x, 0), changed by `change`."""
    model = ModelProto.FromString(relu())
    change(model)
    return bytes(model.SerializeToString())


def calls(operation: str, domain: str = "", inputs: int = 1, **attributes: Any) -> bytes:
    """y = the result of an operation on x."""
    graph = helper.make_graph(
        [node(operation, ["x"] * inputs, ["y"], domain=domain, **attributes)],
        "g",
        [value("x", F32, [4])],
        [value("y", F32, [4])],
    )
    imports = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return bytes(helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString())


def context_of_elsewhere(path: str) -> bytes:
    """A node that refers to a file with a model compiled for another runtime."""
    return calls("EPContext", "com.microsoft", main_context=1, embed_mode=0, ep_cache_context=path, source="x")


def with_a_string(count: int) -> bytes:
    """A tensor that declares so many strings."""
    strings = TensorProto(name="w", data_type=STRING, dims=[count], string_data=[b"x"])
    return build([node("Identity", ["w"], ["y"])], {}, {"y": (STRING, None)}, [strings])


def with_raw_numbers(data: bytes, *dims: int) -> bytes:
    """A tensor with these dims and raw bytes, which may be too few or too many."""
    weights = TensorProto(name="w", data_type=F32, dims=dims, raw_data=data)
    return build([node("Identity", ["w"], ["y"])], {}, {"y": (F32, None)}, [weights])


def gathering(index: int) -> bytes:
    """A Gather with an index outside of its tensor."""
    numbers, place = tensor("w", F32, [4], [1.0] * 4), tensor("i", I64, [1], [index])
    nodes = [node("Mul", ["x", "i"], ["at"]), node("Gather", ["w", "at"], ["y"])]
    return build(nodes, {"x": (I64, [1])}, {"y": (F32, [1])}, [numbers, place])


def twice_named() -> bytes:
    """Two nodes with the same output."""
    nodes = [node("Relu", ["x"], ["y"]), node("Abs", ["x"], ["y"])]
    return build(nodes, {"x": (F32, [4])}, {"y": (F32, [4])})


def metadata_bomb() -> bytes:
    """A model with very large metadata."""

    def change(model: Any) -> None:
        for number in range(100_000):
            model.metadata_props.add(key=str(number), value="x" * 100)

    return changed(change)


MODELS = corpus(
    "onnx",
    {
        refused(SECURITY): [
            ("data in the file beside it", lambda scene: reads("weights.bin")),
            ("data in a file by its whole path", lambda scene: reads(str(scene.canary))),
            ("data in a file of the directory above", lambda scene: reads(f"../{scene.folder.name}/weights.bin")),
            ("data in a file by a symbolic link", lambda scene: reads("link.bin")),
            ("data in the environment", lambda scene: reads("/proc/self/environ")),
            ("data in an endless device", lambda scene: reads("/dev/zero", length=str(HUGE))),
            ("data at an address of memory", lambda scene: reads("*/_ORT_MEM_ADDR_/*", offset="4096")),
        ],
        refused(INVALID): [
            ("two builders", lambda _: [relu(), relu()]),
        ],
        refused(LARGE): [
            made("functions that call each other 2^40 times", doubling_functions, 40),
            made("functions that call each other 2^5,000 times", chained_functions, 5_000),
        ],
        refused(RUNTIME): [
            ("a compiled context in a file", lambda scene: context_of_elsewhere(str(scene.canary))),
            made("weights of 2^40 numbers that aren't there", with_weights, HUGE),
            made("weights of dims that overflow", with_weights, 1 << 32, 1 << 32, 1 << 32),
            made("weights of dims whose product is small by overflow", with_weights, 1 << 32, 1 << 32, 4),
            made("weights of a negative dim", with_weights, -4),
            made("weights of two negative dims", with_weights, -2, -2),
            made("weights of 10,000 dims", with_weights, *[1] * 10_000),
            made("weights of too few bytes", with_raw_numbers, b"1234", 16),
            made("weights of too many bytes", with_raw_numbers, bytes(1000), 1),
            made("2^40 strings of which one is there", with_a_string, HUGE),
            made("a constant of a negative dim", filled, -1),
            made("a graph that goes in a circle", cyclic),
            made("a function that calls itself", with_functions, {"F": "F"}),
            made("functions that call each other", with_functions, {"F": "G", "G": "F"}),
            made("subgraphs of depth 30", nested, 30),
            made("subgraphs of depth 1,000", nested, 1_000),
            made("subgraphs of depth 20,000", nested, 20_000),
            made("two nodes that make the same tensor", twice_named),
            made("a name of 10 MB", changed, lambda model: setattr(model.graph.input[0], "name", "n" * 10_000_000)),
            made(
                "a name with a line break",
                changed,
                lambda model: setattr(model.graph.node[0], "op_type", "a\n\x1b[31m"),
            ),
            made("an operation of a domain of its own", calls, "Run", "evil"),
            made("an operation of python's", calls, "PyOp", "ai.onnx.contrib", code="import os"),
            made("an operation of torch's", calls, "ATen", "org.pytorch.aten", operator="from_file"),
            made(
                "operations from the future", changed, lambda model: setattr(model.opset_import[0], "version", 10_000)
            ),
            made("a format from the future", changed, lambda model: setattr(model, "ir_version", 1 << 40)),
            made(
                "an element type that doesn't exist",
                changed,
                lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 1 << 20),
            ),
            made("no graph", changed, lambda model: model.ClearField("graph")),
            ("a length of 2^63", lambda _: b"\x08\x08\x3a" + varint(1 << 63) + b"x"),
            ("a length that never ends", lambda _: b"\x08\x08\x3a" + b"\xff" * 1000),
            ("a length of minus one", lambda _: b"\x08\x08\x3a" + varint((1 << 64) - 1)),
        ],
        fails(INVALID): [
            made("an input of 2^60 numbers", takes, 1 << 60),
            made("an input of dims that overflow", takes, 1 << 32, 1 << 32, 4),
        ],
        fails(RUNTIME, endless=True): [
            made("a loop of 2^60 rounds, which is told to stop", looping, 1 << 60),
            made("constants that are multiplied 2,000 times", multiplying_constants, 2_000, 2000),
        ],
        fails(RUNTIME): [
            made("a constant of 2^40 numbers", filled, HUGE),
            made("a constant of dims that overflow", filled, 1 << 32, 1 << 32, 4),
            made("2^40 numbers made when it is run", filled_when_run, HUGE),
            made("2^32 numbers made when it is run", filled_when_run, 1 << 32),
            made("numbers of dims that overflow made when it is run", filled_when_run, 1 << 32, 1 << 32, 4),
            made("a loop that keeps 16 MB a round", hoarding, 1 << 20),
            made("a text that is doubled 60 times", doubling_text, 60),
            made("a constant text that is doubled 60 times", doubling_constant_text, 60),
            made("numbers that are doubled 60 times", doubling_numbers, 60),
            made("a place before a tensor", gathering, -(1 << 40)),
            made("a place after a tensor", gathering, 1 << 40),
        ],
        HARMLESS: [
            made("an input of a negative dim", takes, -4),
            made("a loop of -1 rounds", looping, -1),
            # ValueInfoProto has 2 type; TypeProto 1 tensor_type; Tensor 2 shape.
            made("a type in 100,000 parts", in_parts, 100_000, field(2, field(1, field(2, b"")))),
            made("a name and a type in 100,000 parts", in_parts, 100_000, field(1, b"x") + field(2, field(1, b""))),
            made("100,000 entries of metadata", metadata_bomb),
        ],
    },
)
