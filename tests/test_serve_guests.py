"""Guests as models of a server: the answers that clients get, and the cost of a hostile guest."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import Any

import models as real_models
import numpy as np
import onnx_models
import pytest
import serving_guests as guests
from checks import wait_until
from conftest import REPOSITORY, SUPPORT
from serving import RunningServer
from serving_guests import (
    C_GUESTS,
    COMPONENT_GUESTS,
    EXAMPLE,
    GOOD,
    Output,
    as_toml,
    colours_guest,
    expect,
    guest,
    respond,
    small_guest,
)

import wasi_nn
from wasi_nn.serving.guests.model_registry import ModelRegistry
from wasi_nn.serving.settings import ServingLimits

REQUESTS = SUPPORT / "components" / "requests.wasm"
RED = {"name": "picture", "datatype": "UINT8", "shape": [1, 1, 3], "data": [200, 20, 20]}
ONE = [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}]

WRONG_ANSWERS = {
    "lacks": ([Output(b"z", "FP32", [1], bytes(4))], "its answer lacks output 'y'; it has 'z'"),
    "empty": ([], "its answer lacks output 'y'; it has none"),
    "more": ([guests.ONE, Output(b"z", "FP32", [1], bytes(4))], "has output 'z', which isn't declared"),
    "type": ([Output(b"y", "FP64", [1], bytes(8))], "output 'y' of its answer is FP64[1], declared FP32[1]"),
    "text": ([Output(b"y", "BYTES", [1], bytes(4))], "output 'y' of its answer is BYTES[1], declared FP32[1]"),
    "dim": ([Output(b"y", "FP32", [2], bytes(8))], "output 'y' of its answer is FP32[2], declared FP32[1]"),
    "rank": ([Output(b"y", "FP32", [], bytes(4))], "output 'y' of its answer is FP32[], declared FP32[1]"),
}
HOSTILE = {
    "traps": (guests.TRAPS, "the guest trapped: wasm `unreachable` instruction executed"),
    "silent": (guests.SILENT, "the guest ended with exit code 0 without answering its request"),
    "hungry": (guests.HUNGRY, "the guest trapped: wasm `unreachable` instruction executed"),
    "talks": (guests.TALKS, "the guest trapped: it wrote more than 100000 bytes of output"),
    "burns": (guests.ENDLESS, "the guest trapped: it took more than 0.05 s of processor time"),
    "lingers": (guests.ENDLESS, "the guest trapped: it ran longer than 0.2 s"),
    "fueled": (guests.ENDLESS, "the guest trapped: all fuel consumed"),
    "huge": (
        guest(respond(), [Output(b"y", "FP32", [2**30], b"", 2**32 - 4)]),
        "the guest trapped: respond: the data of output 0",
    ),
}
LIMITS: dict[str, Any] = {
    "hungry": {"guest-memory": "8M"},
    "talks": {"output-bytes": 100_000},
    "burns": {"guest-time": 0.05},
    "lingers": {"run-time": "200ms"},
    "fueled": {"fuel": 100_000},
}


def _described(folder: Path) -> dict[str, Any]:
    """The guests of the server, each fresh and reused."""

    def written(name: str, text: str) -> Path:
        path = folder / f"{name}.wat"
        path.write_text(text)
        return path

    described: dict[str, Any] = {}
    for name, path in (
        ("module", C_GUESTS / "serve_colours.wasm"),
        ("component", COMPONENT_GUESTS / "serve_colours.wasm"),
    ):
        described[name] = colours_guest(path)
    described["good"] = small_guest(written("good", GOOD))
    described["echo"] = {
        "path": str(written("echo", guests.ECHO)),
        "inputs": [{"name": "s", "datatype": "BYTES", "shape": [-1, 2]}],
        "outputs": [{"name": "s", "datatype": "BYTES", "shape": [-1, 2]}],
    }
    described["counts"] = small_guest(written("counts", guests.COUNTS), "INT32")
    leaves = SUPPORT / "components" / "requests.wasm"
    described["leaves"] = small_guest(leaves, arguments=["drop"])
    described["sometimes"] = small_guest(written("sometimes", SOMETIMES))
    described["endless"] = small_guest(written("endless", guests.ENDLESS))
    described["once"] = small_guest(written("once", guest(respond(), [guests.ONE], once=True)))
    fails = "(drop (call $fail_request (local.get $request) (i32.const 1) (i32.const 64) (i32.const 8)))"
    described["fails"] = small_guest(written("fails", guest(fails, rest='(data (i32.const 64) "no\\nluck!")')))
    for name, (outputs, _) in WRONG_ANSWERS.items():
        described[name] = small_guest(written(name, guest(respond(len(outputs)) + expect(0), outputs)))
    for name, (text, _) in HOSTILE.items():
        described[name] = small_guest(written(name, text), limits=LIMITS.get(name, {}))
    return described | {f"{name}, reused": {**keys, "reuse": True} for name, keys in described.items()}


SOMETIMES = guest(
    """
    (drop (call $read_request (local.get $request) (i32.const 0x9000) (i32.const 0x1000) (i32.const 4)))
    (if (f32.lt (f32.load (i32.load (i32.const 0x901c))) (f32.const 0)) (then unreachable))
    """
    + respond()
    + expect(0),
    [guests.ONE],
)
"""Traps if the element of x is negative."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("guests")
    graphs = {"colours": {"path": str(EXAMPLE / "colours.onnx")}, "net": {"path": "net.onnx"}}
    (folder / "net.onnx").write_bytes(onnx_models.relu())
    file = folder / "graphs.toml"
    file.write_text(as_toml({"graphs": graphs, "guests": _described(folder)}))
    limits = ServingLimits(request_time=30.0)
    with RunningServer(file, grpc_port=0, has_admin=True, limits=limits) as server:
        yield server


def _infer(server: RunningServer, name: str, inputs: Any = ONE, **more: Any) -> tuple[int, Any]:
    status, content, _ = server.ask("POST", f"/v2/models/{name.replace(' ', '%20')}/infer", {"inputs": inputs, **more})
    return status, content


def _reused(names: Any) -> list[str]:
    return [it for name in names for it in (name, f"{name}, reused")]


@pytest.mark.parametrize("name", _reused(["module", "component"]))
def test_a_guest_is_a_model(server: RunningServer, name: str) -> None:
    path = f"/v2/models/{name.replace(' ', '%20')}"
    assert server.ask("GET", f"{path}/ready")[:2] == (200, {"name": name, "ready": True})
    assert server.ask("GET", path)[1] == {
        "name": name,
        "versions": ["1"],
        "platform": "wasm_guest",
        "inputs": [{"name": "picture", "datatype": "UINT8", "shape": [-1, -1, 3]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [1]},
            {"name": "scores", "datatype": "FP32", "shape": [6]},
        ],
    }
    status, answer = _infer(server, name, [RED])
    assert status == 200
    label, scores = answer["outputs"]
    assert (label["data"], label["datatype"]) == (["red"], "BYTES")
    assert max(scores["data"]) == scores["data"][2]
    status, answer = _infer(server, name, [RED], outputs=[{"name": "scores"}])
    assert [output["name"] for output in answer["outputs"]] == ["scores"]


def test_requests_are_checked_before_a_guest_has_them(server: RunningServer) -> None:
    for inputs, words in (
        ([RED | {"shape": [1, 3]}], "picture"),
        ([RED | {"shape": [1, 1, 4], "data": [0] * 4}], "picture"),
        ([RED | {"datatype": "INT8", "data": [0] * 3}], "picture"),
        ([RED | {"name": "photo"}], "no input is named 'photo'"),
        ([], "picture"),
    ):
        status, answer = _infer(server, "module", inputs)
        assert status == 400
        assert words in answer["error"]
        assert "guest" not in answer["error"]
    status, answer = _infer(server, "module", [RED], outputs=[{"name": "lable"}])
    assert (status, "lable" in answer["error"]) == (400, True)


def test_strings_go_through_a_guest(server: RunningServer) -> None:
    strings = {"name": "s", "datatype": "BYTES", "shape": [2, 2], "data": ["", "ä", "b\0", "日本"]}
    status, answer = _infer(server, "echo", [strings])
    assert (status, answer["outputs"]) == (200, [strings])


def test_a_guest_tells_the_client_what_is_wrong(server: RunningServer) -> None:
    status, answer = _infer(server, "module", [RED | {"shape": [0, 4, 3], "data": []}])
    assert (status, answer) == (400, {"error": "guest 'module': the picture must be UINT8 [height, width, 3]"})
    for name in ("fails", "fails, reused"):
        assert _infer(server, name) == (500, {"error": f"guest {name!r}: no\\nluck!"})


@pytest.mark.parametrize("name", _reused(WRONG_ANSWERS))
def test_an_answer_is_checked_against_what_is_declared(server: RunningServer, name: str) -> None:
    status, answer = _infer(server, name)
    assert status == 500
    assert f"guest {name!r}: " in answer["error"]
    assert WRONG_ANSWERS[name.removesuffix(", reused")][1] in answer["error"]


@pytest.mark.parametrize("name", _reused(HOSTILE))
def test_a_hostile_guest_costs_its_own_request_only(server: RunningServer, name: str) -> None:
    for _ in range(2):  # a sandbox that failed is replaced, and fails again
        status, answer = _infer(server, name)
        assert status == 500
        assert HOSTILE[name.removesuffix(", reused")][1] in answer["error"]
    assert _infer(server, "good")[0] == 200


def test_a_fresh_sandbox_for_each_request_and_one_for_many(server: RunningServer) -> None:
    fresh = [_infer(server, "counts", [])[1]["outputs"][0]["data"] for _ in range(4)]
    reused = [_infer(server, "counts, reused", [])[1]["outputs"][0]["data"] for _ in range(4)]
    assert (fresh, reused) == ([[1]] * 4, [[1], [2], [3], [4]])


def test_a_sandbox_that_traps_is_replaced(server: RunningServer) -> None:
    negative = [ONE[0] | {"data": [-1.0]}]
    for name in ("sometimes", "sometimes, reused"):
        statuses = [_infer(server, name, inputs)[0] for inputs in (ONE, negative, ONE, ONE, negative, negative, ONE)]
        assert statuses == [200, 500, 200, 200, 500, 500, 200]


def test_a_guest_that_ends_after_each_request_may_be_reused_all_the_same(server: RunningServer) -> None:
    for name in ("once", "once, reused"):
        for _ in range(5):
            assert _infer(server, name)[0] == 200


def test_a_guest_that_leaves_a_request_and_asks_for_another(server: RunningServer) -> None:
    """The guest learns that there are no more requests, and the server doesn't wait for it."""
    for name in ("leaves", "leaves, reused", "leaves, reused"):
        status, answer = _infer(server, name, [])
        assert status == 500
        assert answer["error"].endswith("the guest ended with exit code 0 without answering its request")


@pytest.mark.parametrize("name", ["endless", "endless, reused"])
def test_the_time_of_a_request_stops_its_guest(server: RunningServer, name: str) -> None:
    began = time.monotonic()
    status, answer = _infer(server, name, parameters={"timeout": 200_000})
    assert status == 504, answer
    assert time.monotonic() - began < 20  # of the 30 s that the server allows
    _wait_for_idle(server)


@pytest.mark.parametrize("name", ["endless", "endless, reused"])
def test_a_client_that_goes_stops_its_guest(server: RunningServer, name: str) -> None:
    connection = server.connection()
    connection.request("POST", f"/v2/models/{name.replace(' ', '%20')}/infer", json.dumps({"inputs": ONE}).encode())
    while not server.server.service.queue.running:
        pass
    connection.close()
    _wait_for_idle(server)


def _wait_for_idle(server: RunningServer) -> None:
    """Wait until nothing computes: the guests have ended."""
    wait_until(lambda: not server.server.service.queue.running)


@pytest.mark.parametrize("name", ["good", "good, reused"])
def test_a_sandbox_ends_with_the_context_of_a_request_that_was_given_up(server: RunningServer, name: str) -> None:
    """Such a context isn't used again, and the sandbox would wait for ever."""
    served = server.server.service.models.find(name).served
    assert served is not None
    graph: Any = served.graph
    before = graph.sandboxes
    context = graph.init_execution_context()
    context.compute_named([("x", np.ones(1, np.float32))])
    wait_until(lambda: graph.sandboxes == before + 1)
    del context
    wait_until(lambda: graph.sandboxes == before)


def test_many_clients_at_once(server: RunningServer) -> None:
    pictures = {"red": [200, 20, 20], "white": [250, 250, 250], "black": [0, 0, 0], "blue": [10, 10, 250]}
    wrong = []

    def ask_often(name: str, label: str) -> None:
        for _ in range(5):
            status, answer = _infer(server, name, [RED | {"data": pictures[label]}])
            if status != 200 or answer["outputs"][0]["data"] != [label]:
                wrong.append((name, label, answer))

    names = _reused(["module", "component"])
    threads = [threading.Thread(target=ask_often, args=(name, label)) for name in names for label in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_last_lines_of_a_guests_standard_error_go_to_the_log(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("talks", "talks, reused"):
        caplog.clear()
        assert _infer(server, name)[0] == 500
        [record] = [it for it in caplog.records if it.name == "wasi_nn.serving" and it.levelno == logging.WARNING]
        assert record.getMessage().startswith(f"guest {name!r}: its standard error:\n  | ")
        assert len(record.getMessage()) < 3000


def test_guests_cant_be_named_by_guests(tmp_path: Path) -> None:
    table = colours_guest(C_GUESTS / "serve_colours.wasm")
    others = {"loop": colours_guest(C_GUESTS / "serve_colours.wasm", "loop"), "none": {**table, "graphs": []}}
    graphs = {"colours": {"path": str(EXAMPLE / "colours.onnx")}}
    file = tmp_path / "graphs.toml"
    file.write_text(as_toml({"graphs": graphs, "guests": {"good": table, **others}}))
    with RunningServer(file, has_admin=True) as server:
        reasons = {it["name"]: it["reason"] for it in server.ask("POST", "/v2/repository/index", {})[1]}
        assert server.ask("GET", "/v2/health/ready")[0] == 503
        assert reasons["good"] == reasons["colours"] == ""
        for name in others:
            assert "the guest ended with exit code 1 before any request: load_by_name: not_found" in reasons[name]
            assert _infer(server, name, [RED])[0] == 503


def test_a_guest_that_cant_serve_is_a_model_that_isnt_ready(tmp_path: Path) -> None:
    texts = {
        "undeclared": GOOD,
        "vague": '(module (func (export "_start")))',
        "library": "(module)",
        "broken": "(module (func (export",
        "lacking": GOOD.replace('"respond"', '"reply"'),
        "slow": '(module (func (export "_start") (loop $ever (br $ever))))',
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.wat").write_text(text)
    described = {name: small_guest(f"{name}.wat") for name in texts}
    described["undeclared"] = described["vague"] = {}
    described["undeclared"] = {"path": "undeclared.wat"}
    described["vague"] = {"path": "vague.wat"}
    described["slow"] |= {"limits": {"guest-time": 0.2}}
    described["http"] = {"path": "vague.wat", "serves": "http"}
    file = tmp_path / "graphs.toml"
    file.write_text(as_toml({"guests": described}))
    with RunningServer(file, has_admin=True) as server:
        reasons = {it["name"]: it["reason"] for it in server.ask("POST", "/v2/repository/index", {})[1]}
    assert sorted(reasons) == sorted(texts)
    for name, words in {
        "undeclared": "has no outputs",
        "vague": 'one that answers HTTP has serves = "http"',
        "library": "is a library, not a command",
        "broken": "is not valid WebAssembly text",
        "lacking": "wasi_nn_serving.reply",
        "slow": "it took more than 0.2 s of processor time",
    }.items():
        assert words in reasons[name]


def test_a_guest_whose_graph_isnt_there_is_told_before_any_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "guest.wat").write_text("(module)")
    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    about = {"path": "guest.wat", "serves": "http", "graphs": ["colour", "net-*", "c*"]}
    file = tmp_path / "graphs.toml"
    file.write_text(as_toml({"graphs": {"colours": {"path": "net.onnx"}}, "guests": {"mine": about}}))
    ModelRegistry(wasi_nn.Registry(file), 1.0)
    assert caplog.messages == [
        "guest 'mine' may load the graph 'colour', and no graph has this name; did you mean colours?",
        "guest 'mine' may load the graph 'net-*', and no graph has this name",
    ]


def test_a_reload_brings_new_guests_and_keeps_old_ones_that_work(tmp_path: Path) -> None:
    def write(name: str, text: str) -> str:
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", tmp_path / name)
        return name

    def value(number: int) -> str:
        return guest(respond(), [Output(b"y", "FP32", [1], pack("<f", number))])

    def answers(server: RunningServer) -> list[Any]:
        got = [_infer(server, name, []) for name in "abcd"]
        return [content["outputs"][0]["data"] if status == 200 else status for status, content in got]

    described = {
        "a": small_guest(write("a.wat", value(1))),
        "b": small_guest(write("b.wat", value(2)), reuse=True),
        "c": small_guest(write("c.wat", value(3))),
    }
    write("graphs.toml", as_toml({"guests": described}))
    with RunningServer(tmp_path / "graphs.toml", has_admin=True) as server:
        models = server.server.service.models
        assert answers(server) == [[1], [2], [3], 404]
        assert server.wait_for(models.reload()) == []
        write("a.wat", value(4))
        write("b.wat", value(5))
        write("c.wat", "(module)")
        described["d"] = small_guest(write("d.wat", value(6)))
        write("graphs.toml", as_toml({"guests": described}))
        assert sorted(server.wait_for(models.reload())) == ["a", "b", "c", "d"]
        assert answers(server) == [[4], [5], [3], [6]]
        write("c.wat", value(7))
        assert server.ask("POST", "/v2/repository/models/c/load", {})[0] == 200
        assert server.ask("POST", "/v2/repository/models/b/unload", {})[0] == 200
        del described["a"]
        write("graphs.toml", as_toml({"guests": described}))
        server.wait_for(models.reload())
        assert answers(server) == [404, 503, [7], [6]]
        assert server.ask("POST", "/v2/repository/models/b/load", {})[0] == 200
        assert answers(server)[1] == [5]


def test_a_guest_that_is_reused_gets_a_graph_that_was_changed(tmp_path: Path) -> None:
    def model(scale: float) -> bytes:
        content = (EXAMPLE / "colours.onnx").read_bytes()
        assert pack("<f", -4) in content
        return content.replace(pack("<f", -4), pack("<f", scale))

    net = tmp_path / "colours.onnx"
    net.write_bytes(model(-4))
    file = tmp_path / "graphs.toml"
    guests_ = {"g": colours_guest(C_GUESTS / "serve_colours.wasm", reuse=True)}
    file.write_text(as_toml({"graphs": {"colours": {"path": "colours.onnx"}}, "guests": guests_}))
    with RunningServer(file) as server:
        before = _infer(server, "g", [RED])[1]["outputs"][1]["data"]
        (tmp_path / "new").write_bytes(model(-8))
        os.replace(tmp_path / "new", net)
        assert server.wait_for(server.server.service.models.reload()) == ["colours", "g"]
        after = _infer(server, "g", [RED])[1]["outputs"][1]["data"]
    assert np.allclose(after, 2 * np.array(before))


def test_a_guest_that_sleeps_holds_up_nobody(tmp_path: Path) -> None:
    (tmp_path / "sleeps.wat").write_text(guests.SLEEPS)
    (tmp_path / "good.wat").write_text(GOOD)
    described = {name: small_guest(f"{name.partition(' ')[0]}.wat") for name in ("sleeps", "sleeps reused", "good")}
    described["sleeps reused"]["reuse"] = True
    file = tmp_path / "graphs.toml"
    file.write_text(as_toml({"guests": described}))
    with RunningServer(file, limits=ServingLimits(computes=2)) as server:
        for name in ("sleeps", "sleeps reused"):
            assert _infer(server, name, parameters={"timeout": 100_000})[0] == 504
            assert _infer(server, "good")[0] == 200
        assert _infer(server, "sleeps")[0] == 200


def test_a_file_with_guests_runs_guests_of_the_command_too(tmp_path: Path) -> None:
    import wasi_nn

    (tmp_path / "net.onnx").write_bytes(onnx_models.relu())
    (tmp_path / "good.wat").write_text(GOOD)
    file = tmp_path / "graphs.toml"
    file.write_text(as_toml({"graphs": {"net": {"path": "net.onnx"}}, "guests": {"g": small_guest("good.wat")}}))
    host = wasi_nn.Host(str(file), cache=False)
    arguments = ["--graph", "net"]
    assert b"x" in host.run(C_GUESTS / "run_any.wasm", arguments, capture_output=True).stdout
    result = host.run(C_GUESTS / "run_any.wasm", ["--graph", "g"], capture_output=True)
    assert b"not_found" in result.stderr


def test_grpc_serves_guests_too(server: RunningServer) -> None:
    import grpc

    from wasi_nn.oip.proto import open_inference_pb2 as pb

    with grpc.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        tensor = pb.ModelInferRequest.InferInputTensor(name="picture", datatype="UINT8", shape=[1, 1, 3])
        answer = call(pb.ModelInferRequest(model_name="component", inputs=[tensor], raw_input_contents=[bytes(3)]))
        assert [output.name for output in answer.outputs] == ["label", "scores"]
        assert answer.raw_output_contents[0] == b"\5\0\0\0black"
        tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1])
        for name, code in (("traps", grpc.StatusCode.INTERNAL), ("fails", grpc.StatusCode.INTERNAL)):
            with pytest.raises(grpc.RpcError) as raised:
                call(pb.ModelInferRequest(model_name=name, inputs=[tensor], raw_input_contents=[bytes(4)]))
            assert raised.value.code() == code
            assert f"guest {name!r}: " in raised.value.details()


def test_file_types_by_a_real_model_with_its_preprocessing_in_the_guest(tmp_path: Path) -> None:
    magika = real_models.magika()
    expected = {
        "pyproject.toml": "toml",
        "guests/c/identify.c": "c",
        "guests/c/identify.wasm": "wasm",
        "LICENSE": "txt",
    }
    described = {
        "path": str(C_GUESTS / "serve_files.wasm"),
        "graphs": ["magika"],
        "directories": {"/model": str(magika.labels.parent)},
        "arguments": ["--graph", "magika", "--labels", f"/model/{magika.labels.name}"],
        "inputs": [{"name": "content", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
        ],
    }
    file = tmp_path / "graphs.toml"
    graphs = {"magika": {"path": str(magika.model), "options": {"threads": 1}}}
    file.write_text(as_toml({"graphs": graphs, "guests": {"f": described, "f, reused": described | {"reuse": True}}}))
    contents = [(REPOSITORY / name).read_bytes() for name in expected] + [b"short"]
    body = b"".join(pack("<I", len(content)) + content for content in contents)
    tensor = {"name": "content", "datatype": "BYTES", "shape": [len(contents)]}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(body)}}]}).encode()
    with RunningServer(file) as server:
        for name in ("f", "f%2C%20reused"):
            for _ in range(2):
                headers = {"Inference-Header-Content-Length": str(len(head))}
                status, answer, _ = server.ask("POST", f"/v2/models/{name}/infer", head + body, headers)
                assert status == 200, answer
                label, score = answer["outputs"]
                assert label["data"] == [*expected.values(), "unknown"]
                assert min(score["data"][:-1]) > 0.5


def test_the_example_of_the_page(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "how-to" / "guest-endpoints.md").read_text()
    file = tmp_path / "graphs.toml"
    file.write_text(page.partition("```toml\n")[2].partition("```")[0])
    for path in (EXAMPLE / "colours.onnx", C_GUESTS / "serve_colours.wasm"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    body = page.partition("/infer \\\n    -d '")[2].partition("'")[0]
    with RunningServer(file) as server:
        status, answer, _ = server.ask("POST", "/v2/models/colour-of/infer", body.encode())
        assert (status, answer["outputs"][0]["data"]) == (200, ["red"])


def test_a_component_that_drops_its_request_costs_this_request_only(tmp_path: Path) -> None:
    described = {
        f"{how}{', reused' if reuse else ''}": small_guest(REQUESTS, arguments=[how], reuse=reuse)
        for how in ("good", "drop", "two", "twice")
        for reuse in (False, True)
    }
    file = tmp_path / "graphs.toml"
    file.write_text(as_toml({"guests": described}))
    with RunningServer(file) as server:
        for name in described:
            for _ in range(2):
                status, answer = _infer(server, name)
                if name.startswith("drop"):
                    error = f"guest {name!r}: the guest ended with exit code 0 without answering its request"
                    assert (status, answer) == (500, {"error": error})
                else:
                    assert (status, answer["outputs"][0]["data"]) == (200, [1.5])
