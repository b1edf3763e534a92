"""The calls of wasi-nn:ext on a session: descriptions, signatures, variables, sequences and byte strings.

`Session` has these methods. `wasi-nn-ext.wit` describes them as a guest sees them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from wasi_nn.arguments import as_text, as_view
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.byte_strings import decoded, encoded, held_bytes
from wasi_nn.graph.description import GraphDescription, described
from wasi_nn.graph.fitting import find
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.guest_types import STRINGS, holds_texts, is_text
from wasi_nn.graph.named_tensors import unsupported_output
from wasi_nn.graph.runner import failure
from wasi_nn.graph.sequence import NamedSequence
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.graph.variables import require_signature
from wasi_nn.limits.stopping import Stoppable
from wasi_nn.session import state_files
from wasi_nn.session.guest_images import inputs_with_image
from wasi_nn.session.shared_variables import SharedVariables
from wasi_nn.session.tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.backends.ggml.image_option import FileReader
    from wasi_nn.graph.execution_context import ExecutionContext
    from wasi_nn.graph.variables import Variables
    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.limits.usage import Usage
    from wasi_nn.session.guest_requests import GuestRequests
    from wasi_nn.session.handles import HandleTable
    from wasi_nn.session.policy import Policy
    from wasi_nn.types import Array, Dims


Result = TypeVar("Result")


class ExtensionCalls(ABC):
    """The calls of wasi-nn:ext, and the requests of wasi-nn:serving. `Session` describes handles and errors."""

    requests: GuestRequests | None = None
    """The requests that the guest answers, by wasi-nn:serving. None: there are none."""
    takes_byte_strings = False
    """Whether outputs of byte strings become tensors; else they are errors, as in wasi:nn. The ABI sets it for a guest
    that imports the interface byte-strings."""
    file_reader: FileReader | None
    _guard: ComputeGuard
    _handles: HandleTable
    _policy: Policy
    _usage: Usage
    _shared_variables: SharedVariables

    @abstractmethod
    def context(self, handle: int) -> ExecutionContext:
        """The execution context behind a handle."""

    def require_requests(self) -> GuestRequests:
        """The requests of the guest. Raises `NNError` with `invalid-argument` if there are none."""
        if self.requests is None:
            raise NNError(ErrorCode.INVALID_ARGUMENT, "there is no request: the guest doesn't run to answer requests")
        return self.requests

    @property
    def extensions(self) -> frozenset[str]:
        """The interfaces of wasi-nn:ext that the guest may import."""
        return self._policy.extensions

    def describe(self, graph: int) -> GraphDescription:
        """The description of a graph, with the model's metadata if the policy allows that."""
        return described(self._handles.get(graph, Graph), metadata=self._policy.metadata)

    def describe_output(self, context: int, index: int) -> TensorInfo:
        """The name, type and dimensions that an output of the last compute really has. Raises as
        `ExecutionContext.output` does."""
        info, array = self.context(context).output(index)
        native = info.native or (STRINGS if array.dtype == object and holds_texts(array) else "")
        return TensorInfo(info.name, array.dtype, array.shape, native)

    def use_signature(self, graph: int, name: str) -> int:
        """The handle of the graph that runs another signature, with the same weights and variables.

        Raises `NNError`: `not-found` if the model has no such signature, `unsupported-operation` for a model without
        variables and other signatures, `too-large` and `timeout` by the limits.
        """
        item, name = self._handles.get(graph, Graph), as_text("name", name)
        require_signature(name, (*item.signatures, item.signature))
        shared, other = self._on_variables(graph, item, lambda shared: (shared, shared.graph(name)))
        handle = self._handles.add(other)
        self._shared_variables.share(handle, shared)
        return handle

    def _on_variables(self, graph: int, item: Graph, call: Callable[[Variables], Result]) -> Result:
        """Make a call on the set of variables of a graph, within the time of a compute; a new set is made within that
        of a load. An exception of the runtime becomes an `NNError`."""
        work = Stoppable()

        def make() -> Result:
            with work.under_way():
                return call(shared)

        try:
            shared = self._shared_variables.of(graph, item)
            return self._guard.run(work, make, "the work on the variables")
        except NNError:
            raise
        except Exception as error:
            raise failure(error) from error

    def state_get(self, graph: int) -> bytes:
        """A graph's variables as the bytes of a safetensors file. Raises `NNError`: `unsupported-operation` for a graph
        without variables, `too-large` and `timeout` by the limits."""

        def get(shared: Variables) -> Mapping[str, Array]:
            self._usage.require("tensor_bytes", shared.state_bytes)
            return shared.get()

        values = self._on_variables(graph, self._handles.get(graph, Graph), get)
        if not values:
            message = "the graph has no variables: it only has several signatures"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        self._usage.require("tensor_bytes", sum(value.nbytes for value in values.values()))
        return state_files.written(values)

    def state_set(self, graph: int, state: memoryview | bytes) -> None:
        """Set a graph's variables to the values in a safetensors file; those that the file lacks keep theirs.

        Raises `NNError`: `invalid-argument` for bytes that aren't such a file, and for a name, a type or dimensions
        that the graph doesn't have; `unsupported-operation` and `too-large` as `state_get` does. Nothing is changed
        then. Also `timeout`, after which the variables may have changed.
        """
        content = as_view("state", state)

        def put(shared: Variables) -> None:
            self._usage.require("tensor_bytes", content.nbytes)
            shared.set(state_files.values_in(content))

        self._on_variables(graph, self._handles.get(graph, Graph), put)

    def begin_sequence(self, context: int, inputs: Sequence[tuple[str, int]]) -> int:
        """Begin a sequence on tensors by the names of inputs; returns its handle. The inputs' handles are removed even
        if this fails. Raises as `ExecutionContext.sequence` does."""
        self.context(context)
        try:
            arrays = [(name, self._handles.get(tensor, Tensor).array(name)) for name, tensor in inputs]
        finally:  # before the sequence counts them
            for _, tensor in inputs:
                self._handles.discard(tensor)
        return self.begin_named(context, arrays)

    def begin_named(self, context: int, inputs: Iterable[tuple[str, ArrayLike]]) -> int:
        """Begin a sequence on arrays by the names of inputs; returns its handle. Raises as `ExecutionContext.sequence`
        does."""
        item = self.context(context)
        return self._handles.add(item.sequence(inputs_with_image(item.graph, inputs, self.file_reader)))

    def next_of_sequence(self, sequence: int) -> list[tuple[str, int]] | None:
        """The outputs of the next piece: handles of new tensors by the names of outputs. None after the last piece.
        Raises as `NamedSequence.next` does."""
        results = self.next_named(sequence)
        if results is None:
            return None
        return self._as_tensors(self._handles.get(sequence, NamedSequence).context.graph, results)

    def _as_tensors(self, graph: Graph, results: Sequence[tuple[str, Array]]) -> list[tuple[str, int]]:
        """Give the guest outputs of a graph as new tensors; returns their handles by the outputs' names."""
        tensors = [as_tensor(graph, name, array, self.takes_byte_strings) for name, array in results]
        return [(name, handle) for (name, _), handle in zip(results, self._handles.add_all(tensors), strict=True)]

    def next_named(self, sequence: int) -> list[tuple[str, Array]] | None:
        """See `NamedSequence.next`."""
        return self._handles.get(sequence, NamedSequence).next()

    def begin_sequence_on_inputs(self, context: int) -> None:
        """See `ExecutionContext.begin_sequence`."""
        self.context(context).begin_sequence()

    def next_piece(self, context: int) -> bool:
        """See `ExecutionContext.next_piece`."""
        return self.context(context).next_piece()

    def end_sequence(self, context: int) -> None:
        """See `ExecutionContext.end_sequence`."""
        self.context(context).end_sequence()

    def set_byte_strings(self, context: int, index: int, dims: Dims, content: memoryview) -> None:
        """Set input `index` to strings in the encoding of `wasi_nn.graph.byte_strings`. Raises `NNError` as that and
        `ExecutionContext.set_input` do, with `too-large` by the limits."""
        item = self.context(context)
        info = item.graph.inputs[find(item.graph.inputs, index, "input")]
        if info.dtype is not None and not is_text(info):
            message = f"input {info.name!r} is {info.type_name}, not byte strings: call set_input"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        self._usage.require("tensor_bytes", len(content))
        item.set_input(index, decoded(f"input {info.name!r}", content, dims))

    def byte_strings(self, context: int, index: int) -> Array:
        """Output `index` of the last compute, which has strings, in the same encoding: u8[size]. Raises `NNError` with
        `invalid-argument` for an output of numbers, `unsupported-operation` for one of neither, `too-large` by the
        limits, and as `ExecutionContext.output` does."""
        info, array = self.context(context).output(index)
        if array.dtype != object:
            message = f"output {info.name!r} has numbers, not byte strings: call get_output"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        if not holds_texts(array):  # such as a classifier's maps
            raise unsupported_output(info, array)
        self._usage.require("tensor_bytes", held_bytes(array))
        return encoded(array)
