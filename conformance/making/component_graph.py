"""Cases of wasi:nn: loading graphs from bytes, and making contexts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.making.case import Case, case
from conformance.making.component_guest import ANY_CODE, COUNTER, PLACES, ComponentGuest, Handle
from conformance.making.component_types import CODE, ENCODINGS, F32, VERSIONS
from conformance.making.files import files
from conformance.making.guest_text import PAGE, u32
from conformance.making.rules import (
    AUTODETECT,
    DROPPED,
    DROPPED_TWICE,
    END_OF_MEMORY,
    ENUM,
    LIST,
    NO_BACKEND,
    NO_HANDLE,
    RESULT,
    RESULT_AT_END,
    TARGET,
    UNALIGNED_LIST,
)
from conformance.making.values import FLOATS, RELU, wrong_builders

_GARBAGE = b"This is no model at all."


def load(version: str) -> Iterator[Case]:
    """Models from a guest's bytes, in each encoding."""
    for encoding in ("onnx", "openvino", "tensorflowlite"):
        model, number = files(encoding, "relu"), ENCODINGS.index(encoding)
        area = f"{version}/graph/load-{encoding}"
        g = ComponentGuest(version)
        g.load(encoding, model)
        g.init()
        g.infer([4], F32, FLOATS, RELU)
        yield case(area, "load makes a graph from builders in an encoding that the host has.", g)
        g = ComponentGuest(version)
        g.load("autodetect", model, best="ok|1|4", others=(ANY_CODE,))
        g.encodings[encoding] = None
        yield case(f"{area}-autodetected", AUTODETECT, g)
        g = ComponentGuest(version)
        g.load(encoding, model)
        g.do(f"(memory.fill (global.get $builder) (i32.const 0) (i32.const {len(model[0])}))")
        g.init()
        g.infer([4], F32, FLOATS, RELU)
        yield case(f"{area}-bytes-may-change-after", "A graph doesn't depend on the bytes that it was loaded from.", g)
        g = ComponentGuest(version)
        g.load(encoding, model)
        g.load(encoding, model, into="graph2")
        g.init("graph2")
        g.infer([4], F32, FLOATS, RELU)
        yield case(f"{area}-twice", "Each load makes a graph; both are usable.", g)
        g = ComponentGuest(version)
        array = b"".join(u32(g.data("builder", content).at, len(content)) for content in model)
        at = g.data("builders", array, "at the very end of the memory", at=g.end - len(array))
        g.encodings[encoding] = None
        g.call("load", at, len(model), number, 0, g.slot("graph"))
        yield case(f"{area}-builders-at-end-of-memory", END_OF_MEMORY, g)
        for wrong in wrong_builders(model):
            g = ComponentGuest(version, pages=2)
            g.load(encoding, wrong.contents, best=CODE[wrong.error], others=(ANY_CODE,))
            yield case(f"{area}-{wrong.subject}", wrong.says, g)
        for subject, target in (("gpu", 1), ("tpu", 2)):
            g = ComponentGuest(version)
            g.load(encoding, model, target=target, best="ok|4", others=(ANY_CODE,))
            yield case(f"{area}-{subject}", TARGET, g)
        g = ComponentGuest(version, pages=260)
        g.load(encoding, files(encoding, "large"))
        g.init()
        g.infer([4], F32, FLOATS, FLOATS)
        yield case(f"{area}-16-MiB", "A model may have 16 MiB.", g)
        for subject, at, count, says in (
            ("past-memory", PAGE, 1, LIST),
            ("partly-past-memory", PAGE - 4, 1, LIST),
            ("at-minus-8", 0xFFFFFFF8, 2, LIST),
            ("unaligned", 0x982, 1, UNALIGNED_LIST),
            ("count-overflows", 0x980, 0x20000001, LIST),
        ):
            g = ComponentGuest(version)
            g.encodings[encoding] = None
            g.traps(g.code("load", at, count, number, 0, g.slot("graph")))
            yield case(f"{area}-builders-{subject}", says, g)
        for subject, at, size in (
            ("past-memory", PAGE, 1),
            ("partly-past-memory", PAGE - 4, 5),
            ("wraps-around", 0xFFFFFFF0, 0x20),
            ("as-large-as-addresses", 0, 0xFFFFFFFF),
        ):
            g = ComponentGuest(version)
            g.encodings[encoding] = None
            array = g.data("builders", u32(at, size) * len(model), "each builder's bytes, and their number")
            g.traps(g.code("load", array, len(model), number, 0, g.slot("graph")))
            yield case(f"{area}-bytes-{subject}", LIST, g)


def load_of_several(version: str) -> Iterator[Case]:
    """Models in several encodings or none, and numbers out of range."""
    area = f"{version}/graph"
    model = files("openvino", "relu")
    g = ComponentGuest(version)
    g.load("openvino", model[::-1], best=f"{CODE['invalid-argument']}|{CODE['runtime-error']}", others=("ok|0-8",))
    says = "Hosts differ: the weights before the model are an error, or are told by their content."
    yield case(f"{area}/load-openvino-builders-swapped", says, g)
    g = ComponentGuest(version)
    g.load("openvino", [model[0], b""])
    g.init()
    g.infer([4], F32, FLOATS, RELU)
    says = "A builder may be empty, such as the weights of a model without any."
    yield case(f"{area}/load-openvino-empty-weights", says, g)
    for encoding, other in (("onnx", "openvino"), ("openvino", "tensorflowlite"), ("tensorflowlite", "onnx")):
        g = ComponentGuest(version)
        g.load(encoding, files(other, "relu"), best="ok|0-8")
        says = "Hosts differ: a model in another encoding is an error, or is loaded by a runtime that knows both."
        yield case(f"{area}/load-{other}-as-{encoding}", says, g)
    for encoding in ("tensorflow", "pytorch", "ggml", "autodetect"):
        g = ComponentGuest(version)
        g.load(encoding, [_GARBAGE], best=f"{CODE['invalid-encoding']}|3|4|7", others=(ANY_CODE,))
        g.encodings.clear()
        yield case(f"{area}/load-{encoding}-garbage", NO_BACKEND, g)
    for number, target in (
        *((7, 0), (255, 0), (256, 0), (0x80000000, 0), (0, 3), (0, 255), (0, 256), (1, 3), (1, 0xFFFFFFFF)),
    ):
        g = ComponentGuest(version)
        array = g.builders([_GARBAGE])
        g.traps(g.code("load", array, 1, number, target, g.slot("graph")))
        yield case(f"{area}/load-encoding-{number:#x}-target-{target:#x}", ENUM, g)
    for subject, at in PLACES:
        g = ComponentGuest(version)
        g.encodings["onnx"] = None
        model = files("onnx", "relu")
        g.traps(g.code("load", g.builders(model), 1, ENCODINGS.index("onnx"), 0, at))
        yield case(f"{area}/load-result-{subject}", RESULT, g)


def contexts(version: str) -> Iterator[Case]:
    """Making contexts, and the lifetimes of graphs and contexts."""
    area = f"{version}/graph"
    for subject, at in PLACES:
        g = ComponentGuest(version)
        g.load_by_name("relu")
        g.traps(g.code("init-execution-context", Handle(g.slot("graph")), at))
        yield case(f"{area}/context-result-{subject}", RESULT, g)
    g = ComponentGuest(version)
    g.load_by_name("relu")
    g.call("init-execution-context", Handle(g.slot("graph")), g.end - 8)
    yield case(f"{area}/context-result-at-end-of-memory", RESULT_AT_END, g)
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
    yield case(f"{area}/context-after-drop", DROPPED, g)
    g = ComponentGuest(version)
    g.load_by_name("relu")
    g.do(g.drop("graph", Handle(g.slot("graph"))))
    g.traps(g.drop("graph", Handle(g.slot("graph"))))
    yield case(f"{area}/dropped-twice", DROPPED_TWICE, g)
    for number in (0, 5, 0xFFFFFFFF):
        g = ComponentGuest(version)
        g.traps(g.code("init-execution-context", number, g.slot("context")))
        yield case(f"{area}/handle-{number:#x}", NO_HANDLE, g)
    yield from _many_contexts(version)


def _many_contexts(version: str) -> Iterator[Case]:
    """Many contexts on a graph: at once, and in turn."""
    drops: Sequence[tuple[str, bool, int, str]] = (
        ("300-contexts-dropped", True, 300, "A dropped context takes nothing: hundreds may be made in turn."),
        ("100-contexts", False, 100, "A graph may have a hundred contexts."),
    )
    for subject, dropped, times, says in drops:
        g = ComponentGuest(version)
        g.load_by_name("relu")
        code = g.code("init-execution-context", Handle(g.slot("graph")), g.slot("context"))
        g.loop(f"{code} {g.drop('context', Handle(g.slot('context'))) if dropped else ''}".rstrip(), times, COUNTER)
        g.init()
        g.infer([4], F32, FLOATS, RELU)
        yield case(f"{version}/graph/{subject}", says, g)


def cases() -> Iterator[Case]:
    """All of them."""
    for version in VERSIONS:
        yield from load(version)
        yield from load_of_several(version)
        yield from contexts(version)
