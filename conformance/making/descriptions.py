"""Code that prints the records of a description, which are alike in core modules and in components."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.making.component_guest import ComponentGuest
from conformance.making.core_guest import CoreGuest
from conformance.making.guest_text import Place, constant

Address = str | Place

DESCRIBED: Sequence[tuple[str, Sequence[str], Sequence[str], Sequence[int | None], str]] = (
    ("relu", ["x"], ["y"], [4], "A description has the names, types and dimensions of inputs and outputs."),
    ("two", ["a", "b"], ["product", "sum"], [2], "The order is that of the model."),
    ("zam", ["z", "a", "m"], ["y"], [1], "The order is that of the model, not that of the names."),
    ("rows", ["x"], ["y"], [None, 2], "A dimension has a size, or a name, or neither."),
    ("unicode", ["größe"], ["模型 ☃"], [4], "A name is a text in UTF-8, with any characters."),
    ("scalar", ["x"], ["y"], [], "A scalar has a known number of dimensions, which is 0."),
    ("constant", [], ["y"], [2], "A list may be empty."),
)
"""Models whose tensors are of f32: the names of their inputs and outputs, the dimensions of all these, and a rule."""


def word(base: Address, offset: int = 0) -> str:
    """The u32 of a record."""
    return f"(i32.load offset={offset} {base})"


def byte(base: Address, offset: int = 0) -> str:
    """The byte of a record."""
    return f"(i32.load8_u offset={offset} {base})"


def item(base: Address, offset: int, index: int, size: int) -> str:
    """The address of an item of a record's list."""
    return f"(i32.add {word(base, offset)} {constant(index * size)})" if index else word(base, offset)


def tell_host(g: CoreGuest | ComponentGuest, record: Address) -> None:
    """Print whether a graph's description names an encoding of wasi-nn, a runtime and a device."""
    g.say("has an encoding", f"(i32.lt_u {byte(record)} (i32.const 6))", 1)
    g.say("has a runtime", f"(i32.ne (i32.const 0) {word(record, 8)})", 1)
    g.say("has a device", f"(i32.ne (i32.const 0) {word(record, 16)})", 1)


def tell_tensor(
    g: CoreGuest | ComponentGuest, record: Address, name: str, kind: int, dims: Sequence[int | None]
) -> None:
    """Print a tensor of numbers: its name, its type and its dimensions, those that are open as such."""
    g.show_text("name", word(record), word(record, 4), name)
    g.say("numbers", byte(record, 8), 0)
    g.say("type", byte(record, 12), kind)
    tell_dims(g, record, dims)
    g.say("may be left out", byte(record, 32), 0)


def tell_dims(g: CoreGuest | ComponentGuest, record: Address, dims: Sequence[int | None]) -> None:
    """Print the dimensions of a tensor, those that are open as such."""
    g.say("rank is known", byte(record, 20), 1)
    g.say("rank", word(record, 28), len(dims))
    for index, size in enumerate(dims):
        dimension = item(record, 24, index, 12)
        if size is None:
            g.say("open", f"(i32.ne (i32.const 0) {byte(dimension)})", 1)
        else:
            g.say("open", f"(i32.ne (i32.const 0) {byte(dimension)})", 0)
            g.say("size", word(dimension, 4), size)
