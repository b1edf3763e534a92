"""The runner of an isolated graph: it writes inputs into shared memory, asks the worker, and reads outputs there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
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
    from wasi_nn.isolation.connection import Connection
    from wasi_nn.isolation.shared_memory import SharedMemory
    from wasi_nn.isolation.wire.outputs import OutputReader
    from wasi_nn.types import Array

_RUN = encoded(request(Request.RUN, bind=[]))


class IsolatedRunner(Runner):
    """A runner in a worker. It connects to a new worker when the last one has ended."""

    def __init__(self, graph: Graph, connect: Callable[[], Connection]) -> None:
        self._graph = graph
        self._connect = connect
        count = len(graph.inputs)
        self._memory: list[SharedMemory | None] = [None] * count
        self._buffers: list[Array | None] = [None] * count
        self._connection = connect()
        self._reconnecting: Stoppable | None = None
        self._has_run = False

    @property
    def features(self) -> frozenset[str]:
        return self._connection.features | {"input_buffer", "interrupt"}

    def _connected(self) -> Connection:
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
        finally:
            self._reconnecting = None
        had_state, self._has_run = self._has_run and self._graph.keeps_state, False
        if had_state:
            message = "the worker is another one now, and the state that this execution context had is lost"
            raise NNError(ErrorCode.RUNTIME_ERROR, f"{message}: the next compute begins anew")

    def input_buffer(self, index: int, dims: Dims) -> Array | None:
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
            self._memory[index] = None
            memory = self._memory[index] = self._connection.worker.inputs.take(size)
        if not size:
            empty: Array = np.empty(dims, dtype)
            return empty
        array: Array = np.frombuffer(memory.bytes[:size], dtype).reshape(dims)
        return array

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        connection = self._connected()
        self._has_run = True
        if reuse is None:
            return connection.taken(self._ask(connection, Request.RUN_APART, inputs))
        return connection.told(connection.outputs, self._ask(connection, Request.RUN, inputs, connection.outputs))

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
        self._connected().ask(content, to="look at an input")

    def output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        connection = self._connected()
        answer = self._ask(connection, Request.BEFORE, inputs, to="tell of an output", index=index)
        return connection.taken(answer, index)[0] if tells_of_outputs(answer) else None

    def interrupt(self) -> None:
        """Have the worker stop; one that goes on all the same is killed."""
        reconnecting = self._reconnecting
        if reconnecting is not None:
            reconnecting.stop("it went on loading the model past the deadline of a compute")
        self._connection.interrupt()

    def _ask(
        self,
        connection: Connection,
        what: Request,
        inputs: Sequence[Array | None],
        outputs: OutputReader | None = None,
        *,
        to: str = "",
        **more: Any,
    ) -> Message:
        """Send a request that depends on inputs, with the inputs that changed."""
        connection.text_sink = self.text_sink
        changed = [index for index, array in enumerate(inputs) if not self._is_known(connection, index, array)]
        if what is Request.RUN and not changed:
            return connection.ask(_RUN, outputs=outputs)
        files: list[int] = []
        try:
            changes = [self._change(connection, index, inputs[index], files) for index in changed]
            content = encoded(request(what, bind=changes, **more), files=len(files))
            return connection.ask(content, files, outputs, to=to)
        except NNError:  # the worker may not have taken all of them
            connection.forget()
            raise

    def _is_known(self, connection: Connection, index: int, array: Array | None) -> bool:
        """Whether the worker has an input as it is now. Only a buffer of ours is known not to have changed."""
        is_bound = array is not None and array is connection.bound[index]
        return is_bound and (array is self._buffers[index] or array is ABSENT)

    def _change(self, connection: Connection, index: int, array: Array | None, files: list[int]) -> list[Any]:
        """The `bind` entry of an input (see `wasi_nn.isolation.wire.protocol`)."""
        connection.bound[index] = array
        if array is None:
            return [index, "", [], "unset", 0]
        if array is ABSENT:
            return [index, "", [], "absent", 0]
        is_text = array.dtype == object
        content = np.frombuffer(encoded_texts(array), np.uint8) if is_text else array
        where = self._placed(connection, index, content, files)
        return [index, "object" if is_text else array.dtype.name, array.shape, where, content.nbytes]

    def _placed(self, connection: Connection, index: int, array: Array, files: list[int]) -> str:
        """Write an input's elements into shared memory; gives `here` or `new`."""
        aside = None
        if array is not self._buffers[index]:
            kept = self._buffers[index]
            if kept is not None and kept.nbytes:  # a named compute must leave the inputs that are set as they are
                aside, self._memory[index] = self._memory[index], None
            view = self._buffer(index, array.shape, array.dtype)
            np.copyto(view, array)
        memory = self._memory[index]
        assert memory is not None  # also for an array without elements
        where = "here"
        if memory is not connection.memory[index]:
            where = "new"
            files.append(memory.file)
            connection.worker.inputs.adopt(memory)
            connection.memory[index] = memory
        if aside is not None:
            self._memory[index] = aside
        return where
