"""Cases of the functions that hosts have beside the specification's: WasmEdge's, and WAMR's first module."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from conformance.making.case import Case, Wanted, case
from conformance.making.core_guest import (
    ANY_ERROR,
    F32,
    INVALID_ARGUMENT,
    NOT_FOUND,
    WAMR,
    WASMEDGE,
    CoreGuest,
    In,
)
from conformance.making.files import files
from conformance.making.guest_text import f32, u32

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

    def record(g: CoreGuest, dims: list[int], content: bytes) -> int:
        numbers = g.data("numbers", u32(*dims))
        dims_at = g.data("dims", u32(numbers.at, len(dims)), f"{dims}, their number")
        data = g.data("data", content)
        return g.data("tensor", struct.pack("<IB3sI", dims_at.at, F32, b"\xaa\xbb\xcc", data.at)).at

    def guest() -> CoreGuest:
        g = CoreGuest(functions=WAMR, module="wasi_nn")
        g.context("relu")
        g.call("set_input", In(g.slot("context")), 0, record(g, [4], FLOATS))
        g.compute()
        return g

    g = guest()
    buffer, size = (
        g.buffer(16),
        g.data("size", u32(4), "in: elements of four bytes that the buffer has; out: those written"),
    )
    g.call("get_output", In(g.slot("context")), 0, buffer, size)
    g.say("size", In(size), 4)
    g.show("output", buffer, RELU)
    yield case("wamr/get_output/works", "The size of a buffer is a number of elements of four bytes.", g)
    g = guest()
    buffer, size = g.buffer(16), g.data("size", u32(3), "one too few")
    g.call("get_output", In(g.slot("context")), 0, buffer, size, best=7, others=(ANY_ERROR,))
    g.show("buffer", buffer, b"\xee" * 16)
    yield case("wamr/get_output/too-small", "An output that doesn't fit is too large. Hosts differ in the errno.", g)
    g = CoreGuest(functions=WAMR, module="wasi_nn")
    g.context("relu")
    arguments = (In(g.slot("context")), 0, record(g, [5], f32(1, 2, 3, 4, 5)))
    g.call("set_input", *arguments, best=INVALID_ARGUMENT, others=(ANY_ERROR,))
    yield case("wamr/set_input/too-many-elements", "The dimensions must be the graph's. Hosts differ in the errno.", g)
    g = CoreGuest(functions=WAMR, module="wasi_nn")
    g.load_by_name("nobody", best=NOT_FOUND, others=(ANY_ERROR,))
    yield case("wamr/load_by_name/unknown", "A name that no graph has is not found. Hosts differ in the errno.", g)
    for encoding, number in (("tensorflowlite", 4), ("onnx", 1)):
        g = CoreGuest(functions=WAMR, module="wasi_nn")
        array = g.builders(files(encoding, "relu"))
        g.encodings[encoding] = None
        builders = g.data("array", u32(array.at, 1), "the builders, their number")
        g.call("load", builders, number, 0, g.slot("graph"))
        g.init()
        yield case(f"wamr/load/{encoding}", "The builders are a record in memory: their place and their number.", g)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from wasmedge()
    yield from wamr()
