"""Recognises workers that failed because they had too little memory or too few threads, and names the limit.

Facts count first: what a worker had in use, whether an allocation failed, and whether it had read the model. Without
facts, the text of a library's error counts. Such a text may name the wrong resource: a thread that gets no memory for
its stack is "temporarily unavailable".
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from wasi_nn.errors import counted
from wasi_nn.isolation import Isolation, how_to_raise

_LIMIT_PREFIX = "Isolation."  # an error with it names the limit already
_MEMORY = re.compile(
    r"allocate memory|not allocate|out of memory|memory allocation|bad_alloc|map segment", re.IGNORECASE
)
_THREADS = re.compile(r"resource temporarily unavailable|start new thread|pthread_create", re.IGNORECASE)

_ROOM = 64 * 2**20  # bytes: a worker with less left may have asked for more at once
_SURELY_ENOUGH_MEMORY = 2**30  # bytes: each runtime starts with half of them
_THREADS_ASKED_AT_ONCE = (os.cpu_count() or 1) + 4


@dataclass(frozen=True)
class Used:
    """The bytes and threads of a worker that the kernel counts against its limits, and whether an allocation of the
    worker has failed."""

    memory: int
    threads: int
    allocation_failed: bool = False

    @classmethod
    def by_this_process(cls, error: BaseException | None = None) -> Used:
        """What this process has in use when an error is raised in it."""
        return cls.by_process("self", _has_memory_error(error))

    @classmethod
    def by_process(cls, process: int | str, failed: bool = False) -> Used:
        """What a process has in use now."""
        try:
            with open(f"/proc/{process}/status") as file:
                fields = dict(line.split(":", 1) for line in file)
            return cls(int(fields["VmData"].split()[0]) * 1024, int(fields["Threads"]), failed)
        except MemoryError:
            return cls(0, 0, True)
        except (OSError, KeyError, ValueError):
            return cls(0, 0, failed)

    @classmethod
    def of(cls, described: Any) -> Used | None:
        """The facts in a message of a worker; None if the message has none, or wrong ones."""
        values = described if isinstance(described, list) and len(described) == 3 else [None]
        if type(values[0]) is int and type(values[1]) is int and type(values[2]) is bool:
            return cls(*values)
        return None

    @property
    def message(self) -> list[Any]:
        """These facts for a message."""
        return [self.memory, self.threads, self.allocation_failed]


def _has_memory_error(error: BaseException | None) -> bool:
    for _ in range(16):
        if error is None or isinstance(error, MemoryError):
            break
        error = error.__cause__ or error.__context__
    return isinstance(error, MemoryError)


def at_start(runtime: str, how: str, settings: Isolation, used: Used | None = None) -> str:
    """The error of a worker that failed before it read the model; empty if its limits are no reason for that. `how`
    says how it failed."""
    limits = _likely_limits(settings, used)
    if not limits:
        return ""
    if len(limits) > 1:
        return f"the isolated worker can't start {runtime} ({how}): {' or '.join(limits)} may be too few"
    be = "is" if limits[0].startswith("1 ") else "are"
    return f"the isolated worker can't start {runtime} ({how}): {limits[0]} {be} too few"


def after_crash(settings: Isolation) -> str:
    """A hint for a worker that crashed or gave up."""
    return f"; it may have needed more than {', or than '.join(_likely_limits(settings, None) or _all(settings))}"


def after_error(text: str, settings: Isolation, used: Used | None = None) -> str:
    """A hint for an error text of a worker; empty if the error has another cause, or names the limit already."""
    if _LIMIT_PREFIX in text:
        return ""
    if used is not None:
        limits = _likely_limits(settings, used)
    elif _MEMORY.search(text):
        limits = [_memory(settings)]
    else:
        limits = [_threads(settings)] if _THREADS.search(text) else []
    return f"; the isolated worker may have no more than {' and '.join(limits)}" if limits else ""


def _likely_limits(settings: Isolation, used: Used | None) -> list[str]:
    """The limits that a worker may have reached."""
    if used is None:
        low_memory = settings.memory < _SURELY_ENOUGH_MEMORY
        few_threads = settings.threads < 4 * _THREADS_ASKED_AT_ONCE
    else:
        low_memory = used.allocation_failed or used.memory > settings.memory - max(_ROOM, settings.memory // 8)
        few_threads = used.threads > settings.threads - _THREADS_ASKED_AT_ONCE
    return [limit for limit, is_low in zip(_all(settings), (low_memory, few_threads), strict=True) if is_low]


def _all(settings: Isolation) -> list[str]:
    return [_memory(settings), _threads(settings)]


def _memory(settings: Isolation) -> str:
    return f"{settings.memory} bytes of memory ({how_to_raise('memory')})"


def _threads(settings: Isolation) -> str:
    return f"{counted(settings.threads, 'thread')} ({how_to_raise('threads')})"
