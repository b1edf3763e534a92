"""A language model so small that one sees what it does: it continues the alphabet, and ends after z."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
CONTEXT = 128
_CONTROL = [b"<unk>", b"<s>", b"</s>"]
_END = 2
_BYTES = [f"<0x{byte:02X}>".encode() for byte in range(256)]
_WIDTH, _HEADS = 32, 2


def alphabet() -> bytes:
    """The model as GGUF: a llama whose only layer adds nothing. The embedding of a letter is a vector of its own, and
    its follower has the output for this vector. Every other token has the same vector, which the end follows."""
    import gguf
    import numpy as np

    tokens = [*_CONTROL, *_BYTES, *(letter.encode() for letter in LETTERS)]
    first = len(_CONTROL) + len(_BYTES)
    embeddings, outputs = (np.zeros((len(tokens), _WIDTH), np.float32) for _ in range(2))
    embeddings[:first, _WIDTH - 1] = 1
    outputs[_END, _WIDTH - 1] = 20
    for place in range(len(LETTERS)):
        embeddings[first + place, place] = 1
        outputs[first + place + 1 if place + 1 < len(LETTERS) else _END, place] = 20
    ones, square = np.ones(_WIDTH, np.float32), np.zeros((_WIDTH, _WIDTH), np.float32)
    tensors: dict[str, Any] = {"token_embd": embeddings, "output_norm": ones, "output": outputs}
    tensors |= {f"blk.0.{part}": ones for part in ("attn_norm", "ffn_norm")}
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        tensors[f"blk.0.{part}"] = square
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_name("alphabet")
        writer.add_file_type(gguf.LlamaFileType.ALL_F32)
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(_WIDTH)
        writer.add_block_count(1)
        writer.add_feed_forward_length(_WIDTH)
        writer.add_head_count(_HEADS)
        writer.add_head_count_kv(_HEADS)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(_WIDTH // _HEADS)
        writer.add_vocab_size(len(tokens))
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([0.0] * first + [-float(place) for place in range(len(LETTERS))])
        kinds = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.BYTE] * len(_BYTES)
        writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * len(LETTERS))
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(_END)
        writer.add_unk_token_id(0)
        writer.add_add_space_prefix(False)
        for name, weights in tensors.items():
            writer.add_tensor(f"{name}.weight", weights)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()
