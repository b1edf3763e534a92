"""Counts the operators of a model's file without its runtime, by the readers of the formats.

A model may be hostile: a reader looks through a bounded part of it, and a damaged model has no operators here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wasi_nn.backends.ggml.tensor_types import header_texts, tensor_types
from wasi_nn.backends.onnx.operator_counts import onnx_operators
from wasi_nn.backends.openvino.operator_counts import openvino_operators
from wasi_nn.backends.pytorch.operator_counts import pytorch_operators
from wasi_nn.backends.tensorflow.operator_counts import tensorflow_operators
from wasi_nn.backends.tflite.operator_counts import tflite_operators
from wasi_nn.errors import NNError
from wasi_nn.loading.choose import choose
from wasi_nn.loading.named_graph import NamedGraph
from wasi_nn.loading.rules import LoadRules
from wasi_nn.process.files import mapped_file
from wasi_nn.types import GraphEncoding, parse_enum

_MOST_NAMES = 10_000
"""The kinds of operators of a model that are listed."""


@dataclass(frozen=True)
class ModelOperators:
    """The operators of a model: how many of each kind it has, most frequent first. `noun` says what is counted.
    `header` has the keys of the file's header, of a GGUF file."""

    noun: str
    counts: Mapping[str, int]
    header: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name of the counts in JSON."""
        return "operators" if self.noun == _OPERATORS else "tensor_types"


_OPERATORS = "operators"
_Reader = Callable[[memoryview], Counter[str] | None]

_READERS: tuple[tuple[_Reader, str], ...] = (
    (tflite_operators, _OPERATORS),
    (tensor_types, "types of tensors"),
    (openvino_operators, _OPERATORS),
    (pytorch_operators, _OPERATORS),
    (tensorflow_operators, _OPERATORS),
    (onnx_operators, _OPERATORS),
)


def operators_at(path: str, named: NamedGraph, rules: LoadRules) -> ModelOperators | None:
    """The operators of a named graph's model, by the path of its file or directory; None if they can't be read."""
    try:
        encoding = parse_enum(GraphEncoding, named.encoding)
        chosen = choose(path, encoding, named.runtime, rules)
    except NNError:
        return None
    return operators_of(chosen.model) if isinstance(chosen.model, Path) else None


def operators_of(path: Path) -> ModelOperators | None:
    """The operators of the model in a file; None if they can't be read, such as those of a model on another server."""
    try:
        with mapped_file(path) as content:
            for reader, noun in _READERS:
                counts = _counted(reader, content)
                if counts is not None:
                    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_NAMES]
                    return ModelOperators(noun, dict(ranked), header_texts(content) or {})
    except (OSError, ValueError):  # there is no such file, or it is empty
        pass
    return None


def _counted(reader: _Reader, content: memoryview) -> Counter[str] | None:
    """The counts of a reader; None for a damaged model. The error ends here: its frames hold views of the file, which
    couldn't be unmapped."""
    try:
        return reader(content)
    except (ValueError, NNError, RecursionError):
        return None
