"""Writes the answer to an inference request over HTTP: JSON, and the bytes of binary tensors after it."""

from __future__ import annotations

import json
from typing import Any

from wasi_nn.serving.oip.datatypes import datatype_of_output, encoded
from wasi_nn.serving.oip.json_tensors import to_json
from wasi_nn.serving.oip.rest_request import RestRequest
from wasi_nn.serving.request import InferenceResult

JSON_SIZE = "Inference-Header-Content-Length"
"""The header that says where the JSON of a body ends and its binary tensors begin."""


def write_response(model: str, request: RestRequest, result: InferenceResult) -> tuple[bytes, dict[str, str]]:
    """The body of the answer, and its headers. Raises `ServingError` for an output that has no such form."""
    outputs, parts = [], []
    for name, array in result.outputs:
        datatype = datatype_of_output(name, array)
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        wish = request.outputs.get(name)
        if request.binary if wish is None else wish:
            part = encoded(array)
            output["parameters"] = {"binary_data_size": part.nbytes}
            parts.append(part)
        else:
            output["data"] = to_json(name, datatype, array)
        outputs.append(output)
    content: dict[str, Any] = {"model_name": model, "model_version": result.version}
    if request.id:
        content["id"] = request.id
    head = json.dumps(content | {"outputs": outputs}, separators=(",", ":")).encode()
    if not parts:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", JSON_SIZE: str(len(head))}
    return b"".join((head, *parts)), headers
