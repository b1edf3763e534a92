"""Writes the answer to an inference request over HTTP: JSON, and the bytes of binary tensors after it."""

from __future__ import annotations

from typing import Any

from wasi_nn.oip.datatypes import datatype_of_output, encoded
from wasi_nn.serving.computing.long_calls import LARGE_ARRAY
from wasi_nn.serving.failures import Reason, ServingError, with_serving_errors
from wasi_nn.serving.oip.json_tensors import as_text, to_json
from wasi_nn.serving.oip.rest_request import RestRequest
from wasi_nn.serving.request import InferenceResult
from wasi_nn.serving.settings import ServingLimits, how_to_raise

JSON_SIZE = "Inference-Header-Content-Length"
"""The header that says where the JSON of a body ends and its binary tensors begin."""


_BYTES_OF_AN_ELEMENT = 8  # in JSON, about


def takes_long(request: RestRequest, result: InferenceResult) -> bool:
    """Whether writing the answer takes too long for the event loop: much JSON, or many strings."""
    return any(
        array.size > LARGE_ARRAY and (array.dtype == object or not _is_binary(request, name))
        for name, array in result.outputs
    )


def _is_binary(request: RestRequest, name: str) -> bool:
    wish = request.outputs.get(name)
    return request.binary if wish is None else wish


@with_serving_errors
def write_response(
    model: str, request: RestRequest, result: InferenceResult, limits: ServingLimits
) -> tuple[bytes, dict[str, str]]:
    """The body of the answer, and its headers. Raises `ServingError` for an output that has no such form, or is too
    large for it."""
    outputs, parts = [], []
    left = limits.json_bytes // _BYTES_OF_AN_ELEMENT
    for name, array in result.outputs:
        datatype = datatype_of_output(name, array)
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        data = ""
        if _is_binary(request, name):
            part = encoded(array)
            output["parameters"] = {"binary_data_size": part.nbytes}
            parts.append(part)
        else:
            left -= array.size
            if left < 0:
                message = f"output {name!r} makes the answer too large for JSON ({how_to_raise('json_bytes')})"
                raise ServingError(Reason.TOO_LARGE, f"{message}: ask for it as binary data")
            data = f',"data":{to_json(name, datatype, array)}'
        outputs.append(f"{as_text(output)[:-1]}{data}}}")
    content: dict[str, Any] = {"model_name": model, "model_version": result.version}
    if request.id:
        content["id"] = request.id
    head = f'{as_text(content)[:-1]},"outputs":[{",".join(outputs)}]}}'.encode()
    if not parts:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", JSON_SIZE: str(len(head))}
    return b"".join((head, *parts)), headers
