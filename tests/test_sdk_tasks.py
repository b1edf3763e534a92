"""Real tasks by the SDKs for guests: the types of files, and a talk with a language model. All languages give the same
answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import file_types
import models as real_models
import pytest
import sdk_guests
from conftest import C_GUESTS, need
from sdk_languages.language import Guest

import wasi_nn
from wasi_nn import Graph

OPTIONS = '{"temp": 0, "n-predict": 12}'
ABIS = {"core", "component"}


def test_each_task_is_there_in_three_languages() -> None:
    for program in ("identify", "chat"):
        guests = sdk_guests.named(program)
        assert {guest.language for guest in guests} >= {"c", "rust", "go"}
        assert {guest.abi for guest in guests} == ABIS


# The types of files


@pytest.mark.parametrize("guest", sdk_guests.named("identify"), ids=str)
def test_the_types_of_files_are_told_alike_in_every_language(guest: Guest, typed_files: Path, told_types: str) -> None:
    graphs = {"magika": real_models.magika().model}
    ran = sdk_guests.run(guest, ["magika", "labels.txt", *file_types.FILES], graphs, typed_files)
    assert (ran.exit_code, ran.stderr, ran.stdout) == (0, "", told_types)


def test_the_guest_by_the_bare_imports_tells_the_same_types(typed_files: Path, told_types: str) -> None:
    with wasi_nn.Host({"magika": real_models.magika().model}) as host:
        arguments = ["--graph", "magika", "--labels", "labels.txt", *file_types.FILES]
        result = host.run(C_GUESTS / "identify.wasm", arguments, dirs={".": typed_files}, capture_output=True)
    said = [line.split() for line in result.stdout.decode().splitlines()[1:]]
    assert [words[1] for words in said] == [line.split()[1].rstrip(",") for line in told_types.splitlines()]


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
