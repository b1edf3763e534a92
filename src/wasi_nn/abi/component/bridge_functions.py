"""The component ABI: the host functions behind `wasi:nn`, for all published versions of it.

A guest gets wasi:nn from the bridge component beside it (`bridge`, `compose`), and the bridge calls the functions in
this module. Tensors, graphs, contexts and errors are handles of the session, numbers are WIT's, and bytes come as text.
The bridges of all versions call the same functions.

A function that can fail in WIT returns the handle of an error. A function that can't fail in WIT traps instead: if a
handle is wrong, which the bridge prevents, or if no handle or memory is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wasi_nn.abi.call_boundary import MAX_NAME, CallBoundary, GuestFault
from wasi_nn.abi.component.host_functions import STRING, U32, U64, HostFunction, Text
from wasi_nn.abi.component.kept import KeptTensors
from wasi_nn.abi.component.memories import GuestMemories
from wasi_nn.abi.component.numbers import (
    ERROR_CODES,
    NUMBER_OF_CODE,
    NUMBER_OF_TYPE,
    TARGETS,
    TENSOR_TYPES,
)
from wasi_nn.abi.wit_encodings import ENCODINGS
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.session.session import Session, require_builder_count
from wasi_nn.session.tensor import Tensor

if TYPE_CHECKING:
    from wasi_nn.types import Array

MAX_ERROR_TEXT = 65536
"""The most bytes of an error that a guest makes; the rest is cut off."""
_DIGITS = 8
_PAIR = 2 * _DIGITS
_PLACE = Struct("<II")  # where a builder is in the guest's memory: address and size


class Signature(NamedTuple):
    """What a host function takes and gives."""

    parameters: tuple[str, ...]
    result: str | None
    fail: Callable[[int], int | bytes] | None
    """Makes the result from an error's handle. None if the function can't fail in WIT."""


def outcome(error: int) -> int:
    """The result of a function that gives a handle, or an error's handle in the high half."""
    return error << 32


def status(error: int) -> int:
    """The result of a function that gives nothing but the handle of an error, or 0."""
    return error


def no_outputs(error: int) -> bytes:
    """The result of a function that gives named tensors."""
    return b"%08x%08x" % (error, 0)


FUNCTIONS = {
    "tensor-new": Signature((U32, U32, U32, STRING), U32, None),
    "tensor-write": Signature((U32, U32, STRING), None, None),
    "tensor-type": Signature((U32,), U32, None),
    "tensor-extent": Signature((U32,), U64, None),
    "tensor-read": Signature((U32, U32, U32), STRING, None),
    "memory-mark": Signature((), U64, None),
    "memory-find": Signature((U32, U32), U32, None),
    "tensor-new-direct": Signature((U32,) * 6, U32, None),
    "tensor-read-direct": Signature((U32,) * 4, None, None),
    "load-direct": Signature((U32,) * 5, U64, outcome),
    "load": Signature((U32, U32, U32, STRING), U64, outcome),
    "load-by-name": Signature((STRING,), U64, outcome),
    "init-execution-context": Signature((U32,), U64, outcome),
    "set-input": Signature((U32, U32, STRING), U32, status),
    "compute": Signature((U32,), U32, status),
    "get-output": Signature((U32, STRING), U64, outcome),
    "compute-named": Signature((U32, STRING), STRING, no_outputs),
    "memory-keep": Signature((U32,) * 5, U32, None),
    "compute-kept": Signature((U32,) * 3, U64, outcome),
    "compute-outputs": Signature((), STRING, None),
    "error-new": Signature((U32, STRING), U32, None),
    "error-code": Signature((U32,), U32, None),
    "error-data": Signature((U32,), STRING, None),
    "drop": Signature((U32,), None, None),
}
"""The functions that the bridges import, as in `guests/bridge/bridge.wit`."""


class ComponentAbi(CallBoundary["int | bytes"]):
    """The bridge's functions over one session. Each raises `NNError` where the guest gets an error."""

    signatures: Mapping[str, Signature] = FUNCTIONS

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.memories = GuestMemories()
        self.kept = KeptTensors(session, self.memories)
        self.memory_keep, self.compute_kept = self.kept.find, self.kept.compute

    def function(self, name: str) -> HostFunction:
        """The host function for a name. It raises nothing but `GuestFault`."""
        method: HostFunction = getattr(self, name.replace("-", "_"))
        counted = 0 if name.startswith(("memory-", "tensor-", "error-")) or name in ("drop", "compute-outputs") else 1

        return self.guarded(name, method, counted)

    def shown(self, name: str, arguments: Sequence[object]) -> tuple[str, Sequence[object]]:
        if name == "compute-kept":
            return "compute-named", arguments[1:2]
        return name.removesuffix("-direct"), arguments

    def rejected(self, name: str, arguments: Sequence[object], error: Exception) -> int | bytes:
        assert isinstance(error, NNError)
        fail = self.signatures[name].fail
        name, _ = self.shown(name, arguments)
        if fail is None:
            raise GuestFault(f"{name}: {error}") from None
        self.failures.add(f"{name} failed: {error} [{error.code.value}]")
        # A copy of the error has no traceback, which would keep the call's frames and their memory alive.
        return fail(self._error_handle(name, NNError(error.code, error.message)))

    def host_fault(self, name: str, error: Exception) -> int | bytes:
        fault, fail = f"internal error of the host, {type(error).__name__}", self.signatures[name].fail
        name, _ = self.shown(name, ())
        if fail is None:
            raise GuestFault(f"{name}: {fault}") from None
        return fail(self._error_handle(name, NNError(ErrorCode.RUNTIME_ERROR, f"{fault}: see the host's log")))

    def _error_handle(self, name: str, error: NNError) -> int:
        try:
            return self.session.add_error(error)
        except NNError as full:
            raise GuestFault(f"{name}: {full}") from None

    def tensor_new(self, kind: int, size: int, rank: int, content: memoryview) -> int:
        self.session.require_tensor_bytes(size + 4 * rank)
        row: Array = np.zeros(size + 4 * rank, np.uint8)
        if content:
            join(content, row)
        return self.session.add_tensor(Tensor(TENSOR_TYPES[kind], row[:size], row[size:]))

    def tensor_write(self, tensor: int, offset: int, part: memoryview) -> None:
        item, size = self.session.tensor(tensor), len(part) // 2
        # The bridge addresses a tensor's data and its dimensions as one row of bytes, data first.
        row, offset = (item.data, offset) if offset < len(item.data) else (item.encoded_dims, offset - len(item.data))
        join(part, row[offset : offset + size])

    def tensor_type(self, tensor: int) -> int:
        return NUMBER_OF_TYPE[self.session.tensor(tensor).type]

    def tensor_extent(self, tensor: int) -> int:
        item = self.session.tensor(tensor)
        return len(item.encoded_dims) // 4 << 32 | len(item.data)

    def tensor_read(self, tensor: int, offset: int, size: int) -> Text:
        item = self.session.tensor(tensor)
        row, offset = (item.data, offset) if offset < len(item.data) else (item.encoded_dims, offset - len(item.data))
        part = row[offset : offset + size]
        return 2 * len(part), lambda text: split(part, text)

    def memory_mark(self) -> int:
        return self.memories.new_mark()

    def memory_find(self, memory: int, pages: int) -> int:
        return self.memories.find(memory, pages)

    def tensor_new_direct(self, memory: int, kind: int, data: int, size: int, dims: int, rank: int) -> int:
        part = self.memories.part
        of, encoded_dims = TENSOR_TYPES[kind], part(memory, dims, 4 * rank)
        spare = self.session.bindings.take_spare(of, size, encoded_dims)
        if spare is not None:
            spare.data[:] = part(memory, data, size)
            return self.session.bindings.lend(spare)
        self.session.require_tensor_bytes(size + 4 * rank)
        return self.session.add_tensor(Tensor(of, part(memory, data, size).copy(), encoded_dims.copy()))

    def tensor_read_direct(self, tensor: int, memory: int, to: int, size: int) -> None:
        data = self.session.tensor(tensor).data
        if len(data) != size:  # the guest replaced the tensor while the shim asked it for memory
            raise GuestFault(f"tensor-read: the tensor has {len(data)} bytes, not {size}")
        self.memories.part(memory, to, size)[:] = data

    def load_direct(self, memory: int, encoding: int, target: int, builders: int, count: int) -> int:
        require_builder_count(count)
        places = self.memories.part(memory, builders, 8 * count).tobytes()
        parts = [self.memories.part(memory, at, size).data for at, size in _PLACE.iter_unpack(places)]
        return self.session.load(parts, ENCODINGS[encoding], TARGETS[target])

    def load(self, encoding: int, target: int, count: int, builders: memoryview) -> int:
        require_builder_count(count)
        digits = bytes(builders)
        tensors = [int(digits[at : at + _DIGITS], 16) for at in range(0, len(digits), _DIGITS)]
        return self.session.load_tensors(tensors, ENCODINGS[encoding], TARGETS[target])

    def load_by_name(self, name: memoryview) -> int:
        return self.session.load_by_name(checked("graph", text_of(name), ErrorCode.NOT_FOUND))

    def init_execution_context(self, graph: int) -> int:
        return self.session.init_execution_context(graph)

    def set_input(self, context: int, tensor: int, name: memoryview) -> int:
        [(key, _)] = self._checked_inputs([(text_of(name), tensor)])
        self.session.set_input_tensor(context, key, tensor)
        return 0

    def compute(self, context: int) -> int:
        self.session.compute(context)
        return 0

    def get_output(self, context: int, name: memoryview) -> int:
        return self.session.get_output_tensor(context, checked("output", text_of(name)))

    def compute_named(self, context: int, inputs: memoryview) -> bytes:
        return self.outputs_text(self.session.compute_named_tensors(context, self.named_inputs(inputs)))

    def compute_outputs(self) -> bytes:
        outputs, self.kept.outputs = self.kept.outputs, []
        return self.outputs_text(outputs)

    def named_inputs(self, inputs: memoryview) -> list[tuple[str, int]]:
        """The names of inputs with the handles of their tensors, from the bridge's text. If a name is too long, drops
        the tensors all the same and raises `NNError`."""
        given, named, at, longest = bytes(inputs), [], 0, 0
        while at < len(given):
            tensor, length = int(given[at : at + _DIGITS], 16), int(given[at + _DIGITS : at + _PAIR], 16)
            at += _PAIR + length
            named.append((given[at - length : at].decode(), tensor))
            longest = max(longest, length)
        return self._checked_inputs(named) if longest > MAX_NAME else named

    def outputs_text(self, outputs: Sequence[tuple[str, int]]) -> bytes:
        """The names of outputs with the handles of their tensors, as a text for the bridge."""
        text = [b"%08x%08x" % (0, len(outputs))]
        for name, handle in outputs:
            encoded = name.encode("utf-8", "replace")
            size = len(self.session.tensor(handle).data)
            text.append(b"%08x%08x%08x%s" % (handle, size, len(encoded), encoded))
        return b"".join(text)

    def _checked_inputs(self, named: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Check the names of inputs. If one is too long, drop the tensors all the same and raise `NNError`."""
        try:
            for name, _ in named:
                checked("input", name)
        except NNError:
            for _, tensor in named:
                self.session.drop(tensor)
            raise
        return named

    def error_new(self, code: int, data: memoryview) -> int:
        return self.session.add_error(NNError(ERROR_CODES[code], text_of(data[:MAX_ERROR_TEXT])))

    def error_code(self, error: int) -> int:
        return NUMBER_OF_CODE[self.session.error(error).code]

    def error_data(self, error: int) -> bytes:
        return self.session.error(error).message.encode("utf-8", "replace")

    def drop(self, handle: int) -> None:
        self.session.drop(handle)


def text_of(text: memoryview) -> str:
    return str(text, "utf-8", "replace")  # "replace": the text may be cut off in the middle of a character


def checked(what: str, name: str, code: ErrorCode = ErrorCode.INVALID_ARGUMENT) -> str:
    """The name, if it isn't too long to be looked up and to be quoted in a message; else raises `NNError`."""
    if len(name) > MAX_NAME:
        raise NNError(code, f"the name of the {what} has {len(name)} characters: at most {MAX_NAME} are allowed")
    return name


def join(text: memoryview, to: Array) -> None:
    """Decode a text of two planes (low four bits of all bytes, then the high four) into bytes."""
    planes: Array = np.frombuffer(text, np.uint8)
    np.multiply(planes[len(to) :], 16, out=to)
    np.bitwise_or(to, planes[: len(to)], out=to)


def split(content: Array, to: memoryview) -> None:
    """Encode bytes as a text of two planes."""
    planes: Array = np.frombuffer(to, np.uint8)
    np.bitwise_and(content, 15, out=planes[: len(content)])
    np.right_shift(content, 4, out=planes[len(content) :])
