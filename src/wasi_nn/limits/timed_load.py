"""Loads a model for a guest within `Limits.load_time`.

Each load has its own thread, since most runtimes can't be stopped while they load. When its time is over, the load is
abandoned: the guest waits no longer, the graph is dropped, and the load counts as the guest's until it ends. A load in
a worker ends at once, with its worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.limits.stopping import LOOK_EVERY, Stoppable
from wasi_nn.process import forks
from wasi_nn.process.threads import Call

if TYPE_CHECKING:
    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.limits.usage import Usage

Result = TypeVar("Result")

MOST_ABANDONED = 16  # abandoned loads in a process


class _LeftBehind:
    """The abandoned loads of this process: they go on although no guest waits for them."""

    def __init__(self) -> None:
        self.reset_in_child()
        forks.reset_in_child(self)

    def reset_in_child(self) -> None:
        """Start without loads, as in a fork, where their threads don't exist."""
        self.all: set[_Load[Any]] = set()

    def require_few(self) -> None:
        """Raise `NNError` with `timeout` if there are as many as a process may have."""
        if len(self.all) >= MOST_ABANDONED:
            message = f"{len(self.all)} loads of models can't be stopped, and go on after their time"
            text = f"{message}, the most that a process may have: no model is loaded until one of them ends"
            raise NNError(ErrorCode.TIMEOUT, text)


_left_behind = _LeftBehind()


def abandoned_loads() -> int:
    """The number of loads in this process that go on although no guest waits for them."""
    return len(_left_behind.all)


class _Load(Stoppable, Generic[Result]):
    """A load on its own thread, which `leave` abandons."""

    def __init__(self, load: Callable[[], Result], usage: Usage, amounts: Mapping[str, int]) -> None:
        super().__init__()
        self._load, self._usage, self._amounts = load, usage, amounts
        self._release: Callable[[], None] | None = None  # of an abandoned load: gives back its amounts
        self._has_ended = False

    def work(self) -> Result:
        """Load the model. Called on the load's own thread."""
        with self.under_way():
            try:
                graph = self._load()
            except BaseException:
                self._end()
                raise
        if not self._end():
            raise NNError(ErrorCode.TIMEOUT, self._reason or "")
        return graph

    def _end(self) -> bool:
        """Note the end, and give the amounts back. Returns whether the guest still waits."""
        with self._lock:
            self._has_ended = True
        if self._release is None:
            self._usage.give_back_all(self._amounts)
            return True
        _left_behind.all.discard(self)
        self._release()
        return False

    def leave(self, reason: str) -> bool:
        """Abandon the load, and stop it if it can be stopped. Returns False if it has ended already."""
        with self._lock:
            if self._has_ended or self._release is not None:
                return not self._has_ended
            self._release = self._usage.outlive(self._amounts)
            _left_behind.all.add(self)
        self.stop(reason)
        return True


def load_within(usage: Usage, guard: ComputeGuard, amounts: Mapping[str, int], load: Callable[[], Result]) -> Result:
    """Load a model for a guest, within `Limits.load_time` and the time of its run.

    Until the load ends, `amounts` (by the names of `Limits`) count as used. Raises the errors of `load`, and `NNError`:
    `timeout`, `too-large` if the amounts exceed a limit, `runtime-error` if no thread can be started.
    """
    _left_behind.require_few()
    usage.take_all(amounts)
    began = time.monotonic()
    work = _Load(load, usage, amounts)
    try:
        call = Call(work.work)
    except RuntimeError as error:
        usage.give_back_all(amounts)
        raise NNError(
            ErrorCode.RUNTIME_ERROR, f"no thread can be started to load the model: {one_line(error)}"
        ) from error
    try:
        _wait(call, work, guard)
    except BaseException as interruption:
        work.leave(f"interrupted by {type(interruption).__name__}")
        raise
    finally:
        guard.load_seconds += time.monotonic() - began
    return call.result()


def _wait(call: Call[Result], work: _Load[Result], guard: ComputeGuard) -> None:
    until = guard.load_until()
    while not call.wait(max(0, min(LOOK_EVERY, until - time.monotonic()))):
        if time.monotonic() >= min(until, guard.run_until):
            late = guard.late("load_time", "loading the model")
            if work.leave(late.message):
                raise late
            call.wait_for_end()
