"""Cases of `wasi_nn_ext`, the extensions for core modules: outputs piece by piece, and byte strings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conformance.making.case import TRAP, Case, case
from conformance.making.core_extensions import ABI, INVALID, guest
from conformance.making.core_guest import (
    ANY_ERROR,
    INVALID_ARGUMENT,
    RUNTIME_ERROR,
    TOO_LARGE,
    U8,
    UNSUPPORTED_OPERATION,
    CoreGuest,
    In,
)
from conformance.making.guest_text import PAGE, f32, u32


def sequences() -> Iterator[Case]:
    """Outputs piece by piece, on a model that continues the alphabet."""
    area = f"{ABI}/sequences"

    def begun(text: bytes) -> CoreGuest:
        g = guest()
        g.context("alphabet")
        g.set_input(0, [len(text)], text, U8)
        g.call("begin_sequence", In(g.slot("context")))
        return g

    def step(g: CoreGuest, more: int) -> None:
        g.call("next_of_sequence", In(g.slot("context")), g.slot("more"))
        g.say("more", In(g.slot("more")), more)

    def piece(g: CoreGuest, content: bytes) -> None:
        step(g, 1)
        g.get_output(content, label="piece")

    def refuses_next(g: CoreGuest) -> None:
        g.call("next_of_sequence", In(g.slot("context")), g.slot("more"), **INVALID)

    g = begun(b"x")
    piece(g, b"y")
    piece(g, b"z")
    step(g, 0)
    g.get_output(b"yz", label="whole")
    yield case(f"{area}/pieces", "After a piece get_output gives the piece, after the last one the whole output.", g)
    g = begun(b"y")
    piece(g, b"z")
    step(g, 0)
    step(g, 0)
    yield case(f"{area}/after-the-last", "After the last piece there is none, however often the guest asks.", g)
    g = begun(b"a")
    piece(g, b"b")
    g.call("end_sequence", In(g.slot("context")))
    refuses_next(g)
    g.call(
        "get_output", In(g.slot("context")), 0, g.buffer(16), 16, g.slot("written"), best=RUNTIME_ERROR, others=("1",)
    )
    yield case(
        f"{area}/end-early", "end_sequence ends a sequence early and drops its outputs. Hosts differ in the errno.", g
    )
    g = guest()
    g.context("alphabet")
    refuses_next(g)
    yield case(f"{area}/next-before-begin", "Where no sequence is under way, its next piece is no valid argument.", g)
    g = guest()
    g.context("alphabet")
    g.call("end_sequence", In(g.slot("context")))
    yield case(f"{area}/end-of-none", "end_sequence does nothing if no sequence is under way.", g)
    g = begun(b"a")
    piece(g, b"b")
    g.set_input(0, [1], b"m", U8)
    refuses_next(g)
    g.call("begin_sequence", In(g.slot("context")))
    piece(g, b"n")
    yield case(f"{area}/new-input", "A new input ends the sequence.", g)
    g = begun(b"w")
    piece(g, b"x")
    g.compute()
    refuses_next(g)
    g.get_output(b"xyz")
    yield case(f"{area}/compute", "A compute ends the sequence.", g)
    g = begun(b"w")
    piece(g, b"x")
    g.call("begin_sequence", In(g.slot("context")))
    piece(g, b"x")
    yield case(f"{area}/begin-twice", "A context has one sequence at a time: another one ends the first.", g)
    g = begun(b"a")
    g.init(into="second")
    g.set_input(0, [1], b"m", U8, context="second")
    g.call("begin_sequence", In(g.slot("second")))
    piece(g, b"b")
    g.call("next_of_sequence", In(g.slot("second")), g.slot("more"))
    g.get_output(b"n", context="second")
    piece(g, b"c")
    yield case(f"{area}/two-contexts", "Each context has a sequence of its own.", g)
    g = guest()
    g.context("relu")
    g.set_input(0, [4], f32(1, -2, 3, -4))
    g.call("begin_sequence", In(g.slot("context")), best=UNSUPPORTED_OPERATION)
    yield case(f"{area}/of-no-language-model", "Graphs that give their outputs at once have no sequences.", g)
    g = guest()
    g.context("alphabet")
    g.call("begin_sequence", In(g.slot("context")), best=INVALID_ARGUMENT, others=(ANY_ERROR,))
    yield case(f"{area}/without-input", "A sequence begins on the inputs that are set. Hosts differ in the errno.", g)
    g = guest()
    for function in ("begin_sequence", "end_sequence"):
        g.call(function, 12345, **INVALID)
    g.call("next_of_sequence", 12345, g.slot("more"), **INVALID)
    yield case(f"{area}/handle-12345", "A number that isn't a context's handle is an invalid argument.", g)
    g = begun(b"a")
    g.call("next_of_sequence", In(g.slot("context")), PAGE - 2, best=TRAP)
    yield case(f"{area}/out-pointer-past-memory", "A pointer out of bounds traps, as in the core ABI.", g)


def packed(*strings: bytes) -> bytes:
    """Strings as they cross: the end of each one, and the bytes of all."""
    ends = [sum(map(len, strings[: place + 1])) for place in range(len(strings))]
    return u32(*ends) + b"".join(strings)


UNFIT: dict[str, tuple[list[int], bytes, str]] = {
    "ends-fall": ([2], u32(2, 1) + b"ab", "The ends of strings must rise."),
    "too-short": ([2], u32(2, 4) + b"abc", "The last end must be the number of bytes after the ends."),
    "too-long": ([2], u32(1, 2) + b"abc", "The last end must be the number of bytes after the ends."),
    "no-ends": ([2], u32(0), "Each string of the dimensions must have an end."),
    "end-overflows": ([1], u32(0xFFFFFFFF) + b"a", "The last end must be the number of bytes after the ends."),
    "dims-overflow": ([65536, 65536], b"", "A tensor has 1,048,576 strings at most."),
    "rank-too-high": ([1, 2], packed(b"a", b"b"), "The number of dimensions must be the graph's."),
}
"""Strings that the graph `strings` must not take: dimensions, data, and the rule."""


def byte_strings() -> Iterator[Case]:
    """Tensors of strings."""
    area = f"{ABI}/byte_strings"

    def put(g: CoreGuest, dims: Sequence[int], data: bytes, index: int = 0, **expected: Any) -> None:
        dims_at, at = g.data("dims", u32(*dims)), g.data("strings", data)
        g.call("set_byte_strings", In(g.slot("context")), index, dims_at, len(dims), at, len(data), **expected)

    def get(g: CoreGuest, expected: bytes) -> None:
        buffer, written = g.buffer(max(len(expected), 4)), g.slot("written")
        g.call("get_byte_strings", In(g.slot("context")), 0, buffer, len(expected), written)
        g.say("written", In(written), len(expected))
        g.show("strings", buffer, expected)

    for subject, strings, says in (
        ("works", (b"ab", b"c"), "A tensor of strings crosses as the ends of the strings, and their bytes."),
        ("empty-strings", (b"", b"a", b""), "Strings may be empty."),
        ("zero-bytes", (b"\0", b"a\0b", b"\0\0"), "Strings may have zeros."),
        ("none", (), "A dimension may be 0."),
    ):
        g = guest()
        g.context("strings")
        put(g, [len(strings)], packed(*strings))
        g.compute()
        get(g, packed(*strings))
        yield case(f"{area}/{subject}", says, g)
    for subject, (dims, data, says) in UNFIT.items():
        g = guest()
        g.context("strings")
        put(g, [1], packed(b"before"))
        put(g, dims, data, best=TOO_LARGE if subject == "dims-overflow" else INVALID_ARGUMENT)
        g.compute()
        get(g, packed(b"before"))
        yield case(f"{area}/{subject}", f"{says} The input stays as it was.", g)
    g = guest()
    g.context("strings")
    put(g, [1], packed(b"abc"))
    g.compute()
    buffer, written = g.buffer(8), g.slot("written")
    for room in (0, 6):
        g.call("get_byte_strings", In(g.slot("context")), 0, buffer, room, written, best=TOO_LARGE)
        g.say("written", In(written), 7)
        g.show("buffer", buffer, b"\xee" * 8)
    g.call("get_byte_strings", In(g.slot("context")), 0, buffer, 7, written)
    g.show("buffer", buffer, packed(b"abc") + b"\xee")
    yield case(f"{area}/too-small", "Strings that don't fit are too large; the buffer stays, and the size is told.", g)
    g = guest()
    g.context("strings")
    put(g, [1], packed(b"a"), 1, **INVALID)
    put(g, [1], packed(b"a"))
    g.compute()
    g.call("get_byte_strings", In(g.slot("context")), 1, g.buffer(16), 16, g.slot("written"), **INVALID)
    yield case(f"{area}/index-1", "An index that the graph doesn't have is an invalid argument.", g)
    g = guest()
    g.context("relu")
    put(g, [4], packed(b"a", b"b", b"c", b"d"), **INVALID)
    g.relu()
    g.call("get_byte_strings", In(g.slot("context")), 0, g.buffer(16), 16, g.slot("written"), **INVALID)
    yield case(f"{area}/of-numbers", "A tensor of numbers takes and gives no strings.", g)
    g = guest()
    arguments = (12345, 0, g.data("dims", u32(1)), 1, g.data("strings", packed(b"a")), 5)
    g.call("set_byte_strings", *arguments, **INVALID)
    g.call("get_byte_strings", 12345, 0, g.buffer(16), 16, g.slot("written"), **INVALID)
    yield case(f"{area}/handle-12345", "A number that isn't a context's handle is an invalid argument.", g)
    g = guest()
    g.context("strings")
    put(g, [1], packed(b"a"))
    dims = g.data("dims", u32(1))
    g.call("set_byte_strings", In(g.slot("context")), 0, dims, 1, PAGE - 4, 5, best=TRAP)
    yield case(f"{area}/past-memory", "A pointer out of bounds traps, as in the core ABI.", g)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from sequences()
    yield from byte_strings()
