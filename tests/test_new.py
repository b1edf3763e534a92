"""`wasi-nn new`: what is in a project of each language, and what its build says where a tool is missing. That projects
build and run is tested in test_new_installed.py and by the tutorial's lessons (test_snippets.py)."""

from __future__ import annotations

import compileall
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import need, need_command

from wasi_nn.cli import main
from wasi_nn.cli.new_projects import PROJECTS
from wasi_nn.cli.sdk import sdk_folders

Output = pytest.CaptureFixture[str]


def new(*arguments: str) -> int:
    return main(["new", *arguments])


@pytest.mark.parametrize("language", PROJECTS)
def test_a_project_has_a_readme_with_its_commands(language: str, tmp_path: Path) -> None:
    folder = tmp_path / "a guest"
    assert new(language, str(folder)) == 0
    text = (folder / "README.md").read_text()
    assert text.startswith("# a guest\n")
    assert f"\n    {PROJECTS[language].build}\n" in text
    assert "wasi-nn run --graph colours=colours.onnx guest.wasm" in text
    assert len(text.splitlines()) <= 12
    assert (folder / "colours.onnx").stat().st_size > 0
    assert not list(folder.rglob("*.wasm"))


def test_what_pip_compiled_isnt_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = sdk_folders()
    assert folders is not None
    installed = tmp_path / "installed"
    shutil.copytree(folders[1] / "python", installed / "python")
    compileall.compile_dir(installed, quiet=2)
    assert list(installed.rglob("*.pyc"))
    monkeypatch.setattr("wasi_nn.cli.sdk.sdk_folders", lambda: (folders[0], installed))
    assert new("python", str(tmp_path / "guest")) == 0
    assert not list((tmp_path / "guest").rglob("__pycache__"))


def test_the_languages_are_those_with_a_template() -> None:
    sdk = Path(__file__).parent.parent / "sdk"
    templates = {str(path.relative_to(sdk)) for path in sdk.glob("*/template*")}
    assert {project.template or f"{language}/template" for language, project in PROJECTS.items()} == templates


def test_the_list_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None)
    assert new("--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["language", "guests", "tool", "here"]
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == list(PROJECTS)
    assert "none: Node.js with npm" in "\n".join(lines)


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH: with make, a shell, and no toolchain."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for command in ("make", "sh"):
        need_command(command, command)
        (folder / command).symlink_to(shutil.which(command) or "")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def add_command(folder: Path, name: str, does: str = "exit 1") -> None:
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)


def tool_here(language: str, capsys: Output) -> str | None:
    capsys.readouterr()
    assert new("--list", "--json") == 0
    [row] = [row for row in json.loads(capsys.readouterr().out) if row["language"] == language]
    tool: str | None = row["tool"]
    return tool


@pytest.mark.parametrize(("language", "compiler"), [("c", "cc"), ("cpp", "c++")])
def test_the_list_finds_zig_where_the_build_does(
    language: str, compiler: str, bare_path: Path, tmp_path: Path, capsys: Output
) -> None:
    need("ziglang", "ziglang==0.17.1")
    assert new(language, str(tmp_path / "guest")) == 0

    def would_run() -> str:
        ran = subprocess.run(
            ["make", "--no-print-directory", "-n"], cwd=tmp_path / "guest", capture_output=True, text=True, check=False
        )
        return ran.stdout

    assert tool_here(language, capsys) is None, "this Python's own packages don't count: make doesn't run it"
    add_command(bare_path, "python3", f'exec "{sys.executable}" -S "$@"')
    assert tool_here(language, capsys) is None, "a python3 without packages"
    assert "ziglang" not in would_run()
    add_command(bare_path, "python3", f'exec "{sys.executable}" "$@"')
    assert tool_here(language, capsys) == "zig (Python package ziglang)"
    assert would_run().startswith(f"python3 -m ziglang {compiler} --target=wasm32-wasi ")
    add_command(bare_path, "zig")
    assert tool_here(language, capsys) == "zig"
    assert would_run().startswith(f"zig {compiler} --target=wasm32-wasi ")


@pytest.mark.parametrize("language", sorted(language for language in PROJECTS if PROJECTS[language].build == "make"))
def test_a_build_says_in_one_line_what_to_install(
    language: str, bare_path: Path, tmp_path: Path, capsys: Output
) -> None:
    folder = tmp_path / "guest"
    assert new(language, str(folder)) == 0

    def made(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )

    for has in ("nothing", "a python3 without packages", "a rustc without targets"):
        if has != "nothing":
            add_command(bare_path, *(("python3",) if "python3" in has else ("rustc", "echo /nowhere")))
        ran = made()
        assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1), has
        assert f"the build needs what isn't here: {PROJECTS[language].install}." in ran.stderr
    if PROJECTS[language].other is not None:
        ran = made("component")
        assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        adapter = "wasi_snapshot_preview1.command.wasm"
        assert f"the component needs what isn't here: {adapter} of a release of Wasmtime, or npm." in ran.stderr
        (folder / adapter).touch()
        ran = made("component")
        assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
        assert " needs what isn't here: " in ran.stderr
    add_command(bare_path, "rm", "exit 0")
    assert made("clean").returncode == 0
    if language in ("c", "cpp"):
        compiler = {"c": "CC", "cpp": "CXX"}[language]
        add_command(bare_path, "clang", "exit 0")
        assert made(f"{compiler}=clang").returncode == 0, "another compiler needs no Zig"


@pytest.mark.parametrize("language", sorted(language for language in PROJECTS if "npm" in PROJECTS[language].build))
def test_a_build_by_npm_says_in_one_line_what_to_install(language: str, tmp_path: Path) -> None:
    need_command("npm", "npm")
    folder = tmp_path / "guest"
    assert new(language, str(folder)) == 0
    scripts = json.loads((folder / "package.json").read_text())["scripts"]
    for script in [it for it in scripts if f"pre{it}" in scripts]:
        ran = subprocess.run(
            ["npm", "run", "--silent", script], cwd=folder, capture_output=True, text=True, check=False
        )
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr == "the build needs what isn't here: npm install\n"


def test_an_environment_that_has_the_tool_and_isnt_active_is_named(
    bare_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    need("ziglang", "ziglang==0.17.1")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "prefix", "/home/me/venv")
    assert new("--list") == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "none: activate the environment that has it: source /home/me/venv/bin/activate" in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "LANGUAGE is missing"),
        (["c"], "DIRECTORY is missing"),
        (["rst", "x"], f"no project is in 'rst': there are {', '.join(PROJECTS)}; did you mean rust?"),
        (["\x1b[2J", "x"], "no project is in '\\\\x1b[2J'"),
        (["--list", "c"], "--list goes without LANGUAGE and DIRECTORY"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(arguments: Sequence[str], message: str, capsys: Output) -> None:
    assert new(*arguments) == 2
    output, errors = capsys.readouterr()
    assert (output, len(errors.splitlines())) == ("", 1)
    assert message in errors


def test_nothing_is_overwritten(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "notes.txt"):
        assert new("c", str(place)) == 1
        assert "is there already, and isn't an empty directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert new("c", str(tmp_path / "empty")) == 0


def test_a_place_that_cant_be_written_is_told(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "file").write_text("")
    assert new("c", str(tmp_path / "file" / "guest")) == 1
    assert "can't be written" in capsys.readouterr().err


def test_a_name_that_is_no_unicode(tmp_path: Path, capsys: Output) -> None:
    folder = Path(f"{tmp_path}/guest\udcff")
    assert new("c", str(folder)) == 0
    assert (folder / "README.md").read_text().startswith("# guest")
    assert "\udcff" not in capsys.readouterr().out


def test_a_missing_tool_is_told_with_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None)
    assert new("assemblyscript", str(tmp_path / "guest")) == 0
    assert "The build needs what isn't here: Node.js with npm" in capsys.readouterr().out
