"""Cases of the core ABI: tensors, their types and shapes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from conformance.making.case import TRAP, Case, case, outcomes
from conformance.making.core_guest import (
    ANY_ERROR,
    F16,
    F32,
    F64,
    I32,
    I64,
    INVALID_ARGUMENT,
    TYPES,
    U8,
    CoreGuest,
    In,
)
from conformance.making.guest_text import PAGE, f32, u32
from conformance.making.rules import (
    HANDLE_OF_A_GRAPH,
    NO_DIMENSIONS,
    NO_ELEMENTS,
    OPEN,
    OPEN_BESIDE_FIXED,
    OPEN_CHANGES,
    OPEN_RANK,
    ROW_MAJOR,
    SINGLE_VALUE,
    TYPE,
    UNALIGNED_DATA,
    Rule,
)
from conformance.making.values import EDGES, FLOATS, RELU, UNFIT_TENSORS, VALUES


def _refused(name: str, says: Rule, g: CoreGuest) -> Case:
    """A case whose last call of set_input is a mistake: a host may notice in `compute` only."""
    g.compute(best=INVALID_ARGUMENT, others=("0-8",))
    before = [line.of([line.best]) for line in g.lines[:-2]]
    early = [*before, f"set_input {ANY_ERROR}", "compute 0-8"]
    late = [*before, "set_input 0", f"compute {ANY_ERROR}"]
    says += " Hosts differ in the errno, and some notice in compute only."
    return case(name, says, g, expect=outcomes(g.lines)[0], accept=[early, late])


def set_input() -> Iterator[Case]:
    """Mistakes in tensors, and where they lie."""
    fails: dict[str, Any] = {"best": INVALID_ARGUMENT, "others": (ANY_ERROR,)}
    for subject, dims, content, says in UNFIT_TENSORS:
        g = CoreGuest(pages=2)
        g.context("relu")
        g.set_input(0, dims, content, **fails)
        yield _refused(f"core/set_input/{subject}", says, g)

    for kind, size in ((F16, 2), (F64, 8), (U8, 1), (I32, 4), (I64, 8)):
        g = CoreGuest()
        g.context("relu")
        g.set_input(0, [4], b"\1" * 4 * size, kind, **fails)
        g.types.clear()
        yield _refused(f"core/set_input/{TYPES[kind]}-into-f32", TYPE, g)
    for kind in (6, 7, 0x81, 255):
        g = CoreGuest()
        g.context("relu")
        g.set_input(0, [4], FLOATS, kind, best=INVALID_ARGUMENT, others=(ANY_ERROR, TRAP))
        yield case(
            f"core/set_input/type-{kind}",
            TYPE.saying("A number that is no type is an invalid argument. Hosts differ: some trap."),
            g,
        )

    g = CoreGuest()
    g.context("u8")
    g.set_input(0, [4], bytes([1, 2, 3, 200]), 2, best="0|1", others=("0-8",))
    g.types.clear()
    g.types["u8"] = None
    yield case(
        "core/set_input/u8-by-its-old-number",
        TYPE.saying("Hosts differ: before August 2023, 2 was the number of u8, and 1 byte an element shows it."),
        g,
    )

    for index in (1, 2, 0x7FFFFFFF, 0xFFFFFFFF):
        g = CoreGuest()
        g.context("relu")
        g.set_input(index, [4], FLOATS, best=INVALID_ARGUMENT, others=(ANY_ERROR,))
        yield case(
            f"core/set_input/index-{index:#x}",
            "An index that no input has is an invalid argument. Hosts differ in the errno.",
            g,
        )

    for subject, handle in (("12345", 12345), ("minus-1", 0xFFFFFFFF)):
        g = CoreGuest()
        g.context("relu")
        record = g.tensor([4], F32, FLOATS)
        g.call("set_input", handle, 0, record, best=INVALID_ARGUMENT)
        g.relu()
        yield case(
            f"core/set_input/context-{subject}",
            "A number that isn't the handle of a context is an invalid argument.",
            g,
        )
    g = CoreGuest()
    record = g.tensor([4], F32, FLOATS)
    g.call("set_input", 0, 0, record, best=INVALID_ARGUMENT)
    yield case("core/set_input/before-load", "Before a load no number is a handle, and each is an invalid argument.", g)
    g = CoreGuest()
    g.load_by_name("relu")
    record = g.tensor([4], F32, FLOATS)
    g.call("set_input", In(g.slot("graph")), 0, record, best=INVALID_ARGUMENT)
    yield case("core/set_input/handle-of-a-graph", HANDLE_OF_A_GRAPH, g)

    # Where it lies

    traps: dict[str, Any] = {"best": TRAP, "others": (ANY_ERROR,)}
    g = CoreGuest()
    g.context("relu")
    record = g.tensor([4], F32, FLOATS, at=PAGE - 20)
    g.call("set_input", In(g.slot("context")), 0, record)
    g.compute()
    g.get_output(RELU)
    yield case("core/set_input/tensor-at-end-of-memory", "A tensor's record may end where the memory ends.", g)

    for subject, at in (
        ("past-memory", PAGE),
        ("partly-past-memory", PAGE - 19),
        ("minus-4", 0xFFFFFFFC),
        ("minus-20", 0xFFFFFFEC),
    ):
        g = CoreGuest()
        g.context("relu")
        g.call("set_input", In(g.slot("context")), 0, at, **traps)
        yield case(
            f"core/set_input/tensor-{subject}", "Hosts differ: a pointer out of bounds traps, or is an error.", g
        )

    for subject, dims_at, rank, data_at, size in (
        ("dims-past-memory", PAGE, 1, 0x900, 16),
        ("dims-partly-past-memory", PAGE - 4, 2, 0x900, 16),
        ("dims-wrap-around", 0xFFFFFFFC, 2, 0x900, 16),
        ("data-past-memory", 0x980, 1, PAGE, 16),
        ("data-partly-past-memory", 0x980, 1, PAGE - 15, 16),
        ("data-past-memory-by-a-byte", 0x980, 1, PAGE - 16, 17),
        ("data-wraps-around", 0x980, 1, 0xFFFFFFF8, 16),
        ("data-as-large-as-addresses", 0x980, 1, 0, 0xFFFFFFFF),
    ):
        g = CoreGuest()
        g.context("relu")
        g.data("dims", u32(4), at=0x980)
        record = g.data("tensor", struct.pack("<IIIII", dims_at, rank, F32, data_at, size), at=0x9C0)
        g.call("set_input", In(g.slot("context")), 0, record, **traps)
        yield case(f"core/set_input/{subject}", "Hosts differ: a list out of bounds traps, or is an error.", g)

    g = CoreGuest()
    g.context("relu")
    g.data("dims", u32(4), at=0x980)
    record = g.data("tensor", struct.pack("<IIIII", 0x980, 0x40000001, F32, 0x900, 16), at=0x9C0)
    g.call("set_input", In(g.slot("context")), 0, record, **traps)
    yield case(
        "core/set_input/number-of-dims-overflows",
        "Hosts differ: 2**30 + 1 dimensions need 4 GiB and 4 bytes, not 4 bytes; they trap, or are an error.",
        g,
    )

    g = CoreGuest()
    g.context("relu")
    g.data("data", FLOATS, "at the very end of the memory", at=PAGE - 16)
    g.data("dims", u32(4), "right before it", at=PAGE - 20)
    record = g.data("tensor", struct.pack("<IIIII", PAGE - 20, 1, F32, PAGE - 16, 16), at=0x9C0)
    g.call("set_input", In(g.slot("context")), 0, record)
    g.compute()
    g.get_output(RELU)
    yield case("core/set_input/data-at-end-of-memory", "A tensor's data may end where the memory ends.", g)

    for offset in (1, 2, 3):
        g = CoreGuest()
        g.context("relu")
        g.data("data", FLOATS, "unaligned", at=0x900 + offset)
        g.data("dims", u32(4), at=0x980)
        record = g.data("tensor", struct.pack("<IIIII", 0x980, 1, F32, 0x900 + offset, 16), at=0x9C0)
        g.call("set_input", In(g.slot("context")), 0, record)
        g.compute()
        g.get_output(RELU)
        yield case(f"core/set_input/data-unaligned-{offset}", UNALIGNED_DATA, g)
    for subject, dims_at, record_at in (("dims-unaligned", 0x981, 0x9C0), ("tensor-unaligned", 0x980, 0x9C2)):
        g = CoreGuest()
        g.context("relu")
        g.data("data", FLOATS, at=0x900)
        g.data("dims", u32(4), at=dims_at)
        record = g.data("tensor", struct.pack("<IIIII", dims_at, 1, F32, 0x900, 16), at=record_at)
        g.call("set_input", In(g.slot("context")), 0, record, others=(TRAP,))
        g.compute()
        g.get_output(RELU)
        yield case(f"core/set_input/{subject}", "Hosts differ: an unaligned pointer works like another, or traps.", g)

    for subject, padding in (("zeros", b"\0\0\0"), ("ones", b"\xff\xff\xff"), ("like-a-number", b"\1\0\0")):
        g = CoreGuest()
        g.context("relu")
        g.set_input(0, [4], FLOATS, padding=padding)
        g.compute()
        g.get_output(RELU)
        yield case(
            f"core/set_input/padding-{subject}",
            TYPE.saying("The type is one byte; the three bytes behind it are padding, with any content."),
            g,
        )

    g = CoreGuest()
    g.context("relu")
    g.set_input(0, [4], FLOATS)
    g.do("(memory.fill (global.get $data) (i32.const 0) (i32.const 16))")
    g.do("(drop (memory.grow (i32.const 100)))")
    g.compute()
    g.get_output(RELU)
    yield case(
        "core/set_input/data-may-change-after",
        "set_input takes the tensor's value: the guest may use the memory for other things before compute.",
        g,
    )

    g = CoreGuest()
    g.context("relu")
    g.set_input(0, [4], f32(9, 9, 9, 9))
    g.set_input(0, [4], FLOATS)
    g.compute()
    g.get_output(RELU)
    yield case("core/set_input/twice", "The last tensor that an input was set to counts.", g)

    g = CoreGuest()
    g.context("relu")
    g.set_input(0, [4], FLOATS)
    g.set_input(5, [4], f32(9, 9, 9, 9), best=INVALID_ARGUMENT, others=(ANY_ERROR,))
    g.compute()
    g.get_output(RELU)
    yield case(
        "core/set_input/failure-changes-nothing",
        "A failed set_input leaves the inputs as they were. Hosts differ in the errno.",
        g,
    )

    for subject, order in (("in-order", (0, 1, 2)), ("backward", (2, 1, 0)), ("mixed", (1, 2, 0))):
        g = CoreGuest()
        g.context("zam")
        for index in order:
            g.set_input(index, [1], f32((2, 3, 4)[index]))
        g.compute()
        g.get_output(f32(234))
        yield case(
            f"core/set_input/three-{subject}",
            "An index is an input's place in the model's own order; inputs may be set in any order.",
            g,
        )

    g = CoreGuest()
    g.context("two")
    record = g.tensor([2], F32, f32(3, 5))
    for index in (0, 1):
        g.call("set_input", In(g.slot("context")), index, record)
    g.compute()
    g.get_output(f32(9, 25))
    g.get_output(f32(6, 10), 1)
    yield case("core/set_input/one-record-for-two-inputs", "Two inputs may be set by one record.", g)


def types() -> Iterator[Case]:
    """Every type in and out."""
    for kind, name in enumerate(TYPES):
        g = CoreGuest()
        g.context(name)
        g.set_input(0, [4], VALUES[name], kind)
        g.compute()
        g.get_output(VALUES[name])
        g.types[name] = None
        yield case(
            f"core/types/{name}",
            TYPE.saying(f"A tensor of {name} has the number {kind}, and its elements in little-endian order."),
            g,
        )
        if name in EDGES:
            g = CoreGuest()
            g.context(name)
            g.set_input(0, [4], EDGES[name], kind)
            g.compute()
            g.get_output(EDGES[name])
            g.types[name] = None
            yield case(
                f"core/types/{name}-extremes", TYPE.saying(f"Large and small values of {name} pass unchanged."), g
            )
        other = (kind + 1) % len(TYPES)
        size = len(VALUES[TYPES[other]])
        g = CoreGuest()
        g.context(name)
        g.set_input(0, [4], b"\1" * size, other, best=INVALID_ARGUMENT, others=(ANY_ERROR,))
        g.types.clear()
        g.types[name] = None
        yield _refused(f"core/types/{TYPES[other]}-into-{name}", TYPE, g)


def shapes() -> Iterator[Case]:
    """Scalars, open dimensions, zero sizes, many dimensions, large tensors."""
    for subject, dims in (("1", [1]), ("none", [])):
        g = CoreGuest()
        g.context("scalar")
        g.set_input(0, dims, f32(7), best=0, others=(ANY_ERROR,) if not dims else ())
        if dims:
            g.compute()
            g.get_output(f32(7))
        yield case(f"core/shapes/scalar-{subject}", SINGLE_VALUE if dims else NO_DIMENSIONS, g)

    for rows in (1, 3, 7):
        content = f32(*range(rows * 2))
        g = CoreGuest()
        g.context("rows")
        g.set_input(0, [rows, 2], content)
        g.compute()
        g.get_output(content)
        yield case(f"core/shapes/open-{rows}", OPEN, g)

    g = CoreGuest()
    g.context("rows")
    for rows in (1, 5, 2):
        g.set_input(0, [rows, 2], f32(*range(rows * 2)))
        g.compute()
        g.get_output(f32(*range(rows * 2)), label=f"output of {rows}")
    yield case("core/shapes/open-changes", OPEN_CHANGES, g)

    g = CoreGuest()
    g.context("rows")
    g.set_input(0, [2, 3], f32(1, 2, 3, 4, 5, 6), best=INVALID_ARGUMENT, others=(ANY_ERROR,))
    yield _refused("core/shapes/open-beside-fixed", OPEN_BESIDE_FIXED, g)

    g = CoreGuest()
    g.context("rows")
    g.set_input(0, [4], FLOATS, best=INVALID_ARGUMENT, others=(ANY_ERROR,))
    yield _refused("core/shapes/open-rank", OPEN_RANK, g)

    g = CoreGuest()
    g.context("rows")
    g.set_input(0, [0, 2], b"", best=0, others=(ANY_ERROR,))
    g.compute(others=("0-8",))
    yield case("core/shapes/zero-rows", NO_ELEMENTS, g)

    g = CoreGuest()
    g.context("rank8")
    g.set_input(0, [1] * 7 + [2], f32(3, -3))
    g.compute()
    g.get_output(f32(3, 0))
    yield case("core/shapes/rank-8", "A tensor may have eight dimensions.", g)

    g = CoreGuest()
    g.context("transpose")
    g.set_input(0, [2, 3], f32(1, 2, 3, 4, 5, 6))
    g.compute()
    g.get_output(f32(1, 4, 2, 5, 3, 6))
    yield case("core/shapes/row-major", ROW_MAJOR, g)

    count = 2**22
    g = CoreGuest(pages=300)
    g.context("total")
    dims, data_at = g.data("dims", u32(count)), 0x10000
    record = g.data("tensor", struct.pack("<IIIII", dims.at, 1, F32, data_at, count * 4))
    g.data("data", f32(7), "the last element; the others are 0", at=data_at + 4 * (count - 1))
    g.call("set_input", In(g.slot("context")), 0, record)
    g.compute()
    g.get_output(f32(7))
    yield case("core/shapes/large-input", "A tensor may have 16 MiB.", g)

    g = CoreGuest(pages=300)
    g.context("any")
    dims = g.data("dims", u32(count))
    record = g.data("tensor", struct.pack("<IIIII", dims.at, 1, F32, data_at, count * 4))
    g.data("data", f32(7), "the last element; the others are 0", at=data_at + 4 * (count - 1))
    g.call("set_input", In(g.slot("context")), 0, record)
    g.compute()
    g.do(f"(memory.fill (i32.const {data_at}) (i32.const 0xee) (i32.const {count * 4}))")
    g.call("get_output", In(g.slot("context")), 0, data_at, count * 4, g.slot("written"))
    g.say("written", In(g.slot("written")), count * 4)
    g.show("first", data_at, f32(0))
    g.show("last", data_at + 4 * (count - 1), f32(7))
    yield case("core/shapes/large-output", "An output may have 16 MiB.", g)

    g = CoreGuest()
    g.context("unicode")
    g.set_input(0, [4], FLOATS)
    g.compute()
    g.get_output(RELU)
    yield case("core/shapes/unicode-names", "The names of a model's tensors may have any characters.", g)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from set_input()
    yield from types()
    yield from shapes()
