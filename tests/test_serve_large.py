"""Large requests and answers in JSON or in fields: read and written beside the event loop, as small ones are."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import onnx_models
import pytest
import serving
from hypothesis import given, settings, strategies
from serving import RunningServer

from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.oip.proto.open_inference_pb2_grpc import GRPCInferenceServiceStub
from wasi_nn.serving.computing.long_calls import LARGE_ARRAY, LARGE_JSON, PIECE, LongCalls, read_json_text
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.oip import grpc_service, rest
from wasi_nn.serving.settings import ServingLimits

MANY = 3 * PIECE + 7


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    names = ("fp32", "fp64", "int64", "uint64", "bool")
    models = {name: serving.models()[name] for name in names} | {"text": onnx_models.strings()}
    with RunningServer(models, grpc_port=0, limits=ServingLimits(request_time=60)) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: RunningServer) -> Iterator[Any]:
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options=options) as channel:
        yield GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that read requests and write answers."""
    names: list[str] = []

    def watched(function: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            names.append(threading.current_thread().name)
            return function(*arguments, **more)

        return call

    for module in (rest, grpc_service):
        for name in ("read_request", "write_response"):
            monkeypatch.setattr(module, name, watched(getattr(module, name)))
    return names


def items(model: str) -> list[Any]:
    if model == "text":
        return [f"schön {place}" for place in range(MANY)]
    if model == "bool":
        return [place % 3 == 0 for place in range(MANY)]
    if model.startswith("fp"):
        return [place / 7 if model == "fp64" else place / 8 for place in range(MANY)]
    return [*range(MANY - 1), 2**64 - 1 if model == "uint64" else -(2**63)]


@pytest.mark.parametrize("model", ["fp32", "fp64", "int64", "uint64", "bool", "text"])
def test_large_tensors_in_json_come_back(server: RunningServer, threads: list[str], model: str) -> None:
    data = items(model)
    shape = [MANY] if model == "text" else [MANY // 2, 2]
    data = data[: MANY if model == "text" else MANY // 2 * 2]
    datatype = "BYTES" if model == "text" else model.upper()
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    status, answer, _ = server.ask("POST", f"/v2/models/{model}/infer", {"inputs": [tensor]})
    assert (status, answer["outputs"][0]["data"] == data) == (200, True)
    if model != "text":
        pairs = [data[place : place + 2] for place in range(0, len(data), 2)]
        nested = {"inputs": [tensor | {"data": pairs}]}
        assert server.ask("POST", f"/v2/models/{model}/infer", nested)[1]["outputs"][0]["data"] == data
    assert "server of a test" not in threads


def test_small_requests_have_no_way_to_a_thread(server: RunningServer, threads: list[str]) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    assert server.ask("POST", "/v2/models/fp32/infer", {"inputs": [tensor]})[0] == 200
    assert threads == ["server of a test"] * 2


def test_large_binary_tensors_of_numbers_have_none_either(server: RunningServer, threads: list[str]) -> None:
    array = np.zeros((LARGE_JSON, 2), np.float32)
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [*array.shape],
        "parameters": {"binary_data_size": array.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    assert server.ask("POST", "/v2/models/fp32/infer", head + array.tobytes(), headers)[0] == 200
    assert threads == ["server of a test"] * 2


def test_many_strings_as_binary_data(server: RunningServer, threads: list[str]) -> None:
    content = b"\x01\x00\x00\x00a" * MANY
    tensor = {"name": "x", "datatype": "BYTES", "shape": [MANY], "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    status, answer, _ = server.ask("POST", "/v2/models/text/infer", head + content, headers)
    assert (status, answer.endswith(content)) == (200, True)
    assert "server of a test" not in threads


@pytest.mark.parametrize(
    ("model", "datatype", "field"),
    [
        ("fp32", "FP32", "fp32_contents"),
        ("uint64", "UINT64", "uint64_contents"),
        ("bool", "BOOL", "bool_contents"),
        ("text", "BYTES", "bytes_contents"),
    ],
)
def test_large_tensors_in_fields_come_back(
    server: RunningServer, stub: Any, threads: list[str], model: str, datatype: str, field: str
) -> None:
    data = [text.encode() for text in items(model)] if model == "text" else items(model)[: MANY // 2 * 2]
    made = messages.ModelInferRequest(model_name=model)
    shape = [len(data)] if model == "text" else [len(data) // 2, 2]
    tensor = made.inputs.add(name="x", datatype=datatype, shape=shape)
    getattr(tensor.contents, field).extend(data)
    (output,) = stub.ModelInfer(made).outputs
    assert list(getattr(output.contents, field)) == data
    assert "server of a test" not in threads


def test_what_is_wrong_in_the_last_piece_is_found(server: RunningServer) -> None:
    for datatype, wrong, message in (
        ("FP32", "a", "each element of FP32 is a number, not 'a'"),
        ("FP32", 1e300, "FP32 can't hold 1e+300"),
        ("FP32", 10**400, "FP32 can't hold one of the numbers"),
        ("INT64", 2**63, "INT64 can't hold 9223372036854775808"),
        ("INT64", 1.5, "each element of INT64 is a whole number, not 1.5"),
        ("INT64", True, "each element of INT64 is a whole number, not True"),
    ):
        data = [*range(2 * MANY - 1), wrong]
        tensor = {"name": "x", "datatype": datatype, "shape": [MANY, 2], "data": data}
        status, answer, _ = server.ask("POST", f"/v2/models/{datatype.lower()}/infer", {"inputs": [tensor]})
        assert (status, answer["error"]) == (400, f"input 'x': {message}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[" * 2 * LARGE_JSON, "the JSON is nested too deeply"),
        (b'{"inputs": [' + b"1, " * LARGE_JSON + b"NaN]}", "NaN is no number in JSON"),
        (b'{"inputs": [' + b"1" * LARGE_JSON + b"]}", "the request isn't JSON: Exceeds the limit"),
        (b'{"inputs": "' + b"\xff" * LARGE_JSON + b'"}', "the request isn't JSON: 'utf-8' codec"),
        (b'{"inputs": [' + b"{}, " * LARGE_JSON + b"{}]}", "at most 256 tensors are allowed"),
    ],
)
def test_large_json_that_is_wrong(server: RunningServer, body: bytes, message: str) -> None:
    status, answer, _ = server.ask("POST", "/v2/models/fp32/infer", body)
    assert status in (400, 413)
    assert message in answer["error"]
    assert server.ask("GET", "/v2/health/live")[0] == 200


VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text(),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
)


@settings(max_examples=100, deadline=None)
@given(value=VALUES, cut=strategies.integers(0, 3))
def test_json_is_the_same_in_pieces(value: Any, cut: int) -> None:
    text = json.dumps(value)
    text = text[: len(text) - cut]

    def outcome(**how: bool) -> Any:
        try:
            return read_json_text(text, **how)
        except ValueError as error:
            return str(error)

    assert repr(outcome()) == repr(outcome(in_pieces=True))


def test_long_calls_are_made_one_at_a_time_and_end_in_time() -> None:
    order: list[Any] = []
    interval, first_may_end = sys.getswitchinterval(), threading.Event()

    def first() -> None:
        order.append(gc.isenabled())
        first_may_end.wait()
        order.append("first")

    async def main() -> None:
        calls, soon = LongCalls(), asyncio.get_running_loop().time() + 0.02
        task = asyncio.create_task(calls.make(first, soon + 60))
        while not order:
            await asyncio.sleep(0)
        second = asyncio.create_task(calls.make(lambda: order.append("second"), soon + 60))
        with pytest.raises(ServingError) as raised:
            await calls.make(lambda: order.append("late"), soon)
        assert raised.value.reason is Reason.LATE
        task.cancel()  # it keeps its turn
        await asyncio.sleep(0.02)
        assert order == [False]
        first_may_end.set()
        await second
        with pytest.raises(KeyError):
            await calls.make(lambda: dict[str, int]()["no such key"], soon + 60)

    asyncio.run(main())
    assert order == [False, "first", "second"]
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval


def test_the_answer_alone_may_be_large() -> None:
    with RunningServer({"wide": onnx_models.constant_of_shape(LARGE_ARRAY + 1)}) as server:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [0.5]}
        answer = server.ask("POST", "/v2/models/wide/infer", {"inputs": [tensor]})[1]
    assert answer["outputs"][0]["data"] == [0.5] * (LARGE_ARRAY + 1)
