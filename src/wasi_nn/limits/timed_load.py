"""Loads of models for guests, within their time: each on a thread of its own, as most runtimes can't be stopped there.

A load whose time is over is left behind: nobody waits for it, what comes of it is dropped, and what it takes counts
until it ends. One that a worker is at ends at once, with its worker.
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

_MOST_LEFT = 16


class _LeftBehind:
    """The loads of this process that go on although nobody waits for them."""

    def __init__(self) -> None:
        self.renew()
        forks.renew(self)

    def renew(self) -> None:
        """In a fork, whose threads don't exist, there are none."""
        self.all: set[_Load[Any]] = set()

    def require_few(self) -> None:
        """Raise `NNError` with `timeout` where no more may be begun."""
        if len(self.all) >= _MOST_LEFT:
            message = f"{len(self.all)} models that can't be stopped are still being loaded beyond their time"
            text = f"{message}, which is as many as a process may have: no other is loaded until one ends"
            raise NNError(ErrorCode.TIMEOUT, text)


_left_behind = _LeftBehind()


class _Load(Stoppable, Generic[Result]):
    """A load. One that is stopped is left behind: nobody waits for it any more."""

    def __init__(self, load: Callable[[], Result], usage: Usage, amounts: Mapping[str, int]) -> None:
        super().__init__()
        self._load, self._usage, self._amounts = load, usage, amounts
        self._release: Callable[[], None] | None = None  # for one that is left behind
        self._has_ended = False

    def work(self) -> Result:
        """Load. For the thread."""
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
        """It has ended; whether somebody waits for it."""
        with self._lock:
            self._has_ended = True
        if self._release is None:
            self._usage.give_back_all(self._amounts)
            return True
        _left_behind.all.discard(self)
        self._release()
        return False

    def leave(self, reason: str) -> bool:
        """Wait for it no more, and stop it if that can be done; False if it has ended."""
        with self._lock:
            if self._has_ended or self._release is not None:
                return not self._has_ended
            self._release = self._usage.outlive(self._amounts)
            _left_behind.all.add(self)
        self.stop(reason)
        return True


def load_within(usage: Usage, guard: ComputeGuard, amounts: Mapping[str, int], load: Callable[[], Result]) -> Result:
    """Load a model for a guest, within `Limits.load_time` and the time of its run; meanwhile, it counts as `amounts`.

    Raises what loading it raises, and `NNError`: `timeout`, or `too-large` if that is too much.
    """
    _left_behind.require_few()
    usage.take_all(amounts)
    work = _Load(load, usage, amounts)
    try:
        call = Call(work.work)
    except RuntimeError as error:
        usage.give_back_all(amounts)
        raise NNError(ErrorCode.RUNTIME_ERROR, f"there is no thread to load the model: {one_line(error)}") from error
    try:
        _wait(call, work, guard)
    except BaseException as interruption:
        work.leave(f"interrupted by {type(interruption).__name__}")
        raise
    return call.result()


def _wait(call: Call[Result], work: _Load[Result], guard: ComputeGuard) -> None:
    until = guard.load_until()
    while not call.wait(max(0, min(LOOK_EVERY, until - time.monotonic()))):
        if time.monotonic() >= min(until, guard.run_until):
            late = guard.late("load_time", "loading the model")
            if work.leave(late.message):
                raise late
            call.wait_for_end()
