"""The limit on the files that a guest has open at once."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from file_guests import CORE_DIRECTORY, CORE_OPENED, OLD, Step, component, core

from wasi_nn import GuestTrap, Host, Limits
from wasi_nn.process.descriptors import are_free

READ = 1 << 1
MFILE, NFILE = 33, 41
OPENS: Step = "path_open", [CORE_DIRECTORY, 0, OLD, 3, 0, READ, READ, 0, 900]
CLOSES: Step = "fd_close", [CORE_OPENED]
# A guest that opens files until it gets an error, and exits with the errno.
CORE_OPENS_MANY = """(loop $again
    (call $must (call $path_open (i32.const 3) (i32.const 0) (i32.const 1000) (i32.const 3) (i32.const 0)
      (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 900)))
    (br $again))"""
# Guests that open files in a loop and ignore errors; the second closes each file.
COMPONENT_OPENS = """(loop $again
    (call $open-at (local.get $d) (i32.const 0) (i32.const 1000) (i32.const 3) (i32.const 0) (i32.const 1)
      (local.get $r))
    {closes} (br $again))"""
CLOSES_EACH = """(if (i32.eqz (i32.load8_u (local.get $r))) (then (call $drop (i32.load offset=4 (local.get $r)))))
    (br_if $done (i32.eq (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 500)))"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "old").write_bytes(b"content")
    return tmp_path


def code(folder: Path, guest: bytes, files: int | None = 2) -> int:
    return Host(cache=False).run(guest, dirs={"/": folder}, limits=Limits(files=files)).exit_code


@pytest.mark.usefixtures("either_call")
@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([OPENS, OPENS], 0),
        ([OPENS, OPENS, OPENS], MFILE),
        ([OPENS, OPENS, CLOSES, OPENS], 0),
        ([OPENS, OPENS, CLOSES, OPENS, OPENS], MFILE),
        ([OPENS, OPENS, ("fd_renumber", [CORE_OPENED + 1, CORE_OPENED]), OPENS], 0),
        ([OPENS, OPENS, ("fd_renumber", [CORE_OPENED + 1, CORE_OPENED]), OPENS, OPENS], MFILE),
        ([OPENS, OPENS, ("fd_renumber", [CORE_OPENED, CORE_OPENED]), OPENS], MFILE),
        ([OPENS, ("fd_renumber", [CORE_OPENED, 0]), OPENS, OPENS], MFILE),
        ([OPENS, OPENS, ("fd_renumber", [CORE_DIRECTORY, CORE_OPENED])], 0),
        ([("fd_close", [CORE_DIRECTORY])], 0),
        ([("fd_close", [77])], 8),
    ],
)
def test_files_are_counted_as_they_are_opened_and_closed(folder: Path, steps: list[Step], error: int) -> None:
    assert code(folder, core(steps)) == error
    assert code(folder, core(steps), None) in (0, 8)


def test_a_core_module_has_no_more_than_256_by_default(folder: Path) -> None:
    opened: list[str] = []
    for files in (256, 257):
        body = CORE_OPENS_MANY.replace(
            "(br $again)",
            f"(br_if $again (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {files})))",
        )
        opened.append(str(Host(cache=False).run(core([], body), dirs={"/": folder}).exit_code))
    assert opened == ["0", str(MFILE)]


def test_pointers_that_lead_out_of_memory_trap(folder: Path) -> None:
    for place, size, result in ((65535, 3, 900), (OLD, 3, 65534), (2**31 - 1, 3, 900), (OLD, 2**30, 900)):
        steps: list[Step] = [("path_open", [CORE_DIRECTORY, 0, place, size, 0, READ, READ, 0, result])]
        with pytest.raises(GuestTrap, match=r"path_open: the (path|result) .* is outside the memory"):
            code(folder, core(steps))
    steps = [("path_open", [CORE_DIRECTORY, 0, OLD, 5000, 0, READ, READ, 0, 900])]
    assert code(folder, core(steps)) == 37


def test_a_component_that_opens_more_is_trapped(folder: Path) -> None:
    guest = component([], loop=COMPONENT_OPENS.format(closes=""))
    with pytest.raises(GuestTrap, match=r"its open files are more than 20 \(Limits\.files, --max-files\)"):
        Host(cache=False).run(guest, dirs={"/": folder}, limits=Limits(files=20))


def test_a_component_that_closes_its_files_goes_on(folder: Path) -> None:
    guest = component([], loop=f"(block $done {COMPONENT_OPENS.format(closes=CLOSES_EACH)})")
    assert Host(cache=False).run(guest, dirs={"/": folder}, limits=Limits(files=20)).exit_code == 0


_FEW = """
import os, resource, sys, wasi_nn
host = wasi_nn.Host(cache=False)
folder, opens = sys.argv[1], sys.argv[2].encode()
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
for files in (256, None):
    print(host.run(opens, dirs={"/": folder}, limits=wasi_nn.Limits(files=files)).exit_code)
with host.session() as session:
    while os.open("/dev/null", os.O_RDONLY) < 230:
        pass
    try:
        session.load([memoryview(b"model")], wasi_nn.GraphEncoding.ONNX, wasi_nn.ExecutionTarget.CPU)
    except wasi_nn.NNError as error:
        print(error)
"""


def test_some_are_kept_for_the_host(folder: Path) -> None:
    command = [sys.executable, "-c", _FEW, str(folder), core([], CORE_OPENS_MANY).decode()]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout.splitlines() == [
        f"{NFILE}",
        f"{NFILE}",
        "this process is out of file descriptors: it may have 256 (ulimit -n)",
    ]
    assert result.stderr.count("this process is nearly out of file descriptors") == 2


_NEARLY_OUT = """
import resource, sys, wasi_nn
host = wasi_nn.Host(cache=False)
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
try:
    host.run(sys.argv[2].encode(), dirs={"/": sys.argv[1]}, limits=wasi_nn.Limits(files=eval(sys.argv[3])))
except wasi_nn.GuestTrap as trap:
    print(trap.reason)
"""


@pytest.mark.parametrize("limit", ["100_000", "None"])
def test_a_component_that_takes_the_last_files_of_the_process_is_trapped(folder: Path, limit: str) -> None:
    guest = component([], loop=COMPONENT_OPENS.format(closes="")).decode()
    command = [sys.executable, "-c", _NEARLY_OUT, str(folder), guest, limit]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout.startswith("it has "), result.stderr


@pytest.mark.parametrize("is_told", [True, False])
def test_free_descriptors_are_counted_also_where_the_first_ones_are_free(
    is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system tells the number of open files, and where it only lists them."""
    if not is_told:
        monkeypatch.setattr("wasi_nn.process.descriptors._COUNTED", "/nowhere")
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(files) + 6, most))
        while len(files) > 70:
            os.close(files.pop(0))
        assert are_free(30)
        assert not are_free(45), "35 are free: 30 below those that are open, and five behind them"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
        for file in files:
            os.close(file)
