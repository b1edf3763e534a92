"""Tables on the terminal: columns that line up, within the width of the terminal.

Output that doesn't go to a terminal isn't wrapped: a row is a line, for other programs to read.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from wasi_nn.errors import printable

_GAP = 2  # spaces between two columns
_NARROWEST = 8  # columns of text: no cell is wrapped to less


def terminal_width() -> int | None:
    """The columns of the terminal that the output goes to; None if it goes elsewhere."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def text_width(text: str) -> int:
    """The columns that a text takes on a terminal: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def table(rows: Sequence[Sequence[str]], *, indent: int = 0, width: int | None = None) -> list[str]:
    """The lines of a table. Where the rows are wider than `width`, the widest cells are wrapped."""
    return list(Columns(rows, indent=indent, width=width).lines(rows))


class Columns:
    """The widths of a table's columns, by some of its rows. So rows can be printed before the others exist."""

    def __init__(self, rows: Sequence[Sequence[str]], *, indent: int = 0, width: int | None = None) -> None:
        count = max(map(len, rows), default=0)
        self._indent = indent
        self._widths = [max(text_width(printable(row[n])) for row in rows if n < len(row)) for n in range(count)]
        self._wraps = width is not None
        if width is not None and count:
            self._narrow(width - indent - _GAP * (count - 1))

    def _narrow(self, width: int) -> None:
        """Take columns of text from the widest cells until the rest fits."""
        while (excess := sum(self._widths) - width) > 0:
            widest = max(self._widths)
            if widest <= _NARROWEST:
                return
            next_width = max((other for other in self._widths if other < widest), default=0)
            place = self._widths.index(widest)
            self._widths[place] = max(widest - excess, min(next_width, widest - 1), _NARROWEST)

    def lines(self, rows: Sequence[Sequence[str]]) -> Iterator[str]:
        """The lines of some rows. A cell that is wider than its column is wrapped, or pushes the rest of its row."""
        for row in rows:
            cells = [
                _wrapped(printable(cell), width) if self._wraps else [printable(cell)]
                for cell, width in zip(row, self._widths, strict=False)
            ]
            for parts in zip_longest(*cells, fillvalue=""):
                padded = (
                    part + " " * (width - text_width(part)) for part, width in zip(parts, self._widths, strict=False)
                )
                yield (" " * self._indent + (" " * _GAP).join(padded)).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    """The lines of a text, each at most so wide: broken at spaces, or in the middle of a longer word."""
    lines = [""]
    for word in text.split(" "):
        line = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(line) <= width:
            lines[-1] = line
            continue
        if lines[-1]:
            lines.append("")
        *full, rest = _pieces(word, width)
        lines[-1:] = [*full, rest]
    return lines


def _pieces(word: str, width: int) -> Iterator[str]:
    """The parts of a word, each at most so wide, or a single character that is wider."""
    start = taken = 0
    for place, character in enumerate(word):
        size = _character_width(character)
        if taken + size > width and place > start:
            yield word[start:place]
            start, taken = place, 0
        taken += size
    yield word[start:]


def hanging(text: str, width: int | None) -> str:
    """A text on several lines where it is wider than `width`, with the further ones indented."""
    if width is None or text_width(text) <= width:
        return text
    indent = text[: len(text) - len(text.lstrip(" "))]
    return indent + "\n    ".join(_wrapped(text.lstrip(" "), max(width - 4, _NARROWEST)))
