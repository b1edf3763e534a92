"""Writes guests for the core ABI as WebAssembly text.

A guest makes calls of `wasi_ephemeral_nn` one after the other. After each, it prints a line with the function's name
and the errno. Handles lie in memory behind globals such as `$graph`, where the calls before have put them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.making.case import TRAP, Wanted
from conformance.making.guest_text import SAY, GuestText, Place, constant, f32, indented, show_function, u32
from conformance.making.models import NAMED

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
EXTENSIONS = {
    "describe": 4,
    "describe_output": 5,
    "use_signature": 4,
    "state_get": 4,
    "state_set": 3,
    "begin_sequence": 1,
    "next_of_sequence": 2,
    "end_sequence": 1,
    "set_byte_strings": 6,
    "get_byte_strings": 5,
}
"""The functions of `wasi_nn_ext`."""
WAMR = {"load": 4, "load_by_name": 3, "init_execution_context": 2, "set_input": 3, "compute": 1, "get_output": 4}

F16, F32, F64, U8, I32, I64 = range(6)
TYPES = ("f16", "f32", "f64", "u8", "i32", "i64")
ENCODINGS = {"openvino": 0, "onnx": 1, "tensorflow": 2, "pytorch": 3, "tensorflowlite": 4, "autodetect": 5}
CPU, GPU, TPU = range(3)
SUCCESS, INVALID_ARGUMENT, INVALID_ENCODING, MISSING_MEMORY, BUSY, RUNTIME_ERROR = range(6)
UNSUPPORTED_OPERATION, TOO_LARGE, NOT_FOUND = range(6, 9)
ANY_ERROR = "1-8"
FAILS: dict[str, Any] = {"others": (ANY_ERROR,)}
FAILS_OR_TRAPS: dict[str, Any] = {"others": (ANY_ERROR, TRAP)}
TRAPS: dict[str, Any] = {"best": TRAP, "others": (ANY_ERROR,)}
UNWRITTEN = 0xEEEEEEEE
"""What a place for a result holds before a call writes there."""

PADDING = b"\xaa\xbb\xcc"
COUNTER = 0x40  # a u32 for loops
_SLOTS, _LABELS, _TEXT, _DATA = 0x60, 0x100, 0x200, 0x800
_TEXT_SIZE = _DATA - _TEXT

_PRINT = """
;; Prints a label and a text, by a call each: a host may write the first part of a list only.
(func $print (param $label i32) (param $text i32) (param $size i32)
  (call $write (i32.add (local.get $label) (i32.const 1)) (i32.load8_u (local.get $label)))
  (call $write (local.get $text) (local.get $size)))

(func $write (param $from i32) (param $size i32)
  (i32.store (i32.const 0) (local.get $from))
  (i32.store (i32.const 4) (local.get $size))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
"""


@dataclass(frozen=True)
class In:
    """The u32 that lies at a place, such as a handle."""

    place: Place

    def __str__(self) -> str:
        return f"(i32.load {self.place})"


Argument = int | Place | In | str
"""A number, an address, what lies at an address, or code."""


class CoreGuest(GuestText):
    """A guest that is being written. A method that makes a call also notes the line that the call is to print."""

    def __init__(self, pages: int = 1, functions: Mapping[str, int] = SPEC, module: str = "wasi_ephemeral_nn") -> None:
        super().__init__(pages, slots=(_SLOTS, _LABELS, 8), labels=(_LABELS, _TEXT), data=_DATA)
        self.functions, self.module = functions, module
        self.memory = f'(memory (export "memory") {pages})'
        """The definition of the memory."""
        self._used: dict[str, None] = {}
        self._shows = False

    def functions_of(self, area: str, subject: str) -> list[str]:
        if area in self.functions:
            about = [area]
        elif area in ("types", "shapes", "memory"):
            about = [name for name in ("set_input", "get_output") if name in self._used and area != "memory"]
        else:  # several functions, none of them the specification's
            about = [name for name in self._used if name not in SPEC]
        return [f"{self._file_of(name)}: {name}" for name in about]

    def _file_of(self, function: str) -> str:
        """The file of the specification that has a function."""
        if function in EXTENSIONS:
            return "extensions.md"
        if self.module != "wasi_ephemeral_nn":
            return "wasi_nn.c"
        return "wasi-nn.witx" if function in SPEC else "wasinnmodule.cpp"

    # Memory

    def slot(self, name: str, content: bytes = u32(UNWRITTEN)) -> Place:
        return super().slot(name, content)

    def tensor(
        self, dims: Sequence[int], kind: int, content: bytes, *, padding: bytes = PADDING, at: int | None = None
    ) -> Place:
        """A tensor record, with garbage in its padding."""
        dims_at = self.data("dims", u32(*dims), f"{list(dims)}")
        data_at = self.data("data", content)
        return self.record(dims_at.at, len(dims), kind, data_at.at, len(content), padding=padding, at=at)

    def record(
        self, dims: int, rank: int, kind: int, data: int, size: int, *, padding: bytes = PADDING, at: int | None = None
    ) -> Place:
        """A tensor record of any addresses and numbers."""
        record = struct.pack("<IIB3sII", dims, rank, kind, padding, data, size)
        return self.data("tensor", record, "dims, their number, type, padding, data, its length", at)

    def buffer(self, size: int) -> Place:
        """A buffer full of EE bytes."""
        return self.data("buffer", b"\xee" * size)

    # Calls

    def code(self, function: str, *arguments: Argument) -> str:
        """A call, whose errno is left on the stack."""
        assert len(arguments) == self.functions[function], function
        self._used[function] = None
        passed = " ".join(constant(each) if isinstance(each, int) else str(each) for each in arguments)
        return f"(call ${function} {passed})"

    def call(
        self,
        function: str,
        *arguments: Argument,
        best: Wanted = SUCCESS,
        others: Sequence[Wanted] = (),
        label: str = "",
    ) -> None:
        """A call, whose errno the guest prints."""
        label = label or function
        self.do(f"(call $say {self.label(label)}\n      {self.code(function, *arguments)})")
        self.line(label, best, others)
        self.expect_error(best, INVALID_ARGUMENT)

    def say(self, label: str, value: Argument, best: Wanted, others: Sequence[Wanted] = ()) -> None:
        """Print a number."""
        shown = constant(value) if isinstance(value, int) else str(value)
        self.do(f"(call $say {self.label(label)} {shown})")
        self.line(label, best, others)

    def show(self, label: str, at: Place | int | str, expected: bytes, others: Sequence[Wanted] = ()) -> None:
        """Print as many bytes as are expected."""
        assert len(expected) * 2 < _TEXT_SIZE
        self._shows = True
        start = constant(at) if isinstance(at, int) else str(at)
        self.do(f"(call $show {self.label(label)} {start} (i32.const {len(expected)}))")
        self.line(label, expected.hex() or "-", others)

    def show_text(self, label: str, at: str | Place, size: int | str, expected: str) -> None:
        """Print text."""
        length = constant(size) if isinstance(size, int) else size
        self.do(f"(call $print {self.label(label)} {at} {length})")
        newline = self.slot("newline", b"\n")
        self.do(f"(call $write {newline} (i32.const 1))")
        self.line(label, expected)

    # The calls of a usual inference

    def load_by_name(self, name: str | bytes, into: str = "graph", **expected: Any) -> Place:
        """Load a named graph into a slot."""
        content = name.encode() if isinstance(name, str) else name
        if isinstance(name, str) and name in NAMED:
            self.graphs[name] = name
        place, slot = self.data("name", content), self.slot(into)
        self.call("load_by_name", place, len(content), slot, **expected)
        return slot

    def load(
        self, encoding: str, contents: Sequence[bytes], into: str = "graph", target: int = CPU, **expected: Any
    ) -> None:
        """Load a model from bytes."""
        if encoding != "autodetect":
            self.encodings[encoding] = None
        arguments = (self.builders(contents), len(contents), ENCODINGS[encoding], target, self.slot(into))
        self.call("load", *arguments, **expected)

    def init(self, graph: str = "graph", into: str = "context", **expected: Any) -> Place:
        """Make a context on the graph in a slot."""
        slot = self.slot(into)
        self.call("init_execution_context", In(self.slot(graph)), slot, **expected)
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
        padding: bytes = PADDING,
        **expected: Any,
    ) -> None:
        """Set an input to a tensor."""
        record = self.tensor(dims, kind, content, padding=padding)
        if kind < len(TYPES) and kind != F32:
            self.types[TYPES[kind]] = None
        self.call("set_input", In(self.slot(context)), index, record, **expected)

    def compute(self, context: str = "context", **expected: Any) -> None:
        """Compute."""
        self.call("compute", In(self.slot(context)), **expected)

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

    def text(self, header: str) -> str:
        """The guest's text, with a comment at its head."""
        lines = [header, "(module"]
        for name in self._used:
            params = "(param" + " i32" * self.functions[name] + ")"
            module = "wasi_nn_ext" if name in EXTENSIONS else self.module
            lines.append(f'  (import "{module}" "{name}" (func ${name} {params} (result i32)))')
        lines.append(
            '  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))'
        )
        data, fills = self.globals_and_data()
        lines += [f"  {self.memory}", "", *(f"  {each}" for each in data), ""]
        lines += ['  (func (export "_start")', *(f"    {each}" for each in (*fills, *self.body))]
        lines[-1] += ")"
        for helper in (SAY, _PRINT, *([show_function(_TEXT)] if self._shows else [])):
            lines += ["", *indented(helper, 2)]
        return "\n".join(lines) + ")\n"
