"""The operator's rules for loading models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wasi_nn.backends import Backend, available
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.isolation import Isolation, require_available as require_isolation, unavailable as isolation_unavailable
from wasi_nn.types import ExecutionTarget, GraphEncoding, parse_enum


@dataclass(frozen=True)
class LoadRules:
    """The operator's rules for loading models, for guests and for the operator alike.

    target_fallback    the execution target to use where the one that is asked for isn't there; the log says so. None:
                       such a load is refused
    runtimes           the runtime to use for an encoding that several can run, such as `{"onnx": "openvino"}`; of an
                       encoding that isn't named here, the first installed one
    convert_types      whether tensors of types that wasi-nn lacks are converted
                       (`wasi_nn.graph.conversion`)
    isolate            which models run in worker processes (`wasi_nn.isolation`). True, or an `Isolation`: all. None:
                       untrusted models of the encodings whose runtime is unsafe for them. False: none
    isolation          how models are isolated, unless `isolate` is an `Isolation` itself

    Raises `NNError` with `invalid-argument` for a word that doesn't exist.
    """

    target_fallback: ExecutionTarget | str | None = None
    runtimes: Mapping[GraphEncoding, str] | Mapping[str, str] = field(default_factory=dict)
    convert_types: bool = False
    isolate: bool | Isolation | None = None
    isolation: Isolation = field(default_factory=Isolation)

    def __post_init__(self) -> None:
        if self.isolate:
            require_isolation()
        if self.target_fallback is not None:
            parse_enum(ExecutionTarget, self.target_fallback)
        for encoding, runtime in self.runtimes.items():
            require_runtime(parse_enum(GraphEncoding, encoding), runtime)

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
        return next((name for of, name in self.runtimes.items() if parse_enum(GraphEncoding, of) is encoding), None)


def require_runtime(encoding: GraphEncoding, runtime: str) -> None:
    """Raise `NNError` with `invalid-argument` unless there is such a runtime for an encoding, installed or not."""
    there = [backend.runtime for backend in available() if encoding in (backend.encoding, GraphEncoding.AUTODETECT)]
    if runtime not in there:
        message = f"no runtime for {encoding.value} is named {runtime!r}; there are {', '.join(there) or 'none'}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
