"""Cases of wasi:nn: types and shapes of tensors, and the guest's memory."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, At, ComponentGuest, Handle
from conformance.making.component_inference import mistake
from conformance.making.component_types import CODE, F32, VERSIONS
from conformance.making.guest_text import PAGE, f32, u32
from conformance.making.rules import (
    ACROSS_PAGES,
    FORGOTTEN,
    GROWN,
    GROWS,
    NO_DIMENSIONS,
    NO_ELEMENTS,
    OPEN_BESIDE_FIXED,
    OPEN_CHANGES,
    OPEN_RANK,
    ROW_MAJOR,
    SINGLE_VALUE,
    TYPE,
)
from conformance.making.values import EDGES, FLOATS, RELU, VALUES
from conformance.suite import TYPES


def types(version: str) -> Iterator[Case]:
    """Every type in and out."""
    area = f"{version}/inference"
    for kind, name in enumerate(TYPES):
        for subject, values, says in (
            (f"type-{name}", VALUES, f"A tensor of {name} goes in and comes out unchanged."),
            (f"type-{name}-extremes", EDGES, f"Large and small values of {name} pass unchanged."),
        ):
            if name in values:
                g = ComponentGuest(version)
                g.context(name)
                g.infer([4], kind, values[name], values[name], out_dims=[4], out_kind=kind)
                g.types[name] = None
                yield case(f"{area}/{subject}", TYPE.saying(says), g)
        other = (kind + 1) % len(TYPES)
        if kind != F32:
            g = ComponentGuest(version)
            g.context(name)
            tensor = g.tensor([4], other, b"\1" * len(VALUES[TYPES[other]]))
            g.types[name] = None
            yield mistake(f"{area}/{TYPES[other]}-into-{name}", TYPE, g, [("x", tensor)])


def shapes(version: str) -> Iterator[Case]:
    """Scalars, open dimensions, zero sizes, many dimensions, large tensors."""
    area = f"{version}/inference"
    g = ComponentGuest(version)
    g.context("scalar")
    g.infer([1], F32, f32(7), f32(7))
    yield case(f"{area}/single-value", SINGLE_VALUE, g)
    g = ComponentGuest(version)
    g.context("rows")
    for rows in (1, 5, 2):
        content = f32(*range(2 * rows))
        g.run([("x", g.tensor([rows, 2], F32, content, f"of{rows}"))])
        g.output(content, dims=[rows, 2], kind=F32, label=f"of {rows}")
    yield case(f"{area}/open-dimension", OPEN_CHANGES, g)
    for subject, dims, content, says in (
        ("open-beside-fixed", [2, 3], f32(1, 2, 3, 4, 5, 6), OPEN_BESIDE_FIXED),
        ("open-rank", [4], FLOATS, OPEN_RANK),
    ):
        g = ComponentGuest(version)
        g.context("rows")
        yield mistake(f"{area}/{subject}", says, g, [("x", g.tensor(dims, F32, content))])
    g = ComponentGuest(version)
    g.context("scalar")
    g.run([("x", g.tensor([], F32, f32(7)))], others=(ANY_CODE,))
    yield case(f"{area}/scalar-without-dims", NO_DIMENSIONS, g)
    g = ComponentGuest(version)
    g.context("rank8")
    g.infer([1] * 7 + [2], F32, f32(3, -3), f32(3, 0), out_dims=[1] * 7 + [2])
    yield case(f"{area}/rank-8", "A tensor may have eight dimensions.", g)
    g = ComponentGuest(version)
    g.context("transpose")
    g.infer([2, 3], F32, f32(1, 2, 3, 4, 5, 6), f32(1, 4, 2, 5, 3, 6), out_dims=[3, 2])
    yield case(f"{area}/row-major", ROW_MAJOR, g)
    g = ComponentGuest(version)
    g.context("rows")
    g.run([("x", g.tensor([0, 2], F32, b""))], others=(ANY_CODE,))
    yield case(f"{area}/zero-rows", NO_ELEMENTS, g)

    count = 2**22
    g = ComponentGuest(version, pages=600)
    g.context("any")
    dims, at = g.data("dims", u32(count)), 0x10000
    g.data("data", f32(7), "the last element; the others are 0", at=at + 4 * (count - 1))
    g.next = at + 4 * count
    g.do(f"(i32.store offset=4 {g.slot('tensor')} {g.code('tensor', dims, 1, F32, at, 4 * count)})")
    g.run([("x", Handle(g.slot("tensor")))])
    if g.stateful:
        place, size = g.data("name", b"y", at=0x8F0), 1
        g.call("get-output", Handle(g.slot("context")), place, size, g.slot("output"))
    else:
        loaded = f"(i32.load offset=8 (i32.load offset=4 {g.slot('outputs')}))"
        g.do(f"(i32.store offset=4 {g.slot('output')} {loaded})")
    g.do(g.code("tensor.data", Handle(g.slot("output")), g.slot("part")))
    g.say("length", At(g.slot("part"), 4), 4 * count)
    g.show("last", f"(i32.add {At(g.slot('part'))} (i32.const {4 * (count - 1)}))", 4, f32(7))
    yield case(f"{area}/16-MiB", "A tensor may have 16 MiB on its way in and out.", g)


def memory(version: str) -> Iterator[Case]:
    """The guest's memory itself."""
    area = f"{version}/memory"
    g = ComponentGuest(version, pages=3)
    g.graphs["relu"] = "relu"
    g.call("load-by-name", g.data("name", b"relu", at=PAGE - 2), 4, g.slot("graph"))
    g.init()
    g.infer([4], F32, FLOATS, RELU)
    yield case(f"{area}/across-pages", ACROSS_PAGES, g)
    g = ComponentGuest(version)
    g.do("(drop (memory.grow (i32.const 2)))")
    g.do(f'(i32.store (i32.const {3 * PAGE - 4}) (i32.const 0x756c6572))  ;; "relu"')
    g.graphs["relu"] = "relu"
    g.call("load-by-name", 3 * PAGE - 4, 4, g.slot("graph"))
    g.init()
    g.infer([4], F32, FLOATS, RELU)
    yield case(f"{area}/grown", GROWN, g)
    g = ComponentGuest(version)
    g.context("relu")
    tensor = g.tensor([4], F32, FLOATS)
    g.do("(memory.fill (global.get $data) (i32.const 0) (i32.const 16))")
    g.do("(drop (memory.grow (i32.const 10)))")
    g.run([("x", tensor)])
    g.output(RELU)
    yield case(f"{area}/grows", GROWS, g)
    g = ComponentGuest(version)
    g.load_by_name("nobody", best=CODE["not-found"])
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    yield case(f"{area}/failures-are-forgotten", FORGOTTEN, g)


def cases() -> Iterator[Case]:
    """All of them."""
    for version in VERSIONS:
        yield from types(version)
        yield from shapes(version)
        yield from memory(version)
