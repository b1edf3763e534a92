"""Pipes and devices in place of files, full disks, processes without free descriptors, and Ctrl-C: each ends in a clear
error, and nothing waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_models
import pytest
from checks import refused
from command_guests import ECHOES_STDIN, command, says
from conftest import C_GUESTS

import wasi_nn
from wasi_nn import ErrorCode, GuestError, Host
from wasi_nn.process.files import files_in

WASI_NN = Path(sys.executable).with_name("wasi-nn")
INFER = C_GUESTS / "infer.wasm"
Write = Callable[[str, bytes], Path]


@pytest.fixture(params=["pipe", "endless", "random", "directory"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The path of something that isn't a regular file."""
    kind: str = request.param
    if kind == "pipe":
        os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    devices = {"endless": Path("/dev/zero"), "random": Path("/dev/urandom")}
    return devices.get(kind, tmp_path / kind)


def run(*arguments: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(WASI_NN), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120, **keywords
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["inspect"],
        ["inspect", "--encoding", "onnx"],
        ["replay"],
        ["graphs", "--check", "--graphs"],
        ["run", "--graph"],
    ],
    ids=" ".join,
)
def test_the_command_says_that_it_cannot_be_read(arguments: list[str], odd: Path, tmp_path: Path, write: Write) -> None:
    guest = write("lookup.wat", command("(drop (call $lookup (i32.const 64) (i32.const 0) (i32.const 0)))").encode())
    if arguments[-1] == "--graph":
        ended = run(*arguments, f"net={odd}", guest)
        assert ended.returncode == 0, "the graph isn't loaded"
        return
    ended = run(*arguments, odd)
    assert ended.returncode == 1
    assert ended.stderr.startswith("wasi-nn: ")
    assert "Traceback" not in ended.stderr


def test_a_guest_through_a_pipe_of_the_shells_is_refused() -> None:
    reads, writes = os.pipe()
    try:
        ended = run("run", f"/dev/fd/{reads}", pass_fds=[reads])
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == f"wasi-nn: the guest /dev/fd/{reads} can't be read: it is no regular file\n"
    finally:
        os.close(reads)
        os.close(writes)


def test_python_says_that_it_cannot_be_read(odd: Path) -> None:
    host = Host(cache=False)
    with pytest.raises(GuestError, match=r"can't be read: it is no regular file|is a directory, not a guest"):
        host.run(odd)
    if not odd.is_dir():
        refused(ErrorCode.RUNTIME_ERROR, "no regular file", wasi_nn.load, odd)
        refused(ErrorCode.RUNTIME_ERROR, "no regular file", wasi_nn.load, odd, "onnx")
    with pytest.raises(wasi_nn.NNError, match="no trace can be written"):
        host.run(command("").encode(), trace=odd)


def test_a_part_of_a_model_that_is_a_pipe(tmp_path: Path, write: Write) -> None:
    model = write("model.xml", b"<?xml version='1.0'?><net name='n' version='11'></net>")
    os.mkfifo(tmp_path / "model.bin")
    refused(ErrorCode.RUNTIME_ERROR, r"model\.bin is no regular file", wasi_nn.load, model)


def test_standard_input_from_a_pipe_that_nobody_writes_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GuestError, match="is a pipe, which may block the host"):
        Host(cache=False).run(command(ECHOES_STDIN).encode(), stdin=tmp_path / "pipe")


def test_a_guests_name_with_a_zero_byte() -> None:
    with pytest.raises(GuestError, match="null byte"):
        Host(cache=False).run("a\0b.wasm")


_FULL = """
import os, resource, sys, wasi_nn
host = wasi_nn.Host({"net": sys.argv[1]}, cache=sys.argv[2])
guest, folder = sys.argv[3].encode(), sys.argv[4]
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
before = None
for more in [100, *range(40), 100]:
    lowest = os.dup(1)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, hard))
    try:
        for part in (guest, guest + b" " * (1 << 20)):
            assert host.run(part, dirs={"/": folder}, stdin=b"input", capture_output=True).stdout == b"input"
        print(end="ran ")
    except wasi_nn.GuestError:
        print(end="refused ")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if more == 100 and before is None:
        before = os.listdir("/proc/self/fd")
    assert len(os.listdir("/proc/self/fd")) <= len(before), more
"""


def test_a_process_that_is_out_of_files_gets_guest_errors_and_loses_none(tmp_path: Path, write: Write) -> None:
    model = write("net.onnx", onnx_models.relu())
    arguments = [str(model), str(tmp_path / "cache"), command(ECHOES_STDIN), str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-c", _FULL, *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    assert (words[0], words[-1], words[1]) == ("ran", "ran", "refused")


_CLOSED = """
import sys, wasi_nn
sys.stdout.close()
print(wasi_nn.Host(cache=False).run(sys.argv[1].encode()).exit_code, file=sys.stderr)
"""


def test_our_own_output_may_be_closed_or_full(tmp_path: Path) -> None:
    guest = command(says("said"))
    command_line = [sys.executable, "-c", _CLOSED, guest]
    result = subprocess.run(command_line, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, result.stderr) == (0, "0\n")
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [WASI_NN, "inspect", INFER], stdout=full, stderr=subprocess.PIPE, check=False, timeout=120
        )
    assert (ended.returncode, b"Traceback" in ended.stderr) == (1, False)


_INTERRUPTED = """
import os, signal, sys
module = sys.argv[1]

class Interrupts:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
from wasi_nn.cli import command
sys.argv = ["wasi-nn", *sys.argv[2:]]
command()
"""


@pytest.mark.parametrize("module", ["argparse", "wasi_nn.cli.run", "numpy", "wasmtime", "wasi_nn.host"])
def test_ctrl_c_while_the_command_imports_is_silent(module: str, write: Write) -> None:
    guest = write("guest.wat", command("").encode())
    arguments = [module, "run", "--no-cache", str(guest)]
    ended = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored here
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_folders_that_link_to_each_other_are_listed_once(tmp_path: Path) -> None:
    """Otherwise two links to the folder itself would make 2^40 paths."""
    (tmp_path / "model").write_bytes(b"12345")
    for name in ("again", "and again"):
        (tmp_path / name).symlink_to(tmp_path)
    assert {path.name for path in files_in(tmp_path)} == {"model", "again", "and again"}
    assert len(files_in(tmp_path)) == 3
    assert files_in(tmp_path / "model") == [tmp_path / "model"]
