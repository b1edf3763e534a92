"""The result of a guest's run for one item."""

from __future__ import annotations

from dataclasses import dataclass

from wasi_nn.errors import GuestTrap, WasiNNError, one_line
from wasi_nn.guests.run_stats import RunStats


@dataclass(frozen=True)
class MapResult:
    """How the run for an item ended.

    item       the item's name
    index      its place among the items, from 0
    exit_code  the guest's exit code. None: it trapped, or wasn't run
    stdout     its standard output; of a guest that trapped, until then
    stderr     its standard error, likewise
    error      why there is no exit code. None: there is one
    is_late    whether the guest was stopped at the end of `Limits.run_time`
    seconds    the seconds that the item took
    stats      the facts about the run. None: the guest wasn't run
    """

    item: str
    index: int
    exit_code: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    error: WasiNNError | None = None
    is_late: bool = False
    seconds: float = 0.0
    stats: RunStats | None = None

    @property
    def ok(self) -> bool:
        """Whether the guest ended with the exit code 0."""
        return self.exit_code == 0

    @property
    def failure(self) -> str:
        """Why the item failed, in one line; empty if it didn't."""
        if self.error is not None:
            return one_line(WasiNNError(*self.error.args))  # without the last lines of a guest that trapped
        return "" if self.ok else f"the guest ended with the exit code {self.exit_code}"

    @property
    def kind(self) -> str:
        """The kind of the failure in one word: `exit`, `trap`, `timeout`, or `error` for an item that wasn't run; empty
        if there is none."""
        if self.error is None:
            return "" if self.ok else "exit"
        if self.is_late:
            return "timeout"
        return "trap" if isinstance(self.error, GuestTrap) else "error"
