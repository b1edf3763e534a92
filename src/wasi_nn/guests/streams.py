"""The standard streams that a caller gives a guest: the arguments for them, and the failure of one."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from wasi_nn.arguments import as_flag, wrong_argument
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.guests.output import Output, Target
from wasi_nn.guests.stdin import BinaryReader
from wasi_nn.limits.limits import Limits

Stdin = bytes | os.PathLike[str] | TextIO | BinaryReader | None
"""A guest's standard input."""


class BinaryWriter(Protocol):
    """A file that is open for writing bytes."""

    def write(self, content: Any, /) -> object:
        """Write bytes, and return how many."""


Sink = Callable[[bytes], object] | BinaryWriter | None
"""Where a stream of a guest goes, if it is neither captured nor this process's own."""


class StreamFailed(Exception):
    """A stream that the caller gave raised an error, which ends the run; `failure` is that error."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__(failure)
        self.failure = failure


def output_of(limits: Limits, capture_output: Any, streams: Any, stdout: Any, stderr: Any) -> Output | None:
    """The output of a run by its arguments; None if all of it goes to this process's own streams. Raises `NNError` with
    `invalid-argument` for arguments that can't be."""
    captured = as_flag("capture_output", capture_output)
    targets = _sink("stdout", stdout), _sink("stderr", stderr)
    if streams is not None:
        if captured:
            raise _both("capture_output and streams", "output goes to the result, or to descriptors")
        if targets != (None, None):
            raise _both("streams and stdout or stderr", "output goes to descriptors, or to a function or a file")
        if not (isinstance(streams, tuple | list) and len(streams) == 2 and all(map(_is_descriptor, streams))):
            raise wrong_argument("streams", "two descriptors, for the standard output and error", streams)
        return Output(limits, (streams[0], streams[1]))
    if captured:
        return Output(limits, targets)
    if targets == (None, None):
        return None
    return Output(limits, (1 if targets[0] is None else targets[0], 2 if targets[1] is None else targets[1]))


def _both(names: str, why: str) -> NNError:
    return NNError(ErrorCode.INVALID_ARGUMENT, f"{names} can't be given together: {why}")


def _is_descriptor(value: object) -> bool:
    return type(value) is int and value >= 0


def _sink(name: str, value: Any) -> Target:
    """The function that gets a stream's output."""
    if value is None:
        return None
    if isinstance(value, io.TextIOBase):
        how = f"{name}=sys.{name}.buffer for this process's own" if value in (sys.stdout, sys.stderr) else "mode 'wb'"
        raise wrong_argument(name, f"a function that takes bytes, or a file that is open for bytes ({how})", value)
    write = getattr(value, "write", None)
    if callable(write):
        return _writes_to(value)
    if callable(value):
        function: Callable[[bytes], object] = value
        return function
    raise wrong_argument(name, "a function that takes bytes, or a file that is open for bytes", value)


def _writes_to(file: Any) -> Callable[[bytes], None]:
    """A function that writes all of its bytes to a file, and flushes the file if it can be flushed."""
    flush = getattr(file, "flush", None)

    def write(content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            # A file without a buffer may write less, or nothing at the moment. One of another make may return nothing.
            written = file.write(rest)
            if written is None and isinstance(file, io.RawIOBase):
                raise BlockingIOError(errno.EAGAIN, "the file for a guest's output takes no bytes without waiting")
            if isinstance(written, int) and not 0 < written <= len(rest):
                raise OSError(f"the file for a guest's output says that it took {written} of {len(rest)} bytes")
            rest = rest[written:] if isinstance(written, int) else rest[:0]
        if flush is not None:
            flush()

    return write
