"""Cases of wasi:nn: computing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.making.case import TRAP, Case, Wanted, case
from conformance.making.component_guest import ANY_CODE, OK, At, ComponentGuest, Handle
from conformance.making.component_stateful import stateful
from conformance.making.component_types import (
    BF16,
    F16,
    F32,
    F64,
    I32,
    I64,
    U8,
    VERSIONS,
)
from conformance.making.component_values import FLOATS, INVALID, RELU, RUNTIME, VALUES
from conformance.making.guest_text import PAGE, f32, u32
from conformance.suite import TYPES


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
        yield case(
            f"{area}/name-twice", "Hosts differ: a name that is given twice is an error, or one of both counts.", g
        )
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

    for subject, name in (
        ("unknown", "nobody"),
        ("empty", ""),
        ("other-case", "X"),
        ("with-nul", "x\0"),
        ("index-9", "9"),
    ):
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
        g.body.pop()
        g.body.pop()
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


def cases() -> Iterator[Case]:
    """All of them."""
    for version in VERSIONS:
        yield from inference(version)
