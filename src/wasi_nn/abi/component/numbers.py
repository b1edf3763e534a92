"""The numbers of wasi:nn's words: their order in WIT, which differs from the core ABI's numbers."""

from __future__ import annotations

from wasi_nn.errors import ErrorCode
from wasi_nn.types import ExecutionTarget, TensorType

TENSOR_TYPES = (
    TensorType.F16,
    TensorType.F32,
    TensorType.F64,
    TensorType.BF16,
    TensorType.U8,
    TensorType.I32,
    TensorType.I64,
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

NUMBER_OF_TYPE = {kind: number for number, kind in enumerate(TENSOR_TYPES)}
NUMBER_OF_CODE = {code: number for number, code in enumerate(ERROR_CODES)}
