"""Tensors in the messages of gRPC: raw bytes, or elements in the field for their type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.graph.byte_strings import as_bytes
from wasi_nn.graph.datatypes import BYTES
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.oip.datatypes import (
    checked_shape,
    datatype_of_output,
    decoded,
    dtype_of,
    encoded,
    invalid,
    name_for_message,
    strings_array,
)
from wasi_nn.serving.oip.parameters import require_known, require_no_repeated, seconds_of
from wasi_nn.serving.oip.proto import open_inference_pb2 as messages
from wasi_nn.serving.request import InferenceResult, NamedArrays
from wasi_nn.serving.settings import ServingLimits, how_to_raise
from wasi_nn.types import dims_text

if TYPE_CHECKING:
    from wasi_nn.types import Array

_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""The field for the elements of each type; FP16 and BF16 have none."""


def parameters_of(given: Mapping[str, messages.InferParameter]) -> dict[str, Any]:
    """Parameters as values of Python. Raises `ServingError` for those of features that the server lacks."""
    values = {}
    for name, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        values[name] = None if kind is None else getattr(parameter, kind)
    require_known(values)
    return values


def read_request(
    request: messages.ModelInferRequest, limits: ServingLimits
) -> tuple[NamedArrays, tuple[str, ...], float | None]:
    """The inputs of a request, the names of the outputs that it asks for, and the seconds that it gives. Raises
    `ServingError`."""
    if len(request.inputs) + len(request.outputs) > limits.tensors:
        message = f"{len(request.inputs)} inputs and {len(request.outputs)} outputs"
        limit = f"at most {limits.tensors} tensors are allowed ({how_to_raise('tensors')})"
        raise ServingError(Reason.TOO_LARGE, f"{message}; {limit}")
    seconds = seconds_of(parameters_of(request.parameters))
    names = tuple(output.name for output in request.outputs)
    require_no_repeated(names)
    for output in request.outputs:
        parameters_of(output.parameters)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs: each has one, or none has")
    arrays = []
    for place, tensor in enumerate(request.inputs):
        what = name_for_message("input", tensor.name)
        parameters_of(tensor.parameters)
        if not raw:
            arrays.append((tensor.name, _from_contents(what, tensor)))
            continue
        if tensor.HasField("contents"):
            raise invalid(f"{what} has contents beside raw_input_contents")
        arrays.append((tensor.name, decoded(what, tensor.datatype, list(tensor.shape), raw[place])))
    return arrays, names, seconds


def _from_contents(what: str, tensor: messages.ModelInferRequest.InferInputTensor) -> Array:
    dtype = dtype_of(what, tensor.datatype)
    dims = checked_shape(what, list(tensor.shape), dtype)
    field = _FIELDS.get(tensor.datatype)
    if field is None:
        raise invalid(f"{what}: {tensor.datatype} has no contents: send it in raw_input_contents")
    for descriptor, _ in tensor.contents.ListFields():
        if descriptor.name != field:
            raise invalid(f"{what}: {tensor.datatype} is in {field}, got {descriptor.name}")
    items = getattr(tensor.contents, field)
    if tensor.datatype == BYTES:
        return strings_array(what, list(items), dims)
    count = int(np.prod(dims, dtype=np.uint64))
    if len(items) != count:
        raise invalid(f"{what}: {tensor.datatype}{dims_text(dims)} has {count} elements, got {len(items)}")
    wide: Array = np.array(items)
    array: Array = wide.astype(dtype)
    if dtype.kind in "iu" and (array != wide).any():
        raise invalid(f"{what}: {tensor.datatype} can't hold {wide[array != wide][0]}")
    return array.reshape(dims)


def write_response(request: messages.ModelInferRequest, result: InferenceResult) -> messages.ModelInferResponse:
    """The answer, in the form that the request has: raw, or contents if all outputs have such. Raises `ServingError`
    for an output of a type that the protocol lacks."""
    response = messages.ModelInferResponse(model_name=request.model_name, model_version=result.version, id=request.id)
    datatypes = [datatype_of_output(name, array) for name, array in result.outputs]
    as_contents = bool(request.inputs) and not request.raw_input_contents and all(map(_FIELDS.get, datatypes))
    for (name, array), datatype in zip(result.outputs, datatypes, strict=True):
        output = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if as_contents:
            items = as_bytes(array) if datatype == BYTES else array.ravel().tolist()
            getattr(output.contents, _FIELDS[datatype]).extend(items)
        else:
            response.raw_output_contents.append(bytes(encoded(array)))
    return response
