"""The specification's words: tensor types, graph encodings and execution targets.

Their numbers differ between the two ABIs, so they live with the ABIs (`wasi_nn.abi`). numpy is imported when it is
first needed: the command starts without it.
"""

from __future__ import annotations

import enum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from wasi_nn.arguments import shown
from wasi_nn.errors import ErrorCode, NNError, nearest, printable

if TYPE_CHECKING:
    import numpy as np

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
        import numpy as np

        if self is TensorType.BF16:
            import ml_dtypes

            bfloat16: DType = np.dtype(ml_dtypes.bfloat16)
            return bfloat16
        return np.dtype(next(name for name, kind in _BY_DTYPE_NAME.items() if kind is self))

    @classmethod
    def of(cls, dtype: DType) -> TensorType | None:
        """The tensor type of a numpy dtype; None for a type that wasi-nn lacks (int8, bool, strings and others)."""
        return _type_of(dtype)


@lru_cache(maxsize=256)
def _type_of(dtype: DType) -> TensorType | None:
    # numpy makes the name anew each time, which takes longer than all else that a short compute does with a type.
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


def dtype_named(name: str) -> DType:
    """The numpy dtype of a name, such as `float32`; also of `bfloat16`, a dtype that numpy alone lacks."""
    import numpy as np

    return TensorType.BF16.dtype if name == "bfloat16" else np.dtype(name)


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
    """The kind of device that a graph should run on."""

    CPU = "cpu"
    GPU = "gpu"
    TPU = "tpu"


Word = TypeVar("Word", bound=enum.Enum)


def parse_enum(kind: type[Word], value: Word | str, name: str = "") -> Word:
    """A member of an enum, from itself or from its value in any case. Raises `NNError` with `invalid-argument` for any
    other. `name` is the parameter's name for the message, if it isn't the enum's."""
    try:
        return kind(value.lower() if isinstance(value, str) else value)
    except ValueError as error:
        what = kind.__name__.removeprefix("Graph").removeprefix("Execution").lower()
        words = ", ".join(member.value for member in kind)
        near = nearest(value, (member.value for member in kind)) if isinstance(value, str) else ""
        message = f"no {what} is named {shown(value)}; there are {words}{near}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{name}: {message}" if name else message) from error


def dtype_name(dtype: DType) -> str:
    """The specification's name of a dtype where it has one (`f32`), else numpy's (`int8`)."""
    kind = TensorType.of(dtype)
    return dtype.name if kind is None else kind.value


def dims_text(dims: tuple[int | str, ...]) -> str:
    """Dims for a message, such as `[1, 3]`."""
    return printable(f"[{', '.join(map(str, dims))}]")
