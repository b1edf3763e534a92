"""Cases of the core ABI: loading models from bytes."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import TRAP, Case, case
from conformance.making.core_guest import (
    CPU,
    ENCODINGS,
    FAILS,
    FAILS_OR_TRAPS,
    GPU,
    INVALID_ARGUMENT,
    INVALID_ENCODING,
    RUNTIME_ERROR,
    TPU,
    TRAPS,
    UNWRITTEN,
    CoreGuest,
    In,
)
from conformance.making.files import files
from conformance.making.guest_text import PAGE, f32, u32
from conformance.making.rules import AUTODETECT, NO_BACKEND, TARGET
from conformance.making.values import wrong_builders
from conformance.words import ERRNOS


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
        yield case(named("autodetected"), AUTODETECT, g)

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
            place = g.data("builder", content, at=(g.next + 7) // 8 * 8 + 3)
            g.next = place.at + len(content)
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

        for wrong in wrong_builders(model):
            g = CoreGuest(pages=2)
            g.load(encoding, wrong.contents, best=ERRNOS.index(wrong.error.replace("-", "_")), **FAILS)
            g.say("graph", In(g.slot("graph")), UNWRITTEN, (0,))
            yield case(named(wrong.subject), wrong.says, g)

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
            yield case(named(f"target-{subject}"), TARGET, g)

        for target in (3, 255, 256, 0x80000000):
            g = CoreGuest()
            g.load(encoding, model, target=target, best=INVALID_ARGUMENT, **FAILS_OR_TRAPS)
            yield case(
                named(f"target-{target:#x}"),
                TARGET.saying("A number that is no target is an invalid argument. Hosts differ: some trap."),
                g,
            )

    g = CoreGuest()
    g.load("openvino", files("openvino", "relu")[::-1], best=f"{INVALID_ARGUMENT}|{RUNTIME_ERROR}", others=("0-8",))
    yield case(
        "core/load/openvino-builders-swapped",
        "Hosts differ: the weights before the model are an error, or are told by their content.",
        g,
    )
    g = CoreGuest()
    g.load("openvino", [files("openvino", "relu")[0], b""])
    g.init()
    g.relu()
    yield case(
        "core/load/openvino-empty-weights", "A builder may be empty, such as the weights of a model without any.", g
    )

    for encoding, other in (("onnx", "openvino"), ("openvino", "tensorflowlite"), ("tensorflowlite", "onnx")):
        g = CoreGuest()
        g.load(encoding, files(other, "relu"), best="0-8")
        says = "Hosts differ: a model in another encoding is an error, or is loaded by a runtime that knows both."
        yield case(f"core/load/{other}-as-{encoding}", says, g)

    for encoding in ("tensorflow", "pytorch"):
        g = CoreGuest()
        g.load(encoding, [b"This is no model at all."], best=f"{INVALID_ENCODING}|5|6", **FAILS)
        g.encodings.clear()
        yield case(f"core/load/{encoding}-garbage", NO_BACKEND, g)
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


def cases() -> Iterator[Case]:
    """All of them."""
    yield from load()
