"""A line on the terminal that says how far a long command is."""

from __future__ import annotations

import os
import shutil
import time
from typing import TextIO

_EVERY = 0.2  # seconds between two changes of the line
_ERASE = "\r\x1b[K"


class TerminalLine:
    """A line that is written anew again and again; nothing where the stream is no terminal."""

    def __init__(self, stream: TextIO | None) -> None:
        is_terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._stream = stream if is_terminal else None
        self._is_shown = False

    @property
    def is_seen(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream is not None

    def show(self, text: str) -> None:
        """Write the line, in place of what it was."""
        if self._stream is not None:
            self._stream.write(_ERASE + text[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
            self._is_shown = True

    def hide(self) -> None:
        """Erase the line, so that other output can take its place."""
        if self._stream is not None and self._is_shown:
            self._stream.write(_ERASE)
            self._stream.flush()
            self._is_shown = False


class Progress:
    """Shows how many items are done, in a `TerminalLine`. `count` is the number of all items, if it is known."""

    def __init__(self, stream: TextIO | None, count: int | None) -> None:
        self._line = TerminalLine(stream)
        self._count = count
        self._began = self._shown_at = time.monotonic()

    def show(self, done: int, failed: int, skipped: int = 0) -> None:
        """Show the numbers, unless the line was written just now. `skipped` are those of `done` that took no time."""
        now = time.monotonic()
        if self._line.is_seen and now - self._shown_at >= _EVERY:
            self._shown_at = now
            self._line.show(progress_line(done, failed, skipped, self._count, now - self._began))

    def hide(self) -> None:
        """Erase the line, so that other output can take its place."""
        self._line.hide()
        self._shown_at = 0.0


def progress_line(done: int, failed: int, skipped: int, count: int | None, seconds: float) -> str:
    """The words of the line."""
    rate = (done - skipped) / seconds if seconds > 0 else 0.0
    parts = [f"{done:,} of {count:,}" if count is not None else f"{done:,} done"]
    if failed:
        parts.append(f"{failed:,} failed")
    parts.append(f"{rate:,.1f} a second")
    if count is not None and rate > 0:
        left = round((count - done) / rate)
        parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
    width = 24
    bar = "" if not count else f"[{'#' * (width * min(done, count) // count):<{width}}] "
    return bar + ", ".join(parts)
