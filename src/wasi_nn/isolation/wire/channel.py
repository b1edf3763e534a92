"""A channel between the host and a worker: short messages over a socket.

A message is JSON, short and flat, with some bytes behind it. Only the host sends files. Each side checks the length and
the nesting of every message before it parses it, since the other side may be hostile.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import inf
from struct import Struct
from typing import Any

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.isolation.wire.protocol import Message

_HEADER = Struct("<III")  # the length of the JSON, the number of bytes behind it, and the number of files
_MAX_JSON = 2**20  # bytes
MAX_BYTES = 64 * 2**20
"""The most bytes behind one message, and in one tensor of strings."""
_MAX_NESTING = 8  # levels of objects and lists
_FIRST_READ = 4096  # most messages are shorter
MAX_FILES = 128
"""The most files with one message."""
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_FILES * 4)


class Gone(Exception):
    """The other process has ended, or has closed the channel."""


class Channel:
    """One end of a channel. One thread at a time uses it."""

    def __init__(self, end: socket.socket, *, takes_files: bool = False) -> None:
        self.socket = end
        self._takes_files = takes_files
        self._unread = b""  # the first bytes of the next message, which came with the last one
        self._files: list[int] = []
        self._last: tuple[bytes, Message] = b"", {}  # the last JSON and its object: most computes have equal messages
        self._deadline = inf

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel, and the socket for its other end. Raises `NNError` with `runtime-error` if the process has too few
        file descriptors left."""
        from wasi_nn.process.descriptors import require_free_descriptors, reserve

        require_free_descriptors(reserve())
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise NNError(ErrorCode.RUNTIME_ERROR, f"no socket can be made for an isolated graph: {error}") from error
        return cls(ours), theirs

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Bound all sending and receiving in the block together, even if the other side sends byte after byte. Raises
        `TimeoutError`."""
        self._deadline = time.monotonic() + seconds
        self.socket.settimeout(seconds)
        try:
            yield
        finally:
            self._deadline = inf
            with suppress(OSError):  # the socket is closed
                self.socket.settimeout(None)

    def send(self, message: Mapping[str, Any], data: bytes | memoryview = b"", files: Sequence[int] = ()) -> None:
        """Send a message. Raises `Gone`, `TimeoutError` as `receive_encoded` does, and `NNError` as `encoded` does."""
        self.send_encoded(encoded(message, data, len(files)), files)

    def send_encoded(self, content: bytes, files: Sequence[int] = ()) -> None:
        """Send an encoded message. Raises as `send` does."""
        try:
            sent = socket.send_fds(self.socket, [content], files) if files else self.socket.send(content)
            if sent < len(content):
                self.socket.sendall(memoryview(content)[sent:])
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone(str(error)) from error

    def receive(self) -> tuple[Message, memoryview, list[int]]:
        """The next message, its bytes, and its files. Raises as `receive_encoded` does."""
        content = self.receive_encoded()
        length, _, count = _HEADER.unpack_from(content)
        files = []
        if self._takes_files:
            files, self._files = self._files[:count], self._files[count:]
        end = _HEADER.size + length
        text = content[_HEADER.size : end]
        if text != self._last[0]:
            self._last = text, _parsed(text)
        return self._last[1], memoryview(content)[end:], files

    def receive_encoded(self) -> bytes:
        """The next message as `encoded` made it; its files are kept for the caller.

        Raises `Gone`, `TimeoutError` (see `within`), and `ValueError` for bytes that are no message.
        """
        read = self._unread or self._more()
        while len(read) < _HEADER.size:
            read += self._more()
        length, size, _ = _HEADER.unpack_from(read)
        if length > _MAX_JSON or size > MAX_BYTES:
            raise ValueError(f"a message of {length} and {size} bytes: at most {_MAX_JSON} and {MAX_BYTES} are taken")
        whole = _HEADER.size + length + size
        if len(read) < whole:
            read += self._exactly(whole - len(read))
        self._unread = read[whole:]
        return read[:whole]

    def close(self) -> None:
        """Close this end; the other side gets `Gone`."""
        self.socket.close()

    def _more(self) -> bytes:
        content = bytearray(_FIRST_READ)
        return bytes(memoryview(content)[: self._read_into(content)])

    def _exactly(self, size: int) -> bytearray:
        content = bytearray(size)
        view = memoryview(content)
        while view:
            view = view[self._read_into(view) :]
        return content

    def _read_into(self, buffer: bytearray | memoryview) -> int:
        """Read some bytes; returns their number."""
        if self._deadline < inf:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
        try:
            if self._takes_files:
                count, ancillary, _, _ = self.socket.recvmsg_into([buffer], _ANCILLARY_BYTES)
                for _, _, descriptors in ancillary:
                    self._files += Struct(f"{len(descriptors) // 4}i").unpack(descriptors)
            else:
                count = self.socket.recv_into(buffer)
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone(str(error)) from error
        if not count:
            raise Gone("it closed the channel")
        return count


def _parsed(text: bytes) -> Message:
    if text.count(b"[") + text.count(b"{") > _MAX_NESTING:  # few messages have so many brackets
        _require_flat(text)
    message = json.loads(text.decode())  # `loads` would also take bytes in UTF-16, whose brackets weren't counted
    if not isinstance(message, dict):
        raise ValueError("a message that isn't an object")
    return message


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _require_flat(text: bytes) -> None:
    """Raise `ValueError` for JSON that is nested too deep, before it is parsed."""
    with_plain_strings = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(with_plain_strings.split(b'"')[::2]).translate(None, _NO_BRACKETS)
    for _ in range(_MAX_NESTING):  # each round removes the innermost level
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise ValueError("a message that is nested too deep")


def encoded(message: Mapping[str, Any], data: bytes | memoryview = b"", files: int = 0) -> bytes:
    """A message as bytes to be sent. Raises `NNError` with `too-large` for a message that the other side would
    refuse."""
    text = json.dumps(message, separators=(",", ":")).encode()
    for size, most in ((len(text), _MAX_JSON), (len(data), MAX_BYTES)):
        if size > most:
            raise NNError(ErrorCode.TOO_LARGE, f"an isolated graph takes at most {most} bytes at once, not {size}")
    return b"".join((_HEADER.pack(len(text), len(data), files), text, data))


def mapped(file: int, *, writable: bool) -> memoryview:
    """Map a file that the other side shares. The descriptor is closed."""
    try:
        size = os.fstat(file).st_size
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return memoryview(mmap.mmap(file, size, access=access) if size else b"")
    finally:
        os.close(file)
