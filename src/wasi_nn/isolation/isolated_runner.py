"""The runner of an isolated graph: it writes inputs into shared memory, asks the worker, and reads outputs there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.runner import ABSENT, Runner
from wasi_nn.isolation.wire.channel import encoded
from wasi_nn.isolation.wire.descriptions import encoded_texts
from wasi_nn.isolation.wire.outputs import tells_of_outputs
from wasi_nn.isolation.wire.protocol import Message, Request, request
from wasi_nn.limits.stopping import Stoppable
from wasi_nn.types import Dims

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.isolation.connection import RunnerConnection
    from wasi_nn.isolation.shared_memory import SharedMemory
    from wasi_nn.isolation.wire.outputs import OutputReader
    from wasi_nn.types import Array, DType

_RUN = encoded(request(Request.RUN, bind=[]))


@dataclass(slots=True)
class SharedInput:
    """One input: where its elements are, on this side and on the worker's."""

    memory: SharedMemory | None = None
    """The shared memory that the next tensor is written into, if it is large enough."""
    buffer: Array | None = None
    """The array over `memory` that the execution context writes into."""
    sent: Array | None = None
    """The array that the worker has; None if it has none, or nobody knows."""
    sent_memory: SharedMemory | None = None
    """The shared memory that the worker maps for this input."""

    def is_known(self, array: Array | None) -> bool:
        """Whether the worker has this array as it is now. Only `buffer` is known not to have changed: the execution
        context makes a new one, or writes into the memory that the worker reads."""
        return array is not None and array is self.sent and (array is self.buffer or array is ABSENT)


class IsolatedRunner(Runner):
    """A runner in a worker. It connects to a new worker when the last one has ended."""

    def __init__(self, graph: Graph, connect: Callable[[], RunnerConnection]) -> None:
        self._graph = graph
        self._connect = connect
        self._inputs = [SharedInput() for _ in graph.inputs]
        self._connection = connect()
        self._reconnecting: Stoppable | None = None
        self._has_run = False
        self._has_deadlines = False

    @property
    def features(self) -> frozenset[str]:
        return self._connection.features | {"input_buffer", "interrupt"}

    def _connected(self) -> RunnerConnection:
        if not self._connection.is_usable:
            self._connect_again()
        return self._connection

    def _connect_again(self) -> None:
        """Have another worker, which may have to load the model first. Raises `NNError` with `runtime-error`, once, if
        the last one had state that is lost now."""
        self._connection.close()
        self._reconnecting = Stoppable()
        try:
            with self._reconnecting.under_way():
                self._connection = self._connect()
                if self._has_deadlines:
                    self._tell_of_deadlines()
        finally:
            self._reconnecting = None
        self._forget_sent()
        had_state, self._has_run = self._has_run and self._graph.keeps_state, False
        if had_state:
            message = "the isolated worker was replaced, and this execution context has lost its state"
            raise NNError(ErrorCode.RUNTIME_ERROR, f"{message}: the next compute begins without it")

    def expect_deadlines(self) -> None:
        """Have the worker's runner expect deadlines, now and after the worker was replaced."""
        self._has_deadlines = True
        self._connected()
        self._tell_of_deadlines()

    def _tell_of_deadlines(self) -> None:
        self._connection.ask(encoded(request(Request.DEADLINES)), to="learn of deadlines")

    def input_buffer(self, index: int, dims: Dims) -> Array | None:
        dtype = self._graph.inputs[index].dtype
        if dtype is None or dtype.hasobject:
            return None
        shared = self._inputs[index]
        shared.buffer = self._array(shared, dims, dtype)
        return shared.buffer

    def _array(self, shared: SharedInput, dims: Dims, dtype: DType) -> Array:
        """An array over the input's memory, or over new memory if that is too small."""
        size = prod(dims) * dtype.itemsize
        if shared.memory is None or shared.memory.size < size:
            shared.memory = None  # first: it may be given out again
            shared.memory = self._connection.worker.inputs.take(size)
        if not size:
            return np.empty(dims, dtype)
        array: Array = np.frombuffer(shared.memory.bytes[:size], dtype)
        return array.reshape(dims)

    def _forget_sent(self) -> None:
        """Send every input again with the next call."""
        for shared in self._inputs:
            shared.sent = shared.sent_memory = None

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        connection = self._connected()
        self._has_run = True
        if reuse is None:
            return connection.taken(self._ask(connection, Request.RUN_APART, inputs))
        return connection.read(connection.outputs, self._ask(connection, Request.RUN, inputs, connection.outputs))

    def steps(self, inputs: Sequence[Array]) -> Generator[Sequence[Array], None, Sequence[Array] | None]:
        connection = self._connected()
        self._ask(connection, Request.STEPS, inputs)
        ended = False
        try:
            while True:
                answer = connection.ask(encoded(request(Request.STEP)))
                if answer.get("end"):
                    ended = True
                    return connection.taken(answer) if tells_of_outputs(answer) else None
                yield connection.taken(answer)
        except NNError:
            ended = True
            raise
        finally:
            if not ended and connection.is_usable:
                connection.ask(encoded(request(Request.END)), to="end a sequence")

    def check_input(self, index: int, data: memoryview) -> None:
        content = encoded(request(Request.CHECK, index=index), data)
        self._connected().ask(content, to="check an input")

    def output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        connection = self._connected()
        answer = self._ask(connection, Request.BEFORE, inputs, index=index)
        return connection.taken(answer, index)[0] if tells_of_outputs(answer) else None

    def interrupt(self) -> None:
        """Have the worker stop; one that goes on all the same is killed."""
        reconnecting = self._reconnecting
        if reconnecting is not None:
            reconnecting.stop("it went on loading the model past the deadline of a compute")
        self._connection.interrupt()

    def _ask(
        self,
        connection: RunnerConnection,
        what: Request,
        inputs: Sequence[Array | None],
        outputs: OutputReader | None = None,
        **more: Any,
    ) -> Message:
        """Send a request that depends on inputs, with the inputs that changed."""
        connection.text_sink = self.text_sink
        changed = [index for index, array in enumerate(inputs) if not self._inputs[index].is_known(array)]
        if what is Request.RUN and not changed:
            return connection.ask(_RUN, outputs=outputs)
        files: list[int] = []
        try:
            changes = [self._change(connection, index, inputs[index], files) for index in changed]
            content = encoded(request(what, bind=changes, **more), files=len(files))
            return connection.ask(content, files, outputs)
        except NNError:  # the worker may not have taken all of them
            self._forget_sent()
            raise

    def _change(self, connection: RunnerConnection, index: int, array: Array | None, files: list[int]) -> list[Any]:
        """The `bind` entry of an input (see `wasi_nn.isolation.wire.protocol`)."""
        shared = self._inputs[index]
        shared.sent = array
        if array is None:
            return [index, "", [], "unset", 0]
        if array is ABSENT:
            return [index, "", [], "absent", 0]
        is_text = array.dtype == object
        content = np.frombuffer(encoded_texts(array), np.uint8) if is_text else array
        where = self._placed(connection, shared, content, files)
        return [index, "object" if is_text else array.dtype.name, array.shape, where, content.nbytes]

    def _placed(self, connection: RunnerConnection, shared: SharedInput, array: Array, files: list[int]) -> str:
        """Write an input's elements into shared memory; gives `here` or `new`."""
        aside = None
        if array is not shared.buffer:
            if shared.buffer is not None and shared.buffer.nbytes:
                # A named compute must leave the input that is set as it is.
                aside, shared.memory = shared.memory, None
            np.copyto(self._array(shared, array.shape, array.dtype), array)
        memory = shared.memory
        assert memory is not None  # also for an array without elements
        where = "here"
        if memory is not shared.sent_memory:
            where = "new"
            files.append(memory.file)
            connection.worker.inputs.adopt(memory)
            shared.sent_memory = memory
        if aside is not None:
            shared.memory = aside
        return where
