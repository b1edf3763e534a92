"""Cases of wasi:nn: named graphs."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, COUNTER, PLACES, ComponentGuest, Handle
from conformance.making.component_types import CODE, F32, VERSIONS
from conformance.making.guest_text import PAGE, f32
from conformance.making.rules import (
    END_OF_MEMORY_STRING,
    NOT_UTF8,
    RESULT,
    RESULT_AT_END,
    STRING,
)
from conformance.making.values import DECOMPOSED, FLOATS, NAMES, NO_NAMES, ODD_NAMES, RELU, UNKNOWN_NAMES

NOT_FOUND = CODE["not-found"]


def unknown(version: str) -> Iterator[Case]:
    """Names that no graph has."""
    area = f"{version}/graph/name"
    for names, others in ((UNKNOWN_NAMES, ()), (ODD_NAMES, (ANY_CODE,))):
        for subject, name, says in names:
            g = ComponentGuest(version, pages=2)
            g.graphs["relu"] = "relu"
            g.load_by_name(name, best=NOT_FOUND, others=others)
            yield case(f"{area}-{subject}", says, g)
    g = ComponentGuest(version)
    g.graphs["größe"] = "relu"
    g.load_by_name("gro\u0308\u00dfe", best=NOT_FOUND)
    yield case(f"{area}-decomposed", DECOMPOSED, g)
    for subject, content in NO_NAMES:
        g = ComponentGuest(version)
        place = g.data("name", content)
        g.traps(g.code("load-by-name", place, len(content), g.slot("graph")))
        yield case(f"{area}-not-utf8-{subject}", NOT_UTF8, g)


def known(version: str) -> Iterator[Case]:
    """Names of graphs."""
    area = f"{version}/graph/name"
    for subject, name in NAMES:
        g = ComponentGuest(version)
        g.load_by_name(name)
        g.graphs[name] = "relu"
        g.init()
        g.infer([4], F32, FLOATS, RELU)
        yield case(f"{area}-utf8-{subject}", "A name is a string of Unicode characters.", g)
    g = ComponentGuest(version)
    g.graphs["relu"] = "relu"
    g.call("load-by-name", g.data("name", b"relu and more"), 4, g.slot("graph"))
    g.init()
    g.infer([4], F32, FLOATS, RELU)
    yield case(f"{area}-not-terminated", "A name ends where its length says, whatever follows.", g)
    g = ComponentGuest(version)
    g.load_by_name("relu", "graph")
    g.load_by_name("two", "graph2")
    g.load_by_name("nobody", "graph3", best=NOT_FOUND)
    g.init("graph")
    g.infer([4], F32, FLOATS, RELU)
    g.init("graph2", "context2")
    g.run(
        [(name, g.tensor([2], F32, f32(*values), name)) for name, values in (("a", (3, 5)), ("b", (4, 10)))], "context2"
    )
    g.output(f32(12, 50), "product", context="context2")
    yield case(f"{area}-two-graphs", "A guest may have several graphs; a failed load disturbs none.", g)
    g = ComponentGuest(version)
    g.load_by_name("relu")
    again = g.code("load-by-name", g.place("name"), 4, g.slot("graph"))
    g.loop(again, 48, COUNTER)
    g.load_by_name("relu")
    g.init()
    g.infer([4], F32, FLOATS, RELU)
    yield case(f"{area}-50-times", "A name may be loaded fifty times.", g)


def places(version: str) -> Iterator[Case]:
    """Where names and results lie."""
    area = f"{version}/graph/name"
    g = ComponentGuest(version)
    g.graphs["relu"] = "relu"
    g.call("load-by-name", g.data("name", b"relu", at=PAGE - 4), 4, g.slot("graph"))
    yield case(f"{area}-at-end-of-memory", END_OF_MEMORY_STRING, g)
    for subject, at, size in (
        ("past-memory", PAGE, 4),
        ("partly-past-memory", PAGE - 3, 4),
        ("past-memory-by-a-byte", PAGE - 4, 5),
        ("wraps-around", 0xFFFFFFFE, 4),
        ("all", 0, 0xFFFFFFFF),
        ("empty-past-memory", PAGE + 5, 0),
    ):
        g = ComponentGuest(version)
        g.traps(g.code("load-by-name", at, size, g.slot("graph")))
        yield case(f"{area}-{subject}", STRING, g)
    for subject, at in PLACES:
        g = ComponentGuest(version)
        g.graphs["relu"] = "relu"
        place, size = g.text_at("relu")
        g.traps(g.code("load-by-name", place, size, at))
        yield case(f"{area}-result-{subject}", RESULT, g)
    g = ComponentGuest(version)
    g.graphs["relu"] = "relu"
    g.call("load-by-name", *g.text_at("relu"), g.end - 8)
    g.do(f"(i32.store offset=4 {g.slot('graph')} (i32.load (i32.const {g.end - 4})))")
    g.call("init-execution-context", Handle(g.slot("graph")), g.slot("context"))
    yield case(f"{area}-result-at-end-of-memory", RESULT_AT_END, g)


def cases() -> Iterator[Case]:
    """All of them."""
    for version in VERSIONS:
        yield from unknown(version)
        yield from known(version)
        yield from places(version)
