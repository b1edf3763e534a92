"""The parts of a guest's run in a trace, and traces of several runs."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import onnx_models as models
import pytest
from checks import refused
from command_guests import LOOKS_UP_NET, command, component_command
from core_guest import NOT_FOUND, SUCCESS

from wasi_nn import ErrorCode, GuestTrap, Host, cli as commands
from wasi_nn.tracing import CallLog, RecordingSession, Replayed, Trace, TraceReader, compare_traces, replay
from wasi_nn.tracing.call_recorder import GUEST_ROW, PHASE
from wasi_nn.tracing.traced_calls import TracedCalls

LOOKS = command(LOOKS_UP_NET).encode()
GRAPHS = {"net": models.relu()}


def events(trace: Path, category: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(trace.read_bytes())["traceEvents"]
    return [event for event in found if category in (None, event.get("cat"))]


def ends(event: dict[str, Any]) -> float:
    """The end of an event, in microseconds; the file has nanoseconds, which a sum of floats may miss."""
    return float(round(event["ts"] + event["dur"], 3))


def test_a_trace_has_the_parts_of_the_run(tmp_path: Path, cache_home: Path) -> None:
    trace = tmp_path / "t.json"
    with Host(GRAPHS) as host:
        assert host.run(LOOKS, trace=trace).exit_code == SUCCESS
        compile_, *_ = events(trace, PHASE)
        assert (compile_["name"], compile_["args"]) == ("compile", {"cached": False})
        host.run(LOOKS, trace=trace)
    parts = events(trace, PHASE)
    assert [event["name"] for event in parts] == ["compile", "link", "instantiate", "guest", "guest", "run"]
    assert {event["tid"] for event in parts} == {1 + GUEST_ROW}
    compile_, link, instantiate, before, after, run = parts
    assert compile_["args"] == {"cached": True}
    assert run["args"] == {"exit_code": 0}
    (call,) = events(trace, "wasi-nn")
    assert 0 <= compile_["ts"] <= ends(compile_) <= link["ts"] <= ends(link) <= run["ts"] <= instantiate["ts"]
    assert ends(instantiate) <= before["ts"] <= ends(before) <= call["ts"] <= ends(call) <= after["ts"]
    assert ends(after) <= ends(run)
    names = {event["tid"]: event["args"] for event in events(trace) if event["name"] == "thread_name"}
    assert names[1 + GUEST_ROW] == {"name": "guest"}


def test_a_component_has_the_same_parts(tmp_path: Path, cache_home: Path) -> None:
    trace = tmp_path / "t.json"
    guest = component_command('(func (export "run") (result i32) (i32.const 0))')
    with Host() as host:
        assert host.run(guest, trace=trace).exit_code == 0
        host.run(host.compile(guest), trace=trace)
    assert [event["name"] for event in events(trace, PHASE)] == ["link", "instantiate", "guest", "run"]


def test_a_run_that_traps_says_why(tmp_path: Path, cache_home: Path) -> None:
    trace = tmp_path / "t.json"
    with Host() as host, pytest.raises(GuestTrap):
        host.run(command("unreachable").encode(), trace=trace)
    run = events(trace, PHASE)[-1]
    assert run["name"] == "run"
    assert "unreachable" in run["args"]["error"]


def test_the_time_of_recording_is_not_the_guests(tmp_path: Path) -> None:
    """The description of a tensor lies between the guest's own time and the call."""
    trace = tmp_path / "t.json"
    big = models.f32([0] * 2_000_000)
    with RecordingSession(trace, {"net": models.identity(dims=["n"])}, data=True) as session:
        with session.guest_code():
            context = session.init_execution_context(session.load_by_name("net"))
            session.set_input(context, 0, big)
    own = events(trace, PHASE)[2]
    (set_input,) = [event for event in events(trace) if event["name"] == "set_input"]
    assert own["dur"] < set_input["ts"] - ends(own)


def test_several_runs_are_processes_of_their_own(tmp_path: Path, cache_home: Path) -> None:
    trace = tmp_path / "runs.json"
    (tmp_path / "looks.wat").write_bytes(LOOKS)
    lines: list[str] = []
    with Host(GRAPHS) as host, Host() as empty, Trace(trace, data=True, runs=True) as runs:
        assert host.run(LOOKS, trace=runs).exit_code == SUCCESS
        assert empty.run(tmp_path / "looks.wat", trace=CallLog(lines.append, runs)).exit_code == NOT_FOUND
        threads = [threading.Thread(target=host.run, args=[LOOKS], kwargs={"trace": runs}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(event["pid"] for event in events(trace, "wasi-nn")) == dict.fromkeys(range(1, 7), 1)
    with TraceReader(trace) as reader:
        calls = TracedCalls(reader)
        assert [call.recorded.name for call in calls] == ["load_by_name"] * 6
        assert [calls.runs[run].failed for run in range(1, 7)] == [0, 1, 0, 0, 0, 0]
        assert reader.titles[1] == "guest.wasm"
        assert reader.titles[2].endswith("looks.wat")
    assert len(lines) == 1
    differences = replay(trace, GRAPHS).differences
    assert [difference.text[:17] for difference in differences] == ["the call succeeds"]
    assert compare_traces(trace, trace).differ == 0


def test_runs_are_compared_with_runs(tmp_path: Path, cache_home: Path) -> None:
    traces = [tmp_path / name for name in ("a.json", "b.json")]
    for trace, hosts in zip(traces, (("full", "empty"), ("full", "full", "full")), strict=True):
        with Trace(trace, runs=True) as runs:
            for graphs in hosts:
                with Host(GRAPHS if graphs == "full" else None) as host:
                    host.run(LOOKS, trace=runs)
    failed, more = compare_traces(*traces).differences
    assert str(failed).startswith("call 2, load_by_name: A fails with not-found: ")
    assert str(failed).endswith("B succeeds")
    assert str(more) == "call 3, load_by_name: only B has it; A has 1 call fewer in run 3"


def test_a_table_names_the_runs(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Host(GRAPHS) as host, Trace("t.json", runs=True) as runs:
        host.run(LOOKS, trace=runs)
        host.run(LOOKS, trace=runs)
    assert commands.main(["trace", "t.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["run", "call"], ["1", "1"], ["2", "2"]]
    assert lines[3].startswith("run 1, guest.wasm: 1 call in ")
    assert "compile " in lines[3]
    assert "read from the cache " in lines[4]
    assert lines[4].endswith("exit code 0")
    assert commands.main(["trace", "--json", "t.json"]) == 0
    runs_ = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["run"], run["about"]) for run in runs_] == [
        (1, {"cached": False, "exit_code": 0}),
        (2, {"cached": True, "exit_code": 0}),
    ]
    assert {"compile", "link", "instantiate", "run"} == set(runs_[0]["phases_us"])


def test_a_trace_of_no_run_is_a_trace(tmp_path: Path) -> None:
    with Trace(tmp_path / "t.json", data=True, runs=True):
        pass
    assert replay(tmp_path / "t.json") == Replayed(0, 0, 0, False, ())


def test_a_trace_for_one_run_takes_one(tmp_path: Path, cache_home: Path) -> None:
    trace = Trace(tmp_path / "t.json")
    with Host(GRAPHS) as host:
        host.run(LOOKS, trace=trace)
        host.run(LOOKS, trace=trace)  # the trace has ended
    assert len(events(tmp_path / "t.json", "wasi-nn")) == 1


def test_runs_that_never_end_are_bounded_in_a_replay(tmp_path: Path) -> None:
    trace = tmp_path / "t.json"
    with RecordingSession(trace, GRAPHS, data=True) as session:
        session.load_by_name("net")
    lines = trace.read_bytes().split(b"\n")
    more = [lines[3].replace(b'"pid":1', f'"pid":{run}'.encode()) + b"," for run in range(2, 103)]
    trace.write_bytes(b"\n".join([*lines[:3], *more, *lines[3:]]))
    refused(ErrorCode.INVALID_ARGUMENT, "line 104: more than 100 runs are under way at once", replay, trace, GRAPHS)
    ends = [
        f'{{"name":"run","cat":"{PHASE}","ph":"X","pid":{run},"tid":1,"ts":0,"dur":0,"args":{{}}}},'.encode()
        for run in range(2, 103)
    ]
    pairs = [line for pair in zip(more, ends, strict=True) for line in pair]
    trace.write_bytes(b"\n".join([*lines[:3], *pairs, *lines[3:]]))
    assert replay(trace, GRAPHS).calls == 102
