"""The descriptors of this process: whether some are left."""

from __future__ import annotations

import os
import resource

from wasi_nn.types import ErrorCode, NNError


def require_free_descriptors(count: int) -> None:
    """Raise `NNError` with `runtime-error` unless this process may open `count` files more."""
    try:
        lowest = os.dup(0)
        os.close(lowest)
    except OSError:
        lowest = 2**31
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and lowest + count > most:
        raise NNError(ErrorCode.RUNTIME_ERROR, f"this process is out of files: it may open {most} (ulimit -n)")
