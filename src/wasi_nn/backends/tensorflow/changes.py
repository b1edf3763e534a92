"""Refuses TensorFlow models that OpenVINO would run otherwise: those that change their variables, since it ignores such
changes, and those with several signatures and no default one, since it makes one graph of them.

The graphs are read without TensorFlow. Field numbers are those of TensorFlow's graph.proto, function.proto,
op_def.proto, node_def.proto, attr_value.proto, saved_model.proto and meta_graph.proto. The classes and attributes have
the names of those in these files, so that `reach` can walk over these graphs as over TensorFlow's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace

from wasi_nn.backends.formats.protobuf import fields
from wasi_nn.backends.signature_choice import DEFAULT_SIGNATURE
from wasi_nn.backends.tensorflow.model import is_saved_model
from wasi_nn.backends.tensorflow.operations import Reach, changes, reach
from wasi_nn.backends.tensorflow.plan import DEFAULT_TAG, LOADER_PREFIX, outputs_of
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.settings import how_to_run_by, how_to_set_option
from wasi_nn.types import GraphEncoding

_BY_TENSORFLOW = how_to_run_by(GraphEncoding.TENSORFLOW.value, "tensorflow", "tensorflow")


def require_unchanging(model: memoryview) -> None:
    """Raise `NNError` with `unsupported-operation` for a SavedModel or a GraphDef that changes its variables or tables,
    or has several signatures and no default one.

    A malformed model passes: the runtime refuses it.
    """
    try:
        changing = {name: node for needed in _needed(model) for name, node in changes(needed.operations).items()}
    except ValueError:
        return
    for operation, node in changing.items():
        raise NNError(
            ErrorCode.UNSUPPORTED_OPERATION,
            f"the model changes its own state ({operation}, node {node!r}), which openvino doesn't do: "
            + _BY_TENSORFLOW,
        )


def _needed(model: memoryview) -> Iterator[Reach]:
    """What is run for the outputs: those of a SavedModel's default signature, if it has one, or all of a GraphDef's."""
    if not is_saved_model(model):
        graph = GraphDef(model)
        yield reach(graph, outputs_of(graph))
        return
    metas = _parts(model, 2)
    for meta in [meta for meta in metas if DEFAULT_TAG in _tags(meta)] or metas:
        signatures = dict(map(_entry, _parts(meta, 5)))
        _require_one(sorted(name for name in signatures if not name.startswith(LOADER_PREFIX)))
        chosen = [signatures[DEFAULT_SIGNATURE]] if DEFAULT_SIGNATURE in signatures else signatures.values()
        outputs = [info for signature in chosen for _, info in map(_entry, _parts(signature, 2))]
        for definition in _parts(meta, 2):
            yield reach(GraphDef(definition), [_text(info, 1) for info in outputs])


def _require_one(signatures: Sequence[str]) -> None:
    if len(signatures) < 2 or DEFAULT_SIGNATURE in signatures:
        return
    message = (
        f"openvino runs the signature {DEFAULT_SIGNATURE!r} of a SavedModel or its only one, and this model has "
        f"{', '.join(signatures)}: {_BY_TENSORFLOW}; and choose one: {how_to_set_option('signature', signatures[0])}"
    )
    raise NNError(ErrorCode.UNSUPPORTED_OPERATION, printable(message))


def _tags(meta: memoryview) -> list[str]:
    return [tag for info in _parts(meta, 1) for tag in _texts(info, 4)]


class GraphDef:
    """A graph: its nodes, and a library of functions."""

    def __init__(self, message: memoryview) -> None:
        self.node = [NodeDef(part) for part in _parts(message, 1)]
        functions = [FunctionDef(part) for library in _parts(message, 2) for part in _parts(library, 1)]
        self.library = SimpleNamespace(function=functions)


class NodeDef:
    """A node: its name, operation, inputs and attributes."""

    def __init__(self, message: memoryview) -> None:
        self.name, self.op, self.input = _text(message, 1), _text(message, 2), _texts(message, 3)
        self.attr = _attributes(message, 5)


class FunctionDef:
    """A function: its signature, nodes and attributes."""

    def __init__(self, message: memoryview) -> None:
        signature = _first(message, 1)
        arguments = [
            SimpleNamespace(name=_text(part, 1), number_attr=_text(part, 5), type_list_attr=_text(part, 6))
            for part in _parts(signature, 2)
        ]
        self.signature = SimpleNamespace(name=_text(signature, 1), input_arg=arguments)
        self.node_def = [NodeDef(part) for part in _parts(message, 3)]
        self.attr = _attributes(message, 5)


class AttrValue:
    """The value of an attribute, as far as it names functions. They are read on demand."""

    def __init__(self, message: memoryview) -> None:
        self._message = message

    @property
    def func(self) -> NameAttrList:
        return NameAttrList(_first(self._message, 10))

    @property
    def list(self) -> SimpleNamespace:
        return SimpleNamespace(func=[NameAttrList(part) for part in _parts(_first(self._message, 1), 9)])


class NameAttrList:
    """The name of a function, with attributes for it."""

    def __init__(self, message: memoryview) -> None:
        self.name = _text(message, 1)
        self.attr = _attributes(message, 2)


def _attributes(message: memoryview, number: int) -> Mapping[str, AttrValue]:
    return {key: AttrValue(value) for key, value in map(_entry, _parts(message, number))}


def _entry(message: memoryview) -> tuple[str, memoryview]:
    """An entry of a map: its key and its value."""
    return _text(message, 1), _first(message, 2)


def _parts(message: memoryview, number: int) -> list[memoryview]:
    """The values of all fields with this number that are messages, texts or bytes."""
    return [value for field, value in fields(message) if field == number and isinstance(value, memoryview)]


def _first(message: memoryview, number: int) -> memoryview:
    return next(iter(_parts(message, number)), memoryview(b""))


def _texts(message: memoryview, number: int) -> list[str]:
    return [bytes(part).decode("utf-8", "surrogateescape") for part in _parts(message, number)]


def _text(message: memoryview, number: int) -> str:
    return next(iter(_texts(message, number)), "")
