"""Logs that a model takes long to load, for a person who waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wasi_nn.errors import one_line, printable
from wasi_nn.process.watchdog import Alarm

logger = logging.getLogger("wasi_nn")

_LONG = 1.0  # seconds


@contextmanager
def log_if_slow(model: object, after: float = _LONG) -> Iterator[None]:
    """Log, at level INFO, that a model is being loaded, if the block takes longer than `after` seconds; and then how
    long it took. Costs nothing where that level isn't logged."""
    if not logger.isEnabledFor(logging.INFO):
        yield
        return
    began = time.monotonic()
    has_logged = False

    def log() -> None:
        nonlocal has_logged
        if not has_logged:  # an alarm rings again and again
            has_logged = True
            logger.info("loading %s, which takes longer than a second ...", _described(model))

    alarm = Alarm()
    alarm.set(began + after, log)
    try:
        yield
    finally:
        alarm.discard()
        if has_logged:
            logger.info("... %.1f s", time.monotonic() - began)


def _described(model: object) -> str:
    """A model by its path, with its size if it is a file."""
    if not isinstance(model, Path):
        return "a model"
    try:
        size = f" ({model.stat().st_size / 1e6:,.0f} MB)" if model.is_file() else ""
    except OSError as error:
        size = f" ({one_line(error)})"
    return f"{printable(model.name)}{size}"
