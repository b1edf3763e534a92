"""Models on servers that speak the Open Inference Protocol: the same results as here, failover, limits, credentials,
and servers that answer arbitrary bytes."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from struct import pack
from typing import Any

import grpc
import numpy as np
import onnx_models
import pytest
import remote_servers
import serving
from checks import on_threads, refused
from conftest import C_GUESTS, need_command
from core_guest import BUSY, F32, SUCCESS, CoreGuest
from numpy_graphs import Described
from remote_servers import OipFake, answer, failing, make_certificate, oip_server

import wasi_nn
from wasi_nn import ErrorCode, Host, Limits, LoadRules, NamedGraph, NNError, Registry, Session, backends
from wasi_nn.backends import Backend, RemoteModel
from wasi_nn.cli import main
from wasi_nn.errors import Busy, ModelNotFound
from wasi_nn.oip.proto import open_inference_pb2 as messages

Code = grpc.StatusCode
COMPONENTS = C_GUESTS.parent / "component"
X = np.array([-1, 2, -3, 4], np.float32)
TOKEN = "a-token-of-sixteen-characters-or-more"


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    return serving.models()


@pytest.fixture(scope="module")
def server(models: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Command]:
    """The command `wasi-nn serve` in a process of its own."""
    graphs = serving.write_graphs(tmp_path_factory.mktemp("models"), models)
    with serving.command("--graphs", str(graphs)) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def fake() -> OipFake:
    return OipFake()


@pytest.fixture
def port(fake: OipFake) -> Iterator[int]:
    with oip_server(fake) as listening:
        yield listening


def at(port: int, model: str = "m") -> str:
    return f"grpc://127.0.0.1:{port}/{model}"


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free: int = taken.getsockname()[1]
        return free


# The same results as here


@pytest.mark.parametrize("name", serving.TYPES)
def test_numbers_of_every_type(name: str, server: serving.Command, models: dict[str, bytes]) -> None:
    here, there = wasi_nn.load(models[name]), wasi_nn.load(f"grpc://{server.grpc}/{name}")
    assert [info.dtype for info in there.inputs] == [info.dtype for info in here.inputs]
    dtype: Any = here.inputs[0].dtype
    array = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    for graph in (here, there):
        (result,) = graph.compute({"x": array}).values()
        assert result.dtype == dtype
        assert result.tobytes() == array.tobytes()
        assert result.flags.writeable


def test_several_inputs_and_outputs(server: serving.Command, models: dict[str, bytes]) -> None:
    here, there = wasi_nn.load(models["two"]), wasi_nn.load(f"grpc://{server.grpc}/two")
    assert [info.name for info in there.inputs] == [info.name for info in here.inputs]
    inputs = {info.name: np.arange(2, dtype=np.float32).reshape(2) + place for place, info in enumerate(here.inputs)}
    expected, found = here.compute(inputs), there.compute(inputs)
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_strings(server: serving.Command) -> None:
    graph = wasi_nn.load(f"grpc://{server.grpc}/text")
    assert graph.compute({"x": ["", "schön"]})["y"].tolist() == [b"", "schön".encode()]
    converted = wasi_nn.load(f"grpc://{server.grpc}/text", rules=LoadRules(convert_types=True))
    context = converted.init_execution_context()
    context.set_input("x", np.frombuffer(b"ab", np.uint8).reshape(1, 2))
    context.compute()
    assert context.get_output("y").tobytes() == b"ab"


def test_outputs_are_written_into_the_same_memory_again(server: serving.Command) -> None:
    context = wasi_nn.load(f"grpc://{server.grpc}/net").init_execution_context()
    context.set_input("x", X)
    context.compute()
    view = context.output_bytes(0)
    assert bytes(view) == pack("<4f", 0, 2, 0, 4)
    context.set_input("x", -X)
    context.compute()
    assert bytes(view) == bytes(context.output_bytes(0)) == pack("<4f", 1, 0, 3, 0)


@pytest.mark.parametrize("isolate", [None, True])
def test_guests_run_unmodified(
    isolate: bool | None, server: serving.Command, models: dict[str, bytes], tmp_path: Path, isolation: None
) -> None:
    (tmp_path / "x").write_bytes(X.tobytes())
    outputs = []
    for source in (models["net"], f"grpc://{server.grpc}/net"):
        with Host({"net": source}, rules=LoadRules(isolate=isolate), cache=False) as host:
            core = host.run(
                C_GUESTS / "infer.wasm",
                ["--graph", "net", "f32:4:/x", "--output", "f32"],
                dirs={"/": tmp_path},
                capture_output=True,
            )
            component = host.run(
                COMPONENTS / "infer.wasm", ["--graph", "net", "x=FP32:4:-1,2,-3,4"], capture_output=True
            )
        assert (core.exit_code, component.exit_code) == (0, 0), core.stderr + component.stderr
        outputs.append((core.stdout, component.stdout))
    assert outputs[0] == outputs[1]
    assert b"0 2 0 4" in outputs[0][0]


def test_a_guest_learns_neither_the_address_nor_the_model_there(fake: OipFake, port: int, tmp_path: Path) -> None:
    with Host({"net": at(port)}, cache=False) as host:
        result = host.run(
            C_GUESTS / "run_any.wasm", ["--graph", "net", "--inputs", "/"], dirs={"/": tmp_path}, capture_output=True
        )
    assert result.stdout.decode().splitlines()[0] == "another encoding on oip (remote)"
    assert str(port) not in result.stdout.decode()
    graph = wasi_nn.load(at(port))
    assert graph.metadata == {"platform": "a_fake", "versions": "1"}


def test_inputs_that_need_not_be_set(fake: OipFake, port: int) -> None:
    fake.metadata.inputs.add(name="extra", datatype="FP32", shape=[1])
    refused(ErrorCode.INVALID_ARGUMENT, "extra", wasi_nn.load(at(port)).compute, {"x": X})
    graph = wasi_nn.load(at(port), options={"optional": ["extra"]})
    np.testing.assert_array_equal(graph.compute({"x": X})["y"], X)
    assert [tensor.name for tensor in fake.calls[-1][0].inputs] == ["x"]
    refused(ErrorCode.INVALID_ARGUMENT, "no input 'z'", wasi_nn.load, at(port), options={"optional": ["z"]})


def test_a_version_of_the_model(fake: OipFake, port: int, server: serving.Command) -> None:
    graph = wasi_nn.load(at(port), options={"version": 7})
    graph.compute({"x": X})
    assert fake.calls[0][0].model_version == "7"
    address = f"grpc://{server.grpc}/net"
    assert wasi_nn.load(address, options={"version": "1"}).compute({"x": X})["y"].tolist() == [0, 2, 0, 4]
    refused(ErrorCode.NOT_FOUND, "no version '2'", wasi_nn.load, address, options={"version": "2"})


def test_a_model_that_does_not_tell_its_outputs(fake: OipFake, port: int) -> None:
    del fake.metadata.outputs[:]
    graph = wasi_nn.load(at(port))
    assert graph.outputs_vary
    np.testing.assert_array_equal(graph.compute({"x": X})["y"], X)


def test_a_server_in_front_of_another(server: serving.Command) -> None:
    with serving.RunningServer({"front": f"grpc://{server.grpc}/net"}, grpc_port=0) as front:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": X.tolist()}]}
        status, content, _ = front.ask("POST", "/v2/models/front/infer", body)
        assert (status, content["outputs"][0]["data"]) == (200, [0, 2, 0, 4])
        again = wasi_nn.load(f"grpc://{front.grpc_address}/front")
        assert again.compute({"x": X})["y"].tolist() == [0, 2, 0, 4]


# Names and addresses


def test_a_file_of_graphs_names_a_server(tmp_path: Path, port: int) -> None:
    file = tmp_path / "graphs.toml"
    file.write_text(
        f'[graphs.net]\npath = ["{at(port)}", "{at(port)}"]\nruntime = "oip"\noptions = {{ timeout = 9 }}\n'
    )
    assert wasi_nn.Registry(file).get("net").compute({"x": X})["y"].tolist() == X.tolist()


def test_a_guests_bytes_and_names_reach_no_server(fake: OipFake, port: int) -> None:
    encodings = [wasi_nn.GraphEncoding.ONNX, wasi_nn.GraphEncoding.GGML]
    session = Session({"net": at(port)}, allow_load=encodings)
    for encoding in (*encodings, wasi_nn.GraphEncoding.AUTODETECT):
        with pytest.raises(NNError):
            session.load([memoryview(at(port).encode())], encoding, wasi_nn.ExecutionTarget.CPU)
    refused(ErrorCode.NOT_FOUND, "no graph is named", session.load_by_name, at(port))
    with pytest.raises(NNError):
        wasi_nn.load(Path(at(port)))
    assert fake.calls == []


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("http://a/m", ErrorCode.INVALID_ENCODING, "no backend reaches models at http://; there are grpc, grpcs"),
        ("grpc://user:secret@a/m", ErrorCode.INVALID_ARGUMENT, "no user, password or query"),
        ("grpc://a/m?token=secret", ErrorCode.INVALID_ARGUMENT, "no user, password or query"),
        ("grpc:///m", ErrorCode.INVALID_ARGUMENT, "'grpc:///m' is no address"),
        ("grpc://a:99999/m", ErrorCode.INVALID_ARGUMENT, "is no address"),
        ("grpc://a:8001", ErrorCode.INVALID_ARGUMENT, "names no model"),
        ("grpc://a/m#n", ErrorCode.INVALID_ARGUMENT, "names no model"),
        (["grpc://a/m", "m.onnx"], ErrorCode.INVALID_ARGUMENT, "a list can't have both"),
        (["grpc://a/m", "grpcs://a/m"], ErrorCode.INVALID_ARGUMENT, "all addresses of a model begin alike"),
        (["grpc://a/m"] * 65, ErrorCode.INVALID_ARGUMENT, "at most 64 addresses"),
    ],
)
def test_addresses_that_are_wrong(source: Any, code: ErrorCode, words: str) -> None:
    for load in (wasi_nn.load, lambda source: Registry({"m": source}).get("m")):
        with pytest.raises(NNError, match=words) as raised:
            load(source)
        assert raised.value.code is code
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"options": {"thread": 2}}, "no option 'thread' for models at grpc://; there are balance, "),
        ({"options": {"token": "secret"}}, "no option 'token'"),
        ({"options": {"timeout": 0}}, "option 'timeout' of models at grpc:// can't be 0"),
        ({"options": {"balance": "random"}}, "one of first, rotate"),
        ({"options": {"token-file": "a", "token-variable": "b"}}, "give one of them"),
        ({"options": {"cert-file": "a"}}, "cert-file and key-file belong together"),
        ({"options": {"ca-file": "a"}}, "are for TLS, which grpc://a:1/m doesn't ask for"),
        ({"runtime": "onnxruntime"}, "no runtime is named 'onnxruntime'; there are oip, openai"),
        ({"runtime": "openai"}, "models at grpc:// are run by oip, not by openai"),
        ({"sha256": "0" * 64}, "has no sha256 here"),
    ],
)
def test_settings_that_are_wrong(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(NNError, match=words) as raised:
        Registry({"m": NamedGraph("grpc://a:1/m", **settings)}).get("m")
    assert raised.value.code is ErrorCode.INVALID_ARGUMENT


def test_a_package_adds_a_backend_of_models_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(Backend):
        encoding, runtime, module, schemes = wasi_nn.GraphEncoding.AUTODETECT, "elsewhere", "json", ("else",)

        def sniff(self, model: memoryview) -> bool:
            raise AssertionError("it is asked for no files")

        def load_path(self, path: Path, target: Any, options: Any) -> wasi_nn.Graph:
            raise AssertionError("it loads no files")

        def load_remote(self, model: RemoteModel, options: Any) -> wasi_nn.Graph:
            info = wasi_nn.TensorInfo("x", X.dtype, (4,))
            assert [(each.host, each.port, each.path) for each in model.addresses] == [("a", 5, "/m")]
            return Described([info], [info])

    monkeypatch.setattr(backends, "added", lambda: (Elsewhere(),))
    registry = Registry({"m": NamedGraph("else://a:5/m", runtime="elsewhere")})
    assert registry.get("m").compute({"x": X})["x"].tolist() == X.tolist()
    with pytest.raises(NNError, match="isn't in a format known here"):
        wasi_nn.load(b"else://a:5/m")


def test_the_server_chooses_the_device(port: int) -> None:
    refused(ErrorCode.UNSUPPORTED_OPERATION, "oip has no device for gpu here", wasi_nn.load, at(port), target="gpu")
    with pytest.raises(NNError, match="have no encoding that is known here"):
        wasi_nn.load(at(port), "onnx")


def test_the_command_shows_what_is_elsewhere(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graphs", "--graph", f"net={at(port)}", "--check"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"net autodetect oip remote {at(port)} (on another server, never isolated): loaded in" in shown
    assert main(["inspect", at(port)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "runtime oip device remote inputs 0 x f32 [?] outputs 0 y f32 [?] metadata platform a_fake" in shown


# Servers that aren't there


def test_a_server_that_comes_later(fake: OipFake) -> None:
    port = free_port()
    registry = Registry({"net": at(port)})
    with pytest.raises(NNError, match=f"grpc://127.0.0.1:{port} can't be reached: ") as raised:
        registry.get("net")
    assert raised.value.code is ErrorCode.RUNTIME_ERROR
    with oip_server(fake, port):
        fake.is_ready = False
        refused(ErrorCode.RUNTIME_ERROR, "the model isn't ready", registry.get, "net")
        fake.is_ready = True
        graph = registry.get("net")
        assert graph.compute({"x": X})["y"].tolist() == X.tolist()
    refused(ErrorCode.RUNTIME_ERROR, "can't be reached|no server answered", graph.compute, {"x": X})
    with oip_server(fake, port):
        for _ in range(100):
            try:
                assert graph.compute({"x": X})["y"].tolist() == X.tolist()
                return
            except NNError as error:
                assert "can't be reached" in str(error)
                time.sleep(0.1)
    raise AssertionError("the graph doesn't find its server again")


def test_computes_survive_a_server_that_is_killed(
    server: serving.Command, models: dict[str, bytes], tmp_path: Path
) -> None:
    graphs = serving.write_graphs(tmp_path, {"net": models["net"]})
    with serving.command("--graphs", str(graphs)) as first:
        first.wait_until_ready()
        graph = wasi_nn.load([f"grpc://{first.grpc}/net", f"grpc://{server.grpc}/net"], options={"balance": "rotate"})
        done = [0] * 4
        killed = threading.Event()

        def work(place: int) -> None:
            context = graph.init_execution_context()
            context.set_input("x", X)
            after = 0
            while after < 20:
                context.compute()
                assert context.get_output("y").tolist() == [0, 2, 0, 4]
                done[place] += 1
                after += killed.is_set()
                if place == 0 and done[0] == 20:
                    first.process.kill()
                    first.process.communicate()
                    killed.set()

        on_threads(work, 4)
        assert min(done) >= 20


def test_a_server_that_failed_is_left_out_for_a_time_and_tried_again(fake: OipFake, port: int) -> None:
    other, other_port = OipFake(), free_port()
    with oip_server(other, other_port):
        graph = wasi_nn.load([at(other_port), at(port)])
        graph.compute({"x": X})
        assert (len(other.calls), len(fake.calls)) == (1, 0)  # the first that answers
    for _ in range(3):
        graph.compute({"x": X})
    assert len(fake.calls) == 3
    with oip_server(other, other_port):
        until = time.monotonic() + 60
        while len(other.calls) == 1 and time.monotonic() < until:
            graph.compute({"x": X})
            time.sleep(0.05)
        assert len(other.calls) == 2


def test_computes_go_by_turns(fake: OipFake, port: int) -> None:
    other = OipFake()
    with oip_server(other) as other_port:
        graph = wasi_nn.load([at(port), at(other_port)], options={"balance": "rotate"})
        for _ in range(6):
            graph.compute({"x": X})
    assert (len(fake.calls), len(other.calls)) == (3, 3)


def test_each_server_has_a_reason(port: int, fake: OipFake) -> None:
    fake.infer = failing(Code.UNAVAILABLE, "it\nsleeps")
    dead = free_port()
    graph = wasi_nn.load([at(dead), at(port)])
    with pytest.raises(
        NNError,
        match=f"no server answered: grpc://127.0.0.1:{dead} can't be reached: .*; grpc://127.0.0.1:{port}: it sleeps$",
    ):
        graph.compute({"x": X})


@pytest.mark.parametrize(("repeat", "times"), [(True, 2), (False, 1)])
def test_a_compute_that_a_server_may_have_had(repeat: bool, times: int, fake: OipFake, port: int) -> None:
    graph = wasi_nn.load(at(port), options={"repeat": repeat})
    fake.infer = failing(Code.UNAVAILABLE, "the server goes")
    refused(ErrorCode.RUNTIME_ERROR, "the server goes", graph.compute, {"x": X})
    assert len(fake.calls) == times


# Errors


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Code.INVALID_ARGUMENT, ErrorCode.INVALID_ARGUMENT),
        (Code.NOT_FOUND, ErrorCode.NOT_FOUND),
        (Code.UNIMPLEMENTED, ErrorCode.UNSUPPORTED_OPERATION),
        (Code.UNAUTHENTICATED, ErrorCode.SECURITY),
        (Code.PERMISSION_DENIED, ErrorCode.SECURITY),
        (Code.DEADLINE_EXCEEDED, ErrorCode.TIMEOUT),
        (Code.INTERNAL, ErrorCode.RUNTIME_ERROR),
        (Code.CANCELLED, ErrorCode.RUNTIME_ERROR),
        (Code.DATA_LOSS, ErrorCode.RUNTIME_ERROR),
    ],
)
def test_errors_of_a_server(status: grpc.StatusCode, code: ErrorCode, fake: OipFake, port: int) -> None:
    graph = wasi_nn.load(at(port))
    fake.infer = failing(status, "so it is\x1b[31m\n" + 5000 * "x")
    with pytest.raises(NNError) as raised:
        graph.compute({"x": X})
    assert raised.value.code is code
    assert raised.value.message.startswith(f"grpc://127.0.0.1:{port}: so it is\\x1b[31m x")
    assert len(raised.value.message) < 1000
    assert len(fake.calls) == 1


def test_a_server_that_is_too_busy(fake: OipFake, port: int) -> None:
    graph = wasi_nn.load(at(port))
    fake.infer = failing(Code.RESOURCE_EXHAUSTED, "the queue is full")
    with pytest.raises(Busy, match="the queue is full"):
        graph.compute({"x": X})
    guest = CoreGuest(Session({"net": graph}))
    context = guest.context("net")
    assert guest.set_input(context, 0, [4], F32, X.tobytes()) == SUCCESS
    assert guest.call("compute", context) == BUSY
    with serving.RunningServer({"front": graph}) as front:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": X.tolist()}]}
        status, content, headers = front.ask("POST", "/v2/models/front/infer", body)
        assert (status, headers["retry-after"]) == (429, "1")
        assert "the queue is full" in content["error"]
    with oip_server(OipFake()) as idle:  # another server has time
        both = wasi_nn.load([at(port), at(idle)])
        np.testing.assert_array_equal(both.compute({"x": X})["y"], X)


# Time


def test_a_compute_past_its_time_is_cancelled_there(fake: OipFake, port: int) -> None:
    left, ended = [], threading.Event()

    def infer(request: Any, context: Any) -> Any:
        left.append(context.time_remaining())
        context.add_callback(ended.set)
        ended.wait(60)
        return remote_servers.same(request, context)

    fake.infer = infer
    session = Session({"net": at(port)}, limits=Limits(compute_time=0.5))
    context = session.init_execution_context(session.load_by_name("net"))
    session.set_input(context, 0, X)
    refused(ErrorCode.TIMEOUT, "the compute took longer than 0.5 s|within the compute's time", session.compute, context)
    assert ended.wait(60)
    assert 0 < left[0] < 1  # the limit, not the time of computes without one


def test_a_time_for_computes_without_limits(fake: OipFake, port: int) -> None:
    may_end = threading.Event()
    fake.infer = lambda request, context: may_end.wait(60) and remote_servers.same(request, context)
    graph = wasi_nn.load(at(port), options={"timeout": 0.2})
    refused(ErrorCode.TIMEOUT, "didn't answer within 0.2 s", graph.compute, {"x": X})
    may_end.set()


def test_a_run_that_is_stopped_ends_its_compute(fake: OipFake, port: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(X.tobytes())
    began, ended = threading.Event(), threading.Event()

    def infer(request: Any, context: Any) -> Any:
        context.add_callback(ended.set)
        began.set()
        ended.wait(60)
        return remote_servers.same(request, context)

    fake.infer = infer
    with Host({"net": at(port)}, cache=False) as host:
        run = host.start(C_GUESTS / "infer.wasm", ["--graph", "net", "f32:4:/x"], dirs={"/": tmp_path})
        assert began.wait(60)
        run.stop("enough")
        with suppress(wasi_nn.GuestStopped):  # unless the guest itself ends after the error
            run.wait()
    assert ended.wait(60)


# Credentials


@pytest.fixture(scope="module")
def safe_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server with TLS and tokens: its address, and the folder with `cert.pem` and `token`."""
    need_command("openssl", "openssl")
    folder = tmp_path_factory.mktemp("safe")
    certificate, key = make_certificate(folder)
    (folder / "net.onnx").write_bytes(onnx_models.relu())
    (folder / "token").write_text(f"{TOKEN}\n")
    settings: dict[str, Any] = {"tls": (certificate, key), "token_file": folder / "token"}
    with serving.RunningServer({"net": folder / "net.onnx"}, grpc_port=0, **settings) as running:
        yield f"{running.server.addresses['grpc']}/net", folder


def test_tls_and_tokens(safe_server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, folder = safe_server
    trusting = {"ca-file": str(folder / "cert.pem")}
    graph = wasi_nn.load(address, options=trusting | {"token-file": str(folder / "token")})
    assert graph.compute({"x": X})["y"].tolist() == [0, 2, 0, 4]
    refused(ErrorCode.SECURITY, "token", wasi_nn.load, address, options=trusting)
    monkeypatch.setenv("THE_TOKEN", "wrong-token-that-is-secret")
    with pytest.raises(NNError) as raised:
        wasi_nn.load(address, options=trusting | {"token-variable": "THE_TOKEN"})
    assert raised.value.code is ErrorCode.SECURITY
    assert "secret" not in str(raised.value)
    refused(ErrorCode.RUNTIME_ERROR, "can't be reached", wasi_nn.load, address, options={"timeout": 5})


def test_a_token_is_read_anew_and_never_shown(fake: OipFake, port: int, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first-secret")
    graph = wasi_nn.load(at(port), options={"token-file": str(token)})
    fake.infer = lambda request, context: context.abort(
        Code.PERMISSION_DENIED, f"you said {dict(context.invocation_metadata())['authorization']}"
    )
    refused(ErrorCode.SECURITY, r"you said Bearer \[token\]$", graph.compute, {"x": X})
    token.write_text("second-secret")
    refused(ErrorCode.SECURITY, r"you said Bearer \[token\]$", graph.compute, {"x": X})
    said = [dict(context.invocation_metadata())["authorization"] for _, context in fake.calls]
    assert said == ["Bearer first-secret", "Bearer second-secret"]
    token.write_text("two words")
    refused(ErrorCode.RUNTIME_ERROR, "has no token: one word of ASCII", graph.compute, {"x": X})
    token.unlink()
    refused(ErrorCode.RUNTIME_ERROR, "the token can't be read from ", graph.compute, {"x": X})
    assert "secret" not in repr(graph) + repr(graph.__dict__)


def test_a_token_does_not_go_over_a_network_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TOKEN", "secret")
    options = {"token-variable": "THE_TOKEN", "connect-timeout": 0.1}
    with pytest.raises(NNError, match="without encryption: use TLS, or allow that") as raised:
        wasi_nn.load("grpc://server.invalid:8001/m", options=options)
    assert raised.value.code is ErrorCode.SECURITY
    with pytest.raises(NNError, match=r"server\.invalid"):  # which isn't found
        wasi_nn.load("grpc://server.invalid:8001/m", options=options | {"plain-token": True})


def test_files_of_tls_that_are_not_there(tmp_path: Path) -> None:
    options = {"ca-file": str(tmp_path / "nowhere.pem")}
    refused(ErrorCode.RUNTIME_ERROR, "the certificates can't be read", wasi_nn.load, "grpcs://a:1/m", options=options)


def test_proxies_of_the_environment_are_not_used(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert wasi_nn.load(at(port)).compute({"x": X})["y"].tolist() == X.tolist()


# Servers that answer anything


def contents(**fields: Any) -> Any:
    made = messages.ModelInferResponse()
    output = made.outputs.add(name="y", datatype="FP32", shape=[4])
    for field, items in fields.items():
        getattr(output.contents, field).extend(items)
    return made


def test_elements_in_fields(fake: OipFake, port: int) -> None:
    graph = wasi_nn.load(at(port))
    fake.infer = lambda request, context: contents(fp32_contents=[1, 2, 3, 4])
    assert graph.compute({"x": X})["y"].tolist() == [1, 2, 3, 4]


def mixed() -> Any:
    made = contents(fp32_contents=[1, 2, 3, 4])
    made.outputs.add(name="z", datatype="FP32", shape=[0])
    made.raw_output_contents.append(b"")
    return made


FOUR = pack("<4f", 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (messages.ModelInferResponse(), "output 'y' is missing"),
        (answer(("z", "FP32", [4], FOUR)), "output 'y' is missing"),
        (answer(("y", "FP32", [4], FOUR), ("y", "FP32", [4], FOUR)), "output 'y' is there twice"),
        (answer(("y", "FP64", [2], FOUR)), "output 'y' is FP64, which was declared as FP32"),
        (answer(("y", "INT32", [4], FOUR)), "output 'y' is INT32, which was declared as FP32"),
        (answer(("y", "FP31", [4], FOUR)), "no datatype is named 'FP31'"),
        (answer(("y", "FP32", [2, 2], FOUR)), r"output 'y' is \[2, 2\], which was declared as \[\?\]"),
        (answer(("y", "FP32", [-4], FOUR)), "each dim of the shape is a whole number from 0 on, not -4"),
        (answer(("y", "FP32", [2**62], FOUR)), "too large|has 18446744073709551616 bytes"),
        (answer(("y", "FP32", [2**31, 2**31, 0], b"")), r"which was declared as \[\?\]|too large"),
        (answer(("y", "FP32", [1] * 65, FOUR[:4])), "a shape of 65 dims"),
        (answer(("y", "FP32", [5], FOUR)), r"FP32\[5\] has 20 bytes, got 16"),
        (answer(("y", "BYTES", [1], b"\xff\xff\xff\xffa")), "string 0 is said to have 4294967295 bytes"),
        (answer(("y", "BYTES", [2**40], b"")), "strings; at most"),
        (contents(fp32_contents=[1, 2, 3]), "has 4 elements, got 3"),
        (contents(fp64_contents=[1, 2, 3, 4]), "FP32 is in fp32_contents, got fp64_contents"),
        (contents(), "has 4 elements, got 0"),
        (mixed(), "1 raw_output_contents for 2 outputs"),
    ],
)
def test_wrong_answers(wrong: Any, words: str, fake: OipFake, port: int) -> None:
    graph = wasi_nn.load(at(port))
    fake.infer = lambda request, context: wrong
    refused(ErrorCode.RUNTIME_ERROR, f"the server sent a wrong answer: .*({words})", graph.compute, {"x": X})
    fake.infer = remote_servers.same
    np.testing.assert_array_equal(graph.compute({"x": X})["y"], X)


def test_answers_that_are_too_large(fake: OipFake, port: int) -> None:
    graph = wasi_nn.load(at(port), options={"max-answer-bytes": 1000})
    fake.infer = lambda request, context: answer(("y", "FP32", [250], bytes(1000)))
    refused(ErrorCode.TOO_LARGE, "option max-answer-bytes", graph.compute, {"x": X})
    fake.infer = lambda request, context: answer(("y", "FP32", [5 << 20], bytes(20 << 20)))
    refused(ErrorCode.TOO_LARGE, "larger than max", graph.compute, {"x": X})
    fake.infer = lambda request, context: answer(*((f"y{n}", "FP32", [0], b"") for n in range(5000)))
    refused(ErrorCode.TOO_LARGE, "5000 outputs", wasi_nn.load(at(port)).compute, {"x": X})


def test_a_small_message_does_not_become_a_large_one(fake: OipFake, port: int) -> None:
    def infer(request: Any, context: Any) -> Any:
        context.set_compression(grpc.Compression.Gzip)
        return answer(("y", "FP32", [1 << 20], bytes(4 << 20)))

    fake.infer = infer
    refused(ErrorCode.RUNTIME_ERROR, "grpc://", wasi_nn.load(at(port)).compute, {"x": X})


def test_a_request_that_is_too_large_for_the_server(models: dict[str, bytes], tmp_path: Path) -> None:
    limits = serving_limits()
    with serving.RunningServer({"m": serving.identity(serving.TYPES["fp32"])}, grpc_port=0, limits=limits) as running:
        graph = wasi_nn.load(f"grpc://{running.grpc_address}/m")
        refused(ErrorCode.TOO_LARGE, "larger than max", graph.compute, {"x": np.zeros((50_000, 2), np.float32)})


def serving_limits() -> Any:
    from wasi_nn.serving.settings import ServingLimits

    return ServingLimits(body_bytes=100_000)


def described(**tensor: Any) -> Callable[[Any], None]:
    return lambda metadata: metadata.inputs.add(**tensor)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (described(name="", datatype="FP32", shape=[1]), "an input named ''"),
        (
            described(name="x", datatype="FP32", shape=[1]),
            "an input named 'x', which is empty, too long or there twice",
        ),
        (described(name="y" * 5000, datatype="FP32", shape=[1]), "an input named 'yyy"),
        (described(name="z", datatype="FP32", shape=[-2]), r"input 'z' of the shape \[-2\]"),
        (described(name="z", datatype="FP32", shape=[1] * 65), "input 'z' of the shape"),
        (lambda it: [it.outputs.add(name=str(n)) for n in range(5000)], "5002 inputs and outputs"),
    ],
)
def test_wrong_descriptions(change: Callable[[Any], Any], words: str, fake: OipFake, port: int) -> None:
    change(fake.metadata)
    refused(ErrorCode.RUNTIME_ERROR, words, wasi_nn.load, at(port))


def test_a_type_that_is_not_known_is_any(fake: OipFake, port: int) -> None:
    fake.metadata.inputs[0].datatype = fake.metadata.outputs[0].datatype = "UNKNOWN"
    graph = wasi_nn.load(at(port))
    assert [(info.dtype, info.dims) for info in (*graph.inputs, *graph.outputs)] == [(None, None)] * 2
    fake.infer = lambda request, context: answer(
        ("y", request.inputs[0].datatype, request.inputs[0].shape, request.raw_input_contents[0])
    )
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    np.testing.assert_array_equal(graph.compute({"x": array})["y"], array)


def test_a_server_that_is_none(tmp_path: Path) -> None:
    """The peer isn't a server of the protocol: it sends a byte now and then, and never an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
        port = listening.getsockname()[1]
        is_over = threading.Event()

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                while not is_over.wait(0.01):
                    try:
                        connection.sendall(b"\0")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        stack.callback(thread.join)
        stack.callback(is_over.set)
        with pytest.raises(NNError) as raised:
            wasi_nn.load(at(port), options={"connect-timeout": 0.3})
        assert raised.value.code is ErrorCode.RUNTIME_ERROR


# Processes


def test_a_fork_makes_its_own_graph(port: int) -> None:
    program = f"""
import os, sys
import numpy as np
import wasi_nn
graph = wasi_nn.load({at(port)!r})
context = graph.init_execution_context()
context.set_input("x", np.zeros(2, np.float32))
context.compute()
child = os.fork()
if not child:
    reasons = []
    for use in (graph.init_execution_context, context.compute, lambda: wasi_nn.load({at(port)!r})):
        try:
            use()
        except wasi_nn.NNError as error:
            reasons.append(str(error))
    print(len(reasons), reasons[-1], flush=True)
    os._exit(0)
os.waitpid(child, 0)
context.compute()
print(context.get_output(0).tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first.startswith("3 oip was used in the process that this one was forked from")
    assert second == "[0.0, 0.0]"


def test_without_grpc_an_error_says_what_to_install(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(NNError, match=r"oip needs grpc, which isn't installed: pip install 'wasi-nn\[remote\]'"):
        wasi_nn.load(at(port))


def test_the_error_of_a_missing_model_is_one(server: serving.Command) -> None:
    with pytest.raises(ModelNotFound, match="no model is named 'nope'"):
        wasi_nn.load(f"grpc://{server.grpc}/nope")
    with pytest.raises(NNError, match=r"graph 'm': grpc://.*: no model is named 'nope'"):
        Session({"m": f"grpc://{server.grpc}/nope"}, allow_names=["m"]).load_by_name("m")
