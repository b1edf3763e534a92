"""WAMR's first dialect of the core ABI, the module `wasi_nn`: for guests from before WAMR adopted the specification.

    load(builder array, encoding, target, out: graph)       the array is {u32 builders, u32 count}
    set_input(context, index, tensor)                       a tensor of 12 bytes: dims array, type, data
    get_output(context, index, buffer, in and out: size)    the size counts elements of f32, not bytes

A tensor has no length: its data has four bytes for each element of its dimensions, whatever the type. The numbers of
tensor types (2 u8, 3 i32) and of encodings (5 ggml, 6 autodetect) are WAMR's. A guest passes f32 to and from models
whose tensors are quantised to u8, and the values are quantised and dequantised here as in WAMR's TensorFlow Lite
backend. (Source: WAMR of 2026-07, `wasi_nn.c` and `wasi_nn_tensorflowlite.cpp`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from struct import Struct
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.abi.core.guest_memory import GuestMemory
from wasi_nn.abi.core.spec import ENCODINGS, FUNCTIONS, CoreAbi
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.session.session import require_builder_count
from wasi_nn.types import GraphEncoding, TensorType

if TYPE_CHECKING:
    from wasi_nn.types import Array, DType

MODULE = "wasi_nn"

_ARRAY = Struct("<II")  # address of the items, number of items
_TENSOR = Struct("<IBxxxI")  # dims array, type, data
_SIZE = Struct("<I")
_ELEMENT = 4  # bytes, whatever the type
_F32, _U8 = np.dtype(np.float32), np.dtype(np.uint8)


class WamrAbi(CoreAbi):
    """The functions of WAMR's dialect over one session."""

    module = MODULE
    functions = FUNCTIONS | {"load": 4, "get_output": 4}
    encodings = ENCODINGS | {5: GraphEncoding.GGML, 6: GraphEncoding.AUTODETECT}
    tensor_types: Mapping[int, DType] = dict(enumerate((TensorType.F16.dtype, _F32, _U8, TensorType.I32.dtype)))

    def load(self, memory: GuestMemory, array: int, encoding: int, target: int, out: int) -> None:  # type: ignore[override]
        memory.check("the out-pointer", out, 4)
        builders, count = _ARRAY.unpack(memory.range("the builder array", array, _ARRAY.size))
        require_builder_count(count)
        self.load_builders(memory, self.builders(memory, builders, count), encoding, target, out)

    def set_input(self, memory: GuestMemory, context: int, index: int, tensor: int) -> None:
        dims_array, kind, data = _TENSOR.unpack(memory.range("the tensor", tensor, _TENSOR.size))
        dims_pointer, rank = _ARRAY.unpack(memory.range("the dimension array", dims_array, _ARRAY.size))
        memory.check("the tensor's dimensions", dims_pointer, rank * 4)
        dims, dtype = self.shape(memory, dims_pointer, rank, kind)
        info = self.session.input_info(context, index)
        content = memory.range("the tensor's data", data, prod(dims) * (1 if info.opaque else _ELEMENT))
        if dtype == _F32 and info.quantization is not None and info.dtype == _U8:
            quantised = _quantised(np.frombuffer(content, _F32), info.quantization)
            self.session.write_input(context, index, quantised.dtype, dims, quantised.data)
        else:
            self.session.write_input(context, index, dtype, dims, content[: prod(dims) * dtype.itemsize])

    def get_output(self, memory: GuestMemory, context: int, index: int, buffer: int, size: int) -> None:  # type: ignore[override]
        (elements,) = _SIZE.unpack(memory.range("the size", size, _SIZE.size))
        memory.check("the output buffer", buffer, elements * _ELEMENT)
        output = self.session.output_bytes(context, index)
        info = self.session.output_info(context, index)
        if info is not None and info.quantization is not None and info.dtype == _U8:
            output = _dequantised(np.frombuffer(output, _U8), info.quantization).data.cast("B")
        needed = -(-len(output) // _ELEMENT)
        if needed > elements:
            memory.write_u32(size, needed)
            message = f"output {index} has {needed} x {_ELEMENT} bytes, the guest's buffer only {elements} x {_ELEMENT}"
            raise NNError(ErrorCode.TOO_LARGE, message)
        memory.bytes[buffer : buffer + len(output)] = output
        memory.write_u32(size, needed)


def _quantised(values: Array, quantization: tuple[float, int]) -> Array:
    scale, zero_point = quantization
    quantised: Array = np.clip(np.rint(values / scale + zero_point), 0, 255).astype(_U8)
    return quantised


def _dequantised(values: Array, quantization: tuple[float, int]) -> Array:
    scale, zero_point = quantization
    return ((values.astype(_F32) - zero_point) * _F32.type(scale)).astype(_F32)
