"""LoRA adapters of language models, which the operator names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checks import refused
from conftest import need

import wasi_nn
from wasi_nn import ErrorCode, LoadRules
from wasi_nn.errors import ModelNotFound

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models as models  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the model and adapters of it."""
    (tmp_path / "model.gguf").write_bytes(models.steady())
    (tmp_path / "q.gguf").write_bytes(models.adapter(after="a", comes="q"))
    (tmp_path / "z.gguf").write_bytes(models.adapter(after="r", comes="z"))
    return tmp_path


def written(folder: Path, lora: Any, prompt: str = "y", **rules: Any) -> str:
    """The text after a letter."""
    options = {"n-predict": 8, "lora": lora}
    with wasi_nn.load(folder / "model.gguf", options=options, rules=LoadRules(**rules)) as graph:
        return graph.compute(prompt)["response"].tobytes().decode()


@pytest.mark.parametrize("isolate", [False, True])
def test_adapters_change_the_text(folder: Path, isolate: bool, isolation: None) -> None:
    assert written(folder, [], isolate=isolate) == "zabcdefg"
    assert written(folder, ["q.gguf"], isolate=isolate) == "zaqrstuv"
    assert written(folder, ["q.gguf", {"path": str(folder / "z.gguf")}], "p", isolate=isolate) == "qrzaqrza"


def test_an_adapter_has_a_scale(folder: Path) -> None:
    assert written(folder, [{"path": "q.gguf", "scale": 0}]) == "zabcdefg"
    assert written(folder, [{"path": "q.gguf", "scale": 0.01}]) == "zabcdefg"
    assert written(folder, [{"path": "q.gguf", "scale": 1.2}]) == "zaqrstuv"


def test_the_command_takes_adapters(folder: Path) -> None:
    flags = ["--graph", f"llm={folder / 'model.gguf'}", "--graph-option", 'llm:lora=["gone.gguf"]']
    command = [sys.executable, "-m", "wasi_nn", "graphs", "--check", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    assert done.returncode != 0
    assert "the LoRA adapter" in done.stdout + done.stderr


def test_adapters_that_are_refused(folder: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"the LoRA adapter .*gone.gguf doesn't exist"):
        written(folder, ["gone.gguf"])
    refused(ErrorCode.INVALID_ENCODING, "model.gguf isn't one: its adapter.type isn't", written, folder, ["model.gguf"])
    (folder / "text.gguf").write_text("an adapter")
    refused(ErrorCode.INVALID_ENCODING, "the LoRA adapter .*text.gguf can't be used", written, folder, ["text.gguf"])
    (folder / "empty.gguf").touch()
    refused(ErrorCode.RUNTIME_ERROR, "the LoRA adapter .*empty.gguf can't be read", written, folder, ["empty.gguf"])
    os.mkfifo(folder / "pipe.gguf")
    refused(ErrorCode.RUNTIME_ERROR, "it is no regular file", written, folder, ["pipe.gguf"])
    (folder / "other.gguf").write_bytes(models.adapter("a", "q", **{"adapter.type": "other"}))
    refused(ErrorCode.INVALID_ENCODING, "other.gguf isn't one", written, folder, ["other.gguf"])


def test_an_adapter_of_another_model(folder: Path) -> None:
    (folder / "model.gguf").write_bytes(models.steady(**{"general.other": "x"}))
    assert written(folder, ["q.gguf"]) == "zaqrstuv"
    cut = models.adapter("a", "q").replace(b"output.weight.lora", b"strange.thing.lora")
    (folder / "strange.gguf").write_bytes(cut)
    refused(ErrorCode.RUNTIME_ERROR, "llama.cpp can't load the model", written, folder, ["strange.gguf"])


def test_a_model_from_bytes_takes_no_adapters() -> None:
    refused(
        ErrorCode.UNSUPPORTED_OPERATION,
        "a model from bytes takes no files beside it",
        wasi_nn.load,
        models.steady(),
        options={"lora": ["q.gguf"]},
    )


def test_a_guest_names_no_adapters(folder: Path) -> None:
    with wasi_nn.load(folder / "model.gguf", options={"n-predict": 8}) as graph:
        outputs = graph.compute({"prompt": "y", "options": '{"lora": ["q.gguf"]}'})
        assert outputs["response"].tobytes() == b"zabcdefg"


@pytest.mark.parametrize(
    "lora",
    [
        "q.gguf",
        [1],
        [""],
        ["a\0b"],
        [{}],
        [{"path": 1}],
        [{"path": "a", "scale": "1"}],
        [{"path": "a", "scale": 1e9}],
        [{"path": "a", "other": 1}],
        ["a"] * 17,
    ],
)
def test_values_that_are_refused(folder: Path, lora: Any) -> None:
    refused(ErrorCode.INVALID_ARGUMENT, "it takes a list of paths, or of tables such as", written, folder, lora)


def test_nothing_stays_open(folder: Path) -> None:
    def use() -> None:
        written(folder, ["q.gguf"])
        with pytest.raises(ModelNotFound):
            written(folder, ["q.gguf", "gone.gguf"])

    use()
    before = sorted(os.listdir("/proc/self/fd"))
    use()
    assert set(os.listdir("/proc/self/fd")) <= set(before)  # what an earlier test left may close meanwhile
