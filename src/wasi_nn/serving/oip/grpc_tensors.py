"""Tensors in the messages of gRPC: raw bytes, or elements in the field for their type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wasi_nn.graph.datatypes import BYTES
from wasi_nn.oip.contents import FIELDS, from_contents, into_contents
from wasi_nn.oip.datatypes import datatype_of_output, decoded, encoded, name_for_message
from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.serving.computing.long_calls import LARGE_ARRAY, LARGE_JSON
from wasi_nn.serving.failures import Reason, ServingError, invalid, with_serving_errors
from wasi_nn.serving.oip.parameters import require_known, require_no_repeated, seconds_of
from wasi_nn.serving.request import InferenceResult, NamedArrays
from wasi_nn.serving.settings import ServingLimits, how_to_raise


def parameters_of(given: Mapping[str, messages.InferParameter]) -> dict[str, Any]:
    """Parameters as values of Python. Raises `ServingError` for those of features that the server lacks."""
    values = {}
    for name, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        values[name] = None if kind is None else getattr(parameter, kind)
    require_known(values)
    return values


def takes_long(request: messages.ModelInferRequest) -> bool:
    """Whether reading a request takes too long for the event loop: many elements in fields, or many strings."""
    if not request.raw_input_contents:
        sizes = (sum(len(items) for _, items in tensor.contents.ListFields()) for tensor in request.inputs)
        return sum(sizes) > LARGE_ARRAY
    return any(
        tensor.datatype == BYTES and len(content) > LARGE_JSON
        for tensor, content in zip(request.inputs, request.raw_input_contents, strict=False)
    )


@with_serving_errors
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
            arrays.append((tensor.name, from_contents(what, tensor.datatype, list(tensor.shape), tensor.contents)))
            continue
        if tensor.HasField("contents"):
            raise invalid(f"{what} has contents beside raw_input_contents")
        arrays.append((tensor.name, decoded(what, tensor.datatype, list(tensor.shape), raw[place])))
    return arrays, names, seconds


def answer_takes_long(request: messages.ModelInferRequest, result: InferenceResult) -> bool:
    """Whether writing the answer takes too long for the event loop."""
    in_fields = not request.raw_input_contents
    return any(array.size > LARGE_ARRAY and (in_fields or array.dtype == object) for _, array in result.outputs)


@with_serving_errors
def write_response(request: messages.ModelInferRequest, result: InferenceResult) -> messages.ModelInferResponse:
    """The answer, in the form that the request has: raw, or contents if all outputs have such. Raises `ServingError`
    for an output of a type that the protocol lacks."""
    response = messages.ModelInferResponse(model_name=request.model_name, model_version=result.version, id=request.id)
    datatypes = [datatype_of_output(name, array) for name, array in result.outputs]
    as_contents = bool(request.inputs) and not request.raw_input_contents and all(map(FIELDS.get, datatypes))
    for (name, array), datatype in zip(result.outputs, datatypes, strict=True):
        output = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if as_contents:
            into_contents(datatype, array, output.contents)
        else:
            response.raw_output_contents.append(bytes(encoded(array)))
    return response
