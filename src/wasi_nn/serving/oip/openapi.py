"""The OpenAPI description of the server's paths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import wasi_nn
from wasi_nn.graph.datatypes import DATATYPES
from wasi_nn.serving.http.door import STATUS

_Json = dict[str, Any]


def _object(properties: _Json, required: Iterable[str] = ()) -> _Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: _Json) -> _Json:
    return {"type": "array", "items": items}


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: _Json = {"type": "string"}
_FLAG: _Json = {"type": "boolean"}
_NUMBER: _Json = {"type": "integer", "minimum": 0}
_DATATYPE: _Json = {"type": "string", "enum": [*DATATYPES]}
_SHAPE = _list(_NUMBER)
_DATA = _list({"type": ["number", "boolean", "string", "array"]})
_PARTS: _Json = {name: _ref("times") for name in ("compute_input", "compute_infer", "compute_output")}
_STATE: _Json = {"type": "string", "enum": ["READY", "LOADING", "UNAVAILABLE"]}

_SCHEMAS: _Json = {
    "error": _object({"error": _TEXT}, ["error"]),
    "live": _object({"live": _FLAG}, ["live"]),
    "ready": _object({"name": _TEXT, "ready": _FLAG}, ["ready"]),
    "server": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}, ["name", "version", "extensions"]),
    "tensor": _object(
        {"name": _TEXT, "datatype": _TEXT, "shape": _list({"type": "integer", "minimum": -1})},
        ["name", "datatype", "shape"],
    ),
    "model": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_ref("tensor")),
            "outputs": _list(_ref("tensor")),
        },
        ["name", "versions", "platform", "inputs", "outputs"],
    ),
    "config": _object(
        {
            "name": _TEXT,
            "platform": _TEXT,
            "backend": _TEXT,
            "max_batch_size": _NUMBER,
            "input": _list(_ref("configured")),
            "output": _list(_ref("configured")),
            "dynamic_batching": _object({"max_queue_delay_microseconds": _NUMBER}, ["max_queue_delay_microseconds"]),
        },
        ["name", "platform", "backend", "max_batch_size", "input", "output"],
    ),
    "configured": _object(
        {"name": _TEXT, "data_type": _TEXT, "dims": _list({"type": "integer", "minimum": -1}), "optional": _FLAG},
        ["name", "data_type", "dims"],
    ),
    "times": _object({"count": _NUMBER, "ns": _NUMBER}, ["count", "ns"]),
    "batch": _object({"batch_size": _NUMBER, **_PARTS}, ["batch_size", *_PARTS]),
    "counted": _object(
        {
            "name": _TEXT,
            "version": _TEXT,
            "last_inference": _NUMBER,
            "inference_count": _NUMBER,
            "execution_count": _NUMBER,
            "inference_stats": {"type": "object", "additionalProperties": _ref("times")},
            "batch_stats": _list(_ref("batch")),
        },
        ["name", "version", "last_inference", "inference_count", "execution_count", "inference_stats"],
    ),
    "statistics": _object({"model_stats": _list(_ref("counted"))}, ["model_stats"]),
    "input": _object(
        {
            "name": _TEXT | {"minLength": 1},
            "shape": _SHAPE,
            "datatype": _DATATYPE,
            "parameters": _object({"binary_data_size": _NUMBER}),
            "data": _DATA,
        },
        ["name", "shape", "datatype"],
    ),
    "wanted": _object({"name": _TEXT | {"minLength": 1}, "parameters": _object({"binary_data": _FLAG})}, ["name"]),
    "request": _object(
        {
            "id": _TEXT,
            "parameters": _object({"timeout": _NUMBER, "binary_data_output": _FLAG}),
            "inputs": _list(_ref("input")),
            "outputs": _list(_ref("wanted")),
        },
        ["inputs"],
    ),
    "output": _object(
        {
            "name": _TEXT,
            "shape": _SHAPE,
            "datatype": _DATATYPE,
            "parameters": _object({"binary_data_size": _NUMBER}),
            "data": _DATA,
        },
        ["name", "shape", "datatype"],
    ),
    "response": _object(
        {"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "outputs": _list(_ref("output"))},
        ["model_name", "model_version", "outputs"],
    ),
    "index": _list(
        _object({"name": _TEXT, "version": _TEXT, "state": _STATE, "reason": _TEXT}, ["name", "version", "state"])
    ),
    "wanted_index": _object({"ready": _FLAG}),
    "change": _object({"parameters": {"type": "object"}}),
    "done": {"type": "object"},
}

_ERRORS = {str(status) for status in STATUS.values() if status != 499}


def _call(
    name: str, summary: str, answer: str, *, parameters: Iterable[str] = (), body: str = "", is_probe: bool = False
) -> _Json:
    """One call: its answer, and its errors. A probe's answer may also come with 503."""
    content = {"application/json": {"schema": _ref(answer)}}
    errors = {status: {"$ref": "#/components/responses/error"} for status in sorted(_ERRORS)}
    responses: _Json = {"200": {"description": "OK", "content": content}} | errors
    call: _Json = {"operationId": name, "summary": summary, "responses": responses}
    if is_probe:
        either = {"application/json": {"schema": {"anyOf": [_ref(answer), _ref("error")]}}}
        call["responses"]["503"] = {"description": "It isn't ready.", "content": either}
    call["parameters"] = [
        {"name": each, "in": "path", "required": True, "schema": _TEXT | {"minLength": 1}} for each in parameters
    ]
    if body:
        schema = {"application/json": {"schema": _ref(body)}}
        call["requestBody"] = {"required": body == "request", "content": schema}
    return call


def description() -> _Json:
    """The description, as an object for JSON."""
    paths: _Json = {
        "/v2": {"get": _call("server_metadata", "The server's name, version and extensions", "server")},
        "/v2/health/live": {"get": _call("live", "Whether the server runs", "live")},
        "/v2/health/ready": {"get": _call("ready", "Whether all models are ready", "ready", is_probe=True)},
    }
    for path, suffix, names in (
        ("/v2/models/{name}", "", ["name"]),
        ("/v2/models/{name}/versions/{version}", "_version", ["name", "version"]),
    ):
        metadata = _call(f"model_metadata{suffix}", "A model's inputs and outputs", "model", parameters=names)
        ready = _call(f"model_ready{suffix}", "Whether a model is ready", "ready", parameters=names, is_probe=True)
        config = _call(f"model_config{suffix}", "A model's configuration", "config", parameters=names)
        counted = _call(f"statistics{suffix}", "What a model has done", "statistics", parameters=names)
        infer = _call(f"infer{suffix}", "An inference", "response", parameters=names, body="request")
        infer["description"] = (
            "Tensors may also be sent as binary data: their bytes follow the JSON, whose size the header "
            "Inference-Header-Content-Length gives."
        )
        binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        infer["responses"]["200"]["content"] |= binary
        paths |= {path: {"get": metadata}, f"{path}/ready": {"get": ready}, f"{path}/infer": {"post": infer}}
        paths |= {f"{path}/config": {"get": config}, f"{path}/stats": {"get": counted}}
    paths["/v2/models/stats"] = {"get": _call("all_statistics", "What all models have done", "statistics")}
    repository = "/v2/repository"
    paths[f"{repository}/index"] = {"post": _call("index", "The models and their states", "index", body="wanted_index")}
    for word in ("load", "unload"):
        change = _call(word, f"{word.capitalize()} a model", "done", parameters=["name"], body="change")
        paths[f"{repository}/models/{{name}}/{word}"] = {"post": change}
    metrics = _call("metrics", "Metrics for Prometheus", "done")
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": _TEXT}}
    paths["/metrics"] = {"get": metrics}
    error = {"description": "An error", "content": {"application/json": {"schema": _ref("error")}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "wasi-nn: Open Inference Protocol", "version": wasi_nn.__version__},
        "paths": paths,
        "components": {
            "schemas": _SCHEMAS,
            "responses": {"error": error},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }
