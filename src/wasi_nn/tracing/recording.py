"""A session that records what its guest asks for: each call is written to a trace, with its time.

It is a `Session`, whose contexts are recorded too, so that the ABIs know nothing of it and it costs nothing where it
isn't used. What an ABI refuses by itself, such as an encoding that has no number, it is told of (`refused`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from wasi_nn.errors import NNError
from wasi_nn.graph.fitting import as_declared, find
from wasi_nn.graph.graph import ExecutionContext, Graph
from wasi_nn.session.session import HandleTable, Session
from wasi_nn.tracing.trace_file import GRAPHS_ROW, Trace
from wasi_nn.types import Dims, ExecutionTarget, GraphEncoding, TensorType

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.limits.usage import HeldBytes, Usage
    from wasi_nn.loading.registry import Graphs
    from wasi_nn.types import Array, DType

Result = TypeVar("Result")
Described = Mapping[str, Any]

_MAX_SHOWN = 80


class RecordingSession(Session):
    """A session whose calls are written to a trace: see `Session`, and `wasi_nn.tracing.trace_file` for the file.

    `trace` is the file's path. With `data`, models, inputs and outputs are stored as well, so that the trace can be
    replayed (`wasi_nn.tracing.replay`). `title` is what viewers call it. The rest is as for `Session`. Raises `NNError`
    with `runtime-error` where the file can't be written.
    """

    def __init__(
        self,
        trace: str | os.PathLike[str],
        graphs: Graphs = None,
        *,
        data: bool = False,
        title: str = "wasi-nn",
        **session: Any,
    ) -> None:
        super().__init__(graphs, **session)
        self._trace = Trace(trace, data=data, title=title)
        self.handles = _RecordedHandles(self._trace, self.usage)
        self._names: dict[int, str] = {}  # what graphs are called on the timeline

    def load(self, builders: Sequence[memoryview], encoding: GraphEncoding, target: ExecutionTarget) -> int:
        load = partial(super().load, builders, encoding, target)
        arguments = {"encoding": encoding.value, "target": target.value, "builders": self._contents(builders)}
        return self._loaded(self._trace.call("load", GRAPHS_ROW, arguments, load, self._graph), encoding.value)

    def load_extension(self, builders: Sequence[memoryview], number: int, name: str, target: ExecutionTarget) -> int:
        load = partial(super().load_extension, builders, number, name, target)
        arguments = {"number": number, "encoding": name, "target": target.value, "builders": self._contents(builders)}
        return self._loaded(self._trace.call("load_extension", GRAPHS_ROW, arguments, load, self._graph), name)

    def load_by_name(self, name: str, config: memoryview | bytes = b"") -> int:
        load = partial(super().load_by_name, name, config)
        arguments: dict[str, Any] = {"name": name}
        if config:
            arguments["config"] = self._trace.content(memoryview(config))
        return self._loaded(self._trace.call("load_by_name", GRAPHS_ROW, arguments, load, self._graph), name)

    def init_execution_context(self, graph: int) -> int:
        make = partial(super().init_execution_context, graph)
        handle = self._trace.call("init_execution_context", GRAPHS_ROW, {"graph": graph}, make, _context)
        context = self.handles.get(handle, RecordedContext)
        context.handle, of = handle, context.graph
        self._trace.name_row(handle, f"context {handle} on {self._names.get(graph)} ({of.runtime}, {of.device})")
        return handle

    def new_context(self, graph: Graph) -> ExecutionContext:
        return RecordedContext(super().new_context(graph), self._trace)

    def unload(self, graph: int) -> None:
        self._trace.call("unload", GRAPHS_ROW, {"graph": graph}, partial(super().unload, graph))

    def finalize_execution_context(self, context: int) -> None:
        finalize = partial(super().finalize_execution_context, context)
        self._trace.call("finalize_execution_context", GRAPHS_ROW, {"context": context}, finalize)

    def context(self, handle: int) -> ExecutionContext:
        return self._found(handle, super().context)

    def loaded_context(self, handle: int) -> ExecutionContext:
        self.context(handle)
        return self._found(handle, super().loaded_context)

    def refused(self, name: str, arguments: Sequence[object], error: Exception) -> None:
        numbers = [argument for argument in arguments if isinstance(argument, int)]
        self._trace.refused(name.replace("-", "_"), {"arguments": numbers}, error)

    def close(self) -> None:
        super().close()
        self._trace.close()

    def _found(self, handle: int, find: Callable[[int], ExecutionContext]) -> ExecutionContext:
        """What a call needs before it is one: a failure is all that is written of it."""
        try:
            return find(handle)
        except NNError as error:
            self._trace.failed("context", GRAPHS_ROW, {"context": handle}, error)
            raise

    def _contents(self, builders: Sequence[memoryview]) -> list[dict[str, Any]]:
        return [self._trace.content(builder) for builder in builders]

    def _graph(self, handle: int) -> Described:
        graph = self.handles.get(handle, Graph)
        described = {"encoding": graph.encoding.value, "runtime": graph.runtime, "device": graph.device}
        return {"graph": handle, **described}

    def _loaded(self, handle: int, name: str) -> int:
        self._names[handle] = name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}..."
        return handle


def _context(handle: int) -> Described:
    return {"context": handle}


class _RecordedHandles(HandleTable):
    """Handles, of which it is written that a component gives back a graph's or a context's."""

    def __init__(self, trace: Trace, usage: Usage) -> None:
        super().__init__(usage)
        self._trace = trace

    def discard(self, handle: int) -> None:
        if self.holds(handle, Graph) or self.holds(handle, ExecutionContext):
            self._trace.call("drop", GRAPHS_ROW, {"handle": handle}, partial(super().discard, handle))
        else:
            super().discard(handle)


class RecordedContext(ExecutionContext):
    """An execution context whose calls are written to a trace; another one does them."""

    def __init__(self, context: ExecutionContext, trace: Trace) -> None:
        self.graph = context.graph
        self.handle = 0
        self._context = context
        self._trace = trace

    @property
    def context_full(self) -> bool:
        return self._context.context_full

    def show_to(self, show: Callable[[bytes], None]) -> None:
        self._context.show_to(show)

    def keep_to(self, guard: ComputeGuard, held: HeldBytes) -> None:
        self._context.keep_to(guard, held)

    def set_input(self, key: int | str, tensor: ArrayLike) -> None:
        array = self._as_given(key, tensor)
        arguments = {"input": key, **self._trace.array(array)}
        self._call("set_input", arguments, lambda: self._context.set_input(key, array))

    def write_input(self, index: int, dtype: DType, dims: Dims, data: memoryview) -> None:
        arguments = {"input": index, **self._trace.tensor(dtype, dims, data)}
        self._call("set_input", arguments, lambda: self._context.write_input(index, dtype, dims, data))

    def compute(self) -> None:
        self._call("compute", {}, self._context.compute)

    def compute_named(self, inputs: Iterable[tuple[str, ArrayLike]]) -> list[tuple[str, Array]]:
        arrays = [(name, self._as_given(name, tensor)) for name, tensor in inputs]
        call = partial(self._context.compute_named, arrays)
        return self._call("compute_named", {"inputs": self._named(arrays)}, call, self._given)

    def get_output(self, key: int | str) -> Array:
        return self._call("get_output", {"output": key}, partial(self._context.get_output, key), self._trace.array)

    def output_bytes(self, index: int) -> memoryview:
        return self._call("get_output", {"output": index}, partial(self._context.output_bytes, index), self._of(index))

    def compute_single(self) -> None:
        self._call("compute_single", {}, self._context.compute_single)

    def single_output_bytes(self, index: int) -> memoryview:
        call = partial(self._context.single_output_bytes, index)
        return self._call("get_output_single", {"output": index}, call, self._piece)

    def fini_single(self) -> None:
        self._call("fini_single", {}, self._context.fini_single)

    def _call(
        self,
        name: str,
        arguments: Described,
        function: Callable[[], Result],
        result: Callable[[Result], Described] | None = None,
    ) -> Result:
        return self._trace.call(name, self.handle, {"context": self.handle, **arguments}, function, result)

    def _as_given(self, key: int | str, tensor: ArrayLike) -> Array:
        try:
            return as_declared(self.graph.inputs[find(self.graph.inputs, key, "input")], tensor)
        except NNError:  # the call will say so
            return np.asarray(tensor)

    def _named(self, arrays: Iterable[tuple[str, Array]]) -> list[Described]:
        return [{"name": name, **self._trace.array(array)} for name, array in arrays]

    def _given(self, arrays: Iterable[tuple[str, Array]]) -> Described:
        return {"outputs": self._named(arrays)}

    def _of(self, index: int) -> Callable[[memoryview], Described]:
        """Describes the bytes of an output."""

        def described(content: memoryview) -> Described:
            array = self._context._output(index)[1]
            return self._trace.tensor(array.dtype, array.shape, content)

        return described

    def _piece(self, content: memoryview) -> Described:
        return self._trace.tensor(TensorType.U8.dtype, (content.nbytes,), content)
