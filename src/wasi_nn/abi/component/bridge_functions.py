"""The component ABI: what a guest component imports from `wasi:nn`, at any of its published versions.

A guest gets its wasi:nn from the bridge component that is put beside it (`bridge`, `compose`). Here are the functions
that the bridge calls: tensors, graphs, contexts and errors are handles of the session, numbers are WIT's, and bytes
come as text. All versions end in the same functions.

A function that can fail in WIT gives the handle of an error. Those that can't in WIT fail only on handles, which the
bridge doesn't get wrong, or when there are no handles left; they trap.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from wasmtime.component import Linker, LinkerInstance

from wasi_nn.abi.component import bridge, host_functions
from wasi_nn.abi.component.host_functions import STRING, U32, U64, HostFunction, Text
from wasi_nn.abi.core.host_functions import GuestFault
from wasi_nn.abi.failures import FailureLog, logger
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.session.session import Session, require_builder_count
from wasi_nn.session.tensor import Tensor
from wasi_nn.types import ExecutionTarget, GraphEncoding, TensorType

if TYPE_CHECKING:
    from wasi_nn.types import Array

TENSOR_TYPES = (
    TensorType.F16,
    TensorType.F32,
    TensorType.F64,
    TensorType.BF16,
    TensorType.U8,
    TensorType.I32,
    TensorType.I64,
)
"""The element types in WIT's order, which isn't the core ABI's."""

ENCODINGS = (
    GraphEncoding.OPENVINO,
    GraphEncoding.ONNX,
    GraphEncoding.TENSORFLOW,
    GraphEncoding.PYTORCH,
    GraphEncoding.TENSORFLOWLITE,
    GraphEncoding.GGML,
    GraphEncoding.AUTODETECT,
)
TARGETS = (ExecutionTarget.CPU, ExecutionTarget.GPU, ExecutionTarget.TPU)
ERROR_CODES = (
    ErrorCode.INVALID_ARGUMENT,
    ErrorCode.INVALID_ENCODING,
    ErrorCode.TIMEOUT,
    ErrorCode.RUNTIME_ERROR,
    ErrorCode.UNSUPPORTED_OPERATION,
    ErrorCode.TOO_LARGE,
    ErrorCode.NOT_FOUND,
    ErrorCode.SECURITY,
    ErrorCode.UNKNOWN,
)

_NUMBER_OF_TYPE = {kind: number for number, kind in enumerate(TENSOR_TYPES)}
_NUMBER_OF_CODE = {code: number for number, code in enumerate(ERROR_CODES)}

_MAX_NAME = 65536
_MAX_ERROR = 65536  # bytes that are kept of an error that a guest makes
_DIGITS = 8
_PAIR = Struct(f"{_DIGITS}s{_DIGITS}s")


class _Signature(NamedTuple):
    parameters: tuple[str, ...]
    result: str | None
    fail: Callable[[int], int | bytes] | None
    """Makes the result from an error's handle; None if the function can't fail in WIT."""


def _outcome(error: int) -> int:
    return error << 32


def _status(error: int) -> int:
    return error


def _no_outputs(error: int) -> bytes:
    return b"%08x%08x" % (error, 0)


FUNCTIONS = {
    "tensor-new": _Signature((U32, U32, U32, STRING), U32, None),
    "tensor-write": _Signature((U32, U32, STRING), None, None),
    "tensor-type": _Signature((U32,), U32, None),
    "tensor-extent": _Signature((U32,), U64, None),
    "tensor-read": _Signature((U32, U32, U32), STRING, None),
    "load": _Signature((U32, U32, U32, STRING), U64, _outcome),
    "load-by-name": _Signature((STRING,), U64, _outcome),
    "init-execution-context": _Signature((U32,), U64, _outcome),
    "set-input": _Signature((U32, U32, STRING), U32, _status),
    "compute": _Signature((U32,), U32, _status),
    "get-output": _Signature((U32, STRING), U64, _outcome),
    "compute-named": _Signature((U32, STRING), STRING, _no_outputs),
    "error-new": _Signature((U32, STRING), U32, None),
    "error-code": _Signature((U32,), U32, None),
    "error-data": _Signature((U32,), STRING, None),
    "drop": _Signature((U32,), None, None),
}
"""The functions that the bridge imports, as `bridge.wit` has them."""

Define = Callable[[LinkerInstance, str, "tuple[str, ...]", "str | None", HostFunction], None]


def add_to_component_linker(linker: Linker, session: Session) -> None:
    """Give the guest component whose nn state `session` is its wasi:nn: define the functions behind it in a linker.

    The component must have been wrapped (`wasi_nn.wrap_component`) before it was compiled. The session belongs to one
    Store, and so do the functions: use a linker of its own for each Store.
    """
    add_functions(linker, session, host_functions.define)


def add_functions(linker: Linker, session: Session, define: Define) -> None:
    """`add_to_component_linker`, with one of the ways in `component_calls` of defining a host function."""
    abi = ComponentAbi(session)
    with linker.root() as root, root.add_instance(bridge.HOST) as instance:
        for name, signature in FUNCTIONS.items():
            define(instance, name, signature.parameters, signature.result, abi.function(name))


class ComponentAbi:
    """The bridge's functions over one session. Each raises where the guest gets an error."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._failures = FailureLog()

    def function(self, name: str) -> HostFunction:
        """One of the functions as the bridge calls it, with nothing raised but `GuestFault`."""
        method: HostFunction = getattr(self, name.replace("-", "_"))
        fail = FUNCTIONS[name].fail

        def call(*arguments: int | memoryview) -> int | Text | None:
            try:
                return method(*arguments)
            except NNError as error:
                self._session.on_abi_error(name, arguments, error)
                if fail is None:
                    raise GuestFault(f"{name}: {error}") from None
                self._failures.add(f"{name} failed: {error} [{error.code.value}]")
                return fail(self._error(name, error))
            except Exception as fault:
                logger.exception("%s: a fault of the host's own", name)
                if fail is None:
                    raise GuestFault(f"{name}: a fault of the host's own, {type(fault).__name__}") from None
                message = f"a fault of the host's own, {type(fault).__name__}: see its log"
                return fail(self._error(name, NNError(ErrorCode.RUNTIME_ERROR, message)))
            except BaseException as interruption:
                self._session.interruption = interruption
                raise GuestFault(f"{name}: interrupted by {type(interruption).__name__}") from None

        return call

    def _error(self, name: str, error: NNError) -> int:
        try:
            return self._session.add_error(NNError(error.code, error.message))  # a copy has no frames
        except NNError as full:
            raise GuestFault(f"{name}: {full}") from None

    def tensor_new(self, kind: int, size: int, rank: int, content: memoryview) -> int:
        self._session.require_tensor_bytes(size + 4 * rank)
        row: Array = np.zeros(size + 4 * rank, np.uint8)
        if content:
            _join(content, row)
        return self._session.add_tensor(Tensor(TENSOR_TYPES[kind], row[:size], row[size:]))

    def tensor_write(self, tensor: int, offset: int, part: memoryview) -> None:
        item, size = self._session.tensor(tensor), len(part) // 2
        to, offset = (item.data, offset) if offset < len(item.data) else (item.encoded_dims, offset - len(item.data))
        _join(part, to[offset : offset + size])

    def tensor_type(self, tensor: int) -> int:
        return _NUMBER_OF_TYPE[self._session.tensor(tensor).type]

    def tensor_extent(self, tensor: int) -> int:
        item = self._session.tensor(tensor)
        return len(item.encoded_dims) // 4 << 32 | len(item.data)

    def tensor_read(self, tensor: int, offset: int, size: int) -> Text:
        item = self._session.tensor(tensor)
        of, offset = (item.data, offset) if offset < len(item.data) else (item.encoded_dims, offset - len(item.data))
        part = of[offset : offset + size]
        return 2 * len(part), lambda text: _split(part, text)

    def load(self, encoding: int, target: int, count: int, builders: memoryview) -> int:
        require_builder_count(count)
        digits = bytes(builders)
        tensors = [int(digits[at : at + _DIGITS], 16) for at in range(0, len(digits), _DIGITS)]
        return self._session.load_tensors(tensors, ENCODINGS[encoding], TARGETS[target])

    def load_by_name(self, name: memoryview) -> int:
        return self._session.load_by_name(_checked("graph", _text(name), ErrorCode.NOT_FOUND))

    def init_execution_context(self, graph: int) -> int:
        return self._session.init_execution_context(graph)

    def set_input(self, context: int, tensor: int, name: memoryview) -> int:
        [(key, _)] = self._checked_inputs([(_text(name), tensor)])
        self._session.set_input_tensor(context, key, tensor)
        return 0

    def compute(self, context: int) -> int:
        self._session.compute(context)
        return 0

    def get_output(self, context: int, name: memoryview) -> int:
        return self._session.get_output_tensor(context, _checked("output", _text(name)))

    def compute_named(self, context: int, inputs: memoryview) -> bytes:
        given = self._checked_inputs(_named_handles(bytes(inputs)))
        outputs = self._session.compute_named_tensors(context, given)
        text = [b"%08x%08x" % (0, len(outputs))]
        for name, handle in outputs:
            encoded = name.encode("utf-8", "replace")
            text.append(b"%08x%08x%s" % (handle, len(encoded), encoded))
        return b"".join(text)

    def _checked_inputs(self, named: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Tensors by the names of inputs, which are checked: if they won't do, the tensors are gone all the same."""
        try:
            for name, _ in named:
                _checked("input", name)
        except NNError:
            for _, tensor in named:
                self._session.drop(tensor)
            raise
        return named

    def error_new(self, code: int, data: memoryview) -> int:
        return self._session.add_error(NNError(ERROR_CODES[code], _text(data[:_MAX_ERROR])))

    def error_code(self, error: int) -> int:
        return _NUMBER_OF_CODE[self._session.error(error).code]

    def error_data(self, error: int) -> bytes:
        return self._session.error(error).message.encode("utf-8", "replace")

    def drop(self, handle: int) -> None:
        self._session.drop(handle)


def _named_handles(text: bytes) -> list[tuple[str, int]]:
    """Tensors' handles, each with a name."""
    named, at = [], 0
    while at < len(text):
        tensor, length = (int(digits, 16) for digits in _PAIR.unpack_from(text, at))
        at += _PAIR.size + length
        named.append((text[at - length : at].decode(), tensor))
    return named


def _text(text: memoryview) -> str:
    return str(text, "utf-8", "replace")  # its end may be cut off in the middle of a character


def _checked(what: str, name: str, code: ErrorCode = ErrorCode.INVALID_ARGUMENT) -> str:
    """A name, if anything can have it: it will be looked up, and said in a message."""
    if len(name) > _MAX_NAME:
        raise NNError(code, f"no {what} has a name of {len(name)} characters")
    return name


def _join(text: memoryview, to: Array) -> None:
    """Write the bytes that a text of two planes stands for."""
    planes: Array = np.frombuffer(text, np.uint8)
    np.multiply(planes[len(to) :], 16, out=to)
    np.bitwise_or(to, planes[: len(to)], out=to)


def _split(content: Array, to: memoryview) -> None:
    """Write the text of two planes that stands for some bytes."""
    planes: Array = np.frombuffer(to, np.uint8)
    np.bitwise_and(content, 15, out=planes[: len(content)])
    np.right_shift(content, 4, out=planes[len(content) :])
