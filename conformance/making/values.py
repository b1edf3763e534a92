"""What the cases of core modules and those of components have in common: names, builders, tensors and values."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.making.guest_text import f32
from conformance.making.rules import (
    BYTES,
    DIMENSIONS,
    NAME,
    NO_MINUS,
    NO_MORE_BYTES,
    NUMBER_OF_BUILDERS,
    RANK,
    WRONG_BUILDERS,
    Rule,
    product,
)

FLOATS, RELU = f32(1, -2, 3, -4), f32(1, 0, 3, 0)

VALUES = {
    "f16": bytes.fromhex("0000003c00c000dc"),
    "f32": f32(0, 1, -2, 2**20),
    "f64": struct.pack("<4d", 0, 1, -2, 2**20),
    "bf16": bytes.fromhex("0000803f00c08043"),
    "u8": bytes([0, 1, 127, 255]),
    "i32": struct.pack("<4i", 0, 1, -2, 2**20),
    "i64": struct.pack("<4q", 0, 1, -2, 2**20),
}
"""Four values of each type."""
EDGES = {
    "f16": bytes.fromhex("007c00fcff7b0080"),  # infinity, -infinity, 65504, -0
    "f32": struct.pack("<4f", float("inf"), float("-inf"), 1.5, -0.5),
    "f64": struct.pack("<4d", 2.0**100, -(2.0**100), 1.5, -0.5),
    "bf16": bytes.fromhex("807f80ff7f7f0080"),  # infinity, -infinity, the largest number, -0
    "i32": struct.pack("<4i", -(2**31), 2**31 - 1, -1, 2**24 + 1),
    "i64": struct.pack("<4q", -(2**31), 2**31 - 1, -1, 2**24 + 1),
}
"""Large and small values of each type."""

# Names of graphs. A host may refuse a name for its length, its characters or its form, too.

UNKNOWN_NAMES = (
    ("unknown", "nobody", NAME),
    ("other-case", "RELU", "Letters in another case make another name, which no graph has."),
    ("prefix", "rel", "The beginning of a name is another name, which no graph has."),
    ("longer", "relus", "A name with more letters is another name, which no graph has."),
    ("space-before", " relu", "Spaces belong to a name, and no graph has this one."),
)
ODD_NAMES = (
    ("empty", "", "A name that no graph has is not found, also if it is empty."),
    ("with-nul", "relu\0", "A name has its given length, and is not ended by a NUL."),
    ("path", "./relu", "A name is no path."),
    ("path-up", "../relu/relu", "A name is no path."),
    ("file-of-the-host", "/etc/passwd", "A name never opens a file of the host."),
    ("model-file", "relu/model.onnx", "A name is no path."),
    ("long", "u" * 40000, "A name may have any length; no graph has this one."),
)
DECOMPOSED = "Names are compared as they are: ö in two characters is not ö in one."
NAMES = (
    ("two-letters", "größe"),
    ("three", "模型"),
    ("four", "🦀"),
    ("spaces", "my model"),
    ("dots", "my.model-1_b"),
)
NO_NAMES = (
    ("continuation", b"relu\x80"),
    ("cut-short", b"gr\xc3"),
    ("surrogate", b"\xed\xa0\x80"),
    ("overlong", b"\xc0\xaf"),
    ("ff", b"\xff\xff"),
)
"""Bytes that aren't UTF-8."""


@dataclass(frozen=True)
class Builders:
    """Builders that are no model: the word for the error that fits best, and the rule."""

    subject: str
    contents: Sequence[bytes]
    error: str
    says: Rule


def wrong_builders(model: Sequence[bytes]) -> Iterator[Builders]:
    """Builders that are no model, beside those of a model in some encoding."""
    none = NUMBER_OF_BUILDERS.saying("A model needs its builders: none of them is an invalid argument.")
    yield Builders("no-builder", [], "invalid-argument", none)
    yield Builders("builder-too-many", [*model, b"more"], "invalid-argument", NUMBER_OF_BUILDERS)
    many = NUMBER_OF_BUILDERS.saying("No encoding has thousands of builders.")
    yield Builders("5000-builders", [b""] * 5000, "invalid-argument", many)
    garbage = [b"This is no model at all, in any encoding." * 3] * len(model)
    yield Builders("empty-builders", [b""] * len(model), "runtime-error", WRONG_BUILDERS)
    yield Builders("garbage", garbage, "runtime-error", WRONG_BUILDERS)
    yield Builders("cut-short", [model[0][: len(model[0]) // 2], *model[1:]], "runtime-error", WRONG_BUILDERS)


UNFIT_TENSORS: Sequence[tuple[str, Sequence[int], bytes, Rule]] = (
    ("too-many-elements", [5], f32(1, 2, 3, 4, 5), DIMENSIONS),
    ("too-few-elements", [3], f32(1, 2, 3), DIMENSIONS),
    ("rank-too-high", [2, 2], FLOATS, RANK),
    ("no-dims", [], FLOATS, RANK),
    ("dim-0", [0], b"", DIMENSIONS),
    ("data-too-short", [4], FLOATS[:-4], BYTES),
    ("data-short-by-a-byte", [4], FLOATS[:-1], BYTES),
    ("data-too-long", [4], FLOATS + f32(5), NO_MORE_BYTES),
    ("data-long-by-a-byte", [4], FLOATS + b"\0", NO_MORE_BYTES),
    ("data-empty", [4], b"", BYTES),
    ("dims-overflow-32-bits", [65536, 65536], b"", product(32)),
    ("dims-overflow-64-bits", [2**31, 2**31, 4], b"", product(64)),
    ("dim-minus-1", [0xFFFFFFFF], FLOATS, NO_MINUS),
    ("rank-64", [1] * 63 + [4], FLOATS, RANK),
    ("rank-65", [1] * 64 + [4], FLOATS, RANK),
    ("rank-1000", [1] * 999 + [4], FLOATS, RANK),
)
"""Tensors of f32 that don't fit an input of four."""
