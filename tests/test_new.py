"""`wasi-nn new`: a project of each language is made, built by its own command, and runs."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import projects
import pytest

from wasi_nn.cli import main
from wasi_nn.cli.new_projects import PROJECTS
from wasi_nn.cli.sdk import sdk_folders

Output = pytest.CaptureFixture[str]


def new(*arguments: str) -> int:
    return main(["new", *arguments])


def build(language: str, folder: Path) -> None:
    """Build a project by its own command, with the tools that its README names."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = projects.environment(language, {**os.environ, "PATH": path})
    subprocess.run(PROJECTS[language].build, shell=True, cwd=folder, env=variables, check=True, capture_output=True)


@pytest.mark.parametrize("language", sorted(set(PROJECTS) - set(projects.LESSONS.values())))
def test_a_new_project_builds_and_runs(
    language: str, tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: Output
) -> None:
    """Projects of the other languages are built by the tutorial's lessons, in tests/test_snippets.py."""
    projects.need_tools(language)
    folder = tmp_path / "my-guest"
    assert new(language, str(folder)) == 0
    assert PROJECTS[language].build in capfd.readouterr().out
    build(language, folder)
    projects.runs_as_its_readme_says(folder, monkeypatch, capfd)


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
