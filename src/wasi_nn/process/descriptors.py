"""The descriptors of this process: whether some are left.

Some are kept for the host: when fewer than `reserve` are left, guests load nothing and isolated graphs get no
processes, contexts and memory; when fewer than twice as many are, guests open no files.
"""

from __future__ import annotations

import os
import resource

from wasi_nn.errors import ErrorCode, NNError

_RESERVE = 64


def reserve() -> int:
    """How many are kept for the host: 64, or fewer in a process that may have few."""
    return min(_RESERVE, _most() // 8)


def are_free(count: int) -> bool:
    """Whether this process may open `count` files more."""
    return lowest_free() + count <= _most()


def lowest_free() -> int:
    """The number that the next file gets which this process opens."""
    try:
        lowest = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _most()
    os.close(lowest)
    return lowest


def require_free_descriptors(count: int) -> None:
    """Raise `NNError` with `runtime-error` unless this process may open `count` files more."""
    if not are_free(count):
        raise NNError(ErrorCode.RUNTIME_ERROR, f"this process is out of files: it may open {_most()} (ulimit -n)")


def _most() -> int:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if most == resource.RLIM_INFINITY else most
