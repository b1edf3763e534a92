"""Loads and calls libraries without showing the messages that they print.

The messages of a library depend on the processor and on its version, and some come before the library reads any
setting. So a thread with its own descriptor table loads the library; its standard output and error go to /dev/null, and
the descriptors of all other threads stay unchanged. Only Linux has such threads (unshare(2)). On other systems, and in
a process that may not make them, the messages are shown.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType
from typing import TypeVar

from wasi_nn.process import forks

Result = TypeVar("Result")

_CLONE_FILES = 0x400  # from linux/sched.h
_environment_lock = threading.Lock()


@contextmanager
def environment_with(**variables: str) -> Iterator[None]:
    """Set environment variables during the block, unless the user has set them: for libraries that read them once."""
    with _environment_lock:
        unset = variables.keys() - os.environ.keys()
        os.environ.update({name: variables[name] for name in unset})
        try:
            yield
        finally:
            for name in unset:
                del os.environ[name]


@contextmanager
def numpy_alone() -> Iterator[None]:
    """During the block, an import of numpy starts no threads of OpenBLAS, unless `OPENBLAS_NUM_THREADS` is set.

    There would be one for each processor, and each spins for some time. No backend here computes with numpy.
    """
    with environment_with(OPENBLAS_NUM_THREADS="1"):
        yield


@contextmanager
def extensions_of(package: str) -> Iterator[None]:
    """During the block, hide the messages of a package's extension modules and their libraries while they are loaded.

    The modules' own code runs afterwards, when Python imports them, and may print.
    """
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Finds the same modules as Python, and loads the library of an extension module before Python does."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._package and not name.startswith(f"{self._package}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin and isinstance(spec.loader, ExtensionFileLoader):
            _load_quietly(spec.origin)
        return spec


class _NoCollection:
    """Keeps the garbage collector from running. On a quiet thread it would finalize objects of other threads, which
    close descriptors by their numbers: on that thread, these numbers are free or stand for other files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._was_enabled = False
        forks.reset_in_child(self)

    def reset_in_child(self) -> None:
        """Start without quiet threads, as in a fork, where they don't exist."""
        self._lock = threading.Lock()
        if self._count and self._was_enabled:
            gc.enable()
        self._count = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._count:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._count += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._count -= 1
            if not self._count and self._was_enabled:
                gc.enable()


no_collection = _NoCollection()
"""A block in which the garbage collector doesn't run."""


def call(function: Callable[[], Result]) -> Result:
    """Make a call on a thread whose standard output and error go to /dev/null. Raises the call's errors.

    The thread has no other open descriptors. The call must close the files that it opens, since the descriptors end
    with the thread.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def make() -> None:
        _give_own_descriptors()
        try:
            results.append(function())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=make, name="a quiet call", daemon=True)
    with no_collection:
        try:
            thread.start()
        except RuntimeError:  # no more threads can be started
            return function()
        try:
            thread.join()
        finally:
            thread.join()  # the collector must be off until the thread's last Python code has run, also after Ctrl-C
    if failures:
        raise failures.pop()
    return results[0]


def _load_quietly(library: str) -> None:
    with suppress(OSError):  # Python raises this error again when it imports the module
        call(partial(ctypes.CDLL, library))


def _give_own_descriptors() -> None:
    """Give this thread its own descriptor table, with output and error to /dev/null. No effect if refused."""
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    if unshare is None or unshare(_CLONE_FILES) != 0:
        return
    os.closerange(3, 2**31 - 1)  # else threads that the library starts here would keep copies of them open
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for standard in (1, 2):
        os.dup2(null, standard)
