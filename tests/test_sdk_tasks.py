"""Real tasks by the SDKs for guests: the types of files, and a talk with a language model. All languages give the same
answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import models as real_models
import numpy as np
import pytest
import sdk_guests
from conftest import C_GUESTS, need
from sdk_languages.language import Guest

import wasi_nn
from wasi_nn import Graph

SEEN, BLOCK, NO_BYTE = 1024, 4096, 256
OPTIONS = '{"temp": 0, "n-predict": 12}'
ABIS = {"core", "component"}


def test_each_task_is_there_in_three_languages() -> None:
    for program in ("identify", "chat"):
        guests = sdk_guests.named(program)
        assert {guest.language for guest in guests} >= {"c", "rust", "go"}
        assert {guest.abi for guest in guests} == ABIS


# The types of files

FILES = {
    "tool.py": b"#!/usr/bin/env python3\nimport sys\n\n\ndef main():\n    print(sys.argv)\n\n\nmain()\n" * 3,
    "main.c": b'\n\n  #include <stdio.h>\n\nint main(void) {\n    puts("hello");\n    return 0;\n}\n' * 4,
    "data.jsonl": b'{"names": ["a", "b"], "numbers": [1, 2.5, -3], "none": null}\n' * 40,
    "large.html": b"<!doctype html>\n<html>\n" + b"<p>A paragraph of text.</p>\n" * 400 + b"</html>\n" + b" " * 900,
    "guest.wasm": b"",
    "seven": b"seven b",
    "eight": b"eight by",
    "empty": b"",
    "blank": b" \n\t\v\f\r" * 2000,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "guest.wasm").write_bytes((C_GUESTS / "classify.wasm").read_bytes())
    (folder / "labels.txt").write_bytes(real_models.magika().labels.read_bytes())
    return folder


def features_of(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    features = np.full((1, 2 * SEEN), NO_BYTE, np.int32)
    first, last = content[:BLOCK].lstrip()[:SEEN], content[-BLOCK:].rstrip()[-SEEN:]
    features[0, : len(first)] = list(first)
    if last:
        features[0, -len(last) :] = list(last)
    return features


@pytest.fixture(scope="module")
def types(files: Path) -> str:
    """What a guest must say of the files: the runtime's own scores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(real_models.magika().model, providers=["CPUExecutionProvider"])
    labels = (files / "labels.txt").read_text().split()
    said = ""
    for name in FILES:
        features = features_of((files / name).read_bytes())
        if features[0, 7] == NO_BYTE:
            said += f"{name}: too short to tell\n"
            continue
        [[scores]] = session.run(None, {"bytes": features})
        said += f"{name}: {labels[scores.argmax()]}, {int(100 * scores.max() + 0.5)} %\n"
    for line in ("tool.py: python, ", "main.c: c, ", "data.jsonl: jsonl, ", "large.html: html, ", "guest.wasm: wasm, "):
        assert line in said, "the model is a real one"
    assert said.count("too short to tell") == 3
    return said


@pytest.mark.parametrize("guest", sdk_guests.named("identify"), ids=str)
def test_the_types_of_files_are_told_alike_in_every_language(guest: Guest, files: Path, types: str) -> None:
    graphs = {"magika": real_models.magika().model}
    ran = sdk_guests.run(guest, ["magika", "labels.txt", *FILES], graphs, files)
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", types)


def test_the_guest_by_the_bare_imports_tells_the_same_types(files: Path, types: str) -> None:
    with wasi_nn.Host({"magika": real_models.magika().model}) as host:
        arguments = ["--graph", "magika", "--labels", "labels.txt", *FILES]
        result = host.run(C_GUESTS / "identify.wasm", arguments, dirs={".": files}, capture_output=True)
    said = [line.split() for line in result.stdout.decode().splitlines()[1:]]
    assert [words[1] for words in said] == [line.split()[1].rstrip(",") for line in types.splitlines()]


# A talk with a language model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    need("xllamacpp", "'wasi-nn[ggml]'")
    import ggml_models

    file = tmp_path_factory.mktemp("model") / "steady.gguf"
    file.write_bytes(ggml_models.steady())
    with wasi_nn.load(file) as graph:
        yield graph


def talk(model: Graph, messages: list[str]) -> str:
    """What a guest must print: the runtime's own pieces."""
    context, prompt, said = model.init_execution_context(), b"", ""
    context.set_input("options", OPTIONS.encode())
    for message in messages:
        prompt += f"<|im_start|>user\n{message}<|im_end|>\n<|im_start|>assistant\n".encode()
        context.set_input("prompt", prompt)
        answer = b"".join(bytes(piece) for piece in context.pieces())
        assert len(answer) == 12, "n-predict"
        prompt += answer + b"<|im_end|>\n"
        said += f"> {message}\n{answer.decode()}\n"
    return said


MESSAGES = ["abc", "What is \u00e9?", ""]


@pytest.mark.parametrize("guest", sdk_guests.named("chat"), ids=str)
def test_a_language_model_answers_alike_in_every_language(guest: Guest, model: Graph) -> None:
    ran = sdk_guests.run(guest, ["llm", OPTIONS, *MESSAGES[:2]], {"llm": model})
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", talk(model, MESSAGES[:2]))
    lines = "\n".join(MESSAGES).encode()  # the last one is empty, and no line end is after it
    ran = sdk_guests.run(guest, ["llm", OPTIONS], {"llm": model}, stdin=lines + b"\n")
    expected = talk(model, MESSAGES)
    for message in MESSAGES:
        expected = expected.replace(f"> {message}\n", "> ", 1)
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", expected + "> ")


@pytest.mark.parametrize("guest", sdk_guests.named("chat"), ids=str)
def test_a_talk_that_fails_ends_with_its_reason(guest: Guest, model: Graph) -> None:
    for graph, options, code in (("none", OPTIONS, "not-found"), ("llm", "{", "invalid-")):
        ran = sdk_guests.run(guest, [graph, options, "abc"], {"llm": model})
        assert ran.exit_code == 1
        assert code in ran.stderr
