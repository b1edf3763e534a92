"""Memory that the host shares with a worker, and the count of what each worker has.

Shared memory has no name, so that it goes with the last process that maps it, however that ends. Its size is sealed, so
that nobody can make it shorter while it is read.

A hostile worker can keep all memory that it was ever given. So the host empties memory that it has done with and gives
it to the same worker again: a worker never has much more than what was in use at once.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from math import inf

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.isolation import how_to_raise
from wasi_nn.process import forks
from wasi_nn.process.descriptors import require_free_descriptors, reserve

_F_SEAL_FUTURE_WRITE = 0x10
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2
_LEAST = 4096
# Of memory that counts against a limit, little may be lost by rounding. Where there is no limit, a tensor that grows
# step by step leaves at most as much behind as it has: what isn't written to costs nothing.
_STEPS = 4


class SharedMemory:
    """`size` bytes of memory that can be shared with a worker, for as long as a view of `bytes` is alive.

    Raises `NNError` with `runtime-error` if the system has no more memory, or the process too few file descriptors.
    """

    def __init__(self, size: int, file: int | None = None) -> None:
        self.size = size
        if file is None:
            require_free_descriptors(reserve())
        try:
            if file is None:
                file = os.memfd_create("wasi-nn", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
                os.ftruncate(file, size)
                fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            content = mmap.mmap(file, size) if size else mmap.mmap(-1, _LEAST)
        except (OSError, ValueError) as error:
            if file is not None:
                os.close(file)
            text = f"{size} bytes of memory can't be shared with an isolated graph: {error}"
            raise NNError(ErrorCode.RUNTIME_ERROR, text) from error
        self.file = file
        self.bytes = memoryview(content)[:size]
        self._fate = _Fate(file, size)
        weakref.finalize(content, self._fate.come).atexit = False

    @classmethod
    def holding(cls, content: memoryview) -> SharedMemory:
        """Memory with a copy of these bytes, which only this process can change."""
        memory = cls(len(content))
        memory.bytes[:] = content
        fcntl.fcntl(memory.file, fcntl.F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)
        return memory


class _Fate:
    """Decides about memory that nobody views any more: it is kept for its worker, or its file is closed."""

    def __init__(self, file: int, size: int) -> None:
        self._file, self._size = file, size
        self._forks = forks.count
        self.worker: WorkerMemory | None = None

    def come(self) -> None:
        # In a fork, the memory is still the parent's and must not be emptied.
        if self.worker is None or self._forks != forks.count or not self.worker._keep(self._file, self._size):
            os.close(self._file)


class WorkerMemory:
    """The shared memory of one worker, `most` bytes in all. Safe to use from several threads."""

    def __init__(self, most: float = inf) -> None:
        self._most = most
        self._given = 0
        self._lock = threading.Lock()
        self._kept: dict[int, list[int]] = {}  # files by size, for the worker alone
        # Memory is returned by the garbage collector, on any thread, whatever locks that thread holds. So it is put
        # here without a lock (appending to a deque is atomic), and sorted in by the next `take`.
        self._returned: deque[tuple[int, int]] = deque()
        self._closed = False

    @property
    def size(self) -> int:
        """The bytes of all memory that the worker was given and may still have."""
        return self._given

    def take(self, size: int) -> SharedMemory:
        """At least so many bytes of memory, all zero. Raises as `SharedMemory` does, and `NNError` with `too-large` if
        the worker would have more than `most`."""
        size = _rounded(size, steps=1 if self._most == inf else _STEPS)
        with self._lock:
            while self._returned:
                file, of = self._returned.popleft()
                self._kept.setdefault(of, []).append(file)
            kept = self._kept.get(size)
            found = kept.pop() if kept else None
            if found is None:
                self._count(size)
        try:
            memory = SharedMemory(size, found)
        except NNError:
            with self._lock:
                self._given -= size
            raise
        memory._fate.worker = self
        return memory

    def _count(self, size: int) -> None:
        given = self._given + size
        if given > self._most:
            text = f"the outputs of an isolated graph need {given} bytes, and may have {self._most}"
            raise NNError(ErrorCode.TOO_LARGE, f"{text} ({how_to_raise('memory')})")
        self._given = given

    def adopt(self, memory: SharedMemory) -> None:
        """Count memory of a worker that is gone as this worker's. Raises as `take` does."""
        if memory._fate.worker is not self:
            with self._lock:
                self._count(memory.size)
            memory._fate.worker = self

    def close(self) -> None:
        """The worker has ended: keep nothing for it any more."""
        self._closed = True
        while self._kept:
            _, files = self._kept.popitem()
            for file in files:
                os.close(file)
        self._close_returned()

    def _close_returned(self) -> None:
        while self._returned:
            with suppress(IndexError):  # by another thread, meanwhile
                os.close(self._returned.popleft()[0])

    def _keep(self, file: int, size: int) -> bool:
        """Keep memory, emptied, for the next `take`; false if it can't be emptied. Takes no lock."""
        if self._closed or not _emptied(file, size):
            return False
        self._returned.append((file, size))
        if self._closed:
            self._close_returned()
        return True


def _rounded(size: int, steps: int) -> int:
    """A size that is no smaller, of a few: so that memory can be used again for tensors of other sizes. There are so
    many `steps` from a power of two to the next."""
    step = max((1 << (size - 1).bit_length()) // (2 * steps), _LEAST)
    return max(-(-size // step) * step, _LEAST)


def _emptied(file: int, size: int) -> bool:
    return _fallocate(file, _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE, 0, size) == 0


def _fallocate(file: int, mode: int, start: int, size: int) -> int:
    call = getattr(ctypes.CDLL(None), "fallocate", None)
    return -1 if call is None else int(call(file, mode, ctypes.c_long(start), ctypes.c_long(size)))
