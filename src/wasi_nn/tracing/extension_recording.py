"""Records the calls of wasi-nn:ext: descriptions, signatures, variables, sequences and byte strings."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from wasi_nn.arguments import as_text, as_view
from wasi_nn.tracing.call_recorder import GRAPHS_ROW, STRINGS
from wasi_nn.tracing.graph_descriptions import field_texts, tensor_text
from wasi_nn.tracing.recorded_calls import Described, RecordedCalls

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.graph.description import GraphDescription
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.types import Array, Dims


class ExtensionRecording(RecordedCalls):
    """A session that records its calls of wasi-nn:ext."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._rows: dict[int, int] = {}  # the rows of sequences on the timeline, by handle

    def describe(self, graph: int) -> GraphDescription:
        describe = partial(super().describe, graph)
        return self._trace.call("describe", GRAPHS_ROW, {"graph": graph}, describe, self._described_description)

    def describe_output(self, context: int, index: int) -> TensorInfo:
        def described(info: TensorInfo) -> Described:
            return {"description": self._trace.content(memoryview(tensor_text(info)))}

        describe = partial(super().describe_output, context, index)
        return self._call("describe_output", context, {"output": index}, describe, described)

    def use_signature(self, graph: int, name: str) -> int:
        name = as_text("name", name)
        use = partial(super().use_signature, graph, name)
        title = f"{self._names.get(graph)} ({name})"
        return self._load("use_signature", {"graph": graph, "name": name}, use, title)

    def state_get(self, graph: int) -> bytes:
        def described(state: bytes) -> Described:
            return {"state": self._trace.content(memoryview(state))}

        get = partial(super().state_get, graph)
        return self._trace.call("state_get", GRAPHS_ROW, {"graph": graph}, get, described)

    def state_set(self, graph: int, state: memoryview | bytes) -> None:
        content = as_view("state", state)
        arguments = {"graph": graph, "state": self._trace.content(content)}
        self._trace.call("state_set", GRAPHS_ROW, arguments, partial(super().state_set, graph, content))

    def begin_named(self, context: int, inputs: Iterable[tuple[str, ArrayLike]]) -> int:
        arrays = self._given_arrays("begin_sequence", context, inputs)
        begin = partial(super().begin_named, context, arrays)
        arguments = {"inputs": self._described_arrays(arrays)}
        handle = self._call("begin_sequence", context, arguments, begin, _described_sequence)
        self._rows[handle] = context
        return handle

    def next_named(self, sequence: int) -> list[tuple[str, Array]] | None:
        def described(piece: list[tuple[str, Array]] | None) -> Described:
            return {"end": True} if piece is None else self._described_outputs(piece)

        following = partial(super().next_named, sequence)
        return self._trace.call(
            "next_of_sequence", self._row_of(sequence), {"sequence": sequence}, following, described
        )

    def begin_sequence_on_inputs(self, context: int) -> None:
        self._call("begin_sequence_on_inputs", context, {}, partial(super().begin_sequence_on_inputs, context))

    def next_piece(self, context: int) -> bool:
        return self._call("next_piece", context, {}, partial(super().next_piece, context), _described_end)

    def end_sequence(self, context: int) -> None:
        self._call("end_sequence", context, {}, partial(super().end_sequence, context))

    def set_byte_strings(self, context: int, index: int, dims: Dims, content: memoryview) -> None:
        arguments = {"input": index, "dims": list(dims), **self._trace.content(content)}
        write = partial(super().set_byte_strings, context, index, dims, content)
        self._call("set_byte_strings", context, arguments, write)

    def byte_strings(self, context: int, index: int) -> Array:
        def described(content: Array) -> Described:
            _, array = self.context(context).output(index)
            return {"type": STRINGS, "dims": list(array.shape)} | self._trace.content(content.data)

        get = partial(super().byte_strings, context, index)
        return self._call("byte_strings", context, {"output": index}, get, described)

    def drop(self, handle: int) -> None:
        super().drop(handle)
        self._rows.pop(handle, None)

    def _row_of(self, handle: int) -> int:
        """The row of the timeline for calls on a handle that isn't a context's."""
        return self._rows.get(handle, GRAPHS_ROW)

    def _described_description(self, description: GraphDescription) -> Described:
        texts = field_texts(description)
        if not self._policy.metadata:
            del texts["metadata"]  # which another session may show
        return {"description": {field: self._trace.content(memoryview(text)) for field, text in texts.items()}}


def _described_sequence(handle: int) -> Described:
    return {"sequence": handle}


def _described_end(goes_on: bool) -> Described:
    return {} if goes_on else {"end": True}
