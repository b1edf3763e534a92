"""Cases of wasi:nn: loading graphs, and making contexts."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, COUNTER, ComponentGuest, Handle
from conformance.making.component_types import (
    CODE,
    ENCODINGS,
    F32,
    VERSIONS,
)
from conformance.making.component_values import FLOATS, INVALID, RELU, RUNTIME
from conformance.making.files import files
from conformance.making.guest_text import PAGE, u32


def graph(version: str) -> Iterator[Case]:
    """Loading graphs, and making contexts."""
    area, newest = f"{version}/graph", version == VERSIONS[-1]
    for encoding in ("onnx", "openvino", "tensorflowlite"):
        model, number = files(encoding, "relu"), ENCODINGS.index(encoding)
        g = ComponentGuest(version)
        g.load(encoding, model)
        g.init()
        g.infer([4], F32, FLOATS, RELU)
        yield case(f"{area}/load-{encoding}", "load makes a graph from builders in an encoding that the host has.", g)
        g = ComponentGuest(version)
        g.load("autodetect", model, best="ok|1|4", others=(ANY_CODE,))
        g.encodings[encoding] = None
        yield case(f"{area}/load-{encoding}-autodetected", "Hosts differ: autodetect is a choice of the host.", g)
        wrong: list[tuple[str, list[bytes], int]] = [
            ("garbage", [b"This is no model at all, in any encoding." * 3] * len(model), RUNTIME),
            ("no-builder", [], INVALID),
            ("builder-too-many", [*model, b"more"], INVALID),
            ("empty-builders", [b""] * len(model), RUNTIME),
            ("cut-short", [model[0][: len(model[0]) // 2], *model[1:]], RUNTIME),
        ]
        for subject, contents, best in wrong if newest else wrong[:1]:
            g = ComponentGuest(version)
            g.load(encoding, contents, best=best, others=(ANY_CODE,))
            yield case(
                f"{area}/load-{encoding}-{subject}",
                "Builders that are no model are refused with an error. Hosts differ in the code.",
                g,
            )
        if not newest:
            continue
        for subject, target in (("gpu", 1), ("tpu", 2)):
            g = ComponentGuest(version)
            g.load(encoding, model, target=target, best="ok|4", others=(ANY_CODE,))
            yield case(
                f"{area}/load-{encoding}-{subject}",
                "A target that the host doesn't have is an unsupported operation. Hosts differ: some take another.",
                g,
            )
        g = ComponentGuest(version, pages=260)
        g.load(encoding, files(encoding, "large"))
        g.init()
        g.infer([4], F32, FLOATS, FLOATS)
        yield case(f"{area}/load-{encoding}-16-MiB", "A model may have 16 MiB.", g)
        for subject, at, count, says in (
            ("builders-past-memory", PAGE, 1, "A list out of bounds traps."),
            ("builders-unaligned", 0x982, 1, "A list of lists that isn't aligned to 4 bytes traps."),
            ("builders-count-overflows", 0x980, 0x20000001, "A list out of bounds traps."),
        ):
            g = ComponentGuest(version)
            g.encodings[encoding] = None
            g.traps(g.code("load", at, count, number, 0, g.slot("graph")))
            yield case(f"{area}/load-{encoding}-{subject}", says, g)
        for subject, at, size in (("past-memory", PAGE, 1), ("wraps-around", 0xFFFFFFF0, 0x20)):
            g = ComponentGuest(version)
            g.encodings[encoding] = None
            array = g.data("builders", u32(at, size) * len(model), "each builder's bytes, and their number")
            g.traps(g.code("load", array, len(model), number, 0, g.slot("graph")))
            yield case(f"{area}/load-{encoding}-bytes-{subject}", "A list out of bounds traps.", g)

    for encoding in ("tensorflow", "pytorch", "ggml", "autodetect"):
        g = ComponentGuest(version)
        g.load(encoding, [b"This is no model at all."], best=f"{CODE['invalid-encoding']}|3|4|7", others=(ANY_CODE,))
        g.encodings.clear()
        yield case(
            f"{area}/load-{encoding}-garbage",
            "An encoding without a backend is an invalid encoding, a model that can't be read a runtime error. "
            "Hosts differ in the code.",
            g,
        )
    for encoding_number, target in (
        () if not newest else ((7, 0), (255, 0), (0x80000000, 0), (0, 3), (0, 255), (1, 3), (1, 0xFFFFFFFF))
    ):
        g = ComponentGuest(version)
        array = g.builders([b"This is no model at all."])
        g.traps(g.code("load", array, 1, encoding_number, target, g.slot("graph")))
        yield case(
            f"{area}/load-encoding-{encoding_number:#x}-target-{target:#x}",
            "A number that is no case of an enum traps.",
            g,
        )

    for subject, name in (
        ("unknown", "nobody"),
        ("empty", ""),
        ("other-case", "RELU"),
        ("prefix", "rel"),
        ("with-nul", "relu\0"),
        ("path", "./relu"),
        ("file-of-the-host", "/etc/passwd"),
        ("long", "u" * 40000),
        ("decomposed", "gro\u0308\u00dfe"),
    ):
        g = ComponentGuest(version, pages=2)
        g.graphs["größe" if subject == "decomposed" else "relu"] = "relu"
        # A host may refuse a name for its length, its characters or its form, too.
        plain = subject in ("unknown", "other-case", "prefix", "decomposed")
        g.load_by_name(name, best=CODE["not-found"], others=() if plain else (ANY_CODE,))
        yield case(f"{area}/name-{subject}", "A name that no graph has is not found.", g)
    for subject, name in (("two-letters", "größe"), ("three", "模型"), ("four", "🦀"), ("spaces", "my model")):
        g = ComponentGuest(version)
        g.load_by_name(name)
        g.graphs[name] = "relu"
        g.init()
        g.infer([4], F32, FLOATS, RELU)
        yield case(f"{area}/name-utf8-{subject}", "A name may have any characters.", g)
    for subject, content in (
        () if not newest else (("ff", b"\xff"), ("cut-short", b"gr\xc3"), ("surrogate", b"\xed\xa0\x80"))
    ):
        g = ComponentGuest(version)
        place = g.data("name", content)
        g.traps(g.code("load-by-name", place, len(content), g.slot("graph")))
        yield case(f"{area}/name-not-utf8-{subject}", "A string that isn't UTF-8 traps.", g)
    outside = (("past-memory", PAGE, 4), ("wraps-around", 0xFFFFFFFE, 4), ("all", 0, 0xFFFFFFFF))
    for subject, at, size in outside if newest else ():
        g = ComponentGuest(version)
        g.traps(g.code("load-by-name", at, size, g.slot("graph")))
        yield case(f"{area}/name-{subject}", "A string out of bounds traps.", g)
    places = (("unaligned", 0x982), ("past-memory", PAGE), ("partly-past-memory", PAGE - 4))
    for subject, at in places if newest else ():
        g = ComponentGuest(version)
        g.graphs["relu"] = "relu"
        place, size = g.text_at("relu")
        g.traps(g.code("load-by-name", place, size, at))
        yield case(
            f"{area}/name-result-{subject}",
            "A result's place that isn't aligned to 4 bytes, or is out of bounds, traps.",
            g,
        )

    g = ComponentGuest(version)
    g.load_by_name("relu", "graph")
    g.load_by_name("relu", "graph2")
    g.init("graph", "context")
    g.do(g.drop("graph", Handle(g.slot("graph"))))
    g.init("graph2", "context2")
    g.infer([4], F32, FLOATS, RELU, "context2")
    g.infer([4], F32, FLOATS, RELU, "context")
    yield case(f"{area}/twice", "Each load gives a graph of its own to drop.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.do(g.drop("graph", Handle(g.slot("graph"))))
    g.infer([4], F32, FLOATS, RELU)
    g.do(g.drop("context", Handle(g.slot("context"))))
    g.say("done", 1, 1)
    yield case(f"{area}/dropped-before-its-context", "A context lives on after its graph was dropped.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.do(g.drop("context", Handle(g.slot("context"))))
    g.init(into="context2")
    g.infer([4], F32, FLOATS, RELU, "context2")
    yield case(f"{area}/context-dropped", "A graph gives further contexts after one was dropped.", g)
    g = ComponentGuest(version)
    g.load_by_name("relu")
    g.do(g.drop("graph", Handle(g.slot("graph"))))
    g.traps(g.code("init-execution-context", Handle(g.slot("graph")), g.slot("context")))
    yield case(f"{area}/context-after-drop", "A handle that was dropped is gone: to use it traps.", g)
    g = ComponentGuest(version)
    g.load_by_name("relu")
    g.do(g.drop("graph", Handle(g.slot("graph"))))
    g.traps(g.drop("graph", Handle(g.slot("graph"))))
    yield case(f"{area}/dropped-twice", "A handle that was dropped is gone: to use it traps.", g)
    for number in (0, 5, 0xFFFFFFFF):
        g = ComponentGuest(version)
        g.traps(g.code("init-execution-context", number, g.slot("context")))
        yield case(f"{area}/handle-{number:#x}", "A number that isn't a handle traps.", g)
    g = ComponentGuest(version)
    g.load_by_name("relu")
    one = f"{g.code('init-execution-context', Handle(g.slot('graph')), g.slot('context'))}"
    drop = g.drop("context", Handle(g.slot("context")))
    g.loop(f"{one} {drop}", 300, COUNTER)
    g.init()
    g.infer([4], F32, FLOATS, RELU)
    yield case(f"{area}/300-contexts-dropped", "A dropped context takes nothing: hundreds may be made in turn.", g)


def cases() -> Iterator[Case]:
    """All of them."""
    for version in VERSIONS:
        yield from graph(version)
