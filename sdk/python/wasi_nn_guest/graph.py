"""Graphs: models that are loaded."""

from __future__ import annotations

from collections.abc import Buffer, Iterable
from types import TracebackType
from typing import Self

from wit_world.imports import graph as wit

try:
    from wit_world.imports import describe, signatures, state
except ImportError:  # a world without wasi-nn:ext
    describe = signatures = state = None  # type: ignore[assignment]

from .context import Context
from .description import Description, description_of
from .error import NNError, call, lacking
from .numbers import Code, Encoding, Target
from .tensor import bytes_of


class Graph:
    """A loaded model. `with`, `close()` or Python's own freeing gives it back; its contexts work on.

    with Graph.load_by_name("net") as graph, graph.context() as context:
        ...
    """

    __slots__ = ("_resource",)

    def __init__(self, resource: wit.Graph) -> None:
        """For this library: `Graph.load` and `Graph.load_by_name` make graphs."""
        self._resource: wit.Graph | None = resource

    @classmethod
    def load(cls, builders: Iterable[Buffer], encoding: Encoding, target: Target = Target.CPU) -> Self:
        """Load a model from its bytes: a list of one for most encodings, of the `.xml` and the `.bin` for OpenVINO.

        Raises `NNError`, such as with `invalid-argument` for bytes that are no model, or `security` where the host's
        operator doesn't allow it.
        """
        of_host = wit.GraphEncoding(encoding.number), wit.ExecutionTarget(target.number)
        return cls(call(wit.load, [bytes_of(it) for it in builders], *of_host))

    @classmethod
    def load_by_name(cls, name: str) -> Self:
        """Load a graph that the host's operator named. Raises `NNError` with `not-found` if there is none."""
        return cls(call(wit.load_by_name, name))

    def context(self) -> Context:
        """An execution context. Contexts know nothing of each other, unless they share variables."""
        return Context(call(self._handle().init_execution_context))

    def describe(self) -> Description:
        """What the graph is, and what inputs and outputs it has. (Extension, as all functions below but `close`.)"""
        if describe is None:
            raise lacking("describe")
        return description_of(call(describe.describe, self._handle()))

    def use_signature(self, name: str) -> Self:
        """The graph of another signature of the model, with the same weights and variables.

        Raises `NNError` with `not-found` if the model has no such signature.
        """
        if signatures is None:
            raise lacking("signatures")
        return type(self)(call(signatures.use_signature, self._handle(), name))

    def state(self) -> bytes:
        """The variables, as the bytes of a safetensors file. Contexts that are made from now on share them.

        Raises `NNError` with `unsupported-operation` for a graph without any.
        """
        if state is None:
            raise lacking("state")
        return call(state.state_get, self._handle())

    def set_state(self, content: Buffer) -> None:
        """Set variables to the values in a safetensors file.

        Raises `NNError` with `invalid-argument`, and changes nothing, for a name, a type or dimensions that the graph
        doesn't have.
        """
        if state is None:
            raise lacking("state")
        call(state.state_set, self._handle(), bytes_of(content))

    def close(self) -> None:
        """Give the graph back. It can't be used any more; its contexts can."""
        resource, self._resource = self._resource, None
        if resource is not None:
            resource.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self) -> wit.Graph:
        if self._resource is None:
            raise NNError(Code.INVALID_ARGUMENT, "the graph is closed")
        return self._resource
