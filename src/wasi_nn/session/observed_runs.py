"""`ObservedRuns`: the methods of a session that are called at moments of a guest's run, for a session that records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any


class ObservedRuns:
    """Does nothing at any of these moments. A subclass may."""

    def on_abi_error(self, name: str, arguments: Sequence[object], error: Exception) -> None:
        """Called when an ABI rejects a call."""

    def note_phase(self, name: str, began: int, ended: int, about: Mapping[str, Any]) -> None:
        """Called after a part of the guest's run, such as compiling it, with its times in nanoseconds of
        `perf_counter_ns`."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A `with` block that is a part of the guest's run."""
        return nullcontext()

    def guest_code(self) -> AbstractContextManager[None]:
        """A `with` block in which the guest's own code runs, but for its calls."""
        return nullcontext()
