"""Reads an input as a sequence of choices, for targets that make calls instead of reading bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Choices:
    """The choices in an input. True while bytes are left; after the end, numbers are 0 and bytes are empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def bytes(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int = 1) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.bytes(size), "little")

    def of(self, items: Sequence[Item]) -> Item:
        """One of the items, chosen by one byte."""
        return items[self.number() % len(items)]

    def text(self) -> str:
        """A text of up to 255 bytes."""
        return self.bytes(self.number()).decode(errors="replace")
