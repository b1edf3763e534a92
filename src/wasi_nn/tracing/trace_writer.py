"""Writes trace files: `Trace` records the calls of a guest, or of several runs of guests, also at once.

`wasi_nn.tracing.trace_file` describes the format. If a file can't be written any more, for example on a full disk, the
trace ends there, the log says so, and the guest goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import threading
from contextlib import suppress
from time import perf_counter_ns
from typing import Any, Self

from wasi_nn.arguments import as_flag, as_path, as_text
from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.tracing.call_recorder import (
    CATEGORY,
    FAILURE,
    GRAPHS_ROW,
    GUEST_ROW,
    OWN_TIME,
    PHASE,
    REFUSED,
    CallRecorder,
    Described,
)
from wasi_nn.tracing.trace_file import CLOSING, FORMAT, OPENING, Path, data_path

logger = logging.getLogger("wasi_nn")

_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MAX_DIGESTS = 100_000  # of stored contents, some 20 MB: a content with a kept digest isn't stored again
_FIRST_RUN = 1
_FAILED = "FAILED"  # the name of a mark
_OF_FAILURES = "terrible"  # the colour of failed calls in chrome://tracing


class RunTrace(CallRecorder):
    """Writes the calls of one run to the files of a trace."""

    def __init__(self, files: _TraceFiles, run: int) -> None:
        super().__init__()
        self._files = files
        self._run = run
        self._described_at: int | None = None  # when the first content of a call was described
        self._own_since: int | None = None  # when the guest's own code went on; None outside of a run
        self._has_guest_row = False
        self._has_ended = False

    @property
    def data(self) -> bool:
        """Whether the contents of models, inputs and outputs are stored."""
        return self._files.data

    def close(self) -> None:
        """End the trace. Has no effect on a trace that has ended."""
        if not self._has_ended:
            self._has_ended = True
            self._files.close()

    def name_row(self, row: int, name: str) -> None:
        """Name a row of the timeline."""
        self._files.add(self._about_row("thread_name", row, {"name": printable(name)}))

    def _about_row(self, name: str, row: int, about: Described) -> Described:
        return {"name": name, "ph": "M", "pid": self._run, "tid": self._thread(row), "args": about}

    def _thread(self, row: int) -> int:
        """The number of a row's thread. That of the guest's row is the number of the process: so viewers know it as the
        main thread, and show it first. The other rows follow in the order of their numbers."""
        return self._run + row

    def content(self, content: memoryview) -> dict[str, Any]:
        """The description of some bytes: their number and, if the trace has data, the place where they are stored."""
        if self._described_at is None:
            self._described_at = perf_counter_ns()
        return super().content(content) | self._files.stored(content)

    def write(self, name: str, row: int, arguments: Described, began: int, ended: int, category: str) -> None:
        event = self._event(name, row, began, ended, category, arguments)
        events: list[Described | bytes] = [event]
        if category in (CATEGORY, REFUSED) and "error" in arguments:
            event["cname"] = _OF_FAILURES
            events.append(self._mark(arguments["error"]["code"], row, began, ended))
        if self._own_since is not None:
            entered = began if self._described_at is None else min(self._described_at, began)
            events.insert(0, self._own_time(entered))
        self._files.add(*events)
        self._described_at = None
        if self._own_since is not None:
            self._own_since = perf_counter_ns()

    def phase(self, name: str, began: int, ended: int, about: Described) -> None:
        if not self._has_guest_row:
            self._has_guest_row = True
            self._files.add(
                self._about_row("thread_name", GUEST_ROW, {"name": "guest"}),
                self._about_row("thread_sort_index", GUEST_ROW, {"sort_index": -1}),
            )
        self._files.begin_at(began)
        events = [self._event(name, GUEST_ROW, began, ended, PHASE, about)]
        if "error" in about:
            events.append(self._mark("", GUEST_ROW, ended, ended))
        elif about.get("exit_code"):
            events.append(self._mark(f"exit code {about['exit_code']}", GUEST_ROW, ended, ended))
        self._files.add(*events)

    def mark_failure(self, reason: str, row: int, began: int, ended: int) -> None:
        """Mark the time of something that failed. The reason is a few words, or empty."""
        self._files.add(self._mark(reason, row, began, ended))

    def _mark(self, reason: str, row: int, began: int, ended: int) -> dict[str, Any]:
        name = f"{_FAILED}: {reason}" if reason else _FAILED
        return self._event(name, row, began, ended, FAILURE, {})

    def guest_goes_on(self) -> None:
        self._own_since, self._described_at = perf_counter_ns(), None

    def guest_ended(self) -> None:
        if self._own_since is not None:
            self._files.add(self._own_time(perf_counter_ns()))
        self._own_since = None

    def _own_time(self, ended: int) -> bytes:
        """The event of the guest's own time since the last call. There is one for each call: so it is encoded here."""
        assert self._own_since is not None
        began, time = (self._own_since - self._files.began) / 1000, max(ended - self._own_since, 0) / 1000
        return (
            f'{{"name":"{OWN_TIME}","cat":"{PHASE}","ph":"X","pid":{self._run},"tid":{self._thread(GUEST_ROW)},'
            f'"ts":{began!r},"dur":{time!r},"args":{{}}}}'
        ).encode()

    def _event(self, name: str, row: int, began: int, ended: int, category: str, about: Described) -> dict[str, Any]:
        return {
            "name": name,
            "cat": category,
            "ph": "X",
            "pid": self._run,
            "tid": self._thread(row),
            "ts": (began - self._files.began) / 1000,
            "dur": (ended - began) / 1000,
            "args": about,
        }


class Trace(RunTrace):
    """Writes a trace. Raises `NNError` with `runtime-error` if its files can't be opened.

    data       whether the contents of models, inputs and outputs are stored, in the file `FILE.data`
    title      the title of the trace in viewers
    first_row  the name of row 1
    zero       the time at which the trace begins, on the clock of the times that `write` gets. None: now, on that of
               `time.perf_counter_ns`
    runs       whether the trace is for several runs: `Host.run(..., trace=trace)` then records each run with a title,
               rows and handles of its own, and `close`, or the end of a `with` block, ends the file. Runs may be on
               several threads. Otherwise the trace is for one session, which closes it
    """

    def __init__(
        self,
        path: Path,
        *,
        data: bool = False,
        title: str = "wasi-nn",
        first_row: str = "graphs",
        zero: int | None = None,
        runs: bool = False,
    ) -> None:
        path, title = as_path("trace", path), as_text("title", title)
        self._is_shared = as_flag("runs", runs)
        super().__init__(_TraceFiles(path, as_flag("data", data), title, zero), _FIRST_RUN)
        if not self._is_shared:
            self.name_row(GRAPHS_ROW, first_row)

    def for_run(self, title: str) -> CallRecorder:
        if not self._is_shared:
            return self
        trace = RunTrace(self._files, self._files.begin_run(title))
        trace.name_row(GRAPHS_ROW, "graphs")
        return trace

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _header(run: int, title: str, data: bool) -> Described:
    about = {"name": printable(title), "format": FORMAT, "data": data}
    return {"name": "process_name", "ph": "M", "pid": run, "tid": run + GUEST_ROW, "args": about}


class _TraceFiles:
    """The file of a trace, and the one of its data. Any thread may write."""

    def __init__(self, path: str, data: bool, title: str, zero: int | None) -> None:
        self.data = data
        self._holders = 1  # the trace, and its runs that haven't ended
        self.began = perf_counter_ns() if zero is None else zero
        self._files: list[int] = []
        self._lock = threading.RLock()
        self._stored: dict[bytes, int] = {}  # the offsets of contents, by their digests
        self._data_end = 0
        self._runs = 0
        self._has_times = zero is not None
        self._end = 0
        try:
            for name in [path, data_path(path)] if data else [path]:
                self._files.append(os.open(name, _WRITE_FLAGS, 0o666))
                if not stat.S_ISREG(os.fstat(self._files[-1]).st_mode):
                    raise OSError("it is no regular file")
            self._append(OPENING + _encoded(_header(_FIRST_RUN, title, data)))
        except (OSError, ValueError) as error:
            self._close()
            reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
            raise NNError(ErrorCode.RUNTIME_ERROR, f"no trace can be written to {path}: {reason}") from error

    def begin_run(self, title: str) -> int:
        """Begin a further run; returns its number."""
        with self._lock:
            self._runs += 1
            self._holders += 1
            self.add(_header(self._runs, title, self.data))
            return self._runs

    def begin_at(self, moment: int) -> None:
        """Have the trace begin at a moment, if that is before its begin and no event has a time yet."""
        if not self._has_times:
            self.began = min(self.began, moment)

    def add(self, *events: Described | bytes) -> None:
        """Write some events. Bytes are an encoded event with a time."""
        with self._lock:
            if not self._files:
                return
            self._has_times = self._has_times or any(isinstance(event, bytes) or "ts" in event for event in events)
            try:
                encoded = (event if isinstance(event, bytes) else _encoded(event) for event in events)
                self._append(b"".join(b",\n" + event for event in encoded))
            except OSError as error:
                self._give_up(error)

    def stored(self, content: memoryview) -> dict[str, Any]:
        """Store some bytes; returns their place, or nothing if the trace has no data."""
        if not (self.data and self._files):
            return {}
        digest = hashlib.sha256(content)
        with self._lock:
            offset = self._stored.get(digest.digest())
            if offset is None:
                offset = self._data_end
                try:
                    if not self._files:
                        return {}
                    _write_all(self._files[1], content, offset)
                except OSError as error:
                    self._give_up(error)
                    return {}
                self._data_end += content.nbytes
                if len(self._stored) >= _MAX_DIGESTS:
                    self._stored.clear()
                self._stored[digest.digest()] = offset
        return {"data": {"offset": offset, "sha256": digest.hexdigest(), "bytes": content.nbytes}}

    def close(self) -> None:
        """End the files, once for the trace and for each of its runs."""
        with self._lock:
            self._holders -= 1
            if self._holders <= 0:
                self._close()

    def _close(self) -> None:
        files, self._files = self._files, []
        for file in files:
            with suppress(OSError):
                os.close(file)

    def _append(self, text: bytes) -> None:
        _write_all(self._files[0], text + CLOSING, self._end)
        self._end += len(text)

    def _give_up(self, error: OSError) -> None:
        logger.warning("the trace ends here, since it can't be written any more: %s", one_line(error))
        with suppress(OSError):  # without the incomplete event, the file is valid JSON
            os.ftruncate(self._files[0], self._end)
            _write_all(self._files[0], CLOSING, self._end)
        self._close()


def _write_all(file: int, content: bytes | memoryview, offset: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


_encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def _encoded(event: Described) -> bytes:
    return _encoder.encode(event).encode()
