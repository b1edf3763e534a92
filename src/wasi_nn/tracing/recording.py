"""`RecordingSession`: a session that writes each call of its guest to a trace, with its time.

Its methods make the calls of `Session` and record them. So the ABIs need no code for traces, and a session without a
trace costs nothing. An ABI reports its own errors, such as an unknown number of an encoding, by `on_abi_error`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from wasi_nn.arguments import as_builders, as_flag, as_json, as_path, as_text
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.execution_context import ExecutionContext
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.sequence import NamedSequence
from wasi_nn.session.guest_images import bytes_with_image, input_with_image
from wasi_nn.tracing.call_recorder import GRAPHS_ROW, CallRecorder
from wasi_nn.tracing.extension_recording import ExtensionRecording
from wasi_nn.tracing.recorded_calls import Described
from wasi_nn.types import Dims, ExecutionTarget, GraphEncoding, parse_enum

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.types import Array, DType


class RecordingSession(ExtensionRecording):
    """A session that writes its calls to a trace. `wasi_nn.tracing.trace_file` describes the file.

    trace   the path of the file, or another recorder of calls, such as a `CallLog`, which the session closes
    data    whether the contents of models, inputs and outputs are stored: `wasi_nn.replay` needs them
    title   the title of the trace in viewers

    The other parameters are those of `Session`. Raises `NNError` with `runtime-error` if the file can't be written.
    """

    def load(self, builders: Sequence[memoryview], encoding: GraphEncoding, target: ExecutionTarget) -> int:
        builders, encoding = as_builders("builders", builders), parse_enum(GraphEncoding, encoding)
        target = parse_enum(ExecutionTarget, target)
        load = partial(super().load, builders, encoding, target)
        if not self._may_hold(builders):
            return load()
        arguments = {"encoding": encoding.value, "target": target.value, "builders": self._described_builders(builders)}
        return self._load("load", arguments, load, encoding.value)

    def load_extension(self, builders: Sequence[memoryview], number: int, name: str, target: ExecutionTarget) -> int:
        load = partial(super().load_extension, builders, number, name, target)
        if not self._may_hold(builders):
            return load()
        described = self._described_builders(builders)
        arguments = {"number": number, "encoding": name, "target": target.value, "builders": described}
        return self._load("load_extension", arguments, load, name)

    def load_by_name(self, name: str, config: memoryview | bytes = b"") -> int:
        name, config = as_text("name", name), as_json("config", config)
        arguments: dict[str, Any] = {"name": name}
        if config:
            arguments["config"] = self._trace.content(config)

        def load() -> int:
            handle, given = self._load_named(name, config)
            if given.nbytes != config.nbytes:  # with an image that it names, which a replay needs
                arguments["config"] = self._trace.content(given)
            return handle

        return self._load("load_by_name", arguments, load, name)

    def init_execution_context(self, graph: int) -> int:
        make = partial(super().init_execution_context, graph)
        handle = self._trace.call("init_execution_context", GRAPHS_ROW, {"graph": graph}, make, _described_context)
        loaded = self.context(handle).graph
        name = f"context {handle} on {self._names.get(graph)} ({loaded.runtime}, {loaded.device})"
        self._trace.name_row(handle, name)
        return handle

    def unload(self, graph: int) -> None:
        self._trace.call("unload", GRAPHS_ROW, {"graph": graph}, partial(super().unload, graph))

    def finalize_execution_context(self, context: int) -> None:
        finalize = partial(super().finalize_execution_context, context)
        self._trace.call("finalize_execution_context", GRAPHS_ROW, {"context": context}, finalize)

    def drop(self, handle: int) -> None:
        drop = partial(super().drop, handle)
        if any(self._handles.holds(handle, kind) for kind in (Graph, ExecutionContext, NamedSequence)):
            self._trace.call("drop", self._row_of(handle), {"handle": handle}, drop)
        else:
            drop()

    def context(self, handle: int) -> ExecutionContext:
        with self._recording_failure("context", handle):
            return super().context(handle)

    def require_graph(self, context: int) -> None:
        self.context(context)
        with self._recording_failure("context", context):
            super().require_graph(context)

    def set_input(self, context: int, key: int | str, tensor: ArrayLike) -> None:
        graph = self._context_for("set_input", context).graph
        array = self._as_declared(context, key, tensor)
        with self._recording_failure("set_input", context, lambda: {"input": key, **self._trace.array(array)}):
            given = input_with_image(graph, key, array, self.file_reader)
        array = self._as_declared(context, key, given)
        arguments = {"input": key, **self._trace.array(array)}
        self._call("set_input", context, arguments, partial(super().set_input, context, key, array))

    def write_input(self, context: int, index: int, dtype: DType, dims: Dims, data: memoryview) -> None:
        graph = self._context_for("set_input", context).graph
        with self._recording_failure(
            "set_input", context, lambda: {"input": index, **self._trace.tensor(dtype, dims, data)}
        ):
            given = bytes_with_image(graph, index, data, self.file_reader)
        write = partial(super().write_input, context, index, dtype, dims, given)
        self._call("set_input", context, {"input": index, **self._trace.tensor(dtype, dims, given)}, write)

    def compute(self, context: int) -> None:
        self._call("compute", context, {}, partial(super().compute, context))

    def compute_named(self, context: int, inputs: Iterable[tuple[str, ArrayLike]]) -> list[tuple[str, Array]]:
        arrays = self._given_arrays("compute_named", context, inputs)
        compute = partial(super().compute_named, context, arrays)
        arguments = {"inputs": self._described_arrays(arrays)}
        return self._call("compute_named", context, arguments, compute, self._described_outputs)

    def get_output(self, context: int, key: int | str) -> Array:
        get = partial(super().get_output, context, key)
        return self._call("get_output", context, {"output": key}, get, self._trace.array)

    def output_bytes(self, context: int, index: int) -> memoryview:
        def described(content: memoryview) -> Described:
            _, array = self.context(context).output(index)
            return self._trace.tensor(array.dtype, array.shape, content)

        get = partial(super().output_bytes, context, index)
        return self._call("get_output", context, {"output": index}, get, described)

    def compute_single(self, context: int) -> None:
        self._call("compute_single", context, {}, partial(super().compute_single, context))

    def single_output_bytes(self, context: int, index: int) -> memoryview:
        get = partial(super().single_output_bytes, context, index)
        return self._call("get_output_single", context, {"output": index}, get, self._described_piece)

    def fini_single(self, context: int) -> None:
        self._call("fini_single", context, {}, partial(super().fini_single, context))

    def on_abi_error(self, name: str, arguments: Sequence[object], error: Exception) -> None:
        numbers = [argument for argument in arguments if isinstance(argument, int)]
        self._trace.refused(name.replace("-", "_"), {"arguments": numbers}, error)

    def note_phase(self, name: str, began: int, ended: int, about: Described) -> None:
        self._trace.phase(name, began, ended, about)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = perf_counter_ns()
        try:
            yield
        finally:
            self._trace.phase(name, began, perf_counter_ns(), {})

    @contextmanager
    def guest_code(self) -> Iterator[None]:
        self._trace.guest_goes_on()
        try:
            yield
        finally:
            self._trace.guest_ended()

    def close(self) -> None:
        super().close()
        self._trace.close()


def require_trace(trace: Any, data: Any) -> None:
    """Require the path of a trace, a recorder or None; and a path where `data` asks for a file of contents. Raises
    `NNError` with `invalid-argument`."""
    has_data = as_flag("trace_data", data)
    if isinstance(trace, CallRecorder):
        if has_data:
            message = "trace_data is for the path of a trace: a recorder of your own says itself what is recorded"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    elif trace is not None:
        as_path("trace", trace)
    elif has_data:
        message = "trace_data needs trace, the path of the file to record: trace is None"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def _described_context(handle: int) -> Described:
    return {"context": handle}
