"""Has a built guest tell its making, which `wasi-nn inspect` shows. A step of a build; no guest imports it.

python made_by.py GUEST "componentize-py 0.25.1"
"""

from __future__ import annotations

import sys

SDK = "wasi-nn for Python 0.1.0"
SECTION = b"wasi_nn_sdk"


def section(tool: str) -> bytes:
    """The custom section of a guest that this tool built. It may stand behind all others."""
    lines = f"sdk {SDK}\nlanguage Python\nprocessed-by {tool}\n"
    return b"\0" + _sized(_sized(SECTION) + lines.encode())


def _sized(content: bytes) -> bytes:
    """Bytes after their number in LEB128."""
    size, left = bytearray(), len(content)
    while left >= 0x80:
        size.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((*size, left)) + content


if __name__ == "__main__":
    with open(sys.argv[1], "ab") as guest:
        guest.write(section(sys.argv[2]))
