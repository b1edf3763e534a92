"""Colours on a terminal, for a person. Output that goes elsewhere has none.

NO_COLOR with any value turns colours off, and FORCE_COLOR with any value turns them on everywhere else
(https://no-color.org, https://force-color.org).
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Colours:
    """The colours of a stream: standard output, unless another one is given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.are_on = _shows_colours(sys.stdout if stream is None else stream)

    def painted(self, text: str, *colours: str) -> str:
        """A text in colours, or as it is where the stream shows none."""
        if not (self.are_on and text):
            return text
        codes = ";".join(_CODES[colour] for colour in colours)
        return f"\x1b[{codes}m{text}\x1b[0m"


def _shows_colours(stream: TextIO | None) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except ValueError:  # the stream is closed
        return False
