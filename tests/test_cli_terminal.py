"""Colours, and notes about slow steps: on a terminal only."""

from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx_models
import pytest

from wasi_nn import cli
from wasi_nn.cli.colours import Colours
from wasi_nn.cli.steps import report_steps
from wasi_nn.loading.slow import log_if_slow

Write = Callable[[str, bytes], Path]
RED = b"\x1b[1;31m"


def errors_of(arguments: list[str], variables: Mapping[str, str], *, terminal: bool) -> bytes:
    """What the command writes to stderr, on a terminal or into a pipe."""
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    ours, theirs = pty.openpty() if terminal else os.pipe()
    program = [sys.executable, "-m", "wasi_nn", *arguments]
    process = subprocess.Popen(program, stderr=theirs, env={**kept, "TERM": "xterm", **variables})
    os.close(theirs)
    output = b""
    try:
        while part := os.read(ours, 65536):
            output += part
    except OSError:  # the program has closed its side of the terminal
        pass
    os.close(ours)
    process.wait()
    return output


@pytest.mark.parametrize(
    ("terminal", "variables", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_errors_have_a_colour_on_a_terminal_only(terminal: bool, variables: dict[str, str], coloured: bool) -> None:
    for arguments in (["run", "nowhere.wasm"], ["rum"]):
        errors = errors_of(arguments, variables, terminal=terminal)
        assert b"wasi-nn:" in errors
        assert errors.startswith(RED) == coloured
        assert (b"\x1b" in errors) == coloured


def test_other_output_in_colours(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    broken = f"broken={write('broken.onnx', b'no model')}"
    guest = str(write("guest.wat", b"(module)"))
    for forced in (False, True):
        if forced:
            monkeypatch.setenv("FORCE_COLOR", "1")
        cli.main(["graphs", "--check", "--graph", broken])
        cli.main(["inspect", guest])
        cli.main(["doctor", "engine"])
        output = capsys.readouterr().out
        assert "FAILED" in output
        for painted in ("\x1b[31mFAILED\x1b[0m", "\x1b[31mdoes not run here\x1b[0m", "\x1b[32mok     \x1b[0m"):
            assert (painted in output) == forced
    monkeypatch.setenv("FORCE_COLOR", "1")
    cli.main(["graphs", "--check", "--graph", broken, "--json"])
    assert "\x1b" not in capsys.readouterr().out


def test_a_stream_that_is_closed_has_no_colours() -> None:
    with open(os.devnull, "w") as stream:
        pass
    assert Colours(stream).painted("x", "red") == "x"


def test_a_model_that_takes_long_to_load_is_told_of_once(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wasi_nn")
    told = threading.Event()

    class Hears(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    path = write("net.onnx", onnx_models.relu())
    logging.getLogger("wasi_nn").addHandler(handler := Hears())
    try:
        with log_if_slow(path, after=0):
            assert told.wait(60)
    finally:
        logging.getLogger("wasi_nn").removeHandler(handler)
    first, last = (record.getMessage() for record in caplog.records)
    assert first == "loading net.onnx (0 MB), which takes longer than a second ..."
    assert last.startswith("... ")
    with log_if_slow(path, after=3600):
        pass
    assert len(caplog.records) == 2


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_slow_steps_are_reported_on_a_terminal(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("wasi_nn")
    monkeypatch.setattr(logger, "level", logging.WARNING)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: level == logging.INFO, raising=False)
    report_steps()
    assert logger.level == level
    logger.setLevel(logging.NOTSET)  # also forgets which levels are on


def test_a_name_that_the_output_can_not_have_is_escaped(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "wasi_nn", "new", "c", str(tmp_path / "n\xe9")]
    process = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert b"n\\xe9 has a guest in C" in process.stdout
