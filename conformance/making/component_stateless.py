"""Cases of the function compute of the newest version of wasi:nn, which takes all inputs and gives all outputs."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, OK, PLACES, At, ComponentGuest, Handle
from conformance.making.component_types import F32, INVALID
from conformance.making.guest_text import PAGE, f32, u32
from conformance.making.rules import (
    END_OF_MEMORY,
    END_OF_MEMORY_STRING,
    LIST,
    NO_TENSOR,
    NOT_UTF8,
    PASSED_TWICE,
    RESULT,
    STRING,
    UNALIGNED_LIST,
)
from conformance.making.values import FLOATS, NO_NAMES, RELU


def stateless(version: str) -> Iterator[Case]:
    """The function compute of the newest version, which takes all inputs and gives all outputs."""
    area = f"{version}/inference"
    g = ComponentGuest(version)
    g.context("wide")
    g.run([("x", g.tensor([1], F32, f32(1)))])
    outputs = g.slot("outputs")
    g.say("outputs", At(outputs, 8), 12)
    for index in (0, 1, 2, 10, 11):
        at = f"(i32.load offset={12 * index} (i32.load offset=4 {outputs}))"
        size = f"(i32.load offset={12 * index + 4} (i32.load offset=4 {outputs}))"
        g.show_text(f"name {index}", at, size, f"y{index}")
        g.output(f32(1 + index), index=index, label=f"of {index}")
    yield case(f"{area}/outputs-have-names", "compute gives every output, with its name, in the model's order.", g)
    g = ComponentGuest(version)
    g.context("constant")
    g.run([])
    g.output(f32(5, 7))
    yield case(f"{area}/no-inputs", "A model may have no inputs, and the list none.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.run([], best=INVALID, others=(OK, ANY_CODE))
    yield case(
        f"{area}/empty-list",
        "Hosts differ: without an input that the model needs, compute fails, or computes with anything.",
        g,
    )
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    g.run([], best=INVALID, others=(OK, ANY_CODE))
    yield case(
        f"{area}/no-state",
        "Hosts differ: compute takes its inputs from its list only, or keeps those of the last compute.",
        g,
    )
    g = ComponentGuest(version)
    g.context("relu")
    first, second = g.tensor([4], F32, FLOATS, "first"), g.tensor([4], F32, FLOATS, "second")
    g.run([("x", first), ("x", second)], best=INVALID, others=(OK, ANY_CODE))
    yield case(f"{area}/name-twice", "Hosts differ: a name that is given twice is an error, or one of both counts.", g)
    g = ComponentGuest(version)
    g.context("relu")
    first, second = g.tensor([4], F32, FLOATS, "first"), g.tensor([4], F32, FLOATS, "second")
    g.run([("x", first), ("nobody", second)], best=INVALID, others=(OK, ANY_CODE))
    yield case(
        f"{area}/input-too-many", "Hosts differ: a further input that the model hasn't is an error, or ignored.", g
    )
    g = ComponentGuest(version)
    g.context("two")
    g.run([("a", g.tensor([2], F32, f32(1, 2)))], best=INVALID, others=(OK, ANY_CODE))
    yield case(
        f"{area}/input-missing",
        "Hosts differ: without an input that the model needs, compute fails, or computes with anything.",
        g,
    )
    g = ComponentGuest(version)
    g.context("relu")
    handle = g.tensor([4], F32, FLOATS)
    array = g.inputs([("x", handle), ("x", handle)])
    g.traps(g.code("compute", Handle(g.slot("context")), array, 2, g.slot("outputs")))
    yield case(f"{area}/tensor-twice", PASSED_TWICE, g)
    yield from _places(version)


def _places(version: str) -> Iterator[Case]:
    """Where lists, names and results lie, and handles of other things."""
    area = f"{version}/inference"
    for subject, at, count, says in (
        ("list-past-memory", PAGE, 1, LIST),
        ("list-unaligned", 0x982, 1, UNALIGNED_LIST),
        ("list-count-overflows", 0x980, 0x15555556, LIST),
    ):
        g = ComponentGuest(version)
        g.context("relu")
        g.traps(g.code("compute", Handle(g.slot("context")), at, count, g.slot("outputs")))
        yield case(f"{area}/{subject}", says, g)
    outside = [("past-memory", PAGE, b"x", STRING), ("wraps-around", 0xFFFFFFFE, b"four", STRING)]
    for subject, at, content, says in (*outside, *((f"not-utf8-{it}", None, name, NOT_UTF8) for it, name in NO_NAMES)):
        g = ComponentGuest(version)
        g.context("relu")
        handle = g.tensor([4], F32, FLOATS)
        place = g.data("name", content).at if at is None else at
        array = g.data("inputs", u32(place, len(content), 0))
        g.do(f"(i32.store offset=8 {array} {handle})")
        g.traps(g.code("compute", Handle(g.slot("context")), array, 1, g.slot("outputs")))
        yield case(f"{area}/name-{subject}", says, g)
    for subject, result in (*PLACES, ("last-word-past-memory", PAGE - 8)):
        g = ComponentGuest(version)
        g.context("relu")
        handle = g.tensor([4], F32, FLOATS)
        g.traps(g.code("compute", Handle(g.slot("context")), g.inputs([("x", handle)]), 1, result))
        yield case(f"{area}/result-{subject}", RESULT, g)
    for subject, graph in (("0", False), ("of-a-graph", True)):
        g = ComponentGuest(version)
        g.context("relu")
        array = g.inputs([("x", Handle(g.slot("graph")) if graph else 0)])
        g.traps(g.code("compute", Handle(g.slot("context")), array, 1, g.slot("outputs")))
        yield case(f"{area}/tensor-{subject}", NO_TENSOR, g)
    g = ComponentGuest(version)
    g.context("relu")
    handle = g.tensor([4], F32, FLOATS)
    array, name = g.inputs([("x", handle)]), g.data("name", b"x", "at the very end of the memory", at=PAGE - 1)
    g.do(f"(i32.store {array} {name})")
    g.call("compute", Handle(g.slot("context")), array, 1, g.slot("outputs"))
    g.output(RELU)
    yield case(f"{area}/name-at-end-of-memory", END_OF_MEMORY_STRING, g)
    g = ComponentGuest(version)
    g.context("relu")
    handle = g.tensor([4], F32, FLOATS)
    array = g.data("inputs", u32(0, 0, 0), at=PAGE - 12)
    place, size = g.text_at("x")
    g.do(f"(i32.store {array} {place}) (i32.store offset=4 {array} (i32.const {size}))")
    g.do(f"(i32.store offset=8 {array} {handle})")
    g.call("compute", Handle(g.slot("context")), array, 1, g.slot("outputs"))
    g.output(RELU)
    yield case(f"{area}/list-at-end-of-memory", END_OF_MEMORY, g)
