"""`Texts`: has the language models of a server write texts, each model as many at once as it has slots."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from wasi_nn.backends import RemoteModel
from wasi_nn.backends.ggml.chat_format import ChatFormat, read_chat_format
from wasi_nn.backends.openai.graph import OpenAIGraph
from wasi_nn.errors import NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.loading.choose import choose
from wasi_nn.process.files import mapped_file
from wasi_nn.serving.computing.compute_queue import ComputeQueue, Turns
from wasi_nn.serving.computing.thread_calls import in_thread
from wasi_nn.serving.failures import Reason, ServingError, of_compute
from wasi_nn.serving.observing.timeline import stage
from wasi_nn.serving.texts.chat_template import ChatTemplate
from wasi_nn.serving.texts.metrics import TextMetrics
from wasi_nn.serving.texts.text import Text, Writing
from wasi_nn.types import GraphEncoding, parse_enum

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.rules import LoadRules
    from wasi_nn.serving.computing.served_graph import ServedGraph
    from wasi_nn.serving.models import Model, Models
    from wasi_nn.serving.service import InferenceService

_SLOTS = 4
"""The texts at once of a graph that doesn't say how many (`n-parallel`)."""

Messages = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class TextRequest:
    """What a client wants written. `prompt` is a text, or the messages of a conversation. `options` are those of the
    graph that the client sets. `until` is the end of the request's time."""

    model: str
    prompt: str | Messages
    options: Mapping[str, Any]
    stops: Sequence[str]
    until: float


class Texts:
    """The texts of a server. All methods are called in the event loop."""

    def __init__(self, service: InferenceService, registry: CollectorRegistry) -> None:
        self._service = service
        self._queues: WeakKeyDictionary[ServedGraph, Turns] = WeakKeyDictionary()
        self._templates: dict[str, tuple[ServedGraph, ChatTemplate | None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._metrics = TextMetrics(registry, self.queues)

    async def begin(self, request: TextRequest) -> Text:
        """A text whose first token or end has come; it must be closed. Cancelling the call ends the text. Raises
        `ServingError`: as `InferenceService.infer` does, `invalid` for a prompt that doesn't fit, and for messages that
        the model's template refuses, `unsupported` where the model writes no texts, or has no template."""
        began = time.monotonic()
        model = self._service.models.find(request.model)
        served = await self._service.models.served(model, request.until)
        options = self._own_options(model)
        require_language_model(model.name, served)
        if options.get("embedding") or options.get("reranking"):
            message = f"model {model.name!r} writes no texts: it is loaded for embeddings"
            raise ServingError(Reason.UNSUPPORTED, message)
        queue = self._queue(served, options)
        with served.in_use():
            with stage("queue"):
                await queue.turn(request.until)
            try:
                with stage("prompt"):
                    prompt, conversation = await self._begun(model, served, request)
                own_stop = options.get("reverse-prompt")
                stops = [*request.stops, *([own_stop] if own_stop else [])]
                chosen = {"seed": options.get("seed", -1), **request.options, **conversation}
                longest = self._service.limits.request_time
                writing = Writing(prompt.encode(), chosen, stops, request.until, longest)
                text = Text(served.graph, writing, self._token_counter(model.name, began))
                text.waited = time.monotonic() - began
                use = served.in_use()
                use.__enter__()
                try:
                    text.start(partial(_end, queue, use))
                except BaseException:
                    use.__exit__(None, None, None)
                    raise
            except BaseException:
                queue.give_back()
                raise
        try:
            with stage("first token"):
                await text.begun()
        except BaseException:
            text.close()
            raise
        return text

    def is_language_model(self, model: Model) -> bool:
        """Whether a model is loaded, and is a language model."""
        return model.served is not None and is_language_model(model.served)

    async def embedding_model(self, name: str, until: float) -> None:
        """Raise `ServingError` unless the model of this name gives embeddings, as `begin` does for texts."""
        model = self._service.models.find(name)
        require_language_model(name, await self._service.models.served(model, until))
        options = self._own_options(model)
        if not options.get("embedding") or options.get("reranking"):
            message = f"model {name!r} gives no embeddings: its graph needs the option embedding = true"
            raise ServingError(Reason.UNSUPPORTED, message)

    async def close(self) -> None:
        """End the processes that render templates."""
        for _, template in self._templates.values():
            self._close(template)
        self._templates.clear()
        while self._closing:
            await asyncio.wait(set(self._closing))

    def _token_counter(self, name: str, began: float) -> Callable[[float], None]:
        last: list[float] = []

        def count_token(at: float) -> None:
            if last:
                self._metrics.between(name, at - last.pop())
            else:
                self._metrics.first(name, at - began)
            last.append(at)

        return count_token

    def count(self, name: str, text: Text) -> None:
        """Count the tokens of a text that has been sent."""
        if text.end is not None:
            self._metrics.ended(name, text.end.prompt_tokens, text.end.tokens)

    async def _begun(
        self, model: Model, served: ServedGraph, request: TextRequest
    ) -> tuple[str, Mapping[str, Messages]]:
        """The prompt of a text, and the option with its conversation, for a model on another server, whose template
        isn't known here."""
        if not isinstance(request.prompt, str) and isinstance(served.graph, OpenAIGraph):
            return "", {"messages": request.prompt}
        return await self._within(request.until, self._prompt(model, served, request.prompt)), {}

    async def _within(self, until: float, work: Awaitable[str]) -> str:
        try:
            async with asyncio.timeout_at(until):
                return await work
        except TimeoutError:
            message = "the request's time was over before the prompt was ready"
            raise ServingError(Reason.LATE, message) from None

    async def _prompt(self, model: Model, served: ServedGraph, prompt: str | Messages) -> str:
        if isinstance(prompt, str):
            return prompt
        template = await self._template(model, served)
        if template is None:
            message = f"model {model.name!r} has no chat template: send a whole prompt to /v1/completions"
            raise ServingError(Reason.UNSUPPORTED, message)
        return await template.render(prompt)

    async def _template(self, model: Model, served: ServedGraph) -> ChatTemplate | None:
        found = self._templates.get(model.name)
        if found is not None and found[0] is served:
            return found[1]
        try:
            named, rules = self._service.models.description(model), self._service.models.rules
            form = await in_thread(lambda: _chat_format(named, rules))
        except NNError as error:
            raise of_compute(error) from error
        found = self._templates.get(model.name)
        if found is not None and found[0] is served:  # another request was faster
            return found[1]
        template = None if form is None else ChatTemplate(form)
        self._templates[model.name] = (served, template)
        if found is not None:
            self._close(found[1])
        for name in [name for name in self._templates if not self._service.models.has(name)]:
            self._close(self._templates.pop(name)[1])
        return template

    def _close(self, template: ChatTemplate | None) -> None:
        if template is not None:
            task = asyncio.get_running_loop().create_task(template.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _queue(self, served: ServedGraph, options: Mapping[str, Any]) -> Turns:
        queue = self._queues.get(served)
        if queue is None:
            slots = 1 if options.get("reproducible") else options.get("n-parallel", _SLOTS)
            queue = self._queues[served] = Turns(ComputeQueue(slots, self._service.limits.queue))
        return queue

    def queues(self) -> Mapping[str, Turns]:
        """The queues of the models that have one now, by their names."""
        models = self._service.models.all()
        now = {model.name: self._queues.get(model.served) for model in models if model.served is not None}
        return {name: queue for name, queue in now.items() if queue is not None}

    def _own_options(self, model: Model) -> Mapping[str, Any]:
        return operator_options(self._service.models, model)


def operator_options(models: Models, model: Model) -> Mapping[str, Any]:
    """The operator's options for a model."""
    try:
        named = models.description(model)
    except NNError:  # the model was removed meanwhile
        return {}
    return getattr(named.source, "operator_options", named.options)


def _end(queue: Turns, use: AbstractContextManager[None]) -> None:
    use.__exit__(None, None, None)
    queue.give_back()


def require_language_model(name: str, served: ServedGraph) -> None:
    """Raise `ServingError` with `unsupported` for a model of another kind."""
    if not is_language_model(served):
        message = f"model {name!r} is no language model: use /v2/models/{name}/infer"
        raise ServingError(Reason.UNSUPPORTED, message)


def is_language_model(served: ServedGraph) -> bool:
    """Whether a loaded model is one."""
    return served.graph.encoding is GraphEncoding.GGML


def _chat_format(named: NamedGraph, rules: LoadRules) -> ChatFormat | None:
    source: Any = named.source
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | os.PathLike):
        source = source[0]
    if isinstance(source, Graph):
        return None
    model = choose(source, parse_enum(GraphEncoding, named.encoding), named.runtime, rules).model
    if isinstance(model, RemoteModel):
        return None
    if not isinstance(model, Path):
        return read_chat_format(model[0])
    with mapped_file(model) as content:
        return read_chat_format(content)
