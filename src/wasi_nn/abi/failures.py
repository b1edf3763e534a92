"""What a guest's failed calls leave in the log: as many lines as help, and no more."""

from __future__ import annotations

import logging

logger = logging.getLogger("wasi_nn")

_MAX_LOGGED = 100


class FailureLog:
    """The failures of one guest, of which only so many are logged: a guest may fail as often as it likes."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, text: str) -> None:
        """Log a failure, unless there were too many."""
        self._count += 1
        if self._count <= _MAX_LOGGED:
            logger.warning("%s", text)
        if self._count == _MAX_LOGGED:
            logger.warning("this guest's further failures are not logged")
