"""The paths of OpenAI's calls, and what each does."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.responses import Response
from starlette.routing import Route

from wasi_nn.serving.computing.long_calls import LARGE_JSON
from wasi_nn.serving.computing.thread_calls import in_thread
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.http.bodies import read_body
from wasi_nn.serving.http.disconnects import while_connected
from wasi_nn.serving.http.door import as_json, begin_work
from wasi_nn.serving.observing.timeline import note, stage
from wasi_nn.serving.openai.answers import new_answer
from wasi_nn.serving.openai.event_stream import EventStream
from wasi_nn.serving.openai.parameters import CHAT, COMPLETION, Known, model_of, read_object, read_text_parameters
from wasi_nn.serving.openai.prompts import as_base64, messages_of, prompt_of, read_embedding_request
from wasi_nn.serving.request import InferenceRequest
from wasi_nn.serving.settings import how_to_raise
from wasi_nn.serving.texts.conventions import outcome_of_text, wish_for_embeddings, wish_for_text
from wasi_nn.serving.texts.texts import Messages, TextRequest, Texts

if TYPE_CHECKING:
    from starlette.requests import Request

    from wasi_nn.serving.front import Front
    from wasi_nn.serving.models import Model
    from wasi_nn.serving.openai.prompts import EmbeddingRequest

_TOKENS_OF_COMPLETIONS = 16
"""The most tokens of a completion that doesn't say how many it wants, as OpenAI has it. A chat's are the graph's."""
_BYTES_OF_A_NUMBER = 8  # in JSON, about


class OpenAIEndpoints:
    """What the server does for each path."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._service = front.service
        self._texts = Texts(front.service, front.metrics.registry)
        self._began = int(time.time())

    def routes(self) -> list[Route]:
        """The routes of all paths."""
        return [
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
        ]

    @property
    def texts(self) -> Texts:
        """The texts that these paths have written."""
        return self._texts

    async def close(self) -> None:
        """End the processes that render templates."""
        await self._texts.close()

    async def models(self, request: Request) -> Response:
        """The language models that are loaded."""
        found = [model for model in self._service.models.all() if self._texts.is_language_model(model)]
        return as_json({"object": "list", "data": [self._described(model) for model in found]})

    async def model(self, request: Request) -> Response:
        """A language model that is loaded."""
        name = request.path_params["name"]
        model = self._service.models.find(name)
        if not self._texts.is_language_model(model):
            raise ServingError(Reason.NOT_FOUND, f"model {name!r} is no language model, or isn't loaded")
        return as_json(self._described(model))

    async def completions(self, request: Request) -> Any:
        """A text that continues a prompt."""
        with ExitStack() as stack:
            content = await self._content(request, stack)
            return await self._written(request, content, COMPLETION, prompt_of(content), stack)

    async def chat_completions(self, request: Request) -> Any:
        """A text that continues a conversation."""
        with ExitStack() as stack:
            content = await self._content(request, stack)
            return await self._written(request, content, CHAT, messages_of(content), stack)

    async def embeddings(self, request: Request) -> Response:
        """Embeddings of texts."""
        with ExitStack() as stack:
            content = await self._content(request, stack)
            wanted = read_embedding_request(content)
            model, until = model_of(content), self._service.until(None)
            vectors, tokens = await while_connected(
                request.receive, self._embedded(model, wanted.texts, until, request.scope["facts"])
            )
            body = await in_thread(lambda: _embeddings(model, wanted, vectors, tokens))
        return Response(body, media_type="application/json")

    async def _content(self, request: Request, stack: ExitStack) -> dict[str, Any]:
        """The JSON of a request, whose bytes are held until the stack is closed, and whose model is noted."""
        facts, limits = begin_work(request), self._service.limits
        with stage("body"):
            body = await read_body(request, limits, stack.enter_context(self._front.request_bytes.hold()))
        facts.bytes_in = len(body)
        with stage("parse"):
            if len(body) > LARGE_JSON:
                reading = partial(read_object, body, limits, in_pieces=True)
                content = await while_connected(
                    request.receive, self._front.long_calls.make(reading, self._service.until(None))
                )
            else:
                content = read_object(body, limits)
        facts.model = self._service.models.find(model_of(content)).name
        return content

    async def _written(
        self, request: Request, content: Mapping[str, Any], known: Known, prompt: str | Messages, stack: ExitStack
    ) -> Any:
        """The answer with a text, at once or as a stream. What the stack holds is closed at the end of the answer."""
        began = time.monotonic()
        facts, service = request.scope["facts"], self._service
        wanted, name, is_chat = read_text_parameters(content, known), model_of(content), known is CHAT
        options = wanted.options if is_chat else {"n-predict": _TOKENS_OF_COMPLETIONS, **wanted.options}
        asked = TextRequest(name, prompt, options, wanted.stops, service.until(None))
        note(lambda: wish_for_text(name, options, is_chat=is_chat, is_stream=wanted.is_stream))
        text = await while_connected(request.receive, self._texts.begin(asked))
        first = time.monotonic()
        stack.callback(text.close)
        facts.waited = text.waited

        def ended() -> None:
            facts.computed = time.monotonic() - began - facts.waited
            self._texts.count(name, text)
            note(lambda: outcome_of_text(name, answer.id, text.end, first - began))

        answer = new_answer(name, is_chat=is_chat)
        if wanted.is_stream:
            idle_time = service.limits.idle_time
            return EventStream(answer, text, stack.pop_all(), ended, idle_time, has_usage=wanted.has_usage)
        with stage("text"):
            whole = await while_connected(request.receive, text.whole())
        ended()
        assert text.end is not None  # the text has come to its end
        return as_json(answer.whole(whole, text.end))

    async def _embedded(self, model: str, texts: list[str], until: float, facts: Any) -> tuple[list[list[float]], int]:
        """The embeddings of texts, and the number of their tokens."""
        await self._texts.embedding_model(model, until)
        prompt = np.frombuffer(json.dumps(texts).encode(), np.uint8)
        options = np.frombuffer(b'{"batch": true}', np.uint8)
        inputs = [("prompt", prompt), ("options", options)]
        note(lambda: wish_for_embeddings(model))
        result = await self._service.infer(InferenceRequest(model, "", inputs, ("response", "metadata"), until))
        facts.waited, facts.computed = result.waited, result.computed
        (_, response), (_, metadata) = result.outputs
        vectors: list[list[float]] = (await in_thread(lambda: json.loads(response.tobytes())))["embeddings"]
        most = self._service.limits.json_bytes // _BYTES_OF_A_NUMBER
        if sum(map(len, vectors)) > most:
            message = f"the embeddings have more than {most} numbers ({how_to_raise('json_bytes')}): send fewer texts"
            raise ServingError(Reason.TOO_LARGE, message)
        tokens: int = json.loads(metadata.tobytes())["input_tokens"]
        note(lambda: {"gen_ai.usage.input_tokens": tokens})
        return vectors, tokens

    def _described(self, model: Model) -> dict[str, Any]:
        return {"id": model.name, "object": "model", "created": self._began, "owned_by": "wasi-nn"}


def _embeddings(model: str, wanted: EmbeddingRequest, vectors: list[list[float]], tokens: int) -> bytes:
    data = [
        {"object": "embedding", "index": place, "embedding": as_base64(vector) if wanted.is_base64 else vector}
        for place, vector in enumerate(vectors)
    ]
    counts = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": model, "usage": counts}).encode()
