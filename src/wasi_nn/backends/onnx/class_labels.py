"""Reads the labels of a classifier's maps from an ONNX model: the keys that a `ZipMap` gives each map of its output.

Field numbers are those of onnx.proto3 (ONNX 1.17).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from wasi_nn.backends.formats.protobuf import FieldReader, varints

_MAX_FIELDS = 2_000_000
_MAX_LABELS = 65_536  # as Python objects, labels take far more memory than in the model

_MODEL_GRAPH = 7
_GRAPH_NODE = 1
_NODE_OUTPUT, _NODE_OPERATION, _NODE_ATTRIBUTE, _NODE_DOMAIN = 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_INTS, _ATTRIBUTE_STRINGS = 1, 8, 9

Keys = tuple[int, ...] | tuple[str, ...]


def keys_of_maps(model: memoryview, outputs: Collection[str]) -> dict[str, Keys]:
    """The keys of the maps in those of these outputs that a `ZipMap` of the model's main graph makes, in ascending
    order, which is the runtime's. Keys beyond 65,536 for all outputs aren't read: such an output is left out.

    Of a malformed model, only the part before the first error is read.
    """
    found: dict[str, Keys] = {}
    if not outputs:
        return found
    reader, left = FieldReader(_MAX_FIELDS), _MAX_LABELS
    try:
        for graph in reader.messages(model, _MODEL_GRAPH):
            for node in reader.messages(graph, _GRAPH_NODE):
                kind = reader.last(node, _NODE_DOMAIN), reader.last(node, _NODE_OPERATION)
                if kind != (b"ai.onnx.ml", b"ZipMap"):
                    continue
                name = reader.last(node, _NODE_OUTPUT).decode()
                if name in outputs:
                    numbers = list(islice(_numbers(reader, node), left + 1))
                    texts = list(islice(_texts(reader, node), left + 1))
                    count = max(len(numbers), len(texts))
                    if 0 < count <= left:
                        left -= count
                        found[name] = tuple(sorted(set(texts))) or tuple(sorted(set(numbers)))
    except ValueError:
        pass
    return found


def _attributes(reader: FieldReader, node: memoryview, name: bytes) -> Iterator[memoryview]:
    return (it for it in reader.messages(node, _NODE_ATTRIBUTE) if reader.last(it, _ATTRIBUTE_NAME) == name)


def _texts(reader: FieldReader, node: memoryview) -> Iterator[str]:
    for attribute in _attributes(reader, node, b"classlabels_strings"):
        for text in reader.messages(attribute, _ATTRIBUTE_STRINGS):
            yield bytes(text).decode()


def _numbers(reader: FieldReader, node: memoryview) -> Iterator[int]:
    for attribute in _attributes(reader, node, b"classlabels_int64s"):
        for number, value in reader.fields(attribute):
            if number == _ATTRIBUTE_INTS:
                for label in [value] if isinstance(value, int) else varints(value):
                    yield label - 2**64 if label >= 2**63 else label
