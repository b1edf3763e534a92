"""`Usage` counts the graphs, tensors and other objects of a guest that are alive, against its limits and its host's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from typing import NoReturn

from wasi_nn.arguments import wrong_argument
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
    """Counts the amounts that are alive, by the names of `Limits`. May be used from several threads.

    `within` is the usage of the host: each amount counts there too.
    """

    def __init__(self, limits: Limits | HostLimits, within: Usage | None = None) -> None:
        self.limits = limits
        self._within = within
        self._most = {name: inf if (most := getattr(limits, name, None)) is None else most for name in _COUNTED}
        self._used = dict.fromkeys(_COUNTED, 0)
        self._lasting = dict.fromkeys(_COUNTED, 0)  # the part of `_used` that outlives `close`
        self._lock = threading.Lock()
        # `give_back` may be called by the garbage collector, on a thread that holds the lock. So it never waits for the
        # lock: the amounts wait here until a thread has the lock.
        self._returned: deque[Mapping[str, int]] = deque()
        self._closed = False

    def used(self, name: str) -> int:
        """The amount in use. Raises `NNError` with `invalid-argument` for an amount that isn't counted."""
        if name not in _COUNTED:
            raise wrong_argument("limit", f"one of {', '.join(_COUNTED)}", name)
        self._settle()
        return self._used[name]

    def has_room(self, name: str, amount: int) -> bool:
        """Whether `amount` more would exceed no limit."""
        fits = self._most[name] - self._used[name] >= amount
        return fits and (self._within is None or self._within.has_room(name, amount))

    def require(self, name: str, amount: int) -> None:
        """Raise `NNError` with `too-large` if `amount` more would exceed a limit."""
        # What waits in `_returned` only makes `_used` smaller, so an amount that fits without it fits.
        if not 0 <= amount <= self._most[name] - self._used[name]:
            with self._lock:
                self._require_room({name: amount})
            self._settle()
        if self._within is not None:
            self._within.require(name, amount)

    def take(self, name: str, amount: int = 1) -> None:
        """Add an amount. Raises as `take_all` does."""
        self.take_all({name: amount})

    def take_all(self, amounts: Mapping[str, int]) -> None:
        """Add all amounts, or none. Raises `NNError` with `too-large` if one of them would exceed a limit."""
        with self._lock:
            self._require_room(amounts)
            if self._within is not None and not self._closed:
                self._within.take_all(amounts)
            for name, amount in amounts.items():
                self._used[name] += amount
        if self._returned:
            self._settle()

    def _require_room(self, amounts: Mapping[str, int]) -> None:
        if self._returned:
            self._take_back()
        used, most = self._used, self._most
        for name, amount in amounts.items():
            if not 0 <= amount <= most[name] - used[name]:
                self._refuse(name, amount)

    def _refuse(self, name: str, amount: int) -> NoReturn:
        if amount < 0:
            raise ValueError(f"negative amount: {amount}")
        whose = "a guest" if isinstance(self.limits, Limits) else "all guests together"
        text = f"{self._used[name] + amount} {_COUNTED[name]} at once are more than the {self._most[name]} that {whose}"
        raise NNError(ErrorCode.TOO_LARGE, f"{text} may have ({how_to_raise(self.limits, name)})")

    def give_back(self, name: str, amount: int = 1) -> None:
        """Subtract an amount, as `give_back_all` does."""
        self.give_back_all({name: amount})

    def give_back_all(self, amounts: Mapping[str, int]) -> None:
        """Subtract all amounts: at once, or when the thread that holds the lock releases it. Never waits."""
        self._returned.append(amounts)
        self._settle()

    def outlive(self, amounts: Mapping[str, int]) -> Callable[[], None]:
        """Count amounts that are taken already until the returned function is called, even after `close`."""
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

    def _settle(self) -> None:
        while self._returned and self._lock.acquire(blocking=False):
            try:
                self._take_back()
            finally:
                self._lock.release()

    def _take_back(self) -> None:
        while self._returned:
            amounts = self._returned.popleft()
            if self._closed:  # `close` has given them back
                continue
            for name, amount in amounts.items():
                self._used[name] = max(0, self._used[name] - amount)
            if self._within is not None:
                self._within.give_back_all(amounts)

    def close(self) -> None:
        """Give all amounts back, except those of `outlive`."""
        with self._lock:
            if self._closed:
                return
            self._take_back()
            self._closed = True
            amounts = {name: used - self._lasting[name] for name, used in self._used.items()}
            self._used = dict(self._lasting)
        if self._within is not None:
            self._within.give_back_all(amounts)


class HeldBytes:
    """Counts the bytes of one execution context's inputs and outputs as `tensor_bytes`."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._sizes: dict[int, int] = {}

    def hold(self, place: int, size: int) -> None:
        """Count `size` bytes for a place (an input's index, or -1 for the outputs), instead of its former size.

        Raises as `Usage.take` does.
        """
        if size < 0:
            raise ValueError(f"negative size: {size}")
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
        """Give all bytes back."""
        sizes, self._sizes = self._sizes, {}
        self._usage.give_back("tensor_bytes", sum(sizes.values()))
