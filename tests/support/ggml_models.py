"""A tiny language model with random weights, written by the `gguf` package, and damaged variants of it.

It is a llama of two layers whose tokens are the single bytes and a few pieces. So it can tokenize any text; it writes
nonsense, but the same nonsense each time. A `steady` one writes the alphabet.
"""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np

CONTEXT = 256
EMBEDDING = 64

_LAYERS, _HEADS, _KV_HEADS, _INNER = 2, 4, 2, 128
_CONTROL = [b"<unk>", b"<s>", b"</s>"]
_BYTES = [f"<0x{byte:02X}>".encode() for byte in range(256)]
_PIECES = [piece.encode() for piece in [*"abcdefghijklmnopqrstuvwxyz", "in", "er", "on", "\u2581the", "\u2581of"]]


@cache
def tiny(**keys: Any) -> bytes:
    """The model's bytes. `keys` are additional metadata: text, whole numbers or booleans."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.gguf"
        _write(path, keys, _random_tensors())
        return path.read_bytes()


@cache
def steady(**keys: Any) -> bytes:
    """The bytes of a model that is so sure of the next token that rounding errors never change its texts. After a
    letter, it writes the next one of the alphabet; after the digit N, the letter number N; after other bytes, the next
    byte."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.gguf"
        tensors = _random_tensors()
        for name in [f"blk.{layer}.{part}" for layer in range(_LAYERS) for part in ("attn_output", "ffn_down")]:
            tensors[name] = np.zeros_like(tensors[name])  # so that only the last token counts
        embeddings = tensors["token_embd"]
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        tensors["output"] = np.zeros_like(embeddings)
        np.add.at(tensors["output"], [_follower(token) for token in range(len(embeddings))], 20 * embeddings)
        _write(path, keys, tensors)
        return path.read_bytes()


def adapter(after: str, comes: str, **keys: str) -> bytes:
    """A LoRA adapter of the steady model, which has it write another letter after one. `keys` replace metadata."""
    embeddings = _random_tensors()["token_embd"]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    first = len(_CONTROL) + len(_BYTES)
    one = np.zeros((len(embeddings), 1), np.float32)
    one[first + ord(comes) - ord("a")] = 1
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "adapter.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_string("general.type", "adapter")
        writer.add_string("adapter.type", keys.get("adapter.type", "lora"))
        writer.add_float32("adapter.lora.alpha", 1.0)
        writer.add_tensor("output.weight.lora_a", 60 * embeddings[None, first + ord(after) - ord("a")])
        writer.add_tensor("output.weight.lora_b", one)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _follower(token: int) -> int:
    first = len(_CONTROL) + len(_BYTES)
    letter, digit = token - first, token - len(_CONTROL) - ord("0")
    if 0 <= digit < 10:
        return first + digit
    return first + (letter + 1) % 26 if letter >= 0 else token + 1


def _write(path: Path, keys: dict[str, Any], tensors: dict[str, Any]) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(keys.get("llama.context_length", CONTEXT))
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(EMBEDDING // _HEADS)
    tokens = [*_CONTROL, *_BYTES, *_PIECES]
    kinds = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.BYTE] * len(_BYTES)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (len(tokens) - len(_PIECES)) + [-float(place) for place in range(len(_PIECES))])
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * len(_PIECES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    if "tokenizer.ggml.add_space_prefix" not in keys:
        writer.add_add_space_prefix(False)
    for key, value in keys.items():
        if key != "llama.context_length":
            add = {str: "add_string", bool: "add_bool", int: "add_uint32"}[type(value)]
            getattr(writer, add)(key, value)
    for name, weights in tensors.items():
        writer.add_tensor(f"{name}.weight", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _random_tensors() -> dict[str, Any]:
    numbers = np.random.default_rng(0)
    narrow = EMBEDDING // _HEADS * _KV_HEADS
    vocabulary = len(_CONTROL) + len(_BYTES) + len(_PIECES)
    tensors: dict[str, Any] = {}

    def add(name: str, *dims: int) -> None:
        weights = numbers.standard_normal(dims) * 0.05 if len(dims) > 1 else np.ones(dims)
        tensors[name] = weights.astype(np.float32)

    add("token_embd", vocabulary, EMBEDDING)
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        add(f"{block}.attn_norm", EMBEDDING)
        add(f"{block}.attn_q", EMBEDDING, EMBEDDING)
        add(f"{block}.attn_k", narrow, EMBEDDING)
        add(f"{block}.attn_v", narrow, EMBEDDING)
        add(f"{block}.attn_output", EMBEDDING, EMBEDDING)
        add(f"{block}.ffn_norm", EMBEDDING)
        add(f"{block}.ffn_gate", _INNER, EMBEDDING)
        add(f"{block}.ffn_up", _INNER, EMBEDDING)
        add(f"{block}.ffn_down", EMBEDDING, _INNER)
    add("output_norm", EMBEDDING)
    add("output", vocabulary, EMBEDDING)
    return tensors


_ABSURD = [
    *(number.to_bytes(4, "little") for number in (0, 1, 3, 7, 256, 65536, 2**31 - 1, 2**31, 2**32 - 1)),
    *(number.to_bytes(8, "little") for number in (0, 2**32, 2**63 - 1, 2**63, 2**64 - 1)),
]


def damaged(seed: int) -> bytes:
    """The model with a damaged header: some bytes changed, numbers made absurd, a bit flipped, or the end cut off."""
    chance = random.Random(seed)
    model = bytearray(tiny())
    header = len(model) - 4 * _weights()
    # The damage is in the metadata that describes the network, in the descriptions of the tensors, or anywhere.
    first, last = chance.choice([(8, 900), (header - 1700, header), (8, header)])
    at = chance.randrange(first, last - 8)
    if seed % 4 == 0:
        for _ in range(chance.randint(1, 3)):
            model[chance.randrange(first, last)] = chance.randrange(256)
    elif seed % 4 == 1:
        absurd = chance.choice(_ABSURD)
        model[at : at + len(absurd)] = absurd
    elif seed % 4 == 2:
        model[at] ^= 1 << chance.randrange(8)
    else:
        del model[chance.randrange(0, len(model)) :]
    return bytes(model)


def _weights() -> int:
    vocabulary = len(_CONTROL) + len(_BYTES) + len(_PIECES)
    narrow = EMBEDDING // _HEADS * _KV_HEADS
    layer = 2 * EMBEDDING + 2 * EMBEDDING * EMBEDDING + 2 * narrow * EMBEDDING + 3 * _INNER * EMBEDDING
    return 2 * vocabulary * EMBEDDING + _LAYERS * layer + EMBEDDING
