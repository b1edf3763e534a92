"""Tunes the C library's allocator, in processes that this package starts or owns."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3), in glibc's malloc.h
_MIB = 2**20
_TRIM_THRESHOLD = 128 * _MIB  # free bytes at the heap's end that are kept
_MMAP_THRESHOLD = 32 * _MIB  # the largest value that mallopt(3) allows: larger blocks get their own mapping


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next compute; by default it returns nearly all of it to the kernel.

    Some runtimes, such as torch, allocate each tensor anew. By default, each compute gets the pages of large tensors
    from the kernel, which can take half of its time. If the environment has settings of its own (`MALLOC_...`,
    `GLIBC_TUNABLES`), nothing is changed.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # a C library other than glibc
        return
    mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
    mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
