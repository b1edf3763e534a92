"""The core ABI: what a core module imports from `wasi_ephemeral_nn` (wasi-nn.witx of the specification).

Every parameter and result is an i32. A function returns an errno, 0 for success; what it produces goes to the u32
behind its out-pointer, which is written only on success, but for `get_output`, which tells the size it needs when the
buffer is too small. All pointers are checked before anything happens, and one out of bounds traps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from struct import Struct, unpack_from
from typing import TYPE_CHECKING

from wasmtime import Linker

from wasi_nn.abi.core import host_functions
from wasi_nn.abi.core.guest_memory import GuestMemory, OutOfBounds
from wasi_nn.abi.core.host_functions import GuestFault, i32_signature
from wasi_nn.abi.failures import FailureLog, logger
from wasi_nn.errors import EndOfSequence, ErrorCode, NNError
from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.session.session import Session, require_builder_count
from wasi_nn.types import ExecutionTarget, GraphEncoding, TensorType, dtype_name

if TYPE_CHECKING:
    from wasi_nn.types import Dims, DType

MODULE = "wasi_ephemeral_nn"

MISSING_MEMORY = 3
ERRNO = {
    ErrorCode.INVALID_ARGUMENT: 1,
    ErrorCode.INVALID_ENCODING: 2,
    ErrorCode.TIMEOUT: 5,
    ErrorCode.RUNTIME_ERROR: 5,
    ErrorCode.UNSUPPORTED_OPERATION: 6,
    ErrorCode.TOO_LARGE: 7,
    ErrorCode.NOT_FOUND: 8,
    ErrorCode.SECURITY: 6,
    ErrorCode.UNKNOWN: 5,
}
SUCCESS, INVALID_ARGUMENT, RUNTIME_ERROR = 0, 1, 5

ENCODINGS = {
    0: GraphEncoding.OPENVINO,
    1: GraphEncoding.ONNX,
    2: GraphEncoding.TENSORFLOW,
    3: GraphEncoding.PYTORCH,
    4: GraphEncoding.TENSORFLOWLITE,
    5: GraphEncoding.AUTODETECT,
    6: GraphEncoding.AUTODETECT,  # WIT's number for it, which some core guests use
}
TARGETS = {0: ExecutionTarget.CPU, 1: ExecutionTarget.GPU, 2: ExecutionTarget.TPU}

_TYPES = (TensorType.F16, TensorType.F32, TensorType.F64, TensorType.U8, TensorType.I32, TensorType.I64)
TENSOR_TYPES = {number: kind.dtype for number, kind in enumerate(_TYPES)}
# Until August 2023 there was neither f64 nor i64, and guests from then are still about.
OLD_TENSOR_TYPES = {2: TensorType.U8.dtype, 3: TensorType.I32.dtype}

_BUILDER = Struct("<II")  # data, data length
_TENSOR = Struct("<IIBxxxII")  # dims, number of dims, type (the three bytes after it are garbage), data, data length
_WITH_ROOM, _ROOM = ("get_output", "get_output_single"), 3  # which argument of these is the size of the buffer
_MAX_NAME = 65536


FUNCTIONS = {
    "load": 5,
    "load_by_name": 3,
    "init_execution_context": 2,
    "set_input": 3,
    "compute": 1,
    "get_output": 5,
}
"""The functions, each with the number of its parameters."""


class CoreAbi:
    """The functions over one session. Each takes the caller's memory and raises where the guest gets an errno.

    What differs between dialects is in subclasses.
    """

    module = MODULE
    functions: Mapping[str, int] = FUNCTIONS
    encodings: Mapping[int, GraphEncoding] = ENCODINGS
    tensor_types: Mapping[int, DType] = TENSOR_TYPES
    old_tensor_types: Mapping[int, DType] = OLD_TENSOR_TYPES

    def __init__(self, session: Session) -> None:
        self.session = session
        self.failures = FailureLog()
        self._warned_of_old_types = False

    def add_to_linker(self, linker: Linker) -> None:
        """Define the functions in a linker."""
        for name, parameters in self.functions.items():
            host_functions.define(linker, self.module, name, i32_signature(parameters, 1), self.function(name))

    def function(self, name: str) -> Callable[..., int]:
        """One of the functions as the guest calls it: with an errno for a result, and nothing raised but
        `GuestFault`."""
        method: Callable[..., None] = getattr(self, name)

        def call(memory: GuestMemory | None, *arguments: int) -> int:
            if memory is None:
                return self._missing_memory(name)
            try:
                method(memory, *arguments)
            except NNError as error:
                self.session.on_abi_error(name, arguments, error)
                return self._failed(name, arguments, error)
            except OutOfBounds as error:
                self.session.on_abi_error(name, arguments, error)
                return self.out_of_bounds(name, error)
            except Exception:
                logger.exception("%s: a fault of the host's own", name)
                return RUNTIME_ERROR
            except BaseException as interruption:
                self.session.interruption = interruption
                raise GuestFault(f"{name}: interrupted by {type(interruption).__name__}") from None
            return SUCCESS

        return call

    def errno(self, error: NNError) -> int:
        """The errno for an error."""
        return ERRNO[error.code]

    def out_of_bounds(self, name: str, error: OutOfBounds) -> int:
        """What becomes of a pointer that leads out of the guest's memory: an errno, or a `GuestFault`."""
        raise GuestFault(f"{name}: {error}") from None

    def load(self, memory: GuestMemory, builders: int, count: int, encoding: int, target: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        parts = self.builders(memory, builders, count)
        if target not in TARGETS:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no execution target has the number {target}")
        memory.write_u32(out, self.loaded(parts, encoding, TARGETS[target]))

    def builders(self, memory: GuestMemory, builders: int, count: int) -> list[memoryview]:
        """The builders of a graph, where they are in memory."""
        array = memory.range("the builder array", builders, count * _BUILDER.size)
        require_builder_count(count)
        return [memory.range(f"builder {n}", *part) for n, part in enumerate(_BUILDER.iter_unpack(array))]

    def loaded(self, builders: Sequence[memoryview], encoding: int, target: ExecutionTarget) -> int:
        """The handle of a graph, loaded from its builders by the number of its encoding."""
        if encoding not in self.encodings:
            raise NNError(ErrorCode.INVALID_ENCODING, f"no graph encoding has the number {encoding}")
        return self.session.load(builders, self.encodings[encoding], target)

    def load_by_name(self, memory: GuestMemory, name: int, length: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        memory.write_u32(out, self.session.load_by_name(self.name(memory, name, length)))

    def name(self, memory: GuestMemory, name: int, length: int) -> str:
        """The name of a graph."""
        text = memory.range("the name", name, length)
        if length > _MAX_NAME:
            raise NNError(ErrorCode.NOT_FOUND, f"no graph has a name of {length} bytes")
        try:
            return bytes(text).decode()
        except UnicodeDecodeError as error:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"the name {bytes(text[:80])!r} is not UTF-8") from error

    def init_execution_context(self, memory: GuestMemory, graph: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        memory.write_u32(out, self.session.init_execution_context(graph))

    def set_input(self, memory: GuestMemory, context: int, index: int, tensor: int) -> None:
        memory.check("the tensor", tensor, _TENSOR.size)
        dims_pointer, rank, kind, data, size = _TENSOR.unpack_from(memory.bytes, tensor)
        memory.check("the tensor's dimensions", dims_pointer, rank * 4)
        memory.check("the tensor's data", data, size)
        dims, dtype = self.shape(memory, dims_pointer, rank, kind)
        if kind in self.old_tensor_types and prod(dims) * dtype.itemsize != size:
            old = self.old_tensor_types[kind]
            if prod(dims) * old.itemsize == size:
                self._warn_of_old_types(kind)
                dtype = old
        self.session.write_input(context, index, dtype, dims, memory.bytes[data : data + size])

    def shape(self, memory: GuestMemory, dims: int, rank: int, kind: int) -> tuple[Dims, DType]:
        """The dims and the dtype of a tensor, whose dimensions are within memory."""
        if rank > MAX_RANK:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"a tensor of {rank} dimensions: no more than {MAX_RANK} are")
        dtype = self.tensor_types.get(kind)
        if dtype is None:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no tensor type has the number {kind}")
        return unpack_from(f"<{rank}I", memory.bytes, dims) if rank else (), dtype

    def compute(self, memory: GuestMemory, context: int) -> None:
        self.session.compute(context)

    def get_output(self, memory: GuestMemory, context: int, index: int, buffer: int, room: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        memory.check("the output buffer", buffer, room)
        self.deliver(memory, index, self.session.output_bytes(context, index), buffer, room, out)

    def deliver(self, memory: GuestMemory, index: int, output: memoryview, buffer: int, room: int, out: int) -> None:
        """Write an output into the guest's buffer, or the size that it needs."""
        size = len(output)
        if size > room:
            memory.write_u32(out, size)
            raise NNError(ErrorCode.TOO_LARGE, f"output {index} is {size} bytes, the buffer {room}")
        memory.bytes[buffer : buffer + size] = output
        memory.write_u32(out, size)

    def _failed(self, name: str, arguments: tuple[int, ...], error: NNError) -> int:
        errno = self.errno(error)
        asks_for_size = error.code is ErrorCode.TOO_LARGE and name in _WITH_ROOM and arguments[_ROOM] == 0
        if asks_for_size or isinstance(error, EndOfSequence):  # which are answers, not failures
            logger.debug("%s: %s", name, error)
        else:
            self.failures.add(f"{name} failed: {error} [{error.code.value}, errno {errno}]")
        return errno

    def _missing_memory(self, name: str) -> int:
        self.failures.add(
            f"{name} failed: the module exports no memory named 'memory', or a shared one [errno {MISSING_MEMORY}]"
        )
        return MISSING_MEMORY

    def _warn_of_old_types(self, number: int) -> None:
        if not self._warned_of_old_types:
            self._warned_of_old_types = True
            logger.warning(
                "the guest numbers tensor types as before August 2023: by its length, type %d is %s, not %s",
                number,
                dtype_name(OLD_TENSOR_TYPES[number]),
                dtype_name(TENSOR_TYPES[number]),
            )
