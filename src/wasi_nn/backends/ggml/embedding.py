"""Embeddings of texts, and the scores by which a reranker ranks documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wasi_nn.arguments import shown
from wasi_nn.backends.ggml.slots import interrupted
from wasi_nn.errors import ErrorCode, NNError, PromptTooLong, printable

if TYPE_CHECKING:
    from wasi_nn.backends.ggml.server import Engine
    from wasi_nn.backends.ggml.slots import Waiter

MAX_TEXTS = 4096
_AT_ONCE = 4  # texts for each slot, between which the work can be stopped
_EUCLIDEAN = 2


def embedded(engine: Engine, prompt: str, options: Mapping[str, Any], work: Waiter) -> tuple[str, int]:
    """The JSON for a graph's output, and the number of the texts' tokens.

    The prompt is a text; with the option `batch`, a JSON list of texts; with `reranking`, a JSON object with `query`
    and `documents`. Raises `NNError`: `invalid-argument` for a prompt that has another form, `too-large` for too many
    or too long texts.
    """
    if engine.settings.reranking:
        query, documents = _query(engine, prompt)
        scores: list[float] = []
        tokens = 0
        for some in _portions(engine, documents, work):
            got, count = engine.scores(query, some)
            scores, tokens = scores + got, tokens + count
        return json.dumps({"scores": scores}), tokens
    batch = options.get("batch", False)
    texts = _texts(engine, _parsed(prompt, list, "a list of texts"), "a list of texts") if batch else [prompt]
    embeddings: list[list[float]] = []
    tokens = 0
    for some in _portions(engine, texts, work):
        vectors, count = engine.embeddings(some, options.get("embd-normalize", _EUCLIDEAN))
        embeddings, tokens = embeddings + vectors, tokens + count
    values = {"embeddings": embeddings} if batch else {"embedding": embeddings[0]}
    return json.dumps({"n_embedding": len(embeddings[0]), **values}), tokens


def has_several_texts(engine: Engine, options: Mapping[str, Any]) -> bool:
    """Whether the prompt is JSON with several texts."""
    return engine.settings.reranking or (engine.settings.embedding and options.get("batch", False))


def _portions(engine: Engine, texts: list[str], work: Waiter) -> Any:
    size = _AT_ONCE * engine.settings.slots
    for first in range(0, len(texts), size):
        if work.is_stopped:
            raise interrupted()
        yield texts[first : first + size]


def _parsed(prompt: str, kind: type, what: str) -> Any:
    try:
        value = json.loads(prompt)
    except (ValueError, RecursionError) as error:
        reason = printable(str(error)[:200])
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the prompt must be {what} in JSON: {reason}") from error
    if not isinstance(value, kind):
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the prompt must be {what} in JSON, not a {type(value).__name__}")
    return value


def _query(engine: Engine, prompt: str) -> tuple[str, list[str]]:
    what = 'an object with "query" and "documents"'
    value = _parsed(prompt, dict, what)
    if not isinstance(value.get("query"), str) or not isinstance(value.get("documents"), list):
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"the prompt must be {what}, a text and a list of texts, in JSON")
    (query,) = _texts(engine, [value["query"]], what)
    return query, _texts(engine, value["documents"], what)


def _texts(engine: Engine, texts: list[Any], what: str) -> list[str]:
    if not 1 <= len(texts) <= MAX_TEXTS:
        code = ErrorCode.TOO_LARGE if texts else ErrorCode.INVALID_ARGUMENT
        raise NNError(code, f"the prompt has {len(texts)} texts: it must have 1 to {MAX_TEXTS}")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            message = f"the prompt must be {what} in JSON: its text {place} is {shown(text)}, not a string"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            message = f"the text {place} of the prompt has half a character, which isn't UTF-8"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message) from error
        if size > engine.most_bytes:
            context = engine.settings.context
            raise PromptTooLong(f"the text {place} has {size} bytes, and can't fit into a context of {context} tokens")
    return texts
