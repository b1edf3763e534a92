"""Trace files: `Trace` writes the calls of a guest, and `TraceReader` reads them.

A trace is JSON in Chrome's trace-event format, one event a line. Perfetto and other viewers show it as a timeline:

    {"traceEvents": [
    {"name":"process_name","ph":"M","pid":1,"tid":1,"args":{"name":"guest.wasm","format":"wasi-nn 1","data":true}},
    {"name":"compute","cat":"wasi-nn","ph":"X","pid":1,"tid":2,"ts":1806.4,"dur":92.3,"args":{"context":2}}
    ]}

The file is valid JSON after every event: one write replaces the closing brackets by the event and new brackets.

`args` has a call's arguments by name, and either its `result` or its `error`: code, message, and `kind` (the class of
the error) if that isn't `NNError`. Row 1 shows the calls on graphs. Each execution context has the row of its handle.

A tensor has a `type`, `dims`, `bytes` (its size) and a summary of its elements (`wasi_nn.tracing.tensor_summary`). A
trace with data also stores contents of tensors, models and configurations in the file `FILE.data`, each content once,
and the event has `{"offset", "bytes", "sha256"}` of the content. This file is separate because viewers read the whole
trace, and base64 would make contents a third larger.

If a file can't be written any more, for example on a full disk, the trace ends there, the log says so, and the guest
goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import stat
from bisect import bisect_right, insort
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, BinaryIO, NoReturn

from wasi_nn.arguments import as_flag, as_path, as_text
from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.process.files import open_regular
from wasi_nn.settings import how_to_set
from wasi_nn.tracing.call_recorder import CATEGORY, GRAPHS_ROW, CallRecorder, Described

logger = logging.getLogger("wasi_nn")

Path = str | os.PathLike[str]

FORMAT = "wasi-nn 1"
_OPENING, _CLOSING = b'{"traceEvents": [\n', b"\n]}\n"
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MAX_DIGESTS = 100_000  # of stored contents, some 20 MB: a content with a kept digest isn't stored again
_MAX_LINE = 4 << 20  # bytes: every event is shorter, since a name has at most 65536 characters


def data_path(path: Path) -> str:
    """The path of the file that has the contents of a trace's tensors and models."""
    return f"{os.fspath(path)}.data"


class Trace(CallRecorder):
    """Writes a trace. Raises `NNError` with `runtime-error` if its files can't be opened.

    `data` tells whether the trace has models, inputs and outputs, in a file of their own. `first_row` is the name of
    row 1, and `zero` the time at which the trace begins, on the clock of the times that `write` gets; by default it is
    now, on that of `time.perf_counter_ns`.
    """

    def __init__(
        self,
        path: Path,
        *,
        data: bool = False,
        title: str = "wasi-nn",
        first_row: str = "graphs",
        zero: int | None = None,
    ) -> None:
        super().__init__()
        path, title = as_path("trace", path), as_text("title", title)
        self.data = as_flag("data", data)
        self._files: list[int] = []
        self._stored: dict[bytes, int] = {}  # the offsets of contents, by their digests
        self._data_end = 0
        self._began = perf_counter_ns() if zero is None else zero
        header = {"name": printable(title), "format": FORMAT, "data": data}
        first_event = _encoded({"name": "process_name", "ph": "M", "pid": 1, "tid": GRAPHS_ROW, "args": header})
        self._end = 0
        try:
            for name in [path, data_path(path)] if data else [path]:
                self._files.append(os.open(name, _WRITE_FLAGS, 0o666))
                if not stat.S_ISREG(os.fstat(self._files[-1]).st_mode):
                    raise OSError("it is no regular file")
            self._append(_OPENING + first_event)
        except (OSError, ValueError) as error:
            self.close()
            reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
            raise NNError(ErrorCode.RUNTIME_ERROR, f"no trace can be written to {path}: {reason}") from error
        self.name_row(GRAPHS_ROW, first_row)

    def name_row(self, row: int, name: str) -> None:
        """Name a row of the timeline."""
        self._add({"name": "thread_name", "ph": "M", "pid": 1, "tid": row, "args": {"name": printable(name)}})

    def content(self, content: memoryview) -> dict[str, Any]:
        """The description of some bytes: their number and, if the trace has data, the place where they are stored."""
        described = super().content(content)
        if not (self.data and self._files):
            return described
        digest = hashlib.sha256(content)
        offset = self._stored.get(digest.digest())
        if offset is None:
            offset = self._data_end
            try:
                _write_all(self._files[1], content, offset)
            except OSError as error:
                self._give_up(error)
                return described
            self._data_end += content.nbytes
            if len(self._stored) >= _MAX_DIGESTS:
                self._stored.clear()
            self._stored[digest.digest()] = offset
        return described | {"data": {"offset": offset, "sha256": digest.hexdigest(), **described}}

    def close(self) -> None:
        """End the trace. Has no effect on a trace that has ended."""
        files, self._files = self._files, []
        for file in files:
            with suppress(OSError):
                os.close(file)

    def write(self, name: str, row: int, arguments: Described, began: int, ended: int, category: str) -> None:
        event = {
            "name": name,
            "cat": category,
            "ph": "X",
            "pid": 1,
            "tid": row,
            "ts": (began - self._began) / 1000,
            "dur": (ended - began) / 1000,
            "args": arguments,
        }
        self._add(event)

    def _add(self, event: Described) -> None:
        if not self._files:
            return
        try:
            self._append(b",\n" + _encoded(event))
        except OSError as error:
            self._give_up(error)

    def _append(self, text: bytes) -> None:
        _write_all(self._files[0], text + _CLOSING, self._end)
        self._end += len(text)

    def _give_up(self, error: OSError) -> None:
        logger.warning("the trace ends here, since it can't be written any more: %s", one_line(error))
        with suppress(OSError):  # without the incomplete event, the file is valid JSON
            os.ftruncate(self._files[0], self._end)
            _write_all(self._files[0], _CLOSING, self._end)
        self.close()


def _write_all(file: int, content: bytes | memoryview, offset: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


_encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def _encoded(event: Described) -> bytes:
    return _encoder.encode(event).encode()


_DATA_FORM = "stored data is an offset, a number of bytes and a sha256"


class BadTrace(NNError):
    """A trace is malformed."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INVALID_ARGUMENT, message)


@dataclass(frozen=True)
class RecordedCall:
    """A call in a trace: the number of its line, its name, and its arguments, which aren't checked yet."""

    line: int
    name: str
    arguments: dict[str, Any]


class TraceReader:
    """Reads a trace. The file is untrusted: all of it is checked, and no part of it is used as a path.

    Raises `NNError` with `not-found` or `runtime-error` for a file that can't be read, and `BadTrace` for a file that
    isn't a trace.
    """

    def __init__(self, path: Path) -> None:
        self.cut_short = False
        """Whether the file ends in the middle of an event. All calls before the end are read."""
        self._path = path = as_path("trace", path)
        self._stored = memoryview(b"")
        self._checked: set[tuple[int, int, str]] = set()
        self._ranges: list[tuple[int, int]] = []  # the checked ranges: start and end, sorted
        self._line = 0
        self._file: BinaryIO = _open(path)
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def calls(self) -> Iterator[RecordedCall]:
        """The calls, in the order in which the guest made them."""
        for event in self._events():
            if event.get("cat") == CATEGORY:
                name, arguments = event.get("name"), event.get("args")
                if not (isinstance(name, str) and isinstance(arguments, dict)):
                    raise BadTrace(f"{self.where}: a call needs a name and args")
                yield RecordedCall(self._line, name, arguments)

    @property
    def where(self) -> str:
        """The file and the current line, for a message."""
        return f"{self._path}, line {self._line}"

    def content(self, described: object) -> memoryview:
        """The stored content of a description. Raises `BadTrace` if it is missing, or its sha256 is another."""
        if not isinstance(described, dict) or set(described) != {"offset", "bytes", "sha256"}:
            raise BadTrace(_DATA_FORM)
        offset, size, digest = described["offset"], described["bytes"], described["sha256"]
        if not (_is_count(offset) and _is_count(size) and isinstance(digest, str)):
            raise BadTrace(_DATA_FORM)
        if offset + size > len(self._stored):
            file_size = f"{data_path(self._path)} has only {len(self._stored)}"
            raise BadTrace(f"data is missing: bytes {offset} to {offset + size}, and {file_size}")
        content = self._stored[offset : offset + size]
        if (offset, size, digest) not in self._checked:
            self._require_no_overlap(offset, size)
            if hashlib.sha256(content).hexdigest() != digest:
                raise BadTrace(f"data at {offset} isn't what was recorded: its sha256 differs")
            self._checked.add((offset, size, digest))
            if size:
                insort(self._ranges, (offset, offset + size))
        return content

    def close(self) -> None:
        """Close the file. The contents that `content` has returned stay valid."""
        self._file.close()

    def __enter__(self) -> TraceReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _require_no_overlap(self, offset: int, size: int) -> None:
        """Raise `BadTrace` for a range that overlaps with a checked one. So each byte is hashed at most once, and the
        work is linear in the size of the file."""
        index = bisect_right(self._ranges, (offset, offset))
        before, after = self._ranges[max(index - 1, 0) : index], self._ranges[index : index + 1]
        if size and any(start < offset + size and offset < end for start, end in (*before, *after)):
            raise BadTrace(f"data at {offset} overlaps with other data")

    def _read_header(self) -> None:
        if self._read_line() != _OPENING.rstrip():
            raise BadTrace(f"{self._path} is no trace of wasi-nn's: it doesn't begin like one")
        header = next(self._events(), {}).get("args")
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise BadTrace(f"{self._path} is no trace of wasi-nn's, or not of the format {FORMAT!r}")
        if header.get("data") is not True:
            how = how_to_set("trace_data=True", "--trace-data")
            message = f"{self._path} has no data to be replayed: record it with its data ({how})"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        with _open(data_path(self._path)) as file:
            if os.fstat(file.fileno()).st_size:
                self._stored = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def _events(self) -> Iterator[dict[str, Any]]:
        while (line := self._read_line()) != _CLOSING.strip():
            try:
                event = json.loads(line.removesuffix(b","), parse_constant=_no_number)
                if not isinstance(event, dict):
                    raise ValueError("it is no object")
            except (ValueError, RecursionError) as error:
                if self._read_line():
                    self._line -= 1
                    raise BadTrace(f"{self.where}: the line is no event: {one_line(error)}") from None
                self.cut_short = True
                return
            yield event

    def _read_line(self) -> bytes:
        self._line += 1
        line = self._file.readline(_MAX_LINE)
        if len(line) == _MAX_LINE:
            raise BadTrace(f"{self.where}: the line is too long: an event has less than {_MAX_LINE} bytes")
        return line.rstrip()


def _open(path: Path) -> BinaryIO:
    """Open a regular file; any other kind could block the reader."""
    try:
        return open_regular(path)
    except FileNotFoundError as error:
        raise NNError(ErrorCode.NOT_FOUND, f"no such file: {path}") from error
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"{path} can't be read: {one_line(error)}") from error


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
