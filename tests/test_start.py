"""The start and the end of the command: what it imports, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_guests import command

from wasi_nn.guests.compile_cache import default_directory

_UNNEEDED = ("wasmtime.component", "tarfile", "zipfile", "shutil", "subprocess", "tempfile", "secrets", "json")


def _in_command(program: str, *arguments: object) -> str:
    """The output of a program that runs the command with some arguments, in a process of its own."""
    code = f"import sys\nsys.argv[1:] = {list(map(str, arguments))}\nfrom wasi_nn import cli\n{program}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture
def guest(tmp_path: Path, cache_home: Path) -> Path:
    """A guest that does nothing, in the cache."""
    guest = tmp_path / "nothing.wat"
    guest.write_text(command(""))
    _in_command("cli.command()", "run", guest)
    return guest


def test_a_cached_module_runs_without_the_imports_that_others_need(guest: Path) -> None:
    shows = f"lambda _: print([it for it in {_UNNEEDED} if it in sys.modules])"
    assert _in_command(f"from wasi_nn.cli import run\nrun.keep = {shows}\ncli.command()", "run", guest) == "[]\n"


def test_the_command_imports_only_the_subcommand_that_it_runs(guest: Path) -> None:
    program = "cli.main()\nprint([it for it in ('replay', 'graphs', 'inspect') if f'wasi_nn.cli.{it}' in sys.modules])"
    assert _in_command(program, "run", guest) == "[]\n"


def test_the_collector_is_on_while_the_guest_runs(guest: Path) -> None:
    program = "import gc\nfrom wasi_nn.cli import run\nrun.keep = lambda _: print(gc.isenabled())\ncli.command()"
    assert _in_command(program, "run", guest) == "True\n"


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted by Linux's /proc")
@pytest.mark.parametrize("set_by_user", [False, True])
def test_numpy_starts_no_threads_in_the_command_and_its_setting_is_not_passed_on(
    set_by_user: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    prints = "import os\nprint(len(os.listdir('/proc/self/task')), os.environ.get('OPENBLAS_NUM_THREADS'))"
    program = f"cli._import_for('numpy')\n{prints}"
    before = "import os\nos.environ.update(OPENBLAS_NUM_THREADS='2')\n" if set_by_user else ""
    threads, setting = _in_command(f"{before}{program}").split()
    assert setting == ("2" if set_by_user else "None")
    assert set_by_user or threads == "1"


def test_objects_with_a_folder_or_a_process_are_finalized_before_the_command_ends(guest: Path) -> None:
    program = (
        "from wasi_nn.process import ending\n"
        "class Model: pass\n"
        "kept, gone = Model(), Model()\n"
        "ending.finalize_by_the_end(kept, lambda: print('kept', file=sys.stdout))\n"
        "ending.finalize_by_the_end(gone, lambda: print('gone', file=sys.stdout))\n"
        "del gone\n"
        "cli.command()"
    )
    assert _in_command(program, "run", guest).splitlines() == ["gone", "kept"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
@pytest.mark.parametrize(
    ("given", "caches"), [("/caches", "/caches"), ("", "/home/me/.cache"), ("relative", "/home/me/.cache")]
)
def test_the_cache_is_in_the_users_folder_for_caches(given: str, caches: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_directory() == Path(caches, "wasi-nn", "compiled")
