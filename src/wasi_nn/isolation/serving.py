"""A runner in a worker: it is told of its inputs, runs, and writes its outputs into the memory that it is given."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.graph import ABSENT, EndedEarly, Graph, NamedOutputs, failure, output_infos
from wasi_nn.isolation.channel import Channel, Gone, Message, mapped
from wasi_nn.isolation.described import described_error, described_texts, dtype_of, texts_of
from wasi_nn.types import ErrorCode, NNError

if TYPE_CHECKING:
    from wasi_nn.types import Array

ALIGNMENT = 64
HOOKS = ("steps", "check_input", "show", "output_before_compute", "interrupt")


@contextmanager
def explained() -> Iterator[None]:
    """Whatever goes wrong here becomes an `NNError`."""
    try:
        yield
    except NNError:
        raise
    except MemoryError as error:
        message = "the isolated worker is out of memory (Isolation.memory)"
        raise NNError(ErrorCode.RUNTIME_ERROR, message) from error
    except Exception as error:
        raise failure(error) from error


class RunnerServer:
    """A runner of a graph, and the host's end of it."""

    def __init__(self, graph: Graph, channel: Channel) -> None:
        self._graph = graph
        self._channel = channel
        self._runner: Any = None
        self._inputs: list[Array | None] = [None] * len(graph.inputs)
        self._memory: list[memoryview] = [memoryview(b"")] * len(graph.inputs)
        self._arena = memoryview(b"")
        self._outputs: Sequence[Array] | None = None
        self._steps: Iterator[Sequence[Array]] | None = None
        self._busy = threading.Lock()

    def interrupt(self) -> None:
        """End the call under way, if it can be ended."""
        if self._busy.locked() and hasattr(self._runner, "interrupt"):
            self._runner.interrupt()

    def serve(self) -> None:
        """Do what the host says until it closes the channel."""
        with suppress(Gone):
            self._reply(lambda: self._made())
            while self._runner is not None:
                message, data, files = self._channel.receive()
                with self._busy:
                    self._reply(lambda: self._done(message, data, files))  # noqa: B023  called at once

    def _reply(self, do: Any) -> None:
        try:
            with explained():
                answer = do()
        except NNError as error:
            answer = {"error": described_error(error)}
        self._channel.send(answer)

    def _made(self) -> Message:
        runner: Any = self._graph.runner()
        if hasattr(runner, "show"):
            runner.show = lambda text: self._channel.send({"show": True}, text)
        self._runner = runner
        return {"hooks": [name for name in HOOKS if hasattr(runner, name)]}

    def _done(self, message: Message, data: memoryview, files: list[int]) -> Message:
        self._bind(message.get("bind", ()), files)
        match message["do"]:
            case "run":
                self._outputs = self._runner(self._inputs, self._outputs)
                return self._given(self._outputs)
            case "check":
                self._runner.check_input(message["index"], data)
                return {}
            case "before":
                told = self._runner.output_before_compute(message["index"], self._inputs)
                return {} if told is None else self._given([told])
            case "steps":
                self._steps = iter(self._runner.steps(self._inputs))
                return {}
            case "step":
                return self._step()
            case _:  # "end"
                steps, self._steps = self._steps, None
                if hasattr(steps, "close"):
                    steps.close()  # type: ignore[union-attr]
                return {}

    def _step(self) -> Message:
        assert self._steps is not None  # the host asks in order
        try:
            return self._given(next(self._steps))
        except StopIteration as end:
            self._steps = None
            return {"end": True} | ({} if end.value is None else self._given(end.value))

    def _bind(self, changes: Sequence[Any], files: list[int]) -> None:
        """Take inputs as they are now: each change is an index, a dtype, dims, and where the elements are."""
        given = iter(files)
        for index, dtype, dims, where in changes:
            if where == "absent":
                self._inputs[index] = ABSENT
            elif where == "unset":
                self._inputs[index] = None
            elif where in ("here", "new"):
                if where == "new":
                    self._memory[index] = mapped(next(given), writable=True)
                kind = dtype_of(dtype)
                content = self._memory[index][: prod(dims) * kind.itemsize]
                self._inputs[index] = np.frombuffer(content, kind).reshape(dims) if content else np.empty(dims, kind)
            else:
                self._inputs[index] = texts_of(where, dims)

    def _given(self, outputs: Sequence[Array]) -> Message:
        """Write outputs into the arena; the answer says what is where."""
        arrays = [array if _is_text(array) else np.ascontiguousarray(array) for array in outputs]
        places = layout([0 if _is_text(array) else array.nbytes for array in arrays])
        if places[-1] > len(self._arena):
            self._channel.send({"room": places[-1]})
            _, _, files = self._channel.receive()
            self._arena = mapped(files[0], writable=True)
        said: list[list[Any]] = []
        for array, source, place in zip(arrays, outputs, places[:-1], strict=True):
            if _is_text(array):
                said.append(["object", list(array.shape), described_texts(array)])
                continue
            if array.nbytes:
                view: Array = np.frombuffer(self._arena, array.dtype, array.size, place)
                np.copyto(view, array.reshape(-1))
            said.append([array.dtype.name, list(source.shape), place])
        answer: Message = {"outputs": said}
        if isinstance(outputs, NamedOutputs):
            answer["names"] = [info.name for info in output_infos(self._graph, outputs)]
        if isinstance(outputs, EndedEarly):
            answer["full"] = True
        return answer


def _is_text(array: Array) -> bool:
    return array.dtype.kind in "OSU"


def layout(sizes: Sequence[int]) -> list[int]:
    """Where arrays of these sizes in bytes lie one behind the other, and where the last ends."""
    places = [0]
    for size in sizes:
        places.append(places[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    return places
