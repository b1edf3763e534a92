"""Graphs whose models are in workers, as the host has them: a graph like any other, and its runners."""

from __future__ import annotations

import importlib.util
import itertools
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends import files_of
from wasi_nn.graph import Graph
from wasi_nn.isolation import Isolation
from wasi_nn.isolation.arena import OutputReader, copies, tells_of_outputs
from wasi_nn.isolation.channel import MAX_FILES, Channel, Gone, Message, SharedMemory, encoded
from wasi_nn.isolation.described import Description, Misleading, described_texts
from wasi_nn.isolation.process import Worker
from wasi_nn.runner import ABSENT, Runner
from wasi_nn.types import Dims, ErrorCode, ExecutionTarget, NNError, TargetUnavailable

if TYPE_CHECKING:
    from wasi_nn.backends import Backend, Options
    from wasi_nn.types import Array

_numbers = itertools.count()


def load(
    backend: Backend, model: Path | Sequence[memoryview], settings: Isolation, target: ExecutionTarget, options: Options
) -> Graph:
    """Load a model, from its file or from bytes, into a worker of its own. Raises as a backend's `load` does."""
    if not isinstance(model, Path) and len(model) > MAX_FILES:
        message = f"an isolated graph has at most {MAX_FILES} builders; got {len(model)}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if target is not ExecutionTarget.CPU:
        raise TargetUnavailable(f"isolated graphs run on the cpu only, not on {target.value}")
    return IsolatedGraph(_Model(backend, model, settings, options), b"")


class _Model:
    """A model, and the worker that has it at the moment."""

    def __init__(
        self, backend: Backend, model: Path | Sequence[memoryview], settings: Isolation, options: Options
    ) -> None:
        self.settings = settings
        path = model.absolute() if isinstance(model, Path) else None
        self._builders = [] if isinstance(model, Path) else [SharedMemory.holding(builder) for builder in model]
        self._readable = [*_code(backend), *([] if path is None else map(str, files_of(backend, path)))]
        kind = type(backend)
        self._sockets = bool(getattr(backend, "needs_sockets", False))
        self._message = {
            "do": "load",
            "backend": f"{kind.__module__}:{kind.__qualname__}",
            "path": None if path is None else str(path),
            "target": ExecutionTarget.CPU.value,
            "options": dict(options),
        }
        self._lock = threading.RLock()  # a graph may be dropped at any time, by the thread that has the lock too
        self._worker: Worker | None = None
        self._described: dict[bytes, Description] = {}
        self._graphs: Counter[bytes] = Counter()

    def worker_with(self, config: bytes) -> tuple[Worker, int]:
        """The worker that has the model, with a graph of this configuration, and the graph's number there; a new
        worker, if the last one is gone."""
        with self._lock:
            worker = self._worker
            if worker is None or not worker.is_alive:
                if worker is not None:
                    worker.close()
                self._worker = None
                worker = Worker(self.settings, self._readable, sockets=self._sockets)
                files = [builder.file for builder in self._builders]
                self._know(worker, b"", worker.ask(self._message, "load the model", files=files))
                self._worker = worker
            if config not in worker.graphs:
                message = {"do": "configure", "graph": worker.graphs[b""]}
                self._know(worker, config, worker.ask(message, "configure the graph", config))
            return worker, worker.graphs[config]

    def described(self, config: bytes) -> Description:
        """What the worker says of the graph of this configuration. Once for each graph here."""
        self.worker_with(config)
        with self._lock:
            self._graphs[config] += 1
            return self._described[config]

    def forget(self, config: bytes) -> None:
        """A graph here is dropped; of the last one of a configuration the worker is told."""
        with self._lock:
            self._graphs[config] -= 1
            if self._graphs[config] or not config:
                return
            del self._graphs[config], self._described[config]
            number = None if self._worker is None else self._worker.graphs.pop(config, None)
            if self._worker is not None and number is not None:
                self._worker.tell({"do": "forget", "graph": number})

    def _know(self, worker: Worker, config: bytes, answer: Message) -> None:
        try:
            described = Description(answer["graph"])
            number = answer["number"]
            if not isinstance(number, int):
                raise Misleading("a graph without a number")
        except (KeyError, ValueError) as error:
            raise worker.misled(error) from error
        if described != self._described.setdefault(config, described):
            worker.kill("the model isn't what it was")
            raise NNError(
                ErrorCode.RUNTIME_ERROR, "the model has other inputs or outputs than when it was first loaded"
            )
        worker.graphs[config] = number


def _code(backend: Backend) -> list[str]:
    """Where a backend and its runtime are, be it outside of the usual folders."""
    found = []
    for name in (type(backend).__module__, backend.runtime):
        spec = importlib.util.find_spec(name.partition(".")[0])
        if spec is not None:
            found += spec.submodule_search_locations or [spec.origin or ""]
    return [path for path in found if os.path.exists(path)]


class IsolatedGraph(Graph):
    """A graph in a worker."""

    def __init__(self, model: _Model, config: bytes) -> None:
        described = model.described(config)
        super().__init__(described.inputs, described.outputs, described.metadata)
        self.encoding, self.device = described.encoding, described.device
        self.outputs_vary = described.outputs_vary
        self._model, self._config = model, config
        weakref.finalize(self, model.forget, config).atexit = False

    @property
    def worker_process(self) -> int:
        """The process id of the worker that has the model at the moment."""
        return self._model.worker_with(self._config)[0].process.pid

    def configured(self, config: memoryview) -> Graph:
        return IsolatedGraph(self._model, self._config + bytes(config)) if len(config) else self

    def runner(self) -> Runner:
        return _IsolatedRunner(self, self._model, self._config)


_RUN = encoded({"do": "run"})
_LISTEN_EVERY = 0.1  # seconds
_AS_LONG_AS_IT_TAKES: AbstractContextManager[None] = nullcontext()


class _IsolatedRunner:
    """A runner whose inputs are written, and whose outputs are read, in memory that the worker shares."""

    def __init__(self, graph: Graph, model: _Model, config: bytes) -> None:
        self._graph = graph
        self._model, self._config = model, config
        self._number = next(_numbers)
        count = len(graph.inputs)
        self._memory: list[SharedMemory | None] = [None] * count
        self._buffers: list[Array | None] = [None] * count
        self._channel: Channel | None = None
        self._worker: Worker | None = None
        # How many calls there were, which one is awaited, and which the worker is killed for if it goes on.
        self._calls = self._under_way = self._insisted = 0
        hooks = self._connect()
        for name in hooks & {"steps", "check_input", "output_before_compute"}:
            setattr(self, name, getattr(self, f"_{name}"))
        if "show" in hooks:
            self.show: Callable[[bytes], None] | None = None
        self._interruptible = "interrupt" in hooks

    def _connect(self) -> set[str]:
        """Have the worker make a runner; gives the hooks that it has."""
        worker, graph = self._model.worker_with(self._config)
        channel, theirs = Channel.pair()
        self._close()
        with theirs:
            if not worker.tell({"do": "runner", "graph": graph, "runner": self._number}, [theirs.fileno()]):
                raise worker.died()
        self._worker, self._channel = worker, channel
        self._forget()
        answer = self._ask(None, to="begin an execution context")
        hooks = answer.get("hooks", ())
        return {str(hook) for hook in hooks} if isinstance(hooks, list) else set()

    def _forget(self) -> None:
        """What a worker knew of inputs and outputs is gone with it."""
        count, most = len(self._graph.inputs), self._model.settings.memory
        self._bound: list[Array | None] = [None] * count
        self._has: list[SharedMemory | None] = [None] * count  # what the worker has of `_memory`
        self._outputs = OutputReader(self._graph, most)
        self._apart = OutputReader(self._graph, most)  # for outputs that are copied from there at once

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __del__(self) -> None:
        if hasattr(self, "_channel"):
            self._close()

    def input_buffer(self, index: int, dims: Dims) -> Array | None:
        """See `wasi_nn.runner.Runner`."""
        dtype = self._graph.inputs[index].dtype
        if dtype is None or dtype.hasobject:
            return None
        buffer = self._buffer(index, dims, dtype)
        self._buffers[index] = buffer
        return buffer

    def _buffer(self, index: int, dims: Dims, dtype: Any) -> Array:
        size = prod(dims) * dtype.itemsize
        memory = self._memory[index]
        if memory is None or memory.size < size:
            memory = self._memory[index] = SharedMemory(size)
        if not size:
            empty: Array = np.empty(dims, dtype)
            return empty
        array: Array = np.frombuffer(memory.bytes[:size], dtype).reshape(dims)
        return array

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        if reuse is None:
            return self._taken(self._asked("run apart", inputs))
        return self._told(self._outputs, self._asked("run", inputs, self._outputs))

    def _steps(self, inputs: Sequence[Array]) -> Generator[Sequence[Array], None, Sequence[Array] | None]:
        self._asked("steps", inputs)
        ended = False
        try:
            while True:
                answer = self._ask(encoded({"do": "step"}))
                if answer.get("end"):
                    ended = True
                    return self._taken(answer) if tells_of_outputs(answer) else None
                yield self._taken(answer)
        except NNError:
            ended = True
            raise
        finally:
            if not ended and self._channel is not None:
                self._ask(encoded({"do": "end"}), to="end a sequence")

    def _check_input(self, index: int, data: memoryview) -> None:
        self._ready()
        self._ask(encoded({"do": "check", "index": index}, data), to="look at an input")

    def _output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        answer = self._asked("before", inputs, to="tell of an output", index=index)
        return self._taken(answer, count=1)[0] if tells_of_outputs(answer) else None

    def _taken(self, answer: Message, count: int | None = None) -> list[Array]:
        return copies(self._told(self._apart, answer, count))

    def _told(self, outputs: OutputReader, answer: Message, count: int | None = None) -> list[Array]:
        try:
            return outputs.read(answer, count)
        except Misleading as error:
            assert self._worker is not None  # it answered
            raise self._worker.misled(error) from error

    def interrupt(self) -> None:
        """See `wasi_nn.runner.Runner`. A worker that goes on all the same is killed."""
        worker, call = self._worker, self._under_way
        if worker is None or not call:
            return

        def insist() -> None:
            if self._under_way == call:
                worker.kill("it went on computing past its deadline")

        if not self._interruptible:
            insist()
            return
        worker.tell({"do": "interrupt", "runner": self._number})
        if self._insisted != call:  # it may be told of one call again and again
            self._insisted = call
            timer = threading.Timer(self._model.settings.grace, insist)
            timer.daemon = True
            timer.start()

    def _asked(
        self,
        what: str,
        inputs: Sequence[Array | None],
        outputs: OutputReader | None = None,
        *,
        to: str = "",
        **more: Any,
    ) -> Message:
        """Ask for something that depends on inputs, of which the worker is told what it doesn't know."""
        self._ready()
        changes, files = self._changes(inputs)
        if what == "run" and not changes:
            return self._ask(_RUN, outputs=outputs)
        return self._ask(encoded({"do": what, "bind": changes, **more}, files=len(files)), files, outputs, to=to)

    def _ready(self) -> None:
        if self._worker is None or not self._worker.is_alive or self._channel is None:
            self._connect()

    def _changes(self, inputs: Sequence[Array | None]) -> tuple[list[Any], list[int]]:
        changes: list[Any] = []
        files: list[int] = []
        for index, array in enumerate(inputs):
            if array is not None and array is self._bound[index] and (array is self._buffers[index] or array is ABSENT):
                continue
            if array is None:
                changes.append([index, "", [], "unset"])
            elif array is ABSENT:
                changes.append([index, "", [], "absent"])
            elif array.dtype == object:
                changes.append([index, "object", array.shape, described_texts(array)])
            else:
                changes.append([index, array.dtype.name, array.shape, self._placed(index, array, files)])
            self._bound[index] = array
        return changes, files

    def _placed(self, index: int, array: Array, files: list[int]) -> str:
        """Have an input's elements where the worker can see them; whether that is in memory that it has."""
        aside = None
        if array is not self._buffers[index]:
            kept = self._buffers[index]
            if kept is not None and kept.nbytes:  # a run on other inputs leaves those that are set as they were
                aside, self._memory[index] = self._memory[index], None
            view = self._buffer(index, array.shape, array.dtype)
            np.copyto(view, array)
        memory = self._memory[index]
        assert memory is not None  # an array of no elements has some too
        where = "here" if memory is self._has[index] else "new"
        if where == "new":
            files.append(memory.file)
        self._has[index] = memory
        if aside is not None:
            self._memory[index] = aside
        return where

    def _ask(
        self, content: bytes | None, files: Sequence[int] = (), outputs: OutputReader | None = None, *, to: str = ""
    ) -> Message:
        """Send what is to be done (nothing, if it was told already), and wait for the answer: as long as it takes, if
        somebody else minds the time, or as long as there is `to` do what it says."""
        worker, channel = self._worker, self._channel
        assert worker is not None
        assert channel is not None
        self._calls += 1
        self._under_way = self._calls
        try:
            with channel.within(self._model.settings.load_time) if to else _AS_LONG_AS_IT_TAKES:
                answer = self._answer(channel, content, files, outputs or self._apart)
        except TimeoutError:
            self._close()
            raise worker.too_slow(to) from None
        except Gone:
            self._close()
            raise worker.died() from None
        except ValueError as error:
            self._close()
            raise worker.misled(error) from error
        except NNError:
            worker.kill("it wanted more room than there is")
            self._close()
            raise
        except BaseException:
            worker.kill("the host was interrupted")
            self._close()
            raise
        finally:
            self._under_way = 0
        worker.listen(every=_LISTEN_EVERY)
        if "error" in answer:
            raise worker.told(answer["error"])
        return answer

    def _answer(self, channel: Channel, content: bytes | None, files: Sequence[int], outputs: OutputReader) -> Message:
        """Send a request, and receive its answer; meanwhile, give room for outputs, and show texts."""
        if content is not None:
            channel.send_encoded(content, files)
        while True:
            answer, data, _ = channel.receive()
            if "room" in answer:
                channel.send({}, files=[outputs.give_room(answer["room"]).file])
            elif "show" not in answer:
                return answer
            elif (show := getattr(self, "show", None)) is not None:
                show(bytes(data))
