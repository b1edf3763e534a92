"""Traces of single requests: their stages, the clients that may ask for one, and the bound on their number."""

from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ggml_models
import grpc
import numpy as np
import pytest
import serving
from conftest import SUPPORT
from serving import RunningServer
from serving_guests import C_GUESTS, EXAMPLE, as_toml, colours_guest

from wasi_nn.cli import main
from wasi_nn.errors import NNError
from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.oip.proto.open_inference_pb2_grpc import GRPCInferenceServiceStub
from wasi_nn.serving.observing.request_log import FinishedRequest
from wasi_nn.serving.observing.request_traces import RequestTraces
from wasi_nn.serving.settings import ServingLimits

INFER = "/v2/models/net/infer"
INPUTS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [-1, 2, -3, 4]}]}
ASK = {"X-Trace": "1"}
NAME = re.compile(r"request-\d{8}T\d{6}-[0-9a-f]{16}\.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    graphs = {"net": serving.models()["net"], "letters": ggml_models.steady()}
    with RunningServer(graphs, trace_dir=folder, grpc_port=0, limits=ServingLimits(traces=5)) as running:
        yield running


def stages(folder: Path, name: str) -> dict[str, Any]:
    """The events of a trace by their names: each with its time and its arguments."""
    assert NAME.fullmatch(name)
    while not (folder / name).exists():  # it is written after the answer
        pass
    events = json.loads((folder / name).read_text())["traceEvents"]
    assert events[0]["args"]["format"] == "wasi-nn 1"
    return {event["name"]: event for event in events if event["ph"] == "X"}


def test_a_trace_of_an_inference(server: RunningServer, folder: Path) -> None:
    status, _, headers = server.ask("POST", INFER, INPUTS, ASK | {"X-Request-ID": "the-one"})
    assert status == 200
    found = stages(folder, headers["x-trace-file"])
    assert list(found) == ["infer", "body", "parse", "load", "queue", "inputs", "compute", "outputs", "answer"]
    whole = found.pop("infer")
    assert whole["args"] == whole["args"] | {"id": "the-one", "model": "net", "outcome": "ok", "status": 200}
    assert whole["ts"] == 0
    for event in found.values():
        assert 0 <= event["ts"] <= event["ts"] + event["dur"] <= whole["dur"] + 1
        assert event["cat"] == "wasi-nn request"
    (given,), (answer,) = found["parse"]["args"]["inputs"], found["answer"]["args"]["outputs"]
    about = {"name": "x", "type": "f32", "dims": [4], "bytes": 16, "min": -3, "max": 4, "mean": 0.5}
    assert given == given | about
    assert answer == answer | {"name": "y", "min": 0, "max": 4, "mean": 1.5}


def test_a_trace_of_a_request_that_fails(server: RunningServer, folder: Path) -> None:
    status, _, headers = server.ask("POST", INFER, b"{", ASK)
    assert status == 400
    found = stages(folder, headers["x-trace-file"])
    assert list(found) == ["infer", "body", "parse", "FAILED"]
    assert "the request isn't JSON" in found["parse"]["args"]["error"]
    assert found["infer"]["args"] == found["infer"]["args"] | {"outcome": "invalid", "status": 400}


def test_a_trace_of_a_text(server: RunningServer, folder: Path) -> None:
    for is_stream in (False, True):
        body = {"model": "letters", "prompt": "xyz", "max_tokens": 3, "stream": is_stream}
        status, _, headers = server.ask("POST", "/v1/completions", body, ASK)
        assert status == 200
        found = stages(folder, headers["x-trace-file"])
        assert list(found) == ["completions", "body", "parse", "queue", "prompt", "first token", "text"]
        about = found["completions"]["args"]
        assert about["gen_ai.usage.output_tokens"] == 3
        assert "xyz" not in json.dumps(list(found.values()))


def test_a_trace_over_grpc(server: RunningServer, folder: Path) -> None:
    request = messages.ModelInferRequest(model_name="net")
    request.inputs.add(name="x", datatype="FP32", shape=[4])
    request.raw_input_contents.append(np.zeros(4, np.float32).tobytes())
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        _, call = stub.ModelInfer.with_call(request, metadata=(("x-trace", "1"),))
        with pytest.raises(grpc.RpcError) as failed:
            stub.ModelInfer(messages.ModelInferRequest(model_name="net"), metadata=(("x-trace", "1"),))
    found = stages(folder, dict(call.trailing_metadata())["x-trace-file"])
    assert list(found) == ["infer", "body", "parse", "load", "queue", "inputs", "compute", "outputs", "answer"]
    error: Any = failed.value
    found = stages(folder, dict(error.trailing_metadata())["x-trace-file"])
    assert found["infer"]["args"]["outcome"] == "invalid"


@pytest.mark.parametrize("value", ["../../etc/x", "/tmp/x", "1\t", "x" * 1000])
def test_the_client_names_no_file(server: RunningServer, folder: Path, value: str) -> None:
    _, _, headers = server.ask("POST", INFER, INPUTS, {"X-Trace": value, "X-Request-ID": "../x"})
    stages(folder, headers["x-trace-file"])
    assert all(NAME.fullmatch(name) for name in os.listdir(folder))


def test_there_are_only_so_many_files(server: RunningServer, folder: Path) -> None:
    names = [server.ask("POST", INFER, INPUTS, ASK)[2]["x-trace-file"] for _ in range(7)]
    stages(folder, names[-1])
    assert set(os.listdir(folder)) == set(names[-5:])


def test_requests_that_ask_for_none_have_none(server: RunningServer) -> None:
    for headers in ({}, {"X-Trace": "0"}, {"X-Trace": ""}):
        assert "x-trace-file" not in server.ask("POST", INFER, INPUTS, headers)[2]


def test_a_trace_has_the_nn_calls_of_a_guest_that_serves_a_model(tmp_path: Path) -> None:
    described = colours_guest(C_GUESTS / "serve_colours.wasm", reuse=False)
    graphs = {"colours": {"path": str(EXAMPLE / "colours.onnx")}}
    (tmp_path / "graphs.toml").write_text(as_toml({"graphs": graphs, "guests": {"colour-of": described}}))
    picture = {"name": "picture", "datatype": "UINT8", "shape": [1, 1, 3], "data": [200, 20, 20]}
    with RunningServer(str(tmp_path / "graphs.toml"), trace_dir=tmp_path) as own:
        status, _, headers = own.ask("POST", "/v2/models/colour-of/infer", {"inputs": [picture]}, ASK)
        assert status == 200
        found = stages(tmp_path, headers["x-trace-file"])
    assert {"load_by_name", "set_input", "get_output"} < set(found)
    assert found["load_by_name"]["tid"] != found["infer"]["tid"]


def test_traces_are_off_without_a_directory(tmp_path: Path) -> None:
    with RunningServer({"net": serving.models()["net"]}, token_file=None) as bare:
        status, answer, headers = bare.ask("POST", INFER, INPUTS, ASK)
        assert (status, answer) == (403, {"error": "traces of requests are off: wasi-nn serve --trace-dir DIR"})
        assert "x-trace-file" not in headers


def test_a_request_without_its_token_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a-token-for-traces")
    (tmp_path / "traces").mkdir()
    with RunningServer({}, token_file=tmp_path / "tokens", trace_dir=tmp_path / "traces") as closed:
        assert closed.ask("POST", INFER, INPUTS, ASK)[0] == 401
        for path in ("/v2/health/live", "/", "/page/main.js"):  # which need no token
            status, _, headers = closed.ask("GET", path, headers=ASK)
            assert (status, "x-trace-file" in headers) == (200, False)
    assert os.listdir(tmp_path / "traces") == []


def traced(traces: RequestTraces, **facts: Any) -> FinishedRequest:
    request = FinishedRequest("1", "http", "infer", headers={"x-trace": "1"}, **facts)
    traces.begin(request)
    traces.ended(request)
    return request


def test_only_the_servers_own_files_are_removed(tmp_path: Path) -> None:
    kept = [tmp_path / "mine.json", tmp_path / "request-1.json"]
    for path in kept:
        path.write_text("")
    old = tmp_path / "request-20200101T000000-0123456789abcdef.json"
    old.write_text("")
    newest = [traced(RequestTraces(tmp_path, 2)).trace_file for _ in range(3)][-1]
    assert (tmp_path / newest).exists()
    assert not old.exists()
    assert len(os.listdir(tmp_path)) == 4
    assert all(path.exists() for path in kept)


def test_a_directory_that_is_gone_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "traces").mkdir()
    traces = RequestTraces(tmp_path / "traces", 2)
    (tmp_path / "traces").rmdir()
    traced(traces)
    assert "request 1 has no trace: no trace can be written to" in caplog.text
    with pytest.raises(NNError, match=r"no traces can be written to .*traces: "):
        RequestTraces(tmp_path / "traces", 2)


def test_a_trace_that_cannot_be_begun_leaves_no_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The limit on a file's size stands for a full disk."""
    traces = RequestTraces(tmp_path, 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        traced(traces)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "request 1 has no trace: no trace can be written to" in caplog.text
    assert os.listdir(tmp_path) == []


def test_the_command_refuses_a_directory_that_isnt_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(serving.models()["net"])
    options = ["--http-port", "0", "--grpc-port", "none", "--trace-dir", str(tmp_path / "no")]
    assert main(["serve", "--graph", f"net={tmp_path / 'net.onnx'}", *options]) == 1
    assert "no traces can be written to" in capsys.readouterr().err


def test_a_trace_of_a_guest_has_its_nn_calls(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(serving.models()["net"])
    guest = SUPPORT / "http" / "guest.wasm"
    described = f'[graphs.net]\npath = "net.onnx"\n[guests.web]\npath = "{guest}"\ngraphs = ["net"]\n'
    (tmp_path / "graphs.toml").write_text(described)
    (tmp_path / "traces").mkdir()
    with RunningServer(str(tmp_path / "graphs.toml"), trace_dir=tmp_path / "traces") as server:
        server.wait_for_guests()
        status, _, headers = server.ask("GET", "/guests/web/infer/net", headers=ASK)
        assert status == 200
        found = stages(tmp_path / "traces", headers["x-trace-file"])
    calls = {name: event["args"] for name, event in found.items() if event["tid"] == 3}
    assert {name for name, event in found.items() if event["tid"] == 2} == {"guest", "queue", "answering"}
    assert calls["load_by_name"]["name"] == "net"
    assert calls["load_by_name"]["result"]["runtime"] == "onnxruntime"
    (output,) = (each for name, each in calls.items() if "result" in each and name.startswith("compute"))
    assert output
