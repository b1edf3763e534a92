"""A graph whose output is a sequence of letters, and the calls by which a guest in WasmEdge's dialect uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from core_guest import DATA, NAME, OUT, SUCCESS, U8, CoreGuest

from wasi_nn import ErrorCode, Graph, GraphEncoding, NNError, TensorInfo
from wasi_nn.errors import ContextFull, PromptTooLong
from wasi_nn.graph.runner import RunFunction

END_OF_SEQUENCE, CONTEXT_FULL, PROMPT_TOO_LONG, MODEL_NOT_FOUND = 100, 101, 102, 103
CONFIG = 8192


class Letters(Graph):
    """Gives its prompt back one letter at a time, in capitals if its configuration says so. Some prompts are errors."""

    encoding = GraphEncoding.GGML

    def __init__(self, config: bytes = b"") -> None:
        super().__init__(
            [TensorInfo.of_bytes("prompt"), TensorInfo.of_bytes("options", optional=True)],
            [TensorInfo.of_bytes("text"), TensorInfo.of_bytes("metadata")],
        )
        self.config = config

    def configured(self, config: memoryview) -> Graph:
        if bytes(config) == b"broken":
            raise NNError(ErrorCode.INVALID_ENCODING, "the configuration is broken")
        return Letters(bytes(config)) if config else self

    def runner(self) -> RunFunction:
        return LettersRunner(self.config)


class LettersRunner:
    def __init__(self, config: bytes) -> None:
        self.config = config

    def __call__(self, inputs: Sequence[Any], reuse: Sequence[Any] | None) -> Sequence[Any]:
        text = self.text(inputs)
        return [np.frombuffer(text, np.uint8).copy(), np.frombuffer(b"%d" % len(text), np.uint8).copy()]

    def steps(self, inputs: Sequence[Any]) -> Iterator[Sequence[Any]]:
        text = self.text(inputs)
        for count, letter in enumerate(text, 1):
            if letter == ord("!"):
                raise ContextFull("the context is full")
            yield [np.array([letter], np.uint8), np.frombuffer(b"%d" % count, np.uint8).copy()]

    def text(self, inputs: Sequence[Any]) -> bytes:
        text: bytes = inputs[0].tobytes()
        if text == b"long":
            raise PromptTooLong("the prompt is too long")
        return text.upper() if self.config == b"capitals" else text


def load(guest: CoreGuest, name: str = "letters", config: bytes = b"") -> int:
    guest.write(NAME, name.encode())
    guest.write(CONFIG, config)
    assert guest.call("load_by_name_with_config", NAME, len(name), CONFIG, len(config), OUT) == SUCCESS
    return guest.u32()


def init(guest: CoreGuest, graph: int) -> int:
    assert guest.call("init_execution_context", graph, OUT) == SUCCESS
    return guest.u32()


def prompt(guest: CoreGuest, context: int, text: bytes = b"abc") -> int:
    return guest.set_input(context, 0, [1], U8, text)


def single(guest: CoreGuest, context: int, index: int = 0) -> bytes:
    assert guest.call("get_output_single", context, index, DATA, 64, OUT) == SUCCESS
    return guest.read(DATA, guest.u32())
