"""Limits how many files and directories a component has open: the component traps soon after it has too many.

WASI 0.2 has no function that closes a file, so the files of a component can't be counted by its calls, as those of a
core module are. Instead, a thread counts at short intervals how many files this process has open in the directories of
the guest.
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
_LOOK_EVERY = 0.002  # seconds between two looks at the lowest free descriptor, which are much cheaper than a count
_MANY = 32  # the files are counted when the lowest free descriptor has grown by this number
_COUNT_EVERY = 0.1  # seconds until they are counted in any case
_PAUSE = 4  # the pause after a count, as a multiple of the count's own time


class _WatchedDirectories:
    """The directories of each guest that runs: absolute paths that end with a separator."""

    def __init__(self) -> None:
        self.reset_in_child()

    def reset_in_child(self) -> None:
        """Start without guests, as in a fork."""
        self.lock = threading.Lock()
        self.roots: list[tuple[str, ...]] = []

    def sharing(self, roots: tuple[str, ...]) -> int:
        """The number of guests that may have files open in these directories."""
        with self.lock:
            return sum(
                1 for others in self.roots if any(a.startswith(b) or b.startswith(a) for a in roots for b in others)
            )


_watched = _WatchedDirectories()
forks.reset_in_child(_watched)


@contextmanager
def watch_files(directories: Directories, limits: Limits, stop: Callable[[str], None] | None) -> Iterator[None]:
    """During a `with` block in which a guest with these directories runs, stop the guest if it has too many files open.

    `stop` gets the reason. It is None for a core module, whose files are counted by its calls: its directories are only
    noted, for guests that share them. Raises `GuestError` if no thread can be started.
    """
    if not directories or not os.path.isdir(_OPEN):
        yield
        return
    roots = tuple(os.path.join(os.path.realpath(path_of(directory)), "") for directory in directories.values())
    with _watched.lock:
        _watched.roots.append(roots)
    ended = threading.Event()
    try:
        if stop is not None:
            _start_thread(_watch, roots, limits, stop, ended)
        yield
    finally:
        ended.set()
        with _watched.lock:
            _watched.roots.remove(roots)


def _start_thread(function: Callable[..., None], *arguments: object) -> None:
    try:
        threading.Thread(target=function, args=arguments, name="wasi-nn files", daemon=True).start()
    except RuntimeError as error:
        raise GuestError(f"no thread can be started to count the guest's open files: {one_line(error)}") from error


def _watch(roots: tuple[str, ...], limits: Limits, stop: Callable[[str], None], ended: threading.Event) -> None:
    looked_at, counted = -1, 0.0
    wait = _LOOK_EVERY
    while not ended.wait(wait):
        began = time.monotonic()
        lowest = lowest_free()  # the number of the next open file: it grows as files are opened
        if lowest < looked_at + _MANY and began < counted + _COUNT_EVERY:
            continue
        count = _open_in(roots, lowest)
        if ended.is_set():
            return
        if limits.files is not None and count > limits.files * _watched.sharing(roots):
            stop(f"its open files are more than {limits.files} ({how_to_raise(limits, 'files')})")
            return
        if count > reserve() and not are_free(reserve()):
            stop(f"it has {count} files open, and this process is nearly out of file descriptors (ulimit -n)")
            return
        looked_at, counted = lowest, time.monotonic()
        wait = max(_LOOK_EVERY, _PAUSE * (counted - began))


def _open_in(roots: tuple[str, ...], lowest: int) -> int:
    """The number of files that this process has open in some directories. `lowest` is the lowest free descriptor."""
    try:
        descriptors: Iterable[object] = os.listdir(_OPEN)
    except OSError:  # no descriptor is free, so all below `lowest` are open
        descriptors = range(lowest)
    count = 0
    for descriptor in descriptors:
        with suppress(OSError):  # the file has been closed
            count += os.readlink(f"{_OPEN}/{descriptor}").startswith(roots)
    return count
