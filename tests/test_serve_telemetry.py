"""Spans of requests: their attributes, the traces to which they belong, and the places to which they are sent."""

from __future__ import annotations

import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ggml_models
import grpc
import numpy as np
import onnx_models
import pytest
import serving
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, rpc_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, url_attributes
from opentelemetry.trace import SpanKind, StatusCode
from serving import RunningServer

import wasi_nn
from wasi_nn.cli import main
from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.oip.proto.open_inference_pb2_grpc import GRPCInferenceServiceStub
from wasi_nn.serving import server as server_module
from wasi_nn.serving.observing.telemetry import Spans, spans
from wasi_nn.serving.texts import conventions
from wasi_nn.serving.texts.text import TextEnd

INFER = "/v2/models/net/infer"
INPUTS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [-1, 2, -3, 4]}]}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}


class Exported:
    """What was exported since the last look."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def take(self) -> dict[str, Any]:
        """The spans by their names, once that of a request is there."""
        while not any(span.kind is SpanKind.SERVER for span in self._exporter.get_finished_spans()):
            pass
        found = {span.name: span for span in self._exporter.get_finished_spans()}
        self._exporter.clear()
        return found

    def __len__(self) -> int:
        return len(self._exporter.get_finished_spans())


@pytest.fixture(scope="module")
def exported() -> Exported:
    return Exported(InMemorySpanExporter())


@pytest.fixture(scope="module")
def server(exported: Exported) -> Iterator[RunningServer]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported._exporter))
    graphs = {
        "net": serving.models()["net"],
        "letters": ggml_models.steady(),
        "vectors": wasi_nn.NamedGraph(ggml_models.tiny(), options={"embedding": True}),
    }
    with pytest.MonkeyPatch.context() as patch:  # the provider of a process can be set once only
        patch.setattr(server_module, "spans", lambda: [Spans(provider.get_tracer("test"))])
        with RunningServer(graphs, grpc_port=0) as running:
            yield running


def test_an_inference_over_http(server: RunningServer, exported: Exported) -> None:
    server.ask("POST", INFER, INPUTS, PARENT)
    found = exported.take()
    stages = ["body", "parse", "load", "queue", "inputs", "compute", "outputs", "answer"]
    assert list(found) == [*stages, "POST /v2/models/{name}/infer"]
    whole = found.pop("POST /v2/models/{name}/infer")
    assert whole.kind is SpanKind.SERVER
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == "00f067aa0ba902b7"
    about = {
        http_attributes.HTTP_REQUEST_METHOD: "POST",
        http_attributes.HTTP_ROUTE: "/v2/models/{name}/infer",
        http_attributes.HTTP_RESPONSE_STATUS_CODE: 200,
        url_attributes.URL_PATH: INFER,
        "wasi_nn.model": "net",
    }
    assert whole.attributes == {**whole.attributes, **about}
    assert whole.status.status_code is StatusCode.UNSET
    for span in found.values():
        assert span.parent.span_id == whole.context.span_id
        assert whole.start_time <= span.start_time <= span.end_time <= whole.end_time + 1_000_000
        assert span.attributes["wasi_nn.model"] == "net"


def test_an_inference_over_grpc(server: RunningServer, exported: Exported) -> None:
    request = messages.ModelInferRequest(model_name="net")
    request.inputs.add(name="x", datatype="FP32", shape=[4])
    request.raw_input_contents.append(np.zeros(4, np.float32).tobytes())
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.ModelInfer(request, metadata=tuple(PARENT.items()))
        found = exported.take()
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(messages.ModelInferRequest(model_name="none"))
        failed = exported.take()
        stub.ServerLive(messages.ServerLiveRequest())
    whole = found["inference.GRPCInferenceService/ModelInfer"]
    assert f"{whole.context.trace_id:032x}" == TRACE
    about = {
        rpc_attributes.RPC_SYSTEM_NAME: "grpc",
        rpc_attributes.RPC_METHOD: "inference.GRPCInferenceService/ModelInfer",
        rpc_attributes.RPC_RESPONSE_STATUS_CODE: "OK",
    }
    assert whole.attributes == {**whole.attributes, **about}
    assert found["compute"].parent.span_id == whole.context.span_id
    span = failed["inference.GRPCInferenceService/ModelInfer"]
    assert span.attributes[rpc_attributes.RPC_RESPONSE_STATUS_CODE] == "NOT_FOUND"
    assert span.attributes[error_attributes.ERROR_TYPE] == "not-found"
    assert span.status.status_code is StatusCode.UNSET  # the client's mistake
    assert len(exported) == 0  # of a probe


def test_failures(server: RunningServer, exported: Exported) -> None:
    server.ask("POST", INFER, b"{")
    found = exported.take()
    assert list(found) == ["body", "parse", "POST /v2/models/{name}/infer"]
    assert found["parse"].status.status_code is StatusCode.ERROR
    whole = found["POST /v2/models/{name}/infer"]
    assert whole.attributes[error_attributes.ERROR_TYPE] == "invalid"
    assert whole.status.status_code is StatusCode.UNSET
    server.ask("GET", "/nowhere")
    assert list(exported.take()) == ["GET"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_texts(server: RunningServer, exported: Exported, is_stream: bool) -> None:
    body = {"model": "letters", "prompt": "xyz", "max_tokens": 3, "temperature": 0.5, "stream": is_stream}
    server.ask("POST", "/v1/completions", body)
    found = exported.take()
    whole, text = found["POST /v1/completions"], found["text_completion letters"]
    assert text.parent.span_id == whole.context.span_id
    assert found["queue"].parent.span_id == whole.context.span_id
    for name in ("prompt", "first token", "text"):
        assert found[name].parent.span_id == text.context.span_id
        assert text.start_time <= found[name].start_time
    about = {
        gen_ai_attributes.GEN_AI_OPERATION_NAME: "text_completion",
        gen_ai_attributes.GEN_AI_PROVIDER_NAME: "wasi-nn",
        gen_ai_attributes.GEN_AI_REQUEST_MODEL: "letters",
        gen_ai_attributes.GEN_AI_REQUEST_MAX_TOKENS: 3,
        gen_ai_attributes.GEN_AI_REQUEST_TEMPERATURE: 0.5,
        gen_ai_attributes.GEN_AI_RESPONSE_FINISH_REASONS: ("length",),
        gen_ai_attributes.GEN_AI_USAGE_OUTPUT_TOKENS: 3,
    }
    assert text.attributes == {**text.attributes, **about}
    assert text.attributes[gen_ai_attributes.GEN_AI_USAGE_INPUT_TOKENS] > 0
    assert "xyz" not in str([span.to_json() for span in found.values()])


def test_embeddings(server: RunningServer, exported: Exported) -> None:
    server.ask("POST", "/v1/embeddings", {"model": "vectors", "input": "hello"})
    found = exported.take()
    span = found["embeddings vectors"]
    assert span.attributes[gen_ai_attributes.GEN_AI_OPERATION_NAME] == "embeddings"
    assert span.attributes[gen_ai_attributes.GEN_AI_USAGE_INPUT_TOKENS] > 0
    assert found["compute"].parent.span_id == span.context.span_id


def test_the_names_of_attributes_are_those_of_the_conventions() -> None:
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    every = dict.fromkeys(conventions._OPTIONS, 1)
    about = conventions.wish_for_text("m", every, is_chat=True, is_stream=True)
    about |= conventions.outcome_of_text("m", "id", TextEnd(True, 1, 1), 0.1) | conventions.wish_for_embeddings("m")
    assert about
    assert set(about) <= known


def test_what_isnt_sampled_has_no_spans(server: RunningServer, exported: Exported) -> None:
    server.ask("POST", INFER, INPUTS, NOT_SAMPLED)
    for path in ("/metrics", "/v2/health/live", "/", "/page/status", "/page/main.js"):
        server.ask("GET", path)
    assert len(exported) == 0


@pytest.mark.parametrize("parent", ["", "x", "00-0-0-00", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "\xff" * 100])
def test_a_wrong_parent_begins_a_trace_of_its_own(server: RunningServer, exported: Exported, parent: str) -> None:
    assert server.ask("POST", INFER, INPUTS, {"traceparent": parent})[0] == 200
    found = exported.take()
    assert found["POST /v2/models/{name}/infer"].parent is None


def test_the_log_has_the_id_of_the_trace(exported: Exported, server: RunningServer) -> None:
    log, stream = server.server.log, io.StringIO()
    log._is_on, log._stream = True, stream
    try:
        server.ask("POST", INFER, INPUTS, PARENT)
        server.ask("POST", INFER, INPUTS, NOT_SAMPLED)
        server.ask("GET", "/v2/health/live")
        while stream.getvalue().count("\n") < 3:
            pass
    finally:
        log._is_on = False
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert first["trace_id"] == second["trace_id"] == TRACE
    assert "trace_id" not in third
    exported.take()


def test_there_are_no_spans_unless_somebody_sets_them_up() -> None:
    assert spans() == []


# What the environment says


class Collector:
    """Receives spans as OpenTelemetry's collector does, by OTLP over HTTP."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.spans: list[Any] = []
        self.services: set[str] = set()
        spans, services = self.spans, self.services

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    about = {each.key: each.value.string_value for each in resource.resource.attributes}
                    services.add(about["service.name"])
                    for scope in resource.scope_spans:
                        spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


def test_the_command_sends_spans_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        with serving.command("--graph", f"net={tmp_path / 'net.onnx'}") as started:
            assert started.ask("POST", INFER, INPUTS, PARENT)[0] == 200
            started.signal(signal.SIGTERM)
            assert started.end() == (0, "")
    names = {span.name for span in collector.spans}
    assert {"POST /v2/models/{name}/infer", "compute"} <= names
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert collector.services == {"wasi-nn"}


def test_an_exporter_that_isnt_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
        assert (
            main(["serve", "--graph", f"net={tmp_path / 'net.onnx'}", "--http-port", "0", "--grpc-port", "none"]) == 1
        )
    error = capsys.readouterr().err
    assert "OTEL_... variables ask for spans, but no exporter named 'zipkin' is installed" in error


def test_the_server_imports_no_telemetry_unless_it_is_asked_for(tmp_path: Path) -> None:
    """The package is found, but nothing of the SDK is imported."""
    program = """
import sys
from wasi_nn.serving.observing.telemetry import set_up_by_environment, spans
with set_up_by_environment():
    assert spans() == []
print([name for name in sys.modules if name.startswith("opentelemetry.sdk")])
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert ended.stdout == "[]\n"
