"""Cases of the core ABI: computing, reading outputs, and the state of contexts."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.making.case import TRAP, Case, case
from conformance.making.core_guest import (
    ANY_ERROR,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RUNTIME_ERROR,
    TOO_LARGE,
    UNWRITTEN,
    CoreGuest,
    In,
)
from conformance.making.guest_text import PAGE, f32, u32
from conformance.making.rules import ACROSS_PAGES, FORGOTTEN, GROWN, GROWS, HANDLE_OF_A_GRAPH, MISSING_MEMORY
from conformance.making.values import FLOATS, RELU


def _computed(pages: int = 1) -> CoreGuest:
    """A guest with a context that has computed `relu`."""
    g = CoreGuest(pages)
    g.context("relu")
    g.set_input(0, [4], FLOATS)
    g.compute()
    return g


def compute() -> Iterator[Case]:
    """Computing, and what a context keeps."""
    g = CoreGuest()
    g.context("relu")
    g.compute(best=f"{INVALID_ARGUMENT}|{RUNTIME_ERROR}", others=("0-8",))
    yield case(
        "core/compute/before-set_input",
        "Hosts differ: to compute before the input is set is an error, or computes with anything.",
        g,
    )
    g = CoreGuest()
    g.context("two")
    g.set_input(1, [2], f32(3, 5))
    g.compute(best=f"{INVALID_ARGUMENT}|{RUNTIME_ERROR}", others=("0-8",))
    yield case(
        "core/compute/an-input-is-missing",
        "Hosts differ: to compute before every input is set is an error, or computes with anything.",
        g,
    )
    g = CoreGuest()
    g.context("constant")
    g.compute()
    g.get_output(f32(5, 7))
    yield case("core/compute/no-inputs", "A model may have no inputs.", g)

    for subject, handle in (("12345", 12345), ("minus-1", 0xFFFFFFFF)):
        g = CoreGuest()
        g.context("relu")
        g.call("compute", handle, best=INVALID_ARGUMENT)
        g.relu()
        yield case(
            f"core/compute/context-{subject}",
            "A number that isn't the handle of a context is an invalid argument.",
            g,
        )
    g = CoreGuest()
    g.load_by_name("relu")
    g.call("compute", In(g.slot("graph")), best=INVALID_ARGUMENT)
    yield case("core/compute/handle-of-a-graph", HANDLE_OF_A_GRAPH, g)
    g = CoreGuest()
    g.call("compute", 0, best=INVALID_ARGUMENT)
    yield case("core/compute/before-load", "Before a load no number is a handle, and each is an invalid argument.", g)

    g = _computed()
    g.compute()
    g.get_output(RELU)
    yield case("core/compute/twice", "Inputs stay set from one compute to the next.", g)

    g = CoreGuest()
    g.context("two")
    g.set_input(0, [2], f32(2, 3))
    for value in (1, 4):
        g.set_input(1, [2], f32(value, value))
        g.compute()
        g.get_output(f32(2 * value, 3 * value), label=f"times {value}")
    yield case("core/compute/one-input-changes", "An input stays set while another one changes.", g)

    g = CoreGuest()
    g.context("pairs")
    g.set_input(0, [3], f32(1, 2, 3))
    g.compute(best=RUNTIME_ERROR, others=(ANY_ERROR,))
    g.set_input(0, [4], f32(1, 2, 3, 4))
    g.compute()
    g.get_output(f32(1, 2, 3, 4))
    yield case(
        "core/compute/fails-and-works-again",
        "A compute that the runtime refuses is a runtime error, and the context works on. Hosts differ in the errno.",
        g,
    )
    g = CoreGuest()
    g.context("pairs")
    g.set_input(0, [2], f32(1, 2))
    g.compute()
    g.set_input(0, [3], f32(1, 2, 3), others=(ANY_ERROR,))
    g.compute(best=RUNTIME_ERROR, others=("0-8",))
    buffer = g.buffer(8)
    g.call("get_output", In(g.slot("context")), 0, buffer, 8, g.slot("written"), best=RUNTIME_ERROR, others=("0-8",))
    yield case(
        "core/compute/no-output-after-failure",
        "Hosts differ: after a failed compute there are no outputs, or those of the last success.",
        g,
    )

    g = CoreGuest()
    g.load_by_name("relu")
    g.init(into="context")
    g.load_by_name("two", into="graph2")
    g.init("graph2", "context2")
    g.set_input(0, [4], FLOATS)
    g.set_input(0, [2], f32(3, 5), context="context2")
    g.compute()
    g.set_input(1, [2], f32(4, 10), context="context2")
    g.compute("context2")
    g.get_output(f32(7, 15), 1, "context2")
    g.get_output(RELU)
    yield case("core/compute/graphs-in-turns", "Graphs and contexts may be used in turns.", g)

    g = CoreGuest()
    g.context("relu")
    for values in ((1, -1), (2, -2), (3, -3)):
        first, second = values
        g.set_input(0, [4], f32(first, second, first, second))
        g.compute()
        g.get_output(f32(first, 0, first, 0), label=f"output of {first}")
    yield case("core/compute/three-times", "A context computes as often as it is asked to.", g)


def get_output() -> Iterator[Case]:
    """Buffers, sizes and indexes."""
    g = _computed()
    buffer = g.buffer(32)
    g.call("get_output", In(g.slot("context")), 0, buffer, 16, g.slot("written"))
    g.say("written", In(g.slot("written")), 16)
    g.show("buffer", buffer, RELU + b"\xee" * 16)
    yield case(
        "core/get_output/exact", "A buffer of the output's size gets the output, and the number of its bytes.", g
    )

    g = _computed()
    buffer = g.buffer(32)
    g.call("get_output", In(g.slot("context")), 0, buffer, 32, g.slot("written"))
    g.say("written", In(g.slot("written")), 16)
    g.show("buffer", buffer, RELU + b"\xee" * 16)
    yield case("core/get_output/larger", "A larger buffer gets the output, and stays as it was behind it.", g)

    for size in (0, 1, 4, 15):
        g = _computed()
        buffer = g.buffer(16)
        g.call("get_output", In(g.slot("context")), 0, buffer, size, g.slot("written"), best=TOO_LARGE, others=(1,))
        g.say("written", In(g.slot("written")), 16, (UNWRITTEN,))
        g.show("buffer", buffer, b"\xee" * 16)
        g.get_output(RELU)
        yield case(
            f"core/get_output/buffer-of-{size}",
            "An output that doesn't fit is too large, and the buffer stays as it was. "
            "Hosts differ: some write the size that is needed.",
            g,
        )

    g = _computed()
    g.get_output(RELU)
    g.get_output(RELU, label="again")
    yield case("core/get_output/twice", "An output may be read as often as the guest likes.", g)

    g = CoreGuest()
    g.context("wide")
    g.set_input(0, [1], f32(1))
    g.compute()
    for index in (11, 0, 2, 10, 1):
        g.get_output(f32(1 + index), index, label=f"output {index}")
    yield case(
        "core/get_output/twelve", "An index is an output's place in the model's own order, not by the alphabet.", g
    )
    g = CoreGuest()
    g.context("two")
    g.set_input(0, [2], f32(3, 5))
    g.set_input(1, [2], f32(4, 10))
    g.compute()
    g.get_output(f32(7, 15), 1)
    g.get_output(f32(12, 50), 0)
    yield case("core/get_output/two", "Outputs may be read in any order.", g)

    for index in (1, 0x7FFFFFFF, 0xFFFFFFFF):
        g = _computed()
        buffer = g.buffer(16)
        g.call(
            "get_output",
            In(g.slot("context")),
            index,
            buffer,
            16,
            g.slot("written"),
            best=INVALID_ARGUMENT,
            others=(ANY_ERROR,),
        )
        g.show("buffer", buffer, b"\xee" * 16)
        yield case(
            f"core/get_output/index-{index:#x}",
            "An index that no output has is an invalid argument. Hosts differ in the errno.",
            g,
        )

    g = CoreGuest()
    g.context("relu")
    g.set_input(0, [4], FLOATS)
    buffer = g.buffer(16)
    g.call("get_output", In(g.slot("context")), 0, buffer, 16, g.slot("written"), best=RUNTIME_ERROR, others=("0-8",))
    yield case(
        "core/get_output/before-compute",
        "Hosts differ: before a compute there is no output, or one with anything in it.",
        g,
    )
    for subject, handle in (("12345", 12345), ("minus-1", 0xFFFFFFFF)):
        g = CoreGuest()
        g.context("relu")
        buffer = g.buffer(16)
        g.call("get_output", handle, 0, buffer, 16, g.slot("written"), best=INVALID_ARGUMENT)
        g.show("buffer", buffer, b"\xee" * 16)
        yield case(
            f"core/get_output/context-{subject}",
            "A number that isn't the handle of a context is an invalid argument.",
            g,
        )
    g = CoreGuest()
    g.load_by_name("relu")
    buffer = g.buffer(16)
    g.call("get_output", In(g.slot("graph")), 0, buffer, 16, g.slot("written"), best=INVALID_ARGUMENT)
    g.show("buffer", buffer, b"\xee" * 16)
    yield case("core/get_output/handle-of-a-graph", HANDLE_OF_A_GRAPH, g)
    g = CoreGuest()
    buffer = g.buffer(16)
    g.call("get_output", 0, 0, buffer, 16, g.slot("written"), best=INVALID_ARGUMENT)
    yield case(
        "core/get_output/before-load", "Before a load no number is a handle, and each is an invalid argument.", g
    )

    g = _computed()
    g.set_input(0, [4], f32(5, 6, 7, 8))
    buffer, written = g.buffer(16), g.slot("written")
    g.call("get_output", In(g.slot("context")), 0, buffer, 16, written, others=(ANY_ERROR,))
    g.compute()
    g.get_output(f32(5, 6, 7, 8))
    yield case(
        "core/get_output/after-set_input",
        "Hosts differ: between set_input and compute there is the last compute's output, or none.",
        g,
    )

    g = _computed()
    g.data("buffer", b"\xee" * 16, "at the very end of the memory", at=PAGE - 16)
    g.call("get_output", In(g.slot("context")), 0, PAGE - 16, 16, g.slot("written"))
    g.show("buffer", PAGE - 16, RELU)
    yield case("core/get_output/buffer-at-end-of-memory", "A buffer may end where the memory ends.", g)

    g = _computed()
    buffer = g.buffer(16)
    g.call("get_output", In(g.slot("context")), 0, buffer, 16, PAGE - 4)
    g.do("(i32.store (i32.const 0xf00) (i32.load (i32.const 0xfffc)))")
    g.say("written", In(g.data("last", b"", at=0xF00)), 16)
    yield case("core/get_output/written-at-end-of-memory", "A result may lie at the very end of the memory.", g)

    for subject, at, size, written_at in (
        ("buffer-past-memory", PAGE, 16, 0xF00),
        ("buffer-partly-past-memory", PAGE - 15, 16, 0xF00),
        ("buffer-wraps-around", 0xFFFFFFF8, 16, 0xF00),
        ("written-past-memory", 0x1000, 16, PAGE),
        ("written-partly-past-memory", 0x1000, 16, PAGE - 3),
        ("written-minus-4", 0x1000, 16, 0xFFFFFFFC),
    ):
        g = _computed()
        g.call("get_output", In(g.slot("context")), 0, at, size, written_at, best=TRAP, others=(ANY_ERROR,))
        yield case(f"core/get_output/{subject}", "Hosts differ: a pointer out of bounds traps, or is an error.", g)
    for subject, at, size in (
        ("larger-than-memory", PAGE - 64, 128),
        ("as-large-as-addresses", 0x1000, 0xFFFFFFFF),
    ):
        g = _computed()
        g.call("get_output", In(g.slot("context")), 0, at, size, 0xF00, best=TRAP, others=("0-8",))
        yield case(
            f"core/get_output/buffer-{subject}",
            "Hosts differ: a buffer out of bounds traps, is an error, or is good enough if the output fits.",
            g,
        )
    g = _computed()
    g.call(
        "get_output", In(g.slot("context")), 0, PAGE + 16, 0, g.slot("written"), best=TOO_LARGE, others=("1-8", TRAP)
    )
    yield case(
        "core/get_output/empty-buffer-past-memory",
        "Hosts differ: an empty buffer may lie anywhere, or traps out of bounds.",
        g,
    )
    g = _computed()
    buffer = g.buffer(24)
    at = buffer.at + 1
    g.call("get_output", In(g.slot("context")), 0, at, 16, g.slot("written"))
    g.show("buffer", buffer, b"\xee" + RELU + b"\xee" * 7)
    yield case("core/get_output/buffer-unaligned", "The buffer is of u8, and needs no alignment.", g)

    g = _computed()
    buffer = g.buffer(16)
    written = g.data("written", u32(UNWRITTEN), "unaligned", at=0xF02)
    g.call("get_output", In(g.slot("context")), 0, buffer, 16, written, others=(TRAP,))
    g.say("written", In(written), 16)
    yield case(
        "core/get_output/written-unaligned", "Hosts differ: an unaligned pointer works like another, or traps.", g
    )

    g = _computed()
    g.do("(memory.fill (global.get $data) (i32.const 0) (i32.const 16))")
    g.do("(drop (memory.grow (i32.const 10)))")
    g.get_output(RELU)
    yield case("core/get_output/after-memory-grows", GROWS, g)

    g = _computed()
    g.do("(drop (memory.grow (i32.const 1)))")
    g.call("get_output", In(g.slot("context")), 0, PAGE + 100, 16, g.slot("written"))
    g.show("buffer", PAGE + 100, RELU)
    yield case("core/get_output/buffer-in-grown-memory", GROWN, g)


def memory() -> Iterator[Case]:
    """The guest's memory itself."""
    g = CoreGuest()
    g.load_by_name("relu")
    g.memory = '(import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))\n  (memory 1)'
    call = g.code("load_by_name", g.place("name"), 4, g.place("graph"))
    g.body[:] = [f"(call $proc_exit {call})"]
    yield case(
        "core/memory/not-exported",
        MISSING_MEMORY,
        g,
        expect=["exit 3"],
        accept=[[TRAP], ["refused"]],
    )
    g = CoreGuest(pages=3)
    g.graphs["relu"] = "relu"
    name = g.data("name", b"relu", at=PAGE - 2)
    g.call("load_by_name", name, 4, g.slot("graph"))
    g.init()
    g.relu()
    yield case("core/memory/across-pages", ACROSS_PAGES, g)

    g = CoreGuest()
    g.do("(drop (memory.grow (i32.const 2)))")
    g.do(f'(i32.store (i32.const {3 * PAGE - 4}) (i32.const 0x756c6572))  ;; "relu"')
    g.graphs["relu"] = "relu"
    g.call("load_by_name", 3 * PAGE - 4, 4, g.slot("graph"))
    g.init()
    g.relu()
    yield case("core/memory/grown", GROWN, g)

    g = CoreGuest()
    g.load_by_name("nobody", best=NOT_FOUND)
    g.load_by_name("relu")
    g.init()
    g.compute(best="1|5", others=("0-8",))
    g.relu()
    yield case("core/memory/failures-are-forgotten", FORGOTTEN, g)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from compute()
    yield from get_output()
    yield from memory()
