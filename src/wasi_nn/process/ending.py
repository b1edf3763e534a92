"""The end of this process where Python's own shutdown is left out, as the command does."""

from __future__ import annotations

from collections.abc import Callable
from weakref import finalize

_pending: set[finalize[..., object]] = set()


def finalize_by_the_end(instance: object, function: Callable[..., object], *arguments: object) -> finalize[..., object]:
    """Call a function when an object is gone, or in `end`: once, whichever comes first. As `weakref.finalize`."""

    def call() -> None:
        _pending.discard(finalizer)
        function(*arguments)

    finalizer = finalize(instance, call)
    _pending.add(finalizer)
    return finalizer


def end() -> None:
    """Make the calls of all objects that still exist: such an object may have a folder or another process."""
    for finalizer in list(_pending):
        finalizer()
