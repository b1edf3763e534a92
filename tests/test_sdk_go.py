"""The SDK for guests in Go: its own tests and the examples of its pages, run as a guest, and the imports of a guest."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import onnx_models
import pytest
import sdk_guests
from sdk_languages import go
from sdk_languages.language import Guest


@pytest.fixture(scope="module", autouse=True)
def toolchain() -> None:
    """Skip the tests without Go; in continuous integration, fail them."""
    if go.toolchain() is None:
        message = f"Go isn't here: {go.INSTALL}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def test_the_sdks_own_tests_and_the_examples_of_its_pages(tmp_path: Path) -> None:
    built = tmp_path / "tests.wasm"
    go.run("test", "-c", "-tags", "wasmedge", "-ldflags=-s -w", "-o", str(built), ".", cwd=go.PACKAGE)
    guest = Guest("tests", "wasmedge", built, lambda _: None, committed=False)
    graphs = {"relu": onnx_models.relu(), **sdk_guests.graphs()}
    ran = sdk_guests.run(guest, ["-test.v"], graphs, tmp_path, "/tmp")  # examples write files there
    assert ran.exit_code == 0, ran.stdout + ran.stderr
    passed = [line for line in ran.stdout.splitlines() if line.startswith("--- PASS")]
    written = sum(text.count("\nfunc Test") + text.count("\nfunc Example") for text in _texts("*_test.go"))
    assert len(passed) == written - 1, "all but TestMain"
    assert not any(ran.left.values()), "what a guest loses is given back too"


def _texts(pattern: str) -> list[str]:
    return [path.read_text() for path in go.FOLDER.rglob(pattern)]


def test_the_source_is_formatted_and_has_no_usual_mistake() -> None:
    gofmt = Path(go.run("env", "GOROOT").strip()) / "bin" / "gofmt"
    files = [str(path) for path in go.FOLDER.rglob("*.go")]
    assert subprocess.run([gofmt, "-l", *files], capture_output=True, text=True).stdout == ""
    go.run("vet", "-tags", "wasmedge", "wasinn", "./...")
    assert sum('"unsafe"' in text for text in _texts("*.go")) == 1


_CORE = ["compute", "get_output", "init_execution_context", "load_by_name", "set_input"]


@pytest.mark.parametrize(
    ("program", "abi", "called"),
    [
        ("classify", "core", _CORE),
        ("tour", "core", [*_CORE, "load"]),
        ("tour", "wasmedge", [*_CORE, "load", "finalize_execution_context", "unload"]),
    ],
)
def test_a_guest_imports_only_the_functions_that_it_calls(program: str, abi: str, called: list[str]) -> None:
    [guest] = [guest for guest in sdk_guests.named(program, [abi]) if guest.language == "go"]
    content = sdk_guests.path_of(guest).read_bytes()
    imported = [name for _, name in re.findall(rb"\x11wasi_ephemeral_nn(.)([a-z_]+)\0", content, re.DOTALL)]
    assert sorted(name.decode() for name in imported) == sorted(called)
    assert b"wasi_nn_ext" not in content
