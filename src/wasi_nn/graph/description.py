"""Descriptions: what a graph is, and what inputs and outputs it has, as guests may see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasi_nn.types import GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.graph.tensor_info import TensorInfo


@dataclass(frozen=True)
class GraphDescription:
    """What a graph is. `outputs` is None if the model doesn't declare its outputs."""

    encoding: GraphEncoding
    runtime: str
    device: str
    signature: str
    signatures: tuple[str, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...] | None
    metadata: Mapping[str, str]


def described(graph: Graph, *, metadata: bool = True) -> GraphDescription:
    """The description of a graph, with the model's metadata or without."""
    return GraphDescription(
        graph.encoding,
        graph.runtime,
        graph.device,
        graph.signature,
        graph.signatures,
        graph.inputs,
        None if graph.outputs_vary else graph.outputs,
        graph.metadata if metadata else {},
    )
