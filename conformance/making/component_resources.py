"""Cases of wasi:nn: the resources tensor and error."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, COUNTER, PLACES, At, ComponentGuest, Handle
from conformance.making.component_types import (
    CODE,
    F32,
    JUNE,
    U8,
    VERSIONS,
)
from conformance.making.guest_text import PAGE, f32, u32
from conformance.making.rules import (
    DROPPED,
    DROPPED_TWICE,
    EMPTY_LIST,
    END_OF_MEMORY,
    ENUM,
    LIST,
    NO_HANDLE,
    NOT_UTF8,
    OTHER_DROPPED,
    OTHER_RESOURCE,
    RESULT,
    SINGLE_VALUE,
    UNALIGNED_DATA,
    UNALIGNED_LIST,
)
from conformance.making.values import FLOATS, VALUES
from conformance.suite import TYPES
from conformance.words import CODES


def tensor(version: str) -> Iterator[Case]:
    """The resource tensor."""
    area = f"{version}/tensor"
    for kind, name in enumerate(TYPES):
        g = ComponentGuest(version)
        g.show_tensor(g.tensor([4], kind, VALUES[name]), [4], kind, VALUES[name])
        g.do(g.drop("tensor", Handle(g.slot("tensor"))))
        yield case(f"{area}/{name}", f"A tensor gives back its dimensions, its type {name} and its data.", g)
    for subject, dims, content, says in (
        ("no-dims", [], f32(1), "The dimensions are a list, which may be empty."),
        ("single-value", [1], f32(1), SINGLE_VALUE),
        ("no-elements", [0, 3], b"", "A tensor may have no elements."),
        ("data-too-short", [4], f32(1, 2), "The constructor can't fail: a tensor keeps data of any length."),
        ("data-too-long", [1], f32(1, 2), "The constructor can't fail: a tensor keeps data of any length."),
        ("dims-overflow", [2**32 - 1] * 3, b"\1", "The constructor can't fail: a tensor keeps any dimensions."),
        ("rank-70", [1] * 70, f32(1), "The constructor can't fail: a tensor keeps any number of dimensions."),
    ):
        g = ComponentGuest(version)
        g.show_tensor(g.tensor(dims, F32, content), dims, F32, content)
        yield case(f"{area}/{subject}", says, g)

    for offset in (1, 2, 3):
        g = ComponentGuest(version)
        g.data("data", FLOATS, "unaligned", at=0xA00 + offset)
        dims = g.data("dims", u32(4), at=0x980)
        g.do(f"(i32.store offset=4 {g.slot('tensor')} {g.code('tensor', dims, 1, F32, 0xA00 + offset, 16)})")
        g.show_tensor(Handle(g.slot("tensor")), [4], F32, FLOATS)
        yield case(f"{area}/data-unaligned-{offset}", UNALIGNED_DATA, g)

    g = ComponentGuest(version)
    handle = g.tensor([4], F32, FLOATS)
    g.do("(memory.fill (global.get $data) (i32.const 0) (i32.const 16))")
    g.do("(drop (memory.grow (i32.const 10)))")
    g.show_tensor(handle, [4], F32, FLOATS)
    g.show_tensor(handle, [4], F32, FLOATS, "again")
    yield case(f"{area}/data-may-change-after", "A tensor has its own copy of the data, which may be read again.", g)

    count = 2**24
    g = ComponentGuest(version, pages=600)
    dims, at = g.data("dims", u32(count)), 0x10000
    g.data("data", b"\7", "the last byte; the others are 0", at=at + count - 1)
    g.next = at + count
    g.do(f"(i32.store offset=4 {g.slot('tensor')} {g.code('tensor', dims, 1, U8, at, count)})")
    g.do(g.code("tensor.data", Handle(g.slot("tensor")), g.slot("part")))
    g.say("length", At(g.slot("part"), 4), count)
    last = f"(i32.load8_u (i32.add {At(g.slot('part'))} (i32.const {count - 1})))"
    g.say("last", last, 7)
    yield case(f"{area}/16-MiB", "A tensor may have 16 MiB.", g)

    g = ComponentGuest(version)
    handle = g.tensor([4], F32, FLOATS)
    made = g.code("tensor", g.place("dims"), 1, F32, g.place("data"), 16)
    g.loop(f"(i32.store offset=4 {g.slot('last')} {made})", 1000, COUNTER)
    g.show_tensor(Handle(g.slot("last")), [4], F32, FLOATS)
    g.show_tensor(handle, None, F32, FLOATS, "first")
    yield case(f"{area}/1000-at-once", "A guest may have a thousand tensors.", g)

    yield from _places(version)
    yield from _handles(version)


def _places(version: str) -> Iterator[Case]:
    """Numbers out of range, and where lists and results lie."""
    area = f"{version}/tensor"
    for subject, arguments, says in (
        ("type-7", (0x980, 1, 7, 0xA00, 16), ENUM),
        ("type-255", (0x980, 1, 255, 0xA00, 16), ENUM),
        ("type-2-31", (0x980, 1, 0x80000000, 0xA00, 16), ENUM),
        ("dims-unaligned", (0x982, 1, F32, 0xA00, 16), UNALIGNED_LIST),
        ("dims-past-memory", (PAGE, 1, F32, 0xA00, 16), LIST),
        ("dims-partly-past-memory", (PAGE - 4, 2, F32, 0xA00, 16), LIST),
        ("dims-wrap-around", (0xFFFFFFFC, 2, F32, 0xA00, 16), LIST),
        ("dims-count-overflows", (0x980, 0x40000001, F32, 0xA00, 16), LIST),
        ("data-past-memory", (0x980, 1, F32, PAGE, 1), LIST),
        ("data-partly-past-memory", (0x980, 1, F32, PAGE - 15, 16), LIST),
        ("data-wraps-around", (0x980, 1, F32, 0xFFFFFFF8, 16), LIST),
        ("data-as-large-as-addresses", (0x980, 1, F32, 0, 0xFFFFFFFF), LIST),
        ("no-data-past-memory", (0x980, 1, F32, PAGE + 1, 0), EMPTY_LIST),
    ):
        g = ComponentGuest(version)
        g.data("dims", u32(4), at=0x980)
        g.traps(f"(drop {g.code('tensor', *arguments)})")
        yield case(f"{area}/{subject}", says, g)
    g = ComponentGuest(version)
    g.data("data", FLOATS, "at the very end of the memory", at=PAGE - 16)
    g.data("dims", u32(4), "right before it", at=PAGE - 20)
    g.do(f"(i32.store offset=4 {g.slot('tensor')} {g.code('tensor', PAGE - 20, 1, F32, PAGE - 16, 16)})")
    g.show_tensor(Handle(g.slot("tensor")), [4], F32, FLOATS)
    yield case(f"{area}/data-at-end-of-memory", END_OF_MEMORY, g)
    g = ComponentGuest(version)
    g.data("dims", u32(0), at=0x980)
    g.do(f"(i32.store offset=4 {g.slot('tensor')} {g.code('tensor', 0x980, 1, F32, PAGE, 0)})")
    g.show_tensor(Handle(g.slot("tensor")), [0], F32, b"")
    yield case(
        f"{area}/no-data-at-end-of-memory", END_OF_MEMORY.saying("An empty list may lie where the memory ends."), g
    )

    for subject, result in PLACES:
        for function in ("tensor.dimensions", "tensor.data"):
            g = ComponentGuest(version)
            handle = g.tensor([4], F32, FLOATS)
            g.traps(g.code(function, handle, result))
            yield case(f"{area}/{function.partition('.')[2]}-result-{subject}", RESULT, g)


def _handles(version: str) -> Iterator[Case]:
    """Handles that are gone, or of something else."""
    area = f"{version}/tensor"
    for function in ("tensor.dimensions", "tensor.ty", "tensor.data"):
        g = ComponentGuest(version)
        handle = g.tensor([4], F32, FLOATS)
        g.do(g.drop("tensor", handle))
        call = g.code(function, handle) if function == "tensor.ty" else g.code(function, handle, g.slot("part"))
        g.traps(f"(drop {call})" if function == "tensor.ty" else call)
        yield case(f"{area}/{function.partition('.')[2]}-after-drop", DROPPED, g)
    g = ComponentGuest(version)
    handle = g.tensor([4], F32, FLOATS)
    g.do(g.drop("tensor", handle))
    g.traps(g.drop("tensor", handle))
    yield case(f"{area}/dropped-twice", DROPPED_TWICE, g)
    for number in (0, 1, 77, 0xFFFFFFFF):
        g = ComponentGuest(version)
        g.traps(f"(drop {g.code('tensor.ty', number)})")
        yield case(f"{area}/handle-{number:#x}", NO_HANDLE, g)
    g = ComponentGuest(version)
    g.traps(g.drop("graph", g.tensor([4], F32, FLOATS)))
    yield case(f"{area}/dropped-as-a-graph", OTHER_DROPPED, g)


def errors(version: str) -> Iterator[Case]:
    """The resource error."""
    area = f"{version}/errors"
    if version == JUNE:
        for number, code in enumerate(CODES):
            g = ComponentGuest(version)
            text = f"{code}, größe ☃"
            place, size = g.text_at(text)
            g.do(f"(i32.store offset=4 {g.slot('error')} {g.code('error', number, place, size)})")
            g.say("code", g.code("error.code", Handle(g.slot("error"))), number)
            g.do(g.code("error.data", Handle(g.slot("error")), g.slot("part")))
            g.show_text("data", str(At(g.slot("part"))), str(At(g.slot("part"), 4)), text)
            g.do(g.drop("error", Handle(g.slot("error"))))
            yield case(f"{area}/made-{code}", f"An error made with the code {code} gives back its code and data.", g)
        g = ComponentGuest(version)
        g.do(f"(i32.store offset=4 {g.slot('error')} {g.code('error', 3, 0x980, 0)})")
        g.do(g.code("error.data", Handle(g.slot("error")), g.slot("part")))
        g.say("length", At(g.slot("part"), 4), 0)
        yield case(f"{area}/made-without-data", "An error's data may be empty.", g)
        for subject, code_number, content, says in (
            ("code-9", 9, b"", ENUM),
            ("data-not-utf8", 3, b"\xff", NOT_UTF8),
        ):
            g = ComponentGuest(version)
            place = g.data("text", content)
            g.traps(f"(drop {g.code('error', code_number, place, len(content))})")
            yield case(f"{area}/{subject}", says, g)

    def failing() -> ComponentGuest:
        g = ComponentGuest(version)
        place, size = g.text_at("nobody")
        g.do(g.code("load-by-name", place, size, g.slot("graph")))
        g.say("is an error", f"(i32.load8_u {g.slot('graph')})", 1)
        return g

    for subject, result in PLACES:
        g = failing()
        g.traps(g.code("error.data", Handle(g.slot("graph")), result))
        yield case(f"{area}/data-result-{subject}", RESULT, g)
    for number in (0, 77, 0xFFFFFFFF):
        g = ComponentGuest(version)
        g.traps(f"(drop {g.code('error.code', number)})")
        yield case(f"{area}/handle-{number:#x}", NO_HANDLE, g)

    g = failing()
    g.say("code", g.code("error.code", Handle(g.slot("graph"))), CODE["not-found"], (ANY_CODE,))
    g.say("again", g.code("error.code", Handle(g.slot("graph"))), CODE["not-found"], (ANY_CODE,))
    g.do(g.code("error.data", Handle(g.slot("graph")), g.slot("part")))
    g.say("has text", f"(i32.ne (i32.const 0) {At(g.slot('part'), 4)})", 1, (0,))
    g.do(g.drop("error", Handle(g.slot("graph"))))
    yield case(
        f"{area}/code-and-data",
        "An error has a code, and data that a host may fill with a text. Hosts differ in both.",
        g,
    )
    for subject, code, says in (
        ("code", lambda g, error: f"(drop {g.code('error.code', error)})", DROPPED),
        ("data", lambda g, error: g.code("error.data", error, g.slot("part")), DROPPED),
        ("drop", lambda g, error: g.drop("error", error), DROPPED_TWICE),
    ):
        g = failing()
        g.do(g.drop("error", Handle(g.slot("graph"))))
        g.traps(code(g, Handle(g.slot("graph"))))
        yield case(f"{area}/{subject}-after-drop", says, g)
    g = failing()
    g.traps(g.code("init-execution-context", Handle(g.slot("graph")), g.slot("context")))
    yield case(f"{area}/error-as-a-graph", OTHER_RESOURCE, g)


def cases() -> Iterator[Case]:
    """All of them."""
    for version in VERSIONS:
        yield from tensor(version)
        yield from errors(version)
