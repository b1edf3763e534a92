"""Files with the stages of single requests, for clients who ask for one."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.errors import ErrorCode, NNError, one_line, printable, shortened
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.observing.guest_stages import OUTGOING_ROW, ROW as GUEST_ROW
from wasi_nn.serving.observing.timeline import Stage, Timeline, follow
from wasi_nn.serving.observing.trace_rows import in_rows
from wasi_nn.tracing.trace_writer import Trace

if TYPE_CHECKING:
    from wasi_nn.serving.observing.request_log import FinishedRequest

logger = logging.getLogger("wasi_nn.serving")

ASKED_BY = "x-trace"
"""The header by which a client asks for a trace; the metadata of gRPC has the same name."""
TOLD_BY = "x-trace-file"
"""The header of the answer that names the file."""

_OUR_FILES = re.compile(r"request-\d{8}T\d{6}-[0-9a-f]{16}\.json")
_ROW, _CATEGORY = 1, "wasi-nn request"
_GUEST_ROWS = {GUEST_ROW: "the guest's nn calls", OUTGOING_ROW: "the guest's requests"}
_ABOUT = ("id", "protocol", "outcome", "status", "bytes_in", "bytes_out")
_LONGEST_ERROR = 1000  # characters


class RequestTraces:
    """Writes traces into a directory, of which it keeps the latest `most`. The names of the files are the server's own.

    Without a directory, requests that ask for a trace are refused. Raises `NNError` with `invalid-argument` for a
    directory that can't be read.
    """

    def __init__(self, directory: Path | None, most: int) -> None:
        self._directory = directory
        self._most = most
        self._files: deque[str] = deque()
        if directory is not None:
            try:
                self._files.extend(sorted(name for name in os.listdir(directory) if _OUR_FILES.fullmatch(name)))
            except OSError as error:
                message = f"no traces can be written to {directory}: {one_line(error)}"
                raise NNError(ErrorCode.INVALID_ARGUMENT, printable(message)) from error

    def begin(self, request: FinishedRequest) -> None:
        """Begin the trace of a request that asks for one. Raises `ServingError` with `forbidden` if there are none."""
        if request.headers.get(ASKED_BY, "0") in ("", "0"):
            return
        if self._directory is None:
            raise ServingError(Reason.FORBIDDEN, "traces of requests are off: wasi-nn serve --trace-dir DIR")
        request.trace_file = f"request-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(8)}.json"
        if request.timeline is None:
            request.timeline = Timeline()
            follow(request.timeline)
        request.timeline.has_details = True

    def begun(self, request: FinishedRequest) -> None:
        """Nothing: whether a request may have a trace is checked later."""

    def ended(self, request: FinishedRequest) -> None:
        """Write the trace of a request that has one. What goes wrong is logged."""
        if not request.trace_file or request.timeline is None or self._directory is None:
            return
        self._files.append(request.trace_file)
        while len(self._files) > self._most:
            with suppress(OSError):  # somebody else has removed it
                os.unlink(self._directory / self._files.popleft())
        try:
            _write(self._directory / request.trace_file, request, request.timeline)
        except NNError as error:
            logger.error("request %s has no trace: %s", request.id, error.message)
            with suppress(OSError):  # a file that was begun, as on a full disk
                os.unlink(_unfinished(self._directory / request.trace_file))


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def _write(path: Path, request: FinishedRequest, timeline: Timeline) -> None:
    unfinished = _unfinished(path)
    first = shortened(request.model) or "server"
    trace = Trace(unfinished, title=f"request {request.id}", first_row=first, zero=timeline.began)
    about: dict[str, Any] = {name: getattr(request, name) for name in _ABOUT}
    about["model"] = shortened(request.model)
    about |= {"trace_id": request.trace_id} if request.trace_id else {}
    about |= timeline.about
    own = [stage for stage in timeline.stages if stage.row == _ROW]
    ended = max([timeline.began + round(1e9 * request.seconds), *(stage.ended for stage in own)])
    whole = Stage(request.call, timeline.began, ended, about, request.error, row=_ROW)
    has_failed_stage = any(_reason(stage) is not None for stage in own)
    threads: dict[tuple[int, int], int] = {(_ROW, 0): _ROW}  # the numbers of the lines of rows
    for stage, line in in_rows([whole, *timeline.stages]):
        thread = threads.get((stage.row, line))
        if thread is None:
            thread = threads[stage.row, line] = len(threads) + _ROW
            trace.name_row(thread, _GUEST_ROWS.get(stage.row, first))
        facts = {**stage.about, **({"error": stage.error[:_LONGEST_ERROR]} if stage.error else {})}
        trace.write(stage.name, thread, facts, stage.began, stage.ended, _CATEGORY)
        reason = _reason(stage)
        if reason is not None and not (stage is whole and has_failed_stage):
            trace.mark_failure(reason, thread, stage.began, stage.ended)
    trace.close()
    try:
        os.replace(unfinished, path)
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"no trace can be written to {path}: {one_line(error)}") from error


def _reason(stage: Stage) -> str | None:
    """The reason of a stage's failure: the code of a guest's call, or nothing more than that it failed. None: it hasn't
    failed."""
    failed = stage.about.get("error")
    if isinstance(failed, Mapping):
        return str(failed["code"])
    return "" if stage.error else None
