"""Checks of a TensorFlow Lite model before LiteRT loads it.

LiteRT checks that a model is a flatbuffer, but trusts most of its values. Subgraphs that call each other without end
overflow its stack. Weights may have any address in the host's memory. A tensor that no operator writes, and an input
that no signature sets, shows former content of that memory. An input or a result that is a constant is written into
the model's own bytes, which were checked before. This module needs no runtime.

Numbers of fields and operators are those of TensorFlow Lite's schema.fbs (version 3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wasi_nn.backends.formats.call_bounds import require_bounded
from wasi_nn.backends.formats.flatbuffers import FlatBuffer, OutOfBounds, Table
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.settings import BY_PATH

_MAX_RUNS = 10_000  # calls of subgraphs by each other; the rounds of loops aren't counted

_MODEL_CODES, _MODEL_GRAPHS, _MODEL_BUFFERS, _MODEL_SIGNATURES = 1, 2, 4, 7
_MODEL_FILES, _MODEL_PARTS_OF_FILES = 8, 9  # with weights that lie outside of the model
_CODE_OLD, _CODE_NEW = 0, 3
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 1, 2, 3
_TENSOR_SHAPE, _TENSOR_BUFFER, _TENSOR_IS_VARIABLE, _TENSOR_PART_OF_FILE = 0, 2, 5, 10
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_INTERMEDIATES = 0, 1, 2, 8
_OPTIONS, _OPTIONS_2 = 3, 11  # what kind of options an operator has; these themselves are the next field
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _SIGNATURE_GRAPH = 0, 1, 4
_MAP_NAME, _MAP_TENSOR = 0, 1


@dataclass(frozen=True)
class _Runs:
    """The place of the subgraphs that an operator calls: options of a kind, and fields in them, or one with a list."""

    options: int
    kind: int
    fields: Sequence[int] = ()
    list_field: int | None = None


_RUNS = {
    31: _Runs(_OPTIONS, 16, (0,)),  # CALL
    118: _Runs(_OPTIONS, 92, (0, 1)),  # IF
    119: _Runs(_OPTIONS, 93, (0, 1)),  # WHILE
    129: _Runs(_OPTIONS, 103, (0,)),  # CALL_ONCE
    173: _Runs(_OPTIONS_2, 5, list_field=4),  # STABLEHLO_CUSTOM_CALL
    174: _Runs(_OPTIONS_2, 6, (1,)),  # STABLEHLO_REDUCE
    190: _Runs(_OPTIONS_2, 7, (6,)),  # STABLEHLO_SCATTER
    198: _Runs(_OPTIONS_2, 13, (5,)),  # STABLEHLO_REDUCE_WINDOW
    199: _Runs(_OPTIONS_2, 14, (2,)),  # STABLEHLO_SORT
    200: _Runs(_OPTIONS_2, 15, (0, 1)),  # STABLEHLO_WHILE
    206: _Runs(_OPTIONS_2, 21, (1,)),  # STABLEHLO_COMPOSITE
    209: _Runs(_OPTIONS_2, 23, list_field=0),  # STABLEHLO_CASE
}

# The operators with optional inputs, and the place of the first optional one. A missing input is -1. In another
# operator, LiteRT would read the memory before the first tensor.
_OPTIONAL = {
    3: 2,  # CONV_2D
    4: 2,  # DEPTHWISE_CONV_2D
    9: 2,  # FULLY_CONNECTED
    15: 2,  # LSH_PROJECTION
    16: 1,  # LSTM
    27: 3,  # SVDF
    44: 1,  # UNIDIRECTIONAL_SEQUENCE_LSTM
    46: 7,  # BIDIRECTIONAL_SEQUENCE_RNN
    52: 1,  # BIDIRECTIONAL_SEQUENCE_LSTM
    67: 3,  # TRANSPOSE_CONV
    132: 2,  # CONV_3D
    141: 3,  # CONV_3D_TRANSPOSE
}

# LiteRT returns as many bytes of a variable as its reader declares, even if the variable is smaller or was never
# written.
_VARIABLES = (142, 143, 144)  # VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE


def is_tflite(model: memoryview) -> bool:
    """Whether these bytes begin as a TensorFlow Lite model."""
    return bytes(model[4:8]) == b"TFL3"


def require_sound(model: bytes | memoryview, *, trusted: bool) -> None:
    """Refuse a model that would crash LiteRT, or that could read the host's memory.

    Raises `ValueError` for one that is damaged; `NNError` with `too-large` for subgraphs that run each other too often,
    and with `security` for weights that lie outside of the model and, for an untrusted one, for weights in other
    files, for a tensor that is read before it is made, for a constant that is written, and for variables.
    """
    root = FlatBuffer(memoryview(model)).root()
    graphs = [_Subgraph(graph) for graph in root.tables(_MODEL_GRAPHS)]
    codes = [max(it.number(_CODE_OLD, "b"), it.number(_CODE_NEW)) for it in root.tables(_MODEL_CODES)]
    filled = [_is_filled(it, len(model)) for it in root.tables(_MODEL_BUFFERS)]
    signatures = root.tables(_MODEL_SIGNATURES)
    signed = [it.number(_SIGNATURE_GRAPH, "I") for it in signatures]
    runs = {index: Counter(_run_by(graph, codes)) for index, graph in enumerate(graphs)}
    missing = set(signed).union(*runs.values()) - runs.keys()
    if missing:
        raise ValueError(f"it has no subgraph {min(missing)}")
    require_bounded(runs, Counter(runs.keys()), _MAX_RUNS)
    if not trusted:
        parts = (it.number(_TENSOR_PART_OF_FILE, "I") for graph in graphs for it in graph.tensors)
        if root.count(_MODEL_FILES) or root.count(_MODEL_PARTS_OF_FILES) or any(parts):
            raise _refused(f"it has weights in other files; {BY_PATH}")
        made = [_require_made(graph, codes, filled) for graph in graphs]
        for signature, index in zip(signatures, signed, strict=True):
            _require_bound(signature, graphs[index], made[index])


def cut_short_tflite(model: memoryview) -> str | None:
    """The words for bytes that begin as a model, and refer to bytes after their end; None for others."""
    if not is_tflite(model):
        return None
    end = 0
    try:
        buffers = FlatBuffer(model).root().tables(_MODEL_BUFFERS)
        end = max((buffer.bytes_end(_BUFFER_DATA) for buffer in buffers), default=0)
        require_sound(model, trusted=True)
    except OutOfBounds as error:
        end = error.end
    except ValueError:
        return None
    if end <= len(model):
        return None
    return f"a TensorFlow Lite model, cut short or damaged: it has {len(model)} bytes, and refers to byte {end}"


def keeps_state(model: bytes) -> bool:
    """Whether a sound model has variables, or tensors that stay from one run to the next."""
    root = FlatBuffer(memoryview(model)).root()
    codes = [max(it.number(_CODE_OLD, "b"), it.number(_CODE_NEW)) for it in root.tables(_MODEL_CODES)]
    graphs = [_Subgraph(graph) for graph in root.tables(_MODEL_GRAPHS)]
    return any(code in _VARIABLES for code in codes) or any(
        tensor.number(_TENSOR_IS_VARIABLE, "B") for graph in graphs for tensor in graph.tensors
    )


class _Subgraph:
    """The parts of a subgraph."""

    def __init__(self, table: Table) -> None:
        self.tensors = table.tables(_GRAPH_TENSORS)
        self.operators = table.tables(_GRAPH_OPERATORS)
        self.inputs = table.numbers(_GRAPH_INPUTS)
        self.outputs = table.numbers(_GRAPH_OUTPUTS)


def _is_filled(buffer: Table, model_size: int) -> bool:
    """Whether a buffer has content. It may lie behind the flatbuffer, for which LiteRT adds offset and size up in 64
    bits, whatever becomes of their sum."""
    offset, size = buffer.number(_BUFFER_OFFSET, "Q"), buffer.number(_BUFFER_SIZE, "Q")
    if offset + size > model_size:
        message = f"the model is refused: {size} bytes of weights at {offset} are outside of the file"
        raise NNError(ErrorCode.SECURITY, message)
    return size > 0 or buffer.count(_BUFFER_DATA) > 0


def _code(operator: Table, codes: Sequence[int]) -> int:
    index = operator.number(_OPERATOR_CODE, "I")
    if index >= len(codes):
        raise ValueError(f"it has no operator {index}")
    return codes[index]


def _run_by(graph: _Subgraph, codes: Sequence[int]) -> list[int]:
    """The subgraphs that the operators of a subgraph run, each as often as one does."""
    indexes: list[int] = []
    for operator in graph.operators:
        runs = _RUNS.get(_code(operator, codes))
        if runs is None:
            continue
        options = operator.table(runs.options + 1)
        if options is None or operator.number(runs.options, "B") != runs.kind:
            raise ValueError("an operator doesn't name the subgraphs that it runs")
        indexes += [options.number(field) for field in runs.fields]
        if runs.list_field is not None:
            indexes += options.numbers(runs.list_field)
    return indexes


def _require_made(graph: _Subgraph, codes: Sequence[int], filled: Sequence[bool]) -> set[int]:
    """Raise `NNError` with `security` if a tensor of a subgraph is read before something is in it, or if a constant is
    written. Returns the tensors that have something in them after a run."""
    constants = {index for index, it in enumerate(graph.tensors) if _is_constant(it, filled)}
    _require_none(graph.inputs, constants)
    made = {*graph.inputs, *(index for index, it in enumerate(graph.tensors) if _has_content(it, filled))}
    for operator in graph.operators:
        code = _code(operator, codes)
        if code in _VARIABLES:
            raise _refused(f"it has variables, whose sizes LiteRT doesn't check; {BY_PATH}")
        needed = operator.numbers(_OPERATOR_INPUTS)
        first_optional = _OPTIONAL.get(code, len(needed))
        _require_all((it for place, it in enumerate(needed) if it != -1 or place < first_optional), made)
        written = *operator.numbers(_OPERATOR_OUTPUTS), *operator.numbers(_OPERATOR_INTERMEDIATES)
        _require_none(written, constants)
        made.update(written)
    _require_all(graph.outputs, made)
    missing = made.difference(range(len(graph.tensors)))
    if missing:
        raise ValueError(f"a subgraph has no tensor {min(missing)}")
    return made


def _require_bound(signature: Table, graph: _Subgraph, made: set[int]) -> None:
    """Raise `NNError` with `security` if a signature doesn't set each input of its subgraph and nothing else, or gives
    a tensor that has nothing in it."""
    inputs, outputs = (_tensors_by_name(signature.tables(it)) for it in (_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS))
    unset = set(graph.inputs).symmetric_difference(inputs.values())
    if unset:
        message = f"the inputs of a signature aren't those of its subgraph: tensor {min(unset)} is in only one of them"
        raise _refused(message)
    _require_all(outputs.values(), made)


def _tensors_by_name(maps: Iterable[Table]) -> dict[str, int]:
    """The tensors of a signature by their names, as LiteRT sees these: the last of two tensors with one name, and no
    tensor without a name. A name ends at a zero."""
    named = ((it.text(_MAP_NAME).partition("\0")[0], it.number(_MAP_TENSOR, "I")) for it in maps)
    return {name: tensor for name, tensor in named if name}


def _is_constant(tensor: Table, filled: Sequence[bool]) -> bool:
    buffer = tensor.number(_TENSOR_BUFFER, "I")
    return buffer < len(filled) and filled[buffer]


def _has_content(tensor: Table, filled: Sequence[bool]) -> bool:
    is_variable = tensor.number(_TENSOR_IS_VARIABLE, "B") != 0
    return _is_constant(tensor, filled) or is_variable or 0 in tensor.numbers(_TENSOR_SHAPE)


def _require_all(read: Iterable[int], made: set[int]) -> None:
    missing = next((index for index in read if index not in made), None)
    if missing is not None:
        raise _refused(f"its tensor {missing} is read before any operator writes it")


def _require_none(written: Iterable[int], constants: set[int]) -> None:
    constant = next((index for index in written if index in constants), None)
    if constant is not None:
        raise _refused(f"its tensor {constant} is a constant, and would be written over")


def _refused(why: str) -> NNError:
    return NNError(ErrorCode.SECURITY, f"untrusted model refused: {why}")
