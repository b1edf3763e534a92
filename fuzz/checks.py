"""What holds for every target: errors are ours, their texts fit for a terminal, and the host logs no fault."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from wasi_nn.errors import WasiNNError


@contextmanager
def refusals(kind: type[WasiNNError]) -> Iterator[None]:
    """Errors of a kind may come out, if their text is one line that a terminal can show."""
    try:
        yield
    except kind as error:
        assert str(error).isprintable(), f"an unprintable message: {str(error)!r}"


class _Faults(logging.Handler):
    """An ABI logs what it didn't foresee, and goes on. Here that is an error."""

    def emit(self, record: logging.LogRecord) -> None:
        cause = (record.exc_info or (None, None))[1]
        raise AssertionError(f"{record.getMessage()}: {cause!r}") from cause


@contextmanager
def no_faults() -> Iterator[None]:
    """What an ABI logs as a fault of the host's own is raised. Its warnings aren't made."""
    logger = logging.getLogger("wasi_nn")
    faults, before, propagates = _Faults(logging.ERROR), logger.level, logger.propagate
    logger.addHandler(faults)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(faults)
        logger.setLevel(before)
        logger.propagate = propagates
