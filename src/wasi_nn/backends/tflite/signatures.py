"""The signatures of a TensorFlow Lite model: names for the inputs and outputs of its subgraphs, and the choice of one.

A converter gives tensors names such as `infer_x:0` and `StatefulPartitionedCall:0`. A signature has the names that the
model's author gave them. This module needs no runtime.

Numbers of fields are those of TensorFlow Lite's schema.fbs (version 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wasi_nn.backends import signature_choice
from wasi_nn.backends.formats.flatbuffers import FlatBuffer, Table
from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.settings import how_to_run_by, how_to_set_option
from wasi_nn.types import GraphEncoding

_MODEL_GRAPHS, _MODEL_SIGNATURES = 2, 7
_GRAPH_TENSORS, _TENSOR_NAME = 0, 3
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _SIGNATURE_KEY, _SIGNATURE_GRAPH = 0, 1, 2, 4
_MAP_NAME, _MAP_TENSOR = 0, 1


@dataclass(frozen=True)
class Signature:
    """A signature: its name, the number of its subgraph (0 is the model's main graph), and the names that it gives to
    tensors, by the tensors' own names."""

    name: str
    graph: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def read_signatures(model: memoryview) -> list[Signature]:
    """The signatures of a model. Raises `ValueError` for a damaged one."""
    root = FlatBuffer(model).root()
    tables = root.tables(_MODEL_SIGNATURES)
    graphs = [graph.tables(_GRAPH_TENSORS) for graph in root.tables(_MODEL_GRAPHS)] if tables else []
    signatures = []
    for table in tables:
        graph = table.number(_SIGNATURE_GRAPH, "I")
        if graph >= len(graphs):
            raise ValueError(f"it has no subgraph {graph}")
        names = [_names(table.tables(field), graphs[graph]) for field in (_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS)]
        if name := table.text(_SIGNATURE_KEY):  # LiteRT runs none without a name
            signatures.append(Signature(name, graph, *names))
    return signatures


def _names(maps: Sequence[Table], tensors: Sequence[Table]) -> dict[str, str]:
    """The names of tensors in a signature by their own names; none at all if two tensors have the same own name."""
    places = {it.text(_MAP_NAME): it.number(_MAP_TENSOR, "I") for it in maps}
    if places and max(places.values()) >= len(tensors):
        raise ValueError(f"it has no tensor {max(places.values())}")
    own_names = {place: tensors[place].text(_TENSOR_NAME) for place in places.values()}
    if len(set(own_names.values())) < len(own_names):
        return {}
    return {own_names[place]: name for name, place in places.items()}


def choose_signature(signatures: Sequence[Signature], wanted: str | None) -> Signature | None:
    """The signature to run: by its name in the options, else the usual one. None for a model without signatures: its
    main graph, by its tensors' own names."""
    by_name = {signature.name: signature for signature in reversed(signatures)}
    if not by_name and wanted is None:
        return None
    return by_name[signature_choice.choose_signature([signature.name for signature in signatures], wanted)]


def require_main(chosen: Signature | None, signatures: Sequence[Signature]) -> None:
    """Raise `NNError` with `unsupported-operation` if the chosen signature isn't one of the main graph, for a runtime
    that runs no other subgraph."""
    if chosen is None or chosen.graph == 0:
        return
    other = how_to_run_by(GraphEncoding.TENSORFLOWLITE.value, "ai_edge_litert", "tflite")
    message = (
        f"openvino runs only the model's main graph, and the signature {chosen.name!r} isn't of that graph: {other}"
    )
    main = next((signature.name for signature in signatures if signature.graph == 0), None)
    if main is not None:
        message += f"; or run the signature {main!r}: {how_to_set_option('signature', main)}"
    raise NNError(ErrorCode.UNSUPPORTED_OPERATION, printable(message))
