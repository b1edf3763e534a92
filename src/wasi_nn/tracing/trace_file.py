"""Trace files: their format, and `TraceReader`, which reads them. `wasi_nn.tracing.trace_writer` writes them.

A trace is JSON in Chrome's trace-event format, one event a line. Perfetto and other viewers show it as a timeline:

    {"traceEvents": [
    {"name":"process_name","ph":"M","pid":1,"tid":1,"args":{"name":"guest.wasm","format":"wasi-nn 1","data":true}},
    {"name":"compute","cat":"wasi-nn","ph":"X","pid":1,"tid":3,"ts":1806.4,"dur":92.3,"args":{"context":2}}
    ]}

The file is valid JSON after every event: one write replaces the closing brackets by the event and new brackets.

`args` has a call's arguments by name, and either its `result` or its `error`: code, message, and `kind` (the class of
the error) if that isn't `NNError`. Row 0 shows the parts of the run: compiling, linking and instantiating
the guest, the run, and the guest's own time between its calls. Row 1 shows the calls on graphs. Each execution context
has the row of its handle. The `tid` of an event is the number of its row plus its `pid`: so viewers take row 0 for the
main thread, and show it first. A call that failed is followed by a mark, an event over the same time; a run that
failed, by a mark at its end.

A trace may have several runs of guests. Each has its own `pid`, from 1 on, whose `process_name` is the run's title.

A tensor has a `type`, `dims`, `bytes` (its size) and a summary of its elements (`wasi_nn.tracing.tensor_summary`). A
trace with data also stores contents of tensors, models and configurations in the file `FILE.data`, each content once,
and the event has `{"offset", "bytes", "sha256"}` of the content. This file is separate because viewers read the whole
trace, and base64 would make contents a third larger.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from wasi_nn.arguments import as_path
from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.process.files import open_regular
from wasi_nn.settings import how_to_set
from wasi_nn.tracing.call_recorder import CATEGORY, PHASE, REFUSED

Path = str | os.PathLike[str]

FORMAT = "wasi-nn 1"
OPENING, CLOSING = b'{"traceEvents": [\n', b"\n]}\n"
MAX_RUNS = 100_000
"""Runs of a trace, and rows, whose names are read."""
_MAX_TITLE = 4096  # characters
_MAX_NUMBER = 2**32 - 1  # of a process or a thread
_MAX_TIME = 1e18  # microseconds
_MAX_LINE = 4 << 20  # bytes: every event is shorter, since a name has at most 65536 characters


def data_path(path: Path) -> str:
    """The path of the file that has the contents of a trace's tensors and models."""
    return f"{os.fspath(path)}.data"


_DATA_FORM = "stored data is an offset, a number of bytes and a sha256"


class BadTrace(NNError):
    """A trace is malformed."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INVALID_ARGUMENT, message)


@dataclass(frozen=True)
class RecordedCall:
    """A call in a trace, or a part of a run: the number of its line, its name, and its arguments, which aren't checked
    yet. `run` is the number of the run, `row` that of the row. The times are in microseconds; 0 where the trace has no
    number."""

    line: int
    name: str
    arguments: dict[str, Any]
    run: int = 1
    row: int = 1
    category: str = CATEGORY
    began: float = 0.0
    time: float = 0.0


class TraceReader:
    """Reads a trace. The file is untrusted: all of it is checked, and no part of it is used as a path.

    needs_data  whether a trace without data is refused, with `unsupported-operation`. Otherwise `has_data` says whether
                there is some

    Raises `NNError` with `not-found` or `runtime-error` for a file that can't be read, and `BadTrace` for a file that
    isn't a trace.
    """

    def __init__(self, path: Path, *, needs_data: bool = True) -> None:
        self.cut_short = False
        """Whether the file ends in the middle of an event. All calls before the end are read."""
        self.has_data = False
        """Whether the trace has data, and the file of the data is there."""
        self.titles: dict[int, str] = {}
        """The titles of the runs that were read so far, by their numbers."""
        self.rows: dict[tuple[int, int], str] = {}
        """The names of the rows that were read so far, by the numbers of the run and of the row."""
        self._needs_data = needs_data
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
        return (call for call in self.calls_and_phases() if call.category == CATEGORY)

    def calls_and_phases(self) -> Iterator[RecordedCall]:
        """The calls, those that an ABI refused before they reached a graph, and the parts of runs."""
        for event in self._events():
            category, name, arguments = event.get("cat"), event.get("name"), event.get("args")
            if category in (CATEGORY, REFUSED, PHASE):
                if not (isinstance(name, str) and isinstance(arguments, dict)):
                    raise BadTrace(f"{self.where}: a call needs a name and args")
                run, row = self._row(event)
                began, time = _number(event.get("ts")), _number(event.get("dur"))
                yield RecordedCall(self._line, name, arguments, run, row, category, began, time)
            elif name == "process_name":
                self._name_run(event)
            elif name == "thread_name":
                title = _name_in(event)
                if title is not None and len(self.rows) < MAX_RUNS:
                    self.rows[self._row(event)] = title

    def _row(self, event: dict[str, Any]) -> tuple[int, int]:
        """The number of an event's run, and that of its row."""
        run = self._small(event, "pid")
        return run, self._small(event, "tid") - run

    def _small(self, event: dict[str, Any], key: str) -> int:
        """The number of a process or a thread."""
        value = event.get(key, 1)
        if not (_is_count(value) and value <= _MAX_NUMBER):
            raise BadTrace(f"{self.where}: {key!r} must be a number of 32 bits")
        return int(value)

    def _name_run(self, event: dict[str, Any]) -> None:
        run, title = self._small(event, "pid"), _name_in(event)
        if title is not None and (len(self.titles) < MAX_RUNS or run in self.titles):
            self.titles[run] = title

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
        if self._read_line() != OPENING.rstrip():
            raise BadTrace(f"{self._path} is no trace of wasi-nn's: it doesn't begin like one")
        event = next(self._events(), {})
        header = event.get("args")
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise BadTrace(f"{self._path} is no trace of wasi-nn's, or not of the format {FORMAT!r}")
        self._name_run(event)
        if not self._needs_data and not (header.get("data") is True and os.path.lexists(data_path(self._path))):
            return
        if header.get("data") is not True:
            how = how_to_set("trace_data=True", "--trace-data")
            message = f"{self._path} has no data of tensors: record it with its data ({how})"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        with _open(data_path(self._path)) as file:
            if os.fstat(file.fileno()).st_size:
                self._stored = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self.has_data = True

    def _events(self) -> Iterator[dict[str, Any]]:
        while (line := self._read_line()) != CLOSING.strip():
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


def _name_in(event: dict[str, Any]) -> str | None:
    """The name that an event gives to a run or a row."""
    about = event.get("args")
    name = about.get("name") if isinstance(about, dict) else None
    return name[:_MAX_TITLE] if isinstance(name, str) else None


def _number(value: object) -> float:
    """A time in microseconds; 0 for anything else."""
    return float(value) if type(value) in (int, float) and abs(value) < _MAX_TIME else 0.0  # type: ignore[arg-type]


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
