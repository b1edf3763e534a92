"""Reads descriptions that the host wrote into a guest's memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import unpack_from
from typing import TypeVar

Item = TypeVar("Item")

Type = tuple[str, int | str | None]
"""The kind of an element type, with its number or the runtime's name."""


@dataclass(frozen=True)
class Tensor:
    """The description of an input or output. A dimension is a size, a name, or None; `dims` is None for any rank."""

    name: str
    type: Type
    dims: tuple[int | str | None, ...] | None
    optional: bool = False


@dataclass(frozen=True)
class Description:
    """The description of a graph. `outputs` is None where they aren't declared."""

    encoding: int
    runtime: str
    device: str
    signature: str
    signatures: list[str]
    inputs: list[Tensor]
    outputs: list[Tensor] | None
    metadata: list[tuple[str, str]]


class RecordReader:
    """Reads records in a memory. Checks that all that belongs to a record is in its bytes."""

    def __init__(self, memory: bytes, start: int, size: int) -> None:
        self._memory, self._start, self._end = memory, start, start + size

    def graph(self) -> Description:
        at = self._start
        declares_outputs, outputs = self._flag(at + 44), self._list(at + 48, 36, self._tensor)
        return Description(
            self._byte(at),
            self._string(at + 4),
            self._string(at + 12),
            self._string(at + 20),
            self._list(at + 28, 8, self._string),
            self._list(at + 36, 36, self._tensor),
            outputs if declares_outputs else None,
            self._list(at + 56, 16, lambda pair: (self._string(pair), self._string(pair + 8))),
        )

    def tensor(self) -> Tensor:
        return self._tensor(self._start)

    def _tensor(self, at: int) -> Tensor:
        knows_rank, dims = self._flag(at + 20), self._list(at + 24, 12, self._dimension)
        return Tensor(
            self._string(at), self._type(at + 8), tuple(dims) if knows_rank else None, optional=self._flag(at + 32)
        )

    def _type(self, at: int) -> Type:
        kind = ("number", "byte string", "native", "any")[self._byte(at)]
        if kind == "number":
            return kind, self._byte(at + 4)
        return kind, self._string(at + 4) if kind == "native" else None

    def _dimension(self, at: int) -> int | str | None:
        tag = self._byte(at)
        assert tag <= 2
        return (lambda: self._u32(at + 4), lambda: self._string(at + 4), lambda: None)[tag]()

    def _flag(self, at: int) -> bool:
        assert self._byte(at) <= 1
        return self._byte(at) == 1

    def _byte(self, at: int) -> int:
        value = self._u32(at)
        assert value < 256, "bytes of zero follow"
        return value

    def _u32(self, at: int) -> int:
        assert self._start <= at <= self._end - 4
        value: int = unpack_from("<I", self._memory, at)[0]
        return value

    def _string(self, at: int) -> str:
        place, size = self._u32(at), self._u32(at + 4)
        assert size == 0 or self._start <= place <= self._end - size
        return self._memory[place : place + size].decode()

    def _list(self, at: int, size: int, read: Callable[[int], Item]) -> list[Item]:
        place, count = self._u32(at), self._u32(at + 4)
        return [read(place + size * n) for n in range(count)]
