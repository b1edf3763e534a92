"""Checks for all targets: only deliberate errors are raised, with printable messages, and the host logs no fault."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from wasi_nn.errors import WasiNNError


@contextmanager
def refusals(kind: type[WasiNNError]) -> Iterator[None]:
    """Allow errors of a kind in the block, if their message is printable."""
    try:
        yield
    except kind as error:
        assert str(error).isprintable(), f"an unprintable message: {str(error)!r}"


class _Faults(logging.Handler):
    """Raises the faults that an ABI would only log."""

    def emit(self, record: logging.LogRecord) -> None:
        cause = (record.exc_info or (None, None))[1]
        raise AssertionError(f"{record.getMessage()}: {cause!r}") from cause


@contextmanager
def no_faults() -> Iterator[None]:
    """During the block, raise the faults of the host that an ABI logs, and log no warnings."""
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
