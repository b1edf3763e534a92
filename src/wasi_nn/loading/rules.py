"""The operator's rules for loading models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wasi_nn.arguments import as_flag, as_mapping, require_kind, shown
from wasi_nn.backends import Backend, RemoteModel, available, remote
from wasi_nn.errors import ErrorCode, NNError, nearest
from wasi_nn.isolation import Isolation, require_available as require_isolation, unavailable as isolation_unavailable
from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum

_DEFAULT_ISOLATION = Isolation()


@dataclass(frozen=True)
class LoadRules:
    """The operator's rules for loading models, for guests and for the operator alike.

    target_fallback    the execution target to use if the requested one is unavailable; the log says so. None: the
                       load is refused
    runtimes           the runtime for each encoding that several runtimes can run, such as `{"onnx": "openvino"}`; for
                       any other encoding, the first installed one
    convert_types      whether tensors of types that wasi-nn lacks are converted (`wasi_nn.graph.conversion`)
    isolate            which models run in worker processes (`wasi_nn.isolation`). True, or an `Isolation`: all. None:
                       untrusted models of the encodings whose runtime is unsafe for them. False: none
    isolation          how models are isolated, unless `isolate` is an `Isolation` itself

    Raises `NNError` with `invalid-argument` for a word that doesn't exist.
    """

    target_fallback: ExecutionTarget | str | None = None
    runtimes: Mapping[GraphEncoding, str] | Mapping[str, str] = field(default_factory=dict)
    convert_types: bool = False
    isolate: bool | Isolation | None = None
    isolation: Isolation = _DEFAULT_ISOLATION

    def __post_init__(self) -> None:
        as_isolation(self.isolate)
        if self.isolate:
            require_isolation()
        if self.target_fallback is not None:
            parse_enum(ExecutionTarget, self.target_fallback, "target_fallback")
        object.__setattr__(self, "convert_types", as_flag("convert_types", self.convert_types))
        runtimes = as_mapping("runtimes", self.runtimes, "a mapping of encodings to runtimes, as {'onnx': 'openvino'}")
        named = {key: known_runtime(parse_enum(GraphEncoding, key, "runtimes"), runtimes[key]) for key in runtimes}
        object.__setattr__(self, "runtimes", named)

    def isolation_of(self, backend: Backend, *, untrusted: bool) -> Isolation | None:
        """The isolation of a model of this backend, `untrusted` or not; None for a model that runs in-process."""
        if isinstance(self.isolate, Isolation):
            return self.isolate
        alone = untrusted and not backend.withstands_hostile_bytes and backend.safe_in_isolation
        return self.isolation if self.isolate or (self.isolate is None and alone) else None

    def let_guests_load(self, backend: Backend) -> bool:
        """Whether guests may load models of this backend from bytes by default: its runtime is safe for untrusted
        models, by itself or in isolation."""
        if backend.withstands_hostile_bytes:
            return True
        safe = backend.safe_in_isolation and self.isolate is not False
        return safe and not isolation_unavailable()

    def runtime_for(self, encoding: GraphEncoding) -> str | None:
        """The runtime to use for an encoding; None: any."""
        return next((name for key, name in self.runtimes.items() if parse_enum(GraphEncoding, key) is encoding), None)


def known_runtime(encoding: GraphEncoding, name: Any, model: RemoteModel | None = None) -> str:
    """The name of an encoding's runtime, installed or not: its Python module. For a `model` on other servers, it is the
    name of a runtime of such models.

    `name` is that name, the runtime's extra of this package (`onnx` for `onnxruntime`), or the name of an encoding for
    the runtime that is preferred for it. Raises `NNError` with `invalid-argument` for any other.
    """
    there = available() if model is None else remote()
    fitting = [it for it in there if encoding in (it.encoding, GraphEncoding.AUTODETECT)]
    names = list(dict.fromkeys(backend.runtime for backend in fitting))
    if name in names:
        return str(name)
    if isinstance(name, str) and name:
        others = [it for it in fitting if it.extra == name] or [it for it in fitting if it.encoding.value == name]
        if others:
            return others[0].runtime
    kind = "" if encoding is GraphEncoding.AUTODETECT else f" for {encoding.value}"
    message = f"no runtime{kind} is named {shown(name)}; there are {', '.join(names) or 'none'}"
    message += nearest(name, names) if isinstance(name, str) else ""
    raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def as_rules(rules: Any) -> LoadRules:
    """The rules for loading models. None: `LoadRules()`."""
    return LoadRules() if rules is None else require_kind("rules", rules, LoadRules, "wasi_nn.LoadRules(...)")


def as_isolation(isolate: Any) -> None:
    """Require a setting for isolation, or None."""
    if isolate is not None and not isinstance(isolate, bool):
        require_kind("isolate", isolate, Isolation, "True, False or wasi_nn.Isolation(...)")
