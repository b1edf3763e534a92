"""`wasi-nn completion`: scripts with which shells complete the command."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import need, need_command

from wasi_nn import cli


def script_for(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    need("shtab", "shtab")
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed_by_bash(script: Path, folder: Path, typed: str) -> str:
    """The command that an interactive bash runs once somebody has typed this: `\\t` is the key that completes."""
    ours, theirs = pty.openpty()
    os.write(ours, f'source {script}; wasi-nn() {{ echo "called: $*"; exit; }}\n{typed}\n'.encode())
    environment = {**os.environ, "TERM": "dumb", "PS1": "$ ", "INPUTRC": "/dev/null"}
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with subprocess.Popen(
        shell, cwd=folder, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        assert process.stdout is not None
        (line,) = (line for line in process.stdout if line.startswith(b"called: "))
        process.kill()
    os.close(ours)
    return line.decode().removeprefix("called: ").rstrip()


@pytest.mark.parametrize(
    ("typed", "called"),
    [
        ("wasi-nn insp\tclas\t--js\t", "inspect classify.wasm --json"),
        ("wasi-nn run --dia\twasme\t--no-ca\tclas\t", "run --dialect wasmedge --no-cache classify.wasm"),
        ("wasi-nn serve --graphs gra\t", "serve --graphs graphs.toml"),
        ("wasi-nn comple\tba\t", "completion bash"),
    ],
)
def test_bash_completes_commands_options_values_and_files(
    typed: str, called: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_command("bash", "bash")
    (script := tmp_path / "script").write_text(script_for("bash", capsys))
    (folder := tmp_path / "there").mkdir()
    (folder / "classify.wasm").touch()
    (folder / "graphs.toml").touch()
    assert completed_by_bash(script, folder, typed) == called


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_for_other_shells_know_all_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = script_for(shell, capsys)
    assert all(name in script for name in cli._SUBCOMMANDS)
    assert "max-tensor-bytes" in script


def test_an_unknown_shell_and_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["completion", "bsh"])
    assert ended.value.code == 2
    assert "'bsh' isn't one of bash, zsh, fish; did you mean bash?" in capsys.readouterr().err
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "shtab", raising=False)
    assert cli.main(["completion", "bash"]) == 2
    assert (
        "shtab, which makes the script, isn't installed: pip install 'wasi-nn[completion]'" in capsys.readouterr().err
    )
