"""Replays the calls of wasi-nn:ext: descriptions, signatures, variables, sequences and byte strings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from wasi_nn.errors import NNError
from wasi_nn.graph.byte_strings import decoded
from wasi_nn.session import state_files
from wasi_nn.tracing.graph_descriptions import OF_RUNTIME, field_texts, tensor_text, text_difference
from wasi_nn.tracing.player import NamedArrays, Player
from wasi_nn.tracing.recorded_arguments import read_dims, read_integer, read_object, read_text
from wasi_nn.tracing.trace_file import BadTrace

if TYPE_CHECKING:
    from wasi_nn.graph.description import GraphDescription
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.types import Array

Comparison = Callable[[Mapping[str, Any]], Iterator[str]]
"""Yields a line for each difference to a recorded result."""


class ExtensionPlayer(Player):
    """Makes the calls of wasi-nn:ext on a session."""

    def describe(self, arguments: Mapping[str, Any]) -> Comparison:
        return partial(self._description_differs, self._session.describe(self._handle(arguments, "graph")))

    def _description_differs(self, description: GraphDescription, result: Mapping[str, Any]) -> Iterator[str]:
        recorded = read_object(result.get("description"), "description")
        texts = field_texts(description)
        another = bytes(self._content(recorded.get("runtime"))) != texts["runtime"]
        for field, text in texts.items():
            if field == "metadata" and field not in recorded:  # the guest wasn't shown them
                continue
            was = self._content(recorded.get(field))
            differs = None if another and field in OF_RUNTIME else text_difference(was, text)
            if differs:
                yield f"{field}: {differs}"

    def describe_output(self, arguments: Mapping[str, Any]) -> Comparison:
        handle, index = self._handle(arguments, "context"), read_integer(arguments, "output")
        return partial(self._output_description_differs, self._session.describe_output(handle, index))

    def _output_description_differs(self, info: TensorInfo, result: Mapping[str, Any]) -> Iterator[str]:
        differs = text_difference(self._content(result.get("description")), tensor_text(info))
        if differs:
            yield differs

    def use_signature(self, arguments: Mapping[str, Any]) -> int:
        return self._session.use_signature(self._handle(arguments, "graph"), read_text(arguments, "name"))

    def state_get(self, arguments: Mapping[str, Any]) -> Comparison:
        return partial(self._state_differs, self._session.state_get(self._handle(arguments, "graph")))

    def _state_differs(self, state: bytes, result: Mapping[str, Any]) -> Iterator[str]:
        try:
            was = state_files.values_in(self._content(result.get("state")))
        except BadTrace:
            raise
        except NNError as error:
            raise BadTrace(error.message) from None
        now = state_files.values_in(memoryview(state))
        for name in [name for name in was if name not in now]:
            yield f"variable {name!r} is missing"
        for name, value in now.items():
            if name not in was:
                yield f"variable {name!r} is new"
                continue
            self.outputs += 1
            differs = self._differs(was[name], value)
            if differs:
                yield f"variable {name!r}: {differs}"

    def state_set(self, arguments: Mapping[str, Any]) -> None:
        self._session.state_set(self._handle(arguments, "graph"), self._content(arguments.get("state")))

    def begin_sequence(self, arguments: Mapping[str, Any]) -> int:
        return self._session.begin_named(self._handle(arguments, "context"), self._named_arrays(arguments))

    def next_of_sequence(self, arguments: Mapping[str, Any]) -> Comparison:
        return partial(self._piece_differs, self._session.next_named(self._handle(arguments, "sequence")))

    def _piece_differs(self, piece: list[tuple[str, Array]] | None, result: Mapping[str, Any]) -> Iterator[str]:
        yield from self._end_differs(piece is None, result)
        if piece is not None and not result.get("end"):
            outputs: NamedArrays = list(piece)
            yield from self._outputs_differ({"outputs": result.get("outputs")}, outputs)

    def begin_sequence_on_inputs(self, arguments: Mapping[str, Any]) -> None:
        self._session.begin_sequence_on_inputs(self._handle(arguments, "context"))

    def next_piece(self, arguments: Mapping[str, Any]) -> Comparison:
        return partial(self._end_differs, not self._session.next_piece(self._handle(arguments, "context")))

    def end_sequence(self, arguments: Mapping[str, Any]) -> None:
        self._session.end_sequence(self._handle(arguments, "context"))

    @staticmethod
    def _end_differs(is_over: bool, result: Mapping[str, Any]) -> Iterator[str]:
        if is_over and not result.get("end"):
            yield "the sequence ends; when it was recorded, it went on"
        elif result.get("end") and not is_over:
            yield "the sequence goes on; when it was recorded, it ended"

    def set_byte_strings(self, arguments: Mapping[str, Any]) -> None:
        handle, index = self._handle(arguments, "context"), read_integer(arguments, "input")
        self._session.set_byte_strings(handle, index, read_dims(arguments), self._content(arguments))

    def byte_strings(self, arguments: Mapping[str, Any]) -> NamedArrays:
        handle, index = self._handle(arguments, "context"), read_integer(arguments, "output")
        content = self._session.byte_strings(handle, index)
        dims = self._session.context(handle).output(index)[1].shape
        return [(index, decoded(f"output {index}", content.data, dims))]


EXTENSION_CALLS: Mapping[str, Callable[[ExtensionPlayer, Mapping[str, Any]], int | NamedArrays | Comparison | None]] = {
    "describe": ExtensionPlayer.describe,
    "describe_output": ExtensionPlayer.describe_output,
    "use_signature": ExtensionPlayer.use_signature,
    "state_get": ExtensionPlayer.state_get,
    "state_set": ExtensionPlayer.state_set,
    "begin_sequence": ExtensionPlayer.begin_sequence,
    "next_of_sequence": ExtensionPlayer.next_of_sequence,
    "begin_sequence_on_inputs": ExtensionPlayer.begin_sequence_on_inputs,
    "next_piece": ExtensionPlayer.next_piece,
    "end_sequence": ExtensionPlayer.end_sequence,
    "set_byte_strings": ExtensionPlayer.set_byte_strings,
    "byte_strings": ExtensionPlayer.byte_strings,
}
