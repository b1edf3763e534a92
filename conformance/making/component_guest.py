"""Writes guests for wasi:nn, components, as WebAssembly text.

A guest makes calls one after the other. After each that gives a result, it prints a line with the function's name and
`ok`, or the number of the error's code. Results lie in memory behind globals such as `$graph`: a byte that says whether
there is an error, and four bytes further a handle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conformance.making.case import Wanted
from conformance.making.component_types import DROPS, ENCODINGS, F32, FUNCTIONS, OCTOBER, PRINTING, imports
from conformance.making.extension_types import EXTENSIONS, NEEDS, extension_imports
from conformance.making.guest_text import PAGE, SAY, GuestText, Place, constant, indented, show_function, u32
from conformance.making.models import NAMED
from conformance.suite import TYPES

OK = "ok"
ANY_CODE = "0-8"
COUNTER = 0x50  # a u32 for loops
PLACES = (("unaligned", 0x982), ("past-memory", PAGE), ("partly-past-memory", PAGE - 4))
"""Places that no result of 8 bytes may have."""
_OK = Place("ok", 0x48)  # "ok", and the end of a line
_SLOTS, _LABELS, _TEXT, _DATA = 0x60, 0x180, 0x300, 0x900
_TEXT_SIZE = _DATA - _TEXT


@dataclass(frozen=True)
class Handle:
    """The handle in the result at a place."""

    place: Place

    def __str__(self) -> str:
        return f"(i32.load offset=4 {self.place})"


@dataclass(frozen=True)
class At:
    """The u32 at a place."""

    place: Place | At
    offset: int = 0

    def __str__(self) -> str:
        return f"(i32.load {f'offset={self.offset} ' if self.offset else ''}{self.place})"


Argument = int | Place | Handle | At

_ABOUT = {
    "tensor": ("tensor", "tensor.dimensions", "tensor.ty", "tensor.data"),
    "errors": ("error", "error.code", "error.data"),
    "graph": ("init-execution-context",),
    "graph/load": ("load",),
    "graph/name": ("load-by-name",),
    "graph/twice": ("load-by-name",),
    "inference": ("set-input", "compute", "get-output"),
    "describe": ("describe",),
    "signatures": ("use-signature",),
    "state": ("state-get", "state-set"),
    "sequences": ("begin", "next"),
    "byte-strings": ("new", "strings"),
}
"""The functions that the cases of an area are about, if the guest calls them."""

_TELL = """
;; Prints a label, which its length precedes, and `ok` or the number of an error's code, as a result says.
(func $tell (param $label i32) (param $result i32)
  (if (i32.load8_u (local.get $result))
    (then
      (call $say (local.get $label) (call $error.code (i32.load offset=4 (local.get $result))))
      (call $drop-error (i32.load offset=4 (local.get $result))))
    (else (call $print (local.get $label) (global.get $ok) (i32.const 3)))))
"""
_PRINT = """
(func $print (param $label i32) (param $text i32) (param $size i32)
  (local $stdout i32)
  (local.set $stdout (call $get-stdout))
  (call $write (local.get $stdout)
    (i32.add (local.get $label) (i32.const 1)) (i32.load8_u (local.get $label)) (i32.const 0))
  (call $write (local.get $stdout) (local.get $text) (local.get $size) (i32.const 0))
  (call $drop-stream (local.get $stdout)))
"""
_MEMORY = """  (core module $memory-module
    (memory (export "memory") {pages}){realloc})
  (core instance $memory (instantiate $memory-module))"""
_REALLOC = """
    (global $free (mut i32) (i32.const {free}))
    ;; Gives the host memory for what it returns.
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $new)))
      (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))) (then
        (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
            (i32.shr_u (i32.sub (global.get $free) (i32.mul (memory.size) (i32.const 65536))) (i32.const 16)))))
          (then (unreachable)))))
      (local.get $at))"""


class ComponentGuest(GuestText):
    """A guest that is being written. A method that makes a call also notes the line that the call is to print."""

    def __init__(self, version: str, pages: int = 1) -> None:
        super().__init__(pages, slots=(_SLOTS, _LABELS, 16), labels=(_LABELS, _TEXT), data=_DATA)
        self.version = version
        self.functions = FUNCTIONS[version] | (EXTENSIONS if version == OCTOBER else {})
        self._used: dict[str, None] = {}
        self._drops: dict[str, None] = {}
        self._shows = False

    @property
    def stateful(self) -> bool:
        """Whether inputs are set one by one: the versions before October."""
        return self.version != OCTOBER

    def functions_of(self, area: str, subject: str) -> list[str]:
        prefix = f"{area}/{subject.partition('-')[0]}"
        about = [name for name in _ABOUT.get(prefix) or _ABOUT.get(area, ()) if name in self._used]
        return [f"wasi-nn{'-ext' if name in EXTENSIONS else ''}.wit: {self.functions[name].item}" for name in about]

    # Calls

    def code(self, function: str, *arguments: Argument) -> str:
        """A call, whose results are left where they are."""
        assert len(arguments) == self.functions[function].parameters, function
        self._used[function] = None
        passed = " ".join(constant(each) if isinstance(each, int) else str(each) for each in arguments)
        return f"(call ${function} {passed})"

    def call(
        self, function: str, *arguments: Argument, best: Wanted = OK, others: Sequence[Wanted] = (), label: str = ""
    ) -> None:
        """A call that gives a result at its last argument, which the guest prints."""
        label = label or function
        result = arguments[-1]
        self._used["error.code"], self._drops["error"] = None, None
        shown = constant(result) if isinstance(result, int) else str(result)
        self.do(self.code(function, *arguments))
        self.do(f"(call $tell {self.label(label)} {shown})")
        self.line(label, best, others)
        self.expect_error(best, 0)

    def traps(self, code: str) -> None:
        """Code that must trap: if it doesn't, the guest prints a line."""
        self.do(code)
        self.do(f"(call $say {self.label('went on')} (i32.const 1))")
        self.line("went on", "trap")

    def say(self, label: str, value: str | Argument, best: Wanted, others: Sequence[Wanted] = ()) -> None:
        """Print a number."""
        shown = constant(value) if isinstance(value, int) else str(value)
        self.do(f"(call $say {self.label(label)} {shown})")
        self.line(label, best, others)

    def show(
        self, label: str, at: str | Place, size: int | str, expected: bytes, others: Sequence[Wanted] = ()
    ) -> None:
        """Print bytes."""
        assert len(expected) * 2 < _TEXT_SIZE
        self._shows = True
        length = constant(size) if isinstance(size, int) else size
        self.do(f"(call $show {self.label(label)} {at} {length})")
        self.line(label, expected.hex() or "-", others)

    def show_text(self, label: str, at: str | Place, size: int | str, expected: str) -> None:
        """Print text."""
        length = constant(size) if isinstance(size, int) else size
        self.do(f"(call $print {self.label(label)} {at} {length})")
        self.do(f"(call $print {self.label('')} (i32.const 0x4a) (i32.const 1))")
        self.line(label, expected)

    def drop(self, kind: str, handle: Argument) -> str:
        """Code that drops a handle."""
        assert kind in (*DROPS, "sequence")
        self._drops[kind] = None
        return f"(call $drop-{kind} {constant(handle) if isinstance(handle, int) else handle})"

    # Tensors

    def tensor(self, dims: Sequence[int], kind: int, content: bytes, into: str = "tensor") -> Handle:
        """Make a tensor."""
        slot = self.slot(into)
        dims_at = self.data("dims", u32(*dims), f"{list(dims)}")
        data_at = self.data("data", content)
        made = self.code("tensor", dims_at, len(dims), kind, data_at, len(content))
        self.do(f"(i32.store offset=4 {slot} {made})")
        return Handle(slot)

    def show_tensor(
        self,
        handle: Handle,
        dims: Sequence[int] | None,
        kind: int | None,
        content: bytes,
        label: str = "",
        others: Sequence[Wanted] = (),
    ) -> None:
        """Print a tensor's dimensions, type and data. None: leave that out."""
        result = self.slot("part")
        before = f"{label} " if label else ""
        if dims is not None:
            self.do(self.code("tensor.dimensions", handle, result))
            length = f"(i32.mul (i32.const 4) {At(result, 4)})"
            self.show(f"{before}dimensions", str(At(result)), length, u32(*dims), others)
        if kind is not None:
            self.say(f"{before}type", self.code("tensor.ty", handle), kind)
        self.do(self.code("tensor.data", handle, result))
        self.show(f"{before}data", str(At(result)), str(At(result, 4)), content)

    # The calls of a usual inference

    def load_by_name(self, name: str, into: str = "graph", **expected: Any) -> Place:
        """Load a named graph."""
        if name in NAMED:
            self.graphs[name] = name
        place, slot = self.data("name", name.encode()), self.slot(into)
        self.call("load-by-name", place, len(name.encode()), slot, **expected)
        return slot

    def load(
        self, encoding: str, contents: Sequence[bytes], into: str = "graph", target: int = 0, **expected: Any
    ) -> None:
        """Load a model from bytes."""
        if encoding != "autodetect":
            self.encodings[encoding] = None
        arguments = (self.builders(contents), len(contents), ENCODINGS.index(encoding), target, self.slot(into))
        self.call("load", *arguments, **expected)

    def init(self, graph: str = "graph", into: str = "context", **expected: Any) -> None:
        """Make a context on a graph."""
        self.call("init-execution-context", Handle(self.slot(graph)), self.slot(into), **expected)

    def context(self, name: str, into: str = "context") -> None:
        """Load a named graph, and make a context on it."""
        self.load_by_name(name)
        self.init(into=into)

    def text_at(self, text: str) -> tuple[Place, int]:
        """A string in memory, and its length."""
        return self.data("name", text.encode()), len(text.encode())

    def inputs(self, named: Sequence[tuple[str, Argument]]) -> Place:
        """A list of named tensors, as October's compute takes it."""
        array = b""
        for name, _ in named:
            place, size = self.text_at(name)
            array += u32(place.at, size, 0)
        place = self.data("inputs", array, "each input's name, its length, and its tensor")
        for number, (_, handle) in enumerate(named):
            shown = constant(handle) if isinstance(handle, int) else handle
            self.do(f"(i32.store offset={12 * number + 8} {place} {shown})")
        return place

    def set_input(self, name: str, tensor: Handle, context: str = "context", **expected: Any) -> None:
        """Set an input to a tensor, in the versions before October."""
        self.call(
            "set-input", Handle(self.slot(context)), *self.text_at(name), tensor, self.slot("nothing"), **expected
        )

    def get_output(self, name: str, context: str = "context", **expected: Any) -> Handle:
        """Get an output, in the versions before October."""
        slot = self.slot("output")
        self.call("get-output", Handle(self.slot(context)), *self.text_at(name), slot, **expected)
        return Handle(slot)

    def run(
        self,
        named: Sequence[tuple[str, Handle]],
        context: str = "context",
        best: Wanted = OK,
        others: Sequence[Wanted] = (),
        late: bool = False,
    ) -> None:
        """Set inputs to tensors and compute, or in October compute on them. A mistake in the last input is told by the
        first call that can tell it; a `late` one by compute."""
        context_handle = Handle(self.slot(context))
        if not self.stateful:
            result = self.slot("outputs")
            self.call("compute", context_handle, self.inputs(named), len(named), result, best=best, others=others)
            return
        for number, (name, handle) in enumerate(named):
            early = number == len(named) - 1 and not late
            self.set_input(name, handle, context, **({"best": best, "others": others} if early else {}))
        if best == OK or late:
            self.call("compute", context_handle, self.slot("nothing"), best=best, others=others)

    def output(
        self,
        content: bytes,
        name: str = "y",
        index: int = 0,
        context: str = "context",
        dims: Sequence[int] | None = None,
        kind: int | None = None,
        label: str = "",
    ) -> None:
        """Print an output: the one of a name or, in October, of an index."""
        if self.stateful:
            handle = self.get_output(name, context)
        else:
            slot = self.slot("output")
            at = f"(i32.load offset=4 {self.slot('outputs')})"
            self.do(f"(i32.store offset=4 {slot} (i32.load offset={12 * index + 8} {at}))")
            handle = Handle(slot)
        self.show_tensor(handle, dims, kind, content, label)

    def infer(
        self,
        dims: Sequence[int],
        kind: int,
        content: bytes,
        expected: bytes,
        context: str = "context",
        out_dims: Sequence[int] | None = None,
        out_kind: int | None = None,
    ) -> None:
        """An inference with one input x and one output y."""
        if kind != F32:
            self.types[TYPES[kind]] = None
        tensor = self.tensor(dims, kind, content)
        self.run([("x", tensor)], context)
        self.output(expected, context=context, dims=out_dims, kind=out_kind)

    # The text

    def text(self, header: str) -> str:
        """The guest's text, with a comment at its head."""
        lines = [header, "(component"]
        functions = list(self._used)
        own = [name for name in functions if name not in EXTENSIONS]
        extensions = [name for name in functions if name in EXTENSIONS]
        needed = [interface for name in extensions for interface in NEEDS[EXTENSIONS[name].interface]]
        lines.append(imports(self.version, own, [kind for kind in self._drops if kind in DROPS], needed))
        if extensions:
            lines.append(extension_imports(extensions, self._drops))
        lines.append(PRINTING)
        lines.append("")
        lists = any(self.functions[name].lists for name in functions)
        realloc = _REALLOC.format(free=(self.next + 7) // 8 * 8) if lists else ""
        lines.append(_MEMORY.format(pages=self.pages, realloc=realloc))
        lines += self._lowered(functions)
        lines += self._main(functions)
        lines.append('  (func $run (result (result)) (canon lift (core func $main "run")))')
        lines.append('  (instance $cli (export "run" (func $run)))')
        lines.append('  (export "wasi:cli/run@0.2.0" (instance $cli)))')
        return "\n".join(lines) + "\n"

    def _lowered(self, functions: Sequence[str]) -> list[str]:
        lines, memory = [], '(memory (core memory $memory "memory"))'
        for name in functions:
            function = self.functions[name]
            options = "" if function.name.endswith((".code", ".ty")) else f" {memory}"
            options += ' (realloc (core func $memory "realloc"))' if function.lists else ""
            lines.append(f'  (core func ${name} (canon lower (func ${function.interface} "{function.name}"){options}))')
        lines += [f"  (core func $drop-{kind} (canon resource.drop ${kind}))" for kind in self._drops]
        lines.append('  (core func $get-stdout (canon lower (func $stdout "get-stdout")))')
        lines.append(
            '  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")\n'
            f"    {memory}))"
        )
        lines.append("  (core func $drop-stream (canon resource.drop $stream))")
        return lines

    def _main(self, functions: Sequence[str]) -> list[str]:
        kinds = {name: self.functions[name].core for name in functions}
        kinds |= {f"drop-{kind}": "(param i32)" for kind in self._drops}
        kinds |= {"get-stdout": "(result i32)", "write": "(param i32 i32 i32 i32)", "drop-stream": "(param i32)"}
        lines = ["  (core module $main-module", '    (import "memory" "memory" (memory 1))']
        lines += [f'    (import "nn" "{name}" (func ${name} {kind}))' for name, kind in kinds.items()]
        data, fills = self.globals_and_data()
        data = [f"(global ${_OK.name} i32 {constant(_OK.at)})", f'(data {constant(_OK.at)} "ok\\n")', *data]
        lines += ["", *(f"    {each}" for each in data)]
        lines += ["", '    (func (export "run") (result i32)']
        lines += [f"      {each}" for each in (*fills, *self.body, "(i32.const 0))")]
        tells = any(line.startswith("(call $tell") for line in self.body)
        for helper in (*([_TELL] if tells else []), SAY, _PRINT, *([show_function(_TEXT)] if self._shows else [])):
            lines += ["", *indented(helper, 4)]
        lines[-1] += ")"
        exports = "\n      ".join(f'(export "{name}" (func ${name}))' for name in kinds)
        lines.append(
            '  (core instance $main (instantiate $main-module (with "memory" (instance $memory))\n'
            f'    (with "nn" (instance {exports}))))'
        )
        return lines
