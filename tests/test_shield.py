"""Output of ML runtimes themselves stays out of the command's output and of the guest's output."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_guests import ECHOES_STDIN, command, component_command, says
from conftest import C_GUESTS, SUPPORT

from wasi_nn import GuestTrap, Host, Limits, RunResult

WASI_NN = Path(sys.executable).with_name("wasi-nn")
INFERS = [str(C_GUESTS / "infer.wasm"), "--graph", "noisy", "f32:4:in.bin", "--output", "f32:out.bin"]
Write = Callable[[str, bytes], Path]


@pytest.fixture
def noisy(tmp_path: Path, write: Write) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in a folder where the noisy backend is installed."""
    write("noisy-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    write("noisy-1.0.dist-info/entry_points.txt", b"[wasi_nn.backends]\nnoisy = noisy_backend:NoisyBackend\n")
    write("in.bin", b"\0\0\x80\x3f" * 4)
    for kind in ("noisy", "aborts", "crashes"):
        write(f"{kind}.txt", f"noisy {kind}".encode())
    for module in ("tensorflow", "torch"):  # `backends` imports all runtimes, for seconds, and goes on without these
        write(f"{module}.py", b"raise ImportError")
    folders = [str(tmp_path), str(SUPPORT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}

    def run(*arguments: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(WASI_NN), *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            check=False,
            timeout=120,
            text=True,
            **{"capture_output": True, **keywords},
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "output", "when"),
    [
        (["run", "--graph", "noisy=noisy.txt", "--dir", ".", *INFERS], "output 0: 16 bytes", "compute thread"),
        (["inspect", "noisy.txt"], "runtime   numpy", "import load"),
        (["graphs", "--check", "--graph", "noisy=noisy.txt"], "ran in", "load compute"),
        (["backends"], "numpy", "import devices"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_runtimes_print_is_shown_only_if_it_is_asked_for(
    noisy: Callable[..., subprocess.CompletedProcess[str]], arguments: list[str], output: str, when: str
) -> None:
    silent = noisy(*arguments)
    assert silent.returncode == 0, silent.stderr
    assert output in silent.stdout
    assert "noise" not in silent.stdout + silent.stderr
    shown = noisy(arguments[0], "--show-runtime-output", *arguments[1:])
    assert output in shown.stdout
    assert "noise" not in shown.stdout
    for word in when.split():
        assert f"noise {word} 1\nnoise {word} 2\n" in shown.stderr


@pytest.mark.usefixtures("isolation")
def test_what_isolated_workers_print_is_shown_too(noisy: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    arguments = ["--isolate", "--graph", "noisy=noisy.txt", "--dir", ".", *INFERS]
    silent = noisy("run", *arguments)
    assert silent.returncode == 0, silent.stderr
    assert "noise" not in silent.stdout + silent.stderr
    shown = noisy("run", "--show-runtime-output", *arguments)
    assert shown.returncode == 0, shown.stderr
    assert "noise" not in shown.stdout
    for word in ("import", "load", "compute", "thread"):
        assert re.search(rf"isolated worker \d+: noise {word} 1\nisolated worker \d+: noise {word} 2\n", shown.stderr)


def test_a_replay_is_silent_too(noisy: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    graph = ["--graph", "noisy=noisy.txt"]
    recorded = noisy("run", *graph, "--dir", ".", "--trace", "t.json", "--trace-data", *INFERS)
    assert recorded.returncode == 0, recorded.stderr
    replayed = noisy("replay", *graph, "t.json")
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert "0 differences" in replayed.stdout


@pytest.mark.parametrize(("kind", "number"), [("aborts", signal.SIGABRT), ("crashes", signal.SIGSEGV)])
def test_a_crash_is_seen(
    noisy: Callable[..., subprocess.CompletedProcess[str]], kind: str, number: signal.Signals
) -> None:
    ended = noisy("run", "--graph", f"noisy={kind}.txt", "--dir", ".", *INFERS)
    assert ended.returncode == -number
    assert ended.stderr.startswith("Fatal Python error: ")
    assert "noisy_backend.py" in ended.stderr


@pytest.mark.parametrize(
    "body",
    ["(drop (i32.load (i32.const -4)))", "(drop (i32.div_u (i32.const 1) (i32.const 0)))", "(call $again)"],
    ids=["memory", "division", "stack"],
)
def test_a_guests_trap_is_no_crash(
    noisy: Callable[..., subprocess.CompletedProcess[str]], write: Write, body: str
) -> None:
    module = command("").replace('(func (export "_start") )', f'(func $again (export "_start") {body})')
    guest = write("guest.wat", module.encode())
    ended = noisy("run", guest)
    assert ended.returncode == 134
    assert ended.stderr.startswith("wasi-nn: the guest trapped")


def test_streams_pass_through_whole_and_in_order(
    noisy: Callable[..., subprocess.CompletedProcess[str]], write: Write
) -> None:
    body = f"(loop $again {says('ab')} {says('c', 2)} (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) "
    body = command(f"(local $n i32) {body} (i32.const 1))) (i32.const 20000))))")
    guest = write("guest.wat", body.encode())
    ended = noisy("run", guest)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ab" * 20000, "c" * 20000)
    both = noisy("run", guest, capture_output=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert both.stdout == "abc" * 20000
    limited = noisy("run", "--max-output-bytes", "5", guest)
    assert (limited.returncode, limited.stdout, limited.stderr[:2]) == (134, "abab", "cw")
    assert "--max-output-bytes" in limited.stderr


def test_streams_into_files_begin_where_those_end(
    noisy: Callable[..., subprocess.CompletedProcess[str]], write: Write, tmp_path: Path
) -> None:
    guest = write("guest.wat", command(says("said") + says("err", 2)).encode())
    for mode in ("wb", "ab"):
        with open(tmp_path / "out", mode) as out:
            out.write(b"before ")
            out.flush()
            assert noisy("run", guest, capture_output=False, stdout=out, stderr=out).returncode == 0
            out.seek(0, os.SEEK_END)
            out.write(b" after ")
    assert (tmp_path / "out").read_text() == "before saiderr after before saiderr after "


def test_streams_into_a_socket_and_into_a_pipe_that_nobody_reads(
    noisy: Callable[..., subprocess.CompletedProcess[str]], write: Write
) -> None:
    guest = write("guest.wat", command(says("said") + says("err", 2)).encode())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ended = noisy("run", guest, capture_output=False, stdout=theirs.fileno(), stderr=subprocess.PIPE)
        assert (ended.returncode, ended.stderr, ours.recv(100)) == (0, "err", b"said")
    reads, writes = os.pipe()
    os.close(reads)
    try:
        ended = noisy("run", guest, capture_output=False, stdout=writes, stderr=subprocess.PIPE)
        assert (ended.returncode, ended.stderr) == (0, "err")
    finally:
        os.close(writes)


def test_streams_that_are_closed(noisy: Callable[..., subprocess.CompletedProcess[str]], write: Write) -> None:
    guest = write("guest.wat", command(says("said") + says("err", 2)).encode())
    for closed in ("1>&-", "2>&-", "1>&- 2>&-", "0<&-"):
        shell = f"'{WASI_NN}' run '{guest}' {closed}"
        ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == 0, closed
        assert "Traceback" not in ended.stderr


# Terminals

# A core guest that exits with 2 if its standard output is a terminal.
CORE_ASKS = command(
    """(drop (call $stat (i32.const 1) (i32.const 128)))
    (if (i32.ne (i32.load (i32.const 136)) (i32.const 0x40)) (then unreachable))
    (drop (call $stat (i32.const 77) (i32.const 256)))
    (call $exit (i32.load8_u (i32.const 128)))""",
    '(import "wasi_snapshot_preview1" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))',
).encode()
_TERMINAL = """
  (import "wasi:cli/terminal-output@0.2.0" (instance $output (export "terminal-output" (type (sub resource)))))
  (alias export $output "terminal-output" (type $terminal))
  (import "wasi:cli/terminal-stdout@0.2.0" (instance $stdout
    (alias outer 1 $terminal (type $outer)) (export "terminal-output" (type $t (eq $outer)))
    (export "get-terminal-stdout" (func (result (option (own $t)))))))
  (core module $memories (memory (export "memory") 1))
  (core instance $memory (instantiate $memories))
  (core func $get (canon lower (func $stdout "get-terminal-stdout") (memory (core memory $memory "memory"))))
  (core func $drop (canon resource.drop $terminal))"""
# A component that exits with 1 if its standard output is a terminal.
COMPONENT_ASKS = component_command(
    """(import "memory" "memory" (memory 1)) (import "" "get" (func $get (param i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "run") (result i32) (call $get (i32.const 0))
      (if (i32.load8_u (i32.const 0)) (then (call $drop (i32.load (i32.const 4)))))
      (i32.load8_u (i32.const 0)))""",
    imports=_TERMINAL,
    given="""(with "memory" (instance $memory))
      (with "" (instance (export "get" (func $get)) (export "drop" (func $drop))))""",
)


@pytest.mark.parametrize(("guest", "code"), [(CORE_ASKS, 2), (COMPONENT_ASKS, 1)], ids=["core", "component"])
def test_guests_know_whether_they_write_to_a_terminal(
    noisy: Callable[..., subprocess.CompletedProcess[str]], write: Write, guest: bytes, code: int
) -> None:
    path = write("guest.wat", guest)
    assert noisy("run", path).returncode == 0
    ours, theirs = pty.openpty()
    try:
        assert noisy("run", path, capture_output=False, stdout=theirs).returncode == code
        assert noisy("run", path, capture_output=False, stderr=theirs, stdout=subprocess.PIPE).returncode == 0
    finally:
        os.close(ours)
        os.close(theirs)


# The library


def test_the_library_leaves_descriptors_alone_and_writes_to_those_that_it_is_given(tmp_path: Path) -> None:
    before = [os.fstat(descriptor).st_ino for descriptor in (1, 2)]
    host = Host(cache=False)
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        streams = out.fileno(), err.fileno()
        assert host.run(command(says("out") + says("err", 2)).encode(), streams=streams) == RunResult(0)
        assert host.run(command(ECHOES_STDIN).encode(), stdin=b" more", streams=streams) == RunResult(0)
        with pytest.raises(GuestTrap, match="more than 2 bytes of output") as raised:
            host.run(command(says("abc")).encode(), streams=streams, limits=Limits(output_bytes=2))
    assert (raised.value.stdout, raised.value.stderr) == (b"", b"")
    assert ((tmp_path / "out").read_text(), (tmp_path / "err").read_text()) == ("out moreab", "err")
    assert [os.fstat(descriptor).st_ino for descriptor in (1, 2)] == before
