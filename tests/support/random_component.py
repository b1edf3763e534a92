"""Guest components with the functions of the raw guest, at random inside other components and with other items between;
and calls of them."""

from __future__ import annotations

from random import Random

import wasmtime
from raw_component import (
    GRAPH_INSTANCE,
    MEMORY_FUNCTIONS,
    NN_FUNCTIONS,
    STRINGS_FUNCTIONS,
    STRINGS_INSTANCE,
    TENSOR_INSTANCE,
    caller,
    lifted,
    memory,
)

from wasi_nn.abi.component.bridge import VERSIONS

Call = tuple[str, *tuple[int, ...]]

# Items that nothing else refers to, but which shift the indexes of those behind them.
_OTHER_ITEMS = (
    "(core module)",
    "(core instance)",
    "(type (list u8))",
    '(type (func (param "a" u32)))',
    '(type (instance (type (list u8)) (export "t" (type (eq 0)))))',
    "(component)",
    "(component (type (list u8)) (core module) (core instance (instantiate 0)))",
    '(component (import "x" (func)))',
    "(component (alias outer 1 $a-type (type $t)) (type (list $t)))",
    "(component (alias outer 1 $a-component (component $c)) (instance (instantiate $c)))",
    "(alias outer 0 $a-type (type))",
    '(core instance (export "a" (memory $m "memory")))',
)
_FROM_OUTSIDE = "(component (alias outer 1 $a-module (core module $m)) (core instance (instantiate $m)))"
_ENCODINGS = ("", "", "string-encoding=utf8", "string-encoding=utf16", "string-encoding=latin1+utf16")
_EXPORTS = (
    "",
    '(export "nn" (instance $tensors))',
    '(export "module" (core module $a-module))',
    '(func $f (canon lift (core func $a "f"))) (export "f" (func $f)) (export "g" (func $f))',
)
_ADDRESSES = (0, 4, 8, 64, 1024, 4096)
_NUMBERS = (1, 3, 65, 1025, 65_528, 65_532, 65_535, 65_536, 131_072, 2**29, 2**30, 2**31, 2**32 - 8, 2**32 - 1)


def random_guest(random: Random, *, extended: bool = False) -> bytes:
    """A guest as a binary. Its functions are those of the raw guest, and those for byte strings if `extended`."""
    functions = NN_FUNCTIONS | STRINGS_FUNCTIONS if extended else NN_FUNCTIONS

    def other(items: tuple[str, ...]) -> str:
        return "".join(random.choices(items, k=random.randrange(3)))

    before_memory = tuple(item for item in _OTHER_ITEMS if "instan" not in item and "$m " not in item)
    named = random.random() < 0.5
    of_memory = "(memory $memory)" if named else '(memory (core memory $m "memory"))'
    of_realloc = "(realloc $realloc)" if named else '(realloc (core func $m "realloc"))'

    def lower(name: str, function: str, *options: str) -> str:
        chosen = [*options, random.choice(_ENCODINGS)]
        random.shuffle(chosen)
        return f"(core func {name} (canon lower (func {function}) {' '.join(chosen)}))"

    lowered = [
        lower("$new", '$tensors "[constructor]tensor"', of_memory),
        lower("$data", '$tensors "[method]tensor.data"', of_memory, of_realloc),
        lower("$load", '$graphs "load"', of_memory, of_realloc),
        "(core func $drop (canon resource.drop $tensor))",
        *(lower("", '$tensors "[constructor]tensor"', of_memory) for _ in range(random.randrange(3))),
    ]
    if extended:
        lowered.append(lower("$strings-new", '$strings "new"', of_memory, of_realloc))
        lowered.append(lower("$strings", '$strings "strings"', of_memory, of_realloc))
    random.shuffle(lowered)
    outside = _FROM_OUTSIDE if random.random() < 0.1 else ""
    again = random.random() < 0.3
    lifts = [lifted(name, f'$m "{name}"', *kind) for name, kind in MEMORY_FUNCTIONS.items()]
    for name, kind in functions.items():
        # A lowered function can be lifted again, without a module between.
        lifts.append(lifted(name, f"${name}" if again else f'$caller "{name}"', *kind))
    parts = (
        '(type $a-type (list u16)) (core module $a-module (func (export "f"))) (component $a-component)',
        TENSOR_INSTANCE,
        other(before_memory),
        GRAPH_INSTANCE,
        STRINGS_INSTANCE if extended else "",
        memory(random.choice((1, 1, 2))),
        '(alias core export $m "memory" (core memory $memory)) (alias core export $m "realloc" (core func $realloc))'
        if named
        else "",
        '(core instance $a (instantiate $a-module)) (alias export $tensors "tensor" (type $tensor))',
        *(item for function in lowered for item in (other(_OTHER_ITEMS), function)),
        caller(functions),
        outside,
        _starts(random) if random.random() < 0.3 else "",
        *lifts,
        random.choice(_EXPORTS),
    )
    content = " ".join(parts)
    for _ in range(random.choice((0, 0, 1, 2, 5))):
        content = _around(random, content, extended)
    return bytes(wasmtime.wat2wasm(f"(component {content})"))


def _around(random: Random, content: str, extended: bool) -> str:
    """The content of a component that has another one inside, gives it wasi:nn, and exports its functions."""
    functions = NN_FUNCTIONS | STRINGS_FUNCTIONS if extended else NN_FUNCTIONS
    given = " ".join(
        f'(with "wasi:nn/{interface}@{VERSIONS[-1]}" (instance ${name}))'
        for interface, name in {"tensor": "tensors", "graph": "graphs", "errors": "errors"}.items()
    )
    if extended:
        given += ' (with "wasi-nn:ext/byte-strings@0.1.0" (instance $strings))'
    own = f"""{memory(1)}
      (core func (canon lower (func $tensors "[constructor]tensor") (memory (core memory $m "memory"))))"""
    exports = " ".join(f'(export "{name}" (func $i "{name}"))' for name in (*MEMORY_FUNCTIONS, *functions))
    strings = STRINGS_INSTANCE if extended else ""
    return f"""{TENSOR_INSTANCE} {GRAPH_INSTANCE} {strings} {own if random.random() < 0.5 else ""}
      (component $inner {content}) {f"(instance (instantiate $inner {given}))" if random.random() < 0.3 else ""}
      (instance $i (instantiate $inner {given})) {exports}"""


def _starts(random: Random) -> str:
    """A module that makes tensors while it is instantiated."""
    return f"""(core module $starts
      (import "nn" "new" (func $new (param i32 i32 i32 i32 i32) (result i32)))
      (import "nn" "drop" (func $drop (param i32)))
      (func $start (local $left i32)
        (local.set $left (i32.const {random.choice((1, 63, 64, 100))}))
        (loop $next
          (call $drop (call $new (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 100)))
          (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
      (start $start))
    (core instance (instantiate $starts
      (with "nn" (instance (export "new" (func $new)) (export "drop" (func $drop))))))"""


def random_calls(random: Random, model: bytes, *, extended: bool = False) -> list[Call]:
    """Some calls of a random guest. A tensor is given by its place among those that were made."""
    names = ["new", "new", "new", "data", "data", "load", "model", "drop", "memory", "realloc"]
    if extended:
        names += ["strings-new", "strings-new", "strings"]

    def address() -> int:
        return random.choice(_NUMBERS if random.random() < 0.08 else _ADDRESSES)

    calls: list[Call] = []
    for _ in range(random.randrange(4, 30)):
        match random.choice(names):
            case "new":
                size = random.choice(_NUMBERS if random.random() < 0.08 else (0, 1, 100, 5000, 60_000))
                rank = random.choice(_NUMBERS if random.random() < 0.05 else (0, 1, 2, 3))
                kind = 7 if random.random() < 0.03 else random.randrange(7)
                calls.append(("new", address(), rank, kind, address(), size))
            case "strings-new":
                count, rank = random.choice((0, 0, 1, 2, 3, 2**29)), random.choice((0, 1, 1, 2, 65))
                calls += [("put", at, random.choice((0, 1, 2, 3, *_ADDRESSES))) for at in range(512, 536, 4)]
                calls.append(("strings-new", random.choice((512, 0)), rank, 512 if count else address(), count, 64))
                calls.append(("get", 64))
            case "load":
                count = random.choice((0, 1, 1, 1, 2, 1024, 1025, 2**29))
                calls += [("put", 512, address()), ("put", 516, random.choice((0, 8, *_NUMBERS)))]
                calls.append(("load", address() & ~7 | 512, count, random.randrange(8), random.randrange(4), address()))
            case "model":
                padded = model + bytes(-len(model) % 4)
                words = [int.from_bytes(padded[at : at + 4], "little") for at in range(0, len(padded), 4)]
                calls += [("put", 8192 + 4 * place, word) for place, word in enumerate(words)]
                calls += [("put", 512, 8192), ("put", 516, len(model)), ("load", 512, 1, 1, 0, 64), ("get", 64)]
            case "memory":
                calls.append(("grow", random.choice((0, 1, 2, 100))))
                calls.append(("fill", random.choice(_ADDRESSES), random.randrange(256), random.randrange(5000)))
            case "realloc":
                calls.append(("set-next", random.choice((4096, 65_000, 65_536, 2**31))))
                calls.append(("set-answer", random.choice((*(2**32 - 1,) * 9, *_NUMBERS))))
                calls.append(("set-growth", random.choice((0, 0, 1))))
            case name:
                calls.append((name, random.randrange(4), *((address(),) if name in ("data", "strings") else ())))
    return calls
