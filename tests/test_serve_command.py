"""`wasi-nn serve`: its options, signals, TLS and log."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx_models
import pytest
import serving
from conftest import REPOSITORY, need_command
from onnx import TensorProto
from page_blocks import blocks_of, commands, same

from wasi_nn.cli import main
from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.oip.proto.open_inference_pb2_grpc import GRPCInferenceServiceStub

INPUTS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [-1, 2, -3, 4]}]}


INFER = "/v2/models/net/infer"


def data(answer: Any) -> Any:
    """The elements of the only output of an answer."""
    status, content, _ = answer
    assert status == 200, content
    return content["outputs"][0]["data"]


def wait_for_line(server: serving.Command, words: str) -> None:
    assert server.process.stderr is not None
    for line in server.process.stderr:
        if words in line:
            return
    raise AssertionError(f"the server has ended without saying {words!r}")


def test_a_file_of_graphs_is_served_until_sigterm(tmp_path: Path) -> None:
    graphs = serving.write_graphs(tmp_path, {"net": onnx_models.relu()})
    with serving.command("--graphs", str(graphs)) as server:
        host, port = server.http
        assert server.announced == f"serving on http://{host}:{port} and grpc://{server.grpc}\n"
        assert host == "127.0.0.1"
        assert data(server.ask("POST", INFER, INPUTS)) == [0, 2, 0, 4]
        server.signal(signal.SIGTERM)
        assert server.end() == (0, "")


def test_curl_gets_the_answers_that_the_documentation_shows() -> None:
    need_command("curl", "curl")
    page = (REPOSITORY / "docs" / "how-to" / "serve.md").read_text()
    (block,) = [block for block in blocks_of(page) if block.language == "console" and "curl" in block.text]
    with serving.command("--graph", f"colours={REPOSITORY / 'guests' / 'example' / 'colours.onnx'}") as server:
        server.wait_until_ready()
        host, port = server.http
        for command, shown in commands(block.text):
            there = command.replace("localhost:8000", f"{host}:{port}").replace("curl ", "curl -s --noproxy '*' ", 1)
            answer = subprocess.run(there, shell=True, capture_output=True, text=True, check=True).stdout
            assert same(shown, answer), f"{command}\n{answer}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_that_are_under_way_end_before_the_server(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    with serving.command("--graph", f"net={tmp_path / 'net.onnx'}") as server:
        body = json.dumps(INPUTS).encode()
        head = f"POST /v2/models/net/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(server.http) as client:
            client.sendall(head + body[:10])
            wait_until_it_has_begun(server)
            server.signal(number)
            refuse_from_now_on(server)
            server.signal(signal.SIGHUP)  # which is of no effect any more
            client.sendall(body[10:])
            answer = b""
            while part := client.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["outputs"][0]["data"] == [0, 2, 0, 4]
        assert server.end()[0] == 0


def test_a_second_signal_ends_the_server_at_once(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    with serving.command("--graph", f"net={tmp_path / 'net.onnx'}") as server:
        with socket.create_connection(server.http) as client:
            client.sendall(b"POST /v2/models/net/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n{")
            wait_until_it_has_begun(server)
            server.signal(signal.SIGTERM)
            refuse_from_now_on(server)
            server.signal(signal.SIGTERM)
            assert server.end()[0] == -signal.SIGTERM


def wait_until_it_has_begun(server: serving.Command) -> None:
    """Wait until the server holds the first bytes of a body."""
    while b"\nwasi_nn_held_bytes 0.0\n" in server.ask("GET", "/metrics")[1]:
        pass


def refuse_from_now_on(server: serving.Command) -> None:
    """Wait until the server takes no more connections."""
    while True:
        try:
            socket.create_connection(server.http).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)


def test_sighup_reads_the_graphs_and_the_tokens_again(tmp_path: Path) -> None:
    graphs = serving.write_graphs(tmp_path, {"net": onnx_models.relu()})
    tokens = tmp_path / "tokens"
    tokens.write_text("the-first-token-of-ours")
    with serving.command("--graphs", str(graphs), "--token-file", str(tokens)) as server:
        server.wait_until_ready()  # a graph that isn't loaded yet can't have changed
        is_over = threading.Event()
        answers: list[int] = []

        def client() -> None:
            connection = http.client.HTTPConnection(*server.http)
            while not is_over.is_set():
                headers = {"Authorization": "Bearer the-first-token-of-ours"}
                connection.request("POST", INFER, json.dumps(INPUTS), headers)
                response = connection.getresponse()
                response.read()
                answers.append(response.status)
            connection.close()

        clients = [threading.Thread(target=client) for _ in range(2)]
        for each in clients:
            each.start()
        for model in (onnx_models.negated(), onnx_models.relu(), onnx_models.negated()):
            serving.write_graphs(tmp_path, {"net": model})
            server.signal(signal.SIGHUP)
            wait_for_line(server, "reloaded: net")
        is_over.set()
        for each in clients:
            each.join()
        assert answers
        assert set(answers) == {200}
        tokens.write_text("another-token-of-ours")
        server.signal(signal.SIGHUP)
        wait_for_line(server, "reloaded: nothing has changed")
        for token, status in (("the-first-token-of-ours", 401), ("another-token-of-ours", 200)):
            assert server.ask("GET", "/v2", headers={"Authorization": f"Bearer {token}"})[0] == status
        graphs.write_text("[graphs")
        server.signal(signal.SIGHUP)
        wait_for_line(server, "nothing was reloaded: ")
        server.signal(signal.SIGTERM)
        assert server.end()[0] == 0


def test_tls(tmp_path: Path) -> None:
    need_command("openssl", "openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    subprocess.run([*make, *names, *files], check=True, capture_output=True)
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    graph = ("--graph", f"net={tmp_path / 'net.onnx'}")
    with serving.command(*graph, "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        assert server.announced.startswith("serving on https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(certificate))
        client = http.client.HTTPSConnection(*server.http, context=trusting)
        assert data(serving.ask(client, "POST", INFER, INPUTS)) == [0, 2, 0, 4]
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        with grpc.secure_channel(server.grpc.replace("127.0.0.1", "localhost"), credentials) as channel:
            stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            request = messages.ModelInferRequest(model_name="net")
            request.inputs.add(name="x", datatype="FP32", shape=[4])
            request.raw_input_contents.append(np.array([-1, 2, -3, 4], np.float32).tobytes())
            assert np.frombuffer(stub.ModelInfer(request).raw_output_contents[0], np.float32).tolist() == [0, 2, 0, 4]
        with socket.create_connection(server.http) as plain:  # which isn't answered
            plain.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert not plain.recv(100).startswith(b"HTTP")


def test_the_log_has_a_line_of_json_for_each_request(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    with serving.command("--graph", f"net={tmp_path / 'net.onnx'}", "--log-json") as server:
        server.ask("POST", INFER, INPUTS)
        assert server.ask("POST", INFER, b"{", {"X-Request-ID": "the-second"})[0] == 400
        with grpc.insecure_channel(server.grpc) as channel:
            stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            stub.ServerLive(messages.ServerLiveRequest())
        server.signal(signal.SIGTERM)
        _, error = server.end()
    first, second, third = map(json.loads, error.splitlines())
    assert (first["call"], first["model"], first["outcome"], first["status"]) == ("infer", "net", "ok", 200)
    assert first["bytes_in"] == len(json.dumps(INPUTS))
    assert 0 < first["computed"] <= first["seconds"]
    assert (second["id"], second["outcome"], second["status"]) == ("the-second", "invalid", 400)
    assert second["error"].startswith("the request isn't JSON")
    assert (third["protocol"], third["call"], third["status"]) == ("grpc", "live", "OK")


def test_a_port_in_use_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    graph = ["--graph", f"net={tmp_path / 'net.onnx'}"]
    advice = "; choose another port by --http-port, --grpc-port or --guests-port\n"

    def error_of(*ports: str) -> str:
        assert main(["serve", *graph, *ports]) == 1
        return capsys.readouterr().err

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        in_use = f"wasi-nn: HTTP can't listen on 127.0.0.1:{port}: Address already in use{advice}"
        assert error_of("--http-port", port, "--grpc-port", "none") == in_use
        assert error_of("--http-port", "0", "--guests-port", port, "--grpc-port", "none") == in_use
        by_grpc = error_of("--http-port", "none", "--grpc-port", port)
        assert by_grpc.startswith(f"wasi-nn: gRPC can't listen on 127.0.0.1:{port}: ")
        assert by_grpc.endswith(advice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there are no graphs to serve: name some by --graphs FILE or --graph NAME=PATH"),
        (["--graph", "a=b", "--http-port", "none", "--guests-port", "0"], "--guests-port is a further port of HTTP"),
        (["--graph", "a=b", "--http-port", "none", "--grpc-port", "none"], "there is nothing to serve: "),
        (["--graph", "a=b", "--tls-cert", "c"], "--tls-cert and --tls-key belong together: give both"),
    ],
)
def test_wrong_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *options]) == 2
    assert capsys.readouterr().err.startswith(f"wasi-nn: {message}")


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_ports_that_are_none(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--graph", "a=b", f"--http-port={port}"])
    assert f"'{port}' is no port: a port is a number up to 65535, or none" in capsys.readouterr().err


def test_files_that_cant_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    (tmp_path / "cert.pem").write_text("no certificate")
    graph = ["--graph", f"net={tmp_path / 'net.onnx'}", "--http-port", "0", "--grpc-port", "none"]
    assert main(["serve", *graph, "--token-file", str(tmp_path / "none")]) == 1
    assert "the file of tokens" in capsys.readouterr().err
    files = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "cert.pem")]
    assert main(["serve", *graph, *files]) == 1
    assert capsys.readouterr().err.startswith("wasi-nn: the certificate can't be used: ")
    grpc_only = [*graph[:2], "--http-port", "none", "--grpc-port", "0"]
    assert main(["serve", *grpc_only, *files]) == 1
    assert capsys.readouterr().err.startswith("wasi-nn: ")


def test_options_of_graphs_stay_when_the_file_is_read_again(tmp_path: Path) -> None:
    def write(model: str) -> Path:
        path = tmp_path / "graphs.toml"
        path.write_text(f'[graphs.net]\npath = "{model}.onnx"\n[graphs.other]\npath = "other.onnx"\n')
        return path

    for name in ("first", "second", "other"):
        (tmp_path / f"{name}.onnx").write_bytes(onnx_models.cast(TensorProto.INT8, TensorProto.INT8))
    options = ("--graph-option", "net:convert-types=true")
    with serving.command("--graphs", str(write("first")), *options) as server:
        server.wait_until_ready()
        for model, words in (("first", "reloaded: nothing has changed"), ("second", "reloaded: net")):
            write(model)
            server.signal(signal.SIGHUP)
            wait_for_line(server, words)
            types = {}
            for name in ("net", "other"):
                types[name] = server.ask("GET", f"/v2/models/{name}")[1]["inputs"][0]["datatype"]
            assert types == {"net": "INT32", "other": "INT8"}
        (tmp_path / "graphs.toml").write_text('[graphs.other]\npath = "other.onnx"\n')
        server.signal(signal.SIGHUP)
        wait_for_line(server, "nothing was reloaded: --graph-option net:convert-types=true: no graph is named 'net'")


def test_isolated_graphs(tmp_path: Path, isolation: None) -> None:
    graphs = serving.write_graphs(tmp_path, {"net": onnx_models.relu(), "loop": onnx_models.loop()})
    with serving.command("--graphs", str(graphs), "--isolate") as server:
        for _ in range(2):
            assert data(server.ask("POST", INFER, INPUTS)) == [0, 2, 0, 4]
            long = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [10**9]}]}
            status, answer, _ = server.ask("POST", "/v2/models/loop/infer", long | {"parameters": {"timeout": 200_000}})
            assert status == 504, answer
        server.signal(signal.SIGTERM)
        assert server.end()[0] == 0


def test_computes_that_are_under_way_end_before_the_server(tmp_path: Path) -> None:
    graphs = serving.write_graphs(tmp_path, {"loop": onnx_models.loop()})
    turns = np.array([100_000])
    request = messages.ModelInferRequest(model_name="loop")
    request.inputs.add(name="x", datatype="INT64", shape=[1])
    request.raw_input_contents.append(turns.tobytes())
    with serving.command("--graphs", str(graphs)) as server, grpc.insecure_channel(server.grpc) as channel:
        stub: Any = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        under_way = stub.ModelInfer.future(request)
        while not under_way.done() and b"\nwasi_nn_running_computes 1.0\n" not in server.ask("GET", "/metrics")[1]:
            pass
        server.signal(signal.SIGTERM)
        assert np.frombuffer(under_way.result().raw_output_contents[0], np.float32).tolist() == turns.tolist()
        assert server.end()[0] == 0
