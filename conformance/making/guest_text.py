"""What guests of all kinds have in common while they are written: their memory, their labels, and their lines."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conformance.making.case import Line, Wanted

PAGE = 65536
_ZEROS = re.compile(rb"\0{64,}")


@dataclass(frozen=True)
class Place:
    """An address in the guest's memory that a global names."""

    name: str
    at: int

    def __str__(self) -> str:
        return f"(global.get ${self.name})"


def f32(*values: float) -> bytes:
    """The bytes of f32 numbers."""
    return struct.pack(f"<{len(values)}f", *values)


def u32(*values: int) -> bytes:
    """The bytes of u32 numbers."""
    return struct.pack(f"<{len(values)}I", *values)


def constant(value: int) -> str:
    """A number as WebAssembly text."""
    return f"(i32.const {value:#x})" if value > 9 else f"(i32.const {value})"


def text_of(content: bytes) -> str:
    """Bytes as a string of WebAssembly text."""
    readable = set(range(0x20, 0x7F)) - {0x22, 0x5C}
    return "".join(chr(byte) if byte in readable else f"\\{byte:02x}" for byte in content)


def pieces(content: bytes) -> list[tuple[int, bytes]]:
    """Bytes without their long runs of zeros, which memory has anyway: each piece with its offset."""
    found, start = [], 0
    for zeros in _ZEROS.finditer(content):
        if zeros.start() > start:
            found.append((start, content[start : zeros.start()]))
        start = zeros.end()
    if start < len(content):
        found.append((start, content[start:]))
    return found


class GuestText:
    """A guest that is being written: its data, its labels, its code, and the lines that it is to print."""

    def __init__(self, pages: int, *, slots: tuple[int, int, int], labels: tuple[int, int], data: int) -> None:
        """`slots` are the addresses of the first place for a result, of the end of these, and the bytes of each;
        `labels` those of the first label and of their end; `data` that of the first data."""
        self.pages = pages
        self.lines: list[Line] = []
        self.errors: dict[int, None] = {}
        """The errors that calls are to give, by their numbers."""
        self.graphs: dict[str, str] = {}
        self.encodings: dict[str, None] = {}
        self.types: dict[str, None] = {}
        self.body: list[str] = []
        """The code, a statement each."""
        self.next = data
        """The next free address for data."""
        self._slots, self._slots_end, self._slot_size = slots
        self._labels_next, self._labels_end = labels
        self._places: dict[str, Place] = {}
        self._labels: dict[str, Place] = {}
        self._data: list[tuple[Place, bytes, str]] = []

    @property
    def end(self) -> int:
        """The first address behind the memory."""
        return self.pages * PAGE

    def place(self, name: str) -> Place:
        """A place that has been made, by its name."""
        return self._places[name]

    def slot(self, name: str, content: bytes = b"") -> Place:
        """A place for a result, made once, which holds some bytes at first."""
        if name not in self._places:
            assert self._slots + self._slot_size <= self._slots_end
            self._places[name] = Place(name, self._slots)
            self._slots += self._slot_size
            self._data.append((self._places[name], content, ""))
        return self._places[name]

    def data(self, name: str, content: bytes, note: str = "", at: int | None = None) -> Place:
        """A place with bytes in it, at an address or at the next free one that is a multiple of 8."""
        if at is None:
            at = (self.next + 7) // 8 * 8
            self.next = at + max(len(content), 1)
        while name in self._places:
            name += "'"
        self._places[name] = Place(name, at)
        self._data.append((self._places[name], content, note))
        return self._places[name]

    def builders(self, contents: Iterable[bytes]) -> Place:
        """An array of builders, and their bytes."""
        array = b""
        for content in contents:
            array += u32(self.data("builder", content).at if content else 0, len(content))
        return self.data("builders", array, "each builder's bytes, and their number")

    def label(self, text: str) -> Place:
        """The place of a label."""
        if text not in self._labels:
            self._labels[text] = Place(f"says.{text.replace(' ', '-')}", self._labels_next)
            self._labels_next += 2 + len(text.encode())
            assert self._labels_next <= self._labels_end
        return self._labels[text]

    def do(self, code: str) -> None:
        """Some code between the calls."""
        self.body.append(code)

    def loop(self, code: str, times: int, counter: int) -> None:
        """Code that is run several times; the counter is the address of a u32."""
        at = f"(i32.const {counter:#x})"
        self.do(f"(i32.store {at} (i32.const {times}))")
        self.do(f"(loop $more {code}")
        self.do(f"  (i32.store {at} (i32.sub (i32.load {at}) (i32.const 1)))")
        self.do(f"  (br_if $more (i32.load {at})))")

    def expect_error(self, best: Wanted, first: int) -> None:
        """Note the errors among the best values of a call; the numbers of errors begin with the `first`."""
        numbers = [int(word) for word in str(best).split("|") if word.isdigit()]
        self.errors |= dict.fromkeys(number for number in numbers if number >= first)

    def line(self, label: str, best: Wanted, others: Sequence[Wanted] = ()) -> None:
        """Note a line that the guest is to print."""
        self.lines.append(Line(label, best, others))

    def globals_and_data(self) -> tuple[list[str], list[str]]:
        """The places as text: their globals and data, and the code that fills those with one byte."""
        lines, fills = [], []
        for place, content, note in self._data:
            lines.append(f"(global ${place.name} i32 {constant(place.at)})" + (f"  ;; {note}" if note else ""))
            if len(content) > 8 and content == content[:1] * len(content):  # a run of one byte: shorter as code
                if content[0]:
                    byte = f"(i32.const {content[0]:#x})"
                    fills.append(f"(memory.fill {constant(place.at)} {byte} {constant(len(content))})")
                continue
            segments = ((place.at + offset, piece) for offset, piece in pieces(content))
            lines += [f'(data {constant(at)} "{text_of(piece)}")' for at, piece in segments]
        for label, place in self._labels.items():
            content = f"{label} ".encode() if label else b""
            lines.append(f"(global ${place.name} i32 {constant(place.at)})")
            lines.append(f'(data {constant(place.at)} "\\{len(content):02x}{text_of(content)}")')
        return lines, fills


SAY = """
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
"""
SHOW = """
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


def show_function(text: int) -> str:
    """The function `$show`, which writes its text to an address."""
    return SHOW.replace("{text}", f"{text:#x}").replace("{before}", f"{text - 1:#x}")


def indented(code: str, by: int) -> list[str]:
    """Lines of code, moved to the right."""
    return [f"{' ' * by}{line}" if line else "" for line in code.strip("\n").split("\n")]
