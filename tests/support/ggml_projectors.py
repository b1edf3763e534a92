"""A tiny projector with random weights, which makes images into embeddings for the tiny language model: the vision
encoder of LLaVA with two layers, for images of 28 by 28 pixels in patches of 14."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import ggml_models
import gguf
from ggml_weights import Weights

PATCHES = 4

_SIDE, _PATCH, _WIDTH, _INNER, _LAYERS = 28, 14, 32, 64, 2


@cache
def projector(**keys: str) -> bytes:
    """The bytes of the projector. `keys` replace metadata."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mmproj.gguf"
        _write(path, keys)
        return path.read_bytes()


def _write(path: Path, keys: dict[str, str]) -> None:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("general.type", "mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", keys.get("clip.projector_type", "mlp"))
    writer.add_bool("clip.use_gelu", True)
    writer.add_uint32("clip.vision.image_size", _SIDE)
    writer.add_uint32("clip.vision.patch_size", _PATCH)
    writer.add_uint32("clip.vision.embedding_length", _WIDTH)
    writer.add_uint32("clip.vision.feed_forward_length", _INNER)
    writer.add_uint32("clip.vision.projection_dim", ggml_models.EMBEDDING)
    writer.add_uint32("clip.vision.block_count", _LAYERS)
    writer.add_uint32("clip.vision.attention.head_count", 2)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    weights = Weights(writer, 2, 0.2, _WIDTH)
    add, norm = weights.add, weights.norm

    add("v.patch_embd.weight", _WIDTH, 3, _PATCH, _PATCH)
    add("v.class_embd", _WIDTH)
    add("v.position_embd.weight", PATCHES + 1, _WIDTH)
    norm("v.pre_ln")
    for layer in range(_LAYERS):
        block = f"v.blk.{layer}"
        norm(f"{block}.ln1")
        norm(f"{block}.ln2")
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            add(f"{block}.{part}.weight", _WIDTH, _WIDTH)
            add(f"{block}.{part}.bias", _WIDTH)
        add(f"{block}.ffn_up.weight", _INNER, _WIDTH)
        add(f"{block}.ffn_up.bias", _INNER)
        add(f"{block}.ffn_down.weight", _WIDTH, _INNER)
        add(f"{block}.ffn_down.bias", _WIDTH)
    add("mm.0.weight", ggml_models.EMBEDDING, _WIDTH)
    add("mm.0.bias", ggml_models.EMBEDDING)
    add("mm.2.weight", ggml_models.EMBEDDING, ggml_models.EMBEDDING)
    add("mm.2.bias", ggml_models.EMBEDDING)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
