"""The specification's vocabulary, shared by every room of the house.

Nothing here knows of a runtime, a registry or WebAssembly. The numbers that these enums have on the wire differ between
the two ABIs, so they live with the ABIs (`wasi_nn.abi`), not here.

    WasiNNError
    |-- NNError                 an nn call can't be done; it has one of the specification's error codes
    |   |-- TargetUnavailable   ... because the execution target asked for isn't there
    |   |-- ModelNotFound       ... because a model's file isn't there
    |   |-- PromptTooLong       ... because the prompt doesn't fit into the context
    |   |-- ContextFull         ... because what was written fills the context
    |   `-- EndOfSequence       ... because a sequence of outputs is complete
    `-- GuestError              a guest can't be run
        `-- GuestTrap           a guest ran and was stopped by a trap
            `-- GuestStopped    ... because somebody stopped its run
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]
    DType = np.dtype[Any]

Dims = tuple[int, ...]


class TensorType(enum.Enum):
    """The element type of a tensor: every type that either ABI has."""

    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"
    U8 = "u8"
    I32 = "i32"
    I64 = "i64"

    @cached_property
    def dtype(self) -> DType:
        """The numpy dtype with these elements."""
        if self is TensorType.BF16:
            import ml_dtypes

            bfloat16: DType = np.dtype(ml_dtypes.bfloat16)
            return bfloat16
        return np.dtype(next(name for name, kind in _BY_DTYPE_NAME.items() if kind is self))

    @classmethod
    def of(cls, dtype: DType) -> TensorType | None:
        """The tensor type with this dtype's elements; None where wasi-nn has none (int8, bool, strings and others)."""
        return _BY_DTYPE_NAME.get(dtype.name)


_BY_DTYPE_NAME = {
    "float16": TensorType.F16,
    "bfloat16": TensorType.BF16,
    "float32": TensorType.F32,
    "float64": TensorType.F64,
    "uint8": TensorType.U8,
    "int32": TensorType.I32,
    "int64": TensorType.I64,
}


class GraphEncoding(enum.Enum):
    """The format of a model's bytes."""

    OPENVINO = "openvino"
    ONNX = "onnx"
    TENSORFLOW = "tensorflow"
    PYTORCH = "pytorch"
    TENSORFLOWLITE = "tensorflowlite"
    GGML = "ggml"
    AUTODETECT = "autodetect"


class ExecutionTarget(enum.Enum):
    """Where a graph should run."""

    CPU = "cpu"
    GPU = "gpu"
    TPU = "tpu"


class ErrorCode(enum.Enum):
    """Why an nn call failed, in the words of `wasi:nn/errors` (WIT 0.2.0-rc-2024-10-28)."""

    INVALID_ARGUMENT = "invalid-argument"
    INVALID_ENCODING = "invalid-encoding"
    TIMEOUT = "timeout"
    RUNTIME_ERROR = "runtime-error"
    UNSUPPORTED_OPERATION = "unsupported-operation"
    TOO_LARGE = "too-large"
    NOT_FOUND = "not-found"
    SECURITY = "security"
    UNKNOWN = "unknown"


Word = TypeVar("Word", bound=enum.Enum)


def word(kind: type[Word], value: Word | str) -> Word:
    """A word of the vocabulary, given as itself or as text. Raises `NNError` with `invalid-argument` for any other."""
    try:
        return kind(value)
    except ValueError as error:
        what = kind.__name__.removeprefix("Graph").removeprefix("Execution").lower()
        words = ", ".join(member.value for member in kind)
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"no {what} is named {value!r}; there are {words}") from error


class WasiNNError(Exception):
    """The base of every error that this package raises on purpose. Its text is one line meant for a person."""


_LONGEST_MESSAGE = 4000  # characters


class NNError(WasiNNError):
    """An nn call can't be done: `code` says why in the specification's words, `message` in ours. Of a message that is
    longer than anyone reads, such as one with a name of a model's in it, the middle is left out."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[: _LONGEST_MESSAGE // 2]} ... {message[-_LONGEST_MESSAGE // 2 :]}"
        super().__init__(message)
        self.code = code
        self.message = message

    @classmethod
    def of_kind(cls, kind: type[NNError], code: ErrorCode, message: str) -> NNError:
        """An error of a kind, whose own `__init__` may have the code already."""
        made = kind.__new__(kind, message)
        NNError.__init__(made, code, message)
        return made

    def told_as(self, message: str) -> NNError:
        """The same error, in other words."""
        return self.of_kind(type(self), self.code, message)


class TargetUnavailable(NNError):
    """The execution target that was asked for isn't there, or the runtime can't use it."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.UNSUPPORTED_OPERATION, message)


class ModelNotFound(NNError):
    """The file of a model isn't there."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.NOT_FOUND, message)


class PromptTooLong(NNError):
    """A prompt doesn't fit into the context; where all of it is taken at once, into a batch."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TOO_LARGE, message)


class ContextFull(NNError):
    """A sequence ends before it is complete, since the context is full."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TOO_LARGE, message)


class EndOfSequence(NNError):
    """A sequence of outputs is complete: there is no next piece."""

    def __init__(self, message: str = "the sequence is complete") -> None:
        super().__init__(ErrorCode.RUNTIME_ERROR, message)


class GuestError(WasiNNError):
    """A guest can't be run: it isn't WebAssembly, or it needs something that the host hasn't got."""


class GuestTrap(GuestError):
    """A guest was stopped by a trap.

    `reason` is the trap's own line, `backtrace` the guest's frames, one a line; `stdout` and `stderr` are what the
    guest wrote before, if that was captured.
    """

    _ended = "trapped"

    def __init__(self, reason: str, backtrace: str = "") -> None:
        super().__init__(f"the guest {self._ended}: {reason}")
        self.reason = reason
        self.backtrace = backtrace
        self.stdout = b""
        self.stderr = b""


class GuestStopped(GuestTrap):
    """A guest was stopped from outside, for this `reason`: by `Run.stop`, or since its host was closed."""

    _ended = "was stopped"


@dataclass(frozen=True)
class TensorInfo:
    """What a graph says of one of its inputs or outputs.

    `dims` is a number for each static dimension and a name (`"?"` if the model gives none) for each dynamic one; `()`
    for a scalar; None where even the rank is unknown. `dtype` is `object` where the elements aren't numbers, and then
    `native` (the runtime's own word for the type) says what they are; None where the model doesn't say, and then a
    tensor of any type is taken. `optional` inputs need not be set. `opaque` ones are bytes, such as a prompt, taken
    as they are whatever type and dims they are said to have. `quantization` is a scale and a zero point: the number
    that an element stands for is `scale * (element - zero point)`.
    """

    name: str
    dtype: DType | None
    dims: tuple[int | str, ...] | None
    native: str = ""
    optional: bool = False
    opaque: bool = False
    quantization: tuple[float, int] | None = None

    @classmethod
    def of_bytes(cls, name: str, *, optional: bool = False) -> TensorInfo:
        """Bytes of any length."""
        return cls(name, np.dtype(np.uint8), ("?",), "bytes", optional, opaque=True)

    @property
    def type(self) -> TensorType | None:
        """The specification's element type; None where it has none for this tensor, or the model doesn't say."""
        return None if self.dtype is None else TensorType.of(self.dtype)

    @property
    def type_name(self) -> str:
        """The element type for a message: the specification's name, else the runtime's or numpy's."""
        if self.opaque:
            return "bytes"
        if self.dtype is None:
            return "any"
        return dtype_name(self.dtype) if self.dtype != object else self.native or "object"

    @property
    def has_fixed_dims(self) -> bool:
        """Whether none of its dims, nor their number, is left open."""
        return self.dims is not None and all(isinstance(dim, int) for dim in self.dims)

    @property
    def dims_text(self) -> str:
        """The dims for a message, such as `[batch, 3, 224, 224]`."""
        return "of any rank" if self.dims is None else dims_text(self.dims)

    def __str__(self) -> str:
        return f"{printable(self.name)}: {self.type_name}{'[...]' if self.dims is None else self.dims_text}"


def printable(text: str) -> str:
    """Text of a model's or a guest's as a terminal may show it: what isn't printable is escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def dtype_name(dtype: DType) -> str:
    """The specification's name of a dtype where it has one (`f32`), else numpy's (`int8`)."""
    kind = TensorType.of(dtype)
    return dtype.name if kind is None else kind.value


def dims_text(dims: tuple[int | str, ...]) -> str:
    """Dims for a message, such as `[1, 3]`."""
    return printable(f"[{', '.join(map(str, dims))}]")


def one_line(error: BaseException) -> str:
    """The text of an error, on one line and fit to be shown."""
    return printable(" ".join(str(error).split())) or type(error).__name__
