"""Puts the image that a guest names by path (WasmEdge's option `image`) into the options of a graph that takes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wasi_nn.errors import NNError
from wasi_nn.graph.fitting import byte_view, find
from wasi_nn.graph.named_tensors import input_pairs
from wasi_nn.graph.python_tensors import as_declared

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.backends.ggml.image_option import FileReader
    from wasi_nn.graph.graph import Graph

_OPTIONS = 1  # the index of the options among a graph's inputs
_IMAGE = "image"


def _takes_image(graph: Graph) -> bool:
    infos = graph.inputs
    return len(infos) > _OPTIONS and infos[_OPTIONS].opaque and _IMAGE in (infos[_OPTIONS].keys or ())


def _with_image(options: memoryview, read: FileReader) -> memoryview:
    from wasi_nn.backends.ggml.image_option import with_image  # which the command doesn't import for other guests

    return with_image(options, read)


def configuration_with_image(graph: Graph, configuration: memoryview, read: FileReader | None) -> memoryview:
    """A guest's configuration of a graph with the image that it names; the same one if it names none, or nothing reads
    files for the guest. Raises as the reader does."""
    return configuration if read is None or not _takes_image(graph) else _with_image(configuration, read)


def bytes_with_image(graph: Graph, index: int, data: memoryview, read: FileReader | None) -> memoryview:
    """The bytes of an input, with the image that they name if they are a graph's options; else the same object. Raises
    as the reader does."""
    if read is None or index != _OPTIONS or not isinstance(data, memoryview) or not _takes_image(graph):
        return data
    return _with_image(data, read)


def input_with_image(graph: Graph, key: int | str, tensor: ArrayLike, read: FileReader | None) -> ArrayLike:
    """An input, by index or by name, as `bytes_with_image` gives its bytes."""
    if read is None or not _takes_image(graph):
        return tensor
    try:
        if find(graph.inputs, key, "input") != _OPTIONS:
            return tensor
        options = byte_view(as_declared(graph.inputs[_OPTIONS], tensor))
    except NNError:  # the graph reports what doesn't fit
        return tensor
    given = _with_image(options, read)
    return tensor if given is options else given


def inputs_with_image(
    graph: Graph, inputs: Iterable[tuple[str, ArrayLike]], read: FileReader | None
) -> Iterable[tuple[str, ArrayLike]]:
    """The inputs of a named compute, with the image that its options name. Raises as the reader does."""
    if read is None or not _takes_image(graph):
        return inputs
    return [(name, input_with_image(graph, name, tensor, read)) for name, tensor in input_pairs(graph, inputs)]
