"""The settings of a server: how much it does at once, how long a request may take, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass, field

from wasi_nn.limits.limits import require_positive
from wasi_nn.process.processors import processors
from wasi_nn.settings import how_to_set

_LONGEST = 10.0**9  # seconds: more is no time that a clock of the event loop takes


@dataclass(frozen=True)
class ServingLimits:
    """The limits of a server.

    computes      computes at the same time, each on a thread; by default one for each processor
    queue         requests of one model that wait for their turn; a further one is refused
    total_queue   requests of all models that wait for their turn
    request_time  seconds for a request, from its arrival to its outputs; a client may ask for less
    body_time     seconds in which a client has to send a request's body
    header_time   seconds in which a client has to send a request's headers
    idle_time     seconds for which a connection is kept without a request
    drain_time    seconds for which the requests that are under way go on after the server was asked to end
    body_bytes    bytes of a request: of its body before and after decompression, or of a message of gRPC
    json_bytes    bytes of the JSON in a request
    total_bytes   bytes of all requests that are under way
    header_bytes  bytes of a request's headers
    guests        requests that guests answer at the same time, each in a sandbox on a thread
    tensors       inputs, and outputs that are asked for, of a request
    connections   connections at the same time
    traces        files with traces of single requests; the oldest ones are removed

    Raises `NNError` with `invalid-argument` for a value that isn't positive.
    """

    computes: int = field(default_factory=processors)
    queue: int = 64
    total_queue: int = 256
    request_time: float = 60.0
    body_time: float = 30.0
    header_time: float = 10.0
    idle_time: float = 60.0
    drain_time: float = 30.0
    body_bytes: int = 64 * 2**20
    json_bytes: int = 8 * 2**20
    total_bytes: int = 2**30
    header_bytes: int = 64 * 2**10
    guests: int = 64
    tensors: int = 256
    connections: int = 1024
    traces: int = 100

    def __post_init__(self) -> None:
        require_positive(self, _LONGEST)


def how_to_raise(name: str) -> str:
    """A limit's field and flag, for an error message: they are what an operator changes to raise the limit."""
    return how_to_set(f"ServingLimits.{name}", f"--max-{name.replace('_', '-')}")
