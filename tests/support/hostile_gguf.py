"""Hostile GGUF models: a good model with absurd metadata, and headers made by hand."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack
from typing import Any

from ggml_models import tiny
from hostile import ENCODING, HARMLESS, INVALID, RUNTIME, UNSUPPORTED, corpus, isolated_only, made, refused

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
SIZES = {U32: 4, F32: 4, BOOL: 1, U64: 8}


def header(*parts: bytes, tensors: int = 0, keys: int = 0) -> bytes:
    """A header that declares so many keys and tensors, followed by these parts."""
    return b"GGUF" + pack("<IQQ", 3, tensors, keys) + b"".join(parts)


def text(content: bytes) -> bytes:
    return pack("<Q", len(content)) + content


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + pack("<I", kind) + value


LLAMA = key(b"general.architecture", STRING, text(b"llama"))


def with_value(name: bytes, value: bytes) -> bytes:
    """The good model with another value for a key, as long as the old value."""
    model = bytearray(tiny())
    at = model.index(text(name)) + 8 + len(name) + 4
    model[at : at + len(value)] = value
    return bytes(model)


def with_number(name: str, value: int) -> bytes:
    """The good model with another number for a key of its architecture."""
    return with_value(f"llama.{name}".encode(), pack("<I", value))


def with_key(name: str, value: Any) -> bytes:
    """The good model with one key more."""
    return tiny(**{name: value})


def without_key(name: bytes, other: bytes) -> bytes:
    """The good model with a key of another name instead of this one."""
    assert len(name) == len(other)
    return tiny().replace(text(name), text(other), 1)


def with_tensor(name: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The good model with a changed description of a tensor; `change` gets the part after the tensor's name."""
    model = bytearray(tiny())
    at = model.index(text(name)) + 8 + len(name)
    rank = int.from_bytes(model[at : at + 4], "little")
    size = 4 + 8 * rank + 4 + 8
    new = change(bytes(model[at : at + size]))
    assert len(new) == size
    model[at : at + size] = new
    return bytes(model)


def with_array_of(name: bytes, count: int) -> bytes:
    """The good model with an array that declares so many elements."""
    model = bytearray(tiny())
    at = model.index(text(name)) + 8 + len(name) + 8
    model[at : at + 8] = pack("<Q", count)
    return bytes(model)


def with_types(kind: int) -> bytes:
    """The good model with all tokens of this type."""
    return _with_elements(b"tokenizer.ggml.token_type", pack("<i", kind))


def with_scores(score: bytes) -> bytes:
    """The good model with this score for all tokens."""
    return _with_elements(b"tokenizer.ggml.scores", score)


def _with_elements(name: bytes, element: bytes) -> bytes:
    """The good model with an array whose elements, of four bytes each, all have this value."""
    model = bytearray(tiny())
    at = model.index(text(name)) + 8 + len(name) + 16
    count = int.from_bytes(model[at - 8 : at], "little")
    model[at : at + 4 * count] = element * count
    return bytes(model)


def with_weights(pattern: bytes) -> bytes:
    """The good model with weights that repeat these bytes."""
    model = tiny()
    size = len(model) // 2 // len(pattern) * len(pattern)
    return model[:-size] + pattern * (size // len(pattern))


QUERY, NORM = b"blk.0.attn_q.weight", b"output_norm.weight"

MODELS = corpus(
    "ggml",
    {
        refused(ENCODING): [
            made("2^63 tensors", header, LLAMA, keys=1, tensors=1 << 63),
            made("2^64 - 1 keys", header, LLAMA, keys=(1 << 64) - 1),
            made("a string of 2^63 bytes", header, key(b"a", STRING, pack("<Q", 1 << 63)), keys=1),
            made("an array of 2^63 numbers", header, key(b"a", ARRAY, pack("<IQ", U64, 1 << 63)), keys=1),
            made(
                "an array of 2^61 numbers whose size overflows",
                header,
                key(b"a", ARRAY, pack("<IQ", U64, 1 << 61)),
                keys=1,
            ),
            made("an array of 2^62 strings", header, key(b"a", ARRAY, pack("<IQ", STRING, 1 << 62)), keys=1),
            made("arrays in arrays", header, key(b"a", ARRAY, pack("<IQ", ARRAY, 1) * 10_000), keys=1),
            made("an alignment of 0", with_key, "general.alignment", 0),
            made("an alignment of 3", with_key, "general.alignment", 3),
            made("an alignment of 2^31", with_key, "general.alignment", 1 << 31),
            made("2^31 layers", with_number, "block_count", 1 << 31),
            made("no layers", with_number, "block_count", 0),
            made("a context of 2^32 - 1 tokens", with_number, "context_length", (1 << 32) - 1),
            made("embeddings of 0 numbers", with_number, "embedding_length", 0),
            made("0 heads", with_number, "attention.head_count", 0),
            made("0 heads for keys and values", with_number, "attention.head_count_kv", 0),
            made("0 dimensions that are turned", with_number, "rope.dimension_count", 0),
            made("2^20 experts", with_key, "llama.expert_count", 1 << 20),
            made("experts of which more are used than there are", with_key, "llama.expert_used_count", 100),
            made(
                "an epsilon that is no number",
                with_value,
                b"llama.attention.layer_norm_rms_epsilon",
                pack("<f", float("nan")),
            ),
            made("2^63 tokens", with_array_of, b"tokenizer.ggml.tokens", 1 << 63),
            made("fewer tokens than there are strings", with_array_of, b"tokenizer.ggml.tokens", 3),
            made("fewer scores than tokens", with_array_of, b"tokenizer.ggml.scores", 1),
            made("a tensor of 2^62 numbers", with_tensor, NORM, lambda old: old[:4] + pack("<Q", 1 << 62) + old[12:]),
            made(
                "a tensor of dims that overflow",
                with_tensor,
                QUERY,
                lambda old: old[:4] + pack("<QQ", 1 << 32, 1 << 32) + old[20:],
            ),
            made(
                "a tensor of dims whose product is small by overflow",
                with_tensor,
                QUERY,
                lambda old: old[:4] + pack("<QQ", (1 << 63) + 64, 2) + old[20:],
            ),
            made("a tensor of 2^32 - 1 dims", with_tensor, QUERY, lambda old: pack("<I", (1 << 32) - 1) + old[4:]),
            made("a tensor after the end of the file", with_tensor, QUERY, lambda old: old[:-8] + pack("<Q", 1 << 40)),
            made(
                "a tensor at a place that overflows",
                with_tensor,
                QUERY,
                lambda old: old[:-8] + pack("<Q", (1 << 64) - 32),
            ),
            ("options that aren't JSON", lambda _: [tiny(), b"{" * 100_000]),
        ],
        refused(INVALID): [
            ("three builders", lambda _: [tiny(), b"{}", b""]),
        ],
        refused(RUNTIME): [
            made("500 layers of which two are there", with_number, "block_count", 500),
            made("embeddings of 2^20 numbers", with_number, "embedding_length", 1 << 20),
            made("embeddings of 63 numbers", with_number, "embedding_length", 63),
            made("65,536 heads", with_number, "attention.head_count", 1 << 16),
            made("3 heads", with_number, "attention.head_count", 3),
            made("more heads for keys and values than there are", with_number, "attention.head_count_kv", 1 << 16),
            made("a feed-forward length of 0", with_number, "feed_forward_length", 0),
            made("a feed-forward length of 2^32 - 1", with_number, "feed_forward_length", (1 << 32) - 1),
            made("65,535 dimensions that are turned", with_number, "rope.dimension_count", 65_535),
            made(
                "an epsilon of another type",
                without_key,
                b"llama.attention.layer_norm_rms_epsilon",
                b"llama.attention.layer_norm_rms_epsilox",
            ),
            made("another architecture", with_value, b"general.architecture", text(b"bertx")),
            made("an architecture that needs other tensors", with_value, b"general.architecture", text(b"mamba")),
            made("a tokenizer that doesn't exist", with_value, b"tokenizer.ggml.model", text(b"evil!")),
            made("a tokenizer that needs merges", with_value, b"tokenizer.ggml.model", text(b"gpt2 "[:5])),
            made("no tokens", without_key, b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenx"),
            made("tokens that are all bytes", with_types, 6),
            made("a tensor of other dims", with_tensor, QUERY, lambda old: old[:4] + pack("<QQ", 32, 32) + old[20:]),
            made(
                "a tensor of a type that doesn't exist",
                with_tensor,
                QUERY,
                lambda old: old[:-12] + pack("<I", 999) + old[-8:],
            ),
            made(
                "a tensor of a type that was removed",
                with_tensor,
                QUERY,
                lambda old: old[:-12] + pack("<I", 4) + old[-8:],
            ),
            made("a tensor of 8-bit numbers", with_tensor, QUERY, lambda old: old[:-12] + pack("<I", 24) + old[-8:]),
        ],
        refused(UNSUPPORTED): [
            made("the first of 1,000 files", with_key, "split.count", 1_000),
        ],
        HARMLESS: [
            made("a context of 2^30 tokens", with_number, "context_length", 1 << 30),
            made("a vocabulary of 2^32 - 1", with_number, "vocab_size", (1 << 32) - 1),
            made("a vocabulary of 1", with_number, "vocab_size", 1),
            made("the first token at 2^32 - 1", with_value, b"tokenizer.ggml.bos_token_id", pack("<I", (1 << 32) - 1)),
            made("the last token at 2^31", with_value, b"tokenizer.ggml.eos_token_id", pack("<I", 1 << 31)),
            made("a mask token after the vocabulary", with_key, "tokenizer.ggml.mask_token_id", 1 << 20),
            made("no scores", without_key, b"tokenizer.ggml.scores", b"tokenizer.ggml.scorex"),
            made("no kinds of tokens", without_key, b"tokenizer.ggml.token_type", b"tokenizer.ggml.token_typx"),
            made("tokens of a kind that doesn't exist", with_types, 1 << 30),
            made("tokens that are all control tokens", with_types, 3),
            made("tokens that are all unused", with_types, 5),
            made("scores that are no numbers", with_scores, pack("<f", float("nan"))),
            made(
                "a chat template without end",
                with_key,
                "tokenizer.chat_template",
                "{% for i in range(1000000000) %}x{% endfor %}",
            ),
            made("a chat template of depth 100,000", with_key, "tokenizer.chat_template", "{{" + "(" * 100_000),
            made("weights that are no numbers", with_weights, pack("<f", float("nan"))),
            made("weights that are infinite", with_weights, pack("<f", float("inf"))),
        ],
        isolated_only("llama.cpp multiplies by weights of any type, and some have no such product"): [
            made("a tensor of whole numbers", with_tensor, QUERY, lambda old: old[:-12] + pack("<I", 26) + old[-8:]),
        ],
    },
)
