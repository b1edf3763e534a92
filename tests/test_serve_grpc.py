"""The Open Inference Protocol over gRPC: its errors, its two forms of tensors, deadlines, and any messages at all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx_models
import pytest
import serving
from conftest import REPOSITORY
from hypothesis import HealthCheck, given, settings, strategies
from serving import HungGraph, RunningServer

from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.oip.proto.open_inference_pb2_grpc import GRPCInferenceServiceStub
from wasi_nn.serving.oip.grpc_messages import MessageReader
from wasi_nn.serving.settings import ServingLimits

Code = grpc.StatusCode
PROTO = Path("wasi_nn/oip/proto")
SERVICE = "/inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    limits = ServingLimits(body_bytes=100_000, tensors=8, request_time=20)
    with RunningServer(serving.models(), grpc_port=0, http_port=None, has_admin=True, limits=limits) as running:
        yield running


@pytest.fixture(scope="module")
def channel(server: RunningServer) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc_address) as made:
        yield made


@pytest.fixture(scope="module")
def stub(channel: Any) -> Any:
    return GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]


def request(model: str = "net", **inputs: Any) -> Any:
    """A request with raw inputs, each a datatype, a shape and bytes."""
    made = messages.ModelInferRequest(model_name=model)
    for name, (datatype, shape, content) in inputs.items():
        made.inputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_input_contents.append(content)
    return made


def refusal(call: Callable[[], object]) -> tuple[Any, str]:
    """The code and the text of the error of a call."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    error: Any = raised.value
    assert "\n" not in error.details()
    return error.code(), error.details()


X = ("FP32", [4], np.array([-1, 2, -3, 4], np.float32).tobytes())


def test_raw_contents_come_back_raw(stub: Any) -> None:
    answer = stub.ModelInfer(request(x=X))
    assert (answer.model_name, answer.model_version) == ("net", "1")
    assert [(output.name, output.datatype, list(output.shape)) for output in answer.outputs] == [("y", "FP32", [4])]
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [0, 2, 0, 4]


@pytest.mark.parametrize(
    ("datatype", "field", "items"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-(2**15), 2**15 - 1]),
        ("INT32", "int_contents", [-(2**31), 2**31 - 1]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 65535]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, -2.0]),
        ("FP64", "fp64_contents", [0.1, 1e308]),
    ],
)
def test_elements_in_fields_come_back_in_fields(stub: Any, datatype: str, field: str, items: list[Any]) -> None:
    made = messages.ModelInferRequest(model_name=datatype.lower())
    tensor = made.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    getattr(tensor.contents, field).extend(items)
    (output,) = stub.ModelInfer(made).outputs
    assert list(getattr(output.contents, field)) == items


def test_strings_in_fields(stub: Any) -> None:
    made = messages.ModelInferRequest(model_name="text")
    made.inputs.add(name="x", datatype="BYTES", shape=[2]).contents.bytes_contents.extend([b"", "schön".encode()])
    (output,) = stub.ModelInfer(made).outputs
    assert list(output.contents.bytes_contents) == [b"", "schön".encode()]


def contents(datatype: str = "FP32", **fields: Any) -> Any:
    made = messages.ModelInferRequest(model_name="net")
    tensor = made.inputs.add(name="x", datatype=datatype, shape=[4])
    for field, items in fields.items():
        getattr(tensor.contents, field).extend(items)
    return made


def changed(made: Any, change: Callable[[Any], object]) -> Any:
    change(made)
    return made


def param(message: Any, name: str) -> Any:
    """A parameter of a message, to be set."""
    return message.parameters[name]


WRONG: dict[str, tuple[Any, Any, str]] = {
    "no model": (request(""), Code.NOT_FOUND, "no model is named ''"),
    "another model": (request("nets"), Code.NOT_FOUND, "no model is named 'nets'; did you mean net?"),
    "no inputs": (request(), Code.INVALID_ARGUMENT, "no value is given for the input 'x'"),
    "no datatype": (request(x=("", [4], X[2])), Code.INVALID_ARGUMENT, "no datatype is named ''"),
    "too few bytes": (request(x=("FP32", [4], b"1")), Code.INVALID_ARGUMENT, "FP32[4] has 16 bytes, got 1"),
    "a negative dim": (request(x=("FP32", [-4], b"")), Code.INVALID_ARGUMENT, "whole number from 0 on, not -4"),
    "a huge shape": (request(x=("FP32", [2**62] * 3, b"")), Code.INVALID_ARGUMENT, "is too large"),
    "many tensors": (request("net", **{str(n): X for n in range(9)}), Code.INVALID_ARGUMENT, "at most 8 tensors"),
    "raw contents of no input": (
        changed(request(x=X), lambda made: made.raw_input_contents.append(b"")),
        Code.INVALID_ARGUMENT,
        "2 raw_input_contents for 1 inputs",
    ),
    "both forms": (
        changed(request(x=X), lambda made: made.inputs[0].contents.fp32_contents.append(1)),
        Code.INVALID_ARGUMENT,
        "input 'x' has contents beside raw_input_contents",
    ),
    "another field": (contents(int_contents=[1] * 4), Code.INVALID_ARGUMENT, "is in fp32_contents, got int_contents"),
    "too few elements": (contents(fp32_contents=[1]), Code.INVALID_ARGUMENT, "FP32[4] has 4 elements, got 1"),
    "a number too large": (contents("INT8", int_contents=[1, 2, 3, 300]), Code.INVALID_ARGUMENT, "can't hold 300"),
    "FP16 in a field": (contents("FP16", fp32_contents=[1] * 4), Code.INVALID_ARGUMENT, "send it in raw_input_con"),
    "an unknown output": (
        changed(request(x=X), lambda made: made.outputs.add(name="z")),
        Code.INVALID_ARGUMENT,
        "no output is named 'z'",
    ),
    "an output twice": (
        changed(request(x=X), lambda made: [made.outputs.add(name="y") for _ in range(2)]),
        Code.INVALID_ARGUMENT,
        "output 'y' is asked for twice",
    ),
    "shared memory": (
        changed(request(x=X), lambda made: setattr(param(made.inputs[0], "shared_memory_region"), "string_param", "a")),
        Code.UNIMPLEMENTED,
        "this server has no shared memory",
    ),
    "a timeout that is a text": (
        changed(request(x=X), lambda made: setattr(param(made, "timeout"), "string_param", "1")),
        Code.INVALID_ARGUMENT,
        "parameter 'timeout' is a whole number of microseconds",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_gets_a_line_that_says_what_is_wrong(stub: Any, wrong: str) -> None:
    made, code, words = WRONG[wrong]
    got, text = refusal(lambda: stub.ModelInfer(made))
    assert (got, words in text) == (code, True), text


def test_what_isnt_a_message(channel: Any) -> None:
    code, text = refusal(lambda: channel.unary_unary(f"{SERVICE}/ModelInfer")(b"\xff"))
    assert (code, text) == (Code.INVALID_ARGUMENT, "the message isn't an inference.ModelInferRequest")


def test_a_long_error_fits_into_the_answer(stub: Any) -> None:
    code, text = refusal(lambda: stub.ModelInfer(request(x=("é" * 5000, [4], b""))))
    assert code is Code.INVALID_ARGUMENT
    assert len(text) < 700
    tensors = {f"input {'é' * 200} {n}": X for n in range(4)}
    assert refusal(lambda: stub.ModelInfer(request("net", **tensors)))[0] is Code.INVALID_ARGUMENT


def test_a_message_that_is_too_large(stub: Any) -> None:
    assert refusal(lambda: stub.ModelInfer(request(x=("FP32", [4], bytes(100_001)))))[0] is Code.RESOURCE_EXHAUSTED


def test_the_clients_deadline_ends_the_compute(stub: Any) -> None:
    long = request("loop", x=("INT64", [1], np.array([10**9]).tobytes()))
    assert refusal(lambda: stub.ModelInfer(long, timeout=0.3))[0] is Code.DEADLINE_EXCEEDED
    param(long, "timeout").int64_param = 200_000  # microseconds
    code, text = refusal(lambda: stub.ModelInfer(long))
    assert (code, text) == (Code.DEADLINE_EXCEEDED, "the compute didn't end within the request's time")


def test_a_client_that_cancels_ends_its_compute() -> None:
    graphs = {"loop": onnx_models.loop(), "net": onnx_models.relu()}
    limits = ServingLimits(computes=1, request_time=3600)
    with RunningServer(graphs, grpc_port=0, http_port=0, limits=limits) as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            under_way = stub.ModelInfer.future(request("loop", x=("INT64", [1], np.array([10**9]).tobytes())))
            while b"\nwasi_nn_running_computes 1.0\n" not in server.ask("GET", "/metrics")[1]:
                pass
            under_way.cancel()
            stub.ModelInfer(request(x=X))


def test_a_full_queue() -> None:
    hung = HungGraph()
    limits = ServingLimits(computes=1, queue=1)
    with RunningServer({"hung": hung}, grpc_port=0, http_port=0, limits=limits) as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            one = request("hung", x=("FP32", [1], bytes(4)))
            under_way = [stub.ModelInfer.future(one) for _ in range(2)]
            while b"\nwasi_nn_queue_requests 1.0\n" not in server.ask("GET", "/metrics")[1]:
                pass
            with pytest.raises(grpc.RpcError) as raised:
                stub.ModelInfer(one)
            error: Any = raised.value
            assert error.code() is Code.RESOURCE_EXHAUSTED
            assert dict(error.trailing_metadata())["retry-after"] == "1"
            body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
            status, answer, headers = server.ask("POST", "/v2/models/hung/infer", body)
            assert (status, headers["retry-after"]) == (429, "1")
            assert answer["error"] == "1 requests wait already for this model (ServingLimits.queue, --max-queue)"
            hung.may_end.set()
            assert all(each.result().outputs for each in under_way)


def test_tokens(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("0123456789abcdef")
    graphs = {"net": onnx_models.relu()}
    with RunningServer(graphs, grpc_port=0, http_port=None, token_file=tmp_path / "tokens") as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            assert stub.ServerLive(messages.ServerLiveRequest()).live
            assert refusal(lambda: stub.ModelInfer(request(x=X)))[0] is Code.UNAUTHENTICATED
            stub.ModelInfer(request(x=X), metadata=[("authorization", "Bearer 0123456789abcdef")])
            index = messages.RepositoryIndexRequest()
            with_token = [("authorization", "Bearer 0123456789abcdef")]
            code, _ = refusal(lambda: stub.RepositoryIndex(index, metadata=with_token))
            assert code is Code.PERMISSION_DENIED


def never_sent(may_end: threading.Event, *parts: bytes) -> Iterator[bytes]:
    """The messages of a call that is kept open until `may_end` is set."""
    yield from parts
    may_end.wait()


def test_a_message_that_doesnt_come_holds_its_place_no_longer_than_its_time() -> None:
    limits = ServingLimits(body_time=1, body_bytes=2**20, total_bytes=2**20)  # one message is received at a time
    graphs, may_end = {"net": onnx_models.relu()}, threading.Event()
    with RunningServer(graphs, grpc_port=0, http_port=None, limits=limits) as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            slow = channel.stream_unary(f"{SERVICE}/ModelInfer").future(never_sent(may_end))
            assert stub.ServerLive(messages.ServerLiveRequest()).live  # a probe waits for no message
            stub.ModelInfer(request(x=X))
            code, text = refusal(slow.result)
            assert code is Code.DEADLINE_EXCEEDED
            assert text == "the message didn't arrive within 1 s (ServingLimits.body_time, --max-body-time)"
            may_end.set()


def test_a_call_without_a_message_and_one_with_several() -> None:
    may_end = threading.Event()
    with RunningServer({"net": onnx_models.relu()}, grpc_port=0, http_port=None) as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            infer = channel.stream_unary(f"{SERVICE}/ModelInfer")
            assert refusal(lambda: infer(iter([]))) == (Code.INVALID_ARGUMENT, "the call has no message")
            content = request(x=X).SerializeToString()
            answer = messages.ModelInferResponse.FromString(infer(never_sent(may_end, content, b"more")))
            assert answer.outputs[0].name == "y"
            may_end.set()


def test_a_call_without_a_token_is_refused_before_its_message(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("0123456789abcdef")
    may_end = threading.Event()
    tokens = tmp_path / "tokens"
    with RunningServer({"net": onnx_models.relu()}, grpc_port=0, http_port=None, token_file=tokens) as server:
        with grpc.insecure_channel(server.grpc_address) as channel:
            infer = channel.stream_unary(f"{SERVICE}/ModelInfer")
            assert refusal(lambda: infer(never_sent(may_end)))[0] is Code.UNAUTHENTICATED
            may_end.set()


def test_a_load_cant_change_the_configuration(stub: Any) -> None:
    load = messages.RepositoryModelLoadRequest(model_name="net")
    load.parameters["config"].string_param = "{}"
    assert refusal(lambda: stub.RepositoryModelLoad(load))[0] is Code.PERMISSION_DENIED


CALLS = [method.name for method in messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]
SERVER_FAULTS = (Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS)


def code_of(channel: Any, method: str, content: bytes) -> Any:
    """The code of a call with these bytes as its message."""
    call = channel.unary_unary(f"{SERVICE}/{method}")
    try:
        call(content, timeout=10)
    except grpc.RpcError as error:
        return error.code()
    return Code.OK


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=strategies.sampled_from(CALLS), content=strategies.binary(max_size=200))
def test_bytes_that_are_no_messages(channel: Any, method: str, content: bytes) -> None:
    assert code_of(channel, method, content) not in SERVER_FAULTS


SHAPES = strategies.lists(strategies.integers(-1, 5) | strategies.integers(-(2**63), 2**63 - 1), max_size=4)
DATATYPES = strategies.sampled_from([*serving.TYPES, "bytes"]).map(str.upper) | strategies.text(max_size=5)
NAMES = strategies.sampled_from(["x", "y", "a", "b", "0"]) | strategies.text(max_size=5)


@strategies.composite
def inferences(draw: Any) -> Any:
    """Requests that are often nearly right."""
    model = draw(strategies.sampled_from([*set(serving.models()) - {"loop", "failing"}, "none"]))
    made = messages.ModelInferRequest(model_name=model, id=draw(strategies.text(max_size=5)))
    made.model_version = draw(strategies.sampled_from(["", "1", "2"]))
    for _ in range(draw(strategies.integers(0, 3))):
        tensor = made.inputs.add(name=draw(NAMES), datatype=draw(DATATYPES), shape=draw(SHAPES))
        if draw(strategies.booleans()):
            made.raw_input_contents.append(draw(strategies.binary(max_size=64)))
        if draw(strategies.booleans()):
            tensor.contents.fp32_contents.extend(draw(strategies.lists(strategies.floats(width=32), max_size=8)))
        if draw(strategies.booleans()):
            tensor.contents.int_contents.extend(draw(strategies.lists(strategies.integers(-(2**31), 2**31 - 1))))
        if draw(strategies.booleans()):
            tensor.contents.bytes_contents.extend(draw(strategies.lists(strategies.binary(max_size=9), max_size=4)))
    for _ in range(draw(strategies.integers(0, 2))):
        made.outputs.add(name=draw(NAMES))
    for key in draw(strategies.lists(strategies.sampled_from(["timeout", "priority", "sequence_id"]), max_size=2)):
        made.parameters[key].int64_param = draw(strategies.integers(-5, 10**7))
    return made


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=inferences())
def test_any_inference_is_answered_or_is_the_clients_fault(channel: Any, made: Any) -> None:
    assert code_of(channel, "ModelInfer", made.SerializeToString()) not in SERVER_FAULTS


def test_the_generated_modules_are_those_of_the_proto_file(tmp_path: Path) -> None:
    source = REPOSITORY / "src" / PROTO
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    program = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, str(PROTO / "open_inference.proto")]
    subprocess.run(program, cwd=REPOSITORY / "src", check=True)
    made = sorted(path.name for path in (tmp_path / PROTO).iterdir())
    assert made == ["open_inference_pb2.py", "open_inference_pb2.pyi", "open_inference_pb2_grpc.py"]
    for name in made:
        assert (tmp_path / PROTO / name).read_bytes() == (source / name).read_bytes()


def test_many_clients_at_once(stub: Any) -> None:
    failures = []

    def client(number: int) -> None:
        array = np.full(4, number, np.float32)
        for _ in range(20):
            answer = stub.ModelInfer(request(x=("FP32", [4], array.tobytes())))
            if answer.raw_output_contents[0] != array.tobytes():
                failures.append(number)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class _Silent:
    """A call whose message comes when it is told so."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.may_come = asyncio.Event()

    def peer(self) -> str:
        return self._peer

    async def read(self) -> bytes:
        await self.may_come.wait()
        return b"it"


def test_calls_of_one_machine_whose_messages_do_not_come_hold_up_no_other_machine() -> None:
    async def main() -> None:
        reader = MessageReader(ServingLimits(total_bytes=4 * 2**20, body_bytes=2**20))
        calls = [_Silent(f"ipv4:192.0.2.1:{port}") for port in range(6)]
        silent = [asyncio.create_task(reader.read(call)) for call in calls]
        await asyncio.sleep(0)
        other = _Silent("ipv6:%5B2001:db8::1%5D:5000")
        other.may_come.set()
        assert await asyncio.wait_for(reader.read(other), 30) == b"it"
        for task in silent[:4]:  # two that have a turn, and two that wait for one
            task.cancel()
        for call in calls:
            call.may_come.set()
        results = await asyncio.gather(*silent, return_exceptions=True)
        assert results[4:] == [b"it", b"it"]
        assert await asyncio.gather(*(reader.read(call) for call in calls)) == [b"it"] * 6

    asyncio.run(main())
