"""Projects of `wasi-nn new` under a test's control: the tools that build them, and the runs that each guest must do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import need, need_command
from sdk_languages import go

from wasi_nn.cli import main

LESSONS: Mapping[str, str] = {
    "docs/tutorial/first-guest.md": "c",
    **{
        f"docs/tutorial/guest-in-{language}.md": language
        for language in ("assemblyscript", "cpp", "go", "javascript", "python", "rust")
    },
}
"""The pages of the tutorial that make a project, each with its language. tests/test_snippets.py runs them."""


def need_tools(language: str) -> None:
    """Skip the test where the language's tools aren't here; in continuous integration, fail it."""
    if language in ("c", "cpp"):
        need("ziglang", "ziglang==0.17.1")
    elif language == "python":
        need("componentize_py", "componentize-py==0.25.1")
    elif language in ("assemblyscript", "javascript", "typescript"):
        need_command("npm", "npm")
    elif language == "go":
        need_command(go.toolchain() or "go", go.INSTALL)
    else:
        need_command("/usr/bin/cargo", "cargo rustc libstd-rust-dev-wasm32 lld-14")


def environment(language: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Variables for the commands that build a project: with the tools of the language, and with the caches that all
    tests share."""
    if language == "go":
        path = f"{Path(go.toolchain() or '').parent}:{variables['PATH']}"
        flags = {"GOFLAGS": go.FLAGS, "GOCACHE": str(go.CACHE)}  # so that the standard library is compiled already
        return {**variables, **flags, "GOPROXY": "off", "GOTOOLCHAIN": "local", "PATH": path}
    if language == "rust":
        kept = {key: value for key, value in variables.items() if not key.startswith(("RUST", "CARGO"))}
        folders = variables["PATH"].split(":")
        return kept | {"PATH": ":".join(it for it in folders if not Path(it, "rustup").exists())}  # Debian's is left
    if language in ("assemblyscript", "javascript", "typescript"):
        return {"npm_config_cache": str(Path.home() / ".npm"), **variables}
    return dict(variables)


def runs_as_its_readme_says(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Check what the guest of a project does with the model by name, with its file, and without both, in this folder
    of the guest and the model."""
    monkeypatch.chdir(folder)
    capfd.readouterr()

    def run(*options: str) -> tuple[int, str, str]:
        code = main(["run", *options, "guest.wasm"])
        return code, *capfd.readouterr()

    assert run("--graph", "colours=colours.onnx") == (0, "red\n", "")
    code, output, errors = run("--log-calls", "--graph", "colours=colours.onnx")
    assert (code, output) == (0, "red\n")
    is_component = (folder / "guest.wasm").read_bytes()[4] != 1
    assert ("compute_named" in errors, "set_input" in errors) == (is_component, not is_component)
    code, output, _ = run("--dir", ".")
    assert (code, output) == (0, "no graph is named colours here: loading colours.onnx\nred\n")
    code, output, errors = run()
    assert code == 1
    assert "colours.onnx" in errors
    assert "--dir ." in errors
    code, output, errors = run("--no-load", "--dir", ".")
    assert code != 0
    assert "red" not in output
