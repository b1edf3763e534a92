"""Facts about texts by OpenTelemetry's names for generative models. The texts themselves are never among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasi_nn.serving.texts.text import TextEnd

_PROVIDER = {"gen_ai.provider.name": "wasi-nn"}

_OPTIONS = {
    "n-predict": "gen_ai.request.max_tokens",
    "temp": "gen_ai.request.temperature",
    "top-p": "gen_ai.request.top_p",
    "top-k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "presence-penalty": "gen_ai.request.presence_penalty",
    "frequency-penalty": "gen_ai.request.frequency_penalty",
}
"""The conventions' name for each option of a graph that a request may set."""


def wish_for_text(model: str, options: Mapping[str, Any], *, is_chat: bool, is_stream: bool) -> dict[str, Any]:
    """The facts about a text that is asked for."""
    about: dict[str, Any] = {
        "gen_ai.operation.name": "chat" if is_chat else "text_completion",
        "gen_ai.request.model": model,
        "gen_ai.output.type": "text",
    }
    about |= {name: options[option] for option, name in _OPTIONS.items() if option in options}
    about |= {"gen_ai.request.stream": True} if is_stream else {}
    return _PROVIDER | about


def outcome_of_text(model: str, answer: str, end: TextEnd | None, first: float) -> dict[str, Any]:
    """The facts about a text that was written. `first` are the seconds to its first token."""
    if end is None:
        return {}
    return {
        "gen_ai.response.model": model,
        "gen_ai.response.id": answer,
        "gen_ai.response.finish_reasons": ["stop" if end.is_complete else "length"],
        "gen_ai.response.time_to_first_chunk": first,
        "gen_ai.usage.input_tokens": end.prompt_tokens,
        "gen_ai.usage.output_tokens": end.tokens,
    }


def wish_for_embeddings(model: str) -> dict[str, Any]:
    """The facts about embeddings that are asked for."""
    return _PROVIDER | {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": model}
