"""Servers of models for the tests, in this process: each test chooses their answers."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc

from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.oip.proto.open_inference_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)


class OipFake(GRPCInferenceServiceServicer):
    """A server of one model, `m`: y = x, of any number of f32. A test replaces its answers; `calls` are the requests
    for inferences, with the context of each."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any]] = []
        self.is_ready = True
        self.metadata = messages.ModelMetadataResponse(name="m", versions=["1"], platform="a_fake")
        self.metadata.inputs.add(name="x", datatype="FP32", shape=[-1])
        self.metadata.outputs.add(name="y", datatype="FP32", shape=[-1])
        self.infer: Callable[[Any, Any], Any] = same

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.ModelReadyResponse(ready=self.is_ready)

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self.metadata

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls.append((request, context))
        return self.infer(request, context)


def same(request: Any, context: Any) -> Any:
    """The input as the output."""
    return answer(("y", "FP32", request.inputs[0].shape, request.raw_input_contents[0]))


def answer(*outputs: tuple[str, str, Any, bytes]) -> Any:
    """An answer with raw outputs, each a name, a datatype, a shape and bytes."""
    made = messages.ModelInferResponse(model_name="m", model_version="1")
    for name, datatype, shape, content in outputs:
        made.outputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_output_contents.append(content)
    return made


def failing(code: grpc.StatusCode, details: str) -> Callable[[Any, Any], Any]:
    """An inference that fails."""

    def infer(request: Any, context: Any) -> Any:
        context.abort(code, details)

    return infer


@contextmanager
def oip_server(fake: OipFake, port: int = 0) -> Iterator[int]:
    """A fake that listens; the port."""
    server = grpc.server(
        ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
    )
    add_GRPCInferenceServiceServicer_to_server(fake, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


class HttpFake:
    """A server over HTTP. `answer` writes the answer to a POST with the handler of the request; `requests` are the
    bodies, each with its path and headers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any, dict[str, str]]] = []
        self.models: Any = {"object": "list", "data": [{"id": "llm"}]}
        self.answer: Callable[[Any], None] = lambda handler: send_events(handler, text_events("ab"))
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                send_json(self, 200, fake.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.requests.append((self.path, body, dict(self.headers)))
                with suppress(OSError):  # the client has gone
                    fake.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> HttpFake:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def send_json(handler: Any, status: int, content: Any, **headers: str) -> None:
    """Send an answer in JSON."""
    body = json.dumps(content).encode()
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def send_events(handler: Any, events: list[bytes]) -> None:
    """Send an answer of events, which ends with the connection."""
    handler.send_response(200)
    handler.end_headers()
    for event in events:
        handler.wfile.write(event)
        handler.wfile.flush()


def event(content: Any) -> bytes:
    """One event of JSON."""
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def text_events(text: str, reason: str = "length", usage: Any = None) -> list[bytes]:
    """The events of a completion with a piece for each character."""
    pieces = [event({"choices": [{"text": piece, "finish_reason": None}]}) for piece in text]
    end = event({"choices": [{"text": "", "finish_reason": reason}]})
    counts = [] if usage is None else [event({"choices": [], "usage": usage})]
    return [*pieces, end, *counts, b"data: [DONE]\n\n"]


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine that signs itself, and its key, made by openssl."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    subprocess.run([*make, *names, *files], check=True, capture_output=True)
    return certificate, key
