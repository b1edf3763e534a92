"""The failed nn calls of a guest: a log with a limited number of lines, and the texts of these lines."""

from __future__ import annotations

import logging

logger = logging.getLogger("wasi_nn")

MOST_LOGGED = 100


class FailureLog:
    """Logs and keeps only the first 100 failed calls of one guest, since a guest may make any number of them. A text is
    as long as an `NNError` may be, and some words more."""

    def __init__(self) -> None:
        self.count = 0
        """The number of all failed calls."""
        self.texts: list[str] = []
        """The first 100 of their texts."""

    def add(self, text: str) -> None:
        """Log a failed call, unless the limit is reached."""
        if self.keep(text):
            logger.warning("%s", text)
        if self.count == MOST_LOGGED:
            logger.warning("this guest's further failures are not logged")

    def keep(self, text: str) -> bool:
        """Count a failed call that is logged elsewhere, and keep its text unless the limit is reached. Returns whether
        the text was kept."""
        self.count += 1
        if self.count > MOST_LOGGED:
            return False
        self.texts.append(text)
        return True
