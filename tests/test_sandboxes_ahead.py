"""Fresh sandboxes of guests that serve models, which begin ahead of their requests."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import pytest
import serving_guests as guests
from checks import wait_until
from serving import RunningServer
from serving_guests import C_GUESTS, EXAMPLE, GOOD, as_toml, colours_guest, expect, guest, respond, small_guest

from wasi_nn.serving.guests import sandboxes
from wasi_nn.serving.guests.guest_graph import GuestGraph

Serve = Callable[..., AbstractContextManager[RunningServer]]

RED = {"name": "picture", "datatype": "UINT8", "shape": [1, 1, 3], "data": [200, 20, 20]}
GOES_ON = guest(respond() + expect(0) + "(loop $ever (br $ever))", [guests.ONE])
"""Answers, and never ends."""
PRINTS_LATER = guest(
    respond() + "(drop (call $fd_write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 8)))",
    [guests.ONE],
    imports='(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))',
    rest=f'(data (i32.const 16) "{guests.escaped(pack("<II", 24, 9))}goodbye!\\0a")',
)
"""Prints a line after its answer."""


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Start a server with guests: texts of modules with more keys."""

    @contextmanager
    def started(**described: tuple[str, dict[str, Any]]) -> Iterator[RunningServer]:
        tables = {}
        for name, (text, keys) in described.items():
            (tmp_path / f"{name}.wat").write_text(text)
            tables[name] = small_guest(f"{name}.wat", **{"datatype": "FP32", **keys})
        file = tmp_path / "graphs.toml"
        file.write_text(as_toml({"guests": tables}))
        with RunningServer(file) as server:
            yield server

    return started


def infer(server: RunningServer, name: str, inputs: Any = (), **headers: str) -> tuple[int, Any, dict[str, str]]:
    status, content, fields = server.ask("POST", f"/v2/models/{name}/infer", {"inputs": list(inputs)}, headers)
    return status, content, dict(fields)


def graph_of(server: RunningServer, name: str) -> GuestGraph:
    served = server.server.service.models.find(name).served
    assert served is not None
    assert isinstance(served.graph, GuestGraph)
    return served.graph


def one_waits(server: RunningServer, name: str) -> None:
    """Wait until exactly one sandbox stands ready for the next request."""
    wait_until(lambda: graph_of(server, name).sandboxes == 1)


def test_each_request_has_a_sandbox_that_began_before(serve: Serve) -> None:
    with serve(g=(guests.COUNTS, {"datatype": "INT32"})) as server:
        assert infer(server, "g")[0] == 200
        for _ in range(5):
            one_waits(server, "g")
            [run] = [sandbox.run for sandbox in graph_of(server, "g")._sandboxes if not sandbox.run.has_ended]
            status, answer, _ = infer(server, "g")
            assert (status, answer["outputs"][0]["data"]) == (200, [1])
            run.wait(20)  # it was the one that answered


def test_an_operator_has_none_begin_before(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(sandboxes.NextSandbox, "begin_soon", refuse)
    with serve(g=(GOOD, {"start-ahead": False})) as server:
        assert [infer(server, "g")[0] for _ in range(3)] == [200] * 3


def test_one_that_has_waited_for_long_ends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "_LONGEST_AHEAD", 0.01)
    with serve(g=(GOOD, {})) as server:
        for _ in range(4):
            assert infer(server, "g")[0] == 200
            wait_until(lambda: graph_of(server, "g").sandboxes == 0)


def test_a_guest_that_goes_on_after_its_answer_is_stopped(serve: Serve) -> None:
    """The client has its answer already. One such guest goes on while another answers; its time ends it too."""
    with serve(g=(GOES_ON, {"limits": {"run-time": "1s"}})) as server:
        for _ in range(4):
            assert infer(server, "g")[0] == 200
            wait_until(lambda: graph_of(server, "g").sandboxes)
            assert graph_of(server, "g").sandboxes <= 3  # two that go on, of which one is stopped, and the next one
        wait_until(lambda: graph_of(server, "g").sandboxes == 0)


def printed(caplog: pytest.LogCaptureFixture, count: int) -> bool:
    return caplog.text.count("goodbye!") == count


def test_what_it_prints_after_its_answer_is_logged_once(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with serve(g=(PRINTS_LATER, {})) as server, caplog.at_level(logging.WARNING, "wasi_nn.serving"):
        for count in range(1, 4):
            assert infer(server, "g")[0] == 200
            wait_until(partial(printed, caplog, count))
            one_waits(server, "g")
        assert printed(caplog, 3)


def test_a_request_that_isnt_answered_leaves_the_next_one_alone(serve: Serve) -> None:
    negative, positive = ([{"name": "x", "datatype": "FP32", "shape": [1], "data": [x]}] for x in (-1.0, 1.0))
    sometimes = guest(
        "(drop (call $read_request (local.get $request) (i32.const 0x9000) (i32.const 0x1000) (i32.const 4)))"
        "(if (f32.lt (f32.load (i32.load (i32.const 0x901c))) (f32.const 0)) (then unreachable))" + respond(),
        [guests.ONE],
    )
    with serve(g=(sometimes, {})) as server:
        assert infer(server, "g", positive)[0] == 200
        one_waits(server, "g")
        status, answer, _ = infer(server, "g", negative)
        assert status == 500
        assert "the guest trapped: wasm `unreachable` instruction executed" in answer["error"]
        assert infer(server, "g", positive)[0] == 200
        one_waits(server, "g")


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("by_client", [False, True])
def test_a_changed_graph_is_that_of_the_next_request(tmp_path: Path, by_client: bool, reuse: bool) -> None:
    def model(scale: float) -> bytes:
        content = (EXAMPLE / "colours.onnx").read_bytes()
        assert pack("<f", -4) in content
        return content.replace(pack("<f", -4), pack("<f", scale))

    net, file = tmp_path / "colours.onnx", tmp_path / "graphs.toml"
    net.write_bytes(model(-4))
    guest_ = colours_guest(C_GUESTS / "serve_colours.wasm", reuse=reuse)
    file.write_text(as_toml({"graphs": {"colours": {"path": "colours.onnx"}}, "guests": {"g": guest_}}))
    with RunningServer(file, has_admin=True) as server:
        before = infer(server, "g", [RED])[1]["outputs"][1]["data"]
        one_waits(server, "g")
        (tmp_path / "new").write_bytes(model(-8))
        os.replace(tmp_path / "new", net)
        if by_client:
            assert server.ask("POST", "/v2/repository/models/colours/load", {})[0] == 200
        else:
            server.wait_for(server.server.service.models.reload())
        after = infer(server, "g", [RED])[1]["outputs"][1]["data"]
    assert np.allclose(after, 2 * np.array(before))


def test_a_trace_has_all_calls_of_its_guest(tmp_path: Path) -> None:
    file, traces = tmp_path / "graphs.toml", tmp_path / "traces"
    traces.mkdir()
    graphs = {"colours": {"path": str(EXAMPLE / "colours.onnx")}}
    file.write_text(as_toml({"graphs": graphs, "guests": {"g": colours_guest(C_GUESTS / "serve_colours.wasm")}}))
    with RunningServer(file, trace_dir=traces) as server:
        assert infer(server, "g", [RED])[0] == 200
        one_waits(server, "g")
        status, _, headers = infer(server, "g", [RED], **{"X-Trace": "1"})
        assert status == 200
        written = traces / headers["x-trace-file"]
        wait_until(written.exists)
        names = {event["name"] for event in json.loads(written.read_text())["traceEvents"]}
    assert {"load_by_name", "compute"} <= names
