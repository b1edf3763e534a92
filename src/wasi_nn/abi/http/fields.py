"""`Fields`: the headers or trailers of a request or an answer, as a guest reads and changes them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from wasi_nn.abi.call_boundary import GuestFault

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ILLEGAL_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_OVERHEAD = 64  # bytes that a field counts beside its own, for what Python keeps of it

HOP_BY_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("transfer-encoding", "upgrade", "http2-settings"),
    )
)
"""The fields of a connection, which belong to the server, in both directions."""

FORBIDDEN = HOP_BY_HOP | {"host"}
"""The fields that a guest may not set, as Wasmtime has it: the connection's, and the authority's."""

Field = tuple[str, bytes]


class HeaderError(Exception):
    """A change that can't be made; `args[0]` is the case of `header-error`."""


class FieldBytes:
    """The bytes of all fields that a guest holds, of which there are at most so many."""

    def __init__(self, most: int) -> None:
        self.left = self.most = most

    def take(self, fields: Iterable[Field]) -> None:
        """Count more fields. Raises `GuestFault` if they are too many."""
        self.left -= sum(len(name) + len(value) + _OVERHEAD for name, value in fields)
        if self.left < 0:
            raise GuestFault(f"the guest's headers have more than {self.most} bytes together")

    def give_back(self, fields: Iterable[Field]) -> None:
        """Count fields no longer."""
        self.left += sum(len(name) + len(value) + _OVERHEAD for name, value in fields)


class Fields:
    """Names, in lower case, and values, in the order in which they came. All methods raise `HeaderError` for a name or
    value that isn't one of HTTP, for a forbidden name, and, if they change something, where the fields are immutable.
    """

    def __init__(self, size: FieldBytes, items: Iterable[Field] = (), *, is_immutable: bool = False) -> None:
        self._size = size
        self.items = list(items)
        self.is_immutable = is_immutable
        size.take(self.items)

    @classmethod
    def checked(cls, size: FieldBytes, entries: Iterable[Field]) -> Fields:
        """Mutable fields of a guest's own."""
        return cls(size, [(checked_name(name), checked_value(value)) for name, value in entries])

    def get(self, name: str) -> list[bytes]:
        """The values of a name; none for a name that is none of HTTP."""
        key = name.lower()
        return [value for other, value in self.items if other == key]

    def set(self, name: str, values: Collection[bytes]) -> None:
        """Replace all values of a name."""
        key = self._changed(name)
        added = [(key, checked_value(value)) for value in values]
        self.delete(key)
        self._size.take(added)
        self.items += added

    def delete(self, name: str) -> None:
        """Remove all values of a name."""
        key = self._changed(name)
        removed = [field for field in self.items if field[0] == key]
        self._size.give_back(removed)
        self.items = [field for field in self.items if field[0] != key]

    def append(self, name: str, value: bytes) -> None:
        """Add a value to a name."""
        field = self._changed(name), checked_value(value)
        self._size.take([field])
        self.items.append(field)

    def copy(self, *, is_immutable: bool = False) -> Fields:
        """Fields with the same content."""
        return Fields(self._size, self.items, is_immutable=is_immutable)

    def close(self) -> None:
        """Give the bytes back."""
        self._size.give_back(self.items)
        self.items = []

    def _changed(self, name: str) -> str:
        if self.is_immutable:
            raise HeaderError("immutable")
        return checked_name(name)


def checked_name(name: str) -> str:
    """A field's name in lower case. Raises `HeaderError` for one that a guest may not set."""
    if _NAME.fullmatch(name) is None:
        raise HeaderError("invalid-syntax")
    key = name.lower()
    if key in FORBIDDEN:
        raise HeaderError("forbidden")
    return key


def checked_value(value: bytes) -> bytes:
    """A field's value. Raises `HeaderError` for one with control characters, such as the end of a line."""
    if _ILLEGAL_IN_VALUE.search(value) is not None:
        raise HeaderError("invalid-syntax")
    return value


def end_to_end(fields: Iterable[Field]) -> list[Field]:
    """The fields that are no matter of the connection, nor of the authority: those that a guest gets of a request."""
    items = list(fields)
    named = {
        name.strip().lower()
        for key, value in items
        if key == "connection"
        for name in value.decode("latin-1").split(",")
    }
    return [(name, value) for name, value in items if name not in FORBIDDEN and name not in named]
