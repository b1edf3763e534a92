"""How much a guest may have and how long it may take, and the count of what it has.

`Limits` are a run's, `HostLimits` those of all runs of a host together. `Usage` counts what is alive against them, a
run's within its host's. `ComputeGuard` keeps computes within their time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from wasi_nn.types import ErrorCode, NNError, printable
from wasi_nn.watchdog import LONGEST_WAIT, Alarm

if TYPE_CHECKING:
    from wasi_nn.runner import Runner

Result = TypeVar("Result")

_GIB = 2**30
_LARGEST = 2**63  # what the engine can be told
_SHORT = 0.001  # seconds: a compute of less isn't worth two looks at the processor's clock


@dataclass(frozen=True)
class Limits:
    """What one guest may have and take. None is no limit.

    guest_memory    bytes of its linear memories, in equal parts if there are several (at most 8, in a component 32)
    guest_time      seconds of processor time in its own code; computes don't count
    fuel            instructions, as the engine counts them: exact, but the guest runs at about half the speed
    compute_time    seconds for one compute, or for one piece of a sequence
    run_time        seconds for the whole run, with compiling it
    compile_time    seconds for compiling it
    compile_memory  bytes of memory that compiling it may take
    load_time       seconds for loading one model
    model_bytes     bytes of models that it loads from bytes, alive together
    tensor_bytes    bytes of tensors alive: a component's, and the inputs and outputs of execution contexts
    graphs          graphs that it holds
    workers         processes of isolated graphs that it loads from bytes
    contexts        execution contexts that it holds
    handles         everything that it holds, tensors and errors among it
    files           files and directories that it has open in the directories that it is given
    output_bytes    bytes of its standard output and error together, if they are captured

    Raises `NNError` with `invalid-argument` for what isn't positive.
    """

    guest_memory: int | None = 2 * _GIB
    guest_time: float | None = 600.0
    fuel: int | None = None
    compute_time: float | None = 600.0
    run_time: float | None = 3600.0
    compile_time: float | None = 120.0
    compile_memory: int | None = 4 * _GIB
    load_time: float | None = 60.0
    model_bytes: int | None = _GIB
    tensor_bytes: int | None = _GIB
    graphs: int | None = 64
    workers: int | None = 8
    contexts: int | None = 256
    handles: int | None = 65536
    files: int | None = 256
    output_bytes: int | None = 64 * 2**20

    def __post_init__(self) -> None:
        require_positive(self)


@dataclass(frozen=True)
class HostLimits:
    """What all guests of a host may have together. None is no limit.

    `computes`: those under way at once; one more waits for its turn, and that counts as time of its compute. The others
    are as in `Limits`.
    """

    computes: int | None = 64
    model_bytes: int | None = None
    tensor_bytes: int | None = None
    graphs: int | None = None
    workers: int | None = 32
    contexts: int | None = None

    def __post_init__(self) -> None:
        require_positive(self)


def require_positive(settings: Any, longest: float = _LARGEST) -> None:
    """Raise `NNError` with `invalid-argument` for a field of a dataclass that isn't a positive number, of the kind that
    it is annotated with; seconds are less than `longest`."""
    for field in fields(settings):
        value, kind = getattr(settings, field.name), str(field.type)
        if value is None and "None" in kind:
            continue
        kinds, most = ((int, float), longest) if "float" in kind else ((int,), _LARGEST)
        if isinstance(value, kinds) and not isinstance(value, bool) and 0 < value < most:
            continue
        what = f"a positive {'number' if float in kinds else 'whole number'}"
        if isinstance(value, int | float) and value >= most:
            what += f" below {float(most):.2g}"
        more = ", or None for no limit" if "None" in kind else ""
        message = f"{type(settings).__name__}.{field.name} must be {what}{more}: {printable(repr(value))[:100]}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


_COUNTED = {
    "model_bytes": "bytes of models",
    "tensor_bytes": "bytes of tensors",
    "graphs": "graphs",
    "workers": "isolated workers",
    "contexts": "execution contexts",
    "handles": "handles",
}


def how_to_raise(limits: Limits | HostLimits, name: str) -> str:
    """A limit's name, for whoever wants to raise it."""
    flag = f", --max-{name.replace('_', '-')}" if isinstance(limits, Limits) or name == "computes" else ""
    return f"{type(limits).__name__}.{name}{flag}"


class Usage:
    """What is alive of what is limited. Safe to use from several threads."""

    def __init__(self, limits: Limits | HostLimits, within: Usage | None = None) -> None:
        self.limits = limits
        self._within = within
        self._most = {name: inf if (most := getattr(limits, name, None)) is None else most for name in _COUNTED}
        self._used = dict.fromkeys(_COUNTED, 0)
        self._lasting = dict.fromkeys(_COUNTED, 0)  # what of it isn't given back when this is closed
        self._lock = threading.Lock()
        # Garbage is collected on any thread, whatever locks that has: what is given back waits here for the lock.
        self._returned: deque[tuple[str, int]] = deque()
        self._closed = False

    def used(self, name: str) -> int:
        """How much there is of it."""
        self._settle()
        return self._used[name]

    def require(self, name: str, amount: int) -> None:
        """Raise `NNError` with `too-large` if there is no room for so much more."""
        self.take(name, amount)
        self.give_back(name, amount)

    def take(self, name: str, amount: int = 1) -> None:
        """Count so much more. Raises `NNError` with `too-large`, and counts nothing, if that is too much."""
        if amount < 0:
            raise ValueError(f"an amount below zero: {amount}")
        with self._lock:
            self._take_back()
            used = self._used[name] + amount
            if used > self._most[name]:
                whose = "a guest may have" if isinstance(self.limits, Limits) else "all guests together may have"
                text = f"{used} {_COUNTED[name]} would be alive, and {whose} {self._most[name]}"
                raise NNError(ErrorCode.TOO_LARGE, f"{text} ({how_to_raise(self.limits, name)})")
            if self._within is not None and not self._closed:
                self._within.take(name, amount)
            self._used[name] = used
        self._settle()

    def take_all(self, amounts: Mapping[str, int]) -> None:
        """Count so much more of each, or of none. Raises as `take` does."""
        taken = []
        try:
            for name, amount in amounts.items():
                self.take(name, amount)
                taken.append(name)
        except NNError:
            for name in taken:
                self.give_back(name, amounts[name])
            raise

    def give_back_all(self, amounts: Mapping[str, int]) -> None:
        """Count so much less of each."""
        for name, amount in amounts.items():
            self.give_back(name, amount)

    def outlive(self, amounts: Mapping[str, int]) -> Callable[[], None]:
        """Have what was taken count until the function is called that this gives, be it that all else was given back
        before."""
        amounts = dict(amounts)
        with self._lock:
            if self._closed:
                return lambda: None
            for name, amount in amounts.items():
                self._lasting[name] += amount

        def release() -> None:
            with self._lock:
                for name, amount in amounts.items():
                    self._lasting[name] -= amount
                    self._used[name] -= amount
            if self._within is not None:
                self._within.give_back_all(amounts)

        return release

    def give_back(self, name: str, amount: int = 1) -> None:
        """Count so much less: at once, or as soon as whoever has the lock leaves it. Waits for nobody."""
        self._returned.append((name, amount))
        self._settle()

    def _settle(self) -> None:
        while self._returned and self._lock.acquire(blocking=False):
            try:
                self._take_back()
            finally:
                self._lock.release()

    def _take_back(self) -> None:
        while self._returned:
            name, amount = self._returned.popleft()
            if self._closed:  # and all was given back
                continue
            self._used[name] = max(0, self._used[name] - amount)
            if self._within is not None:
                self._within.give_back(name, amount)

    def close(self) -> None:
        """Give everything back but what outlives this."""
        with self._lock:
            if self._closed:
                return
            self._take_back()
            self._closed = True
            over = {name: used - self._lasting[name] for name, used in self._used.items()}
            self._used = dict(self._lasting)
        if self._within is not None:
            self._within.give_back_all(over)


class HeldBytes:
    """The tensors of one execution context, as they count."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._sizes: dict[int, int] = {}

    def hold(self, place: int, size: int) -> None:
        """Hold `size` bytes in a place, instead of those that were there. Raises as `Usage.take` does."""
        if size < 0:
            raise ValueError(f"a size below zero: {size}")
        change = size - self._sizes.get(place, 0)
        if change > 0:
            self._usage.take("tensor_bytes", change)
        elif change < 0:
            self._usage.give_back("tensor_bytes", -change)
        self._sizes[place] = size

    def require(self, size: int) -> None:
        """Raise as `Usage.require` does."""
        self._usage.require("tensor_bytes", size)

    def release(self) -> None:
        """Hold nothing any more."""
        sizes, self._sizes = self._sizes, {}
        self._usage.give_back("tensor_bytes", sum(sizes.values()))


class Turns:
    """So many computes at once, in the order of asking. A free turn is taken without a lock."""

    def __init__(self, limits: HostLimits) -> None:
        self.limits = limits
        self._free: list[None] = [None] * (limits.computes or 0)
        self._waiting = 0
        self._changed = threading.Condition()

    def take(self, until: float) -> None:
        """Wait for a turn. Raises `NNError` with `timeout` if there is none until then."""
        if not self._waiting:
            try:
                self._free.pop()
                return
            except IndexError:
                pass
        self._wait(until)

    def _wait(self, until: float) -> None:
        with self._changed:
            self._waiting += 1  # before it looks: whoever gives a turn back then tells
            try:
                while not self._free and (left := until - time.monotonic()) > 0:
                    self._changed.wait(min(left, LONGEST_WAIT))
                self._free.pop()
            except IndexError:
                text = f"no turn came in time: {self.limits.computes} computes are under way, and no more may be"
                raise NNError(ErrorCode.TIMEOUT, f"{text} ({how_to_raise(self.limits, 'computes')})") from None
            finally:
                self._waiting -= 1

    def give_back(self) -> None:
        """Let another one have the turn."""
        self._free.append(None)
        if self._waiting:
            with self._changed:
                self._changed.notify()


class ComputeGuard:
    """Keeps the computes of one guest within their time.

    A compute past its deadline is stopped where its runner can be (`interrupt`), and is an error with `timeout` in any
    case. `run_until` is when the run has to end, a time of `time.monotonic`. `computing` are the seconds of processor
    time that the guest's thread spent in computes, if somebody `counts` them, which costs a microsecond each.
    """

    def __init__(self, limits: Limits, turns: Turns | None = None) -> None:
        self.run_until = inf
        self.computing = 0.0
        self.counts = False
        self._limits = limits
        self._turns = turns if turns is not None and turns.limits.computes is not None else None
        self._time = inf if limits.compute_time is None else limits.compute_time
        self._alarm = Alarm()
        finalize(self, self._alarm.abandon).atexit = False  # for sessions that nobody closes
        self._quick = 0  # the id of the runner whose last compute was short

    def run(self, runner: Runner, call: Callable[[], Result]) -> Result:
        """Make a call that has the runner compute. Raises what it raises, and `NNError` with `timeout`.

        A short compute on a runner whose last one was short counts as the guest's own time.
        """
        began = time.monotonic()
        due = min(began + self._time, self.run_until)
        if due <= began:
            raise self.late()
        if self._turns is not None:
            self._turns.take(due)
        before = -1.0 if id(runner) == self._quick or not self.counts else time.thread_time()
        self._alarm.set(due, getattr(runner, "interrupt", None))
        try:
            result = call()
        except Exception as error:
            if self._alarm.clear():
                raise self.late() from error
            raise
        finally:
            rang = self._alarm.clear()
            if self._turns is not None:
                self._turns.give_back()
            if before >= 0:
                self.computing += time.thread_time() - before
            self._quick = id(runner) if time.monotonic() - began < _SHORT else 0
        if rang:
            raise self.late()
        return result

    def load_until(self) -> float:
        """When a load that begins now has to end, a time of `time.monotonic`."""
        time_of_load = inf if self._limits.load_time is None else time.monotonic() + self._limits.load_time
        return min(time_of_load, self.run_until)

    def stop(self) -> None:
        """End the compute that is under way, and let no other begin. From any thread."""
        self.run_until = 0.0
        self._alarm.hasten()

    def late(self, limit: str = "compute_time", what: str = "the compute") -> NNError:
        """The error where what took its time is over: for the run, or for the limit of what was done."""
        if self.run_until == 0.0:
            return NNError(ErrorCode.TIMEOUT, "the run was stopped")
        if time.monotonic() >= self.run_until:
            limit, what = "run_time", "the run"
        text = f"{what} took longer than {getattr(self._limits, limit):g} s"
        return NNError(ErrorCode.TIMEOUT, f"{text} ({how_to_raise(self._limits, limit)})")

    def close(self) -> None:
        """Guard no more."""
        self._alarm.discard()
