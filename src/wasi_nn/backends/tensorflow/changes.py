"""TensorFlow's graphs read without TensorFlow, as far as it takes to tell which operations are run.

Field numbers are those of TensorFlow's graph.proto, function.proto, op_def.proto, node_def.proto, attr_value.proto,
saved_model.proto and meta_graph.proto. The classes have the names that TensorFlow's own have there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wasi_nn.backends.formats.protobuf import fields
from wasi_nn.backends.tensorflow.model import is_saved_model
from wasi_nn.backends.tensorflow.operations import Reach, changes, reach
from wasi_nn.backends.tensorflow.plan import outputs_of
from wasi_nn.errors import ErrorCode, NNError

_USUAL_TAG, _USUAL_SIGNATURE = "serve", "serving_default"


def require_unchanging(model: memoryview) -> None:
    """Refuse a SavedModel or a GraphDef that changes its variables or tables, for a runtime that leaves that out.
    Raises `NNError` with `unsupported-operation`. What is malformed is for the runtime to refuse."""
    try:
        found = {name: node for needed in _needed(model) for name, node in changes(needed.operations).items()}
    except ValueError:
        return
    for operation, node in found.items():
        raise NNError(
            ErrorCode.UNSUPPORTED_OPERATION,
            f"the model changes what it keeps ({operation}, node {node!r}), which openvino leaves out: run it by "
            "tensorflow, pip install 'wasi-nn[tensorflow]'",
        )


def _needed(model: memoryview) -> Iterator[Reach]:
    """What is run for the outputs: of a SavedModel, those of its usual signature; of a GraphDef, whatever is in it."""
    if not is_saved_model(model):
        graph = GraphDef(model)
        yield reach(graph, outputs_of(graph))
        return
    metas = _parts(model, 2)
    for meta in [meta for meta in metas if _USUAL_TAG in _tags(meta)] or metas:
        signatures = dict(map(_entry, _parts(meta, 5)))
        chosen = [signatures[_USUAL_SIGNATURE]] if _USUAL_SIGNATURE in signatures else signatures.values()
        outputs = [info for signature in chosen for _, info in map(_entry, _parts(signature, 2))]
        for definition in _parts(meta, 2):
            yield reach(GraphDef(definition), [_text(info, 1) for info in outputs])


def _tags(meta: memoryview) -> list[str]:
    return [tag for info in _parts(meta, 1) for tag in _texts(info, 4)]


class GraphDef:
    """A graph: its nodes, and a library of functions."""

    def __init__(self, message: memoryview) -> None:
        self.node = [NodeDef(part) for part in _parts(message, 1)]
        self.library = Library([FunctionDef(part) for library in _parts(message, 2) for part in _parts(library, 1)])


@dataclass(frozen=True)
class Library:
    """The functions of a graph."""

    function: Sequence[FunctionDef]


class NodeDef:
    """A node: what it does, to what, and the functions that its attributes name."""

    def __init__(self, message: memoryview) -> None:
        self.name, self.op, self.input = _text(message, 1), _text(message, 2), _texts(message, 3)
        self.attr = _attributes(message, 5)


class FunctionDef:
    """A function: what it takes, and its nodes."""

    def __init__(self, message: memoryview) -> None:
        self.signature = Signature(_first(message, 1))
        self.node_def = [NodeDef(part) for part in _parts(message, 3)]
        self.attr = _attributes(message, 5)


class Signature:
    """What a function is called, and takes."""

    def __init__(self, message: memoryview) -> None:
        self.name = _text(message, 1)
        self.input_arg = [Argument(part) for part in _parts(message, 2)]


class Argument:
    """What a function takes; several tensors, if it has one of these attributes."""

    def __init__(self, message: memoryview) -> None:
        self.name, self.number_attr, self.type_list_attr = _text(message, 1), _text(message, 5), _text(message, 6)


class AttrValue:
    """The value of an attribute, of which only functions are read."""

    def __init__(self, message: memoryview) -> None:
        self._message = message

    @property
    def func(self) -> NameAttrList:
        return NameAttrList(_first(self._message, 10))

    @property
    def list(self) -> ListValue:
        return ListValue([NameAttrList(part) for part in _parts(_first(self._message, 1), 9)])


@dataclass(frozen=True)
class ListValue:
    """The functions of a list."""

    func: Sequence[NameAttrList]


class NameAttrList:
    """A function that is named, with attributes."""

    def __init__(self, message: memoryview) -> None:
        self.name = _text(message, 1)
        self.attr = _attributes(message, 2)


def _attributes(message: memoryview, number: int) -> Mapping[str, AttrValue]:
    return {key: AttrValue(value) for key, value in map(_entry, _parts(message, number))}


def _entry(message: memoryview) -> tuple[str, memoryview]:
    """An entry of a map: its key and its value."""
    return _text(message, 1), _first(message, 2)


def _parts(message: memoryview, wanted: int) -> list[memoryview]:
    return [value for number, value in fields(message) if number == wanted and isinstance(value, memoryview)]


def _first(message: memoryview, wanted: int) -> memoryview:
    return next(iter(_parts(message, wanted)), memoryview(b""))


def _texts(message: memoryview, wanted: int) -> list[str]:
    return [bytes(part).decode("utf-8", "surrogateescape") for part in _parts(message, wanted)]


def _text(message: memoryview, wanted: int) -> str:
    return next(iter(_texts(message, wanted)), "")
