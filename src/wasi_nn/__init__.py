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

Importing this package imports neither an ML runtime nor the engine; each comes when it is first needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn.abi.component.bridge_functions import add_to_component_linker
    from wasi_nn.abi.component.compose import wrap_component
    from wasi_nn.abi.core.dialects import Dialect, add_to_linker
    from wasi_nn.backends import Backend, LoadRules, load
    from wasi_nn.graph.graph import ExecutionContext, Graph
    from wasi_nn.graph.runner import ABSENT, EndedEarly, NamedOutputs, Runner
    from wasi_nn.guests.directories import Directory
    from wasi_nn.guests.runs import Run, RunResult
    from wasi_nn.host import Host
    from wasi_nn.isolation import Isolation
    from wasi_nn.limits.limits import HostLimits, Limits
    from wasi_nn.loading.registry import GraphSource, NamedGraph, Registry
    from wasi_nn.session.session import Session
    from wasi_nn.tracing.recording import RecordingSession
    from wasi_nn.tracing.replay import Difference, Replayed, replay
    from wasi_nn.types import (
        ContextFull,
        EndOfSequence,
        ErrorCode,
        ExecutionTarget,
        GraphEncoding,
        GuestError,
        GuestStopped,
        GuestTrap,
        ModelNotFound,
        NNError,
        PromptTooLong,
        TargetUnavailable,
        TensorInfo,
        TensorType,
        WasiNNError,
    )

__version__ = "0.1.0"

__all__ = [
    "ABSENT",
    "Backend",
    "ContextFull",
    "Dialect",
    "Difference",
    "Directory",
    "EndOfSequence",
    "EndedEarly",
    "ErrorCode",
    "ExecutionContext",
    "ExecutionTarget",
    "Graph",
    "GraphEncoding",
    "GraphSource",
    "GuestError",
    "GuestStopped",
    "GuestTrap",
    "Host",
    "HostLimits",
    "Isolation",
    "Limits",
    "LoadRules",
    "ModelNotFound",
    "NNError",
    "NamedGraph",
    "NamedOutputs",
    "PromptTooLong",
    "RecordingSession",
    "Registry",
    "Replayed",
    "Run",
    "RunResult",
    "Runner",
    "Session",
    "TargetUnavailable",
    "TensorInfo",
    "TensorType",
    "WasiNNError",
    "add_to_component_linker",
    "add_to_linker",
    "load",
    "replay",
    "wrap_component",
]

_EXPORTS = {
    "abi.component.bridge_functions": ("add_to_component_linker",),
    "abi.component.compose": ("wrap_component",),
    "abi.core.dialects": ("Dialect", "add_to_linker"),
    "backends": ("Backend", "LoadRules", "load"),
    "graph.graph": ("ExecutionContext", "Graph"),
    "graph.runner": ("ABSENT", "EndedEarly", "NamedOutputs", "Runner"),
    "guests.directories": ("Directory",),
    "guests.runs": ("Run", "RunResult"),
    "host": ("Host",),
    "isolation": ("Isolation",),
    "limits.limits": ("HostLimits", "Limits"),
    "loading.registry": ("GraphSource", "NamedGraph", "Registry"),
    "session.session": ("Session",),
    "tracing.recording": ("RecordingSession",),
    "tracing.replay": ("Difference", "Replayed", "replay"),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF.get(name, 'types')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
