"""A model's own form of a conversation: the chat template in its header, and the tokens that the template names.

A template is a program of the model. Nothing here runs it.
"""

from __future__ import annotations

from dataclasses import dataclass

from wasi_nn.backends.ggml.gguf import Header, Value, read_header, read_token

_TEMPLATE = "tokenizer.chat_template"
_LONGEST = 1 << 20  # characters of a template
_BEGINS = ("llama-bpe", "llama3", "llama-v3", "falcon3", "tekken", "chameleon", "deepseek-llm", "deepseek-coder")
"""The tokenizers of pairs of bytes that begin a text with a token of their own, unless the header says otherwise."""


@dataclass(frozen=True)
class ChatFormat:
    """The form of a model's conversations.

    template    the template, in Jinja's language
    begin, end  the texts of the tokens that begin and end a text; empty where the model has none
    has_begin   whether llama.cpp puts the first of them before a prompt, so that the prompt must not have it
    """

    template: str
    begin: str
    end: str
    has_begin: bool


def read_chat_format(model: memoryview) -> ChatFormat | None:
    """The form of a model's conversations, from the bytes of its file; None if it has no template, or one of more than
    a million characters. Raises `NNError` with `invalid-encoding` for an invalid header."""
    header = read_header(model)
    template = header.keys.get(_TEMPLATE)
    if not isinstance(template, str) or not template or len(template) > _LONGEST:
        return None
    begin, end = (_text_of(model, header, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos"))
    return ChatFormat(template, begin, end, _has_begin(header.keys))


def _text_of(model: memoryview, header: Header, key: str) -> str:
    number = header.keys.get(key)
    return read_token(model, header, number) if type(number) is int else ""


def _has_begin(keys: dict[str, Value]) -> bool:
    says = keys.get("tokenizer.ggml.add_bos_token")
    if isinstance(says, bool):
        return says
    return keys.get("tokenizer.ggml.model") == "llama" or keys.get("tokenizer.ggml.pre") in _BEGINS
