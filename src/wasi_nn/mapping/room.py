"""Room for results that wait for their turn, so that a slow item doesn't pile up those of all others."""

from __future__ import annotations

import threading


class Room:
    """Room for a number of items, from the moment that one is taken until its result is given, and for a number of
    bytes of results. Safe to use from any number of threads."""

    def __init__(self, items: int, size: int) -> None:
        self._items = items
        self._size = size
        self._changed = threading.Condition()
        self._is_closed = False

    def take(self) -> bool:
        """Wait until there is room, and take it for one item. False: there is no more room for ever."""
        with self._changed:
            # The earliest item has its room already, so that its result comes and frees the room of the others.
            self._changed.wait_for(lambda: self._is_closed or (self._items > 0 and self._size > 0))
            self._items -= 1
            return not self._is_closed

    def hold(self, size: int) -> None:
        """Take room for the bytes of a result."""
        with self._changed:
            self._size -= size

    def give(self, size: int) -> None:
        """Give back the room of an item whose result has so many bytes."""
        with self._changed:
            self._items += 1
            self._size += size
            self._changed.notify_all()

    def close(self) -> None:
        """Give no more room."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
