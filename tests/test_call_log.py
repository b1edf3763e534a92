"""Calls shown as lines (`wasi-nn run --log-calls`), and the summaries of tensors in lines and traces."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnx_models as models
import pytest
from checks import refused
from command_guests import LOOKS_UP_NET, command
from core_guest import AUTODETECT, F32, INVALID_ARGUMENT, NOT_FOUND, SUCCESS, CoreGuest

from wasi_nn import ErrorCode, Host, NNError, cli as commands
from wasi_nn.tracing import CallLog, RecordingSession, Trace, TraceReader
from wasi_nn.tracing.call_recorder import CATEGORY, REFUSED
from wasi_nn.tracing.tensor_summary import summary

if TYPE_CHECKING:
    from wasi_nn.types import Array

INPUT = models.f32([1.5, -2.5, 3.5, -4.5])


class Lines(list[str]):
    """The lines of a log, with `...` for their times."""

    def add(self, line: str) -> None:
        found = re.fullmatch(r"(.*)  \(\d[\d.e+]* (s|ms|us)\)", line)
        assert found is not None, line
        self.append(found[1])


def test_each_call_is_a_line_with_what_it_was_given_and_gave() -> None:
    lines = Lines()
    with RecordingSession(CallLog(lines.add), {"net": models.relu()}) as session:
        guest = CoreGuest(session)
        context = guest.context("net")
        assert guest.set_input(context, 0, [4], F32, INPUT.tobytes()) == SUCCESS
        assert guest.call("compute", context) == SUCCESS
        assert guest.call("get_output", context, 0, 65536, 64, 8) == SUCCESS
        assert guest.load(models.relu(), encoding=AUTODETECT) == SUCCESS
    assert lines == [
        'load_by_name "net" -> graph 1, onnx, onnxruntime, cpu',
        "init_execution_context graph 1 -> context 2",
        "set_input context 2, input 0, f32[4] of 16 bytes, -4.5 to 3.5, mean -0.5",
        "compute context 2",
        "get_output context 2, output 0 -> f32[4] of 16 bytes, 0 to 3.5, mean 1.25",
        f"load autodetect, cpu, builders ({len(models.relu())} bytes) -> graph 3, onnx, onnxruntime, cpu",
    ]


def test_a_call_that_fails_says_why_on_its_line() -> None:
    lines = Lines()
    with RecordingSession(CallLog(lines.add), {"net": models.relu()}) as session:
        guest = CoreGuest(session)
        context = guest.context("net")
        assert guest.set_input(context, 7, [4], F32, INPUT.tobytes()) == INVALID_ARGUMENT
        assert guest.call("compute", 99) != SUCCESS
        assert guest.set_input(context, 0, [4], 77, INPUT.tobytes()) == INVALID_ARGUMENT
        assert guest.set_input(98, 0, [4], F32, INPUT.tobytes()) != SUCCESS
        assert guest.call("get_output", 97, 0, 65536, 64, 8) != SUCCESS
    wrong_index, no_context, no_type, *others = lines[2:]
    assert wrong_index.startswith("set_input context 2, input 7, f32[4] of 16 bytes, -4.5 to 3.5, mean -0.5 FAILED")
    assert "FAILED, invalid-argument: " in wrong_index
    assert no_context.startswith("compute context 99 FAILED, invalid-argument: handle 99 isn't an execution context")
    assert [line.partition(",")[0] for line in others] == [
        "set_input context 98 FAILED",
        "get_output context 97 FAILED",
    ]
    assert no_type.startswith("set_input arguments (2, 0, ")
    assert " REFUSED, invalid-argument: " in no_type


def test_a_log_and_a_trace_of_the_same_calls(tmp_path: Path) -> None:
    lines, file = Lines(), tmp_path / "t.json"
    with RecordingSession(CallLog(lines.add, Trace(file, data=True)), {"net": models.relu()}) as session:
        guest = CoreGuest(session)
        assert guest.set_input(guest.context("net"), 0, [4], F32, INPUT.tobytes()) == SUCCESS
    with TraceReader(file) as reader:
        recorded = list(reader.calls())
        assert [call.name for call in recorded] == [line.split()[0] for line in lines]
        assert bytes(reader.content(recorded[2].arguments["data"])) == INPUT.tobytes()


def test_what_a_guest_names_is_shown_short_and_without_control_characters() -> None:
    lines = Lines()
    CallLog(lines.add).write("load_by_name", 1, {"name": "a\x1b[2J" + "b" * 999}, 0, 10**9, CATEGORY)
    CallLog(lines.add).write(
        "x", 1, {"inputs": [{"name": "n", "dims": [1], "type": "u8", "bytes": 1}] * 99}, 0, 1, CATEGORY
    )
    CallLog(lines.add).write("x", 1, {"error": {"code": "security", "message": "no\n"}}, 0, 1, REFUSED)
    assert lines[0] == f'load_by_name "a\\x1b[2J{"b" * 75}..."'
    assert lines[1] == f"x inputs ({'<n>, u8[1] of 1 bytes, ' * 8}...)".replace("<n>", '"n"')
    assert lines[2] == "x REFUSED, security: no\\n"


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([1, 2, 6], np.uint8), {"min": 1, "max": 6, "mean": 3}),
        (np.array([-(2**63), 2**63 - 1], np.int64), {"min": -(2**63), "max": 2**63 - 1, "mean": -0.5}),
        (np.array([True, False]), {"min": 0, "max": 1, "mean": 0.5}),
        (np.array([1, 2], np.float16), {"min": 1.0, "max": 2.0, "mean": 1.5}),
        (np.array([1, 2], ml_dtypes.bfloat16), {"min": 1.0, "max": 2.0, "mean": 1.5}),
        (np.array([1, np.nan, 3, np.inf], np.float32), {"nonfinite": 2, "min": 1.0, "max": 3.0, "mean": 2.0}),
        (np.array([np.nan], np.float32), {"nonfinite": 1}),
        (np.array([1e308, 1e308]), {"min": 1e308, "max": 1e308}),
        (np.array([], np.float32), {}),
    ],
)
def test_a_tensor_in_numbers(array: Array, expected: dict[str, float]) -> None:
    content = memoryview(array.tobytes())
    numbers = summary(array.dtype, content)
    assert len(numbers.pop("hash")) == 16
    if "mean" in numbers and expected.get("mean") == -0.5:
        assert numbers.pop("mean") == pytest.approx(expected.pop("mean"), abs=1)
    assert numbers == expected


def test_the_order_of_elements_shows_in_the_hash_alone() -> None:
    image = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    last, first = (summary(a.dtype, memoryview(a.tobytes())) for a in (image, image.transpose(2, 0, 1)))
    assert last.pop("hash") != first.pop("hash")
    assert last == first


def test_the_command_shows_calls_on_stderr_beside_the_trace(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(models.relu())
    (tmp_path / "looks.wat").write_text(command(LOOKS_UP_NET))
    arguments = ["run", "--log-calls", "--trace", "t.json", "--trace-data", "looks.wat"]
    assert commands.main([*arguments[:2], "--graph", "net=net.onnx", *arguments[2:]]) == SUCCESS
    assert capsys.readouterr().err.startswith('wasi-nn: load_by_name "net" -> graph 1, onnx, onnxruntime, cpu  (')
    assert commands.main(arguments) == NOT_FOUND
    errors = capsys.readouterr().err
    assert 'wasi-nn: load_by_name "net" FAILED, not-found: no graph is named' in errors
    with TraceReader(tmp_path / "t.json") as reader:
        assert [call.name for call in reader.calls()] == ["load_by_name"]


def test_a_host_takes_a_recorder_in_place_of_a_path(cache_home: Path) -> None:
    lines = Lines()
    with Host({"net": models.relu()}) as host:
        guest = command(LOOKS_UP_NET).encode()
        assert host.run(guest, trace=CallLog(lines.add)).exit_code == SUCCESS
        assert lines == ['load_by_name "net" -> graph 1, onnx, onnxruntime, cpu']
        wrong: Callable[..., object] = host.run
        message = "trace_data is for the path of a trace"
        refused(ErrorCode.INVALID_ARGUMENT, message, wrong, guest, trace=CallLog(lines.add), trace_data=True)
        with pytest.raises(NNError, match="trace must be a path"):
            wrong(guest, trace=7)
