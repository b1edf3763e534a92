"""What is noted about each request: one line of JSON in the log, if the operator wants that, and the metrics."""

from __future__ import annotations

import json
import secrets
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import IO

_LONGEST_ID = 128  # characters of an id that a client gives


@dataclass
class FinishedRequest:
    """The facts about a request. Seconds by the clock; `computed` is None for a request without a compute."""

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
    has_read_body: bool = field(default=False, repr=False)


class RequestLog:
    """Writes a line of JSON for each request to a stream, stderr by default, if it is on."""

    def __init__(self, *, is_on: bool, stream: IO[str] | None = None) -> None:
        self._is_on = is_on
        self._stream = stream

    def write(self, request: FinishedRequest) -> None:
        """Write the line of a request."""
        if not self._is_on:
            return
        line = {"time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")} | asdict(request)
        del line["has_read_body"]
        for name in ("seconds", "waited", "computed"):
            if line[name] is not None:
                line[name] = round(line[name], 6)
        print(json.dumps(line), file=self._stream or sys.stderr, flush=True)


def request_id(given: str | None) -> str:
    """The id of a request: the client's, if it is short and printable, else a new one."""
    if given and len(given) <= _LONGEST_ID and given.isascii() and given.isprintable():
        return given
    return secrets.token_hex(8)
