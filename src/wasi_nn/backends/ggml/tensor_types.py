"""Counts the tensors of a GGUF file by their types, and reads the keys of its header.

The file has no operators: llama.cpp makes them by the architecture.
"""

from __future__ import annotations

from collections import Counter

from wasi_nn.backends.ggml.gguf import is_gguf, read_header
from wasi_nn.errors import counted

_NAMES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


def tensor_types(model: memoryview) -> Counter[str] | None:
    """How many tensors have each type; None for bytes that are no GGUF file. Raises `NNError` with `invalid-encoding`
    for an invalid one."""
    if not is_gguf(model):
        return None
    types = read_header(model).tensor_types
    return Counter({_NAMES.get(kind, f"type {kind}"): count for kind, count in types.items()})


def header_texts(model: memoryview) -> dict[str, str] | None:
    """The keys of a header with their values, or with the length of an array; None for bytes that are no GGUF file.
    Raises as `tensor_types` does."""
    if not is_gguf(model):
        return None
    header = read_header(model)
    texts = {key: str(value) for key, value in header.keys.items()}
    return texts | {key: counted(length, "element") for key, length in header.lengths.items()}
