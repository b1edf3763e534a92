"""What all calls of a replay share: handles, contents and tensors of a trace, and the comparison of outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wasi_nn.graph.byte_strings import as_bytes, as_objects
from wasi_nn.graph.guest_types import holds_texts
from wasi_nn.session.session import Session
from wasi_nn.tracing.comparison import difference
from wasi_nn.tracing.recorded_arguments import TYPES, read_integer, read_objects, read_text
from wasi_nn.tracing.recorded_tensors import array_of, content_of
from wasi_nn.tracing.trace_file import TraceReader

if TYPE_CHECKING:
    from wasi_nn.types import Array

_NO_HANDLE = 0  # no item ever has this handle


class LeftOut(Exception):
    """A call needs an item that this replay couldn't make, although the recording has it."""


NamedArrays = list[tuple[int | str, "Array"]]


class Player:
    """Makes calls on a session. An error in the trace is a `BadTrace`, an error of a call is an `NNError`."""

    def __init__(self, reader: TraceReader, session: Session, tolerances: Mapping[str, tuple[float, float]]) -> None:
        self.outputs = 0
        self._reader = reader
        self._session = session
        self._tolerances = tolerances
        # From recorded handles to those of this session; to None if this session couldn't make the item.
        self._handles: dict[int, int | None] = {}

    def close(self) -> None:
        """Close the session."""
        self._session.close()

    def _handle(self, arguments: Mapping[str, Any], name: str) -> int:
        handle = self._handles.get(read_integer(arguments, name), _NO_HANDLE)
        if handle is None:
            raise LeftOut
        return handle

    def _builders(self, arguments: Mapping[str, Any]) -> list[memoryview]:
        return [self._content(item) for item in read_objects(arguments, "builders")]

    def _content(self, described: object) -> memoryview:
        return content_of(self._reader, described)

    def _named_arrays(self, arguments: Mapping[str, Any]) -> list[tuple[str, Array]]:
        return [(read_text(item, "name"), self._array(item)) for item in read_objects(arguments, "inputs")]

    def _array(self, described: Mapping[str, Any]) -> Array:
        return array_of(self._reader, described)

    def _outputs_differ(self, result: Mapping[str, Any], outputs: NamedArrays) -> Iterator[str]:
        """A line for each output that differs from the recorded one."""
        if "outputs" in result:
            expected: dict[int | str, Mapping[str, Any]] = {
                read_text(item, "name"): item for item in read_objects(result, "outputs")
            }
        else:
            expected = {outputs[0][0]: result} if outputs else {}
        actual = dict(outputs)
        for key in [key for key in expected if key not in actual]:
            yield f"output {key!r} is missing"
        for key, array in actual.items():
            if key not in expected:
                yield f"output {key!r} is new"
                continue
            item = expected[key]
            if "data" not in item and item.get("type") not in TYPES:  # elements without bytes, such as maps
                continue
            self.outputs += 1
            text = self._differs(self._array(item), array)
            if text:
                yield f"output {key!r}: {text}"

    def _differs(self, expected: Array, actual: Array) -> str | None:
        """The difference between an array and the recorded one, as one line; None if they are equal."""
        if actual.dtype == object and holds_texts(actual):
            actual = as_objects(as_bytes(actual), actual.shape)  # a runtime may give bytes or text
        return difference(expected, actual, self._tolerances)
