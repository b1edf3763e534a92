"""Writes guests for the core ABI as WebAssembly text.

A guest makes calls of `wasi_ephemeral_nn` one after the other. After each, it prints a line with the function's name and
the errno. Handles lie in memory behind globals such as `$graph`, where the calls before have put them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.making.case import Line, Wanted
from conformance.making.models import MODELS

SPEC = {
    "load": 5,
    "load_by_name": 3,
    "init_execution_context": 2,
    "set_input": 3,
    "compute": 1,
    "get_output": 5,
}
"""The functions of the specification, with the number of their parameters."""

WASMEDGE = SPEC | {
    "load_by_name_with_config": 5,
    "compute_single": 1,
    "get_output_single": 5,
    "fini_single": 1,
    "unload": 1,
    "finalize_execution_context": 1,
}
WAMR = {"load": 4, "load_by_name": 3, "init_execution_context": 2, "set_input": 3, "compute": 1, "get_output": 4}

F16, F32, F64, U8, I32, I64 = range(6)
TYPES = ("f16", "f32", "f64", "u8", "i32", "i64")
SUCCESS, INVALID_ARGUMENT, INVALID_ENCODING, MISSING_MEMORY, BUSY, RUNTIME_ERROR = range(6)
UNSUPPORTED_OPERATION, TOO_LARGE, NOT_FOUND = range(6, 9)
ANY_ERROR = "1-8"
PAGE = 65536
UNWRITTEN = 0xEEEEEEEE

ENCODINGS = {"openvino": 0, "onnx": 1, "tensorflow": 2, "pytorch": 3, "tensorflowlite": 4, "autodetect": 5}
CPU, GPU, TPU = range(3)


@dataclass(frozen=True)
class Place:
    """An address in the guest's memory that a global names."""

    name: str
    at: int

    def __str__(self) -> str:
        return f"(global.get ${self.name})"


@dataclass(frozen=True)
class In:
    """The u32 that lies at a place, such as a handle."""

    place: Place

    def __str__(self) -> str:
        return f"(i32.load {self.place})"


Argument = int | Place | In


def f32(*values: float) -> bytes:
    """The bytes of f32 numbers."""
    return struct.pack(f"<{len(values)}f", *values)


def u32(*values: int) -> bytes:
    """The bytes of u32 numbers."""
    return struct.pack(f"<{len(values)}I", *values)


def text_of(content: bytes) -> str:
    """Bytes as a string of WebAssembly text."""
    readable = set(range(0x20, 0x7F)) - {0x22, 0x5C}
    return "".join(chr(byte) if byte in readable else f"\\{byte:02x}" for byte in content)


def pieces(content: bytes, zeros: int = 64) -> list[tuple[int, bytes]]:
    """Bytes without their long runs of zeros, which memory has anyway: each piece with its offset."""
    found, start, at = [], 0, 0
    while at < len(content):
        if content[at] == 0:
            end = at
            while end < len(content) and content[end] == 0:
                end += 1 if len(content) - end < 4096 or any(content[end : end + 4096]) else 4096
            if end - at >= zeros:
                if at > start:
                    found.append((start, content[start:at]))
                start = end
            at = end
        else:
            at += 1
    if start < len(content):
        found.append((start, content[start:]))
    return found


_SAY = """
  ;; Prints a label, which its length precedes, a space, a number, and the end of the line.
  (func $say (param $label i32) (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 63))
    (i32.store8 (i32.const 63) (i32.const 10))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (br_if $digits (local.tee $number (i32.div_u (local.get $number) (i32.const 10)))))
    (call $print (local.get $label) (local.get $at) (i32.sub (i32.const 64) (local.get $at))))

  ;; Prints a label and a text, by a call each: a host may write the first part of a list only.
  (func $print (param $label i32) (param $text i32) (param $size i32)
    (call $write (i32.add (local.get $label) (i32.const 1)) (i32.load8_u (local.get $label)))
    (call $write (local.get $text) (local.get $size)))

  (func $write (param $from i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $size))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
"""
_SHOW = """
  ;; Prints a label, and bytes in hexadecimal.
  (func $show (param $label i32) (param $from i32) (param $size i32)
    (local $to i32)
    (local.set $to (i32.const {text}))
    (if (i32.eqz (local.get $size)) (then (i32.store8 (local.get $to) (i32.const 45))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))))
    (loop $bytes
      (if (local.get $size) (then
        (i32.store8 (local.get $to) (call $digit (i32.shr_u (i32.load8_u (local.get $from)) (i32.const 4))))
        (i32.store8 offset=1 (local.get $to) (call $digit (i32.and (i32.load8_u (local.get $from)) (i32.const 15))))
        (local.set $to (i32.add (local.get $to) (i32.const 2)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $size (i32.sub (local.get $size) (i32.const 1)))
        (br $bytes))))
    (i32.store8 (local.get $to) (i32.const 10))
    (call $print (local.get $label) (i32.const {text}) (i32.sub (local.get $to) (i32.const {before}))))

  (func $digit (param i32) (result i32)
    (i32.add (local.get 0) (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get 0) (i32.const 10)))))
"""
_TEXT, _TEXT_SIZE = 0x200, 0x600  # where $show writes its text
_FIRST = 0x800  # the address of the first data


class CoreGuest:
    """A guest that is being written. A method that makes a call also notes the line that the call is to print."""

    def __init__(self, pages: int = 1, functions: dict[str, int] = SPEC, module: str = "wasi_ephemeral_nn") -> None:
        self.pages, self.functions, self.module = pages, functions, module
        self.lines: list[Line] = []
        self.graphs: dict[str, str] = {}
        self.encodings: dict[str, None] = {}
        self.types: dict[str, None] = {}
        self._used: dict[str, None] = {}
        self._labels: dict[str, Place] = {}
        self._places: dict[str, Place] = {}
        self._data: list[tuple[Place, bytes, str]] = []
        self._body: list[str] = []
        self._next, self._next_slot, self._next_label = _FIRST, 0x60, 0x100
        self._shows = False

    @property
    def end(self) -> int:
        """The first address behind the memory."""
        return self.pages * PAGE

    # Memory

    def slot(self, name: str) -> Place:
        """A place for a u32, which holds EE EE EE EE at first."""
        if name not in self._places:
            place = self._places[name] = Place(name, self._next_slot)
            self._next_slot += 8
            self._data.append((place, u32(UNWRITTEN), ""))
        return self._places[name]

    def data(self, name: str, content: bytes, note: str = "", at: int | None = None, align: int = 8) -> Place:
        """A place with bytes in it, at an address or at the next free one."""
        if at is None:
            at = (self._next + align - 1) // align * align
            self._next = at + max(len(content), 1)
        while name in self._places:
            name += "'"
        place = self._places[name] = Place(name, at)
        self._data.append((place, content, note))
        return place

    def tensor(
        self, dims: Sequence[int], kind: int, content: bytes, *, padding: bytes = b"\xaa\xbb\xcc", at: int | None = None
    ) -> Place:
        """A tensor record, with garbage in its padding."""
        dims_at = self.data("dims", u32(*dims), f"{list(dims)}")
        data_at = self.data("data", content)
        record = struct.pack("<IIB3sII", dims_at.at, len(dims), kind, padding, data_at.at, len(content))
        return self.data("tensor", record, "dims, their number, type, padding, data, its length", at)

    # Code

    def do(self, code: str) -> None:
        """Some code between the calls."""
        self._body.append(code)

    def label(self, text: str) -> Place:
        if text not in self._labels:
            content = text.encode() + b" "
            place = Place(f"says.{text.replace(' ', '-')}", self._next_label)
            self._next_label += 1 + len(content)
            assert self._next_label <= _TEXT
            self._labels[text] = place
        return self._labels[text]

    def call(
        self, function: str, *arguments: Argument, best: Wanted = SUCCESS, others: Sequence[Wanted] = (), label: str = ""
    ) -> None:
        """A call, whose errno the guest prints."""
        assert len(arguments) == self.functions[function], function
        self._used[function] = None
        label = label or function
        passed = " ".join(str(each) if not isinstance(each, int) else constant(each) for each in arguments)
        self._body.append(f"(call $say {self.label(label)}\n      (call ${function} {passed}))")
        self.lines.append(Line(label, best, others))

    def say(self, label: str, value: Argument, best: Wanted, others: Sequence[Wanted] = ()) -> None:
        """Print a number."""
        shown = value if not isinstance(value, int) else constant(value)
        self._body.append(f"(call $say {self.label(label)} {shown})")
        self.lines.append(Line(label, best, others))

    def show(self, label: str, at: Place | int, expected: bytes, others: Sequence[Wanted] = ()) -> None:
        """Print as many bytes as are expected."""
        assert len(expected) * 2 < _TEXT_SIZE
        self._shows = True
        start = str(at) if isinstance(at, Place) else constant(at)
        self._body.append(f"(call $show {self.label(label)} {start} (i32.const {len(expected)}))")
        self.lines.append(Line(label, expected.hex() or "-", others))

    # The calls of a usual inference

    def load_by_name(self, name: str | bytes, into: str = "graph", **expected: object) -> Place:
        """Load a named graph into a slot."""
        content = name.encode() if isinstance(name, str) else name
        if isinstance(name, str) and name in MODELS:
            self.graphs[name] = name
        place = self.data("name", content)
        slot = self.slot(into)
        self.call("load_by_name", place, len(content), slot, **expected)  # type: ignore[arg-type]
        return slot

    def builders(self, contents: Sequence[bytes]) -> Place:
        """An array of builders, and their bytes."""
        array = b""
        for content in contents:
            place = self.data("builder", content)
            array += u32(place.at, len(content))
        return self.data("builders", array, "each builder's bytes, and their number")

    def load(
        self, encoding: str, contents: Sequence[bytes], into: str = "graph", target: int = CPU, **expected: object
    ) -> None:
        """Load a model from bytes."""
        if encoding != "autodetect":
            self.encodings[encoding] = None
        array = self.builders(contents)
        arguments = (array, len(contents), ENCODINGS[encoding], target, self.slot(into))
        self.call("load", *arguments, **expected)  # type: ignore[arg-type]

    def init(self, graph: str = "graph", into: str = "context", **expected: object) -> Place:
        """Make a context on the graph in a slot."""
        slot = self.slot(into)
        self.call("init_execution_context", In(self.slot(graph)), slot, **expected)  # type: ignore[arg-type]
        return slot

    def context(self, name: str, into: str = "context") -> None:
        """Load a named graph, and make a context on it."""
        self.load_by_name(name)
        self.init(into=into)

    def set_input(
        self,
        index: int,
        dims: Sequence[int],
        content: bytes,
        kind: int = F32,
        context: str = "context",
        padding: bytes = b"\xaa\xbb\xcc",
        **expected: object,
    ) -> None:
        """Set an input to a tensor."""
        record = self.tensor(dims, kind, content, padding=padding)
        if kind < len(TYPES) and kind != F32:
            self.types[TYPES[kind]] = None
        self.call("set_input", In(self.slot(context)), index, record, **expected)  # type: ignore[arg-type]

    def compute(self, context: str = "context", **expected: object) -> None:
        """Compute."""
        self.call("compute", In(self.slot(context)), **expected)  # type: ignore[arg-type]

    def buffer(self, size: int) -> Place:
        """A buffer full of EE bytes."""
        return self.data("buffer", b"\xee" * size)

    def get_output(self, expected: bytes, index: int = 0, context: str = "context", label: str = "output") -> None:
        """Read an output into a buffer of its size, and show it."""
        buffer, written = self.buffer(max(len(expected), 4)), self.slot("written")
        self.call("get_output", In(self.slot(context)), index, buffer, len(expected), written)
        self.say("written", In(written), len(expected))
        self.show(label, buffer, expected)

    def relu(self, context: str = "context") -> None:
        """An inference on a context of `relu`, which shows that the context works."""
        self.set_input(0, [4], f32(1, -2, 3, -4), context=context)
        self.compute(context)
        self.get_output(f32(1, 0, 3, 0), context=context)

    # The text

    def text(self, header: str = "", memory: str | None = None, rest: str = "") -> str:
        """The guest's text."""
        lines = [header, "(module"] if header else ["(module"]
        for name in self._used:
            params = "(param" + " i32" * self.functions[name] + ")"
            lines.append(f'  (import "{self.module}" "{name}" (func ${name} {params} (result i32)))')
        lines.append(
            '  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))'
        )
        exported = f'(memory (export "memory") {self.pages})'
        lines.append(f"  {memory or exported}")
        lines.append("")
        fills: list[str] = []
        for place, content, note in self._data:
            lines.append(f"  (global ${place.name} i32 {constant(place.at)})" + (f"  ;; {note}" if note else ""))
            if len(content) > 8 and len(set(content)) == 1:  # a run of one byte: shorter as code
                if content[0]:
                    fills.append(f"(memory.fill {constant(place.at)} (i32.const {content[0]:#x}) {constant(len(content))})")
            else:
                segments = ((place.at + offset, piece) for offset, piece in pieces(content))
                lines += [f'  (data {constant(at)} "{text_of(piece)}")' for at, piece in segments]
        for label, place in self._labels.items():
            lines.append(f"  (global ${place.name} i32 {constant(place.at)})")
            size = len(label.encode()) + 1
            lines.append(f'  (data {constant(place.at)} "\\{size:02x}{text_of(label.encode())} ")')
        lines.append("")
        lines.append('  (func (export "_start")')
        lines += [f"    {each}" for each in (*fills, *self._body)]
        lines[-1] += ")"
        lines.append(_SAY.rstrip())
        if self._shows:
            lines.append(_SHOW.format(text=_TEXT, before=_TEXT - 1).rstrip())
        return "\n".join(lines) + f"{rest})\n"


def constant(value: int) -> str:
    """A number as WebAssembly text."""
    shown = f"{value:#x}" if value > 9 else str(value)
    return f"(i32.const {shown})"
