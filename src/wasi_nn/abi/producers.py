"""Reads what a guest tells about its making: its languages, its compilers, and the SDK that it is written with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from wasi_nn.abi.wasm_binary import Malformed, WasmReader, all_sections
from wasi_nn.errors import shortened

SECTION = "wasi_nn_sdk"
"""The custom section of the SDKs for guests: lines of text, each a field of `FIELDS` and a value. Linkers keep it where
they strip the section `producers`. A guest of several files may have a line several times."""
FIELDS = ("language", "processed-by", "sdk")
"""The fields of both sections: languages, the tools that made the guest, and SDKs."""

_CUSTOM = 0
_MOST = 16  # values of a field; a guest has two or three
_LONGEST = 200  # characters of a value
_MOST_BYTES = 1 << 16  # of the SDKs' section
# What Go's linker writes of the modules of a program: `go version -m` reads the same.
_GO_BEGIN = bytes.fromhex("3077af0c9274080241e1c107e6d618e6")
_GO_MOST_BYTES = 1 << 20
_GO_SDK = b"\ndep\twasinn\t"


def producers_of(content: bytes | memoryview) -> dict[str, tuple[str, ...]]:
    """The tools that made a guest and its parts: `language`, `processed-by` and `sdk`, each with names and their
    versions, such as `clang 21.1.0`. What the SDK tells comes first: a component's `producers` also have the languages
    of its runtime. A malformed section counts as far as it can be read."""
    of_sdk, of_tools = _Told(), _Told()
    for _, number, body in all_sections(content):
        if number == _CUSTOM:
            with suppress(Malformed):
                reader = WasmReader(body)
                name = reader.name()
                if name == SECTION:
                    of_sdk.add_all(_lines(reader))
                elif name == "producers":
                    of_tools.add_all(_producers(reader))
    if any(language.startswith("Go ") for language in of_tools.fields["language"]):
        of_sdk.add_all(_sdk_of_go(content))
    told = {field: tuple({**of_sdk.fields[field], **of_tools.fields[field]}) for field in FIELDS}
    return {field: values for field, values in told.items() if values}


class _Told:
    """The values of each field, in the order in which they are told."""

    def __init__(self) -> None:
        self.fields: dict[str, dict[str, None]] = {field: {} for field in FIELDS}

    def add_all(self, pairs: Iterator[tuple[str, str]]) -> None:
        for field, value in pairs:
            values = self.fields.get(field)
            if values is not None and len(values) < _MOST:
                values[shortened(value, _LONGEST)] = None


def _producers(reader: WasmReader) -> Iterator[tuple[str, str]]:
    for _ in range(reader.u32()):
        field = reader.name()
        for _ in range(reader.u32()):
            yield field, f"{reader.name()} {reader.name()}".strip()


def _lines(reader: WasmReader) -> Iterator[tuple[str, str]]:
    text = bytes(reader.content[reader.at : reader.at + _MOST_BYTES]).decode(errors="replace")
    for line in text.split("\n"):
        field, _, value = line.partition(" ")
        if value.strip():
            yield field, value.strip()


def _sdk_of_go(content: bytes | memoryview) -> Iterator[tuple[str, str]]:
    """The SDK for Go, if Go's linker lists it among the modules: a program in Go has no custom sections of its own."""
    content = bytes(content)
    begin = content.find(_GO_BEGIN)
    if begin >= 0 and content.find(_GO_SDK, begin, begin + _GO_MOST_BYTES) >= 0:
        yield "sdk", "wasi-nn for Go"
