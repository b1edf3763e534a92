"""Libraries that are loaded and called without a word.

What a library prints while it is loaded depends on the processor and on its version, and some print before any setting
of theirs is read. Here a thread loads them whose descriptors are its own, and whose standard output and error go
nowhere: the descriptors of all other threads stay as they are. Only Linux has such threads. On other systems, and in a
process that may not make them, libraries print as they like.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType
from typing import TypeVar

Result = TypeVar("Result")

_CLONE_FILES = 0x400
_environment = threading.Lock()


@contextmanager
def environment_with(name: str, value: str) -> Iterator[None]:
    """An environment variable that a library looks at once, set for a while unless the user has set it."""
    with _environment:
        ours = name not in os.environ
        if ours:
            os.environ[name] = value
        try:
            yield
        finally:
            if ours:
                del os.environ[name]


@contextmanager
def extensions_of(package: str) -> Iterator[None]:
    """Have the extension modules of a package, and the libraries that these need, say nothing while they are loaded.

    Their own code runs as ever afterwards, when they are imported.
    """
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Finds what Python would find, and loads its library before Python does."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._beginning = f"{package}."

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(self._beginning) and name != self._package:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin and isinstance(spec.loader, ExtensionFileLoader):
            _load(spec.origin)
        return spec


def call(function: Callable[[], Result]) -> Result:
    """Make a call on a thread for which standard output and error go nowhere. It has no other descriptor that is open,
    and what it opens must be closed in it, since the descriptors end with the thread. Raises what the call raises."""
    outcome: Future[Result] = Future()

    def make() -> None:
        _give_own_descriptors()
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    try:
        threading.Thread(target=make, name="a quiet call", daemon=True).start()
    except RuntimeError:  # there can be no more threads
        return function()
    return outcome.result()


def _load(library: str) -> None:
    with suppress(OSError):  # of which Python tells when it imports the module
        call(partial(ctypes.CDLL, library))


def _give_own_descriptors() -> None:
    """Give this thread descriptors of its own, if that is granted, with its output and error going nowhere."""
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is None or unshare(_CLONE_FILES) != 0:
        return
    os.closerange(3, 2**31 - 1)  # threads that are made here would keep them open for all others
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for standard in (1, 2):
        os.dup2(nowhere, standard)
