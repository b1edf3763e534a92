"""The slots of a model in memory: the places at which llama.cpp writes texts side by side."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from wasi_nn.errors import ErrorCode, NNError


class User(Protocol):
    """A text that is written, or another piece of work that needs a slot."""

    @property
    def is_stopped(self) -> bool:
        """Whether the work was stopped: it needs no slot any more, or gives its slot back soon."""


class Waiter:
    """Work that needs a slot for a moment."""

    is_stopped = False


@dataclass(eq=False)
class Slot:
    """A place for one text at a time. llama.cpp keeps there the tokens of its `owner`'s last text, for the next one."""

    number: int
    owner: weakref.ref[object] | None = None
    user: User | None = None
    used: int = 0

    def belongs_to(self, owner: object) -> bool:
        """Whether the tokens in the slot are those of this owner."""
        return self.owner is not None and self.owner() is owner

    @property
    def is_nobodys(self) -> bool:
        """Whether the owner is gone, or there never was one."""
        return self.owner is None or self.owner() is None


class Slots:
    """Gives slots to texts. A text gets the slot of its owner if there is one, else one that is nobody's, else the one
    that was unused for the longest. Where no slot is free, texts wait, in the order of asking."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._waiting: deque[User] = deque()
        self._changed = threading.Condition()
        self._uses = itertools.count(1)

    def take(self, user: User, owner: object) -> tuple[Slot, bool]:
        """Wait for a slot, and make it the owner's. Gives the slot, and whether it has the owner's last text already.
        Raises `NNError` with `runtime-error` if the user is stopped meanwhile (see `wake`)."""
        with self._changed:
            slot = self._wait_for_slot(user, owner)
            is_owners = slot.belongs_to(owner)
            slot.owner = weakref.ref(owner)
            return slot, is_owners

    @contextmanager
    def borrowed(self, user: User) -> Iterator[Slot]:
        """Wait for a slot, for work that leaves the tokens in it as they are. Raises as `take` does."""
        with self._changed:
            slot = self._wait_for_slot(user, None)
        try:
            yield slot
        finally:
            self.give_back(slot)

    def give_back(self, slot: Slot) -> None:
        """Free a slot. It stays its owner's."""
        with self._changed:
            slot.user, slot.used = None, next(self._uses)
            self._changed.notify_all()

    def wake(self) -> None:
        """Have those who wait look whether they were stopped."""
        with self._changed:
            self._changed.notify_all()

    @property
    def waiters(self) -> int:
        """How many texts wait for a slot."""
        return len(self._waiting)

    def _wait_for_slot(self, user: User, owner: object | None) -> Slot:
        self._waiting.append(user)
        try:
            while not user.is_stopped:
                slot = self._choose(owner) if self._waiting[0] is user else None
                if slot is not None:
                    slot.user = user
                    return slot
                self._changed.wait()
        finally:
            self._waiting.remove(user)
            self._changed.notify_all()
        raise interrupted()

    def _choose(self, owner: object | None) -> Slot | None:
        own = [slot for slot in self._slots if owner is not None and slot.belongs_to(owner)]
        if all(slot.user is not None for slot in own) and any(slot.user.is_stopped for slot in own if slot.user):
            return None  # it is free as soon as its last text has stopped
        free = [slot for slot in self._slots if slot.user is None]
        return min(free, key=lambda slot: (slot not in own, not slot.is_nobodys, slot.used), default=None)


def interrupted() -> NNError:
    """The error of a text that was interrupted."""
    return NNError(ErrorCode.RUNTIME_ERROR, "the completion was interrupted")
