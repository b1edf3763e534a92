"""What a guest tells about its making: the section `producers`, that of the SDKs, and Go's list of modules."""

from __future__ import annotations

import pytest

from wasi_nn.abi.producers import producers_of


def custom(name: str, content: bytes) -> bytes:
    body = bytes([len(name)]) + name.encode() + content
    size = len(body)
    leb = bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14))
    return b"\0asm\1\0\0\0\0" + leb + body


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", {}),
        (b"\x02\x03sdk\x01\x01x\x011\x08lang", {"sdk": ("x 1",)}),
        (b"\x01\x03sdk\xff\xff\xff\xff\x0f", {}),
        (b"\x01\x04evil\x01\x01x\x011", {}),
        (b"\x01\x03sdk\x02\x01x\x00\x01x\x00", {"sdk": ("x",)}),
        (b"\x01\x03sdk\x01\xd8\x04" + b"x" * 600 + b"\x011", {"sdk": ("x" * 200 + "...",)}),
        (b"\x01\x03sdk\x14" + b"".join(b"\x01%c\x00" % (97 + n) for n in range(20)), 16),
    ],
)
def test_a_damaged_section_of_producers_counts_as_far_as_it_goes(content: bytes, told: object) -> None:
    found = producers_of(custom("producers", content))
    assert (len(found["sdk"]) if isinstance(told, int) else found) == told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", {}),
        (b"sdk wasi-nn for C 1\nlanguage C\n", {"language": ("C",), "sdk": ("wasi-nn for C 1",)}),
        (b"language C\nlanguage C++\nlanguage C\n", {"language": ("C", "C++")}),
        (b"language\nlanguage  \n language C\nevil x\nsdk", {}),
        (b"sdk \xff\x1b[2J", {"sdk": ("\ufffd\x1b[2J",)}),
        (b"sdk " + b"x" * 60_000, {"sdk": ("x" * 200 + "...",)}),
        (b"".join(b"sdk %d\n" % number for number in range(100)), {"sdk": tuple(map(str, range(16)))}),
        (b"sdk x" + b"\nevil" * 20_000 + b"\nsdk y", {"sdk": ("x",)}),
    ],
)
def test_a_section_of_an_sdk_counts_as_far_as_it_makes_sense(content: bytes, told: object) -> None:
    assert producers_of(custom("wasi_nn_sdk", content)) == told


def test_what_an_sdk_tells_comes_first() -> None:
    guest = custom("producers", b"\x01\x08language\x01\x04Rust\x00") + custom("wasi_nn_sdk", b"language C\n")[8:]
    assert producers_of(guest) == {"language": ("C", "Rust")}


def test_the_sdk_for_go_is_among_its_modules() -> None:
    modules = bytes.fromhex("3077af0c9274080241e1c107e6d618e6") + b"path\tguest\nmod\tguest\ndep\twasinn\tv0.0.0\n"
    built_by_go = custom("producers", b"\x01\x08language\x01\x02Go\x08go1.27.3")
    assert producers_of(built_by_go + custom("data", modules)[8:])["sdk"] == ("wasi-nn for Go",)
    assert "sdk" not in producers_of(built_by_go + custom("data", modules[16:])[8:])
    assert producers_of(custom("data", modules)) == {}, "no linker of Go wrote it"
