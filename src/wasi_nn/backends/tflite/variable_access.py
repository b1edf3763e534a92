"""Adds signatures to a TensorFlow Lite model that read and set its variables, because LiteRT has no calls for that.

The new signatures are put before the model's own bytes, which stay as they are: a flatbuffer's offsets lead forward
only. So whatever holds of the model's own subgraphs, such as the checks of `wasi_nn.backends.tflite.model`, still does.

Numbers of fields, operators and types are those of TensorFlow Lite's schema.fbs (version 3).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.formats.flatbuffers import FlatBuffer, Table

if TYPE_CHECKING:
    pass

_MODEL_VERSION, _MODEL_CODES, _MODEL_GRAPHS, _MODEL_BUFFERS, _MODEL_METADATA, _MODEL_SIGNATURES = 0, 1, 2, 4, 6, 7
_MODEL_FIELDS = 10  # the fields that the schema has; all but the version refer to something
_CODE_OLD, _CODE_VERSION, _CODE_NEW = 0, 2, 3
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 1, 2, 3
_TENSOR_TYPE, _TENSOR_NAME = 1, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_KIND, _OPERATOR_OPTIONS = 0, 1, 2, 3, 4
_HANDLE_CONTAINER, _HANDLE_NAME = 0, 1
_CALL_GRAPH = 0
_BUFFER_OFFSET = 1
_METADATA_NAME = 0
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _SIGNATURE_KEY, _SIGNATURE_GRAPH = 0, 1, 2, 4
_MAP_NAME, _MAP_TENSOR = 0, 1
_CALL_ONCE, _VAR_HANDLE, _READ, _ASSIGN = 129, 142, 143, 144
_CALL_ONCE_OPTIONS, _VAR_HANDLE_OPTIONS = 103, 111
_RESOURCE = 13
# The types of numbers that numpy and safetensors have. A complex number or one of four bits isn't among them.
_NUMBERS = frozenset({0, 1, 2, 3, 4, 6, 7, 9, 10, 12, 15, 16, 18})
_CONTROL_DEPENDENCIES = "model_control_dependencies"  # has an entry for each subgraph
_ALIGNMENT = 64  # of a model's weights, at most


@dataclass(frozen=True)
class VariableAccess:
    """A model with signatures that read and set its variables."""

    model: bytes
    read: str
    """The name of the signature that gives the variables: output "0" is the first of `names`. Empty if the model has no
    variables that can be read."""
    assign: str
    """The name of the signature that sets all of these: input "0" is the first of `names`. Empty as `read`."""
    main: str
    """The name of a signature for the model's main graph: its inputs and outputs are named "0", "1" and so on, each
    tensor once. Empty if the model has signatures of its own."""
    names: Sequence[str]


@dataclass(frozen=True)
class _Variable:
    """A variable: the two parts of its name, and the type of its numbers."""

    container: bytes
    shared_name: bytes
    element: int


def has_variables(model: bytes) -> bool:
    """Whether a model has variables with names. Raises `ValueError` for a damaged model."""
    return _VAR_HANDLE in _codes(FlatBuffer(memoryview(model)).root())


def with_variable_access(model: bytes) -> VariableAccess | None:
    """A model whose variables can be read and set. None where that isn't possible: for a model that has weights
    behind its flatbuffer, says in which order each subgraph's operators run, or has fields that the schema lacks.

    A variable can't be read if the model's initialisation doesn't set it, if its type isn't one of numbers that numpy
    has, or if the model's operators don't agree on its type. Raises `ValueError` for a damaged model.
    """
    root = FlatBuffer(memoryview(model)).root()
    if not _can_be_extended(root):
        return None
    codes = _codes(root)
    graphs = root.tables(_MODEL_GRAPHS)
    if not graphs:
        raise ValueError("it has no subgraph 0")
    first = _initial_graphs(graphs, codes)
    variables = _named(_variables(graphs, codes, first))
    writer = _Writer(model, root, first)
    read, assign = writer.add_access(list(variables.values())) if variables else ("", "")
    main = "" if root.count(_MODEL_SIGNATURES) else writer.add_main(graphs[0])
    return VariableAccess(writer.finished(), read, assign, main, tuple(variables))


def _codes(root: Table) -> list[int]:
    """The operators of a model, by their indexes."""
    return [max(it.number(_CODE_OLD, "b"), it.number(_CODE_NEW)) for it in root.tables(_MODEL_CODES)]


def _can_be_extended(root: Table) -> bool:
    has_order = any(it.text(_METADATA_NAME) == _CONTROL_DEPENDENCIES for it in root.tables(_MODEL_METADATA))
    lies_behind = any(it.number(_BUFFER_OFFSET, "Q") for it in root.tables(_MODEL_BUFFERS))
    return not has_order and not lies_behind and max(root.fields, default=0) < _MODEL_FIELDS


def _operators(graph: Table, codes: Sequence[int]) -> Iterable[tuple[int, Table]]:
    """The operators of a subgraph, each with its code."""
    for operator in graph.tables(_GRAPH_OPERATORS):
        index = operator.number(_OPERATOR_CODE, "I")
        if index >= len(codes):
            raise ValueError(f"it has no operator {index}")
        yield codes[index], operator


def _initial_graphs(graphs: Sequence[Table], codes: Sequence[int]) -> list[int]:
    """The subgraphs that set the variables to the model's own values, in the order of their calls."""
    options = [
        operator.table(_OPERATOR_OPTIONS)
        for graph in graphs
        for code, operator in _operators(graph, codes)
        if code == _CALL_ONCE
    ]
    return list(dict.fromkeys(it.number(_CALL_GRAPH) for it in options if it is not None))


def _variables(graphs: Sequence[Table], codes: Sequence[int], first: Collection[int]) -> list[_Variable]:
    """The variables that the initial subgraphs set, of types of numbers on which all operators agree."""
    elements: dict[tuple[bytes, bytes], set[int]] = {}
    is_set: dict[tuple[bytes, bytes], None] = {}
    for index, graph in enumerate(graphs):
        types = [tensor.number(_TENSOR_TYPE, "b") for tensor in graph.tables(_GRAPH_TENSORS)]
        handles: dict[int, tuple[bytes, bytes]] = {}
        for code, operator in _operators(graph, codes):
            tensors = (*operator.numbers(_OPERATOR_INPUTS), *operator.numbers(_OPERATOR_OUTPUTS))
            if code == _VAR_HANDLE and tensors:
                options = operator.table(_OPERATOR_OPTIONS)
                if options is not None and operator.number(_OPERATOR_KIND, "B") == _VAR_HANDLE_OPTIONS:
                    handles[tensors[0]] = options.raw(_HANDLE_CONTAINER), options.raw(_HANDLE_NAME)
            elif code in (_READ, _ASSIGN) and len(tensors) == 2 and tensors[0] in handles:
                name, tensor = handles[tensors[0]], tensors[1]
                elements.setdefault(name, set()).add(types[tensor] if 0 <= tensor < len(types) else _RESOURCE)
                if code == _ASSIGN and index in first:
                    is_set[name] = None
    return [
        _Variable(*name, *elements[name])
        for name in is_set
        if len(elements[name] & _NUMBERS) == len(elements[name]) == 1
    ]


def _named(variables: Sequence[_Variable]) -> dict[str, _Variable]:
    """Variables by their names; those whose names are equal have their containers' names too."""
    named: dict[str, _Variable] = {}
    for it in variables:
        name, container = (text.decode("utf-8", "replace") for text in (it.shared_name, it.container))
        named.setdefault(f"{container}/{name}" if name in named else name, it)
    return named


class _Writer:
    """Writes a model that has another one's parts, and more subgraphs and signatures."""

    def __init__(self, model: bytes, root: Table, first: Sequence[int]) -> None:
        from flatbuffers import Builder

        self._builder = builder = Builder(len(model) + (1 << 16))
        self._root, self._first = root, first
        self._codes, self._graphs, self._signatures = (
            [table.at for table in root.tables(field)] for field in (_MODEL_CODES, _MODEL_GRAPHS, _MODEL_SIGNATURES)
        )
        self._old_codes, self._old_graphs = len(self._codes), len(self._graphs)
        self._taken = {it.text(_SIGNATURE_KEY) for it in root.tables(_MODEL_SIGNATURES)}
        builder.Prep(_ALIGNMENT, 0)
        # Its bytes are put at the end, as a list of bytes that nothing refers to.
        self._end: int = builder.CreateByteVector(model + bytes(-len(model) % _ALIGNMENT)) - 4
        for field in (self._codes, self._graphs, self._signatures):
            field[:] = map(self._offset, field)
        self._added = {code: self._add_code(code) for code in (_CALL_ONCE, _VAR_HANDLE, _READ, _ASSIGN)}

    def _offset(self, place: int) -> int:
        """The builder's offset of a place in the model."""
        return self._end - place

    def _add_code(self, code: int) -> int:
        self._codes.append(
            self._table({_CODE_OLD: ("Int8", min(code, 127)), _CODE_VERSION: ("Int32", 1), _CODE_NEW: ("Int32", code)})
        )
        return len(self._codes) - 1

    def add_access(self, variables: Sequence[_Variable]) -> tuple[str, str]:
        """Add signatures that read and set variables; returns their names."""
        return self._add("read", variables, assigns=False), self._add("assign", variables, assigns=True)

    def _add(self, name: str, variables: Sequence[_Variable], *, assigns: bool) -> str:
        """Add a subgraph, and a signature for it. Tensor 2i is the handle of variable i, and tensor 2i + 1 its value.

        The values have neither rank nor dimensions, so that LiteRT gives them those that the variables really have.
        """
        operators = [self._call_once(graph) for graph in self._first]
        tensors = []
        for index, it in enumerate(variables):
            handle, value = 2 * index, 2 * index + 1
            tensors += [self._tensor(_RESOURCE), self._tensor(it.element)]
            operators.append(self._var_handle(it, handle))
            operators.append(
                self._operator(_ASSIGN, [handle, value], []) if assigns else self._operator(_READ, [handle], [value])
            )
        values = range(1, 2 * len(variables), 2)
        inputs, outputs = (values, ()) if assigns else ((), values)
        self._graphs.append(
            self._table(
                {
                    _GRAPH_TENSORS: self._list(tensors),
                    _GRAPH_INPUTS: self._numbers(inputs),
                    _GRAPH_OUTPUTS: self._numbers(outputs),
                    _GRAPH_OPERATORS: self._list(operators),
                }
            )
        )
        return self._sign(name, len(self._graphs) - 1, inputs, outputs)

    def add_main(self, graph: Table) -> str:
        """Add a signature for the model's main graph; returns its name."""
        return self._sign("main", 0, *(dict.fromkeys(graph.numbers(it)) for it in (_GRAPH_INPUTS, _GRAPH_OUTPUTS)))

    def _sign(self, name: str, graph: int, inputs: Iterable[int], outputs: Iterable[int]) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        self._signatures.append(
            self._table(
                {
                    _SIGNATURE_INPUTS: self._list(self._maps(inputs)),
                    _SIGNATURE_OUTPUTS: self._list(self._maps(outputs)),
                    _SIGNATURE_KEY: self._text(name.encode()),
                    _SIGNATURE_GRAPH: ("Uint32", graph),
                }
            )
        )
        return name

    def _maps(self, tensors: Iterable[int]) -> list[int]:
        return [
            self._table({_MAP_NAME: self._text(str(index).encode()), _MAP_TENSOR: ("Uint32", tensor)})
            for index, tensor in enumerate(tensors)
        ]

    def _tensor(self, element: int) -> int:
        return self._table({_TENSOR_TYPE: ("Int8", element), _TENSOR_NAME: self._text(b"variable")})

    def _call_once(self, graph: int) -> int:
        options = self._table({_CALL_GRAPH: ("Int32", graph)})
        return self._operator(_CALL_ONCE, [], [], _CALL_ONCE_OPTIONS, options)

    def _var_handle(self, variable: _Variable, handle: int) -> int:
        options = self._table(
            {_HANDLE_CONTAINER: self._text(variable.container), _HANDLE_NAME: self._text(variable.shared_name)}
        )
        return self._operator(_VAR_HANDLE, [], [handle], _VAR_HANDLE_OPTIONS, options)

    def _operator(
        self, code: int, inputs: Sequence[int], outputs: Sequence[int], kind: int = 0, options: int = 0
    ) -> int:
        fields = {
            _OPERATOR_CODE: ("Uint32", self._added[code]),
            _OPERATOR_INPUTS: self._numbers(inputs),
            _OPERATOR_OUTPUTS: self._numbers(outputs),
        }
        if options:
            fields |= {_OPERATOR_KIND: ("Uint8", kind), _OPERATOR_OPTIONS: ("UOffsetTRelative", options)}
        return self._table(fields)

    def finished(self) -> bytes:
        """The bytes of the model."""
        fields = {
            field: ("UOffsetTRelative", self._offset(self._root.target(field)))
            for field in self._root.fields
            if field != _MODEL_VERSION
        }
        fields |= {
            _MODEL_VERSION: ("Uint32", self._root.number(_MODEL_VERSION, "I")),
            _MODEL_CODES: self._list(self._codes),
            _MODEL_GRAPHS: self._list(self._graphs),
            _MODEL_SIGNATURES: self._list(self._signatures),
        }
        self._builder.Finish(self._table(fields), b"TFL3")
        return bytes(memoryview(self._builder.Bytes)[self._builder.Head() :])

    # Parts of a flatbuffer: a table is given by its builder's offset, a field by its kind and its value.

    def _table(self, fields: Mapping[int, tuple[str, int]]) -> int:
        self._builder.StartObject(max(fields) + 1)
        for field, (kind, value) in fields.items():
            getattr(self._builder, f"Prepend{kind}Slot")(field, value, 0)
        offset: int = self._builder.EndObject()
        return offset

    def _list(self, tables: Sequence[int]) -> tuple[str, int]:
        return self._vector(tables, self._builder.PrependUOffsetTRelative)

    def _numbers(self, numbers: Iterable[int]) -> tuple[str, int]:
        return self._vector([*numbers], self._builder.PrependInt32)

    def _vector(self, items: Sequence[int], prepend: Any) -> tuple[str, int]:
        self._builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            prepend(item)
        return "UOffsetTRelative", self._builder.EndVector()

    def _text(self, content: bytes) -> tuple[str, int]:
        return "UOffsetTRelative", self._builder.CreateString(content)
