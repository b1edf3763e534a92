"""A trap names the functions and lines of the guest's source, as far as the guest has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import need

from wasi_nn.abi.producers import producers_of
from wasi_nn.cli import main

SOURCE = """\
__attribute__((noinline)) static void explode(volatile int *place) {
    *place = 1;
}
int main(void) {
    explode((int *)0xfffffff0);
}
"""
COMMAND = "from wasi_nn.cli import command; command()"
HOST = "import sys, wasi_nn; wasi_nn.Host().run(sys.argv[1])"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guest in C with debugging information, which writes to an address that it doesn't have."""
    need("ziglang", "ziglang==0.17.1")
    folder = tmp_path_factory.mktemp("traps")
    (folder / "boom.c").write_text(SOURCE)
    compiler = [sys.executable, "-m", "ziglang", "cc", "--target=wasm32-wasi", "-g", "-O2"]
    subprocess.run([*compiler, "boom.c", "-o", "boom.wasm"], cwd=folder, check=True)
    return folder / "boom.wasm"


def errors(guest: Path, program: str, caches: Path, details: str | None) -> str:
    """What a program writes to stderr that runs the guest, with or without the engine's switch for lines."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(caches)}
    environment.pop("WASMTIME_BACKTRACE_DETAILS", None)
    if details is not None:
        environment["WASMTIME_BACKTRACE_DETAILS"] = details
    arguments = ["run", str(guest)] if program is COMMAND else [str(guest)]
    ended = subprocess.run([sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True)
    assert ended.returncode == (134 if program is COMMAND else 1)
    return ended.stderr


def test_a_trap_is_shown_with_functions_and_lines(guest: Path, tmp_path: Path) -> None:
    first, *frames = errors(guest, COMMAND, tmp_path, None).splitlines()
    assert first.startswith(
        "wasi-nn: the guest trapped: out of bounds memory access: memory fault at wasm address 0xff"
    )
    assert frames[0].endswith(" - explode")
    assert frames[1].strip().endswith("boom.c:2:12")
    assert not any("WASMTIME" in line for line in frames)
    assert errors(guest, COMMAND, tmp_path, None).splitlines()[1:] == frames  # from the cache


def test_engines_with_lines_and_without_use_the_same_cache(guest: Path, tmp_path: Path) -> None:
    for details in ("0", "1", None, "1", "0"):
        shown = errors(guest, COMMAND, tmp_path, details)
        assert ("boom.c:2" in shown) == (details != "0")
        assert "explode" in shown


def test_a_library_runs_guests_with_the_switch_and_without(guest: Path, tmp_path: Path) -> None:
    for details in ("1", None):
        assert "GuestTrap: the guest trapped: out of bounds memory access" in errors(guest, HOST, tmp_path, details)


def test_what_a_guest_tells_about_its_making(guest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = producers_of(guest.read_bytes())
    assert any(language.startswith("C") for language in told["language"])
    assert any(tool.startswith("clang ") for tool in told["processed-by"])
    assert main(["inspect", str(guest)]) == 0
    output = capsys.readouterr().out
    assert "language" in output
    assert "processed-by  clang " in output
    assert producers_of(b"\0asm\1\0\0\0") == {}
