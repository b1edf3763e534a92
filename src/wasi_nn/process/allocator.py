"""What the C library does with memory that was freed, in processes that are ours."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3), which glibc has
_MIB = 2**20
_KEPT, _APART = 128 * _MIB, 32 * _MIB


def keep_freed_memory() -> None:
    """Have it kept for the next compute, where glibc would give all but a little back to the kernel.

    Some runtimes make each tensor anew (torch does). A compute gets the pages of its large ones from the kernel then,
    which can take half of its time. Settings in the environment (`MALLOC_...`, `GLIBC_TUNABLES`) are left as they are.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
    mallopt(_M_MMAP_THRESHOLD, _APART)
