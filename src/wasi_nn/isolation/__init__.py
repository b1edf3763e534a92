"""Isolation: graphs in worker processes that can do nothing but compute.

A *worker* loads one model and runs it. The worker sees no file but the model's and its libraries', has no network, and
has a bounded amount of memory (`wasi_nn.isolation.worker.sandbox`). The host sees a `Graph` like any other, whose
tensors lie in memory that both processes share. A worker that crashes, runs out of memory or doesn't answer costs the
caller an error; a new worker loads the model again when the graph is next used.

Isolated graphs run on the CPU. A worker imports this package before it is confined, so nothing here may import numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

_LONGEST = 1e9  # seconds: about what the system can wait


@dataclass(frozen=True)
class Isolation:
    """How graphs are isolated.

    `memory`: the bytes that a worker may have of its own, and again as many in its scratch folder; neither the model's
    file nor the tensors that it is given count. `threads`: those that a worker may have. `load_time`: the seconds that
    a model may take to be loaded, or to do anything else but compute. `grace`: the seconds that a worker has to stop
    computing when it is told to, before it is killed. `spare`: whether a second worker, which has imported its runtime
    and holds no model, stands by to take the place of one that fails; it takes the memory of an imported runtime.
    Raises `NNError` with `invalid-argument` for a number that isn't positive.
    """

    memory: int = 4 * 2**30
    threads: int = 1024
    load_time: float = 300.0
    grace: float = 1.0
    spare: bool = False

    def __post_init__(self) -> None:
        from wasi_nn.arguments import as_flag
        from wasi_nn.limits.limits import require_positive

        object.__setattr__(self, "spare", as_flag("Isolation.spare", self.spare))
        require_positive(self, longest=_LONGEST)


def how_to_raise(name: str) -> str:
    """A field of `Isolation` and its flag, for an error message."""
    from wasi_nn.settings import how_to_set

    return how_to_set(f"Isolation.{name}", f"--worker-{name.replace('_', '-')}")


def unavailable() -> str:
    """Why graphs can't be isolated on this platform; empty if they can."""
    from wasi_nn.isolation.worker import sandbox

    return sandbox.unavailable()


def require_available() -> None:
    """Raise `NNError` with `unsupported-operation` if graphs can't be isolated on this platform."""
    from wasi_nn.errors import ErrorCode, NNError

    reason = unavailable()
    if reason:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"graphs can't be isolated here: {reason}")
