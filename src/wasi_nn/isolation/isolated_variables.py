"""Sets of variables in a worker, on the host's side, and the graphs that share them.

A set lives and ends with the worker that it was made in: another worker has the model's own values.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.variables import Variables, arrays_of, require_fitting
from wasi_nn.isolation.connection import Connection, RunnerConnection
from wasi_nn.isolation.isolated_runner import IsolatedRunner
from wasi_nn.isolation.wire.channel import encoded
from wasi_nn.isolation.wire.descriptions import Description, InvalidWorkerMessage
from wasi_nn.isolation.wire.outputs import OutputReader, layout
from wasi_nn.isolation.wire.protocol import Message, Request, request
from wasi_nn.isolation.wire.variables import nbytes_of, templates_of, values_of
from wasi_nn.limits.stopping import stopped_by, turn

if TYPE_CHECKING:
    from wasi_nn.graph.runner import Runner
    from wasi_nn.isolation.isolated_graph import IsolatedGraph, Model
    from wasi_nn.isolation.worker_process import Worker
    from wasi_nn.types import Array

_LOST = "the variables are lost with it: load the graph again, and set them by state-set"


class IsolatedVariables(Variables):
    """A set of variables in the worker that has the model now. Raises `NNError` as `ask` of a connection does."""

    def __init__(self, base: IsolatedGraph, model: Model, config: bytes) -> None:
        super().__init__()
        self.settings = model.settings
        self._base = base  # the worker keeps a graph as long as the host has it
        self._lock = threading.Lock()
        self._graphs: dict[str, tuple[Description, int]] = {}
        worker, place = model.worker_with(config)
        begin = request(Request.VARIABLES, graph=place)
        self._connection = _SetConnection(worker, self.settings, begin, "make a set of variables", self.after_end)
        try:
            self.nbytes = nbytes_of(self._connection.began)
        except InvalidWorkerMessage as error:
            raise self._connection.misled(error) from error

    @property
    def is_lost(self) -> bool:
        return not self._connection.is_usable

    def graph(self, signature: str) -> Graph:
        with turn(self._lock):
            return _SignatureGraph(self, self._base, signature, self._described(signature)[0])

    def get(self) -> dict[str, Array]:
        with turn(self._lock):
            connection = self._usable()
            outputs = OutputReader(None, connection.worker.outputs)
            answer = connection.ask(encoded(request(Request.GET)), (), outputs, to="give its variables")
            try:
                return values_of(connection.read(outputs, answer))
            except InvalidWorkerMessage as error:
                raise connection.misled(error) from error

    def templates(self) -> Mapping[str, Array]:
        with turn(self._lock):
            connection = self._usable()
            answer = connection.ask(encoded(request(Request.TEMPLATES)), to="describe its variables")
            try:
                return templates_of(answer.get("templates"))
            except InvalidWorkerMessage as error:
                raise connection.misled(error) from error

    def set(self, values: Mapping[str, Array]) -> None:
        values = arrays_of(values)
        require_fitting(self.templates(), values)
        with turn(self._lock):
            connection = self._usable()
            starts = layout([value.nbytes for value in values.values()])
            memory = connection.worker.inputs.take(starts[-1])
            described: list[Any] = []
            for (name, value), start in zip(values.items(), starts[:-1], strict=True):
                place: Array = np.frombuffer(memory.bytes[start : start + value.nbytes], value.dtype)
                np.copyto(place.reshape(value.shape), value)
                described.append([name, value.dtype.name, value.shape, start])
            connection.ask(
                encoded(request(Request.PUT, values=described), files=1), [memory.file], to="set its variables"
            )

    def worker_with(self, name: bytes) -> tuple[Worker, int]:
        """The worker of the set, and the number there of the graph of a signature. Raises `NNError` with
        `runtime-error` if the worker has ended."""
        with turn(self._lock):
            return self._usable().worker, self._described(name.decode("utf-8", "surrogatepass"))[1]

    @staticmethod
    def after_end(error: NNError) -> NNError:
        """The error for those who waited for the worker when it ended."""
        reason, _, _ = error.message.partition(". The model is loaded again")
        return error.with_message(f"{reason}; {_LOST}")

    def _usable(self) -> _SetConnection:
        self.require_made_here()
        if self.is_lost:
            raise NNError(ErrorCode.RUNTIME_ERROR, f"the isolated worker of the graph has ended, and {_LOST}")
        return self._connection

    def _described(self, signature: str) -> tuple[Description, int]:
        """The graph of a signature: its description, and its number in the worker."""
        connection = self._usable()
        known = self._graphs.get(signature)
        if known is None:
            answer = connection.ask(encoded(request(Request.SIGNATURE, name=signature)), to="give a signature's graph")
            try:
                described, number = Description(answer["graph"], bytes(connection.data)), answer["number"]
                if type(number) is not int or described.signature != signature:
                    raise InvalidWorkerMessage(f"another graph than that of the signature {signature!r:.80}")
            except (KeyError, ValueError) as error:
                raise connection.misled(error) from error
            self._graphs[signature] = known = described, number
        return known


class _SetConnection(Connection):
    """A connection to a set of variables in a worker. The worker is killed if the work is stopped that asks."""

    def ask(
        self, content: bytes | None, files: Sequence[int] = (), outputs: OutputReader | None = None, *, to: str = ""
    ) -> Message:
        with stopped_by(self.worker.kill):
            return super().ask(content, files, outputs, to=to)

    def _given_room(self, outputs: OutputReader, size: Any) -> list[int]:
        try:
            return super()._given_room(outputs, size)
        except NNError:  # without room, the worker says so: the set isn't lost by that
            return []


class _SignatureGraph(Graph):
    """The graph of a signature on a set of variables."""

    def __init__(
        self, variables: IsolatedVariables, base: IsolatedGraph, signature: str, described: Description
    ) -> None:
        super().__init__(described.inputs, described.outputs, described.metadata)
        self.encoding, self.runtime, self.device = described.encoding, base.runtime, described.device
        self.outputs_vary, self.keeps_state = described.outputs_vary, described.keeps_state
        self.signature, self.signatures = signature, base.signatures
        self._variables, self._base = variables, base

    def variables(self) -> Variables:
        return self._base.variables()

    def runner(self) -> Runner:
        name = self.signature.encode("utf-8", "surrogatepass")
        return IsolatedRunner(self, partial(RunnerConnection, self, self._variables, name))
