"""What the protocol tells about the server and its models, for both HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import wasi_nn
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.oip.datatypes import datatype_of, shape_of
from wasi_nn.serving.models import VERSION, Models, State

SERVER_NAME = "wasi-nn"


def server_metadata(*, has_admin: bool) -> dict[str, Any]:
    """The name, version and extensions of the server."""
    extensions = ["binary_tensor_data", "parameters"] + (["model_repository"] if has_admin else [])
    return {"name": SERVER_NAME, "version": wasi_nn.__version__, "extensions": extensions}


def model_metadata(name: str, graph: Graph) -> dict[str, Any]:
    """The inputs and outputs of a model, and what runs it."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": f"{graph.runtime}_{graph.encoding.value}",
        "inputs": _tensors(graph.inputs),
        "outputs": _tensors(graph.outputs),
    }


def _tensors(infos: Sequence[TensorInfo]) -> list[dict[str, Any]]:
    return [{"name": info.name, "datatype": datatype_of(info), "shape": shape_of(info)} for info in infos]


def index(models: Models, *, only_ready: bool) -> list[dict[str, str]]:
    """The models with their states; `reason` says why one isn't ready."""
    return [
        {"name": model.name, "version": VERSION, "state": model.state.value, "reason": model.reason}
        for model in models.all()
        if model.state is State.READY or not only_ready
    ]
