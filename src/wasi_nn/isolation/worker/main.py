"""A worker process from the inside: it confines itself, then loads models and runs them as the host asks.

The main thread serves the control channel. Each runner has a thread and a channel of its own, so that computes on one
graph run side by side, as they do in the host's process.
"""

from __future__ import annotations

import fcntl
import gc
import itertools
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from wasi_nn.isolation.shortage import Used
from wasi_nn.isolation.wire.channel import Channel, Gone, encoded, mapped
from wasi_nn.isolation.wire.protocol import Message, Request, kind_of
from wasi_nn.isolation.worker import sandbox
from wasi_nn.process.allocator import keep_freed_memory

if TYPE_CHECKING:
    from wasi_nn.errors import NNError
    from wasi_nn.graph.graph import Graph
    from wasi_nn.isolation.worker.runner_server import RunnerServer
    from wasi_nn.isolation.worker.server import Server


def main(control: str, lifeline: str) -> NoReturn:
    """Serve the host until it ends. The arguments are descriptors, of the control channel and of the lifeline."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # until `_started`
    end_with_host(int(lifeline))
    keep_freed_memory()
    with suppress(OSError):  # if the machine runs out of memory, the kernel ends the worker, not the host
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    channel = Channel(socket.socket(fileno=int(control)), takes_files=True)
    first, _, _ = channel.receive()
    try:
        may = first["readable"], first["memory"], first["model"], first["threads"]
        sandbox.confine(*may, sockets=first["sockets"], lifeline=int(lifeline))
    except Exception as error:
        text = f"graphs can't be isolated here: {getattr(error, 'strerror', None) or error}"
        used = Used.by_this_process(error).message
        channel.send({"error": {"kind": "NNError", "code": "unsupported-operation", "text": text, "used": used}})
        os._exit(1)
    channel.send({})
    with suppress(Gone):
        _Worker(channel).serve()
    os._exit(0)


def end_with_host(lifeline: int) -> None:
    """Have the kernel kill this process when the host ends, which closes the other end of this pipe."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        if os.read(lifeline, 1) == b"":
            os._exit(0)


class _Worker:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._graphs: dict[int, Graph] = {}
        self._numbers = itertools.count()
        self._runners: dict[int, RunnerServer] = {}

    def serve(self) -> None:
        from wasi_nn.process.quiet import numpy_alone

        with numpy_alone():
            import numpy as np  # noqa: F401
        while True:
            message, data, files = self._channel.receive()
            answer = self._answer(message, data, files)
            if answer is not None:
                self._channel.send_encoded(answer)

    def _answer(self, message: Message, data: memoryview, files: list[int]) -> bytes | None:
        from wasi_nn.isolation.wire.descriptions import described_error
        from wasi_nn.isolation.worker.server import as_nn_errors

        what = kind_of(message)
        if what is Request.INTERRUPT:
            runner = self._runners.get(message["runner"])
            if runner is not None:
                runner.interrupt()
            return None
        if what is Request.FORGET:
            self._graphs.pop(message["graph"], None)
            return None
        if what is Request.RUNNER:
            self._start_runner(self._graphs[message["graph"]], message["runner"], files[0])
            return None
        if what is Request.VARIABLES:
            self._start_set(self._graphs[message["graph"]], files[0])
            return None
        try:
            with as_nn_errors():
                if what is Request.START:
                    return _started(message)
                if what is Request.LOAD:
                    return self._keep(_loaded(message, files))[1]
                return self._keep(self._graphs[message["graph"]].configured(data))[1]
        except Exception as error:
            described = described_error(error)  # type: ignore[arg-type]  # as_nn_errors
            return encoded({"error": {**described, "used": Used.by_this_process(error).message}})

    def _keep(self, graph: Graph) -> tuple[int, bytes]:
        """Keep a graph; gives its number, and its encoded description. Called on any thread."""
        from wasi_nn.isolation.wire.descriptions import described_graph, encoded_metadata

        number = next(self._numbers)
        described = encoded({"graph": described_graph(graph), "number": number}, encoded_metadata(graph))
        self._graphs[number] = graph
        return number, described

    def _start_runner(self, graph: Graph, number: int, file: int) -> None:
        from wasi_nn.isolation.worker.runner_server import RunnerServer

        channel = Channel(socket.socket(fileno=file), takes_files=True)
        server = self._runners[number] = RunnerServer(graph, channel)
        _start(server, channel, f"runner {number}", lambda: self._runners.pop(number))

    def _start_set(self, graph: Graph, file: int) -> None:
        from wasi_nn.isolation.worker.variables_server import VariablesServer

        channel = Channel(socket.socket(fileno=file), takes_files=True)
        server = VariablesServer(graph, channel, self._keep, lambda number: self._graphs.pop(number, None))
        _start(server, channel, "variables", lambda: None)


def _start(server: Server, channel: Channel, name: str, at_end: Callable[[], object]) -> None:
    """Start the thread of a server. If there is none, the host is told so."""
    from wasi_nn.isolation.wire.descriptions import described_error

    def serve() -> None:
        try:
            server.serve()
        finally:
            at_end()
            channel.close()

    try:
        threading.Thread(target=serve, daemon=True, name=name).start()
    except RuntimeError:
        at_end()
        with suppress(Gone):
            error = _no_thread()
            channel.send({"error": {**described_error(error), "used": Used.by_this_process(error).message}})
        channel.close()


def _no_thread() -> NNError:
    from wasi_nn.errors import ErrorCode, NNError
    from wasi_nn.isolation import how_to_raise

    text = "the isolated worker can't start a thread for one more execution context"
    return NNError(ErrorCode.RUNTIME_ERROR, f"{text} ({how_to_raise('threads')})")


def _backend(message: Message) -> Any:
    import importlib

    from wasi_nn import backends

    module, _, name = message["backend"].partition(":")
    backend = getattr(importlib.import_module(module), name)()
    if isinstance(backend, backends.Backend):
        backend.in_worker = True
    return backend


def _started(message: Message) -> bytes:
    """Import a backend and its runtime, before anything of the model is read."""
    from wasi_nn import backends

    backend = _backend(message)
    if isinstance(backend, backends.Backend):
        with backends.load_errors(backend):
            if not backend.list_devices():
                raise OSError(f"{backend.runtime} finds no device, not even the CPU")
    # The imports have made up to a million objects that stay. While they are made, and later in each collection, the
    # garbage collector would look at them again and again.
    gc.freeze()
    gc.enable()
    return encoded({})


def _loaded(message: Message, files: Sequence[int]) -> Graph:
    from pathlib import Path

    from wasi_nn import backends
    from wasi_nn.types import ExecutionTarget

    backend = _backend(message)
    target, options = ExecutionTarget(message["target"]), message["options"]
    with backends.load_errors(backend):
        if message["path"] is not None:
            graph: Graph = backend.load_path(Path(message["path"]), target, options)
        else:
            graph = backend.load([mapped(file, writable=False) for file in files], target, options)
    if message["convert_types"]:
        from wasi_nn.graph.conversion import converted

        return converted(graph)
    return graph
