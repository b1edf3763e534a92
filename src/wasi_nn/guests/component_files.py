"""The files and directories that a component has open: it is trapped soon after it has more than it may have.

WASI 0.2 has no function that closes a file, so that they can't be counted as those of a core module are. What this
process has open in the directories of the guest is looked at all the time instead.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from wasi_nn.errors import GuestError, one_line
from wasi_nn.guests.directories import Directories, path_of
from wasi_nn.limits.limits import Limits, how_to_raise
from wasi_nn.process import forks
from wasi_nn.process.descriptors import are_free, lowest_free, reserve

_OPEN = "/proc/self/fd"
_EVERY = 0.002  # seconds until the next look at how many files may have been opened
_MANY = 32  # so many more, and they are counted
_COUNT_EVERY = 0.1  # seconds until they are counted in any case
_PART = 4  # counting takes no more of the time than one in so many


class _Shared:
    """The directories of the guests that run, each with a separator behind it."""

    def __init__(self) -> None:
        self.reset_in_child()

    def reset_in_child(self) -> None:
        """Begin anew, as in a fork."""
        self.lock = threading.Lock()
        self.roots: list[tuple[str, ...]] = []

    def by(self, roots: tuple[str, ...]) -> int:
        """How many guests may have open what is found in these directories."""
        with self.lock:
            return sum(
                1 for others in self.roots if any(a.startswith(b) or b.startswith(a) for a in roots for b in others)
            )


_shared = _Shared()
forks.reset_in_child(_shared)


@contextmanager
def watch_files(directories: Directories, limits: Limits, stop: Callable[[str], None] | None) -> Iterator[None]:
    """While a guest with these directories runs, call `stop` with a reason when it has too many files open.

    `stop` is None for a core module, whose open files are counted. Raises `GuestError` if no thread can be started.
    """
    if not directories or not os.path.isdir(_OPEN):
        yield
        return
    roots = tuple(os.path.join(os.path.realpath(path_of(directory)), "") for directory in directories.values())
    with _shared.lock:
        _shared.roots.append(roots)
    ended = threading.Event()
    try:
        if stop is not None:
            _begin(_watch, roots, limits, stop, ended)
        yield
    finally:
        ended.set()
        with _shared.lock:
            _shared.roots.remove(roots)


def _begin(function: Callable[..., None], *arguments: object) -> None:
    try:
        threading.Thread(target=function, args=arguments, name="wasi-nn files", daemon=True).start()
    except RuntimeError as error:
        raise GuestError(f"there is no thread for the guest's files: {one_line(error)}") from error


def _watch(roots: tuple[str, ...], limits: Limits, stop: Callable[[str], None], ended: threading.Event) -> None:
    looked_at, counted = -1, 0.0
    wait = _EVERY
    while not ended.wait(wait):
        began = time.monotonic()
        lowest = lowest_free()  # the next file gets this number, so that it grows as files are opened
        if lowest < looked_at + _MANY and began < counted + _COUNT_EVERY:
            continue
        count = _open_in(roots, lowest)
        if ended.is_set():
            return
        if limits.files is not None and count > limits.files * _shared.by(roots):
            stop(f"it has more than {limits.files} files open ({how_to_raise(limits, 'files')})")
            return
        if count > reserve() and not are_free(reserve()):
            stop(f"this process is nearly out of files (ulimit -n), and it has {count} open")
            return
        looked_at, counted = lowest, time.monotonic()
        wait = max(_EVERY, _PART * (counted - began))


def _open_in(roots: tuple[str, ...], lowest: int) -> int:
    """How many files this process has open in some directories. All descriptors below the lowest free one are open."""
    try:
        descriptors: Iterable[object] = os.listdir(_OPEN)
    except OSError:  # there is none left to look at them
        descriptors = range(lowest)
    count = 0
    for descriptor in descriptors:
        with suppress(OSError):  # it is closed meanwhile
            count += os.readlink(f"{_OPEN}/{descriptor}").startswith(roots)
    return count
