"""The failed nn calls of a guest: a log with a limited number of lines, and the texts of these lines and of graphs that
aren't loaded."""

from __future__ import annotations

import logging

from wasi_nn.errors import ErrorCode, NNError, shortened
from wasi_nn.settings import how_to_set

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

    def restart(self) -> None:
        """Count anew, for a further request."""
        self.count = 0
        self.texts.clear()

    def keep(self, text: str) -> bool:
        """Count a failed call that is logged elsewhere, and keep its text unless the limit is reached. Returns whether
        the text was kept."""
        self.count += 1
        if self.count > MOST_LOGGED:
            return False
        self.texts.append(text)
        return True


def no_graph_named(name: str) -> NNError:
    """The error for a name of a graph that a guest may not load, or that no graph has: the guest can't tell these."""
    how = how_to_set("allow_names", "--allow-name", "graphs of [guests.NAME]")
    message = f"no graph is named {shortened(name)!r}, or this guest may not load the graph ({how})"
    return NNError(ErrorCode.NOT_FOUND, message)


def with_graph(name: str, error: NNError) -> NNError:
    """The error with the name of the graph that wasn't loaded, unless the message begins with it."""
    graph = f"graph {shortened(name)!r}"
    return error if error.message.startswith(graph) else error.with_message(f"{graph}: {error}")
