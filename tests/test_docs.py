"""The documentation is true: its examples run, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import asyncio
import doctest
import re
import runpy
import shutil
import struct
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from command_guests import EMPTY, LOOPS
from conftest import C_GUESTS, REPOSITORY, need

import wasi_nn
from wasi_nn import ErrorCode, HostLimits, Limits, cli
from wasi_nn.abi.core import extensions
from wasi_nn.abi.core.spec import ERRNO, MISSING_MEMORY
from wasi_nn.isolation import Isolation
from wasi_nn.session.policy import EXTENSIONS


def example(page: str, heading: str) -> str:
    """The first Python example below a heading."""
    below = (REPOSITORY / page).read_text().partition(f"\n{heading}\n")[2]
    match = re.search(r"^```python\n(.*?)^```", below, re.DOTALL | re.MULTILINE)
    assert match is not None
    return match[1]


def page(name: str) -> str:
    return (REPOSITORY / "docs" / name).read_text()


def test_every_error_is_in_the_tables() -> None:
    for code in ErrorCode:
        assert f"\n  | {code.value} | " in page("components.md")
    for errno in {0, MISSING_MEMORY, *ERRNO.values()}:
        assert f"\n| {errno} " in page("core-abi.md")


def test_every_limit_is_in_the_table() -> None:
    for field in fields(Limits):
        assert f"\n| `{field.name}`, `--max-{field.name.replace('_', '-')}` | " in page("limits.md")
    for field in (*fields(HostLimits), *fields(Isolation)):
        assert f"{field.name}`" in page("limits.md") + page("isolation.md")


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]
FOLDERS = ("bench", "demo", "examples", "fuzz", "guests", "src", "tests", "tools")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_sources_that_a_page_names_exist(path: Path) -> None:
    for name in set(re.findall(r"`([\w./*-]+\.(?:py|c|h|wit))`", path.read_text())):
        found = [*REPOSITORY.glob(name), *(file for folder in FOLDERS for file in (REPOSITORY / folder).rglob(name))]
        assert found, name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def wit_words(text: str) -> str:
    """The words of WIT without comments and uses: a space between each two."""
    lines = (line.partition("//")[0] for line in text.splitlines() if not line.strip().startswith("use "))
    return " ".join(" ".join(lines).split())


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("docs/proposals/*.md")), ids=lambda path: path.name)
def test_the_interfaces_of_a_proposal_are_those_that_the_host_has(path: Path) -> None:
    there = wit_words((REPOSITORY / "guests" / "bridge" / "wasi-nn-ext.wit").read_text())
    blocks = re.findall(r"^```wit\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks or path.name == "README.md"
    for block in blocks:
        assert wit_words(block) in there


@pytest.mark.parametrize(("guest", "output"), [(EMPTY, "0\n"), (LOOPS, "it takes too long\n")], ids=["ends", "loops"])
def test_stopping_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], guest: bytes, output: str
) -> None:
    (tmp_path / "guest.wasm").write_bytes(guest)
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"wasi_nn": wasi_nn}
    text = example("docs/limits.md", "## Stopping a run")
    exec(text.replace("timeout=30", "timeout=0.1") if guest is LOOPS else text, names)
    assert capsys.readouterr().out == output


def test_guests_with_asyncio(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(C_GUESTS / "infer.wasm", tmp_path)
    (tmp_path / "net.onnx").write_bytes(models.relu())
    (tmp_path / "inputs").mkdir()
    for name, elements in (("a.bin", [1, -2, 3, -4]), ("b.bin", [-5, 6, -7, 8])):
        (tmp_path / "inputs" / name).write_bytes(struct.pack("<4f", *elements))
    monkeypatch.chdir(tmp_path)
    exec(example("docs/limits.md", "## With asyncio"), {"wasi_nn": wasi_nn, "asyncio": asyncio})
    assert capsys.readouterr().out == "output 0: 16 bytes, 4 f32: 1 0 3 0\noutput 0: 16 bytes, 4 f32: 0 6 0 8\n"


def test_a_component_with_ones_own_linker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.onnx").write_bytes(models.relu())
    shutil.copy(C_GUESTS.parent / "component" / "infer.wasm", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(example("docs/components.md", "## With your own linker and Store"), {})
    assert capfd.readouterr().out == "y: FP32 [4]: 1, 0, 3, 0\n"


def test_lists_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    import ggml_encoders

    (tmp_path / "model.gguf").write_bytes(ggml_encoders.bert(ggml_encoders.MEAN))
    monkeypatch.chdir(tmp_path)
    exec(example("docs/ggml.md", "## Embeddings and rerankers"), {"wasi_nn": wasi_nn})
    assert capsys.readouterr().out == "2\n"


def test_a_model_that_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("torch", "'wasi-nn[pytorch]'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "make.py").write_text(example("docs/pytorch.md", "## Models that learn"))  # torch reads the source
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        runpy.run_path("make.py", run_name="__main__")
    exec(example("docs/pytorch.md", "### The calls of a guest"), {"wasi_nn": wasi_nn})
    assert capsys.readouterr().out == "True\n"


def test_a_model_that_learns_on_tensorflow_and_litert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("tensorflow", "'wasi-nn[tensorflow]'")
    need("ai_edge_litert", "'wasi-nn[tflite]'")
    need("sklearn", "scikit-learn")
    from wasi_nn.backends.tensorflow.backend import import_tensorflow

    import_tensorflow()  # without its notices
    monkeypatch.chdir(tmp_path)
    for name, heading in (("tensorflow.md", "## A model that learns"), ("tflite.md", "### A model that learns")):
        script = tmp_path / name.replace(".md", ".py")  # a file, since TensorFlow reads the source of a function
        script.write_text(example(f"docs/{name}", heading))
        runpy.run_path(str(script))
        assert capsys.readouterr().out.splitlines()[-1] == "right: True"
    variables = wasi_nn.load(tmp_path / "digits.tflite").variables()
    with np.load(tmp_path / "learned.npz") as learned:
        variables.set(learned)
        assert all(np.array_equal(array, learned[name]) for name, array in variables.get().items())


def test_every_benchmark_explains_itself() -> None:
    performance = page("performance.md")
    for path in (REPOSITORY / "bench").glob("*.py"):
        if '\nif __name__ == "__main__":' in (text := path.read_text()):
            command = [sys.executable, "-m", f"bench.{path.stem}", "--help"]
            shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
            assert shown.splitlines()[0] == text[3:].splitlines()[0].removesuffix('"""')
            assert f"bench.{path.stem}`" in performance


def test_a_text_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("xllamacpp", "'wasi-nn[ggml]'")
    import ggml_models

    (tmp_path / "model.gguf").write_bytes(ggml_models.tiny())
    monkeypatch.chdir(tmp_path)
    exec(example("docs/ggml.md", "## Piece by piece"), {"wasi_nn": wasi_nn})
    with wasi_nn.load("model.gguf", options={"n-predict": 64}) as graph:
        text = graph.compute({"prompt": np.frombuffer(b"Once upon a time", np.uint8)})["response"]
    assert capsys.readouterr().out == bytes(text).decode() != ""


def test_the_example_of_the_host() -> None:
    (example_of_host,) = doctest.DocTestFinder(recurse=False).find(wasi_nn.Host, "Host")
    assert doctest.DocTestRunner().run(example_of_host) == (0, 3)


def test_every_function_of_the_extensions_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([\w-]+)` \| (.*) \|$", page("extensions.md"), re.MULTILINE)
    assert {name: (len(parameters.split(", ")), interface) for name, interface, parameters in rows} == {
        name: (function.parameters, function.interface) for name, function in extensions.FUNCTIONS.items()
    }
    for interface in EXTENSIONS:
        assert f"\n| `{interface}` | " in page("extensions.md")


def test_the_guest_run_any_answers_as_the_page_shows(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = re.search(r"^\$ (wasi-nn run .*run_any.*)\n((?:.*\n)*?)```$", page("extensions.md"), re.MULTILINE)
    assert shown is not None
    (tmp_path / "net.onnx").write_bytes(models.relu())
    shutil.copy(C_GUESTS / "run_any.wasm", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(shown[1].split()[1:]) == 0
    assert capfd.readouterr().out == shown[2]
