"""The page `docs/reference/what-if.md` is true: its commands and its Python give the answers that it shows."""

from __future__ import annotations

import doctest
import gzip
import logging
import pickle
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from struct import pack
from typing import Any

import numpy as np
import onnx_models
import pytest
from conftest import C_GUESTS, REPOSITORY, need
from onnx import TensorProto
from page_blocks import commands, same

import wasi_nn
from wasi_nn import cli

PAGE = (REPOSITORY / "docs" / "reference" / "what-if.md").read_text()
CASES: Mapping[str, str] = dict(re.findall(r"^### (.*)\n((?:(?!##).*\n)*)", PAGE, re.MULTILINE))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_WITHOUT = re.compile(r"^<!-- without (.*) -->$", re.MULTILINE)


# The files that the cases name, and those that they show


def two_signatures() -> bytes:
    need("ai_edge_litert", "'wasi-nn[tflite]'")
    import tflite_models

    f32 = tflite_models.ELEMENTS[wasi_nn.TensorType.F32]
    tensors = [tflite_models.tensor(name, f32, [4]) for name in ("a", "b", "c")]
    operators = [(tflite_models.ADD, [0, 1], [2])]
    signatures = {name: ({"left": 0, "right": 1}, {"total": 2}) for name in ("add", "sum")}
    return tflite_models.build(tensors, operators, [0, 1], [2], signatures)


def language_model() -> bytes:
    need("xllamacpp", "'wasi-nn[ggml]'")
    import ggml_models

    return ggml_models.tiny()


FILES: Mapping[str, Callable[[], bytes]] = {
    "net.onnx": onnx_models.relu,
    "pointer.onnx": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 14655\n",
    "page.onnx": lambda: b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n",
    "net.onnx.gz": lambda: gzip.compress(onnx_models.relu()),
    "weights.safetensors": lambda: (
        pack("<Q", 56) + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  ' + bytes(4)
    ),
    "forest.pkl": lambda: pickle.dumps({"trees": [1.0]}),
    "short.onnx": lambda: onnx_models.convolution(8)[:2000],
    "classes.onnx": lambda: onnx_models.labelled(["cat", "dog"]),
    "int8.onnx": lambda: onnx_models.cast(TensorProto.INT8, TensorProto.FLOAT),
    "pair.onnx": onnx_models.add_and_mul,
    "adds.tflite": two_signatures,
    "llm.gguf": language_model,
    "x.bin": lambda: pack("<4f", 1, -2, 3, -4),
    "pairs.bin": lambda: pack("<4f", 0.25, 0.75, 1, 0),
    "infer.wasm": lambda: (C_GUESTS / "infer.wasm").read_bytes(),
    "run_any.wasm": lambda: (C_GUESTS / "run_any.wasm").read_bytes(),
}


def files_of(case: str) -> Iterator[tuple[str, bytes]]:
    """The files of a case: those that it shows, named in their first line, and those of `FILES` that it names."""
    for language, text in _BLOCK.findall(case):
        name = re.match(r"(?:;;|#) (\S+)\n", text)
        if language in ("wat", "toml") and name:
            yield name[1], text.encode()
    for file, content in FILES.items():
        if re.search(rf"(?<![\w.-]){re.escape(file)}(?![\w.-])", case):
            yield file, content()


# The commands and the Python of a case, each with the answer that the page shows


def statements(block: str) -> Iterator[tuple[str, str]]:
    for it in doctest.DocTestParser().get_examples(block):
        yield it.source, it.want


class Session:
    """Runs the commands and the statements of one case."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.names: dict[str, Any] = {"wasi_nn": wasi_nn, "np": np}
        self.code = 0
        self._capture = capture

    def command(self, text: str) -> str:
        """The answer of a command, as a terminal shows it: first the output, then the errors."""
        if text == "echo $?":
            return f"{self.code}\n"
        program, *arguments = shlex.split(text)
        assert program == "wasi-nn"
        handlers = logging.root.handlers[:]
        logging.root.handlers.clear()  # as in a process of its own, in which the command sets up its logging
        try:
            self.code = cli.main(arguments)
        except SystemExit as ended:
            self.code = int(ended.code or 0)
        finally:
            logging.root.handlers[:] = handlers
        output, errors = self._capture.readouterr()
        return output + errors

    def statement(self, text: str) -> str:
        """The answer of a statement, with an error as the last line of its traceback."""
        try:
            exec(compile(text, "<stdin>", "single"), self.names)
        except Exception as error:
            kind = type(error)
            print(f"{kind.__module__}.{kind.__qualname__}: {error}")
        return self._capture.readouterr().out


def steps_of(case: str, session: Session) -> Iterator[tuple[str, str, Callable[[str], str]]]:
    for language, text in _BLOCK.findall(case):
        if language == "console":
            yield from ((*step, session.command) for step in commands(text))
        if language == "pycon":
            yield from ((*step, session.statement) for step in statements(text))


@pytest.fixture
def session(
    tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Session:
    monkeypatch.chdir(tmp_path)
    return Session(capfd)


@pytest.mark.parametrize("heading", CASES)
def test_a_case_has_the_answer_of_the_page(
    heading: str, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    case = CASES[heading]
    if "--isolate " in "".join(text for _, text in _BLOCK.findall(case)):
        request.getfixturevalue("isolation")
    for name, content in files_of(case):
        (tmp_path / name).write_bytes(content)
    for module in " ".join(_WITHOUT.findall(case)).split():
        monkeypatch.setitem(sys.modules, module, None)
    steps = list(steps_of(case, session))
    assert steps
    for source, shown, run in steps:
        answer = run(source)
        assert same(shown, answer), f"{source}\nthe page:\n{shown}\nthe answer:\n{answer}"


def test_another_answer_is_noticed() -> None:
    assert same("graph 'net':\n    no ... here\n", "graph 'net': no file is here\n")
    assert not same("graph 'net': no ... here\n", "graph 'net': no file is there\n")
    assert not same("", "graph 'net'\n")
    assert not same("graph 'net'\n", "")


def test_every_answer_and_every_file_is_on_the_page() -> None:
    shown = [answer for case in CASES.values() for _, text in _BLOCK.findall(case) for _, answer in commands(text)]
    assert all(answer.strip() not in ("", "...") for answer in shown if answer)
    listed = PAGE.partition("\n## The files\n")[2]
    assert [name for name in FILES if f"`{name}`" not in listed] == []
    assert len(CASES) == len(re.findall(r"^### ", PAGE, re.MULTILINE)), "each case has a heading of its own"
