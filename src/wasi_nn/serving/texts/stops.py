"""Ends a text where one of its stops comes."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Passes a text on, piece by piece, up to the first of its stops, which isn't passed. A piece that may be the
    beginning of a stop is held back until more is known."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.has_stopped = False
        """Whether a stop has come: nothing more is passed then."""

    def take(self, piece: str) -> str:
        """What can be passed on after this piece."""
        if not self._stops or self.has_stopped:
            return "" if self.has_stopped else piece
        text = self._held + piece
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.has_stopped, self._held = True, ""
            return text[: min(found)]
        kept = max(_begun(text, stop) for stop in self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """What is left at the end of the text."""
        rest, self._held = self._held, ""
        return rest


def _begun(text: str, stop: str) -> int:
    """How many characters of a stop the text ends with."""
    most = min(len(text), len(stop) - 1)
    return next((count for count in range(most, 0, -1) if text.endswith(stop[:count])), 0)
