"""Hostile TensorFlow Lite models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from hostile import HARMLESS, INVALID, LARGE, RUNTIME, SECURITY, corpus, fails, isolated_only, made, refused
from tflite_models import ELEMENTS, relu

from wasi_nn import TensorType

F32, I32, BOOL, RESOURCE = ELEMENTS[TensorType.F32], ELEMENTS[TensorType.I32], schema.TensorType.BOOL, 13
OPERATION = schema.BuiltinOperator


class Model:
    """Builds a model by hand, tensor by tensor, without checks."""

    def __init__(self) -> None:
        self.it = schema.ModelT()
        self.it.version, self.it.description, self.it.operatorCodes = 3, b"test", []
        self.it.buffers, self.it.subgraphs = [schema.BufferT()], []
        self.graph()

    def graph(self) -> Any:
        """Start another subgraph, without inputs and outputs."""
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = b"graph", [], []
        graph.inputs = graph.outputs = np.array([], np.int32)
        self.it.subgraphs.append(graph)
        return graph

    def tensor(self, dims: Sequence[int], element: int = F32, content: bytes | None = None, buffer: int = 0) -> int:
        """Add a tensor to the last subgraph; returns its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.buffer = b"t", element, np.array(dims, np.int32), buffer
        if content is not None:
            tensor.buffer = len(self.it.buffers)
            self.it.buffers.append(schema.BufferT(np.frombuffer(content, np.uint8)))
        self.it.subgraphs[-1].tensors.append(tensor)
        return len(self.it.subgraphs[-1].tensors) - 1

    def run(self, code: int, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, kind: int = 0) -> Any:
        """Add an operator to the last subgraph."""
        operator_code, operator = schema.OperatorCodeT(), schema.OperatorT()
        operator_code.builtinCode, operator_code.deprecatedBuiltinCode = code, min(code, 127)
        operator_code.version = 1
        operator.opcodeIndex = len(self.it.operatorCodes)
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.it.operatorCodes.append(operator_code)
        self.it.subgraphs[-1].operators.append(operator)
        return operator

    def run_graph(self, graph: int, inputs: list[int], outputs: list[int]) -> None:
        """Add an IF that runs a subgraph for any value of its first input."""
        options = schema.IfOptionsT()
        options.thenSubgraphIndex = options.elseSubgraphIndex = graph
        self.run(OPERATION.IF, inputs, outputs, options, schema.BuiltinOptions.IfOptions)

    def ports(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Set the inputs and outputs of the last subgraph."""
        graph = self.it.subgraphs[-1]
        graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)

    def bytes(self) -> bytes:
        """The model's file."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.it.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def single(code: int, dims: Sequence[int] = (4,), custom: bytes | None = None) -> bytes:
    """y = the result of an operation on x."""
    model = Model()
    x, y = model.tensor(dims), model.tensor(dims)
    model.run(code, [x], [y])
    if custom is not None:
        model.it.operatorCodes[0].customCode = custom
    model.ports([x], [y])
    return model.bytes()


def numbers(*values: int) -> bytes:
    return np.array(values, np.int32).tobytes()


def filled(*dims: int) -> bytes:
    """y = one number, filled to the dims in a constant."""
    model = Model()
    x, y = model.tensor([]), model.tensor([])
    model.run(OPERATION.FILL, [model.tensor([len(dims)], I32, numbers(*dims)), x], [y])
    model.ports([x], [y])
    return model.bytes()


def operators_over(inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """An operator over tensors with these indexes, in a model with only two tensors."""
    model = Model()
    model.tensor([4]), model.tensor([4])
    model.run(OPERATION.RELU, inputs, outputs)
    model.ports([0], [1])
    return model.bytes()


def ports(inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Inputs and outputs with these indexes, in a model with only two tensors."""
    model = Model()
    model.tensor([4]), model.tensor([4])
    model.run(OPERATION.RELU, [0], [1])
    model.ports(inputs, outputs)
    return model.bytes()


def cyclic() -> bytes:
    """a is computed from b, and b from a."""
    model = Model()
    x, a, b = model.tensor([4]), model.tensor([4]), model.tensor([4])
    model.run(OPERATION.ADD, [x, b], [a])
    model.run(OPERATION.RELU, [a], [b])
    model.ports([x], [b])
    return model.bytes()


def with_weights(dims: Sequence[int], content: bytes | None, buffer: int = 0) -> bytes:
    """y = x + weights of these dims."""
    model = Model()
    x, y = model.tensor([4]), model.tensor([4])
    weights = model.tensor(dims, F32, content, buffer)
    model.run(OPERATION.ADD, [x, weights], [y])
    model.ports([x], [y])
    return model.bytes()


def with_weights_elsewhere(offset: int, size: int) -> bytes:
    """y = x + weights that lie outside of the flatbuffer."""
    model = Model()
    x, y = model.tensor([4]), model.tensor([4])
    weights = model.tensor([4], F32, b"")
    model.it.buffers[-1] = schema.BufferT(offset=offset, size=size)
    model.run(OPERATION.ADD, [x, weights], [y])
    model.ports([x], [y])
    return model.bytes() + bytes(64)


def writing_a_constant(as_input: bool) -> bytes:
    """y = the numbers of x, where x or y has content: these bytes of the model."""
    model = Model()
    x, y = model.tensor([4], content=bytes(16) if as_input else None), model.tensor([4], content=bytes(16))
    if as_input:
        model.it.subgraphs[-1].tensors[y].buffer = 0
    model.run(OPERATION.CAST, [x], [y])
    model.ports([x], [y])
    return model.bytes()


def signed(inputs: Sequence[tuple[bytes | None, int]], outputs: Sequence[tuple[bytes | None, int]]) -> bytes:
    """Tensor 2 is the sum of tensors 0 and 1, nothing makes tensor 3, tensor 4 is a constant; with a signature."""
    model = Model()
    for content in (None, None, None, None, bytes(16)):
        model.tensor([4], content=content)
    model.run(OPERATION.ADD, [0, 1], [2])
    model.ports([0, 1], [2])
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = [
        [schema.TensorMapT(name, place) for name, place in ports] for ports in (inputs, outputs)
    ]
    model.it.signatureDefs = [signature]
    return model.bytes()


def that_names_a_file(name: str) -> bytes:
    """y = max(x, 0), with the name of a file that nothing uses."""
    model = Model()
    x, y = model.tensor([4]), model.tensor([4])
    model.run(OPERATION.RELU, [x], [y])
    model.ports([x], [y])
    model.it.externalBufferGroups = [schema.ExternalBufferGroupT(name=name.encode())]
    return model.bytes()


def with_a_buffer_of_no_file() -> bytes:
    """y = x + weights that are marked as external, although no file is declared."""
    model = Model()
    x, y = model.tensor([4]), model.tensor([4])
    weights = model.tensor([4], F32, bytes(16))
    model.it.subgraphs[-1].tensors[weights].externalBuffer = 7
    model.run(OPERATION.ADD, [x, weights], [y])
    model.ports([x], [y])
    return model.bytes()


def with_weights_in_a_file(
    name: str, offset: int = 0, size: int = 16, own: bytes | None = None, group: int = 0
) -> bytes:
    """y = x + weights in a file of this name; the model may also contain weights itself."""
    model = Model()
    x, y = model.tensor([4]), model.tensor([4])
    weights = model.tensor([4], F32, own)
    model.it.subgraphs[-1].tensors[weights].externalBuffer = 1
    model.it.externalBufferGroups = [schema.ExternalBufferGroupT(name)]
    model.it.externalBuffers = [schema.ExternalBufferT(1, group, offset, size)]
    model.run(OPERATION.ADD, [x, weights], [y])
    model.ports([x], [y])
    return model.bytes()


def gathering(index: int) -> bytes:
    """A GATHER with an index outside of its tensor."""
    model = Model()
    x, y = model.tensor([1]), model.tensor([1])
    weights, place = model.tensor([4], F32, np.ones(4, np.float32).tobytes()), model.tensor([1], I32, numbers(index))
    model.run(OPERATION.GATHER, [weights, place], [y], schema.GatherOptionsT(), schema.BuiltinOptions.GatherOptions)
    model.ports([x], [y])
    return model.bytes()


def looking_up(index: int) -> bytes:
    """A lookup of a row outside of its table."""
    model = Model()
    x, y = model.tensor([1], I32), model.tensor([1, 4])
    table, place = model.tensor([4, 4], F32, bytes(64)), model.tensor([1], I32, numbers(index))
    model.run(OPERATION.EMBEDDING_LOOKUP, [place, table], [y])
    model.ports([x], [y])
    return model.bytes()


def calling_itself(code: int) -> bytes:
    """A subgraph that contains an operator that runs this subgraph."""
    options, kind = {
        OPERATION.WHILE: (schema.WhileOptionsT(), schema.BuiltinOptions.WhileOptions),
        OPERATION.IF: (schema.IfOptionsT(), schema.BuiltinOptions.IfOptions),
        OPERATION.CALL_ONCE: (schema.CallOnceOptionsT(), schema.BuiltinOptions.CallOnceOptions),
        OPERATION.CALL: (schema.CallOptionsT(), schema.BuiltinOptions.CallOptions),
    }[code]
    model = Model()
    x, y = model.tensor([1], BOOL), model.tensor([1], BOOL)
    inputs, outputs = ([], []) if code == OPERATION.CALL_ONCE else ([x, x], [y]) if code == OPERATION.IF else ([x], [y])
    model.run(code, inputs, outputs, options, kind)
    model.ports([x], [y])
    return model.bytes()


def calling_each_other() -> bytes:
    """Subgraph 1 runs 2, and 2 runs 1."""
    model = Model()
    for graph in range(3):
        if graph:
            model.graph()
        x, y = model.tensor([1], BOOL), model.tensor([1], BOOL)
        model.run_graph(2 if graph == 1 else 1, [x, x], [y])
        model.ports([x], [y])
    return model.bytes()


def calling_deep(depth: int) -> bytes:
    """Subgraphs that each run the next one."""
    model = Model()
    for graph in range(depth):
        if graph:
            model.graph()
        x, y = model.tensor([1], BOOL), model.tensor([1], BOOL)
        if graph + 1 < depth:
            model.run_graph(graph + 1, [x, x], [y])
        else:
            model.run(OPERATION.LOGICAL_NOT, [x], [y])
        model.ports([x], [y])
    return model.bytes()


def calling_often(depth: int) -> bytes:
    """Subgraphs that each run the next one twice."""
    model = Model()
    for graph in range(depth):
        if graph:
            model.graph()
        x, t, y = (model.tensor([1], BOOL) for _ in range(3))
        for inner, outer in ((x, t), (t, y)):
            if graph + 1 < depth:
                model.run_graph(graph + 1, [x, inner], [outer])
            else:
                model.run(OPERATION.LOGICAL_NOT, [inner], [outer])
        model.ports([x], [y])
    return model.bytes()


def calling_what_isnt_there(index: int) -> bytes:
    """An IF that runs a subgraph that doesn't exist."""
    model = Model()
    x, y = model.tensor([1], BOOL), model.tensor([1], BOOL)
    model.run_graph(index, [x, x], [y])
    model.ports([x], [y])
    return model.bytes()


def looping() -> bytes:
    """A WHILE without an end."""
    model = Model()
    x, y = model.tensor([1], BOOL), model.tensor([1], BOOL)
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 2
    model.run(OPERATION.WHILE, [x], [y], options, schema.BuiltinOptions.WhileOptions)
    model.ports([x], [y])
    for _ in range(2):
        model.graph()
        x, y = model.tensor([1], BOOL), model.tensor([1], BOOL)
        model.run(OPERATION.LOGICAL_OR, [x, x], [y])
        model.ports([x], [y])
    return model.bytes()


def doubling(times: int) -> bytes:
    """A tensor that is concatenated with itself, so many times."""
    model = Model()
    x = last = model.tensor([1 << 10])
    for place in range(times):
        made = model.tensor([1 << min(11 + place, 30)])
        options = schema.ConcatenationOptionsT()
        kind = schema.BuiltinOptions.ConcatenationOptions
        model.run(OPERATION.CONCATENATION, [last, last], [made], options, kind)
        last = made
    model.ports([x], [last])
    return model.bytes()


def reshaped(*dims: int) -> bytes:
    """x with the dims in a constant."""
    model = Model()
    x, y = model.tensor([4]), model.tensor([4])
    shape = model.tensor([len(dims)], I32, numbers(*dims))
    model.run(OPERATION.RESHAPE, [x, shape], [y])
    model.ports([x], [y])
    return model.bytes()


def sparse() -> bytes:
    """Sparse weights whose indexes are far outside of their tensor."""
    model = Model()
    x, y = model.tensor([4]), model.tensor([4])
    weights = model.tensor([4], F32, bytes(16))
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder, sparsity.blockMap = np.array([0, 1 << 30], np.int32), np.array([7], np.int32)
    dim = schema.DimensionMetadataT()
    dim.format, dim.denseSize = schema.DimensionType.SPARSE_CSR, -1
    dim.arraySegmentsType, dim.arraySegments = schema.SparseIndexVector.Int32Vector, schema.Int32VectorT()
    dim.arraySegments.values = np.array([1 << 30, -5], np.int32)
    dim.arrayIndicesType, dim.arrayIndices = schema.SparseIndexVector.Int32Vector, schema.Int32VectorT()
    dim.arrayIndices.values = np.array([1 << 30, -5], np.int32)
    sparsity.dimMetadata = [dim, dim]
    model.it.subgraphs[0].tensors[weights].sparsity = sparsity
    model.run(OPERATION.DENSIFY, [weights], [model.tensor([4])])
    model.run(OPERATION.ADD, [x, 3], [y])
    model.ports([x], [y])
    return model.bytes()


def with_numbers(find: int, write: int, where: int = 0) -> bytes:
    """A good model with `write` in place of the number `find`, of which it replaces occurrence `where`."""
    model = bytearray(relu((0x1234567,)))
    at = [place for place in range(0, len(model) - 3, 4) if model[place : place + 4] == find.to_bytes(4, "little")][
        where
    ]
    model[at : at + 4] = write.to_bytes(4, "little")
    return bytes(model)


def with_text_of(length: int) -> bytes:
    """A good model whose description declares this length."""
    model = bytearray(relu())
    at = model.index(b"test") - 4
    model[at : at + 4] = length.to_bytes(4, "little")
    return bytes(model)


def with_root_at(offset: int) -> bytes:
    """A good model that declares this offset for its root table."""
    return offset.to_bytes(4, "little") + relu()[4:]


def variable(shared: bytes) -> bytes:
    """A model that reads a variable that nothing has written."""
    model = Model()
    x, handle, y = model.tensor([4]), model.tensor([1], RESOURCE), model.tensor([4])
    options = schema.VarHandleOptionsT()
    options.container, options.sharedName = b"", shared
    model.run(OPERATION.VAR_HANDLE, [], [handle], options, schema.BuiltinOptions.VarHandleOptions)
    model.run(OPERATION.READ_VARIABLE, [handle], [y])
    model.ports([x], [y])
    return model.bytes()


def signature_of(graph: int) -> bytes:
    """A model with a signature for a subgraph that doesn't exist."""
    model = Model()
    x, y = model.tensor([4]), model.tensor([4])
    model.run(OPERATION.RELU, [x], [y])
    model.ports([x], [y])
    signature, port = schema.SignatureDefT(), schema.TensorMapT()
    port.name, port.tensorIndex = b"x", 1 << 20
    signature.signatureKey, signature.subgraphIndex = b"serving_default", graph
    signature.inputs, signature.outputs = [port], [port]
    model.it.signatureDefs = [signature]
    return model.bytes()


MODELS = corpus(
    "tensorflowlite",
    {
        refused(SECURITY): [
            made("an operator on a tensor that isn't there", operators_over, [1 << 20], [1]),
            made("an operator on tensor -2", operators_over, [-2], [1]),
            made("an operator on no tensor", operators_over, [-1], [1]),
            made("an operator without outputs", operators_over, [0], []),
            made("an operator into a tensor that isn't there", operators_over, [0], [7]),
            made("an operator into tensor -1", operators_over, [0], [-1]),
            made("an operator into its input", operators_over, [0], [0]),
            made("inputs that aren't there", ports, [1 << 20], [1]),
            made("outputs that aren't there", ports, [0], [1 << 20]),
            made("an input of no tensor", ports, [-1], [1]),
            made("an output of no tensor", ports, [0], [-1]),
            made("a graph that goes in a circle", cyclic),
            made("a constant as an input", writing_a_constant, True),
            made("a constant as an operator's result", writing_a_constant, False),
            made("a signature of tensors that aren't there", signature_of, 0),
            made("a signature that leaves an input unset", signed, [(b"x", 0)], [(b"z", 2)]),
            made("a signature with one name for two inputs", signed, [(b"x", 0), (b"x", 1)], [(b"z", 2)]),
            made("a signature whose names differ after a zero", signed, [(b"x", 0), (b"x\0y", 1)], [(b"z", 2)]),
            made("a signature with an input without a name", signed, [(b"x", 0), (None, 1)], [(b"z", 2)]),
            made("a signature that sets a constant", signed, [(b"x", 0), (b"y", 1), (b"w", 4)], [(b"z", 2)]),
            made("a signature that sets a result", signed, [(b"x", 0), (b"y", 2)], [(b"z", 2)]),
            made("a signature that gives what nothing makes", signed, [(b"x", 0), (b"y", 1)], [(b"z", 3)]),
            made("weights in a buffer that isn't there", with_weights, [4], None, 1 << 20),
            made("weights in the last buffer there can be", with_weights, [4], None, (1 << 32) - 1),
            made("weights after the end of the file", with_weights_elsewhere, 1 << 40, 16),
            made("weights over the end of the file", with_weights_elsewhere, 100, 1 << 40),
            made("weights at a place that overflows", with_weights_elsewhere, (1 << 64) - 8, 16),
            made("weights of a size that overflows", with_weights_elsewhere, 100, (1 << 64) - 50),
            made("weights in a file of which nothing is said", with_a_buffer_of_no_file),
            made("a file that nothing needs", that_names_a_file, "/etc/passwd"),
            made("a variable that nothing has written", variable, b"v"),
            ("weights in the file beside it", lambda _: [with_weights_in_a_file("weights.bin")]),
            ("weights in a file by its whole path", lambda scene: [with_weights_in_a_file(str(scene.canary))]),
            ("weights in a file by a symbolic link", lambda _: [with_weights_in_a_file("link.bin")]),
            ("weights in a file and of its own", lambda _: [with_weights_in_a_file("weights.bin", own=bytes(16))]),
            made("weights in the environment", with_weights_in_a_file, "/proc/self/environ"),
            made("weights in an endless device", with_weights_in_a_file, "/dev/zero", 0, 1 << 40),
            made("weights after the end of a file", with_weights_in_a_file, "weights.bin", 1 << 62, 1 << 62),
            made("weights in a file that has no name", with_weights_in_a_file, "", group=7),
        ],
        refused(INVALID): [
            made("an input of 10,000 dims", single, OPERATION.RELU, [1] * 10_000),
            ("two builders", lambda _: [relu(), relu()]),
        ],
        refused(LARGE): [
            made("subgraphs of depth 2,000", calling_deep, 2_000),
            made("subgraphs that are called 2^30 times", calling_often, 30),
        ],
        refused(RUNTIME): [
            made("a root outside of the file", with_root_at, 1 << 31),
            made("a root before the file", with_root_at, (1 << 32) - 8),
            made("a text of 2^31 bytes", with_text_of, 1 << 31),
            made("a text of 2^32 - 1 bytes", with_text_of, (1 << 32) - 1),
            made("an input of dims that overflow", single, OPERATION.RELU, [1 << 30] * 4),
            made("an input of dims whose product is small by overflow", single, OPERATION.RELU, [1 << 16] * 4 + [4]),
            made("an input of a negative dim", single, OPERATION.RELU, [-4]),
            made("an input of two negative dims", single, OPERATION.RELU, [-2, -2]),
            made("weights that are too short for their dims", with_weights, [4], b"1234"),
            made("weights of 2^31 - 1 numbers that aren't there", with_weights, [(1 << 31) - 1], bytes(16)),
            made("a loop whose body is itself", calling_itself, OPERATION.WHILE),
            made("a choice of itself", calling_itself, OPERATION.IF),
            made("a call of itself", calling_itself, OPERATION.CALL_ONCE),
            made("a call of itself by another operation", calling_itself, OPERATION.CALL),
            made("subgraphs that call each other", calling_each_other),
            made("a subgraph that isn't there", calling_what_isnt_there, 1 << 20),
            made("subgraph -1", calling_what_isnt_there, -1),
            made("an operation of its own without a name", single, OPERATION.CUSTOM),
            made("an operation from the future", single, 100_000),
            made("a delegate", single, OPERATION.DELEGATE),
            made("a signature of a subgraph that isn't there", signature_of, 1 << 20),
            made("dims at a place outside of the file", with_numbers, 0x1234567, 0xFFFFFFFF),
        ],
        fails(INVALID): [
            made("an input of 2^31 - 1 numbers", single, OPERATION.RELU, [(1 << 31) - 1]),
        ],
        fails(RUNTIME): [
            made("2^31 - 1 numbers made when it is run", filled, (1 << 31) - 1),
            made("numbers of dims that overflow made when it is run", filled, 1 << 30, 1 << 30, 1 << 30),
            made("numbers of a negative dim made when it is run", filled, -5),
            made("dims that overflow for an input", reshaped, 1 << 30, 1 << 30, 16),
            made("dims of which two are left open", reshaped, -1, -1),
            made("an operator without inputs", operators_over, [], [1]),
            made("a place before a tensor", gathering, -1000),
            made("a place after a tensor", gathering, 1 << 30),
            made("a row before a table", looking_up, -1000),
            made("a row after a table", looking_up, 1 << 30),
            made("numbers that are doubled 40 times", doubling, 40),
            made("an operation of TensorFlow's", single, OPERATION.CUSTOM, custom=b"FlexReadFile"),
            made("an operation of its own", single, OPERATION.CUSTOM, custom=b"Evil"),
        ],
        HARMLESS: [
            made("the same input 10,000 times", ports, [0] * 10_000, [1]),
            made("weights in the flatbuffer itself", with_weights_elsewhere, 2, 16),
            made("sparse weights that lie far out", sparse),
        ],
        isolated_only("LiteRT can't be stopped", endless=True): [
            made("a loop without end", looping),
        ],
    },
)
