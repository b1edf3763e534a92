"""The kernel's limits on this process's resources (setrlimit(2))."""

from __future__ import annotations

import resource


def limit(kind: int, most: int) -> None:
    """Limit a resource of this process for good. A limit that is lower already stays: a process without privileges
    can't raise it."""
    _, now = resource.getrlimit(kind)
    most = most if now == resource.RLIM_INFINITY else min(most, now)
    resource.setrlimit(kind, (most, most))
