"""Embeddings of texts by a server that speaks OpenAI's API, in the form that a model of llama.cpp gives them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wasi_nn.arguments import shown
from wasi_nn.errors import ErrorCode, NNError, printable

if TYPE_CHECKING:
    from wasi_nn.backends.openai.server import OpenAIServer
    from wasi_nn.backends.remote.calls import Call
    from wasi_nn.backends.remote.failover import Servers

_MOST_TEXTS = 4096


def embedded(servers: Servers[OpenAIServer], call: Call, prompt: str, *, has_several: bool) -> tuple[str, int]:
    """The JSON for a graph's output, and the number of the texts' tokens. The prompt is a text, or a list of texts in
    JSON.

    Raises `NNError`: `invalid-argument` for a prompt that has another form, `too-large` for too many texts.
    """
    texts = _texts(prompt) if has_several else [prompt]

    def ask(server: OpenAIServer) -> tuple[list[list[float]], int]:
        body = {"model": server.model, "input": texts, "encoding_format": "float"}
        return _vectors(server, server.answer(call, "/embeddings", body), len(texts))

    vectors, tokens = servers.ask(call, ask)
    values = {"embeddings": vectors} if has_several else {"embedding": vectors[0]}
    return json.dumps({"n_embedding": len(vectors[0]), **values}), tokens


def _texts(prompt: str) -> list[str]:
    try:
        texts = json.loads(prompt)
    except (ValueError, RecursionError) as error:
        reason = printable(str(error)[:200])
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the prompt must be a list of texts in JSON: {reason}") from error
    if not isinstance(texts, list) or any(not isinstance(text, str) for text in texts):
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the prompt must be a list of texts in JSON, not {shown(texts)}")
    if not 1 <= len(texts) <= _MOST_TEXTS:
        code = ErrorCode.TOO_LARGE if texts else ErrorCode.INVALID_ARGUMENT
        raise NNError(code, f"the prompt has {len(texts)} texts: it must have 1 to {_MOST_TEXTS}")
    return texts


def _vectors(server: OpenAIServer, answer: Mapping[str, Any], count: int) -> tuple[list[list[float]], int]:
    """The embeddings in the order of the texts, and the number of tokens (0 if the server doesn't tell)."""
    data, usage = answer.get("data"), answer.get("usage")
    if not isinstance(data, list) or len(data) != count:
        raise server.wrong(f"there aren't {count} embeddings")
    vectors: list[Sequence[float]] = [()] * count
    for item in data:
        index, vector = (item.get("index"), item.get("embedding")) if isinstance(item, dict) else (None, None)
        if type(index) is not int or not 0 <= index < count or vectors[index]:
            raise server.wrong("an embedding has no index of a text, or that of another one")
        if not isinstance(vector, list) or not vector or not all(map(_is_number, vector)):
            raise server.wrong("an embedding is no list of numbers")
        vectors[index] = vector
    if len({len(vector) for vector in vectors}) != 1:
        raise server.wrong("the embeddings have different lengths")
    tokens = usage.get("prompt_tokens", 0) if isinstance(usage, dict) else 0
    if type(tokens) is not int or not 0 <= tokens < 2**31:
        raise server.wrong("the numbers of tokens are none")
    return [list(vector) for vector in vectors], tokens


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
