"""Spare workers (`Isolation.spare`): each has imported its runtime, and holds no model and nothing of a guest.

The next model that needs a worker of the same kind takes the spare, and a new one is started behind it. Nobody waits
for a spare: where none is ready, or the one that was ready doesn't answer, the model gets a new worker.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from weakref import WeakValueDictionary, finalize

from wasi_nn.errors import NNError, one_line
from wasi_nn.isolation import Isolation
from wasi_nn.isolation.worker_process import Worker
from wasi_nn.limits.stopping import stopped_by
from wasi_nn.process import forks

logger = logging.getLogger("wasi_nn")

_START_AFTER = 1.0  # seconds: the model that has just got a worker computes first
_LOOK_EVERY = 0.1
_ANSWERS_WITHIN = 5.0  # seconds: a spare that doesn't answer is replaced
# No more spares of one kind are started in so many seconds, for models that end each of their workers.
_MOST_STARTED, _IN_SECONDS = 4, 60.0


@dataclass(frozen=True)
class WorkerKind:
    """All that is decided about a worker before it has a model: its limits, and what it may read and do.

    settings  its limits
    readable  the files and folders that it may read besides its libraries: its runtime's, and those of its model
    model     bytes of its model, which it may map besides its memory
    sockets   whether it may listen on a loopback of its own
    backend   the backend, as `module:name`
    runtime   the runtime's name for messages
    """

    settings: Isolation
    readable: tuple[str, ...]
    model: int
    sockets: bool
    backend: str
    runtime: str

    def new_worker(self) -> Worker:
        """A new worker that is confined. Raises as `Worker` does."""
        return Worker(self.settings, self.readable, model=self.model, sockets=self.sockets)

    def files(self) -> list[tuple[int, int] | None]:
        """The identities of what a worker may read. A worker may not read a file that has taken another's place."""
        found: list[tuple[int, int] | None] = []
        for path in self.readable:
            try:
                state = os.stat(path)
            except OSError:
                found.append(None)
            else:
                found.append((state.st_dev, state.st_ino))
        return found


class _Spare:
    """One spare, which a thread starts."""

    def __init__(self, kind: WorkerKind) -> None:
        self._kind = kind
        self.worker: Worker | None = None
        self.is_starting = True
        self._is_unwanted = False
        self._files: list[tuple[int, int] | None] = []

    def start(self) -> None:
        """Start the worker and its runtime, after a moment. Called on a thread of its own."""
        worker = None
        begin = time.monotonic() + _START_AFTER
        try:
            while (left := begin - time.monotonic()) > 0 and not self._is_unwanted:
                time.sleep(min(left, _LOOK_EVERY))
            if self._is_unwanted:
                return
            self._files = self._kind.files()
            worker = self._kind.new_worker()
            self.worker = worker
            if self._is_unwanted:
                self.end()
            worker.start(self._kind.backend, self._kind.runtime)
        except NNError as error:
            self.worker = None
            if worker is not None:
                worker.close()
            if not self._is_unwanted:
                logger.warning("no spare worker for %s: %s", self._kind.runtime, one_line(error))
        finally:
            self.is_starting = False

    def end(self) -> None:
        """Kill the worker. Takes no lock, since the garbage collector calls it on any thread."""
        self._is_unwanted = True
        worker = self.worker
        if worker is not None:
            worker.kill("its graphs are gone")

    @property
    def ready(self) -> Worker | None:
        """The worker, once its runtime is imported, as long as it lives and the files of its model are the same."""
        worker = self.worker
        if self.is_starting or worker is None or not worker.is_alive or self._files != self._kind.files():
            return None
        return worker


class SpareWorker:
    """The spare for all models whose workers are of one kind. It ends with the last of these models."""

    def __init__(self, kind: WorkerKind) -> None:
        self._kind = kind
        self._started: deque[float] = deque()  # when spares were started
        self._spares: list[_Spare] = []  # none or one
        self._lock = threading.Lock()
        finalize(self, _end, self._spares)
        forks.reset_in_child(self)

    def reset_in_child(self) -> None:
        """Start without a spare, as in a fork: the parent's is none of the child's."""
        self._lock = threading.Lock()
        self._spares.clear()

    @property
    def ready(self) -> Worker | None:
        """The spare, if it can be taken."""
        return next((spare.ready for spare in self._spares), None)

    def take(self) -> Worker | None:
        """The spare, for one model; None if there is none that answers."""
        with self._lock:
            worker = self.ready
            if worker is None:
                return None
            self._spares.clear()
        try:
            with stopped_by(worker.kill):
                worker.start(self._kind.backend, self._kind.runtime, within=_ANSWERS_WITHIN)
        except BaseException as error:
            worker.close()
            if isinstance(error, NNError):
                return None
            raise
        return worker

    def prepare(self) -> None:
        """Start a spare behind, unless there is one, or too many were started lately. Returns at once."""
        with self._lock:
            if any(spare.is_starting or spare.ready for spare in self._spares):
                return
            now = time.monotonic()
            while self._started and self._started[0] < now - _IN_SECONDS:
                self._started.popleft()
            if len(self._started) >= _MOST_STARTED:
                return
            self._started.append(now)
            spare = _Spare(self._kind)
            thread = threading.Thread(target=spare.start, name="wasi-nn spare worker", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("no spare worker for %s: %s", self._kind.runtime, one_line(error))
                return
            self._spares[:] = [spare]


def _end(spares: list[_Spare]) -> None:
    for spare in spares:
        spare.end()
    spares.clear()


class _SpareWorkers:
    """The spare workers of this process, by their kinds."""

    def __init__(self) -> None:
        self.reset_in_child()
        forks.reset_in_child(self)

    def reset_in_child(self) -> None:
        """Start without spare workers, as in a fork."""
        self._lock = threading.RLock()  # the thread that holds it may drop models, by the garbage collector
        self._by_kind: WeakValueDictionary[WorkerKind, SpareWorker] = WeakValueDictionary()

    def of(self, kind: WorkerKind) -> SpareWorker:
        """The spare of a kind, for a model that keeps it as long as it may need a worker."""
        with self._lock:
            spare = self._by_kind.get(kind)
            if spare is None:
                spare = self._by_kind[kind] = SpareWorker(kind)
            return spare


spare_workers = _SpareWorkers()
