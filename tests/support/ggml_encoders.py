"""Tiny encoders with random weights, which give embeddings or the scores of a reranker: a BERT of one layer, whose
tokens are letters and a few words."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import gguf
from ggml_weights import Weights

EMBEDDING = 32
CONTEXT = 64
MEAN, CLS, RANK = gguf.PoolingType.MEAN, gguf.PoolingType.CLS, 4

_INNER = 64
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = ["\u2581the", "\u2581cat", "\u2581dog", "\u2581sat", "\u2581ran"]
_LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *("\u2581" + letter for letter in "abcdefghijklmnopqrstuvwxyz")]


@cache
def bert(pooling: int) -> bytes:
    """The bytes of an encoder with this way of pooling."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.gguf"
        _write(path, pooling)
        return path.read_bytes()


def _write(path: Path, pooling: int) -> None:
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("tiny encoder")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_uint32("bert.pooling_type", int(pooling))
    tokens = [*_SPECIAL, *_WORDS, *_LETTERS]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.CONTROL] * len(_SPECIAL) + [gguf.TokenType.NORMAL] * (len(tokens) - len(_SPECIAL))
    writer.add_token_types(kinds)
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    weights = Weights(writer, 1, 0.3, EMBEDDING)
    add, norm = weights.add, weights.norm

    add("token_embd.weight", len(tokens), EMBEDDING)
    add("token_types.weight", 2, EMBEDDING)
    add("position_embd.weight", CONTEXT, EMBEDDING)
    norm("token_embd_norm")
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.0.{part}.weight", EMBEDDING, EMBEDDING)
        add(f"blk.0.{part}.bias", EMBEDDING)
    norm("blk.0.attn_output_norm")
    add("blk.0.ffn_up.weight", _INNER, EMBEDDING)
    add("blk.0.ffn_up.bias", _INNER)
    add("blk.0.ffn_down.weight", EMBEDDING, _INNER)
    add("blk.0.ffn_down.bias", EMBEDDING)
    norm("blk.0.layer_output_norm")
    if pooling == RANK:
        add("cls.output.weight", 1, EMBEDDING)
        add("cls.output.bias", 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
