"""A guest's linear memory during one host call.

Guest memory can move when it grows, and the guest writes to it at any time. So a host call looks at the memory anew,
checks every range before its use, and keeps no view after its end.
"""

from __future__ import annotations

import ctypes
from struct import Struct

_U32 = Struct("<I")


class OutOfBounds(Exception):
    """A range isn't within the guest's memory."""


class GuestMemory:
    """The memory that the calling module exports as `memory`."""

    def __init__(self) -> None:
        self._base = -1
        self.size = 0
        self.bytes = memoryview(b"")

    def look(self, base: int, size: int) -> None:
        """Look at `size` bytes from the host address `base`.

        The view is kept until the memory moves or grows. That saves a microsecond for each call.
        """
        if base != self._base or size != self.size:
            self.bytes = memoryview((ctypes.c_ubyte * size).from_address(base)).cast("B") if size else memoryview(b"")
            self._base, self.size = base, size

    def check(self, what: str, pointer: int, length: int) -> None:
        """Raise `OutOfBounds` unless `length` bytes from `pointer` are in memory. An empty range is never out of
        bounds."""
        if length and pointer + length > self.size:
            raise OutOfBounds(f"{what} [{pointer}, {pointer + length}) is outside the memory of {self.size} bytes")

    def range(self, what: str, pointer: int, length: int) -> memoryview:
        """A view of a range, which is checked first. The view must not outlive the call."""
        self.check(what, pointer, length)
        return self.bytes[pointer : pointer + length]

    def read_u32(self, pointer: int) -> int:
        """Read a u32. The caller has checked the range of four bytes."""
        value: int = _U32.unpack_from(self.bytes, pointer)[0]
        return value

    def write_u32(self, pointer: int, value: int) -> None:
        """Write a u32. The caller has checked the range of four bytes."""
        _U32.pack_into(self.bytes, pointer, value)
