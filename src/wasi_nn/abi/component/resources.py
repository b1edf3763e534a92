"""The objects of the host that one guest has handles of, by the numbers that the engine keeps for them."""

from __future__ import annotations

import itertools
from typing import Any

from wasi_nn.abi.call_boundary import GuestFault


class Resources:
    """The objects behind the resources of one guest, of which there are at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._objects: dict[int, Any] = {}
        self._numbers = itertools.count(1)
        self._first = 0

    def expire(self) -> None:
        """Keep none of the objects: the guest can only drop its handles of them."""
        self._objects.clear()
        self._first = next(self._numbers)

    def has_expired(self, number: int) -> bool:
        """Whether a number was given before all objects were forgotten, for the last time."""
        return number < self._first

    def add(self, item: Any) -> int:
        """Keep an object; gives its number. Raises `GuestFault` if the guest has too many."""
        if len(self._objects) >= self._most:
            raise GuestFault(f"the guest holds {self._most} resources of the host, and may hold no more")
        number = next(self._numbers)
        self._objects[number] = item
        return number

    def get(self, number: int) -> Any:
        """The object of a number. Raises `GuestFault` if it has expired."""
        self._require_kept(number)
        return self._objects[number]

    def take(self, number: int) -> Any:
        """The object of a number, which is kept no longer. Raises `GuestFault` if it has expired."""
        self._require_kept(number)
        return self._objects.pop(number)

    def _require_kept(self, number: int) -> None:
        if self.has_expired(number):
            raise GuestFault("the guest uses a resource of an earlier request")

    def __len__(self) -> int:
        return len(self._objects)
