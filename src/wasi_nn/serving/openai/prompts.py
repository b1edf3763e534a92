"""Reads what a model is asked: a prompt, a conversation, or texts for embeddings."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wasi_nn.arguments import shown
from wasi_nn.errors import nearest
from wasi_nn.serving.openai.errors import WrongParameter, unsupported, wrong
from wasi_nn.serving.openai.parameters import as_text

_ROLES = ("system", "developer", "user", "assistant")
_MOST_MESSAGES = 4096
_MOST_TEXTS = 2048
_FORMATS = ("float", "base64")


def prompt_of(content: Mapping[str, Any]) -> str:
    """The prompt of a completion."""
    value = content.get("prompt")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        (value,) = value
    if isinstance(value, list):
        raise unsupported("prompt", "one prompt a request, and as a text: lists and tokens aren't supported")
    return as_text("prompt", value)


def messages_of(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a conversation, as chat templates know them: each has a role and a text."""
    messages = content.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= _MOST_MESSAGES:
        wanted = f"a list of 1 to {_MOST_MESSAGES} messages"
        raise WrongParameter("messages", f"'messages' is {wanted}, not {shown(messages)}")
    return [_message(f"messages[{place}]", message) for place, message in enumerate(messages)]


def _message(where: str, message: object) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise wrong(where, 'an object such as {"role": "user", "content": "..."}', message)
    role = message.get("role")
    if role in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
        raise unsupported(where, f"{where!r}: this server has no calls of tools")
    if role not in _ROLES:
        raise wrong(f"{where}.role", f"one of {', '.join(_ROLES)}", role)
    # Templates know the older word.
    read = {"role": "system" if role == "developer" else role, "content": _content(where, message.get("content"))}
    if message.get("name") is not None:
        read["name"] = as_text(f"{where}.name", message["name"])
    return read


def _content(where: str, content: object) -> str:
    if not isinstance(content, list):
        return as_text(f"{where}.content", content, "a text or a list of parts")
    texts = []
    for place, part in enumerate(content):
        name = f"{where}.content[{place}]"
        if not isinstance(part, dict):
            raise wrong(name, 'an object such as {"type": "text", "text": "..."}', part)
        if part.get("type") != "text":
            raise unsupported(name, f"{name!r} is a text: parts of type {shown(part.get('type'))} aren't supported")
        texts.append(as_text(f"{name}.text", part.get("text")))
    return "\n".join(texts)


@dataclass(frozen=True)
class EmbeddingRequest:
    """Texts whose embeddings are asked for, and whether each comes as base64 of 32-bit floats, little-endian."""

    texts: list[str]
    is_base64: bool


def read_embedding_request(content: Mapping[str, Any]) -> EmbeddingRequest:
    """The texts of a request for embeddings. Raises `WrongParameter`."""
    known = ("model", "input", "encoding_format", "dimensions", "user")
    for name in content:
        if name not in known:
            near = nearest(name, known) if len(name) < 200 else ""
            raise unsupported(name[:200], f"this call has no parameter {shown(name)}{near}")
    if "dimensions" in content:
        raise unsupported("dimensions", "embeddings have the size that the model gives: leave 'dimensions' out")
    value = content.get("input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not 1 <= len(texts) <= _MOST_TEXTS:
        raise wrong("input", f"a text or a list of 1 to {_MOST_TEXTS} texts", value)
    if any(isinstance(text, int | list) for text in texts):
        raise unsupported("input", "'input' is a text or a list of texts: tokens aren't supported")
    form = content.get("encoding_format", "float")
    if form not in _FORMATS:
        raise wrong("encoding_format", " or ".join(_FORMATS), form)
    return EmbeddingRequest([as_text("input", text) for text in texts], form == "base64")


def as_base64(vector: list[float]) -> str:
    """A vector as base64 of 32-bit floats, little-endian."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
