"""The module `wasi_nn_ext`: the functions of wasi-nn:ext for core modules, in every dialect.

As in the core ABI, each parameter is an i32, a function returns an errno, and all pointers are checked first. A
function with a buffer writes the size of its answer to its last pointer, also where the buffer is too small
(`too-large`): a buffer of size 0 asks for the size. An answer that is costly to make is then kept: the same call gives
this answer if it is the guest's next nn call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from struct import unpack_from
from typing import TYPE_CHECKING, NamedTuple

from wasi_nn.abi.call_boundary import MAX_NAME, CallBoundary
from wasi_nn.abi.description_record import RecordWriter
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    from wasi_nn.abi.core.guest_memory import GuestMemory
    from wasi_nn.session.session import Session
    from wasi_nn.types import DType

MODULE = "wasi_nn_ext"


class _Function(NamedTuple):
    parameters: int
    interface: str


FUNCTIONS = {
    "describe": _Function(4, "describe"),
    "describe_output": _Function(5, "describe"),
    "use_signature": _Function(4, "signatures"),
    "state_get": _Function(4, "state"),
    "state_set": _Function(3, "state"),
    "begin_sequence": _Function(1, "sequences"),
    "next_of_sequence": _Function(2, "sequences"),
    "end_sequence": _Function(1, "sequences"),
    "set_byte_strings": _Function(6, "byte-strings"),
    "get_byte_strings": _Function(5, "byte-strings"),
}
"""The functions, each with the number of its parameters and with the interface of wasi-nn:ext that it belongs to."""

MAX_SIZE = 2**32 - 1
"""The largest size that an out-pointer takes."""


def interfaces_of(imports: Iterable[tuple[str, str]]) -> list[str]:
    """The interfaces of wasi-nn:ext to which the functions belong that a core module imports. Each import is a module
    and a name."""
    imported = {name for module, name in imports if module == MODULE}
    return list(dict.fromkeys(interface for name, (_, interface) in FUNCTIONS.items() if name in imported))


class BufferTooSmall(NNError):
    """An answer doesn't fit into the guest's buffer of `room` bytes."""

    def __init__(self, what: str, size: int, room: int) -> None:
        super().__init__(ErrorCode.TOO_LARGE, f"{what} has {size} bytes, the guest's buffer only {room}")
        self.room = room


class _KeptAnswer(NamedTuple):
    """An answer that didn't fit into the guest's buffer. `number` is that of the call."""

    number: int
    call: tuple[object, ...]
    content: memoryview


class ExtensionFunctions(CallBoundary[int]):
    """The functions over one session, as those of `CoreAbi`, which says what the dialect's tensor types are."""

    tensor_types: Mapping[int, DType]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._kept: _KeptAnswer | None = None
        self._held = session.held_bytes()

    def require_graph_of(self, context: int) -> None:
        """Raise `NNError` where the dialect forbids to compute on a context."""

    @cached_property
    def _number_of_type(self) -> dict[TensorType, int]:
        kinds = ((TensorType.of(dtype), number) for number, dtype in self.tensor_types.items())
        return {kind: number for kind, number in kinds if kind is not None}

    def _writer(self, base: int) -> RecordWriter:
        return RecordWriter(self._number_of_type, base)

    def describe(self, memory: GuestMemory, graph: int, buffer: int, room: int, out: int) -> None:
        check_buffer(memory, buffer, room, out)
        record = self._writer(buffer).graph(self.session.describe(graph))
        deliver(memory, "the description", memoryview(record), buffer, room, out)

    def describe_output(self, memory: GuestMemory, context: int, index: int, buffer: int, room: int, out: int) -> None:
        check_buffer(memory, buffer, room, out)
        record = self._writer(buffer).tensor(self.session.describe_output(context, index))
        deliver(memory, "the description", memoryview(record), buffer, room, out)

    def use_signature(self, memory: GuestMemory, graph: int, name: int, length: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        text = text_at(memory, "the name", name, length)
        memory.write_u32(out, self.session.use_signature(graph, text))

    def state_get(self, memory: GuestMemory, graph: int, buffer: int, room: int, out: int) -> None:
        check_buffer(memory, buffer, room, out)
        state = self._answer(("state_get", graph), lambda: memoryview(self.session.state_get(graph)), room)
        deliver(memory, "the state", state, buffer, room, out)

    def state_set(self, memory: GuestMemory, graph: int, data: int, size: int) -> None:
        self.session.state_set(graph, memory.range("the state", data, size))

    def begin_sequence(self, memory: GuestMemory, context: int) -> None:
        self.require_graph_of(context)
        self.session.begin_sequence_on_inputs(context)

    def next_of_sequence(self, memory: GuestMemory, context: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        self.require_graph_of(context)
        memory.write_u32(out, self.session.next_piece(context))

    def end_sequence(self, memory: GuestMemory, context: int) -> None:
        self.session.end_sequence(context)

    def set_byte_strings(
        self, memory: GuestMemory, context: int, index: int, dims: int, rank: int, data: int, size: int
    ) -> None:
        memory.check("the dimensions", dims, rank * 4)
        content = memory.range("the strings", data, size)
        if rank > MAX_RANK:
            message = f"the tensor has {rank} dimensions: at most {MAX_RANK} are allowed"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        self.require_graph_of(context)
        shape = unpack_from(f"<{rank}I", memory.bytes, dims) if rank else ()
        self.session.set_byte_strings(context, index, shape, content)

    def get_byte_strings(self, memory: GuestMemory, context: int, index: int, buffer: int, room: int, out: int) -> None:
        check_buffer(memory, buffer, room, out)
        call = ("get_byte_strings", context, index)
        strings = self._answer(call, lambda: self.session.byte_strings(context, index).data, room)
        deliver(memory, f"output {index}", strings, buffer, room, out)

    def _answer(self, call: tuple[object, ...], make: Callable[[], memoryview], room: int) -> memoryview:
        """The answer of a call: the one that was kept by the call just before, or a new one.

        An answer that doesn't fit into `room` bytes is kept, and counts as `tensor_bytes` until the next call for such
        an answer.
        """
        kept, self._kept = self._kept, None
        if kept is not None and (kept.number + 1, kept.call) == (self.session.calls, call):
            content = kept.content
        else:
            kept = None
            self._held.release()
            content = make()
        if room >= len(content):
            self._held.release()
            return content
        try:
            self._held.hold(0, len(content))
        except NNError:  # no room to keep it
            return content
        self._kept = _KeptAnswer(self.session.calls, call, content)
        return content


def check_buffer(memory: GuestMemory, buffer: int, room: int, out: int) -> None:
    memory.check("the out-pointer", out, 4)
    memory.check("the output buffer", buffer, room)


def deliver(memory: GuestMemory, what: str, content: memoryview, buffer: int, room: int, out: int) -> None:
    """Write an answer into the guest's buffer of `room` bytes, and its size to the out-pointer. If the answer doesn't
    fit, write its size only, and raise `BufferTooSmall`; write nothing where a u32 can't hold the size."""
    size = len(content)
    if size > room:
        if size <= MAX_SIZE:
            memory.write_u32(out, size)
        raise BufferTooSmall(what, size, room)
    memory.bytes[buffer : buffer + size] = content
    memory.write_u32(out, size)


def text_at(memory: GuestMemory, what: str, pointer: int, length: int) -> str:
    """A text of the guest. Raises `NNError`: `not-found` for one that is too long to be a name of anything,
    `invalid-argument` for one that isn't UTF-8."""
    text = memory.range(what, pointer, length)
    if length > MAX_NAME:
        raise NNError(ErrorCode.NOT_FOUND, f"{what} has {length} bytes: at most {MAX_NAME} are allowed")
    try:
        return bytes(text).decode()
    except UnicodeDecodeError as error:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what} {bytes(text[:80])!r} is not UTF-8") from error
