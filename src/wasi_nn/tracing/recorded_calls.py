"""`RecordedCalls`: a session with a trace, and the means to write a call to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from wasi_nn.errors import NNError
from wasi_nn.graph.fitting import find
from wasi_nn.graph.named_tensors import input_pairs
from wasi_nn.graph.python_tensors import as_declared
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.session.guest_images import inputs_with_image
from wasi_nn.session.session import Session
from wasi_nn.tracing.call_recorder import GRAPHS_ROW, CallRecorder
from wasi_nn.tracing.trace_writer import Trace
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from wasi_nn.graph.execution_context import ExecutionContext
    from wasi_nn.loading.registry import Graphs
    from wasi_nn.types import Array

Result = TypeVar("Result")
Described = Mapping[str, Any]

_MAX_SHOWN = 80  # characters of a graph's name on the timeline


class RecordedCalls(Session):
    """A session with a trace. `RecordingSession` records all calls."""

    def __init__(
        self,
        trace: str | os.PathLike[str] | CallRecorder,
        graphs: Graphs = None,
        *,
        data: bool = False,
        title: str = "wasi-nn",
        **session: Any,
    ) -> None:
        super().__init__(graphs, **session)
        self.bindings.sees_computes = True
        recorder = trace if isinstance(trace, CallRecorder) else Trace(trace, data=data, title=title)
        self._trace = recorder.for_run(title)
        self._names: dict[int, str] = {}  # the names of graphs on the timeline, by handle

    def _load(self, call: str, arguments: Described, load: Callable[[], int], name: str) -> int:
        """Load a graph and record the call. The timeline shows the graph's contexts with this name."""
        handle = self._trace.call(call, GRAPHS_ROW, arguments, load, self._described_graph)
        self._names[handle] = name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}..."
        return handle

    def _call(
        self,
        name: str,
        context: int,
        arguments: Described,
        function: Callable[[], Result],
        result: Callable[[Result], Described] | None = None,
    ) -> Result:
        """Make a call on a context and record it. If the context doesn't exist, only that error is recorded."""
        self._context_for(name, context)
        return self._trace.call(name, context, {"context": context, **arguments}, function, result)

    def _context_for(self, name: str, context: int) -> ExecutionContext:
        """The context of a call. If there is none, that error is recorded with the call's name."""
        with self._recording_failure("context", context, lambda: {"call": name}):
            return Session.context(self, context)

    @contextmanager
    def _recording_failure(self, name: str, context: int, arguments: Callable[[], Described] = dict) -> Iterator[None]:
        try:
            yield
        except NNError as error:
            row = GRAPHS_ROW if name == "context" else context
            self._trace.failed(name, row, {"context": context, **arguments()}, error)
            raise

    def _may_hold(self, builders: Sequence[memoryview]) -> bool:
        """Whether the guest may have a model of these bytes. The content of another one isn't recorded: builders may
        lie over each other in the guest's memory, and be terabytes together. The ABI reports that the session refuses
        it."""
        with suppress(NNError):
            self._usage.require("model_bytes", sum(map(len, builders)))
            return True
        return False

    def _described_builders(self, builders: Sequence[memoryview]) -> list[dict[str, Any]]:
        return [self._trace.content(builder) for builder in builders]

    def _described_graph(self, handle: int) -> Described:
        graph = self.graph(handle)
        described = {"encoding": graph.encoding.value, "runtime": graph.runtime, "device": graph.device}
        return {"graph": handle, **described}

    def _as_declared(self, context: int, key: int | str, tensor: ArrayLike) -> Array:
        inputs = self.context(context).graph.inputs
        try:
            info = inputs[find(inputs, key, "input")]
        except NNError:  # the call itself raises this error
            info = TensorInfo(str(key), None, None)
        return as_declared(info, tensor)

    def _given_arrays(
        self, call: str, context: int, inputs: Iterable[tuple[str, ArrayLike]]
    ) -> list[tuple[str, Array]]:
        """The arrays for the inputs of a call on named tensors, with the image that its options name. A failure to read
        the image is recorded as that of the call."""
        graph = self._context_for(call, context).graph
        pairs = input_pairs(graph, inputs)

        def described() -> Described:
            arrays = [(name, self._as_declared(context, name, tensor)) for name, tensor in pairs]
            return {"inputs": self._described_arrays(arrays)}

        with self._recording_failure(call, context, described):
            given = list(inputs_with_image(graph, pairs, self.file_reader))
        return [(name, self._as_declared(context, name, tensor)) for name, tensor in given]

    def _described_arrays(self, arrays: Iterable[tuple[str, Array]]) -> list[Described]:
        return [{"name": name, **self._trace.array(array)} for name, array in arrays]

    def _described_outputs(self, arrays: Iterable[tuple[str, Array]]) -> Described:
        return {"outputs": self._described_arrays(arrays)}

    def _described_piece(self, content: memoryview) -> Described:
        return self._trace.tensor(TensorType.U8.dtype, (content.nbytes,), content)
