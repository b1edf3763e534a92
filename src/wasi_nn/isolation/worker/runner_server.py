"""The server of one runner in a worker: it takes inputs, runs the graph, and writes outputs into shared memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.graph.graph import Graph
from wasi_nn.graph.runner import ABSENT, as_runner
from wasi_nn.isolation.wire.channel import Channel, Gone, encoded, mapped
from wasi_nn.isolation.wire.descriptions import dtype_of, texts_of
from wasi_nn.isolation.wire.outputs import SAME, OutputWriter
from wasi_nn.isolation.wire.protocol import Message, Request, kind_of
from wasi_nn.isolation.worker.server import Server

if TYPE_CHECKING:
    from wasi_nn.types import Array, DType

_SAME = encoded(SAME)


class RunnerServer(Server):
    """One runner of a graph, and its channel to the host."""

    def __init__(self, graph: Graph, channel: Channel) -> None:
        super().__init__(channel)
        self._graph = graph
        self._runner: Any = None
        self._inputs: list[Array | None] = [None] * len(graph.inputs)
        self._memory: list[memoryview] = [memoryview(b"")] * len(graph.inputs)
        self._outputs = OutputWriter(graph, self._room)
        self._apart = OutputWriter(graph, self._room)  # for outputs that the host copies at once
        self._steps: Iterator[Sequence[Array]] | None = None
        self._busy = threading.Lock()

    def interrupt(self) -> None:
        """Interrupt the call that is under way, if the runner can do that."""
        if self._busy.locked() and self._runner is not None:
            self._runner.interrupt()

    def serve(self) -> None:
        with suppress(Gone):
            self._reply(lambda: encoded(self._made()))
            while self._runner is not None:
                message, data, files = self._channel.receive()
                with self._busy:
                    self._reply(lambda: self._answer(message, data, files))  # noqa: B023  called at once

    def _answer(self, message: Message, data: memoryview, files: list[int]) -> bytes:
        answer = self._done(message, data, files)
        return _SAME if answer is SAME else encoded(answer)

    def _made(self) -> Message:
        self._runner = as_runner(self._graph.runner())
        self._runner.text_sink = lambda text: self._channel.send({"show": True}, text)
        return {"features": sorted(self._runner.features)}

    def _done(self, message: Message, data: memoryview, files: list[int]) -> Message:
        self._bind(message.get("bind", ()), files)
        match kind_of(message):
            case Request.RUN:
                return self._outputs.told(self._runner(self._inputs, self._outputs.reuse))
            case Request.RUN_APART:
                return self._apart.told(self._runner(self._inputs, self._apart.reuse))
            case Request.DEADLINES:
                self._runner.expect_deadlines()
                return {}
            case Request.CHECK:
                self._runner.check_input(message["index"], data)
                return {}
            case Request.BEFORE:
                index = message["index"]
                told = self._runner.output_before_compute(index, self._inputs)
                return {} if told is None else self._apart.told([told], self._graph.outputs[index : index + 1])
            case Request.STEPS:
                self._steps = iter(self._runner.steps(self._inputs))
                return {}
            case Request.STEP:
                return self._step()
            case _:  # Request.END
                steps, self._steps = self._steps, None
                if hasattr(steps, "close"):
                    steps.close()  # type: ignore[union-attr]
                return {}

    def _step(self) -> Message:
        assert self._steps is not None  # the host asks in order
        try:
            return self._apart.told(next(self._steps))
        except StopIteration as end:
            self._steps = None
            return {"end": True} | ({} if end.value is None else self._apart.told(end.value))

    def _bind(self, changes: Sequence[Any], files: list[int]) -> None:
        """Take the inputs that changed (`bind` in `wasi_nn.isolation.wire.protocol`)."""
        given = iter(files)
        for index, dtype, dims, where, size in changes:
            if where == "absent":
                self._inputs[index] = ABSENT
            elif where == "unset":
                self._inputs[index] = None
            else:
                if where == "new":
                    self._memory[index] = mapped(next(given), writable=True)
                self._inputs[index] = _array(dtype_of(dtype), dims, self._memory[index][:size])


def _array(dtype: DType, dims: Sequence[int], content: memoryview) -> Array:
    if dtype.hasobject:
        return texts_of(bytes(content), tuple(dims))
    return np.frombuffer(content, dtype).reshape(dims) if content else np.empty(dims, dtype)
