"""A log of a guest's failed calls, limited in lines."""

from __future__ import annotations

import logging

logger = logging.getLogger("wasi_nn")

_MAX_LOGGED = 100


class FailureLog:
    """Logs the first failures of one guest only, since a guest may fail any number of times."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, text: str) -> None:
        """Log a failure, unless the limit is reached."""
        self._count += 1
        if self._count <= _MAX_LOGGED:
            logger.warning("%s", text)
        if self._count == _MAX_LOGGED:
            logger.warning("this guest's further failures are not logged")
