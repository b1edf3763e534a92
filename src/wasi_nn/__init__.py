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
    from wasi_nn.abi.component.bridge_functions import add_to_component_linker as add_to_component_linker
    from wasi_nn.abi.component.compose import wrap_component as wrap_component
    from wasi_nn.abi.core.dialects import Dialect as Dialect
    from wasi_nn.abi.core.dialects import add_to_linker as add_to_linker
    from wasi_nn.backends import Backend as Backend
    from wasi_nn.errors import ContextFull as ContextFull
    from wasi_nn.errors import EndOfSequence as EndOfSequence
    from wasi_nn.errors import ErrorCode as ErrorCode
    from wasi_nn.errors import GuestError as GuestError
    from wasi_nn.errors import GuestStopped as GuestStopped
    from wasi_nn.errors import GuestTrap as GuestTrap
    from wasi_nn.errors import ModelNotFound as ModelNotFound
    from wasi_nn.errors import NNError as NNError
    from wasi_nn.errors import PromptTooLong as PromptTooLong
    from wasi_nn.errors import TargetUnavailable as TargetUnavailable
    from wasi_nn.errors import WasiNNError as WasiNNError
    from wasi_nn.graph.graph import ExecutionContext as ExecutionContext
    from wasi_nn.graph.graph import Graph as Graph
    from wasi_nn.graph.runner import ABSENT as ABSENT
    from wasi_nn.graph.runner import EndedEarly as EndedEarly
    from wasi_nn.graph.runner import NamedOutputs as NamedOutputs
    from wasi_nn.graph.runner import Runner as Runner
    from wasi_nn.graph.tensor_info import TensorInfo as TensorInfo
    from wasi_nn.guests.directories import Directory as Directory
    from wasi_nn.guests.runs import Run as Run
    from wasi_nn.guests.runs import RunResult as RunResult
    from wasi_nn.host import Host as Host
    from wasi_nn.isolation import Isolation as Isolation
    from wasi_nn.limits.limits import HostLimits as HostLimits
    from wasi_nn.limits.limits import Limits as Limits
    from wasi_nn.loading.load import load as load
    from wasi_nn.loading.registry import GraphSource as GraphSource
    from wasi_nn.loading.registry import NamedGraph as NamedGraph
    from wasi_nn.loading.registry import Registry as Registry
    from wasi_nn.loading.rules import LoadRules as LoadRules
    from wasi_nn.session.session import Session as Session
    from wasi_nn.tracing.recording import RecordingSession as RecordingSession
    from wasi_nn.tracing.replay import Difference as Difference
    from wasi_nn.tracing.replay import Replayed as Replayed
    from wasi_nn.tracing.replay import replay as replay
    from wasi_nn.types import ExecutionTarget as ExecutionTarget
    from wasi_nn.types import GraphEncoding as GraphEncoding
    from wasi_nn.types import TensorType as TensorType

__version__ = "0.1.0"

_EXPORTS = {
    "abi.component.bridge_functions": ("add_to_component_linker",),
    "abi.component.compose": ("wrap_component",),
    "abi.core.dialects": (
        "Dialect",
        "add_to_linker",
    ),
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
    "graph.graph": (
        "ExecutionContext",
        "Graph",
    ),
    "graph.runner": (
        "ABSENT",
        "EndedEarly",
        "NamedOutputs",
        "Runner",
    ),
    "graph.tensor_info": ("TensorInfo",),
    "guests.directories": ("Directory",),
    "guests.runs": (
        "Run",
        "RunResult",
    ),
    "host": ("Host",),
    "isolation": ("Isolation",),
    "limits.limits": (
        "HostLimits",
        "Limits",
    ),
    "loading.load": ("load",),
    "loading.registry": (
        "GraphSource",
        "NamedGraph",
        "Registry",
    ),
    "loading.rules": ("LoadRules",),
    "session.session": ("Session",),
    "tracing.recording": ("RecordingSession",),
    "tracing.replay": (
        "Difference",
        "Replayed",
        "replay",
    ),
    "types": (
        "ExecutionTarget",
        "GraphEncoding",
        "TensorType",
    ),
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
