"""Tensors of strings in OpenVINO, from arrays of Python's strings and back.

OpenVINO's own conversions go through numpy's strings, which lose zero bytes at their ends. So the bytes of strings go
through two operators of OpenVINO, which keep all bytes: one makes a tensor of them, the other takes a tensor apart.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.byte_strings import as_bytes, as_objects

if TYPE_CHECKING:
    import openvino as ov

    from wasi_nn.types import Array

_MAX_BYTES = 2**31 - 1  # places in the strings are i32


def unsound_operator(model: ov.Model) -> str:
    """The type of an operator of a model that has strings as inputs or outputs, other than those that take strings
    apart or make them; empty if there is none. OpenVINO copies the objects of strings as bytes in such an operator, and
    frees them twice."""
    for operator in model.get_ops():
        name: str = operator.get_type_name()
        for port in operator.outputs() if name != "Result" else ():
            if port.get_element_type().get_type_name() == "string":
                if name not in _MAKERS:
                    return name
                users: set[str] = {target.get_node().get_type_name() for target in port.get_target_inputs()}
                if not users <= _TAKERS:
                    return min(users - _TAKERS)
    return ""


_MAKERS = {"Parameter", "StringTensorPack"}
_TAKERS = {"Result", "StringTensorUnpack"}


def string_tensor(array: Array) -> ov.Tensor:
    """A tensor with the strings of an array. Raises `NNError`: `too-large` for more than 2 GiB, `unsupported-operation`
    for no string at all."""
    if array.size == 0:  # the operators on such a tensor are skipped, and former outputs seem to be new ones
        message = "OpenVINO can't compute on a tensor without any string"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    strings = as_bytes(array)
    sizes = np.fromiter(map(len, strings), np.int64, len(strings))
    ends = np.cumsum(sizes)
    if ends[-1] > _MAX_BYTES:
        raise NNError(
            ErrorCode.TOO_LARGE, f"the strings of a tensor have {ends[-1]} bytes: OpenVINO takes {_MAX_BYTES}"
        )
    places = [part.astype(np.int32).reshape(array.shape) for part in (ends - sizes, ends)]
    content = np.frombuffer(bytearray().join(strings), np.uint8)
    request = _packer(array.ndim).create_infer_request()
    request.infer([*places, content])
    return request.get_output_tensor(0)


def array_of(tensor: ov.Tensor) -> Array:
    """The strings of a tensor, as Python's `bytes`."""
    dims = tuple(tensor.shape)
    if tensor.size == 0:
        return np.empty(dims, object)
    request = _unpacker(len(dims)).create_infer_request()
    request.set_input_tensor(0, tensor)
    request.infer()
    begins, ends, content = (request.get_output_tensor(index).data for index in range(3))
    joined = content.tobytes()
    places = zip(begins.reshape(-1).tolist(), ends.reshape(-1).tolist(), strict=True)
    return as_objects([joined[begin:end] for begin, end in places], dims)


@lru_cache(maxsize=8)
def _packer(rank: int) -> ov.CompiledModel:
    """A model that makes a tensor of strings: of the place where each begins, that where it ends, and their bytes."""
    import openvino as ov
    from openvino import opset15 as ops

    places = [ops.parameter(ov.PartialShape([-1] * rank), np.int32) for _ in range(2)]
    content = ops.parameter(ov.PartialShape([-1]), np.uint8)
    model = ov.Model([ops.result(ops.string_tensor_pack(*places, content))], [*places, content], "pack")
    return ov.Core().compile_model(model, "CPU")


@lru_cache(maxsize=8)
def _unpacker(rank: int) -> ov.CompiledModel:
    """A model that takes a tensor of strings apart, as `_packer` puts it together."""
    import openvino as ov
    from openvino import opset15 as ops

    strings = ops.parameter(ov.PartialShape([-1] * rank), ov.Type.string)
    parts = ops.string_tensor_unpack(strings)
    model = ov.Model([ops.result(parts.output(index)) for index in range(3)], [strings], "unpack")
    return ov.Core().compile_model(model, "CPU")
