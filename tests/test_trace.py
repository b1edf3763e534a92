"""Traces: recording a guest's calls, replaying them, and the errors for damaged traces."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from checks import refused
from command_guests import LOOKS_UP_NET, command, says
from conftest import need
from core_guest import AUTODETECT, F32, INVALID_ARGUMENT, NOT_FOUND, RUNTIME_ERROR, SUCCESS, TOO_LARGE, TRAP, CoreGuest
from driven_component import CPU, ONNX, Driven, GuestFailed
from letters import END_OF_SEQUENCE, Letters, init, load, prompt, single
from onnx import TensorProto, helper

import wasi_nn
from wasi_nn import (
    ErrorCode,
    ExecutionTarget,
    GraphEncoding,
    GuestTrap,
    Host,
    Limits,
    LoadRules,
    NNError,
    Session,
    TensorType,
    cli as commands,
)
from wasi_nn.abi.component.bridge import VERSIONS
from wasi_nn.session.extension_calls import ExtensionCalls
from wasi_nn.tracing import Difference, RecordingSession, Replayed, Trace, TraceReader, replay
from wasi_nn.tracing.call_recorder import CATEGORY, REFUSED
from wasi_nn.tracing.comparison import difference
from wasi_nn.tracing.extension_recording import ExtensionRecording

JUNE, _, OCTOBER = VERSIONS
INPUT = models.f32([1.5, -2.5, 3.5, -4.5])
OUTPUT = models.f32([1.5, 0, 3.5, 0])

NOT_RELU = (
    "call 5, get_output: output 0: 2 of 4 elements differ by more than 1e-05 + 0.001 of the recorded value, "
    "most at [3]: -4.5, was 0.0"
)
"""The difference that a replay reports for a graph whose output is its input."""

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The path for a trace."""
    return tmp_path / "trace.json"


@pytest.fixture
def recorded(trace: Path) -> Path:
    """A trace with data: an inference on a named graph, one on a graph that the guest loads, and some failures."""
    with RecordingSession(trace, {"net": models.relu()}, data=True) as session:
        guest = CoreGuest(session)
        infer(guest, guest.context("net"))
        assert guest.load(models.relu(), encoding=AUTODETECT) == SUCCESS
        assert guest.call("init_execution_context", guest.u32(), 8) == SUCCESS
        infer(guest, guest.u32())
    return trace


def infer(guest: CoreGuest, context: int) -> None:
    assert guest.set_input(context, 0, [4], F32, INPUT.tobytes()) == SUCCESS
    assert guest.call("compute", context) == SUCCESS
    assert guest.call("get_output", context, 0, 65536, 64, 8) == SUCCESS
    assert guest.read(65536, 16) == OUTPUT.tobytes()


def events(trace: Path) -> list[dict[str, Any]]:
    """All events of a trace; the file is valid JSON."""
    parsed: list[dict[str, Any]] = json.loads(trace.read_bytes())["traceEvents"]
    return parsed


def calls(trace: Path) -> list[dict[str, Any]]:
    return [event for event in events(trace) if event.get("cat") in (CATEGORY, REFUSED)]


def rewrite(trace: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the events of a trace."""
    changed = events(trace)
    edit(changed)
    trace.write_text('{"traceEvents": [\n' + ",\n".join(map(json.dumps, changed)) + "\n]}\n")


def sum_twice() -> bytes:
    """Like `add_and_mul`, but the output `product` is a sum too."""
    pair = (1, ["n"])
    add = helper.make_node
    return models.build(
        [add("Add", ["a", "b"], ["sum"]), add("Add", ["a", "b"], ["product"])],
        {"a": pair, "b": pair},
        {"product": pair, "sum": pair},
    )


def texts(replayed: Replayed) -> list[str]:
    return [str(difference) for difference in replayed.differences]


# Recording


def test_each_call_is_an_event_with_its_arguments_and_its_time(recorded: Path) -> None:
    recorded_calls = calls(recorded)
    names = ["set_input", "compute", "get_output"]
    assert [event["name"] for event in recorded_calls] == [
        *("load_by_name", "init_execution_context", *names, "load", "init_execution_context", *names)
    ]
    assert all(event["cat"] == "wasi-nn" and event["dur"] >= 0 for event in recorded_calls)
    starts = [event["ts"] for event in recorded_calls]
    assert starts == sorted(starts)
    by_name, init_context, set_input, compute, get_output, by_bytes = (event["args"] for event in recorded_calls[:6])
    loaded = {"encoding": "onnx", "runtime": "onnxruntime", "device": "cpu"}
    assert by_name == {"name": "net", "result": {"graph": 1, **loaded}}
    assert init_context == {"graph": 1, "result": {"context": 2}}
    stored = set_input.pop("data")
    numbers = {"min": -4.5, "max": 3.5, "mean": -0.5, "hash": hashlib.sha256(INPUT.tobytes()).hexdigest()[:16]}
    assert set_input == {"context": 2, "input": 0, "type": "f32", "dims": [4], "bytes": 16, **numbers}
    assert stored == {"offset": 0, "bytes": 16, "sha256": hashlib.sha256(INPUT.tobytes()).hexdigest()}
    assert compute == {"context": 2}
    assert get_output["output"] == 0
    result = get_output["result"]
    assert (result["type"], result["dims"], result["bytes"]) == ("f32", [4], 16)
    assert (result["min"], result["max"], result["mean"]) == (0.0, 3.5, 1.25)
    assert (by_bytes["encoding"], by_bytes["target"]) == ("autodetect", "cpu")
    assert [builder["bytes"] for builder in by_bytes["builders"]] == [len(models.relu())]
    assert by_bytes["result"] == {"graph": 3, **loaded}


def test_each_context_has_a_row_of_its_own(recorded: Path) -> None:
    rows = {event["tid"]: event["args"]["name"] for event in events(recorded) if event["name"] == "thread_name"}
    assert rows == {
        2: "graphs",
        3: "context 2 on net (onnxruntime, cpu)",
        5: "context 4 on autodetect (onnxruntime, cpu)",
    }
    assert [event["tid"] for event in calls(recorded)] == [2, 2, 3, 3, 3, 2, 2, 5, 5, 5]


def test_contents_are_stored_once_one_after_another(recorded: Path) -> None:
    assert Path(f"{recorded}.data").read_bytes() == INPUT.tobytes() + OUTPUT.tobytes() + models.relu()


def test_no_content_is_stored_unless_that_is_asked_for(trace: Path) -> None:
    model = models.relu()
    with RecordingSession(trace, {"net": model}) as session:
        guest = CoreGuest(session)
        infer(guest, guest.context("net"))
        assert guest.load(model) == SUCCESS
    assert list(trace.parent.iterdir()) == [trace]
    text = trace.read_bytes()
    assert not any(content in text for content in (INPUT.tobytes(), OUTPUT.tobytes(), model[:16]))
    assert "data" not in json.dumps(calls(trace))
    refused(ErrorCode.UNSUPPORTED_OPERATION, "--trace-data", replay, trace, {"net": model})


def guest_that_fails(session: Session) -> tuple[CoreGuest, int]:
    """A guest after four failed calls, and its context."""
    guest = CoreGuest(session)
    assert guest.load_by_name("nobody") == NOT_FOUND
    context = guest.context("failing")
    assert guest.call("compute", context) == INVALID_ARGUMENT
    assert guest.set_input(context, 0, [3], F32, bytes(12)) == SUCCESS
    assert guest.call("compute", context) == RUNTIME_ERROR
    assert guest.call("compute", 99) == INVALID_ARGUMENT
    return guest, context


def test_failures_are_recorded_with_code_and_message(trace: Path) -> None:
    with RecordingSession(trace, {"failing": models.failing()}) as session:
        guest, _ = guest_that_fails(session)
        assert guest.load(b"no model") != SUCCESS
    failed = [(event["name"], event["args"]["error"]) for event in calls(trace) if "error" in event["args"]]
    assert [(name, error["code"]) for name, error in failed] == [
        ("load_by_name", "not-found"),
        ("compute", "invalid-argument"),
        ("compute", "runtime-error"),
        ("context", "invalid-argument"),
        ("load", "runtime-error"),
    ]
    assert failed[0][1]["message"] == "no graph is named 'nobody'; the names here: 'failing'"
    assert failed[3][1]["message"] == "handle 99 isn't an execution context: it was never given out"


@pytest.mark.parametrize("version", [JUNE, OCTOBER])
def test_a_components_calls_are_recorded_and_replayed(trace: Path, version: str) -> None:
    graphs = {"two": models.add_and_mul()}
    with RecordingSession(trace, graphs, data=True) as session:
        guest = Driven(version, session)
        context = guest.init_execution_context(guest.load_by_name("two"))
        inputs = {"a": models.f32([1, 2]), "b": models.f32([3, 4])}
        assert guest.infer(context, inputs, ["sum", "product"])["sum"].tolist() == [4, 6]
        guest("drop-context", context)
        guest.load([models.relu()], ONNX, CPU)
        with pytest.raises(GuestFailed, match="no graph is named"):
            guest.load_by_name("nobody")
    names = [event["name"] for event in calls(trace)]
    middle = ["compute_named"] if guest.named else ["set_input", "set_input", "compute", "get_output", "get_output"]
    assert names == ["load_by_name", "init_execution_context", *middle, "drop", "load", "load_by_name"]
    replayed = replay(trace, graphs)
    assert replayed == Replayed(len(names), 2, 0, False, ())
    assert len(replay(trace, {"two": sum_twice()}).differences) == 1


def test_what_an_abi_refuses_by_itself_is_recorded_and_not_replayed(trace: Path) -> None:
    with RecordingSession(trace, {"net": models.relu()}, data=True) as session:
        guest = CoreGuest(session)
        context = guest.context("net")
        assert guest.load(b"", encoding=77) != SUCCESS
        assert guest.set_input(context, 0, [4], 99, bytes(16)) == INVALID_ARGUMENT
        infer(guest, context)
        assert guest.call("get_output", context, 0, 65536, 0, 8) == TOO_LARGE
        with pytest.raises(TRAP):
            guest.call("load_by_name", 2**32 - 1, 3, 8)
    with RecordingSession(trace.with_name("component"), {"net": models.relu()}, data=True) as session:
        driven = Driven(JUNE, session)
        tensor = driven.raw_tensor([5], 1, bytes(3))
        with pytest.raises(GuestFailed):
            driven.set_input(driven.init_execution_context(driven.load_by_name("net")), "x", tensor)
    refusals = [event for path in (trace, trace.with_name("component")) for event in calls(path)]
    refusals = [event for event in refusals if event["cat"] == "wasi-nn refused"]
    assert [(event["name"], event["args"]["error"]["code"]) for event in refusals] == [
        ("load", "invalid-encoding"),
        ("set_input", "invalid-argument"),
        ("get_output", "too-large"),
        ("load_by_name", "invalid-argument"),
        ("set_input", "invalid-argument"),
    ]
    assert refusals[0]["args"]["arguments"][2] == 77
    replayed = replay(trace, {"net": models.relu()})
    assert (replayed.outputs, replayed.differences) == (2, ())


def test_a_model_over_the_limit_is_recorded_as_refused_and_without_its_bytes(trace: Path) -> None:
    """A guest can list the same bytes of its memory a thousand times."""
    with RecordingSession(trace, data=True, limits=Limits(model_bytes=1000)) as session:
        assert CoreGuest(session).load(bytes(1001)) == TOO_LARGE
        with pytest.raises(GuestFailed, match="too-large: 1001 bytes of models"):
            Driven(JUNE, session).load([bytes(500), bytes(501)])
    assert [(event["cat"], event["args"]["error"]["code"]) for event in calls(trace)] == [
        ("wasi-nn refused", "too-large"),
        ("wasi-nn refused", "too-large"),
    ]
    assert trace.with_name(f"{trace.name}.data").stat().st_size == 0


def test_sequences_are_recorded_and_replayed(trace: Path) -> None:
    with RecordingSession(trace, {"letters": Letters()}, data=True) as session:
        guest = CoreGuest(session, dialect="wasmedge")
        graph = load(guest, config=b"capitals")
        context = init(guest, graph)
        assert prompt(guest, context, b"ab") == SUCCESS
        for letter in (b"A", b"B"):
            assert guest.call("compute_single", context) == SUCCESS
            assert single(guest, context) == letter
        assert guest.call("compute_single", context) == END_OF_SEQUENCE
        assert guest.call("fini_single", context) == SUCCESS
        assert guest.call("unload", graph) == SUCCESS
        assert guest.call("compute", context) == INVALID_ARGUMENT
        assert guest.call("finalize_execution_context", context) == SUCCESS
    assert [event["name"] for event in calls(trace)] == [
        *("load_by_name", "init_execution_context", "set_input"),
        *("compute_single", "get_output_single") * 2,
        *("compute_single", "fini_single", "unload", "context", "finalize_execution_context"),
    ]
    assert calls(trace)[7]["args"]["error"]["kind"] == "EndOfSequence"
    assert replay(trace, {"letters": Letters()}) == Replayed(12, 2, 0, False, ())

    rewrite(trace, lambda changed: changed[2].update(args={"name": "letters", "result": {"graph": 1}}))
    assert texts(replay(trace, {"letters": Letters()})) == [
        "call 5, get_output_single: output 0: 1 of 1 elements differ, first at [0]: 97, was 65",
        "call 7, get_output_single: output 0: 1 of 1 elements differ, first at [0]: 98, was 66",
    ]


def test_every_call_on_a_context_is_recorded() -> None:
    on_contexts = {
        name
        for owner in (Session, ExtensionCalls)
        for name, method in vars(owner).items()
        if not name.startswith("_")
        and callable(method)
        and _first_parameter(method) in ("context", "graph", "sequence")
    }
    assert {"compute", "set_input", "output_bytes", "compute_single", "state_get", "next_named"} <= on_contexts
    only_tell = {"input_info", "output_info", "context_full", "graph"}
    make_others = {"set_input_tensor", "get_output_tensor", "compute_named_tensors"}
    make_others |= {"begin_sequence", "next_of_sequence"}
    recorded_here = set(vars(RecordingSession)) | set(vars(ExtensionRecording))
    assert on_contexts - only_tell - make_others <= recorded_here


def _first_parameter(method: Callable[..., Any]) -> str:
    return next(iter([*inspect.signature(method).parameters][1:]), "")


def test_a_trace_is_whole_after_every_call(trace: Path) -> None:
    with RecordingSession(trace, {"net": models.relu()}) as session:
        assert calls(trace) == []
        graph = session.load_by_name("net")
        assert len(calls(trace)) == 1
        session.init_execution_context(graph)
        assert len(calls(trace)) == 2


def test_a_trace_of_a_guest_that_traps(trace: Path, cache_home: Path) -> None:
    text = command("(drop (call $lookup (i32.const 0) (i32.const 1) (i32.const 0))) unreachable")
    with pytest.raises(GuestTrap):
        Host().run(text.encode(), trace=trace)
    assert [event["name"] for event in calls(trace)] == ["load_by_name"]


def test_a_trace_has_the_guests_name(trace: Path, cache_home: Path, tmp_path: Path) -> None:
    (tmp_path / "looks.wat").write_text(command(LOOKS_UP_NET))
    assert Host({"net": models.relu()}).run(tmp_path / "looks.wat", trace=trace).exit_code == SUCCESS
    header = events(trace)[0]
    assert header["name"] == "process_name"
    assert header["args"]["name"].endswith("looks.wat")


def test_a_trace_that_cant_be_written_is_refused_before_anything_runs(cache_home: Path, tmp_path: Path) -> None:
    host = Host()
    for path in (tmp_path, tmp_path / "nowhere" / "trace.json", "/dev/full"):
        refused(ErrorCode.RUNTIME_ERROR, "no trace can be written to", host.run, command("").encode(), trace=path)


def test_a_trace_that_cant_be_written_any_more_ends_and_the_guest_goes_on(
    trace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = RecordingSession(trace, {"net": models.relu()}, data=True)
    with session:
        data, full = f"{trace.resolve()}.data", os.open("/dev/full", os.O_WRONLY)
        (file,) = [int(it) for it in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{it}") == data]
        os.dup2(full, file)
        os.close(full)
        guest = CoreGuest(session)
        infer(guest, guest.context("net"))
    assert [event["name"] for event in calls(trace)] == ["load_by_name", "init_execution_context"]
    assert caplog.text.count("the trace ends here") == 1


# Replaying


def test_a_replay_on_the_same_graphs_finds_no_difference(recorded: Path) -> None:
    assert replay(recorded, {"net": models.relu()}) == Replayed(10, 2, 0, False, ())


def test_a_replay_on_another_model_says_which_output_differs(recorded: Path) -> None:
    reported: list[Any] = []
    replayed = replay(recorded, {"net": models.identity()}, report=reported.append)
    assert texts(replayed) == [NOT_RELU]
    assert tuple(reported) == replayed.differences
    assert (replayed.calls, replayed.outputs) == (10, 2)
    assert replay(recorded, {"net": models.identity()}, atol=5).differences == ()


def test_a_replay_by_another_runtime(trace: Path) -> None:
    need("openvino", "'wasi-nn[openvino]'")
    model = models.convolution(16)
    image = np.random.default_rng(1).standard_normal((1, 3, 16, 16), np.float32)
    with RecordingSession(trace, {"net": model}, data=True) as session:
        context = session.init_execution_context(session.load_by_name("net"))
        session.set_input(context, 0, image)
        session.compute(context)
        session.get_output(context, 0)
    rules = LoadRules(runtimes={"onnx": "openvino"})
    assert replay(trace, {"net": model}, rules=rules) == Replayed(5, 1, 0, False, ())


def test_a_graph_that_isnt_there_leaves_its_calls_out(recorded: Path) -> None:
    replayed = replay(recorded)
    assert texts(replayed) == [
        "call 1, load_by_name: the call fails with not-found: no graph is named 'net'; the names here: none"
    ]
    assert (replayed.calls, replayed.left_out, replayed.outputs) == (6, 4, 1)


def test_a_replay_loads_from_bytes_what_the_session_allows(recorded: Path) -> None:
    replayed = replay(recorded, {"net": models.relu()}, allow_load=False)
    (text,) = texts(replayed)
    assert text.startswith("call 6, load: the call fails with security: this host loads graphs by name only")
    assert replayed.left_out == 4


def test_failures_must_be_the_same(trace: Path) -> None:
    with RecordingSession(trace, {"failing": models.failing()}, data=True) as session:
        guest, context = guest_that_fails(session)
        assert guest.set_input(context, 7, [4], F32, bytes(16)) == INVALID_ARGUMENT
    assert replay(trace, {"failing": models.failing()}) == Replayed(8, 0, 0, False, ())
    differences = texts(replay(trace, {"failing": models.identity(dims=["n"]), "nobody": models.relu()}))
    assert differences[0].startswith(
        "call 1, load_by_name: the call succeeds; when it was recorded, it failed with not-found: "
    )
    assert differences[1].startswith(
        "call 6, compute: the call succeeds; when it was recorded, it failed with runtime-error: "
    )
    assert len(differences) == 2
    rewrite(trace, lambda changed: changed[2]["args"]["error"].update(code="security"))
    (text,) = texts(replay(trace, {"failing": models.failing()}))
    assert text.startswith("call 1, load_by_name: the call fails with not-found: ")


@pytest.mark.parametrize("kind", list(TensorType))
def test_tensors_of_every_type_are_replayed(trace: Path, kind: TensorType) -> None:
    values = np.arange(4).astype(kind.dtype)
    with RecordingSession(trace, {"net": models.identity(kind)}, data=True) as session:
        context = session.init_execution_context(session.load_by_name("net"))
        assert session.compute_named(context, [("x", values)])[0][1].tolist() == values.tolist()
    assert replay(trace, {"net": models.identity(kind)}) == Replayed(3, 1, 0, False, ())


def test_strings_are_stored_and_compared(trace: Path) -> None:
    graphs = {"net": models.cast(TensorProto.FLOAT, TensorProto.STRING)}
    with RecordingSession(trace, graphs, data=True) as session:
        context = session.init_execution_context(session.load_by_name("net"))
        session.compute_named(context, [("x", INPUT)])
    assert replay(trace, graphs) == Replayed(3, 1, 0, False, ())
    assert b"1.5" in Path(f"{trace}.data").read_bytes()
    assert texts(replay(trace, {"net": models.identity()})) == [
        "call 3, compute_named: output 'y': it is f32[4], was string[4]"
    ]


def test_a_trace_that_is_cut_short_is_replayed_up_to_there(recorded: Path) -> None:
    whole = recorded.read_bytes()
    at = whole.index(b'{"name":"compute"')
    for end, count in ((at, 3), (at + 40, 3), (len(whole) - 3, 10), (len(whole) - 5, 9)):
        recorded.write_bytes(whole[:end])
        replayed = replay(recorded, {"net": models.relu()})
        assert (replayed.calls, replayed.cut_short, replayed.differences) == (count, True, ())


@pytest.mark.parametrize(
    ("was", "now", "text"),
    [
        (models.f32([1, np.nan, np.inf]), models.f32([1.0005, np.nan, np.inf]), None),
        (
            models.f32([1, 2]),
            models.f32([1.1, 2]),
            "1 of 2 elements differ by more than 1e-05 + 0.001 of the recorded value, most at [0]",
        ),
        (models.f32([1]), models.f32([np.nan]), "most at [0]: nan, was 1.0"),
        (models.f32([-np.inf]), models.f32([np.inf]), "most at [0]: inf, was -inf"),
        (np.array([1], np.float16), np.array([1.005], np.float16), None),
        (np.array([2**62]), np.array([2**62 + 1]), f"first at [0]: {2**62 + 1}, was {2**62}"),
        (
            np.array([[1, 2], [3, 4]], np.uint8),
            np.array([[1, 2], [9, 9]], np.uint8),
            "2 of 4 elements differ, first at [1, 0]: 9, was 3",
        ),
        (models.f32([1]), models.f32([[1]]), "it is f32[1, 1], was f32[1]"),
        (models.f32([1]), np.array([1.0]), "it is f64[1], was f32[1]"),
        (models.f32(1), models.f32(2), "most at []: 2.0, was 1.0"),
        (models.f32([]), models.f32([]), None),
    ],
)
def test_comparing(was: Any, now: Any, text: str | None) -> None:
    reported = difference(was, now)
    assert reported == text if text is None or reported is None else text in reported


def test_the_place_that_differs_most_is_found_in_large_outputs() -> None:
    was = np.zeros((3, 1 << 20), np.float32)
    now = was.copy()
    now[0, 5], now[2, 7] = 1, 3
    assert (
        difference(was, now)
        == "2 of 3145728 elements differ by more than 1e-05 + 0.001 of the recorded value, most at [2, 7]: 3.0, was 0.0"
    )


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_tolerances_are_numbers_from_0_on(recorded: Path, tolerance: float) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "rtol must be a number from 0 on", replay, recorded, rtol=tolerance)
    refused(ErrorCode.INVALID_ARGUMENT, "atol must be a number from 0 on", replay, recorded, atol=tolerance)


# Traces that are wrong

LOAD_BY_NAME, INIT, SET_INPUT, COMPUTE, GET_OUTPUT, LOAD = 2, 3, 5, 6, 7, 8
HUGE = 2**80


def data(**changes: Any) -> Edit:
    return lambda args: args["data"].update(changes)


@pytest.mark.parametrize(
    ("at", "edit", "message"),
    [
        (LOAD_BY_NAME, lambda args: args.update(name=7), "'name' must be a text"),
        (LOAD_BY_NAME, lambda args: args.update(name="x" * 65537), "'name' has 65537 characters"),
        (LOAD_BY_NAME, lambda args: args.update(result=[]), "'result' must be an object"),
        (LOAD_BY_NAME, lambda args: args.update(result={}), "the result has no handle"),
        (LOAD_BY_NAME, lambda args: args["result"].update(graph=True), "'graph' must be a number of 32 bits"),
        (LOAD_BY_NAME, lambda args: args.update(error="no"), "'error' must be an object"),
        (LOAD_BY_NAME, lambda args: args.update(error={"code": "\x1b[31m"}), r"'code' can't be '\\x1b\[31m'"),
        (LOAD_BY_NAME, lambda args: args.update(config={"bytes": 3}), "there is no data"),
        (INIT, lambda args: args.update(graph=None), "'graph' must be a number of 32 bits"),
        (INIT, lambda args: args.update(graph=HUGE), "'graph' must be a number of 32 bits"),
        (INIT, lambda args: args.update(graph=1.5), "'graph' must be a number of 32 bits"),
        (SET_INPUT, lambda args: args.update(type="f33"), "of the type 'f33'"),
        (SET_INPUT, lambda args: args.update(type="object"), "of the type 'object'"),
        (SET_INPUT, lambda args: args.update(dims=4), "'dims' must be a list of numbers"),
        (SET_INPUT, lambda args: args.update(dims=[-4]), "'dims' must be a list of numbers"),
        (SET_INPUT, lambda args: args.update(dims=[HUGE]), "'dims' must be a list of numbers"),
        (SET_INPUT, lambda args: args.update(dims=[1] * 65), "'dims' has 65 numbers"),
        (SET_INPUT, lambda args: args.update(input=["x"]), "'input' must be a number of 32 bits"),
        (SET_INPUT, lambda args: args.pop("data"), "there is no data"),
        (SET_INPUT, data(offset=-1), "stored data is an offset"),
        (SET_INPUT, data(bytes="16"), "stored data is an offset"),
        (SET_INPUT, data(offset=HUGE), "data is missing: "),
        (SET_INPUT, data(bytes=1 << 50), "data is missing: "),
        (SET_INPUT, data(sha256="../../../etc/passwd"), "its sha256 differs"),
        (SET_INPUT, data(sha256="0" * 64), "its sha256 differs"),
        (SET_INPUT, data(file="/etc/passwd"), "stored data is an offset"),
        (GET_OUTPUT, lambda args: args["result"].update(dims=[5]), r"f32\[5\] isn't 16 bytes"),
        (GET_OUTPUT, lambda args: args["result"].pop("data"), "there is no data"),
        (LOAD, lambda args: args.update(builders="all"), "'builders' must be a list of objects"),
        (LOAD, lambda args: args.update(builders=["/etc/passwd"]), "'builders' must be a list of objects"),
        (LOAD, lambda args: args.update(encoding="onyx"), "'encoding' can't be 'onyx'; there are openvino"),
        (LOAD, lambda args: args.update(target="npu"), "'target' can't be 'npu'; there are cpu"),
    ],
)
def test_what_is_wrong_in_a_trace_is_said_with_its_line(recorded: Path, at: int, edit: Edit, message: str) -> None:
    rewrite(recorded, lambda changed: edit(changed[at]["args"]))
    match = rf"trace\.json, line {at + 2}: .*{message}"
    refused(ErrorCode.INVALID_ARGUMENT, match, replay, recorded, {"net": models.relu()})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[" * 100_000, "the line is no event"),
        (b'{"args":' * 100_000, "the line is no event"),
        (b"[]", "the line is no event: it is no object"),
        (b"NaN", "the line is no event: NaN is no number"),
        (b'{"a":-Infinity}', "the line is no event: -Infinity is no number"),
        (b'{"a":' + b"9" * 5000 + b"}", "the line is no event"),
        (b'{"a":"\xff\xfe"}', "the line is no event"),
        (b"", "the line is no event"),
        (b"{" + b" " * (5 << 20) + b"}", "the line is too long"),
        (b'{"cat":"wasi-nn"}', "a call needs a name and args"),
        (b'{"cat":"wasi-nn","name":[],"args":{}}', "a call needs a name and args"),
        (b'{"cat":"wasi-nn","name":"dance\x1b","args":{}}', "the line is no event"),
        (b'{"cat":"wasi-nn","name":"dance","args":{}}', "unknown call 'dance'"),
        (b'{"cat":"wasi-nn","name":"__init__","args":{}}', "unknown call '__init__'"),
    ],
)
def test_a_line_that_is_no_call_is_refused(recorded: Path, line: bytes, message: str) -> None:
    lines = recorded.read_bytes().split(b"\n")
    lines[4] = line + b","
    recorded.write_bytes(b"\n".join(lines))
    refused(ErrorCode.INVALID_ARGUMENT, f"line 5: .*{message}", replay, recorded, {"net": models.relu()})


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"{}", b"[]", b'{"traceEvents": [\n', b'{"traceEvents": [\n]}\n', models.relu()]
)
def test_a_file_that_is_no_trace(recorded: Path, content: bytes) -> None:
    recorded.write_bytes(content)
    refused(ErrorCode.INVALID_ARGUMENT, "is no trace of wasi-nn's", replay, recorded)


def test_a_trace_of_another_format(recorded: Path) -> None:
    rewrite(recorded, lambda changed: changed[0]["args"].update(format="wasi-nn 2"))
    refused(ErrorCode.INVALID_ARGUMENT, "not of the format 'wasi-nn 1'", replay, recorded)


def test_files_that_arent_there_or_arent_files(recorded: Path, tmp_path: Path) -> None:
    refused(ErrorCode.NOT_FOUND, "no such file: .*nothing", replay, tmp_path / "nothing")
    refused(ErrorCode.RUNTIME_ERROR, "can't be read", replay, tmp_path)
    stored = Path(f"{recorded}.data")
    stored.unlink()
    refused(ErrorCode.NOT_FOUND, "no such file: .*data", replay, recorded)
    os.mkfifo(stored)
    refused(ErrorCode.RUNTIME_ERROR, "it is no regular file", replay, recorded)


def test_data_that_was_changed_or_cut_is_refused(recorded: Path) -> None:
    stored = Path(f"{recorded}.data")
    content = stored.read_bytes()
    graphs = {"net": models.relu()}
    stored.write_bytes(b"\x01" + content[1:])
    refused(ErrorCode.INVALID_ARGUMENT, "isn't what was recorded", replay, recorded, graphs)
    stored.write_bytes(content[:-1])
    refused(ErrorCode.INVALID_ARGUMENT, r"line 10: data is missing: bytes 32 to \d+", replay, recorded, graphs)
    stored.write_bytes(b"")
    refused(ErrorCode.INVALID_ARGUMENT, "data is missing", replay, recorded, graphs)


def test_data_that_overlaps_is_refused(recorded: Path) -> None:
    inside = hashlib.sha256(Path(f"{recorded}.data").read_bytes()[4:20]).hexdigest()
    rewrite(recorded, lambda changed: changed[GET_OUTPUT]["args"]["result"]["data"].update(offset=4, sha256=inside))
    refused(ErrorCode.INVALID_ARGUMENT, "overlaps", replay, recorded, {"net": models.relu()})


def test_dims_that_multiply_to_nothing_are_only_a_failed_call(recorded: Path) -> None:
    dims = [0, 2**32 - 1, 2**32 - 1, 2**32 - 1]
    nothing = {"offset": 0, "bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    rewrite(recorded, lambda changed: changed[SET_INPUT]["args"].update(dims=dims, data=nothing))
    differences = texts(replay(recorded, {"net": models.identity(dims=["a", "b", "c", "d"])}))
    assert differences[0].startswith("call 3, set_input: the call fails with ")


def test_what_is_done_with_handles_that_never_were(recorded: Path) -> None:
    rewrite(recorded, lambda changed: changed[COMPUTE]["args"].update(context=77))
    differences = texts(replay(recorded, {"net": models.relu()}))
    assert differences[0].startswith("call 4, compute: the call fails with invalid-argument: ")


def test_what_a_trace_says_is_shown_without_its_control_characters(recorded: Path) -> None:
    rewrite(recorded, lambda changed: changed[LOAD_BY_NAME]["args"].update(name="\x1b[31m\n"))
    assert all(text.isprintable() for text in texts(replay(recorded)))


# The command


@pytest.fixture
def run(tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs the command in a directory with models and a guest that looks one of them up."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(models.relu())
    (tmp_path / "other.onnx").write_bytes(models.identity())
    (tmp_path / "looks.wat").write_text(command(LOOKS_UP_NET))
    handler = signal.getsignal(signal.SIGINT)
    yield lambda *arguments: commands.main(arguments)
    signal.signal(signal.SIGINT, handler)


def test_the_command_records_and_replays(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "--graph", "net=net.onnx", "--trace", "t.json", "--trace-data", "looks.wat") == SUCCESS
    assert run("replay", "--graph", "net=net.onnx", "t.json") == 0
    assert run("replay", "--graph", "net=net.onnx", "--runtime", "onnx=openvino", "t.json") == 0
    assert capsys.readouterr().out == "1 call, 0 outputs compared, 0 differences\n" * 2
    assert run("replay", "t.json") == 1
    assert capsys.readouterr().out.splitlines() == [
        "call 1, load_by_name: the call fails with not-found: no graph is named 'net'; the names here: none",
        "1 call, 0 outputs compared, 1 difference",
    ]


def test_the_command_says_what_differs(
    run: Callable[..., int], recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["replay", "--graph", "net=other.onnx", str(recorded)]
    assert run(*arguments) == 1
    assert capsys.readouterr().out.splitlines() == [
        NOT_RELU,
        "10 calls, 2 outputs compared, 1 difference",
    ]
    assert run(*arguments, "--rtol", "0", "--atol", "4.5") == 0
    assert run(*arguments, "--no-load") == 1
    assert "6 calls, 4 left out for a missing graph" in capsys.readouterr().out
    recorded.write_bytes(recorded.read_bytes()[:-3])
    assert run(*arguments, "--atol", "5") == 0
    assert "the trace ends in the middle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "--trace-data", "looks.wat"], 2, "--trace-data needs --trace FILE"),
        (
            ["run", "--trace", "nowhere/t.json", "looks.wat"],
            1,
            "no trace can be written to nowhere/t.json: No such file or directory\n",
        ),
        (["replay", "nothing.json"], 1, "no such file: nothing.json"),
        (["replay", "net.onnx"], 1, "net.onnx is no trace of wasi-nn's"),
        (["replay", "--rtol", "nan", "net.onnx"], 1, "rtol must be a number from 0 on, or None, not nan"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert run(*arguments) == code
    output, errors = capsys.readouterr()
    assert (output, len(errors.splitlines())) == ("", 1)
    assert message in errors


def test_ctrl_c_leaves_a_whole_trace(tmp_path: Path, cache_home: Path, trace: Path) -> None:
    looks = "(drop (call $lookup (i32.const 0) (i32.const 1) (i32.const 0)))"
    (tmp_path / "loop.wat").write_text(command(looks + says("begun") + "(loop $again (br $again))"))
    program = Path(sys.executable).with_name("wasi-nn")
    arguments = [str(program), "run", "--trace", str(trace), str(tmp_path / "loop.wat")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"begun"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == -signal.SIGINT
    assert [event["args"]["error"]["code"] for event in calls(trace)] == ["not-found"]


def test_a_session_is_a_session(trace: Path) -> None:
    with Host({"net": models.relu()}, allow_load=False, cache=False).session(trace=trace) as session:
        assert isinstance(session, Session)
        with pytest.raises(NNError, match="by name only"):
            session.load([memoryview(models.relu())], GraphEncoding.ONNX, ExecutionTarget.CPU)
    assert calls(trace)[0]["args"]["error"]["code"] == "security"


def test_the_tier_for_tools_has_the_names_of_tracing() -> None:
    """`wasi_nn.tracing` gives the same objects as the package, also after the module `replay` is imported."""
    from wasi_nn.tracing.replay import replay as replay_of_the_module

    assert replay is wasi_nn.replay is replay_of_the_module is wasi_nn.tracing.replay
    assert (RecordingSession, Replayed, Difference) == (
        wasi_nn.RecordingSession,
        wasi_nn.Replayed,
        wasi_nn.Difference,
    )
    assert Trace.__module__ == "wasi_nn.tracing.trace_writer"
    assert TraceReader.__module__ == "wasi_nn.tracing.trace_file"
