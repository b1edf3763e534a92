"""A language model on other servers, with the inputs and outputs of one that runs here."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wasi_nn.arguments import as_json
from wasi_nn.backends.ggml.options import GUESTS_OPTIONS
from wasi_nn.backends.openai.completion import Completion
from wasi_nn.backends.openai.embedding import embedded
from wasi_nn.backends.openai.options import MESSAGES, guest_options, most_tokens, parameters
from wasi_nn.backends.remote.calls import CallingRunner
from wasi_nn.backends.text_tensors import bytes_of, read_all, require_pieces, text_of
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.runner import ABSENT, Runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.backends.openai.server import OpenAIServer
    from wasi_nn.backends.remote.failover import Servers
    from wasi_nn.backends.remote.settings import RemoteSettings
    from wasi_nn.types import Array


class OpenAIGraph(Graph):
    """A model, with the options that a guest gave as a configuration."""

    encoding = GraphEncoding.GGML
    runtime = "openai"
    device = "remote"

    def __init__(
        self,
        servers: Servers[OpenAIServer],
        settings: RemoteSettings,
        operator_options: Mapping[str, Any],
        own_options: Mapping[str, Any],
    ) -> None:
        super().__init__(
            [
                TensorInfo.of_bytes("prompt"),
                TensorInfo.of_bytes("options", optional=True, keys=tuple(sorted((*GUESTS_OPTIONS, MESSAGES)))),
            ],
            [TensorInfo.of_bytes("response", aliases=("text",)), TensorInfo.of_bytes("metadata")],
        )
        self.servers = servers
        self.settings = settings
        self.operator_options = operator_options
        self._own_options = own_options

    def configured(self, config: memoryview) -> Graph:
        config = as_json("config", config)
        if len(config) == 0:
            return self
        self.require_usable()
        options = {**self._own_options, **self.read_options(config)}
        return OpenAIGraph(self.servers, self.settings, self.operator_options, options)

    def options(self, data: Array) -> dict[str, Any]:
        """A guest's options: those in this JSON, and below them those of the graph. Raises `NNError`."""
        return {**self._own_options, **({} if data is ABSENT else self.read_options(data.data))}

    def read_options(self, data: memoryview) -> dict[str, Any]:
        """The options in a guest's JSON. Raises `NNError`."""
        return guest_options(data, self.operator_options)

    def runner(self) -> Runner:
        return _OpenAIRunner(self)


class _OpenAIRunner(CallingRunner):
    """Has a server write texts. Nothing is kept of one text for the next."""

    def __init__(self, graph: OpenAIGraph) -> None:
        super().__init__(graph.settings.timeout)
        self._graph = graph

    def check_input(self, index: int, data: memoryview) -> None:
        """Raise `NNError` for options that can't be read, or have values that don't fit."""
        if index == 1:
            self._graph.read_options(data)

    def __call__(self, inputs: Sequence[Array], _: Sequence[Array] | None) -> Sequence[Array]:
        graph, options = self._graph, self._graph.options(inputs[1])
        if graph.operator_options.get("embedding"):
            several = options.get("batch", False)
            text, tokens = embedded(graph.servers, self.new_call(), text_of(inputs[0]), has_several=several)
            return [bytes_of(text), _metadata(tokens, 0)]
        completion = self._begun(inputs[0], options, with_stop=True)
        read_all(completion, options, self.text_sink)
        return _outputs(completion)

    def steps(self, inputs: Sequence[Array]) -> Generator[Sequence[Array], None, Sequence[Array]]:
        """A piece for each event of the server, which has one token or some. There are as many pieces as tokens: the
        last ones are empty where an event had several. As with ggml, `reverse-prompt` doesn't end such a text."""
        require_pieces(is_embedding=bool(self._graph.operator_options.get("embedding")))
        completion = self._begun(inputs[0], self._graph.options(inputs[1]), with_stop=False)
        pieces = 0
        for piece in completion:
            pieces += 1
            yield [bytes_of(piece), _metadata(completion.input_tokens, pieces)]
        while pieces < completion.tokens_of_text:
            pieces += 1
            yield [bytes_of(""), _metadata(completion.input_tokens, pieces)]
        return _outputs(completion)

    def _begun(self, data: Array, options: Mapping[str, Any], *, with_stop: bool) -> Completion | _NoText:
        graph = self._graph
        prompt = text_of(data)
        if most_tokens(graph.operator_options, options) == 0:
            return _NoText()
        request = {**parameters(graph.operator_options, options, with_stop=with_stop), "stream": True}
        request["stream_options"] = {"include_usage": True}
        messages = options.get(MESSAGES)
        if messages is None and graph.operator_options.get("chat"):
            messages = [{"role": "user", "content": prompt}]
        if messages is not None:
            return Completion(graph.servers, self.new_call(), "/chat/completions", {**request, MESSAGES: messages})
        return Completion(graph.servers, self.new_call(), "/completions", {**request, "prompt": prompt})


class _NoText:
    """The text of no tokens, which no server needs to write."""

    text, full = "", False
    input_tokens = output_tokens = tokens_of_text = 0

    def __iter__(self) -> Iterator[str]:
        yield from ()


def _outputs(completion: Completion | _NoText) -> Sequence[Array]:
    outputs = [bytes_of(completion.text), _metadata(completion.input_tokens, completion.output_tokens)]
    return Outputs(outputs, context_full=completion.full)


def _metadata(input_tokens: int, output_tokens: int) -> Array:
    return bytes_of(json.dumps({"input_tokens": input_tokens, "output_tokens": output_tokens}))
