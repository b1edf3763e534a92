"""Guests are compiled within limits of time and memory: large ones in a separate process, which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from command_guests import EMPTY
from conftest import REPOSITORY
from hypothesis import given, strategies as st
from slow_modules import LARGE, loops_with_many_values, many_variables, module, nested_loops

from wasi_nn import GuestError, GuestStopped, Host, Limits
from wasi_nn.guests.compilation import is_easy

SLOW = nested_loops(4000)  # takes minutes to compile

INFER = REPOSITORY / "guests" / "component" / "infer.wasm"


def compiler_of(process: int) -> int:
    """Wait for the process that compiles guests for another process; returns its id."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for status in Path("/proc").glob("[0-9]*/status"):
            with suppress(OSError):  # the process has ended meanwhile
                is_child = f"PPid:\t{process}\n" in status.read_text()
                if is_child and b"compile_process" in status.with_name("cmdline").read_bytes():
                    return int(status.parent.name)
        time.sleep(0.01)
    pytest.fail("it has started no process")


def wait_for_end_of(process: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        time.sleep(0.01)
    pytest.fail("it goes on")


def test_small_modules_are_compiled_here_and_all_that_may_take_long_elsewhere() -> None:
    assert is_easy(module([b"\x60\0\0"], [b"\0\x0b"]))
    assert not is_easy(SLOW)
    assert not is_easy(nested_loops(200))
    assert not is_easy(loops_with_many_values(120, 300))
    assert not is_easy(many_variables(3, 50_000))
    assert not is_easy(LARGE)
    assert not is_easy(SLOW[:-1])
    assert not is_easy(b"")


@given(st.binary(max_size=200))
def test_whatever_a_module_is_its_looks_are_told(content: bytes) -> None:
    assert is_easy(b"\0asm\x01\0\0\0" + content) in (True, False)


@pytest.mark.parametrize("guest", [LARGE, INFER], ids=["module", "component"])
@pytest.mark.parametrize("fuel", [None, 10**9], ids=["", "fuel"])
def test_what_was_compiled_elsewhere_runs_here(guest: bytes | Path, fuel: int | None) -> None:
    host = Host(limits=Limits(fuel=fuel), cache=False)
    arguments = [] if guest is LARGE else ["--help"]
    assert host.run(guest, arguments, capture_output=True).exit_code in (0, 1, 2)


def test_what_is_wrong_with_a_module_is_told_from_there_too() -> None:
    with pytest.raises(GuestError, match=r"guest.wasm is not valid WebAssembly: .*type mismatch"):
        Host(cache=False).run(module([b"\x60\0\0"], [b"\0" + b"\x41\x01" * 40_000 + b"\x0b"]))


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(compile_time=0.5), r"0.5 s \(Limits.compile_time, --max-compile-time\)"),
        (Limits(run_time=0.5), r"0.5 s \(Limits.run_time, --max-run-time\)"),
    ],
)
def test_a_guest_that_takes_too_long_to_compile_is_given_up(limits: Limits, name: str) -> None:
    host = Host(limits=limits, cache=False)
    for call in (host.run, host.compile):
        with pytest.raises(GuestError, match=f"guest.wasm can't be compiled: it took longer than {name}"):
            call(SLOW)
    assert Host(cache=False).run(EMPTY).exit_code == 0


def test_a_guest_that_takes_too_much_memory_to_compile_is_given_up() -> None:
    host = Host(limits=Limits(compile_memory=128 * 2**20, compile_time=None), cache=False)
    limit = r"134217728 bytes of memory \(Limits.compile_memory, --max-compile-memory\)"
    with pytest.raises(GuestError, match=f"guest.wasm can't be compiled: it took more than {limit}"):
        host.run(loops_with_many_values(500, 1000))
    assert host.run(LARGE).exit_code == 0


@pytest.mark.parametrize("memory", [2**20, 10 * 2**20, 2**24])
def test_a_compiler_that_fails_for_want_of_memory_names_the_limit(memory: int) -> None:
    host = Host(limits=Limits(compile_memory=memory), cache=False)
    with pytest.raises(GuestError, match=rf"{memory} bytes.* \(Limits.compile_memory, --max-compile-memory\)"):
        host.run(loops_with_many_values(500, 1000))


def test_other_guests_run_while_one_is_compiled_and_it_can_be_stopped() -> None:
    with Host(cache=False) as host:
        slow = host.start(SLOW)
        assert host.run(EMPTY).exit_code == 0
        with pytest.raises(TimeoutError):
            slow.wait(0.1)
        compiler = compiler_of(os.getpid())
        slow.stop("nobody wants it")
        with pytest.raises(GuestStopped, match="nobody wants it"):
            slow.wait()
        wait_for_end_of(compiler)


def test_a_compiler_that_is_killed_costs_an_error() -> None:
    host = Host(cache=False)
    slow = host.start(SLOW)
    os.kill(compiler_of(os.getpid()), signal.SIGKILL)
    with pytest.raises(GuestError, match="the compiler failed: it was ended by SIGKILL"):
        slow.wait()
    assert host.run(LARGE).exit_code == 0


def test_a_compiler_ends_with_the_host() -> None:
    script = f"import wasi_nn, sys; wasi_nn.Host(cache=False).run({str(REPOSITORY)!r} and sys.stdin.buffer.read())"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(SLOW)
        process.stdin.close()
        compiler = compiler_of(process.pid)
        process.kill()
        process.wait()
        wait_for_end_of(compiler)


def test_without_a_process_for_it_a_guest_isnt_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(GuestError, match="can't be compiled: no process can be started for the compiler"):
        Host(cache=False).run(LARGE)
