"""Values that the cases of wasi:nn share."""

from __future__ import annotations

import struct

from conformance.making.component_types import CODE
from conformance.making.guest_text import f32

FLOATS, RELU = f32(1, -2, 3, -4), f32(1, 0, 3, 0)
INVALID = CODE["invalid-argument"]
RUNTIME = CODE["runtime-error"]
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
