"""The log of a guest's failed calls, which has a limited number of lines."""

from __future__ import annotations

import logging

logger = logging.getLogger("wasi_nn")

_MAX_LOGGED = 100


class FailureLog:
    """Logs only the first 100 failed calls of one guest, since a guest may make any number of them."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, text: str) -> None:
        """Log a failed call, unless the limit is reached."""
        self._count += 1
        if self._count <= _MAX_LOGGED:
            logger.warning("%s", text)
        if self._count == _MAX_LOGGED:
            logger.warning("this guest's further failures are not logged")
