"""Writes texts in OpenAI's form: whole, or as a stream of events."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from wasi_nn.serving.texts.text import TextEnd

DONE = b"data: [DONE]\n\n"
"""The last event of a stream."""


@dataclass(frozen=True)
class Answer:
    """The form of an answer: of a conversation or of a completion. All parts of one answer have its id."""

    model: str
    is_chat: bool
    id: str
    created: int

    def whole(self, text: str, end: TextEnd) -> dict[str, Any]:
        """All of a text at once."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": _reason(end), "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        return self._object("chat.completion" if self.is_chat else "text_completion", [choice]) | {"usage": usage(end)}

    def role(self, **more: Any) -> bytes:
        """The event that begins a conversation's stream; nothing for a completion."""
        return self._event([self._choice({"role": "assistant", "content": ""}, None)], more) if self.is_chat else b""

    def part(self, text: str, **more: Any) -> bytes:
        """The event for a part of a text."""
        return self._event([self._choice({"content": text} if self.is_chat else text, None)], more)

    def end(self, end: TextEnd, **more: Any) -> bytes:
        """The event for the end of a text."""
        return self._event([self._choice({} if self.is_chat else "", _reason(end))], more)

    def usage(self, end: TextEnd) -> bytes:
        """The event with the numbers of tokens."""
        return self._event([], {"usage": usage(end)})

    def _choice(self, what: Any, reason: str | None) -> dict[str, Any]:
        key = "delta" if self.is_chat else "text"
        return {"index": 0, key: what, "finish_reason": reason, "logprobs": None}

    def _event(self, choices: list[dict[str, Any]], more: dict[str, Any]) -> bytes:
        return event(self._object("chat.completion.chunk" if self.is_chat else "text_completion", choices) | more)

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def new_answer(model: str, *, is_chat: bool) -> Answer:
    """The form of an answer that begins now."""
    return Answer(model, is_chat, f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(12)}", int(time.time()))


def event(content: object) -> bytes:
    """An event of a stream."""
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def usage(end: TextEnd) -> dict[str, int]:
    """The numbers of tokens."""
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.tokens,
        "total_tokens": end.prompt_tokens + end.tokens,
    }


def _reason(end: TextEnd) -> str:
    return "stop" if end.is_complete else "length"
