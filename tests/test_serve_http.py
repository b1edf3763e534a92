"""The Open Inference Protocol over HTTP: wrong, huge, slow and broken requests, and the answers to them."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import serving
from serving import RunningServer

import wasi_nn
from wasi_nn.serving.computing.executions import Execution
from wasi_nn.serving.observing.statistics import ModelStatistics
from wasi_nn.serving.settings import ServingLimits

SMALL = ServingLimits(body_bytes=100_000, json_bytes=20_000, header_bytes=4096, tensors=8, body_time=1, header_time=1)
INFER = "/v2/models/net/infer"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(serving.models(), limits=SMALL) as running:
        yield running


def tensor(**changes: Any) -> dict[str, Any]:
    """An input of `net`."""
    return {"name": "x", "datatype": "FP32", "shape": [4], "data": [-1, 2, -3, 4.5]} | changes


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in tensor().items() if name != key}


def test_an_inference_in_json(server: RunningServer) -> None:
    request = {"id": "17", "inputs": [tensor()], "outputs": [{"name": "y"}], "parameters": {"unknown": 1}}
    status, answer, headers = server.ask("POST", INFER, request)
    assert status == 200, answer
    output = {"name": "y", "datatype": "FP32", "shape": [4], "data": [0.0, 2.0, 0.0, 4.5]}
    assert answer == {"model_name": "net", "model_version": "1", "id": "17", "outputs": [output]}
    assert len(headers["x-request-id"]) == 16


def test_nested_lists(server: RunningServer) -> None:
    nested = {"name": "x", "datatype": "INT64", "shape": [2, 2], "data": [[1, 2], [3, -(2**63)]]}
    _, answer, _ = server.ask("POST", "/v2/models/int64/versions/1/infer", {"inputs": [nested]})
    assert answer["outputs"][0]["data"] == [1, 2, 3, -(2**63)]


def test_numbers_keep_all_digits(server: RunningServer) -> None:
    for name, data in (("uint64", [2**64 - 1, 2**63 + 1]), ("fp64", [0.1, 1e308])):
        request = {"inputs": [{"name": "x", "datatype": name.upper(), "shape": [1, 2], "data": data}]}
        _, answer, _ = server.ask("POST", f"/v2/models/{name}/infer", request)
        assert answer["outputs"][0]["data"] == data


def binary(array: Any, datatype: str, **parameters: Any) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request with one binary input."""
    about = {"name": "x", "datatype": datatype, "shape": list(array.shape)}
    content: dict[str, Any] = {"inputs": [about | {"parameters": {"binary_data_size": array.nbytes} | parameters}]}
    head = json.dumps(content).encode()
    return head + array.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def test_a_binary_input_and_an_output_in_json(server: RunningServer) -> None:
    for padding in range(4):  # the floats are at any place of the body
        body, headers = binary(serving_floats(), "FP32", pad="x" * padding)
        status, answer, _ = server.ask("POST", INFER, body, headers)
        assert (status, answer["outputs"][0]["data"]) == (200, [0.0, 2.0, 0.0, 4.0]), answer


def serving_floats() -> Any:
    return np.array([-1, 2, -3, 4], np.float32)


WRONG: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "the request isn't JSON"),
    "no text": (b"\xff\xfe", "the request isn't JSON"),
    "nothing": (b"", "the request isn't JSON"),
    "a list": ([], "the request is an object of JSON, not []"),
    "no inputs": ({}, "the request has 'inputs', which is a list, not None"),
    "an input that is a number": ({"inputs": [1]}, "an input is an object of JSON, not 1"),
    "no name": ({"inputs": [without("name")]}, "an input has a 'name'"),
    "an unknown name": ({"inputs": [tensor(name="z")]}, "no input is named 'z'; the graph's inputs: 'x'"),
    "a name twice": ({"inputs": [tensor(), tensor()]}, "input 'x' is given twice"),
    "no shape": ({"inputs": [without("shape")]}, "input 'x' has 'shape', which is a list, not None"),
    "a negative dim": ({"inputs": [tensor(shape=[-4])]}, "each dim of the shape is a whole number from 0 on, not -4"),
    "a dim that is true": ({"inputs": [tensor(shape=[True])]}, "whole number from 0 on, not True"),
    "a huge shape": ({"inputs": [tensor(shape=[2**62, 2**62])]}, "is too large"),
    "many dims": ({"inputs": [tensor(shape=[1] * 65)]}, "a shape of 65 dims; at most 64"),
    "another shape": ({"inputs": [tensor(shape=[2, 2])]}, "input 'x' has dims [4], got [2, 2]"),
    "too few elements": ({"inputs": [tensor(data=[1])]}, "FP32[4] has 4 elements, got 1"),
    "no datatype": ({"inputs": [without("datatype")]}, "no datatype is named None; there are BOOL, UINT8"),
    "an unknown datatype": ({"inputs": [tensor(datatype="FP8")]}, "no datatype is named 'FP8'"),
    "another datatype": ({"inputs": [tensor(datatype="INT32", data=[1, 2, 3, 4])]}, "input 'x' is f32, got i32"),
    "strings": ({"inputs": [tensor(datatype="BYTES", data=list("abcd"))]}, "input 'x' is f32, got strings"),
    "FP16 in JSON": ({"inputs": [tensor(datatype="FP16")]}, "FP16 has no form in JSON: send it as binary data"),
    "no data": ({"inputs": [without("data")]}, "input 'x' has neither 'data' nor"),
    "data that is a text": ({"inputs": [tensor(data="1234")]}, "'data' is a list, not '1234'"),
    "texts as numbers": ({"inputs": [tensor(data=["1", 2, 3, 4])]}, "each element of FP32 is a number, not '1'"),
    "true as a number": ({"inputs": [tensor(data=[True, 2, 3, 4])]}, "each element of FP32 is a number, not True"),
    "lists of several depths": ({"inputs": [tensor(data=[[1, 2], 3, 4])]}, "'data' has elements beside lists"),
    "lists in elements": ({"inputs": [tensor(data=[1, 2, 3, [4]])]}, "each element of FP32 is a number, not [4]"),
    "a number too large": ({"inputs": [tensor(data=[1, 2, 3, 1e39])]}, "FP32 can't hold 1e+39"),
    "a huge number": (b'{"inputs": [' + b"9" * 5000 + b"]}", "the request isn't JSON: Exceeds the limit"),
    "NaN": (b'{"inputs": [NaN]}', "the request isn't JSON: NaN is no number in JSON"),
    "deep": (b"[" * 15_000, "the JSON is nested too deeply"),
    "outputs that are a text": ({"inputs": [tensor()], "outputs": "y"}, "'outputs', which is a list, not 'y'"),
    "an unknown output": ({"inputs": [tensor()], "outputs": [{"name": "z"}]}, "no output is named 'z'"),
    "an output twice": ({"inputs": [tensor()], "outputs": [{"name": "y"}] * 2}, "output 'y' is asked for twice"),
    "parameters that are a list": ({"inputs": [tensor()], "parameters": []}, "'parameters' is an object of JSON"),
    "many parameters": ({"inputs": [], "parameters": {str(n): n for n in range(65)}}, "65 parameters; at most 64"),
    "a timeout that is a text": ({"inputs": [tensor()], "parameters": {"timeout": "1"}}, "'timeout' is a whole number"),
    "a sequence": (
        {"inputs": [tensor()], "parameters": {"sequence_id": 1}},
        "this server has no sequences of requests",
    ),
    "shared memory": ({"inputs": [tensor(parameters={"shared_memory_region": "a"})]}, "has no shared memory"),
    "classes": ({"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 2}}]}, "no classifications"),
    "an id that is a number": ({"inputs": [tensor()], "id": 1}, "'id' is a text"),
    "binary data that isn't there": (
        {"inputs": [without("data") | {"parameters": {"binary_data_size": 16}}]},
        "input 'x' is said to have 16 bytes of binary data, of 0 that are left",
    ),
    "a negative size": (
        {"inputs": [without("data") | {"parameters": {"binary_data_size": -1}}]},
        "'binary_data_size' is a number of bytes, not -1",
    ),
    "both kinds of data": (
        {"inputs": [tensor(parameters={"binary_data_size": 0})]},
        "input 'x' has both 'data' and the parameter 'binary_data_size'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_gets_a_line_that_says_what_is_wrong(server: RunningServer, wrong: str) -> None:
    body, words = WRONG[wrong]
    status, answer, headers = server.ask("POST", INFER, body)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert list(answer) == ["error"]
    assert words in answer["error"]
    assert "\n" not in answer["error"]


def binary_request(size: int, content: bytes, head_size: int | None = None) -> tuple[bytes, dict[str, str]]:
    about = {"name": "x", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [about]}).encode()
    size_of_head = len(head) if head_size is None else head_size
    return head + content, {"Inference-Header-Content-Length": str(size_of_head)}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (binary_request(15, bytes(15)), "FP32[4] has 16 bytes, got 15"),
        (binary_request(16, bytes(15)), "said to have 16 bytes of binary data, of 15 that are left"),
        (binary_request(16, bytes(17)), "1 bytes of the body belong to no input"),
        (binary_request(16, bytes(16), 10**6), "the JSON is said to have 1000000 bytes, of a body of"),
        (binary_request(16, bytes(16), 0), "raw data without JSON isn't supported"),
        (binary_request(16, bytes(16), -5), "Inference-Header-Content-Length is a number of bytes, not '-5'"),
    ],
    ids=["a size for no tensor", "too few bytes", "too many bytes", "a long head", "no head", "a negative head"],
)
def test_binary_parts_of_wrong_sizes(server: RunningServer, request_: tuple[bytes, dict[str, str]], words: str) -> None:
    status, answer, _ = server.ask("POST", INFER, *request_)
    assert status == 400
    assert words in answer["error"]


def strings(content: bytes, count: int) -> tuple[bytes, dict[str, str]]:
    about = {"name": "x", "datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": len(content)}}
    head = json.dumps({"inputs": [about]}).encode()
    return head + content, {"Inference-Header-Content-Length": str(len(head))}


@pytest.mark.parametrize(
    ("content", "count", "words"),
    [
        (struct.pack("<I", 3) + b"abc", 2, "BYTES[2] has 2 strings, got 1"),
        (struct.pack("<I", 3) + b"abc", 0, "7 bytes follow the 0 strings"),
        (b"\1\0\0", 1, "string 0 has no length of 4 bytes before it"),
        (struct.pack("<I", 2**32 - 1) + b"abc", 1, "string 0 is said to have 4294967295 bytes, of 3 that follow"),
        (struct.pack("<I", 1) + b"\xff", 1, "a string that isn't UTF-8, which onnxruntime can't give"),
        (b"", 2**40, "1099511627776 strings; at most 1048576 are allowed"),
    ],
    ids=["too few", "too many", "half a length", "a huge length", "not UTF-8", "a huge shape"],
)
def test_strings_that_are_none(server: RunningServer, content: bytes, count: int, words: str) -> None:
    status, answer, _ = server.ask("POST", "/v2/models/text/infer", *strings(content, count))
    assert status == 400
    assert words in answer["error"]


def test_a_bool_is_a_byte_of_zero_or_one(server: RunningServer) -> None:
    body, headers = binary(np.array([[0, 2]], np.uint8), "BOOL")
    status, answer, _ = server.ask("POST", "/v2/models/bool/infer", body, headers)
    assert (status, answer["error"]) == (400, "input 'x': each byte of a BOOL is 0 or 1")


@pytest.mark.parametrize(
    ("name", "datatype", "array"),
    [
        ("fp32", "FP32", np.array([[np.nan, 1]], np.float32)),
        ("fp64", "FP64", np.array([[np.inf, 1]], np.float64)),
        ("fp16", "FP16", np.array([[1, 2]], np.float16)),
    ],
)
def test_an_output_that_json_lacks_is_to_be_asked_for_as_binary_data(
    server: RunningServer, name: str, datatype: str, array: Any
) -> None:
    body, headers = binary(array, datatype)
    status, answer, _ = server.ask("POST", f"/v2/models/{name}/infer", body, headers)
    assert status == 400
    assert answer["error"].endswith("ask for it as binary data, by the parameter 'binary_data'")


def test_paths_and_methods(server: RunningServer) -> None:
    assert server.ask("GET", "/v2/nothing")[:2] == (404, {"error": 'no such path: "/v2/nothing"'})
    status, _, headers = server.ask("GET", INFER)
    assert (status, headers["allow"]) == (405, "POST")
    assert server.ask("POST", "/v2/models/net")[0] == 405
    assert server.ask("GET", "/v2/models/nets")[1]["error"] == "no model is named 'nets'; did you mean net?"
    assert server.ask("GET", "/v2/models/net/versions/7")[0] == 404
    assert server.ask("GET", "/v2/models/net/versions/1")[1]["name"] == "net"
    assert server.ask("GET", "/v2/models/net/ready")[1] == {"name": "net", "ready": True}
    assert server.ask("GET", "/v2/health/live")[1] == {"live": True}
    assert server.ask("GET", "/v2/health/ready")[0] == 200


def test_a_models_name_may_have_slashes_and_dots() -> None:
    named = dict.fromkeys(("a/b/c", "versions/1/x", "../etc", "100 %"), onnx_models.relu())
    with RunningServer(named) as server:
        for path in ("a/b/c", "a%2Fb%2Fc", "versions/1/x", "%2E%2E/etc", "100%20%25"):
            assert server.ask("POST", f"/v2/models/{path}/infer", {"inputs": [tensor()]})[0] == 200, path


def test_repository_calls_are_off_by_default(server: RunningServer) -> None:
    for path in ("index", "models/net/load", "models/net/unload"):
        status, answer, _ = server.ask("POST", f"/v2/repository/{path}")
        assert status == 403
        assert "wasi-nn serve --admin" in answer["error"]
    assert "model_repository" not in server.ask("GET", "/v2")[1]["extensions"]


def test_large_requests_are_refused(server: RunningServer) -> None:
    status, answer, headers = server.ask("POST", INFER, b" " * 100_001)
    assert (status, headers["connection"]) == (413, "close")
    assert answer["error"] == "the body has more than 100000 bytes (ServingLimits.body_bytes, --max-body-bytes)"
    assert server.ask("POST", INFER, b" " * 20_001)[0] == 413
    status, answer, _ = server.ask("POST", INFER, {"inputs": [tensor()] * 9})
    assert (status, answer["error"][:40]) == (413, "9 inputs and 0 outputs; at most 8 tensor")
    status, answer, _ = server.ask("GET", "/v2", headers={"X": "x" * 4096})
    assert (status, answer["error"][:30]) == (413, "the headers have more than 409")


def test_the_connection_ends_with_the_answer_where_the_body_isnt_read(server: RunningServer) -> None:
    for path, status in ((INFER.replace("net", "nets"), 404), ("/v2/nothing", 404), ("/v2", 405)):
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {10**15}\r\n\r\n"
        assert server.say(head.encode()).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_large_answer_is_to_be_asked_for_as_binary_data(server: RunningServer) -> None:
    body, headers = binary(np.zeros((1251, 2), np.int64), "INT64")
    status, answer, _ = server.ask("POST", "/v2/models/int64/infer", body, headers)
    assert status == 413
    assert answer["error"].endswith("(ServingLimits.json_bytes, --max-json-bytes): ask for it as binary data")


def test_a_chunked_body_is_counted_as_it_arrives(server: RunningServer) -> None:
    head = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    answer = server.say(head, *[chunk] * 4)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies(server: RunningServer, encoding: str) -> None:
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    headers = {"Content-Encoding": encoding}
    content = json.dumps({"inputs": [tensor()]}).encode()
    packed = compress(content)
    assert server.ask("POST", INFER, packed, headers)[0] == 200
    bomb = compress(bytes(10**7))
    assert len(bomb) < 20_000
    status, answer, _ = server.ask("POST", INFER, bomb, headers)
    assert (status, answer["error"][:24]) == (413, "the body, decompressed, ")
    assert server.ask("POST", INFER, packed[:-6], headers)[1]["error"] == "the compressed body ends too early"
    assert server.ask("POST", INFER, content, headers)[0] == 400


def test_an_unknown_compression(server: RunningServer) -> None:
    status, answer, _ = server.ask("POST", INFER, b"{}", {"Content-Encoding": "br"})
    assert (status, answer["error"]) == (400, "no compression is named 'br' here; there are gzip, deflate")


def test_pages_in_browsers_are_refused(server: RunningServer) -> None:
    status, answer, _ = server.ask("POST", INFER, {"inputs": [tensor()]}, {"Origin": "http://example.org"})
    assert (status, answer["error"][:23]) == (403, "requests of pages in br")


def test_clients_that_send_headers_slowly_are_left() -> None:
    with RunningServer({}, limits=ServingLimits(header_time=0.3)) as server:
        assert server.say().startswith(b"HTTP/1.1 408 ")
        answer = server.say(b"GET /v2 HTTP/1.1\r\nHost: a\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert answer.endswith(b'{"error":"the headers took too long"}')


def test_clients_that_send_a_body_slowly_are_left() -> None:
    with RunningServer({"net": onnx_models.relu()}, limits=ServingLimits(body_time=0.3)) as server:
        answer = server.say(f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345".encode())
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"the body didn't arrive within 0.3 s (ServingLimits.body_time, --max-body-time)" in answer


def test_idle_connections_are_closed() -> None:
    with RunningServer({}, limits=ServingLimits(idle_time=1)) as server:
        assert server.say(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n").endswith(b'{"live": true}')


def test_line_ends_dont_keep_a_connection() -> None:
    with RunningServer({}, limits=ServingLimits(header_time=0.5)) as server:
        with socket.create_connection(server.address) as client:
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""
            while not received.endswith(b'{"live": true}'):
                received += client.recv(1000)
            client.sendall(b"\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_isnt_taken() -> None:
    limits = ServingLimits(idle_time=1)
    with RunningServer({"net": serving.identity(serving.TYPES["uint8"])}, limits=limits) as server:
        array = np.zeros((20_000_000, 2), np.uint8)  # more than the system keeps of a connection's bytes
        about = {
            "name": "x",
            "datatype": "UINT8",
            "shape": array.shape,
            "parameters": {"binary_data_size": array.nbytes},
        }
        head = json.dumps({"inputs": [about], "parameters": {"binary_data_output": True}}).encode()
        connection = server.connection()
        connection.sock = socket.socket()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sock.connect(server.address)
        headers = {"Inference-Header-Content-Length": str(len(head))}
        connection.request("POST", INFER, head + array.tobytes(), headers)
        while b"\nwasi_nn_http_connections 1.0\n" not in server.ask("GET", "/metrics")[1]:
            pass
        with pytest.raises(http.client.IncompleteRead):
            connection.getresponse().read()
        connection.close()


def test_an_endless_header(server: RunningServer) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nX: ")
        sent = 0
        try:
            while sent < 64 * 2**20:
                sent += client.send(b"x" * 65536)
        except OSError:  # the server has closed its side
            pass
    assert sent < 64 * 2**20
    assert server.ask("GET", "/v2/health/live")[0] == 200


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: a\r\n\0: b\r\n\r\n",
    ],
)
def test_what_isnt_http(server: RunningServer, said: bytes) -> None:
    answer = server.say(said)
    assert answer == b"" or int(answer.split()[1]) in range(400, 500), answer
    assert server.ask("GET", "/v2/health/live")[0] == 200


def test_half_requests(server: RunningServer) -> None:
    whole = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n".encode() + b"{" * 200
    for end in range(1, len(whole), 9):
        with socket.create_connection(server.address) as client:
            client.sendall(whole[:end])
    assert server.ask("POST", INFER, {"inputs": [tensor()]})[0] == 200
    wait_until_nothing_is_held(server)


def wait_until_nothing_is_held(server: RunningServer) -> None:
    """Wait until the server has let go of all requests but the one that asks."""
    while b"\nwasi_nn_held_bytes 0.0\n" not in server.ask("GET", "/metrics")[1]:
        pass


def test_more_connections_than_allowed() -> None:
    with RunningServer({}, limits=ServingLimits(connections=2)) as server:
        clients = [socket.create_connection(server.address) for _ in range(3)]
        answers = []
        for client in clients:
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            answers.append(client.recv(1000))
        for client in clients:
            client.close()
    assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"503"]
    assert b"\r\nRetry-After: 1\r\n" in answers[2]


def test_all_requests_together_have_a_limit() -> None:
    limits = ServingLimits(total_bytes=1000)
    with RunningServer({"net": onnx_models.relu()}, limits=limits) as server:
        status, answer, headers = server.ask("POST", INFER, b" " * 1001)
        assert (status, headers["retry-after"]) == (429, "1")
        assert "ServingLimits.total_bytes" in answer["error"]
        assert server.ask("POST", INFER, {"inputs": [tensor()]})[0] == 200


def test_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# ours\n0123456789abcdef\n\nanother-token-of-ours\n")
    with RunningServer({"net": onnx_models.relu()}, token_file=file) as server:
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert server.ask("GET", path)[0] == 200
        for path in ("/v2", "/metrics", "/openapi.json", "/v2/models/net", "/nothing"):
            status, _, headers = server.ask("GET", path)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
        for given in ("Bearer wrong-token-wrong-token", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer "):
            assert server.ask("GET", "/v2", headers={"Authorization": given})[0] == 401
        for given in ("Bearer 0123456789abcdef", "bearer another-token-of-ours"):
            assert server.ask("GET", "/v2", headers={"Authorization": given})[0] == 200


@pytest.mark.parametrize(("content", "words"), [(b"", "has no token"), (b"short", "less than 16"), (b"\xff", "read")])
def test_files_of_tokens_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "tokens").write_bytes(content)
    with pytest.raises(wasi_nn.NNError, match=words):
        RunningServer({}, token_file=tmp_path / "tokens").__enter__()


def test_a_request_keeps_its_id(server: RunningServer) -> None:
    assert server.ask("GET", "/v2", headers={"X-Request-ID": "mine-1"})[2]["x-request-id"] == "mine-1"
    assert len(server.ask("GET", "/v2", headers={"X-Request-ID": "x" * 200})[2]["x-request-id"]) == 16


def test_metrics_tell_of_requests(server: RunningServer) -> None:
    server.ask("POST", INFER, {"inputs": [tensor()]})
    server.ask("POST", "/v2/models/made-up/infer", {})
    text = server.ask("GET", "/metrics")[1].decode()
    assert 'wasi_nn_requests_total{call="infer",model="net",outcome="ok",protocol="http"}' in text
    assert 'wasi_nn_requests_total{call="infer",model="",outcome="not-found",protocol="http"}' in text
    assert 'wasi_nn_compute_seconds_count{model="net"}' in text
    assert 'wasi_nn_model_ready{model="net"} 1.0' in text
    assert "made-up" not in text


def test_statistics_count_what_succeeds_and_what_fails() -> None:
    models = serving.models()
    with RunningServer({"stats": models["net"], "a/b": models["failing"]}) as own:

        def infer(model: str, count: int) -> int:
            tensor = {"name": "x", "datatype": "FP32", "shape": [count], "data": [1] * count}
            status: int = own.ask("POST", f"/v2/models/{model}/infer", {"inputs": [tensor]})[0]
            return status

        assert [infer("a/b", 4), infer("a/b", 3), infer("a/b", 4), infer("stats", 3)] == [200, 500, 200, 400]
        assert own.ask("POST", "/v2/models/a/b/infer", b"no JSON")[0] == 400
        assert own.ask("GET", "/v2/models/stats")[1]["name"] == "stats"  # the model of this name
        (counted,) = own.ask("GET", "/v2/models/a/b/versions/1/stats")[1]["model_stats"]
        assert (counted["inference_count"], counted["execution_count"]) == (2, 2)
        times = counted["inference_stats"]
        assert [times[name]["count"] for name in ("success", "fail", "queue", "compute_infer")] == [2, 2, 2, 2]
        assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in counted["batch_stats"]] == [(1, 2)]
        assert counted["last_inference"] > 0
        config = own.ask("GET", "/v2/models/a/b/config")[1]
        assert (config["max_batch_size"], "dynamic_batching" in config) == (0, False)
        assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}]
        for path in ("none/config", "none/stats", "a/b/versions/2/config", "a/b/versions/2/stats"):
            assert own.ask("GET", f"/v2/models/{path}")[0] == 404
        own.wait_for(own.server.service.models.unload("a/b"))
        assert own.ask("GET", "/v2/models/a/b/config")[0] == 503
        assert own.ask("GET", "/v2/models/a/b/stats")[0] == 200


def test_statistics_of_all_models(server: RunningServer) -> None:
    found = [model["name"] for model in server.ask("GET", "/v2/models/stats")[1]["model_stats"]]
    assert found == sorted(serving.models())


def test_rows_that_clients_choose_fill_no_memory() -> None:
    counted = ModelStatistics()
    for size in range(5000):
        counted.executed(Execution(1, size, 0.0, 0.0, 0.0, 0.0))
    assert (counted.executions, len(counted.batches)) == (5000, 1024)


_UPGRADE = "Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n"
_HIDDEN = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
_LAST = b"GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def _with_upgrade(body: bytes, framing: str) -> list[bytes]:
    head = f"POST {INFER} HTTP/1.1\r\n{_UPGRADE}{framing}\r\n\r\n".encode()
    return [head + body[:7], body[7:] + _LAST]


def test_a_request_that_may_be_upgraded_keeps_its_body(server: RunningServer) -> None:
    """Java's client asks for HTTP/2 so by default."""
    body = json.dumps({"inputs": [tensor()]}).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:20], body[20:])) + b"0\r\n\r\n"
    for framing, sent in ((f"Content-Length: {len(body)}", body), ("Transfer-Encoding: chunked", chunks)):
        answer = server.say(*_with_upgrade(sent, framing))
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert b"[0.0,2.0,0.0,4.5]" in answer
        assert b'"name": "wasi-nn"' in answer


def test_no_request_is_hidden_in_the_body_of_one_that_may_be_upgraded(server: RunningServer) -> None:
    head, *_ = _with_upgrade(b"", f"Content-Length: {len(_HIDDEN)}")
    with socket.create_connection(server.address) as client:
        client.sendall(head)
        time.sleep(0.05)  # so that the body is a packet of its own
        client.sendall(_HIDDEN + _LAST)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"live" not in answer
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_request_without_a_body_that_may_be_upgraded(server: RunningServer) -> None:
    get = f"GET /v2/health/live HTTP/1.1\r\n{_UPGRADE}\r\n".encode()
    assert server.say(get + get, get + _LAST).count(b'{"live": true}') == 3


def test_a_request_with_two_hosts_is_refused(server: RunningServer) -> None:
    answer = server.say(b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b'{"error": "the request has more than one Host"}')


def test_a_request_for_a_tunnel_is_refused(server: RunningServer) -> None:
    for target in ("localhost:80", "/v2"):
        answer = server.say(f"CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + _LAST)
        assert answer.startswith(b"HTTP/1.1 501 ")
        assert answer.count(b"HTTP/1.1") == 1
