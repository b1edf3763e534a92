"""Guests in the text format that answer requests, good and hostile ones, and their descriptions in a file of graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from struct import pack
from typing import Any, NamedTuple

from wasi_nn.abi.core.serving import FUNCTIONS, MODULE
from wasi_nn.graph.datatypes import DATATYPES

_GUESTS = Path(__file__).parent.parent.parent / "guests"
C_GUESTS = _GUESTS / "c"
COMPONENT_GUESTS = _GUESTS / "component"
EXAMPLE = _GUESTS / "example"
COLOURS = ("black", "white", "red", "green", "blue", "yellow")

RECORDS, CONTENT = 0x1000, 0x8000
"""Where the guests have the records of their outputs, and what these point to."""


class Output(NamedTuple):
    """An output as a guest has it in its memory, which need not make sense. `size` is said to be that of the data, and
    `at` its place, where these aren't None."""

    name: bytes
    datatype: str | int
    dims: Sequence[int]
    data: bytes
    size: int | None = None
    at: int | None = None


def escaped(content: bytes) -> str:
    """Bytes for a data segment."""
    return "".join(f"\\{byte:02x}" for byte in content)


def guest(
    body: str,
    outputs: Sequence[Output] = (),
    *,
    pages: int = 2,
    once: bool = False,
    imports: str = "",
    rest: str = "",
) -> str:
    """A guest that does `body` for each request, whose number is in the local `$request`; `$errno` is another local.

    The records of `outputs` are at `RECORDS`. If it answers `once`, it ends after the first request.
    """
    records, content = b"", b""
    for output in outputs:
        places = []
        for part in (output.name, pack(f"<{len(output.dims)}I", *output.dims), output.data):
            content += bytes(-len(content) % 4)
            places.append(CONTENT + len(content))
            content += part
        number = DATATYPES.index(output.datatype) if isinstance(output.datatype, str) else output.datatype
        size = len(output.data) if output.size is None else output.size
        data = places[2] if output.at is None else output.at
        records += pack("<IIB3xIIII", places[0], len(output.name), number, places[1], len(output.dims), data, size)
    functions = "".join(
        f'(import "{MODULE}" "{name}" (func ${name} (param {"i32 " * count}) (result i32)))'
        for name, count in FUNCTIONS.items()
    )
    return f"""(module {functions} {imports}
      (memory (export "memory") {pages})
      (data (i32.const {RECORDS}) "{escaped(records)}")
      (data (i32.const {CONTENT}) "{escaped(content)}")
      {rest}
      (func (export "_start") (local $request i32) (local $errno i32)
        (block $end (loop $next
          (drop (call $next_request (i32.const 0)))
          (local.set $request (i32.load (i32.const 0)))
          (br_if $end (i32.eqz (local.get $request)))
          {body}
          {"" if once else "(br $next)"}))))"""


def respond(count: int = 1) -> str:
    """Answer with the first outputs; the result is in `$errno`."""
    return f"(local.set $errno (call $respond (local.get $request) (i32.const {RECORDS}) (i32.const {count})))"


def expect(errno: int) -> str:
    """Trap unless `$errno` is this one."""
    return f"(if (i32.ne (local.get $errno) (i32.const {errno})) (then unreachable))"


ONE = Output(b"y", "FP32", [1], pack("<f", 1.5))
GOOD = guest(respond() + expect(0), [ONE])
"""Answers each request with y = [1.5]."""

ECHO = guest(
    """
    (drop (call $read_request (local.get $request) (i32.const 0x8000) (i32.const 0x8000) (i32.const 4)))
    (local.set $errno (call $respond (local.get $request) (i32.load (i32.const 0x8000)) (i32.load (i32.const 0x8004))))
    """
    + expect(0)
)
"""Answers each request with its own inputs, of up to 32 KB."""

ENDLESS = guest("(loop $ever (br $ever))")
TRAPS = guest("unreachable")
SILENT = guest("(br $end)")
"""Ends without an answer."""
HOLDS_TWO = guest("(local.set $errno (call $next_request (i32.const 8)))" + expect(1) + respond() + expect(0), [ONE])
"""Asks for another request while it holds one, and answers all the same."""
ANSWERS_TWICE = guest(respond() + expect(0) + respond() + expect(1), [ONE])
READS_LATE = guest(
    respond()
    + "(local.set $errno (call $read_request (local.get $request) (i32.const 64) (i32.const 512) (i32.const 4)))"
    + expect(1),
    [ONE],
)
"""Reads a request after its answer."""
HUNGRY = guest("(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0)))) unreachable")
"""Takes memory until there is none."""
TALKS = guest(
    "(loop $ever (drop (call $fd_write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 8))) (br $ever))",
    imports='(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))',
    rest=f'(data (i32.const 16) "{escaped(pack("<II", CONTENT, 4096))}")',
)
"""Fills its standard error."""
SLEEPS = guest(
    "(drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8)))" + respond(),
    [ONE],
    imports='(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))',
    rest=f'(data (i32.const 64) "{escaped(pack("<QB7xI4xQQH6x", 1, 0, 1, 1_300_000_000, 0, 0))}")',
)
"""Sleeps for 1.3 seconds before each answer."""
COUNTS = guest(
    "(i32.store (i32.const 0xa000) (i32.add (i32.load (i32.const 0xa000)) (i32.const 1)))" + respond() + expect(0),
    [Output(b"y", "INT32", [1], b"", 4, 0xA000)],
)
"""Answers with the number of requests that this sandbox has had."""


def colours_guest(path: object, graph: str = "colours", **more: Any) -> dict[str, Any]:
    """The description of a guest that tells the colour of a picture."""
    return {
        "path": str(path),
        "graphs": [graph],
        "arguments": ["--graph", graph, *COLOURS],
        "inputs": [{"name": "picture", "datatype": "UINT8", "shape": [-1, -1, 3]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [1]},
            {"name": "scores", "datatype": "FP32", "shape": [len(COLOURS)]},
        ],
        **more,
    }


def small_guest(path: object, datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    """The description of a guest that takes x and gives y, each of one element."""
    return {
        "path": str(path),
        "inputs": [{"name": "x", "datatype": datatype, "shape": [1], "optional": True}],
        "outputs": [{"name": "y", "datatype": datatype, "shape": [1]}],
        **more,
    }


def as_toml(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A file of graphs."""
    lines = []
    for kind, named in tables.items():
        for name, keys in named.items():
            lines.append(f"[{kind}.{json.dumps(name)}]")
            lines += [f"{key} = {_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
