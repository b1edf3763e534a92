"""The server of one set of variables in a worker: it gives the graphs of signatures, and gets and sets the values."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from wasi_nn.graph.outputs import Outputs
from wasi_nn.isolation.wire.channel import Channel, Gone, encoded, mapped
from wasi_nn.isolation.wire.outputs import OutputWriter
from wasi_nn.isolation.wire.protocol import Message, Request, kind_of
from wasi_nn.isolation.wire.variables import described_templates, given_values, require_numbers
from wasi_nn.isolation.worker.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from wasi_nn.graph.graph import Graph
    from wasi_nn.graph.variables import Variables


class VariablesServer(Server):
    """One set of a graph's variables, and its channel to the host.

    `keep` keeps a graph, and gives its number and its encoded description. `drop` drops the graph of a number.
    """

    def __init__(
        self,
        graph: Graph,
        channel: Channel,
        keep: Callable[[Graph], tuple[int, bytes]],
        drop: Callable[[int], object],
    ) -> None:
        super().__init__(channel)
        self._graph = graph
        self._keep = keep
        self._drop = drop
        self._variables: Variables | None = None
        self._numbers: list[int] = []

    def serve(self) -> None:
        try:
            with suppress(Gone):
                self._reply(self._made)
                while self._variables is not None:
                    variables = self._variables
                    message, _, files = self._channel.receive()
                    self._reply(lambda: self._done(variables, message, files))  # noqa: B023  called at once
        finally:
            for number in self._numbers:
                self._drop(number)

    def _made(self) -> bytes:
        variables = self._graph.variables()
        answer = encoded({"nbytes": variables.nbytes})
        self._variables = variables
        return answer

    def _done(self, variables: Variables, message: Message, files: list[int]) -> bytes:
        match kind_of(message):
            case Request.SIGNATURE:
                number, described = self._keep(variables.graph(message["name"]))
                self._numbers.append(number)
                return described
            case Request.GET:
                state = variables.get()
                require_numbers(state)
                outputs = Outputs.named(state.items())
                return encoded(OutputWriter(self._graph, self._room).told(outputs))
            case Request.TEMPLATES:
                values = variables.templates()
                require_numbers(values)
                return encoded({"templates": described_templates(values)})
            case _:  # Request.PUT
                variables.set(dict(given_values(message["values"], mapped(files[0], writable=True))))
                return encoded({})
