"""Cases of `wasi_nn_ext`, the extensions for core modules: descriptions, signatures and state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from conformance.making.case import TRAP, Case, case
from conformance.making.core_guest import (
    EXTENSIONS,
    INVALID_ARGUMENT,
    NOT_FOUND,
    SPEC,
    TOO_LARGE,
    TYPES,
    UNSUPPORTED_OPERATION,
    UNWRITTEN,
    CoreGuest,
    In,
)
from conformance.making.descriptions import DESCRIBED, byte, item, tell_dims, tell_host, tell_tensor, word
from conformance.making.guest_text import PAGE, Place, f32, u32
from conformance.making.variables_model import FIRST

ABI = "core-ext"
RECORDS = 4096
"""The bytes of a buffer for a description."""
AT_FIRST = f32(*FIRST)
INVALID: dict[str, Any] = {"best": INVALID_ARGUMENT}


def guest() -> CoreGuest:
    """A guest that may call the specification's functions and the extensions."""
    return CoreGuest(functions=SPEC | EXTENSIONS)


def _describe(g: CoreGuest, graph: str = "graph") -> Place:
    """Describe a graph, and give the place of the record."""
    record = g.buffer(RECORDS)
    g.call("describe", In(g.slot(graph)), record, RECORDS, g.slot("written"))
    return record


def _counts(g: CoreGuest, record: Place, inputs: int, outputs: int) -> None:
    g.say("inputs", word(record, 40), inputs)
    g.say("declares outputs", byte(record, 44), 1)
    g.say("outputs", word(record, 52), outputs)


def describe() -> Iterator[Case]:
    """What a graph is."""
    area = f"{ABI}/describe"
    for model, inputs, outputs, dims, says in DESCRIBED:
        g = guest()
        g.load_by_name(model)
        record = _describe(g)
        tell_host(g, record)
        _counts(g, record, len(inputs), len(outputs))
        for offset, names in ((36, inputs), (48, outputs)):
            for index, name in enumerate(names):
                tell_tensor(g, item(record, offset, index, 36), name, TYPES.index("f32"), dims)
        yield case(f"{area}/{model}", says, g)
    for kind in ("f64", "u8", "i64"):
        g = guest()
        g.load_by_name(kind)
        tell_tensor(g, item(_describe(g), 36, 0, 36), "x", TYPES.index(kind), [4])
        yield case(f"{area}/{kind}", "Element types have the numbers of the core ABI.", g)
    g = guest()
    g.load_by_name("bf16")
    tensor = item(_describe(g), 36, 0, 36)
    g.say("kind", byte(tensor, 8), 2)
    g.show_text("type", word(tensor, 12), word(tensor, 16), "bf16")
    yield case(f"{area}/bf16", "Types that the core ABI lacks come by name.", g)
    g = guest()
    g.load_by_name("strings")
    tensor = item(_describe(g), 36, 0, 36)
    g.say("kind", byte(tensor, 8), 1)
    tell_dims(g, tensor, [None])
    yield case(f"{area}/strings", "Byte strings have an element type of their own.", g)
    g = guest()
    g.load_by_name("sums")
    record = _describe(g)
    for index, name in enumerate(("get", "increase")):
        signature = item(record, 28, index, 8)
        g.show_text("signature", word(signature), word(signature, 4), name)
    g.show_text("runs", word(record, 20), word(record, 24), "get")
    yield case(f"{area}/signatures", "A description has the names of all signatures, and of the one that runs.", g)

    g = guest()
    g.load_by_name("relu")
    buffer, size, written = g.buffer(RECORDS), g.slot("size"), g.slot("written")
    g.call("describe", In(g.slot("graph")), buffer, 0, size, best=TOO_LARGE)
    g.say("has a size", f"(i32.and (i32.ge_u {In(size)} (i32.const 64)) (i32.le_u {In(size)} (i32.const 4096)))", 1)
    g.show("buffer", buffer, b"\xee" * 8)
    g.do(f"(i32.store {written} (i32.const 0))")
    short = f"(i32.sub {In(size)} (i32.const 1))"
    g.call("describe", In(g.slot("graph")), buffer, short, written, best=TOO_LARGE)
    g.say("same size", f"(i32.eq {In(size)} {In(written)})", 1)
    g.show("buffer", buffer, b"\xee" * 8)
    g.call("describe", In(g.slot("graph")), buffer, In(size), written)
    g.say("same size", f"(i32.eq {In(size)} {In(written)})", 1)
    g.say("inputs", word(buffer, 40), 1)
    yield case(
        f"{area}/size-first",
        "A buffer that is too small is too large an answer, and stays unchanged; a buffer of size 0 asks for the size.",
        g,
    )
    g = guest()
    g.load_by_name("relu")
    record = _describe(g)
    name = f"(i32.sub {word(item(record, 36, 0, 36))} {record})"
    g.say("name is within", f"(i32.lt_u {name} {In(g.slot('written'))})", 1)
    yield case(f"{area}/within-the-buffer", "Addresses are those of the guest's memory, within the buffer.", g)
    yield from _bad_handles("describe", 4, area, "graph")
    for subject, arguments in (
        ("buffer-past-memory", (PAGE - 64, RECORDS, None)),
        ("out-pointer-past-memory", (None, RECORDS, PAGE - 3)),
    ):
        g = guest()
        g.load_by_name("relu")
        record = _describe(g)
        at, room, out = arguments
        passed = (record if at is None else at, room, g.slot("written") if out is None else out)
        g.call("describe", In(g.slot("graph")), *passed, best=TRAP)
        yield case(f"{area}/{subject}", "A pointer out of bounds traps, as in the core ABI.", g)


def _bad_handles(function: str, parameters: int, area: str, kind: str) -> Iterator[Case]:
    """Numbers that aren't handles of a kind."""
    for subject, number in (("12345", 12345), ("minus-1", 0xFFFFFFFF)):
        g = guest()
        buffer, written = g.buffer(16), g.slot("written")
        arguments = (number, *{1: (), 2: (written,), 4: (buffer, 16, written)}[parameters])
        g.call(function, *arguments, **INVALID)
        g.say("written", In(written), UNWRITTEN)
        yield case(
            f"{area}/{function}-handle-{subject}" if not area.endswith(function) else f"{area}/handle-{subject}",
            f"A number that isn't a {kind}'s handle is an invalid argument.",
            g,
        )


def describe_output() -> Iterator[Case]:
    """What an output is."""
    area = f"{ABI}/describe_output"

    def told(g: CoreGuest, index: int = 0, room: int = RECORDS, **expected: Any) -> Place:
        record = g.buffer(RECORDS)
        arguments = (In(g.slot("context")), index, record, room, g.slot("written"))
        g.call("describe_output", *arguments, **expected)
        return record

    g = guest()
    g.context("rows")
    g.set_input(0, [3, 2], f32(1, -2, 3, -4, 5, -6))
    g.compute()
    tell_tensor(g, told(g), "y", TYPES.index("f32"), [3, 2])
    yield case(f"{area}/dimensions", "The dimensions are those of the output of the last compute.", g)
    for index in (1, 0xFFFFFFFF):
        g = guest()
        g.context("relu")
        g.relu()
        told(g, index, **INVALID)
        yield case(f"{area}/index-{index:#x}", "The first index that doesn't exist is an invalid argument.", g)
    g = guest()
    g.context("relu")
    told(g, best=5, others=(INVALID_ARGUMENT,))
    yield case(f"{area}/before-compute", "Before a compute there is no output. Hosts differ in the errno.", g)
    g = guest()
    g.context("relu")
    g.relu()
    record = told(g, room=35, best=TOO_LARGE)
    g.say("has a size", f"(i32.ge_u {In(g.slot('written'))} (i32.const 36))", 1)
    g.show("buffer", record, b"\xee" * 8)
    yield case(f"{area}/too-small", "A buffer that is too small stays unchanged, and the size is written.", g)


def use_signature() -> Iterator[Case]:
    """Models with several entry points."""
    area = f"{ABI}/use_signature"

    g = guest()
    g.load_by_name("sums")
    _use(g, b"increase")
    g.init("other")
    g.set_input(0, [2], f32(1, 2))
    g.compute()
    g.get_output(f32(11, 22))
    yield case(f"{area}/works", "A signature of a model is a graph of its own.", g)
    g = guest()
    g.load_by_name("sums")
    _use(g, b"increase")
    record = _describe(g, "other")
    g.show_text("runs", word(record, 20), word(record, 24), "increase")
    _counts(g, record, 1, 1)
    yield case(f"{area}/description", "The description of a signature's graph has the inputs of the signature.", g)
    g = guest()
    g.load_by_name("sums")
    _use(g, b"increase")
    g.init("other", "adding")
    g.init(into="reading")
    for total in (f32(11, 22), f32(12, 24)):
        g.set_input(0, [2], f32(1, 2), context="adding")
        g.compute("adding")
        g.compute("reading")
        g.get_output(total, context="reading")
    yield case(f"{area}/one-set", "Contexts on the graphs of a model's signatures share one set of variables.", g)
    for subject, model, name in (
        ("unknown", "sums", b"nobody"),
        ("other-case", "sums", b"Increase"),
        ("with-nul", "sums", b"increase\0"),
        ("empty", "sums", b""),
        ("long", "sums", b"a" * 5000),
        ("of-a-model-without", "relu", b"increase"),
    ):
        g = guest()
        g.load_by_name(model)
        _use(g, name, best=NOT_FOUND)
        g.say("other", In(g.slot("other")), UNWRITTEN)
        yield case(f"{area}/{subject}", "A name that no signature has is not found.", g)
    g = guest()
    g.load_by_name("sums")
    _use(g, b"\xff", **INVALID)
    yield case(f"{area}/not-utf8", "A name that isn't UTF-8 is an invalid argument.", g)
    g = guest()
    g.load_by_name("sums")
    _use(g, b"increase")
    g.call("use_signature", In(g.slot("graph")), PAGE - 2, 3, g.slot("other"), best=TRAP)
    yield case(f"{area}/name-past-memory", "A pointer out of bounds traps, as in the core ABI.", g)
    yield from _bad_handles("use_signature", 4, area, "graph")


def _use(g: CoreGuest, name: bytes, **expected: Any) -> None:
    """Use a signature of the graph: its graph lies in the slot `other`."""
    g.call("use_signature", In(g.slot("graph")), g.data("signature", name), len(name), g.slot("other"), **expected)


def state_of(**tensors: tuple[str, list[int], bytes]) -> bytes:
    """A state as a safetensors file: names with types, dimensions and data."""
    header, data = {}, b""
    for name, (kind, dims, content) in tensors.items():
        header[name] = {"dtype": kind, "shape": dims, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return u32(len(text), 0) + text + data


STATES: dict[str, tuple[bytes, str]] = {
    "unknown-variable": (
        state_of(sum=("F32", [2], f32(3, 4)), other=("F32", [2], f32(1, 2))),
        "A state with a variable that the graph lacks is an invalid argument, and changes nothing.",
    ),
    "other-dimensions": (state_of(sum=("F32", [1], f32(3))), "The dimensions of a variable must be the graph's."),
    "other-type": (state_of(sum=("I32", [2], f32(3, 4))), "The type of a variable must be the graph's."),
    "cut-short": (state_of(sum=("F32", [2], f32(3, 4)))[:-1], "A state must have all its bytes."),
    "longer": (state_of(sum=("F32", [2], f32(3, 4))) + b"\0", "A state has no bytes after those of its variables."),
    "no-file": (b"learned", "A state is a safetensors file."),
    "empty": (b"", "A state is a safetensors file, also an empty one."),
}
"""States that `sums` must not take, with the rules."""


def state() -> Iterator[Case]:
    """Saving and setting variables."""
    area = f"{ABI}/state"

    def put(g: CoreGuest, content: bytes, **expected: Any) -> None:
        g.call("state_set", In(g.slot("graph")), g.data("state", content), len(content), **expected)

    def read(g: CoreGuest, total: bytes, context: str = "context", graph: str = "graph") -> None:
        g.init(graph, into=context)
        g.compute(context)
        g.get_output(total, context=context)

    g = guest()
    g.load_by_name("sums")
    buffer, size, written = g.buffer(512), g.slot("size"), g.slot("written")
    g.call("state_get", In(g.slot("graph")), buffer, 0, size, best=TOO_LARGE)
    short = f"(i32.sub {In(size)} (i32.const 1))"
    g.call("state_get", In(g.slot("graph")), buffer, short, written, best=TOO_LARGE)
    g.say("same size", f"(i32.eq {In(size)} {In(written)})", 1)
    g.show("buffer", buffer, b"\xee" * 8)
    g.call("state_get", In(g.slot("graph")), buffer, In(size), written)
    g.say("same size", f"(i32.eq {In(size)} {In(written)})", 1)
    g.show("ends with", f"(i32.sub (i32.add {buffer} {In(size)}) (i32.const 8))", AT_FIRST)
    yield case(f"{area}/size-first", "A buffer of the size that the call before told is enough, and no smaller one.", g)
    g = guest()
    g.load_by_name("sums")
    _use(g, b"increase")
    g.init("other")
    g.set_input(0, [2], f32(1, 2))
    g.compute()
    buffer, written = g.buffer(512), g.slot("written")
    g.call("state_get", In(g.slot("graph")), buffer, 512, written)
    g.show("ends with", f"(i32.sub (i32.add {buffer} {In(written)}) (i32.const 8))", f32(11, 22))
    g.compute()
    g.call("state_set", In(g.slot("graph")), buffer, In(written))
    read(g, f32(11, 22), "reading")
    yield case(f"{area}/there-and-back", "A state that was given can be set again.", g)
    g = guest()
    g.load_by_name("sums")
    put(g, state_of(sum=("F32", [2], f32(3, 4))))
    read(g, f32(3, 4))
    yield case(f"{area}/set", "A state is a safetensors file of all variables, by their names.", g)
    g = guest()
    g.load_by_name("sums")
    put(g, state_of())
    read(g, AT_FIRST)
    yield case(f"{area}/of-nothing", "To set a state changes only those variables that it has.", g)
    for subject, (content, says) in STATES.items():
        g = guest()
        g.load_by_name("sums")
        put(g, content, **INVALID)
        read(g, AT_FIRST)
        yield case(f"{area}/{subject}", says, g)
    g = guest()
    g.load_by_name("sums")
    g.init(into="before")
    put(g, state_of(sum=("F32", [2], f32(3, 4))))
    g.compute("before")
    g.get_output(AT_FIRST, context="before", label="before")
    read(g, f32(3, 4))
    yield case(f"{area}/contexts-before", "A context that was made before the first call keeps its own variables.", g)
    g = guest()
    g.load_by_name("sums")
    g.load_by_name("sums", "another")
    put(g, state_of(sum=("F32", [2], f32(3, 4))))
    read(g, AT_FIRST, "context2", "another")
    yield case(f"{area}/another-handle", "Another handle of the same model has another set of variables.", g)
    g = guest()
    g.load_by_name("relu")
    buffer, written = g.buffer(16), g.slot("written")
    g.call("state_get", In(g.slot("graph")), buffer, 16, written, best=UNSUPPORTED_OPERATION)
    put(g, state_of(), best=UNSUPPORTED_OPERATION)
    yield case(f"{area}/without-variables", "A graph without variables has no state.", g)
    g = guest()
    g.load_by_name("sums")
    put(g, state_of())
    g.call("state_set", In(g.slot("graph")), PAGE - 4, 8, best=TRAP)
    yield case(f"{area}/set-past-memory", "A pointer out of bounds traps, as in the core ABI.", g)
    yield from _bad_handles("state_get", 4, area, "graph")


def cases() -> Iterator[Case]:
    """All of them."""
    yield from describe()
    yield from describe_output()
    yield from use_signature()
    yield from state()
