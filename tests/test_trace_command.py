"""`wasi-nn trace`: tables, JSON, tensors as files, and comparisons of two traces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx_models as models
import pytest
from checks import refused
from core_guest import F32, INVALID_ARGUMENT, NOT_FOUND, SUCCESS, CoreGuest
from onnx import TensorProto

from wasi_nn import ErrorCode, TensorType, cli as commands
from wasi_nn.tracing import RecordingSession, TraceReader, compare_traces, recorded_tensor
from wasi_nn.tracing.call_recorder import FAILURE
from wasi_nn.tracing.tensor_order import relation

if TYPE_CHECKING:
    from wasi_nn.types import Array

IMAGE = np.random.default_rng(7).standard_normal((1, 3, 16, 16), np.float32)
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def wasi_nn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in a folder of the test's own; gives its exit code, its output and its errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = commands.main(arguments)
        return code, *capsys.readouterr()

    return run


def record(file: str, image: Array = IMAGE, *, data: bool = True, model: bytes | None = None, times: int = 1) -> None:
    """A trace of inferences on an image."""
    with RecordingSession(file, {"net": model or models.convolution(16)}, data=data, title="guest.wasm") as session:
        context = session.init_execution_context(session.load_by_name("net"))
        for _ in range(times):
            session.set_input(context, 0, image)
            session.compute(context)
            session.get_output(context, 0)


def guest_with_failures(file: str) -> None:
    with RecordingSession(file, {"net": models.relu()}) as session:
        guest = CoreGuest(session)
        assert guest.load_by_name("nobody") == NOT_FOUND
        context = guest.context("net")
        assert guest.set_input(context, 0, [4], 99, bytes(16)) == INVALID_ARGUMENT
        assert guest.set_input(context, 0, [4], F32, models.f32([1, 2, 3, 4]).tobytes()) == SUCCESS


def rewrite(file: str, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the events of a trace."""
    events = json.loads(Path(file).read_bytes())["traceEvents"]
    edit(events)
    Path(file).write_text('{"traceEvents": [\n' + ",\n".join(map(json.dumps, events)) + "\n]}\n")


# Looking


def test_a_table_has_a_row_for_each_call(wasi_nn: Command) -> None:
    guest_with_failures("t.json")
    code, output, _ = wasi_nn("trace", "t.json")
    lines = output.splitlines()
    rows = [line.split() for line in lines]
    assert (code, rows[0][:3]) == (0, ["call", "at", "time"])
    assert [row[0] for row in rows[1:6]] == ["1", "2", "3", "-", "4"]
    assert "FAILED, not-found: no graph is named 'nobody'" in lines[1]
    assert "graph 1, onnx, onnxruntime, cpu" in lines[2]
    assert "REFUSED, invalid-argument" in lines[4]
    assert "f32[4] of 16 bytes, 1 to 4, mean 2.5" in lines[5]
    assert lines[6].startswith("wasi-nn: 5 calls in ")
    assert ", 2 failed" in lines[6]
    assert "record it with --trace-data" in lines[7]


def test_json_has_the_calls_as_they_were_recorded(wasi_nn: Command) -> None:
    guest_with_failures("t.json")
    shown = json.loads(wasi_nn("trace", "--json", "t.json")[1])
    assert [call["call"] for call in shown["calls"]] == [1, 2, 3, None, 4]
    assert shown["calls"][0]["error"]["code"] == "not-found"
    assert shown["calls"][4]["arguments"]["dims"] == [4]
    assert (shown["runs"][0]["calls"], shown["runs"][0]["failed"], shown["has_data"]) == (5, 2, False)


def test_a_failed_call_is_marked_on_the_timeline(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    guest_with_failures(str(file))
    events = json.loads(file.read_bytes())["traceEvents"]
    marks = [place for place, event in enumerate(events) if event.get("cat") == FAILURE]
    assert [events[place]["name"] for place in marks] == ["FAILED: not-found", "FAILED: invalid-argument"]
    for place in marks:
        call, mark = events[place - 1 : place + 1]
        assert "error" in call["args"]
        assert [call[key] for key in ("pid", "tid", "ts", "dur")] == [mark[key] for key in ("pid", "tid", "ts", "dur")]


def test_a_table_shows_what_is_malformed_as_such(wasi_nn: Command) -> None:
    record("t.json", data=False)
    deep: Any = []
    for _ in range(300):
        deep = [deep]

    def edit(events: list[dict[str, Any]]) -> None:
        for event, arguments in zip(
            events[2:],
            (
                {"name": "\x1b[31m" + "x" * 99999, "error": 7},
                {"result": {"dims": "x", "bytes": "y"}, "deep": deep},
                {"dims": [2**70, -1], "min": "low", "type": ["f32"], "bytes": {}},
            ),
            strict=False,
        ):
            event.update(args=arguments, ts="soon", dur=[], cat="wasi-nn", ph="X", tid=1)

    rewrite("t.json", edit)
    code, output, _ = wasi_nn("trace", "t.json")
    assert code == 0
    assert "\x1b" not in output
    assert output.count("(malformed)") == 3
    assert max(map(len, output.splitlines())) < 3000


@pytest.mark.parametrize("change", [{"pid": -1}, {"pid": "x"}, {"tid": 2**40}, {"tid": True}])
def test_a_run_or_a_row_that_is_no_number_is_refused(wasi_nn: Command, change: dict[str, Any]) -> None:
    record("t.json", data=False)
    rewrite("t.json", lambda events: events[2].update(change))
    code, _, errors = wasi_nn("trace", "t.json")
    assert (code, errors) == (1, f"wasi-nn: t.json, line 4: '{next(iter(change))}' must be a number of 32 bits\n")


# Tensors as files


def test_a_tensor_is_written_as_a_file(wasi_nn: Command) -> None:
    record("t.json")
    code, output, _ = wasi_nn("trace", "t.json", "--dump", "3", "in.npy")
    assert (code, output) == (0, "in.npy: float32[1, 3, 16, 16]\n")
    assert np.array_equal(np.load("in.npy"), IMAGE)
    assert wasi_nn("trace", "t.json", "--dump", "5", "out.npy")[0] == 0
    assert np.load("out.npy").shape == (1, 10)


def test_a_tensor_is_named_where_a_call_has_several(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    with RecordingSession(file, {"net": models.add_and_mul()}, data=True) as session:
        context = session.init_execution_context(session.load_by_name("net"))
        session.compute_named(context, [("a", models.f32([1, 2])), ("b", models.f32([3, 4]))])
    assert recorded_tensor(file, 3, "b").tolist() == [3, 4]
    assert recorded_tensor(file, 3, "output.sum").tolist() == [4, 6]
    several = "has several: input.a, input.b, output.product, output.sum; name one, such as 3:a"
    refused(ErrorCode.NOT_FOUND, several, recorded_tensor, file, 3)
    refused(ErrorCode.NOT_FOUND, "has no tensor 'c'", recorded_tensor, file, 3, "c")
    refused(ErrorCode.NOT_FOUND, "call 2, init_execution_context, has no tensors", recorded_tensor, file, 2)
    refused(ErrorCode.NOT_FOUND, "the trace has no call 4", recorded_tensor, file, 4)


def test_types_that_numpy_files_lack(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    values = np.array([1.5, -2, 0, 1], ml_dtypes.bfloat16)
    graphs = {"same": models.identity(TensorType.BF16), "text": models.cast(TensorProto.FLOAT, TensorProto.STRING)}
    with RecordingSession(file, graphs, data=True) as session:
        for name, array in (("same", values), ("text", models.f32([1.5, 2, 3, 4]))):
            context = session.init_execution_context(session.load_by_name(name))
            session.compute_named(context, [("x", array)])
    brain = recorded_tensor(file, 3, "y")
    assert (brain.dtype.name, brain.tolist()) == ("float32", [1.5, -2, 0, 1])
    text = recorded_tensor(file, 6, "y")
    assert (text.dtype.kind, text.tolist()) == ("U", ["1.5", "2", "3", "4"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--dump", "three", "x.npy"], 2, "CALL is a call's number"),
        (["--dump", "3", "x.npy", "--json"], 2, "--dump writes a tensor: leave"),
        (["--dump", "3", "no/x.npy"], 1, "no/x.npy can't be written: "),
        (["--dump", "99", "x.npy"], 1, "the trace has no call 99"),
        (["--rtol", "1"], 2, "--rtol and --atol are for --compare"),
        (["--json", "--html", "x.html"], 2, "--json and --html: give one of them"),
        (["--html", "no/x.html"], 1, "no/x.html can't be written: "),
        (["--compare", "none.json"], 1, "no such file: none.json"),
        (["--compare", "t.json", "--rtol", "-1"], 1, "rtol must be a number from 0 on"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(wasi_nn: Command, arguments: list[str], code: int, message: str) -> None:
    record("t.json")
    ended, output, errors = wasi_nn("trace", *arguments, "t.json")
    assert (ended, output, len(errors.splitlines())) == (code, "", 1)
    assert message in errors


def test_a_trace_without_data_has_no_tensors_to_write(wasi_nn: Command) -> None:
    record("t.json", data=False)
    code, _, errors = wasi_nn("trace", "t.json", "--dump", "3", "x.npy")
    assert code == 1
    assert "has no data of tensors: record it with its data (" in errors


def test_data_that_was_changed_is_refused_with_its_line(wasi_nn: Command) -> None:
    record("t.json")
    data = Path("t.json.data")
    data.write_bytes(b"\1" + data.read_bytes()[1:])
    errors = wasi_nn("trace", "t.json", "--dump", "3", "x.npy")[2]
    assert errors == "wasi-nn: t.json, line 7: data at 0 isn't what was recorded: its sha256 differs\n"
    assert "line 7 of A, line 7 of B: data at 0" in wasi_nn("trace", "t.json", "--compare", "t.json")[2]


# Comparing


def test_equal_calls_are_equal(wasi_nn: Command) -> None:
    record("a.json")
    record("b.json", data=False)
    code, output, _ = wasi_nn("trace", "a.json", "--compare", "b.json")
    assert code == 0
    assert output.startswith("5 calls compared, 0 different; B's time is A's ")


@pytest.mark.parametrize("data", [True, False])
def test_channels_last_for_channels_first_are_found(wasi_nn: Command, data: bool) -> None:
    record("a.json", data=data)
    record("b.json", np.ascontiguousarray(IMAGE.transpose(0, 2, 3, 1)).reshape(IMAGE.shape), data=data)
    code, output, _ = wasi_nn("trace", "a.json", "--compare", "b.json")
    assert code == 1
    lines = output.splitlines()
    assert lines[0].startswith("call 3, set_input: input 0: ")
    order = "B has A's elements with the axes in the order 0, 2, 3, 1: channels last (NHWC) for channels first (NCHW)"
    assert (f"  input 0: {order}" in lines) == data
    assert "min, max and mean are the same, as with the same elements in another order" in output
    assert any(line.startswith("call 5, get_output: ") for line in lines)
    assert ("without the data of both" in lines[-1]) == (not data)
    as_json = json.loads(wasi_nn("trace", "a.json", "--compare", "b.json", "--json")[1])
    assert [(it["first"], it["second"], it["name"]) for it in as_json["differences"]] == [
        (3, 3, "set_input"),
        (5, 5, "get_output"),
    ]


def test_floats_may_differ_a_little_where_both_have_data(tmp_path: Path) -> None:
    a, b, c = (str(tmp_path / name) for name in ("a", "b", "c"))
    record(a)
    record(b, IMAGE * np.float32(1.0001))
    record(c, IMAGE * np.float32(1.0001), data=False)
    assert compare_traces(a, b).differ == 0
    assert compare_traces(a, b, rtol=0, atol=0).differ == 2
    assert compare_traces(a, c).differ == 2


def test_a_call_more_and_calls_of_other_names(tmp_path: Path) -> None:
    a, b = (str(tmp_path / name) for name in ("a", "b"))
    record(a)
    record(b, times=3)
    (more,) = compare_traces(a, b).differences
    assert str(more) == "call 6, set_input: only B has it; A has 6 calls fewer"
    assert (more.first, more.second) == (None, 6)
    assert compare_traces(b, a).differences[0].first == 6
    rewrite(b, lambda events: events.pop(5))  # set_input is missing
    (other,) = compare_traces(a, b).differences
    assert str(other) == "call 3, set_input: A calls set_input, B calls compute; the calls after it aren't compared"


def test_names_of_calls_are_shown_without_controls(wasi_nn: Command) -> None:
    record("a.json")
    record("b.json")
    rewrite("b.json", lambda events: events[5].update(name="\x1b[31m\ud800"))
    output = wasi_nn("trace", "b.json", "--compare", "a.json")[1]
    assert r"call 3, \x1b[31m\ud800: A calls" in output


def test_failures_and_runtimes(tmp_path: Path) -> None:
    a, b = (str(tmp_path / name) for name in ("a", "b"))
    record(a)
    record(b)
    rewrite(b, lambda events: events[6].update(args={"context": 2, "error": {"code": "busy", "message": "\x1b no"}}))
    rewrite(b, lambda events: events[2]["args"]["result"].update(runtime="openvino", device="gpu"))
    comparison = compare_traces(a, b)
    assert [str(difference) for difference in comparison.differences] == [
        "call 4, compute: A succeeds, B fails with busy: \\x1b no"
    ]
    assert comparison.notes == ["A runs on onnxruntime on cpu, B on openvino on gpu"]


def test_handles_are_those_of_the_same_item(tmp_path: Path) -> None:
    a, b = (str(tmp_path / name) for name in ("a", "b"))
    record(a)
    record(b)

    def renumber(events: list[dict[str, Any]]) -> None:
        for event in events:
            arguments = event["args"]
            for each in (arguments, arguments.get("result", {})):
                each.update({key: each[key] + 70 for key in ("graph", "context") if key in each})

    rewrite(b, renumber)
    assert compare_traces(a, b).differ == 0
    rewrite(b, lambda events: events[6]["args"].update(context=99))
    assert "context is 99, in A 'context number 2 that was made'" in str(compare_traces(a, b).differences[0])


SMALL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (SMALL, SMALL.transpose(1, 2, 0), "B has A's elements with the axes in the order 1, 2, 0: channels last (HWC)"),
        (SMALL.transpose(0, 2, 1), SMALL, "with the axes in the order 0, 2, 1"),
        (SMALL, SMALL[:, ::-1], "axis 1 reversed, such as BGR for RGB"),
        (SMALL, SMALL * 255, "B has 255 times A's elements"),
        (SMALL, SMALL / 4 - 3, "B has 0.25 times A's elements minus 3"),
        (SMALL, SMALL + 2, "B has A's elements plus 2"),
        (SMALL, np.zeros_like(SMALL), ""),
        (np.zeros_like(SMALL), SMALL, ""),
        (SMALL, SMALL[::-1] ** 2, ""),
        (SMALL, SMALL[:1], ""),
        (SMALL.astype(np.uint8), (SMALL / 23).astype(np.float32), "B has 0.04348 times A's elements"),
        (np.full((2, 3), np.nan, np.float32), SMALL[0, :2, :3], ""),
        (np.array([b"a", b"b"], object), np.array([b"b", b"a"], object), ""),
    ],
)
def test_how_tensors_go_together(first: Array, second: Array, text: str) -> None:
    found = relation(first, np.ascontiguousarray(second))
    assert found.startswith(text) or (text and text in found)
    assert bool(found) == bool(text)


def test_a_trace_of_many_calls_is_shown_compared_and_read_in_step(wasi_nn: Command) -> None:
    line = '{"name":"compute","cat":"wasi-nn","ph":"X","pid":%d,"tid":2,"ts":%d,"dur":0.5,"args":{"context":2}}'
    head = '{"name":"process_name","ph":"M","pid":1,"tid":1,"args":{"name":"g","format":"wasi-nn 1","data":false}}'

    def write(name: str, runs: int) -> None:
        lines = [head, *(line % (place % runs + 1, place) for place in range(6_000))]
        Path(name).write_text('{"traceEvents": [\n' + ",\n".join(lines) + "\n]}\n")

    write("one.json", 1)
    write("two.json", 2)
    assert len(wasi_nn("trace", "one.json")[1].splitlines()) == 6_003
    comparison = compare_traces("one.json", "two.json")
    assert [(it.first, it.second) for it in comparison.differences] == [(None, 2), (3_001, None)]
    assert comparison.compared == 3_000
    with TraceReader("one.json", needs_data=False) as reader:
        assert sum(1 for _ in reader.calls()) == 6_000


def test_traces_of_very_many_runs_are_compared_in_time(tmp_path: Path) -> None:
    """Each run has one call, and one trace has all of them earlier than the other."""
    line = '{"name":"compute","cat":"wasi-nn","ph":"X","pid":%d,"tid":2,"ts":1,"dur":1,"args":{"context":2}}'
    head = '{"name":"process_name","ph":"M","pid":1,"tid":1,"args":{"name":"g","format":"wasi-nn 1","data":false}}'
    runs = list(range(1, 5_001))
    files = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for file, order in zip(files, (runs, runs[::-1], runs + [run + 5_000 for run in runs]), strict=True):
        lines = [head, *(line % run for run in order)]
        file.write_text('{"traceEvents": [\n' + ",\n".join(lines) + "\n]}\n")
    assert compare_traces(files[0], files[1]).differ == 0
    more = compare_traces(files[2], files[0])
    assert (more.compared, more.differ, len(more.differences)) == (5_000, 5_000, 1000)
