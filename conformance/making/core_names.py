"""Cases of the core ABI: loading named graphs, and making contexts."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import TRAP, Case, case
from conformance.making.core_guest import (
    COUNTER,
    FAILS,
    FAILS_OR_TRAPS,
    INVALID_ARGUMENT,
    NOT_FOUND,
    TRAPS,
    UNWRITTEN,
    CoreGuest,
    In,
)
from conformance.making.guest_text import PAGE, f32, u32
from conformance.making.values import DECOMPOSED, NAMES, NO_NAMES, ODD_NAMES, UNKNOWN_NAMES


def load_by_name() -> Iterator[Case]:
    """Named graphs."""
    g = CoreGuest()
    g.data("before", b"\xee" * 4, at=0xF00)
    g.data("after", b"\xee" * 4, at=0xF08)
    name = g.data("name", b"relu")
    out = g.data("graph", u32(UNWRITTEN), at=0xF04)
    g.call("load_by_name", name, 4, out)
    g.graphs["relu"] = "relu"
    g.show("before", 0xF00, b"\xee" * 4)
    g.show("after", 0xF08, b"\xee" * 4)
    g.call("init_execution_context", In(out), g.slot("context"))
    g.relu()
    yield case(
        "core/load_by_name/works",
        "The errno is the result of the call; the memory behind the last pointer gets the handle and no more.",
        g,
    )

    for subject, name, says in UNKNOWN_NAMES:
        g = CoreGuest()
        g.graphs["relu"] = "relu"
        g.load_by_name(name, into="graph", best=NOT_FOUND)
        yield case(f"core/load_by_name/{subject}", says, g)
    for subject, name, says in ODD_NAMES:
        g = CoreGuest(pages=2)
        g.graphs["relu"] = "relu"
        g.load_by_name(name, into="graph", best=NOT_FOUND, **FAILS)
        yield case(f"core/load_by_name/{subject}", says, g)

    g = CoreGuest()
    place = g.data("name", b"relu and more")
    g.graphs["relu"] = "relu"
    g.call("load_by_name", place, 4, g.slot("graph"))
    g.init()
    g.relu()
    yield case("core/load_by_name/not-terminated", "A name ends where its length says, whatever follows.", g)

    for subject, name in NAMES:
        g = CoreGuest()
        g.load_by_name(name)
        g.graphs[name] = "relu"
        g.init()
        g.relu()
        yield case(f"core/load_by_name/utf8-{subject}", "A name is a string of Unicode characters in UTF-8.", g)

    g = CoreGuest()
    g.graphs["gr\u00f6\u00dfe"] = "relu"
    g.load_by_name("gro\u0308\u00dfe", best=NOT_FOUND)
    yield case("core/load_by_name/utf8-decomposed", DECOMPOSED, g)

    for subject, content in NO_NAMES:
        g = CoreGuest()
        g.graphs["relu"] = "relu"
        g.load_by_name(content, best=f"{INVALID_ARGUMENT}|{NOT_FOUND}", **FAILS_OR_TRAPS)
        yield case(
            f"core/load_by_name/not-utf8-{subject}",
            "Bytes that are no UTF-8 are no name. Hosts differ: an invalid argument, not found, or a trap.",
            g,
        )

    g = CoreGuest()
    at = g.data("name", b"relu", "at the very end of the memory", at=g.end - 4)
    g.graphs["relu"] = "relu"
    g.call("load_by_name", at, 4, g.slot("graph"))
    g.init()
    yield case("core/load_by_name/name-at-end-of-memory", "A name may end where the memory ends.", g)

    g = CoreGuest()
    at = g.data("name", b"relu")
    g.graphs["relu"] = "relu"
    g.call("load_by_name", at, 4, g.end - 4)
    yield case("core/load_by_name/out-pointer-at-end-of-memory", "A result may lie at the very end of the memory.", g)

    g = CoreGuest()
    at = g.data("name", b"relu")
    out = g.data("graph", u32(UNWRITTEN), "unaligned", at=0xF01)
    g.graphs["relu"] = "relu"
    g.call("load_by_name", at, 4, out, others=(TRAP,))
    g.call("init_execution_context", In(out), g.slot("context"))
    g.relu()
    yield case(
        "core/load_by_name/out-pointer-unaligned", "Hosts differ: an unaligned pointer works like another, or traps.", g
    )

    g = CoreGuest()
    at = g.data("graph", b"relu")
    g.graphs["relu"] = "relu"
    g.call("load_by_name", at, 4, at)
    g.init()
    g.relu()
    yield case("core/load_by_name/out-pointer-is-the-name", "The result may replace the name.", g)

    for subject, name_at, size, out_at in (
        ("name-past-memory", PAGE, 4, 0xF00),
        ("name-partly-past-memory", PAGE - 3, 4, 0xF00),
        ("name-past-memory-by-a-byte", PAGE - 4, 5, 0xF00),
        ("name-wraps-around", 0xFFFFFFFE, 4, 0xF00),
        ("name-as-large-as-addresses", 0x800, 0xFFFFFFFF, 0xF00),
        ("out-pointer-past-memory", 0x800, 4, PAGE),
        ("out-pointer-partly-past-memory", 0x800, 4, PAGE - 1),
        ("out-pointer-minus-4", 0x800, 4, 0xFFFFFFFC),
    ):
        g = CoreGuest()
        g.data("name", b"relu", at=PAGE - 4 if subject == "name-past-memory-by-a-byte" else 0x800)
        g.graphs["relu"] = "relu"
        g.call("load_by_name", name_at, size, out_at, **TRAPS)
        yield case(f"core/load_by_name/{subject}", "Hosts differ: a pointer out of bounds traps, or is an error.", g)

    g = CoreGuest()
    g.graphs["relu"] = "relu"
    g.call("load_by_name", PAGE + 5, 0, g.slot("graph"), best=NOT_FOUND, **FAILS_OR_TRAPS)
    yield case(
        "core/load_by_name/empty-name-past-memory",
        "Hosts differ: an empty list may lie anywhere, or traps out of bounds; no graph has the empty name.",
        g,
    )

    g = CoreGuest()
    g.load_by_name("relu", into="graph")
    g.load_by_name("relu", into="graph2")
    g.init("graph", "context")
    g.init("graph2", "context2")
    g.set_input(0, [4], f32(1, 1, 1, 1), context="context")
    g.set_input(0, [4], f32(2, 2, 2, 2), context="context2")
    g.compute("context")
    g.compute("context2")
    g.get_output(f32(1, 1, 1, 1), context="context")
    g.get_output(f32(2, 2, 2, 2), context="context2")
    yield case("core/load_by_name/twice", "A graph may be loaded twice; its contexts are independent.", g)

    g = CoreGuest()
    g.load_by_name("relu", into="graph")
    g.load_by_name("two", into="graph2")
    g.load_by_name("nobody", into="graph3", best=NOT_FOUND)
    g.init("graph")
    g.relu()
    g.init("graph2", "context2")
    g.set_input(0, [2], f32(3, 5), context="context2")
    g.set_input(1, [2], f32(4, 10), context="context2")
    g.compute("context2")
    g.get_output(f32(12, 50), context="context2")
    yield case("core/load_by_name/two-graphs", "A guest may have several graphs; a failed load disturbs none.", g)

    g = CoreGuest()
    slot, name = g.slot("graph"), g.data("name", b"relu")
    g.graphs["relu"] = "relu"
    g.call("load_by_name", name, 4, slot)
    g.loop(f"(drop {g.code('load_by_name', name, 4, slot)})", 48, COUNTER)
    g.call("load_by_name", name, 4, slot)
    g.init()
    g.relu()
    yield case("core/load_by_name/50-times", "A name may be loaded fifty times.", g)


def init_execution_context() -> Iterator[Case]:
    """Contexts."""
    g = CoreGuest()
    g.load_by_name("relu")
    g.init(into="context")
    g.init(into="context2")
    g.set_input(0, [4], f32(1, 1, 1, 1), context="context")
    g.set_input(0, [4], f32(2, 2, 2, 2), context="context2")
    g.compute("context2")
    g.compute("context")
    g.get_output(f32(2, 2, 2, 2), context="context2")
    g.get_output(f32(1, 1, 1, 1), context="context")
    yield case(
        "core/init_execution_context/two-of-one-graph",
        "A context binds a graph to tensors of its own: contexts of one graph don't share them.",
        g,
    )

    g = CoreGuest()
    g.context("relu")
    another = g.code("init_execution_context", In(g.slot("graph")), g.slot("other"))
    g.loop(f"(drop {another})", 100, COUNTER)
    g.relu("other")
    g.relu("context")
    yield case("core/init_execution_context/100-of-one-graph", "A graph may have a hundred contexts.", g)

    for subject, handle in (("12345", 12345), ("minus-1", 0xFFFFFFFF), ("2-31", 0x80000000)):
        g = CoreGuest()
        g.load_by_name("relu")
        context = g.slot("context")
        g.call("init_execution_context", handle, context, best=INVALID_ARGUMENT)
        g.say("context", In(context), UNWRITTEN)
        yield case(
            f"core/init_execution_context/handle-{subject}",
            "A number that isn't the handle of a graph is an invalid argument.",
            g,
        )
    for handle in (0, 1, 3):
        g = CoreGuest()
        g.call("init_execution_context", handle, g.slot("context"), best=INVALID_ARGUMENT)
        yield case(
            f"core/init_execution_context/before-load-{handle}",
            "Before a load no number is a handle, and each is an invalid argument.",
            g,
        )

    g = CoreGuest()
    g.load_by_name("relu")
    g.call("init_execution_context", In(g.slot("graph")), g.end - 4)
    yield case(
        "core/init_execution_context/out-pointer-at-end-of-memory",
        "A result may lie at the very end of the memory.",
        g,
    )
    for subject, at in (("past-memory", PAGE), ("partly-past-memory", PAGE - 2), ("minus-2", 0xFFFFFFFE)):
        g = CoreGuest()
        g.load_by_name("relu")
        g.call("init_execution_context", In(g.slot("graph")), at, **TRAPS)
        yield case(
            f"core/init_execution_context/out-pointer-{subject}",
            "Hosts differ: a pointer out of bounds traps, or is an error.",
            g,
        )
    g = CoreGuest()
    g.load_by_name("relu")
    out = g.data("context", u32(UNWRITTEN), "unaligned", at=0xF03)
    g.call("init_execution_context", In(g.slot("graph")), out, others=(TRAP,))
    g.relu()
    yield case(
        "core/init_execution_context/out-pointer-unaligned",
        "Hosts differ: an unaligned pointer works like another, or traps.",
        g,
    )


def cases() -> Iterator[Case]:
    """All of them."""
    yield from load_by_name()
    yield from init_execution_context()
