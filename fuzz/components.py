"""Target: files of guests. A guest is read, and wrapped with the bridge before the engine has validated it.

Both raise only `GuestError`; the engine refuses or compiles the wrapped component.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from wasmtime import Config, Engine, WasmtimeError
from wasmtime.component import Component

from fuzz.checks import refusals
from wasi_nn import GuestError, wrap_component
from wasi_nn.abi.wasm_binary import COMPONENT_HEADER, memories_of
from wasi_nn.guests import guest_file
from wasi_nn.guests.makes import why_not_compiled

MAX_SIZE = 32768

_MAX_COMPILED = 1500  # bytes: compiling larger ones would take most of the time
_MAX_U32 = 5  # bytes

Section = tuple[int, bytes]


def _engine() -> Engine:
    config = Config()
    config.cranelift_opt_level = "none"
    config.parallel_compilation = False
    return Engine(config)


_ENGINE = _engine()


def run(data: bytes) -> None:
    """Read and wrap one guest."""
    with refusals(GuestError):
        guest_file.read(data)
    wrapped = data
    with refusals(GuestError):
        wrapped = wrap_component(data)
    assert memories_of(wrapped) >= memories_of(data)
    assert (why_not_compiled(data) or "none").isprintable()
    if wrapped is not data and len(data) <= _MAX_COMPILED and _compiles(wrapped):
        assert _compiles(wrap_component(data, direct=False)), "the shim makes no invalid guest valid"


def _compiles(component: bytes) -> bool:
    try:
        Component(_ENGINE, component)
    except WasmtimeError:
        return False
    return True


def mutate(data: bytes, max_size: int, seed: int, change: Callable[[bytes, int], bytes]) -> bytes:
    """Change the bytes of one section, or the order or number of sections; sometimes anything, headers too."""
    numbers = random.Random(seed)
    sections = _sections(data)
    if not sections or numbers.random() < 0.2:
        return change(data, max_size)
    place = numbers.randrange(len(sections))
    number, body = sections[place]
    match numbers.randrange(8):
        case 0:
            del sections[place]
        case 1:
            sections.insert(numbers.randrange(len(sections) + 1), sections[place])
        case 2:
            other = numbers.randrange(len(sections))
            sections[place], sections[other] = sections[other], sections[place]
        case 3:
            sections[place] = (numbers.randrange(16), body)
        case _:
            sections[place] = (number, change(body, max(1, min(max_size, 2 * len(body) + 64))))
    return _joined(sections)[:max_size]


def _sections(data: bytes) -> list[Section]:
    """The sections of a component, as far as they can be read."""
    sections: list[Section] = []
    at = len(COMPONENT_HEADER)
    while data.startswith(COMPONENT_HEADER) and at < len(data):
        number, at = data[at], at + 1
        size, shift = 0, 0
        for byte in data[at : at + _MAX_U32]:
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        sections.append((number, data[at : at + size]))
        at += size
    return sections


def _joined(sections: list[Section]) -> bytes:
    return COMPONENT_HEADER + b"".join(bytes((number,)) + _u32(len(body)) + body for number, body in sections)


def _u32(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return encoded + bytes((value,))
