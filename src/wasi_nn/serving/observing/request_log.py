"""What is noted about each request: one line of JSON in the log, if the operator wants that, and the metrics."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn.serving.observing.timeline import Timeline

_LONGEST_ID = 128  # characters of an id that a client gives


@dataclass
class FinishedRequest:
    """The facts about a request. Seconds by the clock; `computed` is None for a request without a compute.

    is_work                   whether it is a request to a model, and not one about models or the server
    began                     on the clock of `time.monotonic`
    headers                   headers and metadata that observers look at: `traceparent` and so on
    method, path, route       over HTTP, the method, the path and its pattern; `route` is gRPC's full name of the call
    trace_id                  of the distributed trace that it belongs to, or empty
    timeline                  its stages, if somebody wants to see them
    trace_file                the name of the file with its trace, if the client asked for one
    """

    id: str
    protocol: str
    call: str
    model: str = ""
    outcome: str = "ok"
    status: int | str = 200
    error: str = ""
    seconds: float = 0.0
    waited: float = 0.0
    computed: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    trace_id: str = ""
    trace_file: str = ""
    has_read_body: bool = False
    is_work: bool = False
    began: float = 0.0
    method: str = ""
    path: str = ""
    route: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeline: Timeline | None = field(default=None, repr=False)


_LOGGED = (
    *("id", "protocol", "call", "model", "outcome", "status", "error", "seconds", "waited", "computed"),
    *("bytes_in", "bytes_out"),
)
_LOGGED_IF_THERE = ("trace_id", "trace_file")


class RequestLog:
    """Writes a line of JSON for each request to a stream, stderr by default, if it is on."""

    def __init__(self, *, is_on: bool, stream: IO[str] | None = None) -> None:
        self._is_on = is_on
        self._stream = stream

    def write(self, request: FinishedRequest) -> None:
        """Write the line of a request."""
        if not self._is_on:
            return
        line: dict[str, Any] = {"time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")}
        line |= {name: getattr(request, name) for name in _LOGGED}
        line |= {name: value for name in _LOGGED_IF_THERE if (value := getattr(request, name))}
        for name in ("seconds", "waited", "computed"):
            if line[name] is not None:
                line[name] = round(line[name], 6)
        print(json.dumps(line), file=self._stream or sys.stderr, flush=True)


def request_id(given: str | None) -> str:
    """The id of a request: the client's, if it is short and printable, else a new one."""
    if given and len(given) <= _LONGEST_ID and given.isascii() and given.isprintable():
        return given
    return secrets.token_hex(8)
