"""The error for a guest that trapped ends with what the guest itself wrote last on its standard error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_guests import LOOPS, command, says

from wasi_nn import GuestStopped, GuestTrap, Host, Limits
from wasi_nn.cli import main

Write = Callable[[str, bytes], Path]
TRAPS = command(says("Traceback:\n  line 3\nValueError: no such label\n", 2) + says("out") + "unreachable").encode()
MARK = "; the guest's own last lines on its standard error:\n"


def trap_of(guest: bytes | Path, **arguments: object) -> GuestTrap:
    with pytest.raises(GuestTrap) as raised:
        Host(cache=False).run(guest, **arguments)  # type: ignore[arg-type]
    return raised.value


def test_the_last_lines_follow_the_reason_and_are_marked_as_the_guests() -> None:
    trap = trap_of(TRAPS, capture_output=True)
    assert trap.reason == "wasm `unreachable` instruction executed"
    lines = "  | Traceback:\n  |   line 3\n  | ValueError: no such label"
    assert str(trap) == f"the guest trapped: {trap.reason}{MARK}{lines}"


def test_output_that_was_shown_already_is_not_repeated(capfd: pytest.CaptureFixture[str]) -> None:
    assert "ValueError" not in str(trap_of(TRAPS))
    assert capfd.readouterr().err.count("ValueError") == 1
    assert "ValueError" not in str(trap_of(TRAPS, streams=(1, 2)))


def test_the_command_shows_each_line_once(write: Write, capfd: pytest.CaptureFixture[str]) -> None:
    guest = write("guest.wat", TRAPS)
    assert main(["run", "--no-cache", str(guest)]) == 134
    assert capfd.readouterr().err.count("ValueError: no such label") == 1
    program = "from wasi_nn.cli import command; command()"
    ended = subprocess.run([sys.executable, "-c", program, "run", "--no-cache", str(guest)], capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"ValueError: no such label")) == (134, b"out", 1)


def test_a_guest_that_wrote_nothing_has_a_message_of_one_line() -> None:
    assert "\n" not in str(trap_of(command(says("out") + "unreachable").encode(), capture_output=True))
    assert "\n" not in str(trap_of(command(says(" \n\n", 2) + "unreachable").encode(), capture_output=True))


def test_a_guests_words_are_bounded_and_printable() -> None:
    trap = GuestTrap("it trapped")
    trap.stderr = b"\x1b[2J\xff\tx" + b"y" * 10**6 + b"\n" + b"".join(b"line %d\r\n\n" % n for n in range(10**5))
    lines = str(trap).splitlines()
    assert lines[1:] == [f"  | line {n}" for n in range(10**5 - 12, 10**5)]
    trap.stderr = b"\x1b[2J\xff\tx" + b"y" * 10**6 + b"\r\x07z\xe2\x80\xa8"
    assert all(line.isprintable() and len(line) <= 204 for line in str(trap).splitlines())
    assert len(str(trap)) < 4000
    trap.stderr = b"\x1b[2J"
    assert str(trap).endswith("\n  | \\x1b[2J")


def test_limits_show_the_last_lines_and_a_stop_from_outside_doesnt() -> None:
    late = command(says("still busy\n", 2) + "(loop $again (br $again))").encode()
    trap = trap_of(late, capture_output=True, limits=Limits(guest_time=0.2))
    assert "guest_time" in str(trap)
    assert str(trap).endswith("\n  | still busy")
    run = Host(cache=False).start(LOOPS, capture_output=True)
    run.stop("enough")
    with pytest.raises(GuestStopped) as stopped:
        run.wait()
    assert str(stopped.value) == "the guest was stopped: enough"
