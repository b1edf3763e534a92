"""How much memory this process has."""

from __future__ import annotations

import os

_STATM = "/proc/self/statm"


def resident_bytes() -> int:
    """The bytes of this process that are in memory, also those that it shares; 0 where the kernel doesn't tell."""
    try:
        with open(_STATM, "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
