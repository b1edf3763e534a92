"""Talks with a server by Triton's own client, over HTTP and gRPC, and prints each difference from the expected answers.

This runs in an environment of its own, which has tritonclient: `python triton_client.py HTTP_ADDRESS GRPC_ADDRESS`. The
server has the models of `serving_models`, and the calls for the repository are on. The exit code is 1 if anything
differs.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

NUMBERS = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64")
TEXTS = ["", "a", "two words", "schön", "日本", "nul\0inside"]

Module = Any
Client = Any


def numbers(datatype: str) -> Any:
    """An array with the extremes of a type."""
    dtype = np.dtype(tritonclient.utils.triton_to_np_dtype(datatype))
    if dtype == np.bool_:
        return np.array([[True, False], [False, True]])
    bounds: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[bounds.min, bounds.max], [0, 1]], dtype)


def given(module: Module, name: str, datatype: str, array: Any, **how: bool) -> Any:
    """An input of the client."""
    tensor = module.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, **how)
    return tensor


def require(is_so: object, what: object) -> None:
    """Raise an error unless the condition holds."""
    if not is_so:
        raise AssertionError(what)


def require_equal(got: Any, wanted: Any) -> None:
    """Raise an error unless two arrays have the same elements, and the same type."""
    require(got.dtype == wanted.dtype and np.array_equal(got, wanted), f"{got!r} isn't {wanted!r}")


def refused(call: Callable[[], object], status: str, *words: str) -> None:
    """Require that the server refuses a call with this status, in these words."""
    try:
        call()
    except InferenceServerException as error:
        require(status in str(error.status()), f"{error.status()} isn't {status}: {error}")
        require(all(word in error.message() for word in words), f"{words} aren't in: {error.message()}")
        return
    raise AssertionError(f"the call isn't refused with {status}")


def every_type_of_numbers(module: Module, client: Client) -> None:
    """Binary tensors of numbers come back as they were sent."""
    for datatype in NUMBERS:
        array = numbers(datatype)
        result = client.infer(datatype.lower(), [given(module, "x", datatype, array)])
        require_equal(result.as_numpy("y"), array)


def bf16(module: Module, client: Client) -> None:
    """BF16, which numpy alone lacks; the client gives it back as f32."""
    array = np.array([[1.5, -2.0], [0.0, 3.0e38]], ml_dtypes.bfloat16)
    result = client.infer("bf16", [given(module, "x", "BF16", array)])
    require(np.array_equal(result.as_numpy("y").astype(np.float32), array.astype(np.float32)), result.as_numpy("y"))


def texts(module: Module, client: Client) -> None:
    """Strings come back as the client's bytes."""
    array = np.array([text.encode() for text in TEXTS], object)
    result = client.infer("text", [given(module, "x", "BYTES", array)])
    require(result.as_numpy("y").tolist() == array.tolist(), result.as_numpy("y"))


def several_inputs_and_outputs(module: Module, client: Client) -> None:
    """All outputs come by default, and otherwise those that are asked for."""
    a, b = np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float32)
    inputs = [given(module, "b", "FP32", b), given(module, "a", "FP32", a)]
    result = client.infer("two", inputs, request_id="the id", model_version="1")
    require_equal(result.as_numpy("sum"), a + b)
    require_equal(result.as_numpy("product"), a * b)
    only = client.infer("two", inputs, outputs=[module.InferRequestedOutput("product")])
    require_equal(only.as_numpy("product"), a * b)
    require(only.as_numpy("sum") is None, "an output came that wasn't asked for")
    response = result.get_response()
    request_id = response["id"] if isinstance(response, dict) else response.id
    require(request_id == "the id", request_id)


def parameters(module: Module, client: Client) -> None:
    """A timeout, a priority and unknown parameters are taken; sequences are refused."""
    inputs = [given(module, "x", "FP32", np.zeros(4, np.float32))]
    client.infer("net", inputs, timeout=5_000_000, priority=1, parameters={"mood": "good"})
    refused(lambda: client.infer("net", inputs, sequence_id=3), *unsupported(module), "sequence_id")


def metadata(module: Module, client: Client) -> None:
    """The server and the models describe themselves."""
    require(client.is_server_live() and client.is_server_ready(), "the server isn't ready")
    require(client.is_model_ready("net") and client.is_model_ready("net", "1"), "the model isn't ready")
    about: Any = client.get_server_metadata(**as_json(module))
    require(about["name"] == "wasi-nn" and "model_repository" in about["extensions"], about)
    about = client.get_model_metadata("two", **as_json(module))
    require(about["platform"] == "onnxruntime_onnx" and about["versions"] == ["1"], about)
    names = [[tensor["name"], tensor["datatype"], list(map(int, tensor["shape"]))] for tensor in about["inputs"]]
    require(names == [["a", "FP32", [-1]], ["b", "FP32", [-1]]], about)


def configuration(module: Module, client: Client) -> None:
    """A model says whether its requests are joined, and what its tensors are without the rows then."""

    def config(name: str) -> Any:
        found: Any = client.get_model_config(name, **as_json(module))
        return found if module is tritonclient.http else found["config"]

    joined, single = config("fp32"), config("two")
    require((joined["max_batch_size"], single.get("max_batch_size", 0)) == (4, 0), (joined, single))
    require("dynamic_batching" in joined and "dynamic_batching" not in single, (joined, single))
    tensors = [(tensor["name"], tensor["data_type"], list(map(int, tensor["dims"]))) for tensor in joined["input"]]
    require(tensors == [("x", "TYPE_FP32", [2])], tensors)
    tensors = [(tensor["name"], tensor["data_type"], list(map(int, tensor["dims"]))) for tensor in single["output"]]
    require(tensors == [("product", "TYPE_FP32", [-1]), ("sum", "TYPE_FP32", [-1])], tensors)
    refused(lambda: client.get_model_config("none"), *not_found(module), "'none'")


def statistics(module: Module, client: Client) -> None:
    """A model says how many requests and executions it had, and how long these took."""

    def counted(name: str = "") -> Any:
        return client.get_inference_statistics(name, **as_json(module))["model_stats"]

    (before,) = counted("fp32")
    array = np.zeros((3, 2), np.float32)
    for _ in range(2):
        client.infer("fp32", [given(module, "x", "FP32", array)])
    (after,) = counted("fp32")
    grown = [int(after[name]) - int(before.get(name, 0)) for name in ("inference_count", "execution_count")]
    require(grown == [6, 2], grown)
    require({int(batch["batch_size"]) for batch in after["batch_stats"]} >= {3}, after)
    success = after["inference_stats"]["success"]
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    times = [int(after["inference_stats"][part]["ns"]) for part in parts]
    require(0 < sum(times) <= int(success["ns"]) and all(times), (times, success))
    require({model["name"] for model in counted()} >= {"net", "two", "fp32"}, counted())
    refused(lambda: counted("none"), *not_found(module), "'none'")


def repository(module: Module, client: Client) -> None:
    """Models are listed, unloaded and loaded."""
    inputs = [given(module, "x", "FP32", np.array([-1, 2, -3, 4], np.float32))]
    client.unload_model("net")
    require(not client.is_model_ready("net"), "an unloaded model is ready")
    refused(lambda: client.infer("net", inputs), *unavailable(module), "unloaded")
    index: Any = client.get_model_repository_index(**as_json(module))
    models = index["models"] if isinstance(index, dict) else index
    states = {model["name"]: (model["state"], model.get("reason", "")) for model in models}
    require(states["net"] == ("UNAVAILABLE", "unloaded") and states["two"] == ("READY", ""), states)
    client.load_model("net")
    require_equal(client.infer("net", inputs).as_numpy("y"), np.array([0, 2, 0, 4], np.float32))
    refused(lambda: client.load_model("none"), *not_found(module), "'none'")


def errors(module: Module, client: Client) -> None:
    """Wrong requests are refused, each with one line that says what is wrong."""
    four, three = np.zeros(4, np.float32), np.zeros(3, np.float32)

    def infer(model: str, *inputs: Any, **more: Any) -> Callable[[], object]:
        return lambda: client.infer(model, list(inputs), **more)

    x = given(module, "x", "FP32", four)
    refused(infer("nets", x), *not_found(module), "no model is named 'nets'", "did you mean net")
    refused(infer("net", x, model_version="2"), *not_found(module), "no version '2'")
    refused(infer("net", given(module, "x", "FP32", three)), *invalid(module), "[4]", "[3]")
    refused(infer("net", given(module, "x", "INT32", four.astype(np.int32))), *invalid(module), "f32", "i32")
    refused(infer("net", given(module, "z", "FP32", four)), *invalid(module), "no input is named 'z'")
    refused(infer("two", given(module, "a", "FP32", three)), *invalid(module), "'b'")
    wanted = [module.InferRequestedOutput("z")]
    refused(infer("net", x, outputs=wanted), *invalid(module), "no output is named 'z'")
    refused(infer("failing", given(module, "x", "FP32", three)), *failed(module), "the runtime failed")


def status(http: str, grpc: str) -> Callable[[Module], tuple[str]]:
    """A function that gives the status of an error, which depends on the protocol."""
    return lambda module: (http if module is tritonclient.http else grpc,)


invalid, not_found = status("400", "INVALID_ARGUMENT"), status("404", "NOT_FOUND")
unsupported, unavailable = status("400", "UNIMPLEMENTED"), status("503", "UNAVAILABLE")
failed = status("500", "INTERNAL")


def as_json(module: Module) -> dict[str, bool]:
    """The argument by which the client of gRPC gives dictionaries, as that of HTTP does."""
    return {} if module is tritonclient.http else {"as_json": True}


def as_lists_in_json(client: Client) -> None:
    """Tensors in JSON, in both directions."""
    module = tritonclient.http
    outputs = [module.InferRequestedOutput("y", binary_data=False)]
    for datatype in NUMBERS:
        if datatype != "FP16":  # it has no form in JSON
            array = numbers(datatype)
            tensor = given(module, "x", datatype, array, binary_data=False)
            require_equal(client.infer(datatype.lower(), [tensor], outputs=outputs).as_numpy("y"), array)
    array = np.array([text.encode() for text in TEXTS], object)
    result = client.infer("text", [given(module, "x", "BYTES", array, binary_data=False)], outputs=outputs)
    require(result.as_numpy("y").tolist() == TEXTS, result.as_numpy("y"))


def compressed(client: Client) -> None:
    """Requests that are compressed."""
    module = tritonclient.http
    for way in ("gzip", "deflate"):
        tensor = given(module, "x", "FP32", np.array([-1, 2, -3, 4], np.float32))
        result = client.infer("net", [tensor], request_compression_algorithm=way, response_compression_algorithm=way)
        require_equal(result.as_numpy("y"), np.array([0, 2, 0, 4], np.float32))


def guests(module: Module, client: Client) -> None:
    """Guests are models as any other: a core module and a component, in fresh sandboxes and in ones used again."""
    picture = np.full((6, 5, 3), (200, 20, 20), np.uint8)
    for name in ("guest-fresh", "guest-reused", "guest-component"):
        metadata = client.get_model_metadata(name)
        inputs = metadata["inputs"] if module is tritonclient.http else metadata.inputs
        require(len(inputs) == 1, inputs)
        for _ in range(2):
            result = client.infer(name, [given(module, "picture", "UINT8", picture)])
            require(result.as_numpy("label").tolist() == [b"red"], result.as_numpy("label"))
            require(result.as_numpy("scores").argmax() == 2, result.as_numpy("scores"))
        wanted = [module.InferRequestedOutput("label")]
        result = client.infer(name, [given(module, "picture", "UINT8", picture)], outputs=wanted)
        require(result.as_numpy("scores") is None, "there is an output that isn't asked for")
        wrong = [given(module, "picture", "UINT8", picture[:0])]
        refused(partial(client.infer, name, wrong), bad_request(module), "must be UINT8")


def bad_request(module: Module) -> str:
    """The status of a request that is wrong."""
    return "400" if module is tritonclient.http else "INVALID_ARGUMENT"


FOR_BOTH = (
    every_type_of_numbers,
    bf16,
    texts,
    several_inputs_and_outputs,
    parameters,
    metadata,
    configuration,
    statistics,
    repository,
    errors,
    guests,
)
FOR_HTTP = (as_lists_in_json, compressed)


def main(http: str, grpc: str) -> int:
    """Make all checks; returns the exit code."""
    wrong = done = 0
    http_client = tritonclient.http.InferenceServerClient(http)
    grpc_client = tritonclient.grpc.InferenceServerClient(grpc)
    both = ((tritonclient.http, http_client), (tritonclient.grpc, grpc_client))
    checks: list[tuple[str, Callable[[], None]]] = [
        (f"{check.__name__}, {module.__name__}", partial(check, module, client))
        for module, client in both
        for check in FOR_BOTH
    ]
    checks += [(check.__name__, partial(check, http_client)) for check in FOR_HTTP]
    for name, call in checks:
        try:
            call()
            done += 1
        except Exception:
            wrong += 1
            print(f"{name}:\n{traceback.format_exc()}")
    print(f"{done} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
