"""How the host and a worker talk: short messages over a socket, and tensors and models in shared memory.

A message is JSON with some bytes behind it; files go from the host to the worker only. Neither side believes what the
other says: a message is no longer than it may be, and nothing in it is run. Shared memory has no name, so that it is
gone with the last process that has it, whatever happens; it can't be made shorter under the reader's hands.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Any

_HEADER = Struct("<II")  # the length of the JSON, and of the bytes behind it
_MAX_MESSAGE = 64 * 2**20
MAX_FILES = 128
"""The files that may come with a message."""

Message = dict[str, Any]


class Gone(Exception):
    """The other side is there no more."""


class Channel:
    """One side of a conversation. One thread at a time uses it, but for `send`, which is whole for short messages."""

    def __init__(self, end: socket.socket, *, takes_files: bool = False) -> None:
        self.socket = end
        self._takes_files = takes_files

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel, and the other side's socket."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def send(self, message: Mapping[str, Any], data: bytes | memoryview = b"", files: Iterable[int] = ()) -> None:
        """Send a message. Raises `Gone`."""
        self.send_encoded(encoded(message, data), files)

    def send_encoded(self, content: bytes, files: Iterable[int] = ()) -> None:
        """Send what `encoded` gave. Raises `Gone`."""
        try:
            files = list(files)
            sent = socket.send_fds(self.socket, [content], files) if files else self.socket.send(content)
            if sent < len(content):
                self.socket.sendall(memoryview(content)[sent:])
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone(str(error)) from error

    def receive(self) -> tuple[Message, memoryview, list[int]]:
        """The next message, the bytes behind it, and the files that came with it. Raises `Gone`, `TimeoutError` if the
        socket has a timeout, and `ValueError` for what is no message."""
        files: list[int] = []
        header = self._exactly(_HEADER.size, files)
        length, size = _HEADER.unpack(header)
        if length + size > _MAX_MESSAGE:
            raise ValueError(f"a message of {length + size} bytes: at most {_MAX_MESSAGE} are taken")
        content = memoryview(self._exactly(length + size, files))
        try:
            message = json.loads(bytes(content[:length]))
        except RecursionError as error:
            raise ValueError("a message that is nested too deep") from error
        if not isinstance(message, dict):
            raise ValueError("a message that isn't an object")
        return message, content[length:], files

    def close(self) -> None:
        """End the conversation."""
        self.socket.close()

    def _exactly(self, size: int, files: list[int]) -> bytearray:
        content = bytearray(size)
        view, place = memoryview(content), 0
        while place < size:
            try:
                if self._takes_files:
                    part, found, _, _ = socket.recv_fds(self.socket, size - place, MAX_FILES)
                    files += found
                    view[place : place + len(part)] = part
                    count = len(part)
                else:
                    count = self.socket.recv_into(view[place:])
            except TimeoutError:
                raise
            except OSError as error:
                raise Gone(str(error)) from error
            if count == 0:
                raise Gone("it closed the connection")
            place += count
        return content


def encoded(message: Mapping[str, Any], data: bytes | memoryview = b"") -> bytes:
    """A message as it is sent."""
    text = json.dumps(message, separators=(",", ":")).encode()
    return b"".join((_HEADER.pack(len(text), len(data)), text, data))


class SharedMemory:
    """Memory that a worker may have too: `size` bytes, whose number can't be changed any more."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.file = os.memfd_create("wasi-nn", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.file, size)
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            self.bytes = memoryview(mmap.mmap(self.file, size) if size else b"")
        except BaseException:
            os.close(self.file)
            raise

    @classmethod
    def holding(cls, content: memoryview) -> SharedMemory:
        """Memory with a copy of these bytes, which nobody can change any more but this process."""
        memory = cls(len(content))
        if content:
            memory.bytes[:] = content
            fcntl.fcntl(memory.file, fcntl.F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)
        return memory

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)


_F_SEAL_FUTURE_WRITE = 0x10


def mapped(file: int, *, writable: bool) -> memoryview:
    """The content of a file, which is closed here: what the other side shares."""
    try:
        size = os.fstat(file).st_size
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        return memoryview(mmap.mmap(file, size, access=access) if size else b"")
    finally:
        os.close(file)
