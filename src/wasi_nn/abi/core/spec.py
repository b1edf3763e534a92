"""The core ABI: the functions that a core module imports from `wasi_ephemeral_nn` (wasi-nn.witx of the specification).

Every parameter and result is an i32. A function returns an errno, 0 for success, and writes its value to the u32 behind
its out-pointer. A function that fails writes nothing, with one exception: `get_output` writes the size of an output
that doesn't fit into the guest's buffer. All pointers are checked before anything else happens; a pointer out of bounds
traps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import prod
from struct import Struct, unpack_from
from typing import TYPE_CHECKING

from wasmtime import Linker

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core import extensions, host_functions, serving
from wasi_nn.abi.core.extensions import BufferTooSmall, check_buffer, deliver, text_at
from wasi_nn.abi.core.guest_memory import GuestMemory, OutOfBounds
from wasi_nn.abi.core.host_functions import i32_signature
from wasi_nn.abi.core.serving import ServingFunctions
from wasi_nn.errors import Busy, EndOfSequence, ErrorCode, NNError
from wasi_nn.graph.fitting import MAX_RANK, NoSuchIndex
from wasi_nn.session.failures import logger
from wasi_nn.session.session import Session, require_builder_count
from wasi_nn.types import ExecutionTarget, GraphEncoding, TensorType, dtype_name

if TYPE_CHECKING:
    from wasi_nn.types import Dims, DType

MODULE = "wasi_ephemeral_nn"

MISSING_MEMORY, BUSY = 3, 4
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
# Until August 2023 the specification had neither f64 nor i64. Guests from before are still in use.
OLD_TENSOR_TYPES = {2: TensorType.U8.dtype, 3: TensorType.I32.dtype}

_BUILDER = Struct("<II")  # data, data length
_TENSOR = Struct("<IIBxxxII")  # dims, number of dims, type (the three bytes after it are garbage), data, data length

FUNCTIONS = {
    "load": 5,
    "load_by_name": 3,
    "init_execution_context": 2,
    "set_input": 3,
    "compute": 1,
    "get_output": 5,
}
"""The functions, each with the number of its parameters."""


def _numbered(names: Mapping[int, GraphEncoding | ExecutionTarget | str]) -> str:
    """Numbers with the words that they stand for, for a message."""
    return ", ".join(f"{number} ({name if isinstance(name, str) else name.value})" for number, name in names.items())


class CoreAbi(ServingFunctions):
    """The functions over one session, with those of `wasi_nn_ext` and `wasi_nn_serving`. Each takes the caller's
    memory, and raises where the guest gets an errno.

    Subclasses are the dialects.
    """

    module = MODULE
    functions: Mapping[str, int] = FUNCTIONS
    encodings: Mapping[int, GraphEncoding] = ENCODINGS
    tensor_types: Mapping[int, DType] = TENSOR_TYPES
    old_tensor_types: Mapping[int, DType] = OLD_TENSOR_TYPES
    rejections = (NNError, OutOfBounds)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.callers = host_functions.Callers()
        self._warned_of_old_types = False

    def add_to_linker(self, linker: Linker, interfaces: Collection[str] | None = None, *, serves: bool = True) -> None:
        """Define the functions in a linker, with those of these interfaces of wasi-nn:ext, and with those of
        wasi-nn:serving if it `serves`. None: all interfaces that the session allows."""
        allowed = self.session.extensions if interfaces is None else interfaces
        for module, name, parameters, interface in self._known():
            if serves if module == serving.MODULE else interface is None or interface in allowed:
                self._define(linker, module, name, parameters)

    @classmethod
    def imported(cls, imports: Collection[tuple[str, str]]) -> Iterator[tuple[str, str, int]]:
        """Those of the functions that a module imports, each with its module, its name and the number of its
        parameters."""
        wanted = set(imports)
        for module, name, parameters, _ in cls._known():
            if (module, name) in wanted:
                yield module, name, parameters

    @classmethod
    def _known(cls) -> Iterator[tuple[str, str, int, str | None]]:
        """All functions: module, name, number of parameters, and interface of wasi-nn:ext."""
        for name, parameters in cls.functions.items():
            yield cls.module, name, parameters, None
        for name, (parameters, interface) in extensions.FUNCTIONS.items():
            yield extensions.MODULE, name, parameters, interface
        for name, parameters in serving.FUNCTIONS.items():
            yield serving.MODULE, name, parameters, None

    def _define(self, linker: Linker, module: str, name: str, parameters: int) -> None:
        signature, function = i32_signature(parameters, 1), self.function(name)
        host_functions.define(linker, module, name, signature, function, self.callers)

    def function(self, name: str) -> Callable[..., int]:
        """The host function for a name: it returns an errno, and raises nothing but `GuestFault`."""
        method: Callable[..., None] = getattr(self, name)
        session = self.session

        def call(memory: GuestMemory | None, *arguments: int) -> int:
            session.calls += 1
            if memory is None:
                return self._missing_memory(name)
            try:
                method(memory, *arguments)
            except BaseException as error:
                return self.failed(name, arguments, error)
            return SUCCESS

        return call

    def rejected(self, name: str, arguments: Sequence[object], error: Exception) -> int:
        if isinstance(error, OutOfBounds):
            return self.out_of_bounds(name, error)
        assert isinstance(error, NNError)
        errno = self.errno(error)
        asks_for_size = isinstance(error, BufferTooSmall) and (error.room == 0 or name == "read_request")
        is_past_last = isinstance(error, NoSuchIndex) and name == "describe_output"  # a guest counts outputs that way
        if asks_for_size or is_past_last or isinstance(error, EndOfSequence):  # these are answers, not failures
            logger.debug("%s: %s", name, error)
        else:
            self.failures.add(f"{name} failed: {error} [{error.code.value}, errno {errno}]")
        return errno

    def host_fault(self, name: str, error: Exception) -> int:
        return RUNTIME_ERROR

    def errno(self, error: NNError) -> int:
        """The errno for an error."""
        return BUSY if isinstance(error, Busy) else ERRNO[error.code]

    def out_of_bounds(self, name: str, error: OutOfBounds) -> int:
        """Answer a call with a pointer out of the guest's memory: return an errno, or raise `GuestFault`."""
        raise GuestFault(f"{name}: {error}") from None

    def _missing_memory(self, name: str) -> int:
        self.failures.add(
            f"{name} failed: the module exports no memory named 'memory', or a shared one [errno {MISSING_MEMORY}]"
        )
        return MISSING_MEMORY

    def load(self, memory: GuestMemory, builders: int, count: int, encoding: int, target: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        self.load_builders(memory, self.builders(memory, builders, count), encoding, target, out)

    def builders(self, memory: GuestMemory, builders: int, count: int) -> list[memoryview]:
        """Views of a graph's builders in the guest's memory."""
        array = memory.range("the builder array", builders, count * _BUILDER.size)
        require_builder_count(count)
        return [memory.range(f"builder {n}", *part) for n, part in enumerate(_BUILDER.iter_unpack(array))]

    def load_builders(
        self, memory: GuestMemory, builders: Sequence[memoryview], encoding: int, target: int, out: int
    ) -> None:
        """Load a graph from its builders, and write its handle to the out-pointer."""
        if target not in TARGETS:
            message = f"no execution target has the number {target}; there are {_numbered(TARGETS)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        memory.write_u32(out, self.load_encoded(builders, encoding, TARGETS[target]))

    def load_encoded(self, builders: Sequence[memoryview], encoding: int, target: ExecutionTarget) -> int:
        """Load a graph from its builders by the number of its encoding; returns the graph's handle."""
        if encoding not in self.encodings:
            message = f"no graph encoding has the number {encoding}; there are {_numbered(self.encodings)}"
            raise NNError(ErrorCode.INVALID_ENCODING, message)
        return self.session.load(builders, self.encodings[encoding], target)

    def load_by_name(self, memory: GuestMemory, name: int, length: int, out: int) -> None:
        memory.check("the out-pointer", out, 4)
        memory.write_u32(out, self.session.load_by_name(self.name(memory, name, length)))

    def name(self, memory: GuestMemory, name: int, length: int) -> str:
        """Read the name of a graph."""
        return text_at(memory, "the name", name, length)

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
        """The dimensions and the element type of a tensor. `dims` points to `rank` u32s, which the caller checked."""
        if rank > MAX_RANK:
            raise NNError(
                ErrorCode.INVALID_ARGUMENT, f"the tensor has {rank} dimensions: at most {MAX_RANK} are allowed"
            )
        dtype = self.tensor_types.get(kind)
        if dtype is None:
            types = {number: dtype_name(known) for number, known in self.tensor_types.items()}
            message = f"no tensor type has the number {kind}; there are {_numbered(types)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        return unpack_from(f"<{rank}I", memory.bytes, dims) if rank else (), dtype

    def compute(self, memory: GuestMemory, context: int) -> None:
        self.session.compute(context)

    def get_output(self, memory: GuestMemory, context: int, index: int, buffer: int, room: int, out: int) -> None:
        check_buffer(memory, buffer, room, out)
        deliver(memory, f"output {index}", self.session.output_bytes(context, index), buffer, room, out)

    def _warn_of_old_types(self, number: int) -> None:
        if not self._warned_of_old_types:
            self._warned_of_old_types = True
            logger.warning(
                "the guest numbers tensor types as before August 2023: by its tensor's size, type %d is %s, not %s",
                number,
                dtype_name(OLD_TENSOR_TYPES[number]),
                dtype_name(TENSOR_TYPES[number]),
            )
