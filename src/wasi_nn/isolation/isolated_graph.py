"""Isolated graphs on the host's side: a `Graph` like any other, whose model is in a worker."""

from __future__ import annotations

import importlib.util
import os
import threading
import weakref
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wasi_nn.arguments import as_json
from wasi_nn.errors import ErrorCode, NNError, TargetUnavailable
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import Runner
from wasi_nn.isolation import Isolation
from wasi_nn.isolation.connection import RunnerConnection
from wasi_nn.isolation.isolated_runner import IsolatedRunner
from wasi_nn.isolation.isolated_variables import IsolatedVariables
from wasi_nn.isolation.shared_memory import SharedMemory
from wasi_nn.isolation.spares import WorkerKind, spare_workers
from wasi_nn.isolation.wire.channel import MAX_FILES
from wasi_nn.isolation.wire.descriptions import Description, InvalidWorkerMessage
from wasi_nn.isolation.wire.protocol import Message, Request, request
from wasi_nn.limits.stopping import stopped_by, turn
from wasi_nn.process.files import files_in
from wasi_nn.types import ExecutionTarget

if TYPE_CHECKING:
    from wasi_nn.backends import Backend, Options
    from wasi_nn.graph.variables import Variables
    from wasi_nn.isolation.worker_process import Worker

_SIZE_STEP = 2**30  # bytes


def load(
    backend: Backend,
    model: Path | Sequence[memoryview],
    settings: Isolation,
    target: ExecutionTarget,
    options: Options,
    *,
    convert_types: bool = False,
) -> IsolatedGraph:
    """Load a model, from its file or from bytes, into a new worker, which converts tensors of types that wasi-nn lacks
    if `convert_types` says so. Raises as a backend's `load` does."""
    if not isinstance(model, Path) and len(model) > MAX_FILES:
        message = f"an isolated graph takes at most {MAX_FILES} builders; got {len(model)}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if target is not ExecutionTarget.CPU:
        raise TargetUnavailable(f"isolated graphs run on the cpu only, not on {target.value}")
    return IsolatedGraph(Model(backend, model, settings, options, convert_types), b"")


class Model:
    """A model, and the worker that has it now. Graphs of several configurations may share one."""

    def __init__(
        self,
        backend: Backend,
        model: Path | Sequence[memoryview],
        settings: Isolation,
        options: Options,
        convert_types: bool,
    ) -> None:
        self.settings = settings
        self.runtime = backend.runtime
        path = model.absolute() if isinstance(model, Path) else None
        self._builders = [] if isinstance(model, Path) else [SharedMemory.holding(builder) for builder in model]
        files = [] if path is None else backend.own_files_of(path, options)
        size = sum(builder.size for builder in self._builders) + sum(map(_size_of, files))
        if settings.spare and path is None:
            size = -(-size // _SIZE_STEP) * _SIZE_STEP  # so that models of several sizes have workers of one kind
        name = f"{type(backend).__module__}:{type(backend).__qualname__}"
        readable = (*_code(backend), *map(str, files))
        self._kind = WorkerKind(settings, readable, size, backend.needs_sockets, name, backend.runtime)
        self._spare = spare_workers.of(self._kind) if settings.spare else None
        self._message = request(
            Request.LOAD,
            backend=name,
            path=None if path is None else str(path),
            target=ExecutionTarget.CPU.value,
            options=dict(options),
            convert_types=convert_types,
        )
        self._lock = threading.RLock()  # the thread that holds it may drop graphs, by the garbage collector
        self._dropped: deque[bytes] = deque()  # configurations of graphs that are gone, to be told to the worker
        self._is_forgetting = self._is_closed = False
        self._worker: Worker | None = None
        self._described: dict[bytes, Description] = {}
        self._graphs: Counter[bytes] = Counter()

    def worker_with(self, config: bytes) -> tuple[Worker, int]:
        """The worker that has the model, and the number there of the graph with this configuration. Starts a new worker
        if the last one has ended. Raises as loading the model does."""
        with turn(self._lock):
            self._forget_dropped()
            if self._is_closed:
                raise NNError(ErrorCode.RUNTIME_ERROR, "the graph is closed")
            worker = self._worker
            if worker is None or not worker.is_alive:
                if worker is not None:
                    worker.close()
                self._worker = None
                self._worker = worker = self._loaded()
            if self._spare is not None:
                self._spare.prepare()
            if config not in worker.graphs:
                message = request(Request.CONFIGURE, graph=worker.graphs[b""])
                self._know(worker, config, *worker.ask(message, "configure the graph", config))
            return worker, worker.graphs[config]

    def _loaded(self) -> Worker:
        """A worker with the model: the spare if one is ready, else a new one."""
        spare = None if self._spare is None else self._spare.take()
        worker = spare or self._kind.new_worker()
        files = [builder.file for builder in self._builders]
        try:
            with stopped_by(worker.kill):
                if spare is None:
                    worker.start(self._kind.backend, self.runtime)
                self._know(worker, b"", *worker.ask(self._message, "load the model", files=files))
        except BaseException:
            worker.close()
            raise
        return worker

    @property
    def spare(self) -> Worker | None:
        """The spare worker that stands by; None if there is none, or it isn't ready."""
        return None if self._spare is None else self._spare.ready

    def described(self, config: bytes) -> Description:
        """The worker's description of the graph with this configuration. Call it once for each `IsolatedGraph`."""
        with turn(self._lock):
            self._graphs[config] += 1  # first: else the worker would drop the graph if another one goes meanwhile
            try:
                self.worker_with(config)
            except BaseException:
                self._graphs[config] -= 1
                raise
            return self._described[config]

    @staticmethod
    def after_end(error: NNError) -> NNError:
        """The error for those who waited for a worker when it ended: another one takes its place."""
        return error

    def forget(self, config: bytes) -> None:
        """Count one `IsolatedGraph` less; the worker drops the graph of a configuration with the last one. Called by
        the garbage collector on any thread, so it must not wait for a lock."""
        self._dropped.append(config)
        if self._lock.acquire(blocking=False):
            try:
                self._forget_dropped()
            finally:
                self._lock.release()

    def close_with(self, config: bytes) -> None:
        """A graph here is closed; with the last one, the worker ends. Contexts of a closed graph get an error."""
        with self._lock:
            self._dropped.append(config)
            self._forget_dropped()
            if not any(self._graphs.values()):
                self._is_closed = True
                if self._worker is not None:
                    self._worker.kill("the graph was closed")
                    self._worker.close()
                self._spare = None

    def _forget_dropped(self) -> None:
        if self._is_forgetting:  # the garbage collector ran in the middle of it
            return
        self._is_forgetting = True
        try:
            self._forget_all()
        finally:
            self._is_forgetting = False

    def _forget_all(self) -> None:
        while self._dropped:
            config = self._dropped.popleft()
            self._graphs[config] -= 1
            if self._graphs[config] or not config:
                continue
            del self._graphs[config], self._described[config]
            number = None if self._worker is None else self._worker.graphs.pop(config, None)
            if self._worker is not None and number is not None:
                self._worker.tell(request(Request.FORGET, graph=number))

    def _know(self, worker: Worker, config: bytes, answer: Message, metadata: memoryview) -> None:
        try:
            described = Description(answer["graph"], bytes(metadata))
            number = answer["number"]
            if not isinstance(number, int):
                raise InvalidWorkerMessage("a graph without a number")
        except (KeyError, ValueError) as error:
            raise worker.misled(error) from error
        if described != self._described.setdefault(config, described):
            worker.kill("its model has changed")
            raise NNError(
                ErrorCode.RUNTIME_ERROR, "the model has other inputs or outputs than when it was first loaded"
            )
        worker.graphs[config] = number


def _size_of(path: Path) -> int:
    """The bytes of a file, or of all in a folder; none of what can't be seen."""
    size = 0
    for file in files_in(path):
        with suppress(OSError):
            size += file.stat().st_size
    return size


def _code(backend: Backend) -> list[str]:
    """The folders of a backend and its runtime, which may be outside of Python's own folders."""
    found = []
    for name in (type(backend).__module__, backend.runtime):
        spec = importlib.util.find_spec(name.partition(".")[0])
        if spec is not None:
            found += spec.submodule_search_locations or [spec.origin or ""]
    return [path for path in found if os.path.exists(path)]


class IsolatedGraph(Graph):
    """A graph in a worker."""

    def __init__(self, model: Model, config: bytes) -> None:
        described = model.described(config)
        super().__init__(described.inputs, described.outputs, described.metadata)
        self.encoding, self.runtime, self.device = described.encoding, model.runtime, described.device
        self.outputs_vary, self.keeps_state = described.outputs_vary, described.keeps_state
        self.signature, self.signatures = described.signature, described.signatures
        self._model, self._config = model, config
        self._forget = weakref.finalize(self, model.forget, config)
        self._forget.atexit = False

    @property
    def worker(self) -> Worker:
        """The worker that has the model now. Raises as loading the model does."""
        return self._model.worker_with(self._config)[0]

    @property
    def worker_process(self) -> int:
        """The process id of the worker that has the model now."""
        return self.worker.process.pid

    @property
    def spare_process(self) -> int | None:
        """The process id of the spare worker; None if there is none, or it isn't ready."""
        spare = self._model.spare
        return None if spare is None else spare.process.pid

    def close(self) -> None:
        """End the worker, unless another graph with a configuration of its own is still there."""
        super().close()
        if self._forget.detach() is not None:
            self._model.close_with(self._config)

    def configured(self, config: memoryview) -> Graph:
        config = as_json("config", config)
        return IsolatedGraph(self._model, self._config + bytes(config)) if len(config) else self

    def variables(self) -> Variables:
        return IsolatedVariables(self, self._model, self._config)

    def runner(self) -> Runner:
        return IsolatedRunner(self, partial(RunnerConnection, self, self._model, self._config))
