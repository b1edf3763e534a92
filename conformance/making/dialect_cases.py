"""Cases of the functions that hosts have beside the specification's: WasmEdge's, and WAMR's first module."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from conformance.making.case import TRAP, Case, Wanted, case
from conformance.making.core_guest import (
    ANY_ERROR,
    F32,
    INVALID_ARGUMENT,
    INVALID_ENCODING,
    NOT_FOUND,
    RUNTIME_ERROR,
    TOO_LARGE,
    UNWRITTEN,
    WAMR,
    WASMEDGE,
    CoreGuest,
    In,
)
from conformance.making.files import files
from conformance.making.guest_text import PAGE, f32, u32

FLOATS, RELU = f32(1, -2, 3, -4), f32(1, 0, 3, 0)


def wasmedge() -> Iterator[Case]:
    """WasmEdge's functions on graphs that aren't language models."""

    def guest() -> CoreGuest:
        g = CoreGuest(functions=WASMEDGE)
        g.context("relu")
        return g

    def graph(g: CoreGuest) -> In:
        return In(g.slot("graph"))

    def context(g: CoreGuest) -> In:
        return In(g.slot("context"))

    refused: dict[str, Any] = {"best": INVALID_ARGUMENT, "others": (ANY_ERROR,)}
    g = guest()
    g.call("unload", graph(g))
    g.call("unload", graph(g), **refused)
    yield case("wasmedge/unload/twice", "A graph's handle is gone after unload.", g)
    g = guest()
    g.call("unload", graph(g))
    g.call("init_execution_context", graph(g), g.slot("context2"), **refused)
    yield case("wasmedge/unload/then-init", "A graph's handle is gone after unload.", g)
    g = guest()
    g.relu()
    g.call("unload", graph(g))
    g.get_output(RELU, label="again")
    yield case("wasmedge/unload/then-get_output", "After unload a context keeps its outputs.", g)
    for name in ("compute", "set_input"):
        g = guest()
        g.set_input(0, [4], FLOATS)
        g.call("unload", graph(g))
        if name == "compute":
            g.compute(**refused)
        else:
            g.set_input(0, [4], FLOATS, **refused)
        yield case(f"wasmedge/unload/then-{name}", "After unload a context computes no more.", g)
    g = guest()
    g.call("unload", graph(g))
    g.load_by_name("relu")
    g.init()
    g.relu()
    yield case("wasmedge/unload/then-load_by_name", "A name may be loaded again after unload.", g)
    for number in (12345, 0xFFFFFFFF):
        g = guest()
        g.call("unload", number, **refused)
        yield case(f"wasmedge/unload/handle-{number:#x}", "A number that isn't a graph's handle is an error.", g)

    g = guest()
    g.call("finalize_execution_context", context(g))
    g.call("finalize_execution_context", context(g), **refused)
    yield case("wasmedge/finalize_execution_context/twice", "A context's handle is gone after it was finalized.", g)
    for name in ("compute", "set_input", "get_output"):
        g = guest()
        g.relu()
        g.call("finalize_execution_context", context(g))
        if name == "compute":
            g.compute(**refused)
        elif name == "set_input":
            g.set_input(0, [4], FLOATS, **refused)
        else:
            g.call("get_output", context(g), 0, g.buffer(16), 16, g.slot("written"), **refused)
        yield case(
            f"wasmedge/finalize_execution_context/then-{name}", "A context's handle is gone after it was finalized.", g
        )
    g = guest()
    g.call("finalize_execution_context", context(g))
    g.init(into="context2")
    g.relu("context2")
    yield case("wasmedge/finalize_execution_context/then-another", "A graph gives contexts after one was finalized.", g)
    g = guest()
    g.call("finalize_execution_context", 12345, **refused)
    yield case("wasmedge/finalize_execution_context/handle-12345", "A number that isn't a handle is an error.", g)

    wanted: tuple[tuple[str, str, bytes, Wanted], ...] = (
        ("of-no-language-model", "relu", b"{}", "0-8"),
        ("unknown", "nobody", b"{}", NOT_FOUND),
    )
    for subject, name, config, best in wanted:
        g = CoreGuest(functions=WASMEDGE)
        g.graphs["relu"] = "relu"
        at, config_at = g.data("name", name.encode()), g.data("config", config)
        others = (ANY_ERROR,)
        arguments = (at, len(name), config_at, len(config), g.slot("graph"))
        g.call("load_by_name_with_config", *arguments, best=best, others=others)
        yield case(
            f"wasmedge/load_by_name_with_config/{subject}",
            "A graph may be loaded with a configuration. Hosts differ where the graph takes none.",
            g,
        )
    g = guest()
    g.set_input(0, [4], FLOATS)
    g.call("compute_single", context(g), best="1|6", others=(ANY_ERROR,))
    yield case("wasmedge/compute_single/no-sequence", "Only language models give outputs piece by piece.", g)
    g = guest()
    g.call("fini_single", context(g), others=(ANY_ERROR,))
    yield case("wasmedge/fini_single/no-sequence", "Hosts differ: fini_single is allowed at any time, or an error.", g)
    g = guest()
    buffer = g.buffer(16)
    arguments = (context(g), 0, buffer, 16, g.slot("written"))
    g.call("get_output_single", *arguments, best="0-8")
    yield case(
        "wasmedge/get_output_single/no-sequence",
        "Hosts differ: without a sequence the piece is empty, or an error.",
        g,
    )
    g = guest()
    g.call("unload", graph(g))
    g.call("load_by_name", 65536, 4, g.slot("graph"), best=INVALID_ARGUMENT, others=("trap", ANY_ERROR))
    yield case(
        "wasmedge/unload/pointer-past-memory", "Hosts differ: in WasmEdge a pointer out of bounds is an error.", g
    )


def wamr() -> Iterator[Case]:
    """WAMR's first module, `wasi_nn`."""
    yield from _wamr_loading()
    yield from _wamr_contexts()
    yield from _wamr_outputs()


_ANY: dict[str, Any] = {"others": (ANY_ERROR,)}
_NO_HANDLE = "A number that isn't a handle is an invalid argument. Hosts differ in the errno."


def _wamr_guest() -> CoreGuest:
    return CoreGuest(functions=WAMR, module="wasi_nn")


def _wamr_record(g: CoreGuest, dims: list[int], content: bytes, kind: int = F32) -> int:
    """A tensor of 12 bytes: a place of the dims array, a type with garbage behind it, and a place of the data."""
    numbers = g.data("numbers", u32(*dims))
    dims_at = g.data("dims", u32(numbers.at, len(dims)), f"{dims}, their number")
    data = g.data("data", content)
    return g.data("tensor", struct.pack("<IB3sI", dims_at.at, kind, b"\xaa\xbb\xcc", data.at)).at


def _wamr_set(g: CoreGuest, index: int, dims: list[int], content: bytes, kind: int = F32, **expected: Any) -> None:
    g.call("set_input", In(g.slot("context")), index, _wamr_record(g, dims, content, kind), **expected)


def _wamr_computed() -> CoreGuest:
    """A guest whose context has computed `relu`."""
    g = _wamr_guest()
    g.context("relu")
    _wamr_set(g, 0, [4], FLOATS)
    g.compute()
    return g


def _wamr_get(g: CoreGuest, expected: bytes, index: int = 0, room: int = 0, label: str = "output") -> None:
    """Read an output into a buffer with room for some elements, by default for those of the output, and show it."""
    count = len(expected) // 4
    buffer = g.buffer(4 * (room or count))
    size = g.data("size", u32(room or count), "in: elements of four bytes that the buffer has; out: those written")
    g.call("get_output", In(g.slot("context")), index, buffer, size)
    g.say("size", In(size), count)
    g.show(label, buffer, expected + b"\xee" * 4 * (max(room, count) - count))


def _wamr_loading() -> Iterator[Case]:
    for subject, name in (("unknown", "nobody"), ("empty", ""), ("other-case", "RELU"), ("prefix", "rel")):
        g = _wamr_guest()
        g.load_by_name(name, best=NOT_FOUND, others=(ANY_ERROR,))
        if subject != "unknown":
            g.graphs["relu"] = "relu"
        says = "A name that no graph has is not found. Hosts differ in the errno: WAMR takes names for paths."
        yield case(f"wamr/load_by_name/{subject}", says, g)
    g = _wamr_guest()
    g.load_by_name("nobody", into="graph2", best=NOT_FOUND, others=(ANY_ERROR,))
    g.context("relu")
    _wamr_set(g, 0, [4], FLOATS)
    g.compute()
    _wamr_get(g, RELU)
    yield case(
        "wamr/load_by_name/unknown-and-known", "A failed load disturbs none after it. Hosts differ in the errno.", g
    )
    g = _wamr_guest()
    g.call("load_by_name", PAGE, 4, g.slot("graph"), best=TRAP, others=(ANY_ERROR,))
    yield case("wamr/load_by_name/name-past-memory", "Hosts differ: a pointer out of bounds traps, or is an error.", g)

    for encoding, number in (("tensorflowlite", 4), ("onnx", 1)):
        g = _wamr_guest()
        array = g.builders(files(encoding, "relu"))
        g.encodings[encoding] = None
        builders = g.data("array", u32(array.at, 1), "the builders, their number")
        g.call("load", builders, number, 0, g.slot("graph"))
        g.init()
        yield case(f"wamr/load/{encoding}", "The builders are a record in memory: their place and their number.", g)
        g = _wamr_guest()
        array = g.builders([b"This is no model at all."])
        g.encodings[encoding] = None
        builders = g.data("array", u32(array.at, 1), "the builders, their number")
        g.call("load", builders, number, 0, g.slot("graph"), best=RUNTIME_ERROR, **_ANY)
        says = "A model that can't be read is a runtime error. Hosts differ in the errno."
        yield case(f"wamr/load/{encoding}-garbage", says, g)
    g = _wamr_guest()
    array = g.builders([b"This is no model at all."])
    builders = g.data("array", u32(array.at, 1), "the builders, their number")
    g.call("load", builders, 7, 0, g.slot("graph"), best=INVALID_ENCODING, **_ANY)
    says = "7 is the number of no encoding: 5 is ggml, 6 autodetect. Hosts differ in the errno."
    yield case("wamr/load/encoding-7", says, g)
    g = _wamr_guest()
    g.call("load", PAGE - 4, 1, 0, g.slot("graph"), best=TRAP, others=(ANY_ERROR,))
    says = "Hosts differ: a record of builders out of bounds traps, or is an error."
    yield case("wamr/load/builders-partly-past-memory", says, g)


def _wamr_contexts() -> Iterator[Case]:
    for subject, handle in (("12345", 12345), ("minus-1", 0xFFFFFFFF)):
        g = _wamr_guest()
        g.load_by_name("relu")
        g.call("init_execution_context", handle, g.slot("context"), best=INVALID_ARGUMENT, **_ANY)
        g.say("context", In(g.slot("context")), UNWRITTEN)
        yield case(f"wamr/init_execution_context/handle-{subject}", _NO_HANDLE, g)
    g = _wamr_guest()
    g.load_by_name("relu")
    g.init(into="context2")
    g.init()
    for context, values in (("context", (1, 2, 3, 4)), ("context2", (5, 6, 7, 8))):
        g.call("set_input", In(g.slot(context)), 0, _wamr_record(g, [4], f32(*values)))
    g.compute("context2")
    g.compute()
    _wamr_get(g, f32(1, 2, 3, 4))
    yield case("wamr/init_execution_context/two-of-one-graph", "Contexts of one graph don't share their tensors.", g)

    g = _wamr_guest()
    g.context("relu")
    _wamr_set(g, 0, [5], f32(1, 2, 3, 4, 5), best=INVALID_ARGUMENT, **_ANY)
    yield case("wamr/set_input/too-many-elements", "The dimensions must be the graph's. Hosts differ in the errno.", g)
    for subject, index in (("0x1", 1), ("0xffffffff", 0xFFFFFFFF)):
        g = _wamr_guest()
        g.context("relu")
        _wamr_set(g, index, [4], FLOATS, best=INVALID_ARGUMENT, **_ANY)
        says = "An index that no input has is an invalid argument. Hosts differ in the errno."
        yield case(f"wamr/set_input/index-{subject}", says, g)
    g = _wamr_guest()
    g.context("relu")
    _wamr_set(g, 0, [4], FLOATS, 9, best=INVALID_ARGUMENT, **_ANY)
    yield case("wamr/set_input/type-9", "9 is the number of no type. Hosts differ in the errno.", g)
    g = _wamr_guest()
    g.context("i32")
    numbers = struct.pack("<4i", 1, -2, 3, -4)
    _wamr_set(g, 0, [4], numbers, 3)
    g.compute()
    _wamr_get(g, numbers)
    g.types["i32"] = None
    yield case("wamr/set_input/i32-is-3", "i32 has the number 3.", g)
    g = _wamr_guest()
    g.context("relu")
    g.call("set_input", 12345, 0, _wamr_record(g, [4], FLOATS), best=INVALID_ARGUMENT, **_ANY)
    yield case("wamr/set_input/context-12345", _NO_HANDLE, g)
    g = _wamr_guest()
    g.context("relu")
    g.call("set_input", In(g.slot("context")), 0, PAGE - 8, best=TRAP, others=(ANY_ERROR,))
    says = "Hosts differ: a tensor out of bounds traps, or is an error."
    yield case("wamr/set_input/tensor-partly-past-memory", says, g)

    g = _wamr_guest()
    g.context("relu")
    g.compute(best=f"{INVALID_ARGUMENT}|{RUNTIME_ERROR}", others=("0-8",))
    says = "Hosts differ: to compute before the input is set is an error, or computes with anything."
    yield case("wamr/compute/before-set_input", says, g)
    g = _wamr_guest()
    g.context("relu")
    g.call("compute", 12345, best=INVALID_ARGUMENT, **_ANY)
    _wamr_set(g, 0, [4], FLOATS)
    g.compute()
    _wamr_get(g, RELU)
    yield case("wamr/compute/context-12345", _NO_HANDLE, g)
    g = _wamr_computed()
    _wamr_set(g, 0, [4], f32(-1, 5, -6, 7))
    g.compute()
    _wamr_get(g, f32(0, 5, 0, 7))
    yield case("wamr/compute/twice", "A context computes as often as it is asked to.", g)


def _wamr_outputs() -> Iterator[Case]:
    g = _wamr_computed()
    _wamr_get(g, RELU)
    yield case("wamr/get_output/works", "The size of a buffer is a number of elements of four bytes.", g)
    g = _wamr_computed()
    _wamr_get(g, RELU, room=8)
    says = "A larger buffer gets the output, and stays as it was behind it; the size is that of the output."
    yield case("wamr/get_output/larger", says, g)
    g = _wamr_computed()
    buffer, size = g.buffer(16), g.data("size", u32(3), "one too few")
    g.call("get_output", In(g.slot("context")), 0, buffer, size, best=TOO_LARGE, **_ANY)
    g.show("buffer", buffer, b"\xee" * 16)
    yield case("wamr/get_output/too-small", "An output that doesn't fit is too large. Hosts differ in the errno.", g)
    for subject, index in (("0x1", 1), ("0xffffffff", 0xFFFFFFFF)):
        g = _wamr_computed()
        buffer, size = g.buffer(16), g.data("size", u32(4))
        g.call("get_output", In(g.slot("context")), index, buffer, size, best=INVALID_ARGUMENT, **_ANY)
        g.show("buffer", buffer, b"\xee" * 16)
        says = "An index that no output has is an invalid argument. Hosts differ in the errno."
        yield case(f"wamr/get_output/index-{subject}", says, g)
    g = _wamr_guest()
    g.context("two")
    _wamr_set(g, 0, [2], f32(3, 5))
    _wamr_set(g, 1, [2], f32(4, 10))
    g.compute()
    _wamr_get(g, f32(7, 15), 1, label="sum")
    _wamr_get(g, f32(12, 50), 0, label="product")
    yield case("wamr/get_output/two", "Outputs have the model's order, and may be read in any.", g)
    g = _wamr_guest()
    g.context("relu")
    _wamr_set(g, 0, [4], FLOATS)
    buffer, size = g.buffer(16), g.data("size", u32(4))
    g.call("get_output", In(g.slot("context")), 0, buffer, size, best=RUNTIME_ERROR, others=("0-8",))
    says = "Hosts differ: before a compute there is no output, or one with anything in it."
    yield case("wamr/get_output/before-compute", says, g)
    g = _wamr_computed()
    buffer, size = g.buffer(16), g.data("size", u32(4))
    g.call("get_output", 12345, 0, buffer, size, best=INVALID_ARGUMENT, **_ANY)
    g.show("buffer", buffer, b"\xee" * 16)
    yield case("wamr/get_output/context-12345", _NO_HANDLE, g)
    for subject, at, size_at in (
        ("buffer-partly-past-memory", PAGE - 12, 0xF00),
        ("size-partly-past-memory", 0x1000, PAGE - 2),
    ):
        g = _wamr_computed()
        g.data("size", u32(4), at=0xF00)
        g.call("get_output", In(g.slot("context")), 0, at, size_at, best=TRAP, others=(ANY_ERROR,))
        yield case(f"wamr/get_output/{subject}", "Hosts differ: a pointer out of bounds traps, or is an error.", g)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from wasmedge()
    yield from wamr()
