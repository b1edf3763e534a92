"""Cases of wasi:nn as components import it, for each of its versions."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from conformance.making.case import TRAP, Case, Wanted, case
from conformance.making.component_guest import ANY_CODE, OK, PAGE, At, ComponentGuest, Handle
from conformance.making.component_types import BF16, CODE, CODES, ENCODINGS, F16, F32, F64, I32, I64, JUNE, TYPES, U8, VERSIONS
from conformance.making.core_guest import f32, u32
from conformance.making.files import files

FLOATS, RELU = f32(1, -2, 3, -4), f32(1, 0, 3, 0)
INVALID = CODE["invalid-argument"]
RUNTIME = CODE["runtime-error"]
VALUES = {
    "f16": bytes.fromhex("0000003c00c000dc"),
    "f32": f32(0, 1, -2, 2**20),
    "f64": struct.pack("<4d", 0, 1, -2, 2**20),
    "bf16": bytes.fromhex("0000803f00c08043"),
    "u8": bytes([0, 1, 127, 255]),
    "i32": struct.pack("<4i", 0, 1, -2, 2**20),
    "i64": struct.pack("<4q", 0, 1, -2, 2**20),
}
"""Four values of each type."""


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
        ("single-value", [1], f32(1), "A single value has the dimensions [1]."),
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
        yield case(f"{area}/data-unaligned-{offset}", "The data is a list of u8, which needs no alignment.", g)

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
    g._next = at + count
    g.do(f"(i32.store offset=4 {g.slot('tensor')} {g.code('tensor', dims, 1, U8, at, count)})")
    g.do(g.code("tensor.data", Handle(g.slot("tensor")), g.slot("part")))
    g.say("length", At(g.slot("part"), 4), count)
    last = f"(i32.load8_u (i32.add {At(g.slot('part'))} (i32.const {count - 1})))"
    g.say("last", last, 7)
    yield case(f"{area}/16-MiB", "A tensor may have 16 MiB.", g)

    g = ComponentGuest(version)
    handle = g.tensor([4], F32, FLOATS)
    made = g.code("tensor", g._places["dims"], 1, F32, g._places["data"], 16)
    g.do(
        "(i32.store (i32.const 0x50) (i32.const 1000))\n"
        f"        (loop $more (i32.store offset=4 {g.slot('last')} {made})\n"
        "          (i32.store (i32.const 0x50) (i32.sub (i32.load (i32.const 0x50)) (i32.const 1)))\n"
        "          (br_if $more (i32.load (i32.const 0x50))))"
    )
    g.show_tensor(Handle(g.slot("last")), [4], F32, FLOATS)
    g.show_tensor(handle, None, F32, FLOATS, "first")
    yield case(f"{area}/1000-at-once", "A guest may have a thousand tensors.", g)

    if version != VERSIONS[-1]:
        return  # the traps of the component model are the same for all versions

    good = (0x980, 1, F32, 0xA00, 16)
    for subject, arguments, says in (
        ("type-7", (0x980, 1, 7, 0xA00, 16), "A number that is no case of an enum traps."),
        ("type-255", (0x980, 1, 255, 0xA00, 16), "A number that is no case of an enum traps."),
        ("type-2-31", (0x980, 1, 0x80000000, 0xA00, 16), "A number that is no case of an enum traps."),
        ("dims-unaligned", (0x982, 1, F32, 0xA00, 16), "A list of u32 that isn't aligned to 4 bytes traps."),
        ("dims-past-memory", (PAGE, 1, F32, 0xA00, 16), "A list out of bounds traps."),
        ("dims-partly-past-memory", (PAGE - 4, 2, F32, 0xA00, 16), "A list out of bounds traps."),
        ("dims-wrap-around", (0xFFFFFFFC, 2, F32, 0xA00, 16), "A list out of bounds traps."),
        ("dims-count-overflows", (0x980, 0x40000001, F32, 0xA00, 16), "A list out of bounds traps."),
        ("data-past-memory", (0x980, 1, F32, PAGE, 1), "A list out of bounds traps."),
        ("data-partly-past-memory", (0x980, 1, F32, PAGE - 15, 16), "A list out of bounds traps."),
        ("data-wraps-around", (0x980, 1, F32, 0xFFFFFFF8, 16), "A list out of bounds traps."),
        ("data-as-large-as-addresses", (0x980, 1, F32, 0, 0xFFFFFFFF), "A list out of bounds traps."),
        ("no-data-past-memory", (0x980, 1, F32, PAGE + 1, 0), "An empty list out of bounds traps, too."),
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
    yield case(f"{area}/data-at-end-of-memory", "A list may end where the memory ends.", g)
    g = ComponentGuest(version)
    g.data("dims", u32(0), at=0x980)
    g.do(f"(i32.store offset=4 {g.slot('tensor')} {g.code('tensor', 0x980, 1, F32, PAGE, 0)})")
    g.show_tensor(Handle(g.slot("tensor")), [0], F32, b"")
    yield case(f"{area}/no-data-at-end-of-memory", "An empty list may lie where the memory ends.", g)

    for subject, result in (("unaligned", 0x982), ("past-memory", PAGE), ("partly-past-memory", PAGE - 4)):
        for function in ("tensor.dimensions", "tensor.data"):
            g = ComponentGuest(version)
            handle = g.tensor([4], F32, FLOATS)
            g.traps(g.code(function, handle, result))
            says = "A result's place that isn't aligned to 4 bytes, or is out of bounds, traps."
            yield case(f"{area}/{function.partition('.')[2]}-result-{subject}", says, g)

    gone = "A handle that was dropped is gone: to use it traps."
    for function in ("tensor.dimensions", "tensor.ty", "tensor.data"):
        g = ComponentGuest(version)
        handle = g.tensor([4], F32, FLOATS)
        g.do(g.drop("tensor", handle))
        call = g.code(function, handle) if function == "tensor.ty" else g.code(function, handle, g.slot("part"))
        g.traps(f"(drop {call})" if function == "tensor.ty" else call)
        yield case(f"{area}/{function.partition('.')[2]}-after-drop", gone, g)
    g = ComponentGuest(version)
    handle = g.tensor([4], F32, FLOATS)
    g.do(g.drop("tensor", handle))
    g.traps(g.drop("tensor", handle))
    yield case(f"{area}/dropped-twice", gone, g)
    for number in (0, 1, 77, 0xFFFFFFFF):
        g = ComponentGuest(version)
        g.traps(f"(drop {g.code('tensor.ty', number)})")
        yield case(f"{area}/handle-{number:#x}", "A number that isn't a handle traps.", g)
    g = ComponentGuest(version)
    g.do(f"(i32.store offset=4 {g.slot('tensor')} {g.code('tensor', *good)})")
    g.data("dims", u32(4), at=0x980)
    g.traps(g.drop("graph", Handle(g.slot("tensor"))))
    yield case(f"{area}/dropped-as-a-graph", "A handle of one resource isn't one of another: to use it so traps.", g)


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
            g.show("data", str(At(g.slot("part"))), str(At(g.slot("part"), 4)), text.encode())
            g.do(g.drop("error", Handle(g.slot("error"))))
            yield case(f"{area}/made-{code}", f"An error made with the code {code} gives back its code and data.", g)
        g = ComponentGuest(version)
        g.do(f"(i32.store offset=4 {g.slot('error')} {g.code('error', 3, 0x980, 0)})")
        g.do(g.code("error.data", Handle(g.slot("error")), g.slot("part")))
        g.say("length", At(g.slot("part"), 4), 0)
        yield case(f"{area}/made-without-data", "An error's data may be empty.", g)
        for subject, code_number, content, says in (
            ("code-9", 9, b"", "A number that is no case of an enum traps."),
            ("data-not-utf8", 3, b"\xff", "A string that isn't UTF-8 traps."),
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
    for subject, code in (
        ("code", lambda g, error: f"(drop {g.code('error.code', error)})"),
        ("data", lambda g, error: g.code("error.data", error, g.slot("part"))),
        ("drop", lambda g, error: g.drop("error", error)),
    ):
        g = failing()
        g.do(g.drop("error", Handle(g.slot("graph"))))
        g.traps(code(g, Handle(g.slot("graph"))))
        yield case(f"{area}/{subject}-after-drop", "A handle that was dropped is gone: to use it traps.", g)
    g = failing()
    g.traps(g.code("init-execution-context", Handle(g.slot("graph")), g.slot("context")))
    yield case(f"{area}/error-as-a-graph", "The handle of an error is no graph: to use it so traps.", g)


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
                "A target that the host doesn't have is an unsupported operation. Hosts differ: some compute elsewhere.",
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
    for encoding_number, target in () if not newest else ((7, 0), (255, 0), (0x80000000, 0), (0, 3), (0, 255), (1, 3), (1, 0xFFFFFFFF)):
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
        g.graphs["relu"] = "relu"
        g.load_by_name(name, best=CODE["not-found"], others=(ANY_CODE,))
        yield case(
            f"{area}/name-{subject}", "A name that no graph has is not found. Hosts differ in the code.", g
        )
    for subject, name in (("two-letters", "größe"), ("three", "模型"), ("four", "🦀"), ("spaces", "my model")):
        g = ComponentGuest(version)
        g.load_by_name(name)
        g.graphs[name] = "relu"
        g.init()
        g.infer([4], F32, FLOATS, RELU)
        yield case(f"{area}/name-utf8-{subject}", "A name may have any characters.", g)
    for subject, content in () if not newest else (("ff", b"\xff"), ("cut-short", b"gr\xc3"), ("surrogate", b"\xed\xa0\x80")):
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
    g.do(
        "(i32.store (i32.const 0x50) (i32.const 300))\n"
        f"        (loop $more {one} {drop}\n"
        "          (i32.store (i32.const 0x50) (i32.sub (i32.load (i32.const 0x50)) (i32.const 1)))\n"
        "          (br_if $more (i32.load (i32.const 0x50))))"
    )
    g.init()
    g.infer([4], F32, FLOATS, RELU)
    yield case(f"{area}/300-contexts-dropped", "A dropped context takes nothing: hundreds may be made in turn.", g)


def _mistake(
    name: str, says: str, g: ComponentGuest, named: Sequence[tuple[str, Handle]], best: Wanted = INVALID
) -> Case:
    """A case whose last input is a mistake: a host with set-input may notice in compute only."""
    g.run(named, best=best, others=(ANY_CODE,))
    accept = []
    if g.stateful:
        before = [line.of([line.best]) for line in g.lines[:-1]]
        g.call("compute", Handle(g.slot("context")), g.slot("nothing"), best=INVALID, others=("ok", ANY_CODE))
        accept.append([*before, "set-input ok", f"compute {ANY_CODE}"])
    return case(name, f"{says} Hosts differ in the code.", g, accept=accept)


def inference(version: str) -> Iterator[Case]:
    """Computing."""
    area = f"{version}/inference"
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU, out_dims=[4], out_kind=F32)
    yield case(f"{area}/relu", "An output is a tensor with dimensions, a type and data.", g)
    for kind, name in enumerate(TYPES):
        g = ComponentGuest(version)
        g.context(name)
        g.infer([4], kind, VALUES[name], VALUES[name], out_dims=[4], out_kind=kind)
        g.types[name] = None
        yield case(f"{area}/type-{name}", f"A tensor of {name} goes in and comes out unchanged.", g)

    g = ComponentGuest(version)
    g.context("two")
    a, b = g.tensor([2], F32, f32(3, 5), "a"), g.tensor([2], F32, f32(4, 10), "b")
    g.run([("a", a), ("b", b)])
    g.output(f32(12, 50), "product", 0, label="product")
    g.output(f32(7, 15), "sum", 1, label="sum")
    yield case(f"{area}/two", "Inputs and outputs are associated by their names.", g)
    g = ComponentGuest(version)
    g.context("zam")
    named = [(name, g.tensor([1], F32, f32(value), name)) for name, value in (("m", 4), ("a", 3), ("z", 2))]
    g.run(named)
    g.output(f32(234))
    yield case(f"{area}/odd-order", "Inputs are told apart by their names, in whatever order they come.", g)
    g = ComponentGuest(version)
    g.context("unicode")
    g.run([("größe", g.tensor([4], F32, FLOATS))])
    g.output(RELU, "模型 ☃")
    yield case(f"{area}/unicode-names", "The names of a model's tensors may have any characters.", g)
    g = ComponentGuest(version)
    g.context("numerals")
    named = [(name, g.tensor([1], F32, f32(value), f"n{name}")) for name, value in (("0", 3), ("1", 4), ("2", 2))]
    g.run(named)
    g.output(f32(234))
    yield case(f"{area}/names-of-digits", "The name 0 is that of the input called 0, not of the first one.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.run([("0", g.tensor([4], F32, FLOATS))], best="ok|0", others=(ANY_CODE,))
    yield case(f"{area}/index-as-name", "Hosts differ: a number may stand for the place of an input.", g)

    if version == VERSIONS[-1]:
        g = ComponentGuest(version)
        g.context("wide")
        g.run([("x", g.tensor([1], F32, f32(1)))])
        outputs = g.slot("outputs")
        g.say("outputs", At(outputs, 8), 12)
        for index in (0, 1, 2, 10, 11):
            at = f"(i32.load offset={12 * index} (i32.load offset=4 {outputs}))"
            size = f"(i32.load offset={12 * index + 4} (i32.load offset=4 {outputs}))"
            g.show(f"name {index}", at, size, f"y{index}".encode())
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
        handle = g.tensor([4], F32, FLOATS)
        array = g.inputs([("x", handle), ("x", handle)])
        g.traps(g.code("compute", Handle(g.slot("context")), array, 2, g.slot("outputs")))
        yield case(f"{area}/tensor-twice", "A tensor is passed as a whole: the same handle twice traps.", g)
        for subject, at, count, says in (
            ("list-past-memory", PAGE, 1, "A list out of bounds traps."),
            ("list-unaligned", 0x982, 1, "A list that isn't aligned to 4 bytes traps."),
            ("list-count-overflows", 0x980, 0x15555556, "A list out of bounds traps."),
        ):
            g = ComponentGuest(version)
            g.context("relu")
            g.traps(g.code("compute", Handle(g.slot("context")), at, count, g.slot("outputs")))
            yield case(f"{area}/{subject}", says, g)
        for subject, name_at, size in (("past-memory", PAGE, 1), ("wraps-around", 0xFFFFFFFE, 4)):
            g = ComponentGuest(version)
            g.context("relu")
            handle = g.tensor([4], F32, FLOATS)
            array = g.data("inputs", u32(name_at, size, 0))
            g.do(f"(i32.store offset=8 {array} {handle})")
            g.traps(g.code("compute", Handle(g.slot("context")), array, 1, g.slot("outputs")))
            yield case(f"{area}/name-{subject}", "A string out of bounds traps.", g)
        g = ComponentGuest(version)
        g.context("relu")
        handle = g.tensor([4], F32, FLOATS)
        g.traps(g.code("compute", Handle(g.slot("context")), g.inputs([("x", handle)]), 1, 0x982))
        yield case(f"{area}/result-unaligned", "A result's place that isn't aligned to 4 bytes traps.", g)
        g = ComponentGuest(version)
        g.context("relu")
        handle = g.tensor([4], F32, FLOATS)
        array = g.data("inputs", u32(0, 0, 0), at=PAGE - 12)
        place, size = g.text_at("x")
        g.do(f"(i32.store {array} {place}) (i32.store offset=4 {array} (i32.const {size}))")
        g.do(f"(i32.store offset=8 {array} {handle})")
        g.call("compute", Handle(g.slot("context")), array, 1, g.slot("outputs"))
        g.output(RELU)
        yield case(f"{area}/list-at-end-of-memory", "A list may end where the memory ends.", g)
    else:
        yield from stateful(version)

    # Mistakes

    for subject, name in (("unknown", "nobody"), ("empty", ""), ("other-case", "X"), ("with-nul", "x\0"), ("index-9", "9")):
        g = ComponentGuest(version)
        g.context("relu")
        yield _mistake(
            f"{area}/input-{subject}",
            "A name that no input has is an invalid argument.",
            g,
            [(name, g.tensor([4], F32, FLOATS))],
        )
    for subject, dims, content, says in (
        ("too-many-elements", [5], f32(1, 2, 3, 4, 5), "The dimensions must be the graph's."),
        ("rank-too-high", [2, 2], FLOATS, "The number of dimensions must be the graph's."),
        ("no-dims", [], FLOATS, "The number of dimensions must be the graph's."),
        ("rank-65", [1] * 64 + [4], FLOATS, "The number of dimensions must be the graph's."),
        ("data-too-short", [4], FLOATS[:-4], "The data must have the bytes of all elements."),
        ("data-long-by-a-byte", [4], FLOATS + b"\0", "The data must have the bytes of all elements, and no more."),
        ("data-empty", [4], b"", "The data must have the bytes of all elements."),
        ("dims-overflow", [65536, 65536], b"", "The product of the dimensions is no number modulo 2**32."),
    ):
        g = ComponentGuest(version)
        g.context("relu")
        yield _mistake(f"{area}/{subject}", says, g, [("x", g.tensor(dims, F32, content))])
    for kind, size in ((F16, 2), (F64, 8), (BF16, 2), (U8, 1), (I32, 4), (I64, 8)):
        g = ComponentGuest(version)
        g.context("relu")
        yield _mistake(
            f"{area}/{TYPES[kind]}-into-f32",
            "The type must be the graph's.",
            g,
            [("x", g.tensor([4], kind, b"\1" * 4 * size))],
        )
    g = ComponentGuest(version)
    g.context("pairs")
    g.run([("x", g.tensor([3], F32, f32(1, 2, 3)))], best=OK if g.stateful else RUNTIME, others=(ANY_CODE,))
    if g.stateful:
        g.lines.pop()
        g._body.pop()
        g._body.pop()
        g.call("compute", Handle(g.slot("context")), g.slot("nothing"), best=RUNTIME, others=(ANY_CODE,))
    g.run([("x", g.tensor([4], F32, f32(1, 2, 3, 4), "second"))])
    g.output(f32(1, 2, 3, 4), dims=[2, 2], kind=F32)
    yield case(
        f"{area}/fails-and-works-again",
        "A compute that the runtime refuses is a runtime error, and the context works on. Hosts differ in the code.",
        g,
    )

    # Shapes

    g = ComponentGuest(version)
    g.context("scalar")
    g.infer([1], F32, f32(7), f32(7))
    yield case(f"{area}/single-value", "A single value has the dimensions [1].", g)
    g = ComponentGuest(version)
    g.context("rows")
    for rows in (1, 5, 2):
        content = f32(*range(2 * rows))
        g.run([("x", g.tensor([rows, 2], F32, content, f"of{rows}"))])
        g.output(content, dims=[rows, 2], kind=F32, label=f"of {rows}")
    yield case(f"{area}/open-dimension", "A dimension that the model leaves open may change with each compute.", g)
    g = ComponentGuest(version)
    g.context("rows")
    yield _mistake(
        f"{area}/open-beside-fixed",
        "An open dimension doesn't open those beside it.",
        g,
        [("x", g.tensor([2, 3], F32, f32(1, 2, 3, 4, 5, 6)))],
    )
    g = ComponentGuest(version)
    g.context("rank8")
    g.infer([1] * 7 + [2], F32, f32(3, -3), f32(3, 0), out_dims=[1] * 7 + [2])
    yield case(f"{area}/rank-8", "A tensor may have eight dimensions.", g)
    g = ComponentGuest(version)
    g.context("transpose")
    g.infer([2, 3], F32, f32(1, 2, 3, 4, 5, 6), f32(1, 4, 2, 5, 3, 6), out_dims=[3, 2])
    yield case(f"{area}/row-major", "The elements are in row-major order.", g)
    g = ComponentGuest(version)
    g.context("rows")
    g.run([("x", g.tensor([0, 2], F32, b""))], others=(ANY_CODE,))
    yield case(f"{area}/zero-rows", "Hosts differ: a tensor may have no elements, or that is an error.", g)

    count = 2**22
    g = ComponentGuest(version, pages=600)
    g.context("any")
    dims, at = g.data("dims", u32(count)), 0x10000
    g.data("data", f32(7), "the last element; the others are 0", at=at + 4 * (count - 1))
    g._next = at + 4 * count
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

    # State and lifetimes

    g = ComponentGuest(version)
    g.load_by_name("relu")
    g.init(into="context")
    g.init(into="context2")
    g.run([("x", g.tensor([4], F32, f32(1, 1, 1, 1)))], "context")
    g.output(f32(1, 1, 1, 1), context="context", label="one")
    g.run([("x", g.tensor([4], F32, f32(2, 2, 2, 2), "second"))], "context2")
    g.output(f32(2, 2, 2, 2), context="context2", label="other")
    yield case(f"{area}/two-contexts", "Contexts of one graph don't share tensors.", g)
    g = ComponentGuest(version)
    g.context("relu")
    for value in (1, 2, 3):
        g.run([("x", g.tensor([4], F32, f32(value, -value, value, -value), f"t{value}"))])
        g.output(f32(value, 0, value, 0), label=f"of {value}")
    yield case(f"{area}/three-times", "A context computes as often as it is asked to.", g)
    g = ComponentGuest(version)
    g.context("relu")
    handle = g.tensor([4], F32, FLOATS)
    g.run([("nobody", handle)], best=INVALID, others=(ANY_CODE, OK))
    g.traps(f"(drop {g.code('tensor.ty', handle)})")
    accept = [["load-by-name ok", "init-execution-context ok", "set-input ok", f"compute {ANY_CODE}", TRAP]]
    yield case(
        f"{area}/tensor-is-passed-in-vain",
        "A tensor that is passed is gone also if the call fails. Hosts differ in the code.",
        g,
        accept=accept,
    )
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    g.do(g.drop("context", Handle(g.slot("context"))))
    g.show_tensor(Handle(g.slot("output")), [4], F32, RELU, "later")
    yield case(f"{area}/output-outlives-context", "An output lives on after its context was dropped.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    g.run([("x", Handle(g.slot("output")))])
    g.output(RELU, label="again")
    yield case(f"{area}/output-as-input", "An output may be passed as an input.", g)
    for subject, prepare in (("dropped", True), ("handle-0", False)):
        g = ComponentGuest(version)
        g.context("relu")
        handle = g.tensor([4], F32, FLOATS)
        context: Handle | int = Handle(g.slot("context"))
        if prepare:
            g.do(g.drop("context", context))
        else:
            context = 0
        if g.stateful:
            g.traps(g.code("compute", context, g.slot("nothing")))
        else:
            g.traps(g.code("compute", context, g.inputs([("x", handle)]), 1, g.slot("outputs")))
        yield case(f"{area}/context-{subject}", "A handle that isn't, or was dropped: to use it traps.", g)
    g = ComponentGuest(version)
    g.context("relu")
    handle = g.tensor([4], F32, FLOATS)
    graph_handle = Handle(g.slot("graph"))
    if g.stateful:
        g.traps(g.code("compute", graph_handle, g.slot("nothing")))
    else:
        g.traps(g.code("compute", graph_handle, g.inputs([("x", handle)]), 1, g.slot("outputs")))
    yield case(f"{area}/graph-as-a-context", "A handle of one resource isn't one of another: to use it so traps.", g)


def stateful(version: str) -> Iterator[Case]:
    """The functions set-input, compute and get-output of the first two versions."""
    area = f"{version}/inference"
    g = ComponentGuest(version)
    g.context("relu")
    g.call(
        "compute", Handle(g.slot("context")), g.slot("nothing"), best=f"{INVALID}|{RUNTIME}", others=(OK, ANY_CODE)
    )
    yield case(
        f"{area}/compute-before-set-input",
        "Hosts differ: to compute before the input is set is an error, or computes with anything.",
        g,
    )
    g = ComponentGuest(version)
    g.context("constant")
    g.call("compute", Handle(g.slot("context")), g.slot("nothing"))
    g.output(f32(5, 7))
    yield case(f"{area}/no-inputs", "A model may have no inputs.", g)
    g = ComponentGuest(version)
    g.context("relu")
    handle = g.tensor([4], F32, FLOATS)
    place, size = g.text_at("x")
    g.call("set-input", Handle(g.slot("context")), place, size, handle, g.slot("nothing"))
    g.traps(f"(drop {g.code('tensor.ty', handle)})")
    yield case(f"{area}/tensor-is-passed", "A tensor that is passed belongs to the host: the guest's handle is gone.", g)
    g = ComponentGuest(version)
    g.context("two")
    place, size = g.text_at("a")
    handle = g.tensor([2], F32, f32(2, 3))
    g.call("set-input", Handle(g.slot("context")), place, size, handle, g.slot("nothing"))
    for value in (1, 4):
        g.run([("b", g.tensor([2], F32, f32(value, value), f"t{value}"))])
        g.output(f32(2 * value, 3 * value), "product", label=f"times {value}")
    yield case(f"{area}/inputs-stay-set", "An input stays set while another one changes.", g)
    g = ComponentGuest(version)
    g.context("relu")
    g.infer([4], F32, FLOATS, RELU)
    g.output(RELU, label="again")
    yield case(f"{area}/output-twice", "An output may be read as often as the guest likes.", g)
    for subject, name in (("unknown", "nobody"), ("empty", ""), ("index-9", "9"), ("with-nul", "y\0")):
        g = ComponentGuest(version)
        g.context("relu")
        g.infer([4], F32, FLOATS, RELU)
        place, size = g.text_at(name)
        g.call(
            "get-output", Handle(g.slot("context")), place, size, g.slot("output"), best=INVALID, others=(ANY_CODE,)
        )
        yield case(
            f"{area}/output-{subject}",
            "A name that no output has is an invalid argument. Hosts differ in the code.",
            g,
        )
    g = ComponentGuest(version)
    g.context("relu")
    place, size = g.text_at("y")
    g.call(
        "get-output", Handle(g.slot("context")), place, size, g.slot("output"), best=RUNTIME, others=(OK, ANY_CODE)
    )
    yield case(
        f"{area}/output-before-compute",
        "Hosts differ: before a compute there is no output, or one with anything in it.",
        g,
    )
    for subject, at, size in (("past-memory", PAGE, 1), ("wraps-around", 0xFFFFFFFE, 4)):
        g = ComponentGuest(version)
        g.context("relu")
        handle = g.tensor([4], F32, FLOATS)
        g.traps(g.code("set-input", Handle(g.slot("context")), at, size, handle, g.slot("nothing")))
        yield case(f"{area}/set-input-name-{subject}", "A string out of bounds traps.", g)
        g = ComponentGuest(version)
        g.context("relu")
        g.traps(g.code("get-output", Handle(g.slot("context")), at, size, g.slot("output")))
        yield case(f"{area}/get-output-name-{subject}", "A string out of bounds traps.", g)
    g = ComponentGuest(version)
    g.context("relu")
    place, size = g.text_at("x")
    g.traps(g.code("set-input", Handle(g.slot("context")), place, size, 0, g.slot("nothing")))
    yield case(f"{area}/set-input-tensor-0", "A number that isn't a handle traps.", g)


def cases() -> Iterator[Case]:
    """All of them."""
    for version in VERSIONS:
        yield from tensor(version)
        yield from errors(version)
        yield from graph(version)
        yield from inference(version)
