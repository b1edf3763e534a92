"""The count of what is alive of what is limited: a run's, within its host's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from math import inf

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.limits.limits import HostLimits, Limits, how_to_raise

_COUNTED = {
    "model_bytes": "bytes of models",
    "tensor_bytes": "bytes of tensors",
    "graphs": "graphs",
    "workers": "isolated workers",
    "contexts": "execution contexts",
    "handles": "handles",
}


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
