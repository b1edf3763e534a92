"""The standard streams of guests: output is captured up to a limit, and no temporary files are needed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_models
import pytest
from command_guests import COMPUTES, ECHOES_STDIN, command, says
from confined_backend import TalkingBackend
from conftest import REPOSITORY

from wasi_nn import ExecutionTarget, Graph, GuestTrap, Host, Limits, LoadRules, RunResult, TensorInfo
from wasi_nn.loading.choose import ChosenModel
from wasi_nn.loading.load import open_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from wasi_nn.types import Array

INFER = REPOSITORY / "guests" / "component" / "infer.wasm"
TEXT = r"it wrote more than 10 bytes of output \(Limits\.output_bytes, --max-output-bytes\)"
TEN = Limits(output_bytes=10)


def run(guest: str, limits: Limits | None = TEN) -> RunResult:
    return Host(cache=False).run(guest.encode(), capture_output=True, limits=limits)


@pytest.mark.parametrize(
    ("body", "stdout", "stderr"),
    [
        (f"(loop $again {says('abc')} (br $again))", b"abcabcabca", b""),
        (f"(loop $again {says('abc', 2)} (br $again))", b"", b"abcabcabca"),
        (f"(loop $again {says('abc')} {says('xy', 2)} (br $again))", b"abcabc", b"xyxy"),
        (says("more than ten at once"), b"more than ", b""),
        (says("more than ten at once") + "(call $exit (i32.const 3))", b"more than ", b""),
        (says("more than ten at once") + "unreachable", b"more than ", b""),
    ],
    ids=["stdout", "stderr", "both", "at once", "and exits", "and traps"],
)
def test_a_guest_that_writes_more_than_it_may_is_ended(body: str, stdout: bytes, stderr: bytes) -> None:
    with pytest.raises(GuestTrap) as raised:
        run(command(body))
    assert (raised.value.stdout, raised.value.stderr) == (stdout, stderr)
    if "unreachable" not in body:
        raised.match(TEXT)


def test_as_much_as_it_may_is_no_more() -> None:
    assert run(command(says("12345") + says("67890", 2))) == RunResult(0, b"12345", b"67890")
    assert run(command(says("12345678901")), Limits(output_bytes=None)).stdout == b"12345678901"
    assert Limits().output_bytes == 64 * 2**20


def test_what_is_not_captured_is_not_counted(capfd: pytest.CaptureFixture[str]) -> None:
    assert Host(cache=False).run(command(says("more than ten at once")).encode(), limits=TEN) == RunResult(0)
    assert capfd.readouterr().out == "more than ten at once"


def test_a_component_is_ended_too() -> None:
    host = Host({"relu": onnx_models.relu(["n"])}, cache=False)
    arguments = ["--graph", "relu", "x=FP32:3:-1,2.5,1000"]
    with pytest.raises(GuestTrap, match=TEXT) as raised:
        host.run(INFER, arguments, capture_output=True, limits=TEN)
    assert raised.value.stdout == b"y: FP32 [3]: 0, 2.5, 1000\n"[:10]


class Talks(Graph):
    """A graph whose computes show text until they are interrupted."""

    def __init__(self) -> None:
        super().__init__([], [TensorInfo("y", np.dtype(np.float32), (1,))])

    def runner(self) -> Callable[[Sequence[Array], Sequence[Array] | None], Sequence[Array]]:
        return _Talker()


class _Talker:
    def __init__(self) -> None:
        self.text_sink: Callable[[bytes], None] | None = None
        self._interrupted = False

    def interrupt(self) -> None:
        self._interrupted = True

    def __call__(self, *_: object) -> Sequence[Array]:
        while not self._interrupted:
            assert self.text_sink is not None
            self.text_sink(b"word ")
        return [np.zeros(1, np.float32)]


def test_text_that_a_model_shows_counts_too() -> None:
    with pytest.raises(GuestTrap, match=TEXT) as raised:
        Host({"slow": Talks()}, cache=False).run(COMPUTES, capture_output=True, limits=TEN)
    assert raised.value.stdout == b"word word "


def test_text_that_a_worker_shows_counts_too() -> None:
    rules = LoadRules(isolate=True)
    chosen = ChosenModel(TalkingBackend(), [memoryview(b"")])
    graph = open_model(chosen, ExecutionTarget.CPU, {}, rules, untrusted=True)
    with pytest.raises(GuestTrap, match=TEXT) as raised:
        Host({"slow": graph}, cache=False).run(COMPUTES, capture_output=True, limits=TEN)
    assert raised.value.stdout == b"word word "


def test_streams_need_no_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    host = Host(cache=False)
    assert host.run(command(ECHOES_STDIN).encode(), stdin=b"input", capture_output=True).stdout == b"input"
    assert host.run(command(ECHOES_STDIN).encode(), stdin=b"", capture_output=True).stdout == b""
    assert host.run(command(ECHOES_STDIN).encode(), stdin=b"a\0" * 100, capture_output=True).stdout == b"a\0" * 32


def ends(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has an `output` of a guest and a list `engine`."""
    begin = """
        import threading
        from wasi_nn import Limits
        from wasi_nn.guests import output
        engine = [output.Output(Limits()).for_engine(output.STDOUT)]
    """
    command = [sys.executable, "-c", textwrap.dedent(begin) + textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_process_ends_only_when_the_engine_has_dropped_the_outputs() -> None:
    done = ends("""
        import atexit, time
        output._LONGEST_WAIT = 100
        exiting = threading.Event()
        atexit.register(exiting.set)

        def drop():
            exiting.wait()
            time.sleep(0.2)
            print("dropped", flush=True)
            engine.clear()

        threading.Thread(target=drop, daemon=True).start()
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "dropped\n", "")


def test_a_process_ends_though_the_engine_keeps_an_output_and_so_does_its_fork() -> None:
    done = ends("""
        import os, sys
        output._LONGEST_WAIT = 0.1
        child = os.fork()
        if not child:
            output._LONGEST_WAIT = 100
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
