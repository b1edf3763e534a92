"""The runner of language models: completions and embeddings of one execution context."""

from __future__ import annotations

import json
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.ggml.completion import Completion
from wasi_nn.backends.ggml.embedding import embedded, has_several_texts
from wasi_nn.backends.ggml.image_option import IMAGE
from wasi_nn.backends.ggml.images import MAX_PROMPT, text_bytes
from wasi_nn.backends.ggml.slots import Waiter
from wasi_nn.backends.text_tensors import bytes_of, read_all, require_pieces, text_of
from wasi_nn.errors import ErrorCode, NNError, PromptTooLong
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.runner import Runner

if TYPE_CHECKING:
    from wasi_nn.backends.ggml.backend import GgmlGraph
    from wasi_nn.backends.ggml.server import Engine
    from wasi_nn.types import Array

_MAX_BATCH = 1 << 24  # bytes of several texts


class GgmlRunner(Runner):
    """Runs completions and embeddings of one context, and keeps the model loaded as that context needs it."""

    def __init__(self, graph: GgmlGraph) -> None:
        self._graph = graph
        self._engine: Engine | None = None
        self._completion: weakref.ref[Completion] | None = None  # weak, so that one that has ended is freed
        self._work: Waiter | None = None
        self._has_deadlines = False

    def expect_deadlines(self) -> None:
        self._has_deadlines = True

    def check_input(self, index: int, data: memoryview) -> None:
        """Raise `NNError` for options that can't be read, or have values that don't fit."""
        if index == 1:
            self._graph.options(np.frombuffer(data, np.uint8), has_deadlines=self._has_deadlines)

    def __call__(self, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
        engine, prompt, options = self._prepare(*inputs)
        if engine.settings.embedding:
            with self._working() as work:
                text, tokens = embedded(engine, prompt, options, work)
            return [bytes_of(text), _metadata(tokens, 0)]
        completion = self._begun(engine, prompt, options, self._graph.completion_request(options))
        read_all(completion, options, self.text_sink)
        return _outputs(completion)

    def steps(self, inputs: Sequence[Array]) -> Generator[Sequence[Array], None, Sequence[Array]]:
        """A piece for each token. It is empty for a token that is part of a character, except for the last part."""
        engine, prompt, options = self._prepare(*inputs)
        require_pieces(is_embedding=engine.settings.embedding)
        completion_request = self._graph.completion_request(options)
        completion_request.pop("stop", None)  # as in WasmEdge: its guests see the whole text, and may end it themselves
        completion = self._begun(engine, prompt, options, completion_request)
        engine.admit(completion)
        tokens = 0
        for piece in completion:
            while tokens < completion.output_tokens:
                tokens += 1
                text = piece if tokens == completion.output_tokens else ""
                yield [bytes_of(text), _metadata(completion.input_tokens, tokens)]
        while tokens < completion.tokens_of_text:
            tokens += 1
            yield [bytes_of(""), _metadata(completion.input_tokens, tokens)]
        return _outputs(completion)

    def _begun(
        self, engine: Engine, prompt: str, options: Mapping[str, Any], completion_request: dict[str, Any]
    ) -> Completion:
        image = options.get(IMAGE, b"")
        parts = self._graph.prompt_parts(prompt, image) if engine.takes_images else None
        completion = Completion(engine, prompt if parts is None else parts, completion_request, self)
        self._completion = weakref.ref(completion)
        return completion

    def interrupt(self) -> None:
        """Stop a completion, waiting for a slot, or embedding more texts; the embedding of a text can't be stopped."""
        completion = None if self._completion is None else self._completion()
        if completion is not None:
            completion.interrupt()
        work, engine = self._work, self._engine
        if work is not None and engine is not None:
            work.is_stopped = True
            engine.slots.wake()

    def output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        """The metadata, as soon as the prompt is set."""
        data, options = inputs
        if index != 1 or data is None or options is None:
            return None
        engine, prompt, chosen = self._prepare(data, options)
        if has_several_texts(engine, chosen) or engine.takes_images:
            return None  # the prompt isn't only a text
        with self._working() as work:
            return _metadata(engine.count_tokens(prompt, work), 0)

    @contextmanager
    def _working(self) -> Iterator[Waiter]:
        """Work other than a completion, which `interrupt` can stop."""
        work = self._work = Waiter()
        try:
            yield work
        finally:
            self._work = None

    def _prepare(self, data: Array, chosen: Array) -> tuple[Engine, str, dict[str, Any]]:
        """The engine for these inputs, the prompt, and the options."""
        guest_options = self._graph.options(chosen, has_deadlines=self._has_deadlines)
        prompt = text_of(data)
        engine = self._engine = self._graph.engine(guest_options)
        options = {**self._graph.operator_options, **guest_options}
        has_texts = has_several_texts(engine, options)
        if has_texts and len(data) > _MAX_BATCH:
            raise NNError(ErrorCode.TOO_LARGE, f"a prompt of {len(data)} bytes is larger than {_MAX_BATCH}")
        size = len(data)
        if engine.takes_images and size > MAX_PROMPT:
            raise NNError(ErrorCode.TOO_LARGE, f"a prompt of {size} bytes with its images is larger than {MAX_PROMPT}")
        if engine.takes_images and size > engine.most_bytes:
            size = text_bytes(prompt)
        if not has_texts and size > engine.most_bytes:
            context = engine.settings.context
            raise PromptTooLong(f"a prompt of {size} bytes can't fit into a context of {context} tokens")
        return engine, prompt, options


def _outputs(completion: Completion) -> Sequence[Array]:
    outputs = [bytes_of(completion.text), _metadata(completion.input_tokens, completion.output_tokens)]
    return Outputs(outputs, context_full=completion.full)


def _metadata(input_tokens: int, output_tokens: int) -> Array:
    import xllamacpp

    build = xllamacpp.BUILD_INFO
    metadata = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        # If the wheel doesn't have the build number, it is the last part of the wheel's version.
        "llama_build_number": build["build_number"] or int(xllamacpp.__version__.rpartition(".")[2]),
        "llama_commit": build["commit"],
    }
    return bytes_of(json.dumps(metadata))
