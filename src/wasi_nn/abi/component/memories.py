"""Finds the memories of a guest component in this process, so that the host can read and write tensors there.

The engine doesn't tell a host where a component's memory is. So the shim in the guest writes a random mark at the
beginning of its memory, and asks the host to look for the mark (`guests/bridge/shim-memory.wat`). The bridge does the
same for its own memory, with a mark at another place (`guests/bridge/kept.h`). The host looks where
the operating system says that an accessible part of this process follows an inaccessible one, as every memory of the
engine does. It reads through the system: other threads may unmap what is there, and a read then fails, and doesn't
crash. Only Linux is supported. Elsewhere, the bytes of tensors take the way through the bridge.

A memory stays where it is until it grows, and then the shim asks again. (With the engine's own settings it never moves,
because the engine reserves all addresses that it can ever have.) The host uses a memory only in calls of the guest, so
the guest is there, and waits.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.abi.call_boundary import GuestFault

if TYPE_CHECKING:
    from wasi_nn.types import Array

_PAGE = 65536
_MAX_PAGES = 65536
_MARK = Struct("<Q")
# An accessible part of the process, straight behind an inaccessible one.
_BEHIND_A_GUARD = re.compile(rb"^[0-9a-f]+-([0-9a-f]+) ---p .*\n\1-[0-9a-f]+ rw-p ", re.MULTILINE)


_read_process: Any = getattr(ctypes.CDLL(None, use_errno=True), "process_vm_readv", None)

_MOST_EARLIER = 16
_earlier: tuple[int, ...] = ()
"""Where memories were found, the latest first: the system often gives a guest's addresses to the next guest. To look
there takes much less time than a search."""


class GuestMemories:
    """The memories of one guest component that the host has found, by number from 1 on."""

    def __init__(self) -> None:
        self._mark = b""
        self._found: list[tuple[int, Array]] = []
        self._can_look = True

    def __len__(self) -> int:
        return len(self._found)

    def new_mark(self) -> int:
        """A new mark. The shim or the bridge writes it into a memory as a little-endian u64."""
        number = secrets.randbits(64)
        self._mark = _MARK.pack(number)
        return number

    def find(self, number: int, pages: int, at: int = 0) -> int:
        """The number of the memory with the mark at the place `at` and `pages` pages of 64 KiB; 0 if the host doesn't
        find it.

        `number` is the memory's number from an earlier call, or 0. After one search that failed, there is no other.
        """
        if not 0 < pages <= _MAX_PAGES or not 0 <= number <= len(self._found) or not self._mark:
            raise GuestFault("memory-find: invalid arguments")
        mark, self._mark = self._mark, b""
        if not self._can_look:
            return 0
        address = self._found[number - 1][0] if number else None
        address = _with_mark(mark, address, at)
        if address is None:
            self._can_look = False
            return 0
        if not number:
            return self.add(address, pages)
        self._found[number - 1] = address, _view(address, pages)
        return number

    def add(self, address: int, pages: int) -> int:
        """Use the memory of `pages` pages of 64 KiB at an address; returns its number."""
        self._found.append((address, _view(address, pages)))
        return len(self._found)

    def part(self, number: int, at: int, size: int) -> Array:
        """The bytes at a place of a memory, as u8[size]: not a copy, and valid during the current call only.

        Raises `GuestFault` if there is no such memory, or the place isn't all in it.
        """
        if not 0 < number <= len(self._found):
            raise GuestFault(f"the host has no memory {number} of the guest")
        memory = self._found[number - 1][1]
        if at + size > len(memory):
            raise GuestFault(f"{size} bytes at {at} aren't in the guest's memory")
        return memory[at : at + size]


def _view(address: int, pages: int) -> Array:
    kind: Any = ctypes.c_uint8 * (pages * _PAGE)
    return np.frombuffer(kind.from_address(address), np.uint8)


def _with_mark(mark: bytes, address: int | None, at: int) -> int | None:
    """The address of the memory that has the mark at a place: a former one, or the only one that a search finds;
    else None. A mark is a secret of the host and the shim, so no other memory has it."""
    global _earlier  # one operation replaces it, so that threads need no lock
    try:
        process = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if address is not None and _has_mark(process, address + at, mark):
                return address
            for earlier in _earlier if address is None else ():
                if _has_mark(process, earlier + at, mark) and _is_behind_a_guard(earlier):
                    return earlier
            with open(os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC), "rb") as parts:
                candidates = [int(start, 16) for start in _BEHIND_A_GUARD.findall(parts.read())]
            found = [start for start in candidates if _has_mark(process, start + at, mark)]
        finally:
            os.close(process)
    except OSError:
        return None
    if len(found) != 1:
        return None
    _earlier = (found[0], *_earlier[: _MOST_EARLIER - 1])
    return found[0]


def _is_behind_a_guard(address: int) -> bool:
    """Whether the part of the process before an address is inaccessible."""
    byte, before = ctypes.c_char(), (ctypes.c_size_t * 2)(address - 1, 1)
    to = (ctypes.c_size_t * 2)(ctypes.addressof(byte), 1)
    if _read_process is None:
        return False
    return _read_process(os.getpid(), to, 1, before, 1, 0) < 0 and ctypes.get_errno() == errno.EFAULT


def _has_mark(process: int, address: int, mark: bytes) -> bool:
    try:
        return os.pread(process, len(mark), address) == mark
    except OSError:  # unmapped since
        return False
