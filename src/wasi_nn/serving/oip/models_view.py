"""What the protocol tells about the server and its models, for both HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import wasi_nn
from wasi_nn.graph.datatypes import BYTES
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.oip.datatypes import UNKNOWN, datatype_of, shape_of
from wasi_nn.serving.models import VERSION, Model, Models, State

if TYPE_CHECKING:
    from wasi_nn.serving.computing.batching import Batching
    from wasi_nn.serving.computing.served_graph import ServedGraph
    from wasi_nn.serving.observing.statistics import ModelStatistics, Times

SERVER_NAME = "wasi-nn"


def server_metadata(*, has_admin: bool) -> dict[str, Any]:
    """The name, version and extensions of the server."""
    extensions = ["binary_tensor_data", "parameters", "model_configuration", "statistics"]
    extensions += ["model_repository"] if has_admin else []
    return {"name": SERVER_NAME, "version": wasi_nn.__version__, "extensions": extensions}


def model_metadata(name: str, graph: Graph) -> dict[str, Any]:
    """The inputs and outputs of a model, and what runs it."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": graph.platform,
        "inputs": _tensors(graph.inputs),
        "outputs": _tensors(graph.outputs),
    }


def _tensors(infos: Sequence[TensorInfo]) -> list[dict[str, Any]]:
    return [{"name": info.name, "datatype": datatype_of(info), "shape": shape_of(info)} for info in infos]


def model_config(name: str, served: ServedGraph) -> dict[str, Any]:
    """The configuration of a model, as far as clients need it. Where requests are joined, the first dim isn't among the
    dims."""
    graph, batching = served.graph, served.batching
    config: dict[str, Any] = {
        "name": name,
        "platform": graph.platform,
        "backend": graph.runtime,
        "max_batch_size": 0 if batching is None else batching.max_rows,
        "input": [_configured(info, batching) | ({"optional": True} if info.optional else {}) for info in graph.inputs],
        "output": [_configured(info, batching) for info in graph.outputs],
    }
    if batching is not None:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": round(1e6 * batching.max_delay)}
    return config


def _configured(info: TensorInfo, batching: Batching | None) -> dict[str, Any]:
    word = datatype_of(info)
    data_type = {BYTES: "STRING", UNKNOWN: "INVALID"}.get(word, word)
    dims = shape_of(info)
    has_rows = batching is not None and info.dims is not None
    return {"name": info.name, "data_type": f"TYPE_{data_type}", "dims": dims[1:] if has_rows else dims}


def statistics(models: Iterable[Model]) -> list[dict[str, Any]]:
    """What models have done since the server began."""
    return [{"name": model.name, "version": VERSION} | _statistics(model.statistics) for model in models]


def _statistics(counted: ModelStatistics) -> dict[str, Any]:
    requests = {
        "success": counted.successes,
        "fail": counted.failures,
        "queue": counted.waits,
        "compute_input": counted.inputs,
        "compute_infer": counted.runs,
        "compute_output": counted.outputs,
    }
    return {
        "last_inference": counted.last,
        "inference_count": counted.inferences,
        "execution_count": counted.executions,
        "inference_stats": {name: _times(times) for name, times in requests.items()},
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _times(batch.inputs),
                "compute_infer": _times(batch.runs),
                "compute_output": _times(batch.outputs),
            }
            for size, batch in sorted(counted.batches.items())
        ],
    }


def _times(times: Times) -> dict[str, int]:
    return {"count": times.count, "ns": times.nanoseconds}


def index(models: Models, *, only_ready: bool) -> list[dict[str, str]]:
    """The models with their states; `reason` says why one isn't ready."""
    return [
        {"name": model.name, "version": VERSION, "state": model.state.value, "reason": model.reason}
        for model in models.all()
        if model.state is State.READY or not only_ready
    ]
