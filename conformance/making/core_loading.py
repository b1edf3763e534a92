"""Cases of the core ABI: loading models from bytes and by name, and making contexts."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import TRAP, Case, case
from conformance.making.core_guest import (
    ANY_ERROR,
    CPU,
    ENCODINGS,
    GPU,
    INVALID_ARGUMENT,
    INVALID_ENCODING,
    NOT_FOUND,
    PAGE,
    RUNTIME_ERROR,
    TPU,
    UNWRITTEN,
    CoreGuest,
    In,
    f32,
    u32,
)
from conformance.making.files import files

FAILS = {"others": (ANY_ERROR,)}
FAILS_OR_TRAPS = {"others": (ANY_ERROR, TRAP)}
TRAPS = {"best": TRAP, "others": (ANY_ERROR,)}


def load() -> Iterator[Case]:
    """Models from a guest's bytes, in each encoding."""
    for encoding in ("onnx", "openvino", "tensorflowlite"):
        model = files(encoding, "relu")
        number = ENCODINGS[encoding]

        def named(subject: str, encoding: str = encoding) -> str:
            return f"core/load/{encoding}-{subject}"

        g = CoreGuest()
        g.load(encoding, model)
        g.init()
        g.relu()
        yield case(named("works"), "load makes a graph from a sequence of bytes in an encoding that the host has.", g)

        g = CoreGuest()
        g.load("autodetect", model, best="0|2|6", **FAILS)
        g.encodings[encoding] = None
        yield case(
            named("autodetected"),
            "The encoding autodetect leaves the choice to the host; a host without it says so by an error.",
            g,
        )

        g = CoreGuest()
        g.load(encoding, model)
        builder = "builder"
        g.do(f"(memory.fill (global.get ${builder}) (i32.const 0) (i32.const {len(model[0])}))")
        g.init()
        g.relu()
        yield case(named("bytes-may-change-after"), "A graph doesn't depend on the bytes that it was loaded from.", g)

        g = CoreGuest()
        g.load(encoding, model, into="graph")
        g.load(encoding, model, into="graph2")
        g.init("graph", "context")
        g.init("graph2", "context2")
        g.relu("context")
        g.relu("context2")
        yield case(named("twice"), "Each load makes a graph; both are usable.", g)

        g = CoreGuest(pages=2)
        array = b""
        for content in model:
            place = g.data("builder", content, align=8, at=(g._next + 7) // 8 * 8 + 3)
            g._next = place.at + len(content)
            array += u32(place.at, len(content))
        at = g.data("builders", array, "each builder's bytes, and their number; unaligned", at=PAGE + 1)
        g.encodings[encoding] = None
        g.call("load", at, len(model), number, CPU, g.slot("graph"), others=(TRAP,))
        g.init()
        yield case(
            named("unaligned-builders"),
            "Hosts differ: the array of builders is of u32, and a host may require their alignment.",
            g,
        )

        g = CoreGuest(pages=1)
        array = b""
        for content in model:
            place = g.data("builder", content)
            array += u32(place.at, len(content))
        at = g.data("builders", array, "at the very end of the memory", at=g.end - len(array))
        g.encodings[encoding] = None
        g.call("load", at, len(model), number, CPU, g.slot("graph"))
        yield case(named("builders-at-end-of-memory"), "The array of builders may end where the memory ends.", g)

        for subject, contents, says in (
            ("no-builder", [], "A model needs its builders: none of them is an invalid argument."),
            ("builder-too-many", [*model, b"more"], "A number of builders that the encoding doesn't have is an error."),
        ):
            g = CoreGuest()
            g.load(encoding, contents, best=INVALID_ARGUMENT, **FAILS)
            yield case(named(subject), says + " Hosts differ in the errno.", g)

        for subject, contents in (
            ("empty-builders", [b""] * len(model)),
            ("garbage", [b"This is no model at all, in any encoding." * 3] * len(model)),
            ("cut-short", [model[0][: len(model[0]) // 2], *model[1:]]),
        ):
            g = CoreGuest()
            g.load(encoding, contents, best=RUNTIME_ERROR, **FAILS)
            g.say("graph", In(g.slot("graph")), UNWRITTEN, (0,))
            yield case(
                named(subject), "Bytes that are no model are refused with an error. Hosts differ in the errno.", g
            )

        g = CoreGuest(pages=260)
        head = files(encoding, "large")
        g.load(encoding, head)
        g.init()
        g.set_input(0, [4], f32(1, -2, 3, -4))
        g.compute()
        g.get_output(f32(1, -2, 3, -4))
        yield case(named("large-model"), "A model may have 16 MiB.", g)

        g = CoreGuest()
        array = g.builders(model)
        g.encodings[encoding] = None
        g.call("load", array, len(model), number, CPU, g.end - 4)
        yield case(named("out-pointer-at-end-of-memory"), "A result may lie at the very end of the memory.", g)

        for subject, at in (("past-memory", g.end), ("partly-past-memory", g.end - 3), ("at-minus-1", 0xFFFFFFFF)):
            g = CoreGuest()
            array = g.builders(model)
            g.encodings[encoding] = None
            g.call("load", array, len(model), number, CPU, at, **TRAPS)
            yield case(
                named(f"out-pointer-{subject}"),
                "Hosts differ: a pointer out of bounds traps, or is an error.",
                g,
            )

        for subject, at, count in (
            ("past-memory", g.end, 1),
            ("partly-past-memory", g.end - 7, 1),
            ("at-minus-8", 0xFFFFFFF8, 2),
            ("count-overflows", 0x900, 0x20000001),
        ):
            g = CoreGuest()
            g.encodings[encoding] = None
            g.call("load", at, count, number, CPU, g.slot("graph"), **TRAPS)
            yield case(
                named(f"builders-{subject}"),
                "Hosts differ: builders out of bounds trap, or are an error.",
                g,
            )

        for subject, at, size in (
            ("past-memory", g.end, 1),
            ("partly-past-memory", g.end - 4, 5),
            ("wraps-around", 0xFFFFFFF0, 0x20),
            ("as-large-as-addresses", 0, 0xFFFFFFFF),
        ):
            g = CoreGuest()
            g.encodings[encoding] = None
            array = g.data("builders", u32(at, size) * len(model), "each builder's bytes, and their number")
            g.call("load", array, len(model), number, CPU, g.slot("graph"), **TRAPS)
            yield case(
                named(f"bytes-{subject}"),
                "Hosts differ: a builder's bytes out of bounds trap, or are an error.",
                g,
            )

        for subject, target in (("gpu", GPU), ("tpu", TPU)):
            g = CoreGuest()
            g.load(encoding, model, target=target, best="0|6", **FAILS)
            yield case(
                named(f"target-{subject}"),
                "A target that the host doesn't have is an unsupported operation. Hosts differ: some compute elsewhere.",
                g,
            )

        for target in (3, 255, 256, 0x80000000):
            g = CoreGuest()
            g.load(encoding, model, target=target, best=INVALID_ARGUMENT, **FAILS_OR_TRAPS)
            yield case(
                named(f"target-{target:#x}"),
                "A number that is no target is an invalid argument. Hosts differ: some trap.",
                g,
            )

        g = CoreGuest(pages=2)
        array = g.data("builders", u32(0, 0) * 5000, "5,000 builders without bytes")
        g.encodings[encoding] = None
        g.call("load", array, 5000, number, CPU, g.slot("graph"), best=INVALID_ARGUMENT, **FAILS)
        yield case(named("5000-builders"), "No encoding has thousands of builders. Hosts differ in the errno.", g)

    for encoding, other in (("onnx", "openvino"), ("openvino", "tensorflowlite"), ("tensorflowlite", "onnx")):
        g = CoreGuest()
        g.load(encoding, files(other, "relu"), best="0-8")
        says = "Hosts differ: a model in another encoding is an error, or is loaded by a runtime that knows both."
        yield case(f"core/load/{other}-as-{encoding}", says, g)

    for encoding in ("tensorflow", "pytorch"):
        g = CoreGuest()
        g.load(encoding, [b"This is no model at all."], best=f"{INVALID_ENCODING}|5|6", **FAILS)
        g.encodings.clear()
        yield case(
            f"core/load/{encoding}-garbage",
            "An encoding without a backend is an invalid encoding, a model that can't be read a runtime error. "
            "Hosts differ in the errno.",
            g,
        )
    g = CoreGuest()
    g.load("autodetect", [b"This is no model at all."], best=INVALID_ENCODING, **FAILS)
    yield case("core/load/autodetect-garbage", "Bytes of no encoding are an invalid encoding.", g)

    for number in (7, 99, 255, 256, 257, 0x80000000, 0xFFFFFFFF):
        g = CoreGuest()
        array = g.builders([b"This is no model at all."])
        g.call("load", array, 1, number, CPU, g.slot("graph"), best=INVALID_ENCODING, **FAILS_OR_TRAPS)
        yield case(
            f"core/load/encoding-{number:#x}",
            "A number that is no encoding is an invalid encoding. Hosts differ: some trap.",
            g,
        )


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

    for subject, name, says in (
        ("unknown", "no graph has this name", "A name that no graph has is not found."),
        ("empty", "", "A name that no graph has is not found, also if it is empty."),
        ("other-case", "RELU", "Letters in another case make another name."),
        ("prefix", "rel", "The beginning of a name is another name."),
        ("longer", "relus", "A name with more letters is another name."),
        ("with-nul", "relu\0", "A name has its given length, and is not ended by a NUL."),
        ("path", "./relu", "A name is no path."),
        ("path-up", "../relu/relu", "A name is no path."),
        ("file-of-the-host", "/etc/passwd", "A name never opens a file of the host."),
        ("model-file", "relu/model.onnx", "A name is no path."),
        ("space-before", " relu", "Spaces belong to a name."),
        ("long", "u" * 40000, "A name may have any length; no graph has this one."),
    ):
        g = CoreGuest(pages=2)
        g.graphs["relu"] = "relu"
        g.load_by_name(name, into="graph", best=NOT_FOUND, **FAILS)
        yield case(f"core/load_by_name/{subject}", says + " Hosts differ in the errno.", g)

    g = CoreGuest()
    place = g.data("name", b"relu and more")
    g.graphs["relu"] = "relu"
    g.call("load_by_name", place, 4, g.slot("graph"))
    g.init()
    g.relu()
    yield case("core/load_by_name/not-terminated", "A name ends where its length says, whatever follows.", g)

    for subject, name in (
        ("two-letters", "größe"),
        ("three", "模型"),
        ("four", "🦀"),
        ("spaces", "my model"),
        ("dots", "my.model-1_b"),
    ):
        g = CoreGuest()
        g.load_by_name(name)
        g.graphs[name] = "relu"
        g.init()
        g.relu()
        yield case(f"core/load_by_name/utf8-{subject}", "A name is a string of Unicode characters in UTF-8.", g)

    g = CoreGuest()
    g.graphs["gr\u00f6\u00dfe"] = "relu"
    g.load_by_name("gro\u0308\u00dfe", best=NOT_FOUND, **FAILS)
    yield case(
        "core/load_by_name/utf8-decomposed",
        "Names are compared as they are: ö in two characters is not ö in one. Hosts differ in the errno.",
        g,
    )

    for subject, content in (
        ("continuation", b"relu\x80"),
        ("cut-short", b"gr\xc3"),
        ("surrogate", b"\xed\xa0\x80"),
        ("overlong", b"\xc0\xaf"),
        ("ff", b"\xff\xff"),
    ):
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
        ("name-wraps-around", 0xFFFFFFFE, 4, 0xF00),
        ("name-as-large-as-addresses", 0x800, 0xFFFFFFFF, 0xF00),
        ("out-pointer-past-memory", 0x800, 4, PAGE),
        ("out-pointer-partly-past-memory", 0x800, 4, PAGE - 1),
        ("out-pointer-minus-4", 0x800, 4, 0xFFFFFFFC),
    ):
        g = CoreGuest()
        g.data("name", b"relu", at=0x800)
        g.graphs["relu"] = "relu"
        g.call("load_by_name", name_at, size, out_at, **TRAPS)
        yield case(
            f"core/load_by_name/{subject}", "Hosts differ: a pointer out of bounds traps, or is an error.", g
        )

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
    g.load_by_name("nobody", into="graph3", best=NOT_FOUND, **FAILS)
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
    repeated = f"(call $load_by_name {name} (i32.const 4) {slot})"
    g.call("load_by_name", name, 4, slot)
    g.do(
        "(i32.store (i32.const 0xf00) (i32.const 48))\n"
        f"    (loop $more (drop {repeated})\n"
        "      (i32.store (i32.const 0xf00) (i32.sub (i32.load (i32.const 0xf00)) (i32.const 1)))\n"
        "      (br_if $more (i32.load (i32.const 0xf00))))"
    )
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
    slot = g.slot("other")
    g.do(
        "(i32.store (i32.const 0xf00) (i32.const 100))\n"
        f"    (loop $more (drop (call $init_execution_context (i32.load (global.get $graph)) {slot}))\n"
        "      (i32.store (i32.const 0xf00) (i32.sub (i32.load (i32.const 0xf00)) (i32.const 1)))\n"
        "      (br_if $more (i32.load (i32.const 0xf00))))"
    )
    g.relu("other")
    g.relu("context")
    yield case("core/init_execution_context/100-of-one-graph", "A graph may have a hundred contexts.", g)

    for subject, handle in (("12345", 12345), ("minus-1", 0xFFFFFFFF), ("2-31", 0x80000000)):
        g = CoreGuest()
        g.load_by_name("relu")
        context = g.slot("context")
        g.call("init_execution_context", handle, context, best=INVALID_ARGUMENT, **FAILS)
        g.say("context", In(context), UNWRITTEN)
        yield case(
            f"core/init_execution_context/handle-{subject}",
            "A number that isn't the handle of a graph is an invalid argument. Hosts differ in the errno.",
            g,
        )
    for handle in (0, 1, 3):
        g = CoreGuest()
        g.call("init_execution_context", handle, g.slot("context"), best=INVALID_ARGUMENT, **FAILS)
        yield case(
            f"core/init_execution_context/before-load-{handle}",
            "Before a load no number is a handle. Hosts differ in the errno.",
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
    yield from load()
    yield from load_by_name()
    yield from init_execution_context()
