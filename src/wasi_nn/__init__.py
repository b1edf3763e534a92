"""wasi-nn for Python: run WebAssembly guests that do machine-learning inference, or the same graphs without
WebAssembly.

    graph = wasi_nn.load("model.onnx")                    # no WebAssembly, no guest
    outputs = graph.compute({"input": array})

    host = wasi_nn.Host({"mobilenet": "model.onnx"})      # guests find the graph by its name
    host.run("guest.wasm", ["photo.ppm"], dirs={"/": "photos"})

    session = wasi_nn.Session({"mobilenet": "model.onnx"})
    wasi_nn.add_to_linker(linker, session)                # your own wasmtime.Linker and Store

    component = Component(engine, wasi_nn.wrap_component(wasm))
    wasi_nn.add_to_component_linker(linker, session)      # your own wasmtime.component.Linker and Store

Importing this package imports neither an ML runtime nor the WebAssembly engine; each is imported on first use.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as that of `typing`, without the time that its import takes
if TYPE_CHECKING:
    from typing import Any

    from wasi_nn.abi.component.compose import wrap_component as wrap_component
    from wasi_nn.abi.component.linking import add_to_component_linker as add_to_component_linker
    from wasi_nn.abi.core.dialects import Dialect as Dialect, add_to_linker as add_to_linker
    from wasi_nn.backends import Backend as Backend
    from wasi_nn.errors import (
        ContextFull as ContextFull,
        EndOfSequence as EndOfSequence,
        ErrorCode as ErrorCode,
        GuestError as GuestError,
        GuestStopped as GuestStopped,
        GuestTrap as GuestTrap,
        ModelNotFound as ModelNotFound,
        NNError as NNError,
        PromptTooLong as PromptTooLong,
        TargetUnavailable as TargetUnavailable,
        WasiNNError as WasiNNError,
    )
    from wasi_nn.graph.execution_context import ExecutionContext as ExecutionContext
    from wasi_nn.graph.graph import Graph as Graph
    from wasi_nn.graph.outputs import EndedEarly as EndedEarly, NamedOutputs as NamedOutputs, Outputs as Outputs
    from wasi_nn.graph.runner import ABSENT as ABSENT, Runner as Runner
    from wasi_nn.graph.tensor_info import TensorInfo as TensorInfo
    from wasi_nn.guests.directories import Directory as Directory
    from wasi_nn.guests.run_stats import RunStats as RunStats
    from wasi_nn.guests.runs import Run as Run, RunResult as RunResult
    from wasi_nn.host import Host as Host
    from wasi_nn.isolation import Isolation as Isolation
    from wasi_nn.limits.limits import HostLimits as HostLimits, Limits as Limits
    from wasi_nn.loading.load import load as load
    from wasi_nn.loading.named_graph import NamedGraph as NamedGraph
    from wasi_nn.loading.registry import GraphSource as GraphSource, Registry as Registry
    from wasi_nn.loading.rules import LoadRules as LoadRules
    from wasi_nn.mapping.guest_map import map_guests as map_guests
    from wasi_nn.mapping.items import MapItem as MapItem
    from wasi_nn.mapping.results import MapResult as MapResult
    from wasi_nn.session.guest_requests import Fault as Fault, GuestRequest as GuestRequest
    from wasi_nn.session.session import Session as Session
    from wasi_nn.tracing.recording import RecordingSession as RecordingSession
    from wasi_nn.tracing.replay import Difference as Difference, Replayed as Replayed, replay as replay
    from wasi_nn.types import (
        ExecutionTarget as ExecutionTarget,
        GraphEncoding as GraphEncoding,
        TensorType as TensorType,
    )

__version__ = "0.1.0"

_EXPORTS = {
    "abi.component.linking": ("add_to_component_linker",),
    "abi.component.compose": ("wrap_component",),
    "abi.core.dialects": ("Dialect", "add_to_linker"),
    "backends": ("Backend",),
    "errors": (
        "ContextFull",
        "EndOfSequence",
        "ErrorCode",
        "GuestError",
        "GuestStopped",
        "GuestTrap",
        "ModelNotFound",
        "NNError",
        "PromptTooLong",
        "TargetUnavailable",
        "WasiNNError",
    ),
    "graph.execution_context": ("ExecutionContext",),
    "graph.graph": ("Graph",),
    "graph.outputs": ("EndedEarly", "NamedOutputs", "Outputs"),
    "graph.runner": ("ABSENT", "Runner"),
    "graph.tensor_info": ("TensorInfo",),
    "guests.directories": ("Directory",),
    "guests.run_stats": ("RunStats",),
    "guests.runs": ("Run", "RunResult"),
    "host": ("Host",),
    "isolation": ("Isolation",),
    "limits.limits": ("HostLimits", "Limits"),
    "loading.load": ("load",),
    "loading.named_graph": ("NamedGraph",),
    "loading.registry": ("GraphSource", "Registry"),
    "loading.rules": ("LoadRules",),
    "session.guest_requests": ("Fault", "GuestRequest"),
    "mapping.guest_map": ("map_guests",),
    "mapping.items": ("MapItem",),
    "mapping.results": ("MapResult",),
    "session.session": ("Session",),
    "tracing.recording": ("RecordingSession",),
    "tracing.replay": ("Difference", "Replayed", "replay"),
    "types": ("ExecutionTarget", "GraphEncoding", "TensorType"),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
