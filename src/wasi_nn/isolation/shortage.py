"""Hints for the errors of workers that may have run out of memory or threads."""

from __future__ import annotations

import re

from wasi_nn.isolation import Isolation, how_to_raise

_NAMES = "Isolation."
_MEMORY = re.compile(r"allocate memory|out of memory|memory allocation|bad_alloc|map segment", re.IGNORECASE)
_THREADS = re.compile(r"resource temporarily unavailable|start new thread|pthread_create", re.IGNORECASE)


def after_crash(settings: Isolation) -> str:
    """A hint for a worker that crashed or gave up."""
    return f"; it may have wanted more than {_memory(settings)}, or than {_threads(settings)}"


def after_error(text: str, settings: Isolation) -> str:
    """A hint for an error text of a worker; empty if the error has another cause, or names the limit already."""
    if _NAMES in text:
        return ""
    for sign, limit in ((_MEMORY, _memory), (_THREADS, _threads)):
        if sign.search(text):
            return f"; the isolated worker may have no more than {limit(settings)}"
    return ""


def _memory(settings: Isolation) -> str:
    return f"{settings.memory} bytes of memory ({how_to_raise('memory')})"


def _threads(settings: Isolation) -> str:
    return f"{settings.threads} threads ({how_to_raise('threads')})"
