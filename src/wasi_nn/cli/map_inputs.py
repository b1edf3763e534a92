"""The items of `wasi-nn map`: files, lists of files, or the lines of files, read as they are needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from wasi_nn.cli import UsageError
from wasi_nn.errors import ErrorCode, GuestError, NNError
from wasi_nn.mapping.items import MapItem

if TYPE_CHECKING:
    from wasi_nn.mapping.guest_map import Item

PATH, CONTENT, LINES = "path", "content", "lines"
STDIN = "-"
_LONGEST = 64 * 2**20  # bytes of a line
_STEP = 64 * 2**10


@dataclass(frozen=True)
class Inputs:
    """Where the items come from: paths, of which `-` is standard input, and a list of paths. `give` says how a guest
    gets an item: `PATH`, `CONTENT`, or `LINES` for an item of each line. Raises `UsageError` for no items."""

    paths: Sequence[str]
    from_file: str | None
    give: str
    separator: bytes = b"\n"

    def __post_init__(self) -> None:
        if not self.paths and self.from_file is None:
            raise UsageError(
                "there are no items: name files, give a list of them by --from-file, or - for one on stdin"
            )
        if (self.from_file == STDIN) + list(self.paths).count(STDIN) > 1:
            raise UsageError("standard input can be read once only: give one -")

    @property
    def count(self) -> int | None:
        """The number of items; None where only reading them tells."""
        known = self.give != LINES and self.from_file is None and STDIN not in self.paths
        return len(self.paths) if known else None

    def names(self) -> Iterator[str]:
        """The paths of all files."""
        for path in self.paths:
            if path == STDIN and self.give != LINES:
                yield from self._listed(STDIN)
            else:
                yield path
        if self.from_file is not None:
            yield from self._listed(self.from_file)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """The name of each item, with its line. Raises `OSError` for a file that can't be read, and `NNError` with
        `too-large` for a line of more than 64 MiB."""
        for name in self.names():
            if self.give != LINES:
                yield name, b""
                continue
            for number, line in _records(name, b"\n"):
                yield f"{name}:{number}", line

    def item(self, name: str, line: bytes) -> Item:
        """The item of a name and a line, as the guest gets it."""
        if self.give == PATH:
            return name
        return MapItem(name, stdin=line + b"\n" if self.give == LINES else Path(name))

    def _listed(self, path: str) -> Iterator[str]:
        for _, name in _records(path, self.separator):
            yield os.fsdecode(name)


def _records(path: str, separator: bytes) -> Iterator[tuple[int, bytes]]:
    """The records of a file with their numbers, but for empty ones."""
    number = 0
    parts: list[bytes] = []
    size = 0
    with _opened(path) as file:
        while chunk := file.read1(_STEP):  # type: ignore[attr-defined]  # what is there, without waiting for more
            *ends, rest = chunk.split(separator)
            for end in ends:
                number += 1
                if record := b"".join([*parts, end]):
                    yield number, record
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
            if size > _LONGEST:
                message = f"{path}:{number + 1}: the line has more than {_LONGEST} bytes"
                raise NNError(ErrorCode.TOO_LARGE, message)
        if record := b"".join(parts):
            yield number + 1, record


def _opened(path: str) -> IO[bytes] | nullcontext[IO[bytes]]:
    if path != STDIN:
        return open(path, "rb")
    if sys.stdin is None:
        raise GuestError("standard input is closed")
    return nullcontext(sys.stdin.buffer)
