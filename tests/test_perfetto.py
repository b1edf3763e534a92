"""Traces in Perfetto itself: its trace processor reads every event of each kind of trace, its page shows the rows."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx_models as models
import perfetto
import pytest
import serving
from command_guests import LOOKS_UP_NET, command
from conftest import C_GUESTS
from perfetto import Perfetto
from serving import RunningServer

from wasi_nn import GuestTrap, Host, NNError, cli
from wasi_nn.serving.observing.request_log import FinishedRequest
from wasi_nn.serving.observing.request_traces import RequestTraces
from wasi_nn.serving.observing.timeline import Stage, Timeline
from wasi_nn.tracing import RecordingSession, Trace

EXAMPLE = C_GUESTS.parent / "example"
GRAPHS = {"net": models.relu()}
SLICES = """
    select process.name, pid, tid, slice.name, category, depth, ts - (select min(ts) from slice), dur
    from slice join thread_track on track_id = thread_track.id join thread using (utid) join process using (upid)
"""
LOST = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"


@pytest.fixture(scope="module")
def ui() -> Iterator[Perfetto]:
    with perfetto.opened() as opened:
        yield opened


def written(trace: Path) -> list[dict[str, Any]]:
    """The events of a trace that have a duration."""
    events: list[dict[str, Any]] = json.loads(trace.read_bytes())["traceEvents"]
    return [event for event in events if event["ph"] == "X"]


def require_all_events(ui: Perfetto, trace: Path) -> None:
    """Open a trace, and require that Perfetto has every event of it, with its row, time and arguments."""
    ui.open(trace)
    assert ui.query(LOST) == []
    events = written(trace)
    titles = {
        event["pid"]: event["args"]["name"]
        for event in json.loads(trace.read_bytes())["traceEvents"]
        if event["name"] == "process_name"
    }
    begin = min(event["ts"] for event in events)

    def nanoseconds(microseconds: float) -> int:
        return round(1000 * microseconds)

    expected = Counter(
        (
            *(titles[event["pid"]], event["pid"], event["tid"], event["name"], event["cat"]),
            *(nanoseconds(event["ts"]) - nanoseconds(begin), nanoseconds(event["dur"])),
        )
        for event in events
    )
    assert Counter((*row[:5], *row[6:]) for row in ui.query(SLICES)) == expected
    facts = "select count(*) from slice join args using (arg_set_id) where key glob 'args.*'"
    assert ui.query(facts) == [[sum(len(leaves(event["args"])) for event in events)]]


def leaves(about: object) -> list[object]:
    """The values of arguments that aren't objects or arrays themselves."""
    parts = about.values() if isinstance(about, dict) else about if isinstance(about, list) else None
    return [about] if parts is None else [leaf for part in parts for leaf in leaves(part)]


def depths(ui: Perfetto, *names: str) -> list[tuple[str, int]]:
    """The names of slices, from the earliest on, with the number of slices around each."""
    listed = ", ".join(f"'{name}'" for name in names)
    found = ui.query(f"select name, depth from slice where name in ({listed}) order by ts, depth")
    return [(name, depth) for name, depth in found]


def facts_of(ui: Perfetto, name: str) -> dict[str, Any]:
    """The arguments of the first slice of a name, as the panel of a selected slice shows them."""
    found = ui.query(
        "select substr(key, 6), display_value from args where key glob 'args.*' and arg_set_id ="
        f" (select arg_set_id from slice where name = '{name}' order by ts limit 1)"
    )
    return {key: value for key, value in found}  # noqa: C416  # a row is a list


def test_a_run_of_the_command(ui: Perfetto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are in the order of a run: the guest, the graphs, its contexts. No other row than the guest's is called
    the main thread."""
    monkeypatch.chdir(EXAMPLE)
    guest = [str(C_GUESTS / "classify.wasm"), "--graph", "net", "--labels", "colours.txt", "apple.ppm"]
    trace = tmp_path / "t.json"
    options = ["--trace", str(trace), "--trace-data", "--graph", f"net={EXAMPLE / 'colours.onnx'}"]
    assert cli.main(["run", *options, "--dir", f"{EXAMPLE}::.:ro", *guest]) == 0
    require_all_events(ui, trace)
    assert ui.rows() == [
        ("classify.wasm 1", []),
        ("guest 1", ["main thread"]),
        ("graphs 2", []),
        ("context 2 on net (onnxruntime, cpu) 3", []),
    ]
    facts = facts_of(ui, "set_input")
    assert [facts[key] for key in ("type", "dims[1]", "dims[3]", "bytes")] == ["f32", "3", "224", "602112"]
    assert facts_of(ui, "load_by_name")["result.runtime"] == "onnxruntime"
    assert set(depths(ui, "run", "instantiate", "guest")) == {("run", 0), ("instantiate", 1), ("guest", 1)}
    assert depths(ui, "FAILED: too-large") == [("FAILED: too-large", 1)]  # the guest asks how large the output is


def test_failures(ui: Perfetto, tmp_path: Path) -> None:
    with RecordingSession(tmp_path / "t.json", GRAPHS) as session:
        context = session.init_execution_context(session.load_by_name("net"))
        for call in (lambda: session.get_output(context, 7), lambda: session.load_by_name("none")):
            with pytest.raises(NNError):
                call()
    require_all_events(ui, tmp_path / "t.json")
    marks = ("FAILED: invalid-argument", "FAILED: not-found")
    assert depths(ui, *marks) == [(mark, 1) for mark in marks]
    assert facts_of(ui, "get_output")["error.code"] == "invalid-argument"


def test_runs_on_several_threads(ui: Perfetto, tmp_path: Path, cache_home: Path) -> None:
    trace = tmp_path / "runs.json"
    looks = command(LOOKS_UP_NET).encode()
    with Host(GRAPHS) as host, Host() as empty, Trace(trace, data=True, runs=True) as runs:
        for each in (host, empty):
            each.run(looks, trace=runs)
        with pytest.raises(GuestTrap):
            host.run(command("unreachable").encode(), trace=runs)
        threads = [threading.Thread(target=host.run, args=[looks], kwargs={"trace": runs}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    require_all_events(ui, trace)
    assert sorted(title for title, _ in ui.rows()) == [f"guest.wasm {run}" for run in range(1, 8)]
    in_run = (
        "from slice join thread_track on track_id = thread_track.id join thread using (utid) join process using (upid)"
    )
    assert ui.query(f"select pid, slice.name {in_run} where category = 'wasi-nn failure' order by pid, slice.name") == [
        [2, "FAILED: exit code 8"],
        [2, "FAILED: not-found"],
        [3, "FAILED"],
    ]
    main_threads = ui.query(f"select distinct thread.name {in_run} where is_main_thread")
    assert main_threads == [["guest"]]


def test_a_map(ui: Perfetto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("apple.ppm", "pear.ppm"):
        (tmp_path / name).write_bytes((EXAMPLE / "apple.ppm").read_bytes())
    (tmp_path / "colours.txt").write_bytes((EXAMPLE / "colours.txt").read_bytes())
    monkeypatch.chdir(tmp_path)
    guest = [str(C_GUESTS / "classify.wasm"), "apple.ppm", "pear.ppm"]
    options = ["--jobs", "2", "--trace", "map.json", "--output", "out.jsonl", "--dir", ".:ro"]
    graph = ["--graph", f"net={EXAMPLE / 'colours.onnx'}"]
    assert cli.main(["map", *options, *graph, *guest, "--", "--graph", "net", "--labels", "colours.txt"]) == 0
    require_all_events(ui, tmp_path / "map.json")
    assert {title.rpartition(" ")[0] for title, _ in ui.rows()} == {"apple.ppm", "pear.ppm"}
    assert ui.query("select count(*) from slice where name = 'compute'") == [[2]]


def test_requests_of_a_server(ui: Perfetto, tmp_path: Path) -> None:
    graphs = {"net": serving.models()["net"]}
    right = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4], "data": [-1, 2, -3, 4]}]}
    traces: list[Path] = []
    with RunningServer(graphs, trace_dir=tmp_path) as server:
        for body in (right, b"{"):
            _, _, headers = server.ask("POST", "/v2/models/net/infer", body, {"X-Trace": "1"})
            traces.append(tmp_path / headers["x-trace-file"])
    require_all_events(ui, traces[0])
    stages = ("infer", "body", "parse", "load", "queue", "inputs", "compute", "outputs", "answer")
    assert depths(ui, *stages) == [(stage, min(place, 1)) for place, stage in enumerate(stages)]
    facts = facts_of(ui, "parse")
    assert [facts[f"inputs[0].{key}"] for key in ("name", "type", "dims[0]")] == ["x", "f32", "4"]
    assert [title for title, _ in ui.rows()][1:] == ["net 2"]
    require_all_events(ui, traces[1])
    assert depths(ui, "infer", "parse", "FAILED") == [("infer", 0), ("parse", 1), ("FAILED", 2)]
    assert "isn't JSON" in facts_of(ui, "parse")["error"]


def request_with(stages: Sequence[Stage], folder: Path, error: str = "") -> Path:
    """The trace of a request that has these stages."""
    timeline = Timeline(began=0)
    timeline.stages.extend(stages)
    request = FinishedRequest("1", "http", "guest", headers={"x-trace": "1"}, seconds=1e-3, error=error)
    request.timeline = timeline
    traces = RequestTraces(folder, 9)
    traces.begin(request)
    traces.ended(request)
    return folder / request.trace_file


def test_stages_that_overlap(ui: Perfetto, tmp_path: Path) -> None:
    """Perfetto drops an event that begins within another one on its row and ends after it: such a stage has a row of
    its own, and the request lasts as long as its stages."""
    times = [(100, 500), (200, 600), (300, 400), (450, 700), (650, 1200)]
    stages = [Stage(f"HTTP GET {place}", 1000 * a, 1000 * b, {}, row=3) for place, (a, b) in enumerate(times)]
    own = [Stage("queue", 0, 2000, {}), Stage("answering", 2000, 1_500_000, {})]
    require_all_events(ui, request_with([*own, *stages], tmp_path))
    assert [title for title, _ in ui.rows()][1:] == [
        "server 2",
        "the guest's requests 3",
        "the guest's requests 4",
        "the guest's requests 5",
    ]


def test_a_request_that_fails_outside_of_its_stages(ui: Perfetto, tmp_path: Path) -> None:
    failed = {"error": {"code": "not-found", "message": "none"}}
    stages = [Stage("body", 1000, 2000, {}), Stage("load_by_name", 3000, 4000, failed, row=2)]
    require_all_events(ui, request_with(stages, tmp_path, error="no such thing"))
    assert depths(ui, "FAILED", "FAILED: not-found") == [("FAILED", 1), ("FAILED: not-found", 1)]
